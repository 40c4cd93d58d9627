# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables for the pure parts of the MCP servers."""

from __future__ import annotations

import asyncio
import json
import sys

import httpx2
import pytest
import uvicorn
from conftest import APP, free_port
from mcp import Client
from mcp_support import slow, stub

sys.path.insert(0, str(APP))
from twisterlab_app.api_routes import ticket_routes
from twisterlab_app.errors import ConfigurationError, DependencyError
from twisterlab_app.mcp_api_tools import ApiTools, HealthArguments
from twisterlab_app.mcp_prometheus import prometheus_tools
from twisterlab_app.mcp_stdio import encode, parse
from twisterlab_app.mcp_tools import ToolBox
from twisterlab_app.mcp_webui import toolkit
from twisterlab_app.mcp_wire import Lines
from twisterlab_app.models import Category
from twisterlab_app.monitoring import build
from twisterlab_app.peers import PARALLEL, PeerClient
from twisterlab_app.redaction import Redactor
from twisterlab_app.service import build_service
from twisterlab_app.settings import Peer, load, parse_peers
from twisterlab_app.tickets import Tickets, new_from_request


def cut(limit: int, *chunks: bytes) -> list[bytes | None]:
    """Return what the lines of some chunks are."""
    lines = Lines(limit)
    return [line for chunk in chunks for line in lines.feed(chunk)] + list(lines.end())


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((b"a\nb\r\n\nc",), [b"a", b"b", b"", b"c"]),
        ((b"a", b"b\n", b"c\nd", b"\n"), [b"ab", b"c", b"d"]),
        ((b"12345\n",), [b"12345"]),
        ((b"123456\nok\n",), [None, b"ok"]),
        ((b"123", b"456", b"789" * 100, b"\nok\n"), [None, b"ok"]),
        ((b"123456", b"7"), [None]),
        ((b"123456\n123456\nx",), [None, None, b"x"]),
        ((b"\n", b""), [b""]),
    ],
)
def test_lines(chunks, expected):
    assert cut(5, *chunks) == expected


@pytest.mark.parametrize(
    ("line", "identity", "code"),
    [
        (None, None, -32600),
        (b"hello", None, -32700),
        (b'{"jsonrpc":"2.0","id":1', None, -32700),
        (b'{"a": NaN}', None, -32700),
        (b'{"a": "\xff"}', None, -32700),
        (b"[" * 100_000, None, -32700),
        (b"1" * 5000, None, -32700),
        (b"[]", None, -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', None, -32600),
        (b'"text"', None, -32600),
        (b"{}", None, -32600),
        (b'{"jsonrpc":"1.0","id":7,"method":"ping"}', 7, -32600),
        (b'{"jsonrpc":"2.0","id":"a","method":5}', "a", -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":3,"method":"ping","params":[1]}', 3, -32600),
        (b'{"jsonrpc":"2.0","id":3,"result":{},"error":1,"x":1}'.replace(b'"result":{},', b""), 3, -32600),
    ],
)
def test_lines_that_are_no_messages(line, identity, code):
    answer = parse(line)
    assert isinstance(answer, dict)
    assert (answer["id"], answer["error"]["code"]) == (identity, code)
    assert json.loads(encode(answer)) == answer


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"jsonrpc":"2.0","id":1,"method":"ping"}', "JSONRPCRequest"),
        (b' {"jsonrpc":"2.0","id":"x","method":"y","params":{}} ', "JSONRPCRequest"),
        (b'{"jsonrpc":"2.0","method":"notifications/initialized"}', "JSONRPCNotification"),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', "JSONRPCResponse"),
        (b'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}', "JSONRPCError"),
    ],
)
def test_lines_that_are_messages(line, kind):
    assert type(parse(line)).__name__ == kind


def test_every_line_sent_is_ascii():
    line = encode({"id": "\ud800", "text": "é\u2028\n"})
    assert line.isascii() and b"\n" not in line and json.loads(line)["text"] == "é\u2028\n"


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("", set()),
        ("[]", set()),
        ('["uptime -p", ["echo", "a b"]]', {("uptime", "-p"), ("echo", "a b")}),
        ("""["echo 'a b'"]""", {("echo", "a b")}),
    ],
)
def test_permitted_commands(text, commands):
    assert load("x", 1, {"MCP_COMMANDS": text}).mcp.commands == commands


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MCP_COMMANDS", "uptime"),
        ("MCP_COMMANDS", '{"a": 1}'),
        ("MCP_COMMANDS", "[1]"),
        ("MCP_COMMANDS", '[""]'),
        ("MCP_COMMANDS", "[[]]"),
        ("MCP_COMMANDS", '[["a", 1]]'),
        ("MCP_COMMANDS", '["echo \'a"]'),
        ("MCP_TOKEN", "two words"),
        ("MCP_TOKEN", "é"),
        ("WEBUI_API_KEY", "a\nb"),
        ("WEBUI_URLS", "http://good:1,ftp://bad"),
        ("MONITORING_URL", "mcp-monitoring:8082"),
        ("PROMETHEUS_URL", "http://h:99999"),
        ("PROMETHEUS_URL", "http://h/?q=1"),
        ("MCP_TOOL_TIMEOUT_SECONDS", "0"),
    ],
)
def test_wrong_settings_are_told_without_their_value(name, value):
    with pytest.raises(ConfigurationError) as found:
        load("x", 1, {name: value})
    assert name in str(found.value)
    assert name in ("MCP_COMMANDS", "MCP_TOOL_TIMEOUT_SECONDS") or value not in str(found.value)


