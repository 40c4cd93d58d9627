# SPDX-License-Identifier: GPL-3.0-or-later
"""How every Service is reached from this machine: pure data for the commands, and the commands while they run."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from . import _objects as objects
from ._errors import Refused
from ._objects import Object

LOOPBACK = "127.0.0.1"
#: Below it a port is for root.
LOWEST = 1024
#: Seconds within which a port must be open, and within which a command must end.
OPEN_SECONDS = 15.0
END_SECONDS = 5.0
_PATHS = {"api": "/docs", "mcp-orchestrator": "/health", "mcp-monitoring": "/health"}
#: Services that a browser can open.
_PAGES = ("api", "mcp-orchestrator", "mcp-monitoring", "grafana", "prometheus", "alertmanager")


@dataclass(frozen=True)
class Way:
    """One port of a Service and the port of this machine that leads there."""

    service: str
    component: str
    port: int
    local: int

    @property
    def words(self) -> list[str]:
        """What follows `kubectl -n NAMESPACE`."""
        return ["port-forward", f"--address={LOOPBACK}", f"service/{self.service}", f"{self.local}:{self.port}"]

    @property
    def address(self) -> str:
        """What to open or connect to."""
        page = self.component in _PAGES
        return f"{'http://' if page else ''}{LOOPBACK}:{self.local}{_PATHS.get(self.component, '') if page else ''}"

    def data(self, kubectl: str) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "address": self.address, "command": f"{kubectl} {shlex.join(self.words)}"}


def ways(services: Iterable[Object], components: Sequence[str]) -> list[Way]:
    """Every port of every Service with an address of its own; two never share a port of this machine."""
    found: list[Way] = []
    taken: set[int] = set()
    for obj in sorted(services, key=lambda item: (objects.component(item), objects.name(item))):
        spec = obj.get("spec") or {}
        if objects.component(obj) not in components or spec.get("clusterIP") == "None":
            continue
        for item in spec.get("ports") or []:
            if item.get("protocol", "TCP") != "TCP":
                continue
            port = int(item["port"])
            local = port
            while local < LOWEST or local in taken:
                local += 10000 if local + 10000 < 65536 else 1
            taken.add(local)
            found.append(Way(objects.name(obj), objects.component(obj), port, local))
    return found


def screen(namespace: str, told: Sequence[dict[str, Any]]) -> list[str]:
    """The lines for people."""
    if not told:
        return [f"Namespace {namespace}: there is no Service of ours to reach; ansible-playbook deploy.yml makes them."]
    lines = [f"Namespace {namespace}: each command runs until Ctrl-C; the address beside it leads to the Service"]
    return lines + [f"  {item['command']}    {item['address']}" for item in told]


@contextlib.contextmanager
def opened(kubectl: Sequence[str], chosen: Sequence[Way]) -> Iterator[list[tuple[Way, subprocess.Popen[bytes]]]]:
    """The commands, running; they are ended when the block is left, however that happens.

    Raises:
        Refused: a port of this machine is in use, kubectl is not here, or a command ended at once.
    """
    if not shutil.which(kubectl[0]):
        raise Refused(
            'There is no kubectl on PATH, which opens the ports; eval "$(make -s env)" puts the project\'s there.'
        )
    for way in chosen:
        if _listens(way.local):
            raise Refused(
                f"Port {way.local} of this machine is in use, so {way.service} cannot be opened there; end what uses it."
            )
    running: list[tuple[Way, subprocess.Popen[bytes]]] = []
    try:
        for way in chosen:
            command = [*kubectl, *way.words]
            running.append(
                (
                    way,
                    subprocess.Popen(
                        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
                    ),
                )
            )
        for way, process in running:
            _wait(way, process)
        yield running
    finally:
        for _way, process in running:
            process.terminate()
        for _way, process in running:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr:
                process.stderr.close()


def _listens(port: int) -> bool:
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _wait(way: Way, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + OPEN_SECONDS
    while not _listens(way.local):
        if process.poll() is not None:
            said = (process.stderr.read() if process.stderr else b"").decode("utf-8", "replace").strip()
            raise Refused(
                f"The port-forward to {way.service} ended: {said[:300] or f'exit code {process.returncode}'}."
            )
        if time.monotonic() > until:
            raise Refused(f"The port-forward to {way.service} was not open after {OPEN_SECONDS:.0f} s.")
        time.sleep(0.1)


def hold(
    running: Sequence[tuple[Way, subprocess.Popen[bytes]]],
    seconds: float,
    stop: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Keep them open; returns the Services whose command ended before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not stop():
        ended = [way.service for way, process in running if process.poll() is not None]
        if ended:
            return ended
        sleep(0.2)
    return []
