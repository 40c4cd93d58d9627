# SPDX-License-Identifier: GPL-3.0-or-later
"""One conversation as a client of one revision holds it; watches what the server does beside answering."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._errors import Silent
from ._mcp_schema import MODERN, first_difference
from ._mcp_wire import Broken, Message, Wire

CLIENT = {"name": "twisterlab.platform", "version": "0.1.0"}
META = "io.modelcontextprotocol/"
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
UNSUPPORTED_REVISION = -32022
#: So many characters of a foreign line are quoted.
QUOTED = 120

Hide = Callable[[str], str]


@dataclass(frozen=True)
class Answer:
    """What a request was answered with: one of the two is None."""

    result: dict[str, Any] | None
    error: dict[str, Any] | None

    @property
    def code(self) -> int | None:
        """The error's code."""
        code = (self.error or {}).get("code")
        return code if isinstance(code, int) else None

    def error_text(self) -> str:
        """The error in words."""
        error = self.error or {}
        return f"{error.get('code')} {error.get('message')}"


class Session:
    """Requests and their answers.

    Attributes:
        revision: the revision that messages are written in and judged by.
        received: how many messages came.
        impure: the first line that is no JSON-RPC object, in words; None when there was none.
        difference: the first difference from the revision's schema; None when there was none.
    """

    def __init__(self, wire: Wire, revision: str, hide: Hide = str) -> None:
        self.wire = wire
        self.revision = revision
        self.received = 0
        self.impure: str | None = None
        self.difference: str | None = None
        self._hide = hide
        self._last = 0
        self._message: dict[str, Any] = {}
        self._modern = revision == MODERN

    def request(self, method: str, params: dict[str, Any], seconds: float, revision: str | None = None) -> Answer:
        """Ask and wait for the answer.

        Args:
            method: such as `tools/list`.
            params: its parameters; a modern request gets its `_meta` here.
            seconds: time limit.
            revision: the revision to claim, where it is not the session's own.

        Raises:
            Silent: no answer in time.
            Ended: the server is gone.
            Broken: what came is no answer to this request.
        """
        self._last += 1
        claimed = revision or self.revision
        if self._modern:
            meta = {"protocolVersion": claimed, "clientCapabilities": {}, "clientInfo": CLIENT}
            params = {**params, "_meta": {META + name: value for name, value in meta.items()}}
        until = time.monotonic() + seconds
        self.wire.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params}, claimed)
        while True:
            message = self._next(until, seconds, method)
            if "method" in message:
                self._serve(message)
                continue
            number = message.get("id")
            if isinstance(number, bool) or number != self._last:
                told = self._hide(json.dumps(number))[:QUOTED]
                raise Broken(f"{method} was asked with id {self._last}, the answer carries id {told}")
            result, error = message.get("result"), message.get("error")
            if (result is None) == (error is None):
                raise Broken(f"the answer to {method} must have either a result or an error")
            if not isinstance(result if error is None else error, dict):
                raise Broken(f"the {'result' if error is None else 'error'} of {method} is no object")
            return Answer(result, error)

    def settle(self, revision: str) -> None:
        """From now on messages are of the revision that `initialize` agreed on, and so was its answer."""
        if revision != self.revision:
            self.revision = revision
            difference = first_difference(self._message, revision, "initialize")
            self.difference = self._hide(difference) if difference else None

    def notify(self, method: str) -> None:
        """Tell the server something; there is no answer."""
        self.wire.send({"jsonrpc": "2.0", "method": method}, self.revision)

    def take(self, line: bytes, asked: str = "") -> dict[str, Any] | None:
        """Judge one message that came; None when it is no JSON-RPC object."""
        self.received += 1
        try:
            message = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            message = line
        if not isinstance(message, dict):
            self.impure = self.impure or self._quoted(line)
            return None
        self._message = message
        difference = first_difference(message, self.revision, asked if "method" not in message else "")
        if difference and not self.difference:
            self.difference = self._hide(difference)
        return message

    def _next(self, until: float, seconds: float, asked: str) -> dict[str, Any]:
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise Silent(f"{asked} was not answered within {seconds:.0f} s")
            try:
                line = self.wire.receive(left)
            except Silent as error:
                raise Silent(f"{asked} was not answered within {seconds:.0f} s") from error
            message = self.take(line, asked)
            if message is not None:
                return message

    def _serve(self, message: dict[str, Any]) -> None:
        """Answer what the server asks: this client can nothing but be alive."""
        if "id" not in message:
            return
        answer: Message = {"jsonrpc": "2.0", "id": message["id"]}
        if message["method"] == "ping":
            self.wire.send({**answer, "result": {}}, self.revision)
        else:
            error = {"code": METHOD_NOT_FOUND, "message": "This client offers nothing."}
            self.wire.send({**answer, "error": error}, self.revision)

    def _quoted(self, line: bytes) -> str:
        """A line as it may be shown: without secrets, control characters and its end."""
        text = self._hide(line[: QUOTED * 8].decode("utf-8", "replace"))
        text = "".join(character if character.isprintable() else " " for character in text).strip()
        return f"{text[:QUOTED]!r}" + (f" ... ({len(line)} bytes)" if len(text) > QUOTED else "")