def test_the_token_may_come_from_a_file_and_is_not_printed(tmp_path):
    tmp_path.joinpath("token").write_text("t0ken-from-file\n")
    settings = load("x", 1, {"MCP_TOKEN_FILE": str(tmp_path / "token"), "MCP_ALLOWED_ORIGINS": "https://a, https://b"})
    assert settings.mcp.token == "t0ken-from-file" and "t0ken" not in repr(settings)
    assert settings.mcp.allowed_origins == {"https://a", "https://b"}


def test_the_toolkit_names_its_api_and_starts_with_its_frontmatter():
    source = toolkit("http://x:1/'")
    assert source.startswith('"""\ntitle: TwisterLab\n')
    found: dict[str, object] = {}
    exec(source, found)
    assert found["API_URL"] == "http://x:1/'"


@pytest.mark.parametrize(("name", "arguments"), [("list_alerts", {}), ("query_metrics", {"query": "up"})])
def test_without_prometheus(name, arguments):
    async def session():
        async with PeerClient() as peers:
            box = ToolBox("test", prometheus_tools(peers, ""), 5, Redactor({}))
            async with Client(box.server("")) as client:
                return await client.call_tool(name, arguments)

    result = asyncio.run(session())
    assert result.is_error and result.structured_content is None
    assert result.content[0].text == "PROMETHEUS_URL is not set for this service"


def test_secrets_in_answers_are_masked():
    secret = "S3cret-in-the-database"

    async def session():
        async with PeerClient() as peers:
            box = ToolBox(
                "test", prometheus_tools(peers, f"http://u:{secret}@127.0.0.1:9"), 5, Redactor({"X_TOKEN": secret})
            )
            async with Client(box.server("")) as client:
                return await client.call_tool("query_metrics", {"query": secret, secret: 1})

    result = asyncio.run(session())
    assert result.is_error and "***: Extra inputs" in result.content[0].text and secret not in result.model_dump_json()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://bot:hunter2@127.0.0.1:9/x", "http://127.0.0.1:9/x"),
        ("http://hunter2@[::1]:9", "http://[::1]:9"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
    ],
)
def test_the_address_of_a_peer_is_shown_without_credentials(url, shown):
    (peer,) = parse_peers(json.dumps({"crm": url}))

    async def session():
        async with PeerClient() as peers:
            return await peers.health(peer)

    found = asyncio.run(session())
    assert found.url == shown and "hunter2" not in found.model_dump_json()


