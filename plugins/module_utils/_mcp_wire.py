# SPDX-License-Identifier: GPL-3.0-or-later
"""How messages reach a server: what every transport offers, and the stdio of a process started here.

The other transports are in _mcp_stream.py (stdio of a container through the Kubernetes API) and _mcp_http.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any, Protocol, cast

from ._errors import PlatformError, Refused, Silent

#: Longest message that is read, in bytes; a server that sends more is told apart from one that works.
MESSAGE_BYTES = 4 * 1024 * 1024
#: How much of what a server writes to stderr is kept for the report, in bytes; the end is what matters.
KEPT_BYTES = 4096
#: How long a process may take to be gone after SIGTERM, in seconds.
GRACE_SECONDS = 2.0

Message = Mapping[str, Any]

_CLUSTER = re.compile(r"KUBECONFIG$|K8S_AUTH_")


class Ended(PlatformError):
    """The server, or the connection to it, is gone."""


class Broken(PlatformError):
    """What came cannot be taken for a message of the protocol."""


class Wire(Protocol):
    """One connection to a server; carries messages, knows nothing of their meaning."""

    #: `stdio` or `http`.
    transport: str

    def send(self, message: Message, revision: str) -> None:
        """Send one message as a client of that revision does.

        Raises:
            Ended: the other side is gone.
            Silent: it did not answer in time (HTTP).
        """

    def receive(self, seconds: float) -> bytes:
        """The next message as it came: a line without its end, or the body of an answer.

        Raises:
            Silent: none came in that time.
            Ended: there will be none.
            Broken: it is too long.
        """

    def end(self, seconds: float) -> tuple[str, list[bytes]]:
        """Say that nothing more will be sent, and wait for the server to end by itself.

        Returns:
            How it ended, in words, and the messages that came meanwhile.

        Raises:
            Silent: it did not end in that time.
            Refused: this transport cannot say so.
        """

    def close(self) -> None:
        """Break off at once and leave nothing behind; harmless to repeat."""

    def words(self) -> str:
        """The end of what the server wrote to stderr; empty when there is no such thing."""


def encode(message: Message) -> bytes:
    """A message as one line without its end."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


class Lines:
    """Bytes as they come, given out as lines."""

    def __init__(self, limit: int = MESSAGE_BYTES) -> None:
        self._limit = limit
        self._data = bytearray()
        self._seen = 0

    def feed(self, data: bytes) -> None:
        """Add what came."""
        self._data += data

    def next(self) -> bytes | None:
        """The next whole line, or None.

        Raises:
            Broken: a line is longer than the limit.
        """
        at = self._data.find(b"\n", self._seen)
        if at < 0:
            self._seen = len(self._data)
            if len(self._data) > self._limit:
                self._data.clear()
                raise Broken(f"the server writes a line of more than {self._limit // 1024 // 1024} MiB")
            return None
        line = bytes(self._data[:at])
        del self._data[: at + 1]
        self._seen = 0
        if len(line) > self._limit:
            raise Broken(f"the server writes a line of {len(line) / 1024 / 1024:.0f} MiB")
        return line.removesuffix(b"\r")

    def rest(self) -> bytes:
        """What came after the last line's end."""
        return bytes(self._data)


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> None:
        """Add what came, forget what is too old."""
        self._data = (self._data + data)[-KEPT_BYTES:]

    def text(self) -> str:
        """What is kept, as text."""
        return self._data.decode("utf-8", "replace").strip()


class Process:
    """A server started on this machine, in a process group of its own."""

    transport = "stdio"

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it.

        Args:
            command: program and arguments.
            env: variables beside those of this process.

        Raises:
            Refused: there is no such program, or it cannot be run.
        """
        try:
            self._process = subprocess.Popen(
                list(command),
                # As a desktop starts it: what the shell knows of a cluster must not make up for what the file lacks.
                env={**{name: value for name, value in os.environ.items() if not _CLUSTER.match(name)}, **env},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            raise Refused(
                f"the command {shlex.quote(command[0])} cannot be started: {error}; install it or set mcp_config_kubectl"
            ) from error
        self._lines, self._tail = Lines(), Tail()
        self._selector = selectors.DefaultSelector()
        self._stdin, self._stdout, self._stderr = (
            cast("IO[bytes]", stream) for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        for stream in (self._stdout, self._stderr):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ)

    def send(self, message: Message, revision: str) -> None:
        """Write a line."""
        try:
            self._stdin.write(encode(message) + b"\n")
        except (OSError, ValueError) as error:
            # What it said before it went is worth more than the broken pipe.
            self._pump(0.2)
            raise Ended(f"the server {self._gone()}") from error

    def receive(self, seconds: float) -> bytes:
        """Read a line."""
        until = time.monotonic() + seconds
        while True:
            line = self._lines.next()
            if line is not None:
                return line
            if not self._reading():
                raise Ended(f"the server {self._gone()}")
            left = until - time.monotonic()
            if left <= 0:
                raise Silent(f"the server did not answer within {seconds:.0f} s")
            self._pump(left)

    def end(self, seconds: float) -> tuple[str, list[bytes]]:
        """Close its stdin."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        until = time.monotonic() + seconds
        found: list[bytes] = []
        while True:
            while (line := self._lines.next()) is not None:
                found.append(line)
            left = until - time.monotonic()
            if self._process.poll() is not None and (not self._reading() or left <= 0):
                break
            if left <= 0:
                raise Silent(f"the server still runs {seconds:.0f} s after the end of its input")
            self._pump(min(left, 0.05))
        found += [self._lines.rest()] if self._lines.rest() else []
        return f"it ended with code {self._process.returncode}", found

    def close(self) -> None:
        """End its whole group: SIGTERM, then SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE_SECONDS)
        self._selector.close()
        for stream in (self._stdin, self._stdout, self._stderr):
            with contextlib.suppress(OSError):
                stream.close()

    def words(self) -> str:
        """The end of its stderr."""
        return self._tail.text()

    def _reading(self) -> bool:
        """Whether stdout is still open."""
        return any(key.fileobj is self._stdout for key in self._selector.get_map().values())

    def _pump(self, seconds: float) -> None:
        """Take in what is there; waits for the first byte at most that long."""
        if not self._selector.get_map():
            time.sleep(min(seconds, 0.01))
            return
        for key, _events in self._selector.select(seconds):
            stream = key.fileobj
            try:
                data = os.read(key.fd, 65536)
            except BlockingIOError:
                continue
            if not data:
                self._selector.unregister(stream)
            elif stream is self._stdout:
                self._lines.feed(data)
            else:
                self._tail.feed(data)

    def _gone(self) -> str:
        """How it went, in words."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_SECONDS)
        self._pump(0.05)
        code = self._process.returncode
        return "closed its stdout" if code is None else f"ended with code {code}"
