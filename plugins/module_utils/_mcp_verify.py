# SPDX-License-Identifier: GPL-3.0-or-later
"""One server, launched and questioned as a client of one era does it; every claim is checked, every step timed."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ._errors import PlatformError, Refused, Silent
from ._mcp_expect import Expected, named_items, text, ticket_number
from ._mcp_http import Http
from ._mcp_schema import LEGACY, MODERN, REVISIONS, schema_difference
from ._mcp_session import (
    CLIENT,
    INVALID_PARAMS,
    META,
    UNSUPPORTED_REVISION,
    Answer,
    Hide,
    Session,
)
from ._mcp_trace import Row
from ._mcp_wire import Broken, Ended, Wire

OK, FAILED, SKIPPED = "ok", "failed", "skipped"
#: The revision that each era's client asks for; an older revision stands for itself.
ERAS = {"modern": MODERN, "legacy": LEGACY, **{revision: revision for revision in REVISIONS[:-2]}}
#: So begins the evidence of a step that an earlier failure made impossible.
LOST = "not tried after the failure of"
NO_SUCH_REVISION = "2099-12-31"
NO_SUCH_TOOL = "no_such_tool"
STRANGER = "https://stranger.example"
_PAGES = 50
#: Which workload serves the tier that a check names.
_TIERS = {"api": "twisterlab-api", "postgres": "postgres", "redis": "redis"}


class Failed(PlatformError):
    """The server does not do what it must; the conversation can go on."""


class Skipped(PlatformError):
    """A step that could not be made; the text says why."""


class Facts(Protocol):
    """What the cluster says without asking the server; see _mcp_trace.Evidence."""

    def ticket(self, number: int) -> Row:
        """One ticket as it is stored."""

    def agents(self, deployment: str) -> dict[str, str] | None:
        """The agents that a server's Deployment configures."""

    def missing_services(self, urls: Mapping[str, str]) -> list[str]:
        """The agents whose URL names no Service."""

    def ready(self) -> dict[str, int]:
        """The ready pods of every workload."""


@dataclass(frozen=True)
class Step:
    """One thing that was looked at.

    Attributes:
        server: name of the entry.
        transport: `stdio` or `http`.
        era: `modern`, `legacy` or an older revision.
        step: what was looked at.
        state: `ok`, `failed` or `skipped`.
        seconds: how long it took.
        evidence: what was found or, with a failure, what is wrong.
    """

    server: str
    transport: str
    era: str
    step: str
    state: str
    seconds: float
    evidence: str

    def data(self) -> dict[str, Any]:
        """As a plain dictionary."""
        return asdict(self)

    @property
    def who(self) -> str:
        """Such as `twisterlab-mcp (stdio, modern)`."""
        return f"{self.server} ({self.transport}, {self.era})"


