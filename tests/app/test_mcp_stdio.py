# SPDX-License-Identifier: GPL-3.0-or-later
"""The stdio MCP server against the real API, and against everything that a wire can carry."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from pathlib import Path

import pytest
from conftest import assert_no_secret, free_port, until
from mcp import MCPError
from mcp_support import ENVELOPE, LEGACY, MODERN, stdio, stdio_environment, stdio_sdk, stub, text_of

API_KEY = "sk-webui-0123456789"
TOOLS = {
    "twisterlab_mcp_list_autonomous_agents": ([], []),
    "monitor_system_health": ([], ["detailed"]),
    "create_backup": ([], ["backup_type"]),
    "sync_cache_db": ([], ["force"]),
    "classify_ticket": (["ticket_text"], []),
    "resolve_ticket": (["category", "description"], ["ticket_id"]),
    "execute_command": (["command", "target_host"], ["timeout"]),
    "configure_webui_tool": (["target_url"], ["description", "tool_name"]),
}
COMMANDS = ["echo hello", "env", ["sh", "-c", "echo out; echo err >&2; exit 3"], "sleep 29.17", "sleep 1.5"]
COMMANDS += [["sh", "-c", "sleep 29.18 & sleep 29.19"], "yes", "head -c 100000 /dev/zero", "no-such-program"]


@pytest.fixture(scope="module")
def api(run_shared, postgres, redis_server, shared_database):
    """The API, shared; tests that stop its servers start them again."""
    return run_shared("api", DATABASE_URL=postgres.url(shared_database), REDIS_URL=redis_server.url).ready()


@pytest.fixture
def environment(api, bytecode, postgres, redis_server, shared_database):
    """The environment in the API's container, secrets included."""
    secrets = {"DATABASE_URL": postgres.url(shared_database), "REDIS_URL": redis_server.url}
    url = f"http://127.0.0.1:{api.port}"
    return stdio_environment(bytecode, API_URL=url, MCP_COMMANDS=json.dumps(COMMANDS), WEBUI_API_KEY=API_KEY, **secrets)


@pytest.fixture
def tickets(postgres, shared_database):
    """Return a function that reads the titles of all tickets, newest first."""

    def read(where: str = "true") -> list[str]:
        with postgres.connect(shared_database) as connection:
            rows = connection.execute(f"SELECT title FROM tickets WHERE {where} ORDER BY id DESC").fetchall()
        return [title for (title,) in rows]

    return read


def webui(_method, path, body):
    """Open WebUI as far as the tool uses it: it refuses an id that is taken."""
    if path != "/api/v1/tools/create":
        return 404, {"detail": "Not Found"}
    if body["id"] == "taken":
        return 400, {"detail": "Uh-oh! This id is already registered. Please choose another id string."}
    return 200, {"id": body["id"], "user_id": "u", "name": body["name"], "meta": body["meta"], "created_at": 1}


