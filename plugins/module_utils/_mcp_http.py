# SPDX-License-Identifier: GPL-3.0-or-later
"""Streamable HTTP as a client of each era speaks it: one POST a message, answered by JSON or a stream of events."""

from __future__ import annotations

import collections
import contextlib
import json
import time
import traceback
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ._errors import Refused, Silent
from ._mcp_schema import MODERN
from ._mcp_wire import MESSAGE_BYTES, Broken, Ended, Message, encode

IMPORT_ERROR: str | None = None
try:
    import urllib3
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

#: Which parameter of a request the header Mcp-Name repeats.
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
#: The first legacy revision whose clients send MCP-Protocol-Version.
FIRST_WITH_HEADER = "2025-06-18"
_SHOWN = 160


class Http:
    """A server's URL.

    Attributes:
        status: HTTP status of the last answer; 0 before the first.
        headers: what every request carries beside the protocol's own headers.
    """

    transport = "http"

    def __init__(
        self, url: str, headers: Mapping[str, str], seconds: float, ca_file: str = "", pool: Any = None
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: the server's address.
            headers: headers of every request, such as Authorization.
            seconds: time limit of one answer.
            ca_file: authorities to trust; empty for those of the system.
            pool: a pool of connections of another kind than TCP from here, such as a port-forward.

        Raises:
            Refused: the URL or the file of authorities is unusable.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(f"the URL {url!r} is not one of an HTTP server; write http://host:port/mcp")
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.headers = dict(headers)
        self._seconds = seconds
        self._session = ""
        self._agreed = ""
        self._waiting: collections.deque[bytes] = collections.deque()
        self._events: Iterator[bytes] | None = None
        self._response: Any = None
        self.status = 0
        try:
            self._pool = pool or _pool(parts.scheme, parts.hostname, parts.port, ca_file)
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            raise Refused(f"the file of authorities {ca_file} cannot be used: {error}") from error

    def send(self, message: Message, revision: str) -> None:
        """POST it."""
        self._drop()
        response = self.post(message, {**self.headers, **self._protocol_headers(message, revision)})
        if message.get("method") == "initialize":
            self._session = response.headers.get("Mcp-Session-Id", "")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/event-stream" and response.status < 300:
            self._response, self._events = response, self._read_events(response)
            return
        body = self._whole(response)
        if not body.strip():
            if "id" in message and "method" in message:
                raise Broken(f"the request {message['method']} was answered with HTTP {response.status} and no body")
            return
        if response.status >= 400 and not _is_message(body):
            raise Broken(f"HTTP {response.status}: {body[:_SHOWN].decode('utf-8', 'replace').strip()}")
        self._waiting.append(body)

    def agree(self, revision: str) -> None:
        """From now on every message is of the revision that `initialize` agreed on."""
        self._agreed = revision

    def post(self, message: Message, headers: Mapping[str, str]) -> Any:
        """One POST with exactly these headers beside the ones of the transport; sets `status`.

        Raises:
            Ended: the server cannot be reached.
            Silent: no answer in time.
        """
        transport = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        try:
            response = self._pool.urlopen(
                "POST",
                self._path,
                body=encode(message),
                headers={**transport, **headers},
                retries=False,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(total=self._seconds),
            )
        except urllib3.exceptions.ReadTimeoutError as error:
            raise Silent(f"the server did not answer within {self._seconds:.0f} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise Ended(f"the server cannot be reached ({_cause(error)})") from error
        self.status = int(response.status)
        return response

    def knock(self, message: Message, revision: str, headers: Mapping[str, str]) -> int:
        """The HTTP status of one request with other headers than the server's entry has; its body is not looked at.

        Raises:
            Ended: the server cannot be reached.
            Silent: no answer in time.
        """
        self._drop()
        response = self.post(message, {**headers, **self._protocol_headers(message, revision)})
        response.close()
        return self.status

    def receive(self, seconds: float) -> bytes:
        """The next message of the answer to what was sent last."""
        if self._waiting:
            return self._waiting.popleft()
        if self._events is None:
            raise Ended("the server answered without the message that was asked for")
        self._until = time.monotonic() + seconds
        try:
            return next(self._events)
        except StopIteration:
            self._drop()
            raise Ended("the server's stream of events ended without the answer") from None
        except urllib3.exceptions.ReadTimeoutError as error:
            raise Silent(f"the server did not answer within {seconds:.0f} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise Ended(f"the server's stream of events broke off ({error})") from error

    def end(self, seconds: float) -> tuple[str, list[bytes]]:
        """A server over HTTP does not end with its client."""
        raise Refused("a server over HTTP does not end with its client")

    def close(self) -> None:
        """Give up the connection; a session that the server keeps is deleted."""
        self._drop()
        if self._session:
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                headers = {**self.headers, "Mcp-Session-Id": self._session}
                self._pool.urlopen("DELETE", self._path, headers=headers, retries=False, redirect=False, timeout=2.0)
            self._session = ""
        self._pool.close()

    def words(self) -> str:
        """There is no stderr."""
        return ""

    def _protocol_headers(self, message: Message, revision: str) -> dict[str, str]:
        method = message.get("method")
        if not self._agreed and revision >= MODERN or method == "server/discover":
            found = {"MCP-Protocol-Version": revision}
            if isinstance(method, str):
                found["Mcp-Method"] = method
                name = (message.get("params") or {}).get(NAMED.get(method, ""))
                found |= {"Mcp-Name": name} if isinstance(name, str) else {}
            return found
        found = {"Mcp-Session-Id": self._session} if self._session else {}
        if self._agreed >= FIRST_WITH_HEADER:
            found["MCP-Protocol-Version"] = self._agreed
        return found

    def _drop(self) -> None:
        """Forget what is left of the last answer."""
        self._waiting.clear()
        self._events = None
        if self._response is not None:
            self._response.close()
            self._response = None

    def _whole(self, response: Any) -> bytes:
        """The whole body, within limits of size and time."""
        until = time.monotonic() + self._seconds
        body = bytearray()
        try:
            while data := response.read1(65536):
                body += data
                if len(body) > MESSAGE_BYTES:
                    response.close()
                    raise Broken(f"the server answers more than {MESSAGE_BYTES // 1024 // 1024} MiB in one message")
                if time.monotonic() > until:
                    response.close()
                    raise Silent(f"the server's answer was not whole within {self._seconds:.0f} s")
        except urllib3.exceptions.ReadTimeoutError as error:
            raise Silent(f"the server's answer was not whole within {self._seconds:.0f} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise Ended(f"the server broke off in the middle of its answer ({error})") from error
        response.release_conn()
        return bytes(body)

    def _read_events(self, response: Any) -> Iterator[bytes]:
        """The data of each event of a stream."""
        pending = b""
        data: list[bytes] = []
        while chunk := response.read1(65536):
            if time.monotonic() > self._until:
                raise Silent("the server sends events, but not the answer")
            pending += chunk
            # A line ends with CR, LF or both; a CR at the end may be half of both.
            *lines, pending = pending.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                field, _, value = line.partition(b":")
                if not line and data:
                    yield b"\n".join(data)
                    data = []
                elif field == b"data":
                    data.append(value.removeprefix(b" "))
            if len(pending) + sum(map(len, data)) > MESSAGE_BYTES:
                raise Broken(f"the server answers more than {MESSAGE_BYTES // 1024 // 1024} MiB in one message")


def _pool(scheme: str, host: str, port: int | None, ca_file: str) -> Any:
    if scheme == "http":
        return urllib3.HTTPConnectionPool(host, port)
    context = urllib3.util.create_urllib3_context()
    context.load_default_certs()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    return urllib3.HTTPSConnectionPool(host, port, ssl_context=context, cert_reqs="CERT_REQUIRED")


def _cause(error: Exception) -> str:
    """The end of a chain of causes: `[Errno 111] Connection refused`."""
    text = str(getattr(error, "reason", None) or error)
    return text.partition("Failed to establish a new connection: ")[2] or text


def _is_message(body: bytes) -> bool:
    try:
        return isinstance(found := json.loads(body), dict) and found.get("jsonrpc") == "2.0"
    except ValueError:
        return False