@pytest.mark.parametrize("asks", ["call", "health"])
def test_a_healthy_peer_is_healthy_while_others_are_slow(asks):
    silent = asyncio.Event()

    async def hangs(_reader, _writer):
        await silent.wait()

    async def answers(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    async def session():
        servers = [await asyncio.start_server(way, "127.0.0.1", 0) for way in (hangs, answers)]
        slow, good = (
            Peer(name, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
            for name, server in zip(("slow", "good"), servers, strict=True)
        )
        async with PeerClient() as peers:
            ask = peers.health if asks == "health" else lambda peer: peers.call(peer, "GET", "/")
            busy = [asyncio.ensure_future(ask(slow)) for _number in range(PARALLEL)]
            await asyncio.sleep(0.2)
            found = await peers.health(good)
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
        silent.set()
        return found

    found = asyncio.run(session())
    assert found.healthy and found.seconds < 1, found


def test_a_cookie_of_one_caller_does_not_go_out_with_the_next():
    async def session(url):
        async with PeerClient() as peers:
            for _caller in range(2):
                await peers.call(Peer("crm", url), "GET", "/")

    with stub(lambda *_request: (200, {}), {"Set-Cookie": "session=alice; Path=/"}) as crm:
        asyncio.run(session(crm.url))
        assert [headers.get("cookie") for _method, _path, headers, _body in crm.seen] == [None, None]


def test_an_outage_of_the_database_leaves_the_cache_as_it_is():
    emptied = []

    class Cache:
        async def forget_tickets(self):
            emptied.append(True)

    class Down:
        def connection(self):
            raise DependencyError("postgres", "down")

    with pytest.raises(DependencyError):
        asyncio.run(Tickets(Down(), Cache()).sync(force=True, limit=1))
    assert not emptied


def test_a_text_of_separators_alone_is_a_ticket_too():
    assert new_from_request(Category.EMAIL, "\x1c\x1d").title == "email: \x1c\x1d"


@pytest.mark.parametrize("said", ['{"a": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}', "[" * 200_000, '{"a": 1'])
def test_an_answer_that_cannot_be_passed_on_as_json_is_passed_on_as_text(said):
    async def answers(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(said)}\r\n\r\n"
        writer.write((head + said).encode())
        writer.close()

    async def session():
        server = await asyncio.start_server(answers, "127.0.0.1", 0)
        async with PeerClient() as peers:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await peers.call(Peer("crm", url), "GET", "/")

    answer = asyncio.run(session())
    assert answer.body == said and json.loads(answer.model_dump_json())["body"] == said


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"title": "\\ud800"}', ["body", "title"]),
        (b'{"title": "a", "priority": NaN}', ["body", "priority"]),
    ],
)
def test_a_wrong_field_is_named_whatever_it_holds(body, place):
    async def session():
        app = build_service("test", load("x", 1, {}), Redactor({}), {}, ())
        app.include_router(ticket_routes(Tickets(None, None)))
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/api/v1/tickets", content=body, headers={"Content-Type": "application/json"})

    answer = asyncio.run(session())
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, place), answer.text


def test_monitoring_waits_until_the_api_says_what_failed():
    async def failing():
        raise DependencyError("redis", "no route to host")

    async def hanging():
        await asyncio.sleep(60)

    async def session():
        api = build_service("api", load("api", 1, {}), Redactor({}), {"redis": failing, "postgres": hanging}, ())
        server = uvicorn.Server(uvicorn.Config(api, port=free_port(), log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.05)
        settings = load("mcp-monitoring", 1, {"API_URL": f"http://127.0.0.1:{server.config.port}"})
        transport = httpx2.ASGITransport(build(settings, Redactor({})))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=20) as client:
            found = (await client.get("/api/v1/checks")).json()
        server.should_exit = True
        await serving
        return found

    (found, *_others) = asyncio.run(session())["checks"]
    assert found["reason"] == "answered 503 (redis: no route to host; postgres: no answer in time)"


def test_a_peer_that_was_not_asked_is_not_said_to_be_silent():
    async def hangs(_reader, _writer):
        await asyncio.sleep(60)

    async def session():
        server = await asyncio.start_server(hangs, "127.0.0.1", 0)
        slow = Peer("slow", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with PeerClient() as peers:
            busy = [asyncio.ensure_future(peers.call(slow, "GET", "/")) for _number in range(PARALLEL)]
            await asyncio.sleep(0.2)
            with pytest.raises(DependencyError) as found:
                await peers.call(Peer("good", "http://127.0.0.1:9"), "GET", "/", seconds=0.3)
            for task in busy:
                task.cancel()
            await asyncio.gather(*busy, return_exceptions=True)
        return found.value

    error = asyncio.run(session())
    assert error.reason == f"it was not asked, as {PARALLEL} other requests had no answer yet"


@pytest.mark.parametrize(
    ("method", "reason"), [("GET", "no answer in time"), ("POST", "no answer in time; it is unknown what it did")]
)
def test_a_change_without_an_answer_is_not_said_to_have_failed(method, reason):
    async def session(url):
        async with PeerClient() as peers:
            await peers.call(Peer("api", url), method, "/1", seconds=0.2)

    with stub(slow) as api, pytest.raises(DependencyError) as found:
        asyncio.run(session(api.url))
    assert found.value.reason == reason


def test_tools_with_more_time_give_it_to_their_peers(monkeypatch):
    monkeypatch.setattr("twisterlab_app.peers.CALL_SECONDS", 0.2)

    async def session(url):
        async with PeerClient(7) as peers:
            return await peers.call(Peer("api", url), "GET", "/0.6")

    with stub(slow) as api:
        assert asyncio.run(session(api.url)).status == 200


def test_monitoring_that_checked_nothing_does_not_make_the_system_healthy():
    def answer(_method, path, _body):
        return 200, {"checks": {"redis": {"ok": True}} if path == "/ready" else []}

    async def session(url):
        async with PeerClient() as peers:
            return await ApiTools(peers, url, url).health(HealthArguments())

    with stub(answer) as neighbour:
        found = asyncio.run(session(neighbour.url))
    assert not found.healthy and found.monitoring.startswith("answered 200: ")