@pytest.mark.parametrize(("mode", "version"), [("auto", MODERN), ("legacy", "2025-11-25")])
def test_every_tool_with_the_sdk_client(mode, version, api, environment, tickets, tmp_path):
    text = f"the VPN of {mode} does not connect"

    async def session(webui_url: str) -> None:
        async with stdio_sdk(tmp_path / "log", environment | {"WEBUI_URLS": webui_url}, mode) as client:
            assert client.protocol_version == version
            assert (client.server_info.name, client.server_info.version) == ("twisterlab-mcp-continue", "2.1.0")
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            shapes = {
                name: (sorted(tool.input_schema.get("required", [])), set(tool.input_schema["properties"]))
                for name, tool in listed.items()
            }
            assert shapes == {name: (must, {*must, *may}) for name, (must, may) in TOOLS.items()}

            agents = await client.call_tool("twisterlab_mcp_list_autonomous_agents", {})
            assert agents.structured_content == {"items": [], "count": 0, "active": 0}
            health = (await client.call_tool("monitor_system_health", {"detailed": True})).structured_content
            assert health["api"] == {"postgres": "ok", "redis": "ok"} and health["healthy"]
            assert (health["monitoring"], health["tiers"]) == ("not configured", [])
            backup = await client.call_tool("create_backup", {"backup_type": "full"})
            assert backup.is_error and "501: no backup is configured" in text_of(backup)
            assert backup.structured_content is None

            classified = await client.call_tool("classify_ticket", {"ticket_text": text})
            ticket = classified.structured_content["ticket"]
            assert not classified.is_error and classified.structured_content["category"] == "network"
            assert json.loads(text_of(classified)) == classified.structured_content
            assert tickets(f"id = {ticket['id']}") == [text]
            arguments = {"category": "network", "description": "new certificate", "ticket_id": ticket["id"]}
            resolved = (await client.call_tool("resolve_ticket", arguments)).structured_content
            assert (resolved["action"], resolved["ticket"]["status"]) == ("resolved", "resolved")
            assert tickets(f"id = {ticket['id']} AND status = 'resolved' AND resolution = 'new certificate'")
            absent = await client.call_tool("resolve_ticket", arguments | {"ticket_id": 10**9})
            assert absent.is_error and "404: there is no ticket 1000000000" in text_of(absent)
            opened = (
                await client.call_tool("resolve_ticket", {"category": "email", "description": "x"})
            ).structured_content
            assert opened["action"] == "created" and opened["guide"]
            synced = (await client.call_tool("sync_cache_db", {"force": True})).structured_content
            assert synced["written"] == synced["tickets_in_database"] == len(tickets())

            ran = await client.call_tool("execute_command", {"command": "echo hello", "target_host": "localhost"})
            assert (ran.structured_content["stdout"], ran.structured_content["exit_code"]) == ("hello\n", 0)
            configured = await client.call_tool("configure_webui_tool", {"target_url": webui_url, "tool_name": "desk"})
            assert configured.structured_content == {"id": "desk", "name": "desk", "created_at": 1}
            taken = await client.call_tool("configure_webui_tool", {"target_url": webui_url, "tool_name": "taken"})
            assert taken.is_error and "already registered" in text_of(taken)
            other = await client.call_tool("configure_webui_tool", {"target_url": webui_url + "0"})
            assert other.is_error and "WEBUI_URLS" in text_of(other)

            with pytest.raises(MCPError, match="there is no tool 'rm'"):
                await client.call_tool("rm", {})
            for wrong in ({}, {"ticket_text": 5}, {"ticket_text": "x", "extra": "s3cret"}, {"ticket_text": ""}):
                refused = await client.call_tool("classify_ticket", wrong)
                assert refused.is_error and "wrong arguments" in text_of(refused) and "s3cret" not in text_of(refused)
            assert text in tickets() and "x" not in tickets("category <> 'email'")

    with stub(webui) as neighbour:
        asyncio.run(session(neighbour.url))
    assert len(neighbour.seen) == 2
    _method, _path, headers, body = neighbour.seen[0]
    assert headers["authorization"] == f"Bearer {API_KEY}"
    # what Open WebUI would load really works
    loaded: dict = {}
    exec(body["content"], loaded)
    assert json.loads(loaded["Tools"]().classify_ticket("printer"))["category"] == "hardware"

    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert_no_secret(log, "stderr", API_KEY, text, "s3cret")
    audits = [line for line in map(json.loads, log.splitlines()) if line["message"] == "tool call"]
    done = next(line for line in audits if line["tool"] == "classify_ticket")
    assert (done["outcome"], done["arguments"], done["level"]) == ("ok", ["ticket_text"], "info") and done[
        "seconds"
    ] > 0
    assert [line["outcome"] for line in audits if line["tool"] == "unknown"] == ["refused"]
    assert any(
        line.get("route") == "/api/v1/tickets/classify" and line.get("request_id") == done["request_id"]
        for line in api.lines()
    ), "the API's log has the call's id"