class Verification:
    """The steps of one server in one era, in the order in which a client meets them."""

    def __init__(
        self,
        name: str,
        transport: str,
        era: str,
        expected: Expected,
        connect: Callable[[], Wire],
        facts: Callable[[], Facts] | None,
        seconds: float,
        hide: Hide = str,
        guarded: bool = False,
    ) -> None:
        """Nothing is started yet.

        Args:
            name: name of the entry.
            transport: `stdio` or `http`.
            era: one of ERAS.
            expected: what the server must be.
            connect: starts the server or reaches it.
            facts: what the cluster says; None when no trace shall be left.
            seconds: time limit of one step.
            hide: takes secrets out of a text.
            guarded: whether the server must refuse strangers (HTTP with a token).
        """
        self.steps: list[Step] = []
        self.info: dict[str, Any] = {}
        self._name, self._transport, self._era = name, transport, era
        self._expected = expected
        self._connect = connect
        self._facts = facts
        self._seconds = seconds
        self._hide = hide
        self._guarded = guarded
        self._wire: Wire | None = None
        self._session: Session | None = None
        self._tools: dict[str, dict[str, Any]] = {}
        self._ticket: int | None = None
        #: Why no further request makes sense; empty while the conversation works.
        self._lost = ""

    def run(self) -> list[Step]:
        """Make all steps; the server is gone afterwards, whatever happened."""
        try:
            self._do("start", self._start, essential=True)
            self._do("handshake", self._handshake, essential=True)
            self._do("identity", self._identity)
            self._do("tools", self._list_tools)
            self._do("call", self._call)
            if self._ticket is not None:
                self._do("clean up", self._clean_up)
            self._do("wrong arguments", self._wrong_arguments)
            if self._era == "modern":
                self._do("unknown revision", self._unknown_revision)
            if self._transport == "http":
                self._do("strangers", self._strangers)
            else:
                self._do("end of input", self._end_of_input)
            self._lost = ""
            if self._session is not None and self._session.received:
                if self._transport == "stdio":
                    self._do("stdout", self._stdout)
                self._do("schema", self._schema)
        finally:
            if self._wire is not None:
                self._wire.close()
        return self.steps

    def probe(self) -> dict[str, Any]:
        """Start, shake hands and end: the serverInfo.

        Raises:
            PlatformError: it does not start or does not speak this era.
        """
        try:
            self._start()
            self._handshake()
            return self.info or {"name": "nameless", "version": ""}
        finally:
            if self._wire is not None:
                self._wire.close()

    # -- one step ---------------------------------------------------------------------------------------------------

    def _do(self, name: str, work: Callable[[], str], essential: bool = False) -> None:
        begun = time.monotonic()
        state = OK
        try:
            if self._lost:
                raise Skipped(self._lost)
            evidence = work()
        except Skipped as reason:
            state, evidence = SKIPPED, str(reason)
        except (Silent, Ended, Broken) as error:
            state, evidence = FAILED, str(error) + self.last_words()
            self._lost = f"{LOST} {name}"
        except PlatformError as error:
            state, evidence = FAILED, str(error)
            if essential:
                self._lost = f"{LOST} {name}"
        seconds = round(time.monotonic() - begun, 3)
        line = " ".join(self._hide(evidence).split())
        self.steps.append(Step(self._name, self._transport, self._era, name, state, seconds, line))

    def last_words(self) -> str:
        """The end of the server's stderr, ready to be added to a sentence."""
        words = self._wire.words() if self._wire is not None else ""
        return f"; its last words: {' '.join(words.split())[-300:]}" if words else ""

    @property
    def _talk(self) -> Session:
        if self._session is None:
            raise AssertionError("start comes first")
        return self._session

    def _ask(self, method: str, params: dict[str, Any], revision: str | None = None) -> Answer:
        return self._talk.request(method, params, self._seconds, revision)

    def _use(self, tool: str, arguments: dict[str, Any]) -> Answer:
        return self._ask("tools/call", {"name": tool, "arguments": arguments})

    # -- the steps --------------------------------------------------------------------------------------------------

    def _start(self) -> str:
        self._wire = self._connect()
        self._session = Session(self._wire, ERAS[self._era], self._hide)
        return "started" if self._transport == "stdio" else "found"

    def _handshake(self) -> str:
        return self._discover() if self._era == "modern" else self._initialize(ERAS[self._era])

    def _discover(self) -> str:
        answer = self._ask("server/discover", {})
        if answer.result is None:
            raise Failed(self._other_era(answer))
        versions = answer.result.get("supportedVersions")
        if not isinstance(versions, list) or MODERN not in versions:
            raise Failed(f"server/discover names the revisions {json.dumps(versions)}, without {MODERN}")
        info = (answer.result.get("_meta") or {}).get(f"{META}serverInfo")
        self.info = info if isinstance(info, dict) else {}
        return self._who()

    def _other_era(self, answer: Answer) -> str:
        """Why there is no modern era, and whether the fall-back that every dual-era client makes works."""
        refused = f"server/discover was answered with {answer.error_text()}"
        if answer.code == UNSUPPORTED_REVISION:
            data = (answer.error or {}).get("data")
            supported = data.get("supported") if isinstance(data, dict) else None
            return f"the server does not speak revision {MODERN}, it supports {json.dumps(supported)}"
        first, self._session = self._session, Session(self._talk.wire, LEGACY, self._hide)
        try:
            told = self._initialize(LEGACY)
        except (Failed, Silent, Ended, Broken) as error:
            self._session = first
            return f"the server speaks no modern era ({refused}), and the fall-back to initialize fails: {error}"
        self._session = first
        return f"the server speaks no modern era ({refused}) but does speak the legacy one ({told}); ask with eras: [legacy] if that is meant"

    def _initialize(self, revision: str) -> str:
        params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": CLIENT}
        answer = self._ask("initialize", params)
        if answer.result is None:
            raise Failed(f"initialize was answered with {answer.error_text()}")
        agreed = answer.result.get("protocolVersion")
        if agreed not in REVISIONS[:-1]:
            raise Failed(f"initialize with {revision} was answered with revision {json.dumps(agreed)}")
        self._talk.settle(str(agreed))
        if isinstance(self._wire, Http):
            self._wire.agree(str(agreed))
        self._talk.notify("notifications/initialized")
        info = answer.result.get("serverInfo")
        self.info = info if isinstance(info, dict) else {}
        return self._who() + ("" if agreed == ERAS[self._era] else f", revision {agreed}")

    def _who(self) -> str:
        return f"{self.info.get('name', 'nameless')} {self.info.get('version', '')}".strip()

    def _identity(self) -> str:
        if self._expected.info and (self.info.get("name"), self.info.get("version")) != self._expected.info:
            raise Failed(f"the server says that it is {self._who()}, expected is {' '.join(self._expected.info)}")
        if not self.info:
            raise Failed("the server does not say its name and version")
        return self._who()

    def _list_tools(self) -> str:
        params: dict[str, Any] = {}
        for _page in range(_PAGES):
            answer = self._ask("tools/list", params)
            if answer.result is None:
                raise Failed(f"tools/list was answered with {answer.error_text()}")
            tools = answer.result.get("tools")
            if not isinstance(tools, list) or not all(isinstance(tool, dict) and "name" in tool for tool in tools):
                raise Failed("tools/list answers no list of tools with names")
            self._tools |= {str(tool["name"]): tool for tool in tools}
            cursor = answer.result.get("nextCursor")
            if not isinstance(cursor, str):
                break
            params = {"cursor": cursor}
        for name, tool in self._tools.items():
            difference = schema_difference(tool.get("inputSchema"))
            if difference:
                raise Failed(f"the input schema of {name} is no valid JSON Schema: {difference}")
        missing = self._expected.tools - self._tools.keys()
        if missing:
            raise Failed(f"tools/list lacks {', '.join(sorted(missing))}")
        return f"{len(self._tools)} tools"

    def _call(self) -> str:
        facts = self._trace()
        calls = {"ticket": self._call_ticket, "agents": self._call_agents, "tiers": self._call_tiers}
        if self._expected.call not in calls:
            raise Skipped(f"no call with a trace is known for {self._name}")
        return calls[self._expected.call](facts)

    def _trace(self) -> Facts:
        if self._facts is None:
            raise Skipped("no trace was asked for")
        return self._facts()

    def _succeed(self, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """A call that must work; its result."""
        answer = self._use(tool, arguments)
        if answer.result is None:
            raise Failed(f"{tool} was answered with {answer.error_text()}")
        if answer.result.get("isError"):
            raise Failed(f"{tool} says that it failed: {text(answer.result)[:300]}")
        return answer.result

    def _call_ticket(self, facts: Facts) -> str:
        mark = f"verify mcp {uuid.uuid4()}"
        result = self._succeed("classify_ticket", {"ticket_text": f"{mark}: the printer on floor 3 prints nothing"})
        number = ticket_number(result)
        if number is None:
            raise Failed("classify_ticket reports success but names no ticket, so nothing can be read back")
        row = facts.ticket(number)
        if row.fields is None:
            raise Failed(
                f"{self._name} says that it stored ticket {number}, but {row.source} has no such row: "
                "the server reports success that did not happen"
            )
        stored = f"{row.fields.get('title')}\n{row.fields.get('description')}"
        if mark not in stored:
            raise Failed(
                f"{self._name} says that it stored ticket {number}, but in {row.source} that ticket has another text: "
                "the server reports success that did not happen"
            )
        self._ticket = number
        return f"ticket {number} read back from {row.source}"

    def _clean_up(self) -> str:
        facts = self._trace()
        kind = self._tools.get("resolve_ticket", {}).get("inputSchema", {}).get("properties", {}).get("ticket_id", {})
        number = (
            str(self._ticket)
            if '"string"' in json.dumps(kind) and '"integer"' not in json.dumps(kind)
            else self._ticket
        )
        arguments = {"category": "hardware", "description": "Made by a verification, which has ended."}
        self._succeed("resolve_ticket", {**arguments, "ticket_id": number})
        row = facts.ticket(self._ticket or 0)
        status = (row.fields or {}).get("status")
        if status not in ("resolved", "closed"):
            raise Failed(f"resolve_ticket reports success, but ticket {self._ticket} is {status} in {row.source}")
        return f"ticket {self._ticket} is {status}"

    def _call_agents(self, facts: Facts) -> str:
        items = named_items(self._succeed("list_agents", {}))
        if items is None:
            raise Failed("list_agents answers no list of agents with names")
        listed = {str(item["name"]) for item in items}
        configured = facts.agents(self._expected.deployment)
        if configured is None:
            urls = {str(item["name"]): str(item.get("url", "")) for item in items}
        else:
            urls = configured
            if listed != configured.keys():
                raise Failed(
                    f"list_agents names {', '.join(sorted(listed)) or 'nobody'}, "
                    f"configured are {', '.join(sorted(configured)) or 'nobody'}"
                )
        missing = facts.missing_services(urls)
        if missing:
            raise Failed(f"list_agents names {', '.join(missing)}, whose Service does not exist")
        return f"agents {', '.join(sorted(listed)) or 'none'}, as configured"

    def _call_tiers(self, facts: Facts) -> str:
        items = named_items(self._succeed("check_tiers", {}))
        if not items:
            raise Failed("check_tiers answers no list of tiers with names")
        ready = facts.ready()
        told = {str(item["name"]): _verdict(item) for item in items}
        for name, verdict in told.items():
            workload = _TIERS.get(name, name)
            if verdict == "ok" and ready.get(workload, 1) == 0:
                raise Failed(f"check_tiers says that {name} is ok, but {workload} has no ready pod")
        return ", ".join(f"{name} {verdict}" for name, verdict in sorted(told.items()))

    def _wrong_arguments(self) -> str:
        strict = [name for name, tool in self._tools.items() if (tool.get("inputSchema") or {}).get("required")]
        tool = "classify_ticket" if "classify_ticket" in strict else (sorted(strict) or [NO_SUCH_TOOL])[0]
        what = f"{tool} without its arguments" if strict else f"the unknown tool {NO_SUCH_TOOL}"
        answer = self._use(tool, {})
        if answer.error is not None:
            if answer.code != INVALID_PARAMS:
                raise Failed(f"{what} was answered with {answer.error_text()} instead of {INVALID_PARAMS} or isError")
            return f"{what}: {INVALID_PARAMS}"
        if not (answer.result or {}).get("isError"):
            raise Failed(f"{what} is reported as a success: the server reports success that cannot be")
        return f"{what}: isError"

    def _unknown_revision(self) -> str:
        answer = self._ask("tools/list", {}, NO_SUCH_REVISION)
        if answer.code != UNSUPPORTED_REVISION:
            told = answer.error_text() if answer.error else "a result"
            raise Failed(
                f"a request of revision {NO_SUCH_REVISION} was answered with {told} instead of {UNSUPPORTED_REVISION}"
            )
        if isinstance(self._wire, Http) and self._wire.status != 400:
            raise Failed(
                f"a request of revision {NO_SUCH_REVISION} was answered with HTTP {self._wire.status} instead of 400"
            )
        data = (answer.error or {}).get("data")
        return f"{UNSUPPORTED_REVISION}, supported are {', '.join(map(str, (data or {}).get('supported', [])))}"

    def _strangers(self) -> str:
        wire = self._talk.wire
        if not self._guarded or not isinstance(wire, Http):
            raise Skipped("the entry has no Authorization header, so nothing is protected")
        message = {"jsonrpc": "2.0", "id": "stranger", "method": "tools/list", "params": {}}
        if self._era == "modern":
            meta = {"protocolVersion": MODERN, "clientCapabilities": {}, "clientInfo": CLIENT}
            message["params"] = {"_meta": {META + name: value for name, value in meta.items()}}
        revision = self._talk.revision
        status = wire.knock(message, revision, {})
        if status != 401:
            raise Failed(f"a request without the token was answered with HTTP {status} instead of 401")
        status = wire.knock(message, revision, {**wire.headers, "Origin": STRANGER})
        if status != 403:
            raise Failed(f"a request from the foreign origin {STRANGER} was answered with HTTP {status} instead of 403")
        return "401 without the token, 403 from a foreign origin"

    def _end_of_input(self) -> str:
        try:
            told, lines = self._talk.wire.end(self._seconds)
        except Refused as reason:
            raise Skipped(str(reason)) from None
        for line in lines:
            self._talk.take(line)
        return told

    def _stdout(self) -> str:
        if self._talk.impure is not None:
            raise Failed(f"the server writes a line to stdout that is no JSON-RPC message: {self._talk.impure}")
        return f"{self._talk.received} lines, all of them messages"

    def _schema(self) -> str:
        if self._talk.difference is not None:
            raise Failed(f"a message differs from the protocol: {self._talk.difference}")
        return f"{self._talk.received} messages valid (revision {self._talk.revision})"


def _verdict(item: Mapping[str, Any]) -> str:
    """What a check says of a tier, whatever it calls the word."""
    for key in ("verdict", "status", "state"):
        if isinstance(item.get(key), str):
            return re.sub(r"^(healthy|up|ready)$", "ok", item[key].lower())
    for key in ("ok", "healthy"):
        if isinstance(item.get(key), bool):
            return "ok" if item[key] else "failed"
    return "unknown"
