# SPDX-License-Identifier: MIT
"""The stdio MCP server: ``python -m twisterlab_app.mcp_stdio``. One JSON-RPC message a line; logs go to stderr."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import anyio
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server import Server
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import INVALID_REQUEST, PARSE_ERROR, JSONRPCError, JSONRPCMessage, JSONRPCRequest, JSONRPCResponse
from mcp_types.jsonrpc import JSONRPCNotification
from pydantic import TypeAdapter, ValidationError

from . import logs, settings
from .errors import ConfigurationError, reason_of
from .mcp_api_tools import ApiTools
from .mcp_commands import MAX_SECONDS, command_tool
from .mcp_tools import ToolBox
from .mcp_webui import webui_tool
from .mcp_wire import MAX_LINE_BYTES, Wire
from .peers import PeerClient
from .redaction import Redactor

NAME = "twisterlab-mcp-continue"
COMPONENT = "mcp-continue"
MAX_IN_FLIGHT = 64
SPARE_SECONDS = 10  # how much longer than any tool may take its answer is waited for
log = logging.getLogger("twisterlab.mcp")

_REPLY: TypeAdapter[JSONRPCResponse | JSONRPCError] = TypeAdapter(JSONRPCResponse | JSONRPCError)
Incoming = SessionMessage | Exception


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def refusal(identity: str | int | None, code: int, message: str) -> dict[str, Any]:
    """Return a JSON-RPC error answer."""
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": code, "message": message}}


def _identity(message: Any) -> str | int | None:
    """Return the id that an answer to this message must carry, None when it has none that can be used."""
    found = message.get("id") if isinstance(message, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def parse(line: bytes | None) -> JSONRPCMessage | dict[str, Any]:
    """Return the message in a line, or the error answer to it; None is a line that was too long."""
    if line is None:
        return refusal(None, INVALID_REQUEST, f"the line is longer than {MAX_LINE_BYTES} bytes")
    try:
        message = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return refusal(None, PARSE_ERROR, "the line is not JSON in UTF-8")
    if not isinstance(message, dict):
        return refusal(None, INVALID_REQUEST, "the line must be one JSON object: batches are not served")
    try:
        if "method" not in message:
            return _REPLY.validate_python(message)
        return (JSONRPCRequest if "id" in message else JSONRPCNotification).model_validate(message)
    except ValidationError:
        return refusal(_identity(message), INVALID_REQUEST, "the object is not a JSON-RPC 2.0 message as MCP has them")


def encode(message: dict[str, Any]) -> bytes:
    """Return a message as one line of ASCII: no client's encoding, and no lone surrogate, can break it."""
    return json.dumps(message, separators=(",", ":")).encode("ascii")


