# SPDX-License-Identifier: MIT
"""What every tool of our MCP servers goes through: checked arguments, time and size limits, masking, one audit line."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mcp.server import Server, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as Described
from prometheus_client import Counter, Histogram
from pydantic import BaseModel, ConfigDict, ValidationError

from . import __version__, logs
from .errors import DependencyError
from .redaction import Redactor

MAX_ANSWER_BYTES = 256 * 1024
AUDITED_NAMES = 20  # argument names come from the caller: neither their number nor their length may fill the log
CALLS = Counter("twisterlab_mcp_tool_calls_total", "MCP tool calls by outcome.", ("server", "tool", "outcome"))
DURATION = Histogram("twisterlab_mcp_tool_duration_seconds", "Time of an MCP tool call.", ("server", "tool"))
log = logging.getLogger("twisterlab.mcp")
audit = logging.getLogger("twisterlab.mcp.audit")
audit.setLevel(logging.INFO)  # written whatever LOG_LEVEL says


class Arguments(BaseModel):
    """The arguments of a tool: unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")


class NoArguments(Arguments):
    """A tool without arguments."""


class ToolFailure(Exception):
    """A tool did not do its work; the message says why in one line.

    ``outcome`` is ``failed`` or ``refused`` (nothing was tried); ``answer`` is what there is to show nevertheless.
    """

    def __init__(self, reason: str, outcome: str = "failed", answer: BaseModel | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.answer = answer


@dataclass(frozen=True)
class Tool:
    """One tool: ``run`` gets an instance of ``arguments`` and returns one of ``answer``, or raises ToolFailure.

    ``seconds`` replaces the server's time limit; ``reads`` says that it changes nothing.
    """

    name: str
    description: str
    arguments: type[BaseModel]
    answer: type[BaseModel]
    run: Callable[[Any], Awaitable[BaseModel]]
    reads: bool = False
    seconds: float | None = None

    def described(self) -> Described:
        """Return it as tools/list shows it."""
        return Described(
            name=self.name,
            description=self.description,
            input_schema=self.arguments.model_json_schema(),
            output_schema=self.answer.model_json_schema(mode="serialization"),
            annotations=ToolAnnotations(read_only_hint=self.reads),
        )


def wrong_arguments(error: ValidationError) -> str:
    """Return one line that names what is wrong, without the values."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(str(part) for part in item['loc'])[:64] or 'arguments'}: {item['msg']}" for item in found[:5]]
    more = f" (and {len(found) - 5} more)" if len(found) > 5 else ""
    return f"wrong arguments: {'; '.join(told)}{more}"


class ToolBox:
    """The tools of one server."""

    def __init__(self, server: str, tools: Iterable[Tool], seconds: float, redact: Redactor) -> None:
        self._server = server
        self._tools = {tool.name: tool for tool in tools}
        self._described = [tool.described() for tool in self._tools.values()]
        self._seconds = seconds
        self._redact = redact

    def server(self, instructions: str) -> Server[Any]:
        """Return the SDK's server with these tools and nothing else."""
        return Server(
            self._server,
            version=__version__,
            instructions=instructions,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )

    async def _list(
        self, _context: ServerRequestContext[Any], _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        return ListToolsResult(tools=self._described)

    async def _call(self, _context: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        arguments = params.arguments or {}
        tool = self._tools.get(params.name)
        token = logs.request_id.set(logs.request_id.get() or uuid.uuid4().hex)
        started, outcome = time.perf_counter(), "cancelled"
        try:
            if tool is None:
                outcome = "refused"
                known = ", ".join(self._tools)
                raise MCPError(code=INVALID_PARAMS, message=f"there is no tool {params.name[:64]!r}; known: {known}")
            outcome, result = await self._run(tool, arguments)
            return result
        finally:
            name, seconds = tool.name if tool else "unknown", time.perf_counter() - started
            CALLS.labels(self._server, name, outcome).inc()
            DURATION.labels(self._server, name).observe(seconds)
            names = sorted(key[:64] for key in list(arguments)[:AUDITED_NAMES])
            fields = {"server": self._server, "tool": name, "outcome": outcome, "seconds": round(seconds, 4)}
            audit.info("tool call", extra=fields | {"arguments": names})
            logs.request_id.reset(token)

    async def _run(self, tool: Tool, arguments: dict[str, Any]) -> tuple[str, CallToolResult]:
        """Return the outcome and the result; only cancellation leaves as an exception."""
        try:
            # As JSON and strictly: exactly what the schema says, so the text "true" is no boolean.
            checked = tool.arguments.model_validate_json(json.dumps(arguments), strict=True)
        except ValidationError as error:
            return "refused", self._failed(wrong_arguments(error))
        limit = tool.seconds or self._seconds
        clock = asyncio.timeout(limit)
        try:
            async with clock:
                answer = await tool.run(checked)
        except ToolFailure as error:
            return error.outcome, self._failed(str(error), error.answer)
        except DependencyError as error:
            return "failed", self._failed(str(error))
        except TimeoutError:
            if not clock.expired():
                return "failed", self._failed("no answer in time")
            return "timeout", self._failed(f"{tool.name} did not end within {limit:g} s; it is unknown what it did")
        except Exception as error:  # whatever went wrong is told without its text, which may hold anything
            log.exception("a tool failed unexpectedly", extra={"tool": tool.name})
            return "error", self._failed(f"internal error ({type(error).__name__}); the server's log has its trace")
        structured, text = self._shown(answer)
        size = len(text.encode("utf-8", "replace"))
        if size > MAX_ANSWER_BYTES:
            reason = f"the work was done, but its answer has {size} bytes and {MAX_ANSWER_BYTES} is the limit"
            return "failed", self._failed(f"{reason}: ask for less")
        return "ok", CallToolResult(content=[TextContent(type="text", text=text)], structured_content=structured)

    def _shown(self, answer: BaseModel) -> tuple[dict[str, Any], str]:
        structured: dict[str, Any] = self._redact.deep(answer.model_dump(mode="json"))
        return structured, json.dumps(structured, ensure_ascii=False)

    def _failed(self, reason: str, answer: BaseModel | None = None) -> CallToolResult:
        content: list[ContentBlock] = [TextContent(type="text", text=self._redact(reason)[:4000])]
        structured = None
        if answer is not None:
            shown, text = self._shown(answer)
            if len(text.encode("utf-8", "replace")) <= MAX_ANSWER_BYTES:
                structured = shown
                content.append(TextContent(type="text", text=text))
        return CallToolResult(content=content, structured_content=structured, is_error=True)
