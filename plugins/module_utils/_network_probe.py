# SPDX-License-Identifier: GPL-3.0-or-later
"""The program of a probe pod: tries all its targets at once, again until all are as wanted or the time is over.

Its text is what the pod runs (`python -c`), so it uses the standard library alone and nothing newer than Python 3.8: the image is
the user's. Its answer goes where the kubelet reads a container's last words, so that nobody needs the right to read logs.

A new pod is judged by the policies a moment after it began, so one round in which everything is as wanted is the proof; how long
that took is told too.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TCP, DNS = "tcp", "dns"
#: What a target answered, where it is not a time in thousandths of a second.
SILENT, REFUSED, OTHER = -1, -2, -3
WORDS = "/dev/termination-log"
RESOLVER = "/etc/resolv.conf"
PAUSE = 1.0
_REFUSALS = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EPERM)


def resolver(text: str) -> tuple[str, str]:
    """The first name server of a resolv.conf, and a name that it must know."""
    server, suffix = "127.0.0.1", "cluster.local"
    for words in reversed([line.split() for line in text.splitlines()]):
        if words[:1] == ["nameserver"] and len(words) > 1:
            server = words[1]
        if words[:1] == ["search"]:
            suffix = next((word[4:] for word in words[1:] if word.startswith("svc.")), suffix)
    return server, f"kubernetes.default.svc.{suffix}"


def question(name: str) -> bytes:
    """A DNS question for the address of a name."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split("."))
    return b"\x17\x7a\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


def code(number: int | None) -> int:
    """What the error of a connection means."""
    if number in (errno.ETIMEDOUT, errno.EAGAIN):
        return SILENT
    return REFUSED if number in _REFUSALS else OTHER


def opened(kind: str, host: str, port: int, name: str) -> socket.socket | int:
    """A connection that was begun, or the code of its failure."""
    try:
        family, _type, _protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        return SILENT
    found = socket.socket(family, socket.SOCK_DGRAM if kind == DNS else socket.SOCK_STREAM)
    found.setblocking(False)
    try:
        if kind == DNS:
            found.connect(address)
            found.send(question(name))
            return found
        number = found.connect_ex(address)
        if number in (0, errno.EINPROGRESS):
            return found
    except OSError as error:
        number = error.errno or 0
    found.close()
    return code(number)


def answered(kind: str, connection: socket.socket) -> int:
    """0 when a connection that has news was made, the code of its failure otherwise."""
    if kind == DNS:
        try:
            return 0 if connection.recv(512) else OTHER
        except OSError as error:
            return code(error.errno)
    number = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return code(number) if number else 0


def tried(
    targets: list[tuple[str, str, int]], seconds: float, name: str, wanted: list[bool] | None = None
) -> list[int]:
    """One round: for each target the thousandths of a second until it answered, or a code.

    With `wanted` the round ends at the first answer that is not as wanted, for it cannot be the proof any more.
    """
    found = [SILENT] * len(targets)
    begun = time.monotonic()
    with selectors.DefaultSelector() as waiting:
        for index, (kind, host, port) in enumerate(targets):
            connection = opened(kind, host, port, name)
            if isinstance(connection, int):
                found[index] = connection
                if wanted and wanted[index]:
                    seconds = 0.0
                continue
            events = selectors.EVENT_READ if kind == DNS else selectors.EVENT_WRITE
            waiting.register(connection, events, (index, kind, connection, time.monotonic()))
        while waiting.get_map():
            left = begun + seconds - time.monotonic()
            ready = waiting.select(left) if left > 0 else []
            if not ready:
                break
            for key, _events in ready:
                index, kind, connection, started = key.data
                number = answered(kind, connection)
                found[index] = number or max(1, round((time.monotonic() - started) * 1000))
                waiting.unregister(connection)
                connection.close()
                if wanted and wanted[index] != (found[index] >= 0):
                    seconds = 0.0
        for key in list(waiting.get_map().values()):
            key.data[2].close()
    return found


def probe(task: dict[str, Any], conf: str, pause: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Rounds until all is as wanted: how many, how long until then (or null), and the results of the last one.

    Args:
        task: `targets` (kind, host, port, whether it should answer; no host is the pod's name server), `seconds` for a
            connection, `settle` seconds for everything to be as wanted.
        conf: the pod's resolv.conf.
        pause: waits.
    """
    server, name = resolver(conf)
    targets: list[tuple[str, str, int]] = []
    for kind, host, port, _want in task["targets"]:
        if host.startswith("$"):
            # The environment says where the API server is.
            host, port = os.path.expandvars(host), int(os.environ.get("KUBERNETES_SERVICE_PORT", port))
        targets.append((kind, host or server, port))
    wanted = [bool(target[3]) for target in task["targets"]]
    begun, rounds = time.monotonic(), 0
    while True:
        rounds += 1
        # The last round is a whole one: what it says of each target is told.
        last = time.monotonic() - begun >= task["settle"]
        found = tried(targets, task["seconds"], name, None if last else wanted)
        took = time.monotonic() - begun
        right = [number >= 0 for number in found] == wanted
        if right or last:
            return {"rounds": rounds, "settled": round(took, 2) if right else None, "results": found}
        pause(PAUSE)


def main() -> None:
    """Do what the argument says and leave the answer."""
    said = json.dumps(probe(json.loads(sys.argv[1]), Path(RESOLVER).read_text(encoding="utf-8")), separators=(",", ":"))
    Path(WORDS).write_text(said, encoding="utf-8")
    print(said)


if __name__ == "__main__":
    main()
