# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of a cluster without kubectl: the Kubernetes API's exec stream."""

from __future__ import annotations

import contextlib
import json
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._errors import Refused, Silent
from ._kube import Cluster
from ._mcp_wire import Broken, Ended, Lines, Message, Tail, encode
from ._reach import core_api, pods, within

IMPORT_ERROR: str | None = None
try:
    import websocket
    from kubernetes.stream import stream
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

_STDIN, _STDOUT, _STDERR, _STATUS = 0, 1, 2, 3
_OUTPUT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Target:
    """Where and what to execute.

    Attributes:
        namespace: namespace of the pod.
        name: pod, or `deployment/name` and the like.
        container: empty for the pod's first.
        argv: program and arguments.
    """

    namespace: str
    name: str
    container: str
    argv: tuple[str, ...]


def target(command: Sequence[str], namespace: str) -> Target:
    """Read the words of `kubectl exec` as kubectl does.

    Args:
        command: `kubectl [options] exec -i [options] TARGET -- PROGRAM ...`.
        namespace: where it does not name one.

    Raises:
        Refused: it is not such a command.
    """
    words = list(command)
    if "exec" not in words or "--" not in words or words.index("exec") > words.index("--"):
        raise Refused(
            f"{_shown(command)} is not of the form `kubectl exec -i -n NAMESPACE TARGET -c CONTAINER -- PROGRAM ...`; use via: file to start it as it is"
        )
    cut = words.index("--")
    names, container, interactive = [], "", False
    at = 1
    while at < cut:
        word = words[at]
        at += 1
        if not word.startswith("-"):
            names.append(word)
            continue
        option, has_value, value = word.partition("=")
        if option in ("-i", "--stdin", "-it", "-ti"):
            interactive = value != "false"
            continue
        if option in ("-t", "--tty", "-q", "--quiet", "--insecure-skip-tls-verify", "--match-server-version"):
            continue
        if not has_value:
            value = words[at] if at < cut else ""
            at += 1
        if option in ("-n", "--namespace"):
            namespace = value
        elif option in ("-c", "--container"):
            container = value
    names.remove("exec")
    if not interactive:
        raise Refused(f"{_shown(command)} closes the server's stdin at once: write `exec -i`")
    if len(names) != 1 or not words[cut + 1 :]:
        raise Refused(f"{_shown(command)} must name one pod or workload and, after --, the program to run")
    return Target(namespace, names[0], container, tuple(words[cut + 1 :]))