class Conversation:
    """Feed the SDK's server with the lines that are messages, and answer the others.

    The SDK decides the era by the first request and refuses ``initialize`` once that was a modern one. A client whose
    discovery timed out falls back to ``initialize`` in the same process, so that request opens a new loop of the SDK.
    """

    def __init__(self, server: Server[Any], wire: Wire, tool_seconds: float) -> None:
        self._server, self._wire = server, wire
        self._reading = anyio.CancelScope()
        self._drain_seconds = max(MAX_SECONDS, tool_seconds) + SPARE_SECONDS
        self._to_server: MemoryObjectSendStream[Incoming] | None = None
        self._loop_ended = asyncio.Event()
        self._in_flight = 0
        self._fewer = asyncio.Event()

    async def run(self) -> None:
        """Serve until the input ends and all that was asked is answered."""
        async with anyio.create_task_group() as group:
            with self._reading:
                async for line in self._wire.lines():
                    if line is None or line.strip():
                        with anyio.CancelScope(shield=True):  # what was read is answered
                            await self._take(line, group)
            await self._close()

    def stop(self, seconds: float) -> None:
        """Read no more; what is in flight may take this long."""
        self._drain_seconds = seconds
        self._reading.cancel()

    async def _take(self, line: bytes | None, group: TaskGroup) -> None:
        message = parse(line)
        if isinstance(message, dict):
            await self._wire.send(encode(message))
            return
        metadata = None
        if isinstance(message, JSONRPCRequest):
            if message.method == "initialize":
                await self._close()
            await self._until(MAX_IN_FLIGHT - 1)
            self._in_flight += 1
            metadata = ServerMessageMetadata(on_request_unanswered=self._settled)
        if self._to_server is None:
            self._to_server = self._open(group)
        await self._to_server.send(SessionMessage(message, metadata))

    def _open(self, group: TaskGroup) -> MemoryObjectSendStream[Incoming]:
        to_server, incoming = anyio.create_memory_object_stream[Incoming](0)
        outgoing, from_server = anyio.create_memory_object_stream[SessionMessage](0)
        self._loop_ended = asyncio.Event()
        group.start_soon(self._serve, incoming, outgoing, self._loop_ended)
        group.start_soon(self._forward, from_server)
        return to_server

    async def _serve(
        self,
        incoming: MemoryObjectReceiveStream[Incoming],
        outgoing: MemoryObjectSendStream[SessionMessage],
        ended: asyncio.Event,
    ) -> None:
        await self._server.run(incoming, outgoing, self._server.create_initialization_options())
        ended.set()

    async def _forward(self, from_server: MemoryObjectReceiveStream[SessionMessage]) -> None:
        async for item in from_server:
            message = item.message
            await self._wire.send(encode(message.model_dump(by_alias=True, exclude_unset=True)))
            if isinstance(message, JSONRPCResponse | JSONRPCError):
                await self._settled()

    async def _settled(self) -> None:
        self._in_flight -= 1
        self._fewer.set()

    async def _until(self, most: int) -> None:
        while self._in_flight > most:
            self._fewer.clear()
            await self._fewer.wait()

    async def _close(self) -> None:
        """Answer what is in flight, then end the SDK's loop, if one runs."""
        if self._to_server is None:
            return
        with anyio.move_on_after(self._drain_seconds):
            await self._until(0)
        self._to_server.close()
        self._to_server = None
        await self._loop_ended.wait()


@contextlib.contextmanager
def _signals(conversation: Conversation, seconds: float) -> Iterator[None]:
    """Stop the conversation at the first SIGTERM or SIGINT, this task at the second."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None  # noqa: S101  a coroutine runs in a task
    stopping = False

    def stop(name: str) -> None:
        nonlocal stopping
        log.info("stopping", extra={"signal": name})
        if stopping:
            task.cancel()
        stopping = True
        conversation.stop(seconds)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)
    yield


async def serve(configuration: settings.Settings, redact: Redactor) -> None:
    """Serve standard input until it ends, or a signal: the first one lets calls in flight finish, the second does not."""
    mcp = configuration.mcp
    async with PeerClient(mcp.tool_timeout) as client:
        tools = ApiTools(client, configuration.api_url, mcp.monitoring_url).tools()
        tools.append(command_tool(mcp.commands, configuration.instance))
        tools.append(webui_tool(client, mcp, configuration.api_url))
        box = ToolBox(NAME, tools, mcp.tool_timeout, redact)
        wire = Wire()
        log.info("starting", extra={"server": NAME, "api_url": configuration.api_url})
        conversation = Conversation(box.server("Tickets, agents and health of TwisterLab."), wire, mcp.tool_timeout)
        with _signals(conversation, configuration.graceful_timeout):
            await conversation.run()


def main() -> int:
    """Run; return the exit code: 0 at the end of input or after a signal, 2 when a setting is wrong."""
    redact = Redactor(os.environ)
    logs.configure(COMPONENT, "info", redact)
    try:
        configuration = settings.load(COMPONENT, 8000, os.environ)
        if not configuration.api_url:
            raise ConfigurationError("API_URL is not set: write http://twisterlab-api:8000.")
    except ConfigurationError as error:
        log.critical(str(error))
        return 2
    logs.configure(COMPONENT, configuration.log_level, redact)
    try:
        asyncio.run(serve(configuration, redact))
    except* asyncio.CancelledError:
        log.info("stopped by a signal")
    except* OSError as group:
        log.info("the client is gone", extra={"reason": reason_of(group.exceptions[0])})
    return 0


if __name__ == "__main__":
    sys.exit(main())
