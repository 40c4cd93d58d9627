# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the MCP servers share: the stdio server as a process, clients, and neighbours that can be wrong."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
from conftest import APP, JWT
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

SCRIPT = APP / "agents" / "mcp" / "mcp_server_continue_sync.py"
MODERN = "2026-07-28"
LEGACY = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
}


def stdio_environment(bytecode: Path, **more: str) -> dict[str, str]:
    """The environment of the stdio server, as the API's container has it."""
    basic = {"PATH": os.environ["PATH"], "PYTHONPATH": str(APP), "PYTHONPYCACHEPREFIX": str(bytecode)}
    return basic | {"HOSTNAME": "api-0", "JWT_SECRET_KEY": JWT} | more


class Stdio:
    """The stdio server as a process whose wire the test writes by hand; everything it says must be JSON-RPC."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-u", str(SCRIPT)],
                env=environment,
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self._number = 0

    def write(self, *lines: bytes) -> None:
        """Write raw lines."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(line + b"\n" for line in lines))
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Read the next message."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the server has ended: {self.log.read_text(encoding='utf-8')}"
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0" and "id" in message and ("result" in message) != ("error" in message)
        return message

    def post(self, method: str, **params: Any) -> int:
        """Send a request without waiting; return its id."""
        self._number += 1
        message = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self.write(json.dumps(message).encode())
        return self._number

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request and return its answer, which must be the next message."""
        number = self.post(method, **params)
        answer = self.read()
        assert answer["id"] == number, answer
        return answer

    def handshake(self, version: str = "2025-06-18") -> dict[str, Any]:
        """Do the handshake of the legacy era; return the server's result."""
        info = {"name": "tests", "version": "1"}
        answer = self.ask("initialize", protocolVersion=version, capabilities={}, clientInfo=info)
        self.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        return answer["result"]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its result."""
        return self.ask("tools/call", name=tool, arguments=arguments)["result"]

    def end(self) -> int:
        """Close its input and return the exit code; nothing unexpected may still be said."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        assert self.process.stdout.read() == b""
        return self.process.wait(30)

    def audits(self) -> list[dict[str, Any]]:
        """Return its audit lines; every line of its log must be JSON."""
        lines = [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if line["message"] == "tool call"]


@contextlib.contextmanager
def stdio(log: Path, environment: dict[str, str]) -> Iterator[Stdio]:
    """Run the stdio server; it is killed when the test did not end it."""
    server = Stdio(log, environment)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        for pipe in (server.process.stdin, server.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()


@contextlib.asynccontextmanager
async def stdio_sdk(log: Path, environment: dict[str, str], mode: str) -> AsyncIterator[Client]:
    """The SDK's client with the stdio server; ``mode`` is auto or legacy."""
    parameters = StdioServerParameters(command=sys.executable, args=["-u", str(SCRIPT)], env=environment, cwd="/")
    with log.open("w", encoding="utf-8") as errors:
        async with Client(stdio_client(parameters, errlog=errors), mode=mode) as client:
            yield client


@contextlib.asynccontextmanager
async def http_sdk(port: int, token: str, mode: str) -> AsyncIterator[Client]:
    """The SDK's client with an HTTP server on a loopback port."""
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        transport = streamable_http_client(f"http://127.0.0.1:{port}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


def text_of(result: Any) -> str:
    """Return the first text of a tool result, of the SDK or from the wire."""
    return result["content"][0]["text"] if isinstance(result, dict) else result.content[0].text


Answer = tuple[int, Any]


class Stub:
    """A neighbour that answers what the test says; ``seen`` has every request as (method, path, headers, body)."""

    def __init__(self, answer: Callable[[str, str, Any], Answer], more: Mapping[str, str]) -> None:
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments: Any) -> None:
                pass

            def _serve(self) -> None:
                data = self.rfile.read(int(self.headers.get("content-length", 0)))
                body = json.loads(data) if data else None
                outer.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, content = answer(self.command, self.path, body)
                encoded = json.dumps(content).encode()
                with contextlib.suppress(ConnectionError):  # the caller did not wait
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", **more}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(encoded)

            do_GET = do_POST = _serve  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def stub(answer: Callable[[str, str, Any], Answer], more: Mapping[str, str] | None = None) -> Iterator[Stub]:
    """Run a neighbour; ``more`` are headers of its answers."""
    neighbour = Stub(answer, more or {})
    try:
        yield neighbour
    finally:
        with contextlib.suppress(OSError):
            neighbour.stop()


def slow(_method: str, path: str, _body: Any) -> Answer:
    """Answer after the seconds in the path, /0.5; /big answers 300 kB; others at once."""
    with contextlib.suppress(ValueError):
        time.sleep(float(path.strip("/")))
    return 200, {"path": path, "filler": "x" * 300_000 if path == "/big" else ""}
