# SPDX-License-Identifier: GPL-3.0-or-later
"""Running other programs: no secret in an argument, no child that outlives this process."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from .errors import Fault, clean

_PR_SET_PDEATHSIG = 1
#: An option that is not called as libpq calls it.
_LONG = {"user": "username"}
_LIBC = ctypes.CDLL(None, use_errno=True)


def _with_parent(number: int) -> None:
    """In the child: end with the process that started it, even when that is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, number)


def find(name: str) -> str:
    """The path of a program: on PATH, or among the newest of Debian's versioned Postgres programs.

    Raises:
        Fault: it is not there.
    """
    newest = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(newest[-1]) if newest else shutil.which(name)
    if not found:
        raise Fault(f"The program {name} is not in this image: use the image twisterlab/backup.")
    return found


def start(
    *command: str,
    env: Mapping[str, str] | None = None,
    end_with: int = signal.SIGTERM,
    output: int | IO[bytes] = subprocess.PIPE,
    errors: int | IO[bytes] = subprocess.PIPE,
    folder: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that ends with this process."""
    return subprocess.Popen(
        [find(command[0]), *command[1:]],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        cwd=folder,
        preexec_fn=lambda: _with_parent(end_with),  # noqa: PLW1509 - one prctl, no lock is taken
    )


def attempt(
    *command: str, env: Mapping[str, str] | None = None, folder: Path | None = None, seconds: float | None = None
) -> tuple[int, str, str]:
    """Run a program to its end, or for so many seconds; its exit code and what it said on stdout and stderr."""
    process = start(*command, env=env, folder=folder)
    try:
        try:
            output, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            output, errors = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")


def end(process: subprocess.Popen[bytes], number: int, seconds: float = 20) -> None:
    """Ask a program to end by a signal, and end it when it does not."""
    process.send_signal(number)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def server(where: Mapping[str, str] | None) -> list[str]:
    """The options by which a program of Postgres finds another server than that of the environment: host, port, user."""
    return [word for name, value in (where or {}).items() for word in (f"--{_LONG.get(name, name)}", value)]


def last_words(text: str, lines: int = 2) -> str:
    """The end of what a program said, on one line, without secrets."""
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return clean("; ".join(said[-lines:]))[-500:]


def run(*command: str, what: str, env: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a program and return its stdout.

    Raises:
        Fault: it failed; the sentence starts with `what`.
    """
    code, output, errors = attempt(*command, env=env, folder=folder)
    if code:
        raise Fault(f"{what}: {command[0]} ended with {code}: {last_words(errors or output) or 'it said nothing'}.")
    return output
