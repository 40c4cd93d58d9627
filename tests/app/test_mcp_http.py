# SPDX-License-Identifier: GPL-3.0-or-later
"""The MCP endpoints of orchestrator and monitoring: who is served, what their tools do, and how they stop."""

from __future__ import annotations

import asyncio
import json
import signal
import threading

import httpx2
import pytest
from conftest import assert_no_secret, until
from mcp_support import ENVELOPE, LEGACY, MODERN, http_sdk, slow, stub, text_of
from test_api import _refused as refused
from test_api import samples

TOKEN = "mcp-t0ken-4711-abcdefghijklmnop"
ORIGIN = "https://console.example.org"
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
GOOD = ACCEPT | {"Authorization": f"Bearer {TOKEN}"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
ALERT = {
    "labels": {"alertname": "PodDown", "severity": "critical"},
    "annotations": {"summary": "a pod is down"},
    "state": "firing",
    "activeAt": "2026-11-24T10:00:00Z",
    "value": "1e+00",
}


def prometheus(_method, path, _body):
    """Prometheus' API, as its documentation has it."""
    if path == "/api/v1/alerts":
        return 200, {"status": "success", "data": {"alerts": [ALERT, ALERT | {"state": "pending"}]}}
    if path == "/api/v1/query?query=up%7Bjob%3D%22api%22%7D":
        data = {"resultType": "vector", "result": [{"metric": {"job": "api"}, "value": [1.5, "1"]}]}
        return 200, {"status": "success", "data": data}
    return 400, {"status": "error", "errorType": "bad_data", "error": "1:3: parse error: unexpected end of input"}


@pytest.fixture(scope="module")
def neighbours():
    """A slow agent and a Prometheus."""
    with stub(slow) as agent, stub(prometheus) as metrics:
        yield agent, metrics


@pytest.fixture(scope="module")
def stack(run_shared, postgres, redis_server, shared_database, neighbours):
    """The API, the orchestrator and monitoring."""
    agent, metrics = neighbours
    servers = {"DATABASE_URL": postgres.url(shared_database), "REDIS_URL": redis_server.url}
    api = run_shared("api", **servers)
    url = f"http://127.0.0.1:{api.port}"
    common = {"API_URL": url, "MCP_TOKEN": TOKEN, "MCP_ALLOWED_ORIGINS": ORIGIN, "MCP_TOOL_TIMEOUT_SECONDS": "3"}
    peers = json.dumps({"api": url, "slow": {"url": agent.url, "health_path": "/0"}})
    orchestrator = run_shared("orchestrator", AGENTS=peers, **common)
    monitoring = run_shared("monitoring", PROMETHEUS_URL=metrics.url, **common, **servers)
    closed = run_shared("orchestrator", AGENTS=peers, **(common | {"MCP_TOKEN": ""}))
    return [program.ready() for program in (api, orchestrator, monitoring, closed)]


def test_who_is_served(stack):
    _api, orchestrator, monitoring, closed = stack

    def post(program=orchestrator, path="/mcp", content=LIST, **headers):
        return program.client.post(path, json=content, headers=GOOD | headers)

    def refused(answer, status, sentence):
        assert (answer.status_code, list(answer.json())) == (status, ["detail"]), answer.text
        assert sentence in answer.json()["detail"] and TOKEN not in answer.text

    for program in (orchestrator, monitoring):
        for path in ("/mcp", "/mcp/"):  # neither redirects to the other
            answer = post(program, path)
            assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
            assert answer.json()["result"]["tools"] and "mcp-session-id" not in answer.headers
    for headers in (
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer é".encode("latin-1")},
    ):
        answer = post(**headers)
        refused(answer, 401, "MCP_TOKEN")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert orchestrator.client.post("/mcp", json=LIST, headers=ACCEPT).status_code == 401
    assert post(Authorization=f"bearer  {TOKEN}").status_code == 200
    for origin in ("http://evil.example", "null", "", ORIGIN + ".evil.example", "http://127.0.0.1"):
        refused(post(Origin=origin), 403, "Origin")
        refused(post(Origin=origin, Authorization=""), 403, "Origin")
    assert post(Origin=ORIGIN).status_code == 200
    assert post(Host="anything.example:8443").status_code == 200
    refused(post(closed), 503, "MCP_TOKEN is not set")
    refused(post(closed, Authorization=""), 503, "MCP_TOKEN is not set")
    for method in ("GET", "DELETE", "PUT"):
        answer = orchestrator.client.request(method, "/mcp", headers=GOOD)
        refused(answer, 405, "POST")
        assert answer.headers["allow"] == "POST"
        assert orchestrator.client.request(method, "/mcp", headers=ACCEPT).status_code == 401
    # the plain endpoints stay open
    assert orchestrator.client.get("/api/v1/agents").status_code == 200
    assert closed.client.get("/health").status_code == 200


def test_wrong_bodies(stack):
    _api, orchestrator, _monitoring, _closed = stack
    client = orchestrator.client

    def post(content, **headers):
        return client.post("/mcp", content=content, headers=GOOD | headers)

    assert post(b"x" * 1_100_000).status_code == 413
    assert post(iter([b"x" * 600_000, b"y" * 600_000])).status_code == 413  # without a Content-Length
    for headers in ({}, {"MCP-Protocol-Version": MODERN}):
        assert post(b"hello", **headers).json()["error"]["code"] == -32700
        assert post(b"[" * 100_000, **headers).json()["error"]["code"] == -32700
        assert "error" in post(b"[]", **headers).json()
        unknown = post(
            json.dumps(LIST | {"method": "x", "params": {"_meta": ENVELOPE}}), **headers, **{"Mcp-Method": "x"}
        )
        assert unknown.json()["error"]["code"] == -32601
    note = post(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    assert (note.status_code, note.content) == (202, b"")
    later = {"_meta": ENVELOPE | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}}
    headers = {"MCP-Protocol-Version": "2099-01-01", "Mcp-Method": "tools/list"}
    future = post(json.dumps(LIST | {"params": later}), **headers).json()
    assert future["error"]["code"] == -32022 and future["error"]["data"]["supported"] == [MODERN]
    for version in LEGACY:
        parameters = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        shaken = post(json.dumps(LIST | {"method": "initialize", "params": parameters})).json()["result"]
        assert shaken["protocolVersion"] == version
        assert shaken["serverInfo"] == {"name": "twisterlab-mcp-orchestrator", "version": "2.1.0"}
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(("mode", "version"), [("auto", MODERN), ("legacy", "2025-11-25")])
def test_every_tool_with_the_sdk_client(mode, version, stack, neighbours):
    api, orchestrator, monitoring, _closed = stack
    agent, _metrics = neighbours

    async def route() -> None:
        async with http_sdk(orchestrator.port, TOKEN, mode) as client:
            assert client.protocol_version == version
            assert (client.server_info.name, client.server_info.version) == ("twisterlab-mcp-orchestrator", "2.1.0")
            listed = {tool.name: set(tool.input_schema["properties"]) for tool in (await client.list_tools()).tools}
            fields = {"agent", "method", "path", "body"}
            assert listed == {"list_agents": set(), "agent_health": {"agent"}, "route_request": fields}

            agents = (await client.call_tool("list_agents", {})).structured_content
            assert (agents["count"], agents["healthy"]) == (2, 2)
            health = (await client.call_tool("agent_health", {"agent": "api"})).structured_content
            assert health["healthy"] and health["status"] == 200
            body = {"text": f"printer of {mode}"}
            arguments = {"agent": "api", "method": "POST", "path": "/api/v1/tickets/classify", "body": body}
            routed = await client.call_tool("route_request", arguments)
            assert not routed.is_error and routed.structured_content["status"] == 201
            number = routed.structured_content["body"]["ticket"]["id"]
            assert api.client.get(f"/api/v1/tickets/{number}").json()["title"] == body["text"]

            failed = await client.call_tool("route_request", {"agent": "api", "path": "/api/v1/tickets/999999999"})
            assert failed.is_error and "api answered 404: there is no ticket" in text_of(failed)
            assert failed.structured_content["status"] == 404
            unknown = await client.call_tool("agent_health", {"agent": "evil"})
            assert unknown.is_error and "no agent 'evil' is configured; known: api, slow" in text_of(unknown)
            seen = len(agent.seen)
            for wrong in ({"path": "//evil/x"}, {"path": "@evil"}, {"path": "/", "method": "TRACE"}, {}, {"x": 1}):
                refused = await client.call_tool("route_request", {"agent": "slow"} | wrong)
                assert refused.is_error and "wrong arguments" in text_of(refused)
            assert len([path for _m, path, _h, _b in agent.seen[seen:] if path != "/0"]) == 0

            if mode == "legacy":  # once is enough for three seconds
                late = await client.call_tool("route_request", {"agent": "slow", "path": "/6"})
                assert late.is_error and "did not end within 3 s" in text_of(late)
            big = await client.call_tool("route_request", {"agent": "slow", "path": "/big"})
            assert big.is_error and "262144 is the limit" in text_of(big) and big.structured_content is None

    async def monitor() -> None:
        async with http_sdk(monitoring.port, TOKEN, mode) as client:
            assert client.server_info.name == "twisterlab-mcp-monitoring"
            listed = {tool.name for tool in (await client.list_tools()).tools}
            assert listed == {"check_tiers", "check_tier", "list_alerts", "query_metrics"}
            report = (await client.call_tool("check_tiers", {})).structured_content
            assert report["healthy"] and [check["name"] for check in report["checks"]] == ["api", "postgres", "redis"]
            one = (await client.call_tool("check_tier", {"tier": "postgres"})).structured_content
            assert one["verdict"] == "ok" and one["facts"]["max_connections"] > 0
            unknown = await client.call_tool("check_tier", {"tier": "mars"})
            assert unknown.is_error and "known: api, postgres, redis" in text_of(unknown)
            alerts = (await client.call_tool("list_alerts", {})).structured_content
            assert (alerts["count"], alerts["firing"]) == (2, 1)
            assert alerts["alerts"][0]["labels"]["alertname"] == "PodDown"
            metrics = (await client.call_tool("query_metrics", {"query": 'up{job="api"}'})).structured_content
            assert metrics["result"][0]["value"] == [1.5, "1"]
            wrong = await client.call_tool("query_metrics", {"query": "up{"})
            assert wrong.is_error and "parse error" in text_of(wrong)

    async def both() -> None:
        await asyncio.gather(route(), monitor())

    asyncio.run(both())
    lines = [line for line in orchestrator.lines() if line["message"] == "tool call"]
    assert {line["outcome"] for line in lines} >= {"ok", "failed", "refused"}
    assert ("timeout" in {line["outcome"] for line in lines}) == (mode == "legacy")
    (done,) = [line for line in lines if line["tool"] == "route_request" and line["outcome"] == "ok"][-1:]
    assert done["arguments"] == ["agent", "body", "method", "path"]
    assert any(line.get("request_id") == done["request_id"] and line.get("status") == 201 for line in api.lines())
    assert any(
        line.get("request_id") == done["request_id"] and line.get("route") == "/mcp" for line in orchestrator.lines()
    )


def test_metrics_and_logs(stack):
    _api, orchestrator, monitoring, _closed = stack
    call = LIST | {"method": "tools/call", "params": {"name": "list_alerts", "arguments": {}}}
    assert not monitoring.client.post("/mcp/", json=call, headers=GOOD).json()["result"]["isError"]
    found = samples(monitoring.client)
    labels = (("server", "twisterlab-mcp-monitoring"), ("tool", "list_alerts"))
    outcome = (("outcome", "ok"), *labels)
    assert found[("twisterlab_mcp_tool_calls_total", outcome)] >= 1
    assert found[("twisterlab_mcp_tool_duration_seconds_count", labels)] >= 1
    routes = {value for name, pairs in found if name == "http_requests_total" for key, value in pairs if key == "route"}
    assert "/mcp" in routes and "/mcp/" not in routes and "unmatched" not in routes
    for program in (orchestrator, monitoring):
        assert_no_secret(program.log.read_text(encoding="utf-8"), program.log.name, TOKEN)


def test_fifty_calls_survive_a_stop(run_program, stack):
    api, *_others = stack
    gate = threading.Event()

    def gated(_method, path, _body):
        return 200, {"path": path, "opened": path == "/health" or gate.wait(20)}

    async def call(http: httpx2.AsyncClient, number: int) -> tuple[int, bool]:
        modern = number % 2 == 0
        arguments = {"agent": "gated", "path": f"/x?{number}"}
        parameters = {"name": "route_request", "arguments": arguments} | ({"_meta": ENVELOPE} if modern else {})
        headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "route_request"}
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": parameters}
        answer = await http.post("/mcp", json=message, headers=GOOD | (headers if modern else {}))
        assert answer.status_code == 200, answer.text
        return answer.json()["id"], answer.json()["result"]["structuredContent"]["body"]["opened"]

    async def fifty() -> list[tuple[int, bool]]:
        limits = httpx2.Limits(max_connections=60)
        base = f"http://127.0.0.1:{orchestrator.port}"
        async with httpx2.AsyncClient(base_url=base, timeout=30, trust_env=False, limits=limits) as http:
            calls = [asyncio.ensure_future(call(http, number)) for number in range(50)]
            async with asyncio.timeout(10):
                while "http_requests_in_progress 51.0" not in (await http.get("/metrics")).text:  # the scrape is one
                    await asyncio.sleep(0.05)
            orchestrator.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(until, lambda: refused(orchestrator.port), what="no new connection is accepted")
            gate.set()
            return await asyncio.gather(*calls)

    with stub(gated) as agent:
        peers = {"AGENTS": f"gated={agent.url}", "API_URL": f"http://127.0.0.1:{api.port}"}
        orchestrator = run_program("orchestrator", MCP_TOKEN=TOKEN, **peers).ready()
        answers = asyncio.run(fifty())
    assert sorted(answers) == [(number, True) for number in range(50)]
    assert orchestrator.process.wait(30) == 0
    log = [line for line in orchestrator.lines() if line["message"] == "tool call"]
    assert len(log) == 50 and {line["outcome"] for line in log} == {"ok"}