def test_eras_follow_each_other_and_a_signal_ends_them(environment, tmp_path):
    with stdio(tmp_path / "log", environment) as server:
        discovered = server.ask("server/discover", _meta=ENVELOPE)["result"]
        assert discovered["supportedVersions"] == [MODERN]
        assert server.ask("tools/list", _meta=ENVELOPE)["result"]["resultType"] == "complete"
        future = ENVELOPE | {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
        assert server.ask("tools/list", _meta=future)["error"]["code"] == -32022
        for version in LEGACY:  # a client whose discovery timed out, and the verifier, start over in the same process
            result = server.handshake(version)
            assert result["protocolVersion"] == version
            assert result["serverInfo"]["version"] == "2.1.0" and set(result["capabilities"]) == {"tools"}
            assert len(server.ask("tools/list")["result"]["tools"]) == len(TOOLS)
            assert server.ask("ping")["result"] == {}
        assert server.handshake("1999-01-01")["protocolVersion"] == LEGACY[-1]

        # the first SIGTERM lets the call in flight finish
        arguments = {"command": "sleep 1.5", "target_host": "localhost"}
        number = server.post("tools/call", name="execute_command", arguments=arguments)
        until(lambda: processes("sleep\x001.5"), what="the command runs")
        server.process.send_signal(signal.SIGTERM)
        answer = server.read()
        assert (answer["id"], answer["result"]["isError"]) == (number, False)
        assert server.process.wait(10) == 0


def resident(pid: int) -> int:
    """Return the most memory that a process ever had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def test_hostile_input(environment, tickets, tmp_path):
    with stdio(tmp_path / "log", environment) as server:
        server.handshake()
        for line, code in (
            (b"hello", -32700),
            (b'{"jsonrpc":"2.0","id":1', -32700),
            (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"\xff\xfe":1}}', -32700),
            (b"\x00\x01\x02", -32700),
            (b"[" * 200_000, -32700),
            (b"[]", -32600),
            (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
            (b"{}", -32600),
        ):
            server.write(line)
            answer = server.read()
            assert (answer["error"]["code"], answer["id"]) == (code, None), line[:40]
            assert server.ask("ping")["result"] == {}
        # neither notifications nor answers nor empty lines are answered
        silent = [b'{"jsonrpc":"2.0","method":"notifications/unknown"}', b'{"jsonrpc":"2.0","method":"tools/list"}']
        silent += [b"", b"  ", b"\r", b'{"jsonrpc":"2.0","id":99,"result":{}}']
        silent += [b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":12345}}']
        server.write(*silent)
        assert server.ask("no/such/method")["error"]["code"] == -32601
        assert server.ask("tools/call", name="classify_ticket", arguments=[])["error"]["code"] == -32602
        assert server.ask("tools/call")["error"]["code"] == -32602
        surrogate = server.ask("tools/call", name="classify_ticket", arguments={"ticket_text": "\ud800"})
        assert surrogate["result"]["isError"]

        before = resident(server.process.pid)
        server.write(b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * 10_000_000 + b'"}')
        assert server.read()["error"]["code"] == -32600
        assert server.ask("ping")["result"] == {}
        assert resident(server.process.pid) - before < 5_000_000
        before = len(tickets())
        long = server.call("classify_ticket", ticket_text="y" * 900_000)
        assert long["isError"] and "at most 20000 characters" in text_of(long)
        assert len(tickets()) == before

        numbers = {
            server.post("tools/call", name="classify_ticket", arguments={"ticket_text": f"parallel {number}"})
            for number in range(50)
        }
        answers = [server.read() for _number in numbers]
        assert {answer["id"] for answer in answers} == numbers
        stored = {answer["result"]["structuredContent"]["ticket"]["id"] for answer in answers}
        assert len(stored) == 50 and len(tickets("title LIKE 'parallel %'")) == 50

        # a call that is cancelled is not answered; one in flight at the end of input is
        sleeping = server.post(
            "tools/call", name="execute_command", arguments={"command": "sleep 29.17", "target_host": "localhost"}
        )
        until(lambda: processes("29.17"), what="the command runs")
        server.write(
            json.dumps(
                {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": sleeping}}
            ).encode()
        )
        until(lambda: not processes("29.17"), what="the command is killed")
        last = server.post(
            "tools/call", name="execute_command", arguments={"command": "sleep 1.5", "target_host": "api-0"}
        )
        server.process.stdin.close()
        answer = server.read()
        assert (answer["id"], answer["result"]["isError"]) == (last, False)
        assert server.end() == 0
        assert [line["outcome"] for line in server.audits()][-2:] == ["cancelled", "ok"]


def processes(word: str) -> list[int]:
    """Return the processes with this word on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
        if word in words:
            found.append(int(path.parts[2]))
    return found


def test_commands(environment, tmp_path):
    with stdio(tmp_path / "log", environment) as server:
        server.handshake()

        def run(command: str, target_host: str = "localhost", **more):
            return server.call("execute_command", command=command, target_host=target_host, **more)

        for command in ("id", "echo hello; id", "echo hello x", "echo  'hel lo'", "/bin/echo hello", "sh -c id"):
            refused = run(command)
            assert refused["isError"] and "MCP_COMMANDS does not permit" in text_of(refused), command
        assert "cannot be split" in text_of(run("echo 'hello"))
        for host in ("postgres", "127.0.0.2", "localhost.example", ""):
            assert run("echo hello", host)["isError"], host
        for host in ("127.0.0.1", "LOCALHOST", "api-0"):
            assert run("echo   hello", host)["structuredContent"]["stdout"] == "hello\n"
        for seconds in (0, 61, "5", 1.5):
            assert "wrong arguments: timeout" in text_of(run("echo hello", timeout=seconds))

        failed = run("sh -c 'echo out; echo err >&2; exit 3'")
        assert failed["isError"] and "exit code 3" in text_of(failed)
        shown = failed["structuredContent"]
        assert (shown["exit_code"], shown["stdout"], shown["stderr"]) == (3, "out\n", "err\n")
        assert "cannot be started" in text_of(run("no-such-program"))
        # no secret of ours in the child's environment
        variables = run("env")["structuredContent"]["stdout"].splitlines()
        assert {line.partition("=")[0] for line in variables} == {"PATH", "LANG", "HOME"}
        # output is bounded, and what is missing is counted
        zeros = run("head -c 100000 /dev/zero")
        assert zeros["isError"] and "the limit" in text_of(zeros)  # NUL needs six bytes in JSON
        endless = run("yes", timeout=1)
        assert endless["isError"] and "did not end within 1 s and was killed" in text_of(endless)

        started = time.monotonic()
        late = run("sh -c 'sleep 29.18 & sleep 29.19'", timeout=1)
        assert late["isError"] and time.monotonic() - started < 5
        until(lambda: not processes("29.18") and not processes("29.19"), 5, "the whole group is killed")
        assert server.end() == 0
        assert_no_secret(server.log.read_text(encoding="utf-8"), "stderr", API_KEY)
        assert {line["outcome"] for line in server.audits()} == {"ok", "refused", "failed"}


def test_servers_that_are_down_and_servers_that_lie(api, environment, postgres, redis_server, tickets, tmp_path):
    before = len(tickets())
    with stdio(tmp_path / "log", environment) as server:
        server.handshake()
        postgres.stop()
        try:
            for tool, arguments in (
                ("classify_ticket", {"ticket_text": "lost?"}),
                ("resolve_ticket", {"category": "email", "description": "lost?"}),
                ("sync_cache_db", {}),
                ("twisterlab_mcp_list_autonomous_agents", {}),
            ):
                result = server.call(tool, **arguments)
                assert result["isError"] and "503: postgres is unavailable" in text_of(result), (tool, result)
                assert "structuredContent" not in result
            health = server.call("monitor_system_health")["structuredContent"]
            assert not health["healthy"] and health["api"]["postgres"] != "ok" and health["api"]["redis"] == "ok"
        finally:
            postgres.start()
        api.ready()
        redis_server.stop()
        try:
            result = server.call("sync_cache_db")
            assert result["isError"] and "503: redis is unavailable" in text_of(result)
        finally:
            redis_server.start()
        api.ready()
        assert server.end() == 0

    seconds = 0.0

    def liar(_method, path, _body):
        time.sleep(seconds)
        if path == "/api/v1/checks":
            found = {"name": "redis", "verdict": "failed", "reason": "no", "seconds": 0.1, "facts": {"x": 1}}
            return 200, {"healthy": False, "checks": [found]}
        checks = {"postgres": {"ok": True}, "redis": {}} if seconds else {}
        return 200, {"status": "success", "backup_file": "mock_backup.tar.gz", "checks": checks}

    def calls(server):
        yield server.call("classify_ticket", ticket_text="x")
        yield server.call("resolve_ticket", category="email", description="x")
        yield server.call("twisterlab_mcp_list_autonomous_agents")
        yield server.call("monitor_system_health")
        yield server.call("sync_cache_db")
        yield server.call("create_backup")

    with stub(liar) as neighbour:
        more = {"API_URL": neighbour.url, "MONITORING_URL": neighbour.url, "MCP_TOOL_TIMEOUT_SECONDS": "1"}
        with stdio(tmp_path / "log2", environment | more) as server:
            server.handshake()
            for result in calls(server):
                assert result["isError"] and "api answered 200" in text_of(result) and "structuredContent" not in result
            seconds = 0.1
            health = server.call("monitor_system_health")["structuredContent"]
            assert not health["healthy"] and health["api"] == {"postgres": "ok", "redis": "failed"}
            assert health["tiers"][0]["reason"] == "no" and health["tiers"][0]["facts"] is None
            detailed = server.call("monitor_system_health", detailed=True)["structuredContent"]
            assert detailed["tiers"][0]["facts"] == {"x": 1}
            seconds = 2.0
            late = server.call("classify_ticket", ticket_text="x")
            assert late["isError"] and "did not end within 1 s; it is unknown what it did" in text_of(late)
            neighbour.stop()
            for result in calls(server):
                assert result["isError"] and "api is unavailable" in text_of(result), result
                assert "structuredContent" not in result
            assert server.end() == 0
            assert "timeout" in [line["outcome"] for line in server.audits()]
    assert len(tickets()) == before


def test_wrong_setting_second_signal_and_client_that_left(environment, tmp_path):
    with stdio(tmp_path / "wrong", environment | {"API_URL": ""}) as server:
        assert server.process.wait(30) == 2 and server.process.stdout.read() == b""
        assert "API_URL is not set" in server.log.read_text(encoding="utf-8")
    with stdio(tmp_path / "twice", environment) as server:
        server.handshake()
        arguments = {"command": "sleep 29.17", "target_host": "localhost"}
        server.post("tools/call", name="execute_command", arguments=arguments)
        until(lambda: processes("29.17"), what="the command runs")
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        until(lambda: not processes("29.17"), 5, "the command is killed")
    with stdio(tmp_path / "gone", environment | {"API_URL": f"http://127.0.0.1:{free_port()}"}) as server:
        server.handshake()
        server.process.stdout.close()
        server.post("ping")
        assert server.process.wait(10) == 0 and "the client is gone" in server.log.read_text(encoding="utf-8")