class Exec:
    """A program in a container, through the exec stream: no kubectl, no shell, no terminal."""

    transport = "stdio"

    def __init__(self, cluster: Cluster, where: Target, seconds: float, stdin: bool = True) -> None:
        """Start it.

        Raises:
            Refused: no pod, or the API server refuses.
            Silent: no connection in time.
        """
        pod = pods(cluster, where.namespace, where.name)[0]["metadata"]["name"]
        api = core_api(cluster)
        options: dict[str, Any] = {"container": where.container} if where.container else {}

        def connect() -> Any:
            return stream(
                api.connect_get_namespaced_pod_exec,
                pod,
                where.namespace,
                command=list(where.argv),
                stdin=stdin,
                stdout=True,
                stderr=True,
                tty=False,
                _preload_content=False,
                binary=True,
                **options,
            )

        self._stream = within(seconds, connect, f"exec in pod {pod}")
        # One frame at a time: the client would read on as long as more is there, which a flood never ends.
        self._stream._frames_immediately_available = lambda: False
        self._lines, self._tail, self._status = Lines(), Tail(), b""

    def send(self, message: Message, revision: str) -> None:
        """Write a line."""
        try:
            self._stream.write_channel(_STDIN, encode(message) + b"\n")
        except (OSError, websocket.WebSocketException) as error:
            raise Ended(f"the server {self._gone()}") from error

    def feed(self, text: str) -> None:
        """Write a text as it is."""
        self._stream.write_channel(_STDIN, text.encode())

    def receive(self, seconds: float) -> bytes:
        """Read a line."""
        until = time.monotonic() + seconds
        while True:
            line = self._lines.next()
            if line is not None:
                return line
            if self._over():
                raise Ended(f"the server {self._gone()}")
            left = until - time.monotonic()
            if left <= 0:
                raise Silent(f"the server did not answer within {seconds:.0f} s")
            self._pump(left)

    def end(self, seconds: float) -> tuple[str, list[bytes]]:
        """Close its stdin, which the fifth version of the stream's protocol can do."""
        if not hasattr(self._stream, "close_channel") or not str(self._stream.subprotocol).startswith("v5"):
            raise Refused("this API server or client cannot close stdin alone (exec protocol below v5)")
        until = time.monotonic() + seconds
        found: list[bytes] = []
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._stream.close_channel(_STDIN)
        while not self._over():
            left = until - time.monotonic()
            if left <= 0:
                raise Silent(f"the server still runs {seconds:.0f} s after the end of its input")
            self._pump(left)
        while (line := self._lines.next()) is not None:
            found.append(line)
        found += [self._lines.rest()] if self._lines.rest() else []
        return f"it {self._gone()}", found

    def close(self) -> None:
        """Cut the connection; the container's runtime then ends the program's stdin."""
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._stream.close(timeout=1)

    def words(self) -> str:
        """The end of its stderr, or what the API server said."""
        return self._tail.text() or self._failure()

    def output(self, seconds: float) -> tuple[bool, str]:
        """Whether it ended well, and its whole stdout; for programs that need no input.

        Raises:
            Silent: it did not end in time.
            Broken: it writes too much.
        """
        until = time.monotonic() + seconds
        data = b""
        while not self._over():
            if until < time.monotonic():
                raise Silent(f"the program did not end within {seconds:.0f} s")
            self._pump(0.5)
            data += self._take()
            if len(data) > _OUTPUT_BYTES:
                raise Broken(f"the program writes more than {_OUTPUT_BYTES // 1024} KiB")
        data += self._take() + self._lines.rest()
        return not self._failure(), data.decode("utf-8", "replace")

    def _take(self) -> bytes:
        """What is there of stdout, lines or not."""
        found = b""
        while (line := self._lines.next()) is not None:
            found += line + b"\n"
        return found

    def _over(self) -> bool:
        return bool(self._status) or not self._stream.is_open()

    def _pump(self, seconds: float) -> None:
        """Take in what is there; waits for the first frame at most that long."""
        try:
            # Looking at one channel may bring in data of another, so nothing may wait before all were looked at.
            if not self._drain():
                self._stream.update(timeout=seconds)
                self._drain()
        except (OSError, websocket.WebSocketException):
            self._stream.close()

    def _drain(self) -> bool:
        """Take what the channels hold; whether there was anything."""
        out, err, status = (self._stream.read_channel(channel) for channel in (_STDOUT, _STDERR, _STATUS))
        self._lines.feed(out)
        self._tail.feed(err)
        self._status += status
        return bool(out or err or status)

    def _failure(self) -> str:
        """What the API server says of the end; empty when the program ended well or still runs."""
        try:
            told = json.loads(self._status or b"{}")
        except ValueError:
            return self._status.decode("utf-8", "replace").strip()
        return "" if told.get("status", "Success") == "Success" else str(told.get("message") or told)

    def _gone(self) -> str:
        failure = self._failure()
        return f"ended: {failure}" if failure else ("ended with code 0" if self._status else "is no longer connected")


def run(cluster: Cluster, where: Target, seconds: float, text: str = "") -> tuple[bool, str, str]:
    """Run a program: whether it ended well, its stdout, its last words on stderr.

    Args:
        text: its input. Its end is not told to the program, which must know when it has all.
    """
    program = Exec(cluster, where, seconds, stdin=bool(text))
    try:
        if text:
            program.feed(text)
        good, text = program.output(seconds)
        return good, text, program.words()
    finally:
        program.close()


def _shown(command: Sequence[str]) -> str:
    return "`" + " ".join(command)[:160] + "`"
