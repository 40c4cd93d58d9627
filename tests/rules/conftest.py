# SPDX-License-Identifier: GPL-3.0-or-later
"""The programs, as private processes on loopback ports."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "render" / "golden"
RULES = ROOT / "roles" / "prometheus" / "files" / "rules"


def program(name: str) -> str:
    """Return the path of a program; tests/rules/run puts it on PATH."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH: run tests/rules/run")
    return found


def alertmanager() -> list[str]:
    """Return the command of Alertmanager.

    Debian's reads its templates from a fixed place; where the package is only unpacked, that place is mounted for this
    process alone.
    """
    found = Path(program("prometheus-alertmanager"))
    share = found.parents[1] / "share"
    if share == Path("/usr/share") or Path("/usr/share/prometheus/alertmanager/default.tmpl").is_file():
        return [str(found)]
    alone = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" /usr/share && exec "$@"',
        str(share),
    ]
    if not shutil.which("unshare") or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no mount of its own to a process, so Alertmanager does not find its templates")
    return [*alone, str(found)]


def checked(*command: str, cwd: Path | None = None) -> str:
    """Run a program that must succeed and return what it said."""
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def free_port() -> int:
    """Return a loopback port that nobody uses now, outside the range of outgoing connections: it must stay free."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "the condition") -> Any:
    """Wait until the condition holds and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            value = condition()
            if value:
                return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def fetch(url: str, data: Any = None) -> str:
    """Return the text at a loopback address; `data` is posted as JSON."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return str(answer.read().decode())


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Give a function that starts processes, which end with the block; their logs are in the folder."""
    started: list[subprocess.Popen[bytes]] = []

    def run(*command: str) -> subprocess.Popen[bytes]:
        with (folder / f"process-{len(started)}.log").open("wb") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        return started[-1]

    try:
        yield run
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start processes that end with the test."""
    with running(tmp_path) as run:
        yield run
