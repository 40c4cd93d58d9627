# SPDX-License-Identifier: GPL-3.0-or-later
"""Long commands that are never silent: run, log, show elapsed seconds, end with the caller."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

Say = Callable[[str], None]

#: Seconds between two lines about something that goes on.
INTERVAL = 15.0
_POLL = 0.2
_TAIL_LINES = 6


class BuildError(Exception):
    """Something could not be made; the message is one sentence that says what and what to do."""


def seconds(start: float, now: float | None = None) -> str:
    """Elapsed time since start (time.monotonic) as a person reads it: `7 s`, `2 min 05 s`."""
    elapsed = int((time.monotonic() if now is None else now) - start)
    return f"{elapsed} s" if elapsed < 60 else f"{elapsed // 60} min {elapsed % 60:02d} s"


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log that say something, joined by ` | `."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(kept[-lines:])


def _end_with_parent() -> None:
    """In the child: be told to end when the process that started it is gone (an interrupted play leaves nothing
    behind)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def run(
    argv: Sequence[str],
    *,
    log: Path,
    say: Say,
    label: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Path | None = None,
    detail: Callable[[], str] | None = None,
) -> None:
    """Run one command, everything it writes in log, one line through say every 15 s.

    Args:
        argv: the command; never a shell line.
        log: file the output is appended to.
        say: shows one line.
        label: what is being done, for the lines and the error.
        cwd, env: as for subprocess; env is added to the caller's.
        stdin: file given as standard input.
        detail: a few words about how far it is, asked each time a line is shown.

    Raises:
        BuildError: the program is missing or ended with an error; with the last lines of the log.
    """
    start = time.monotonic()
    shown = start
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output, stdin.open("rb") if stdin else Path(os.devnull).open("rb") as source:
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=source,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        except FileNotFoundError as error:
            raise BuildError(f"{label}: the program {argv[0]} is not there; install it and run again.") from error
        try:
            while True:
                try:
                    code = process.wait(timeout=_POLL)
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() - shown >= INTERVAL:
                        shown = time.monotonic()
                        extra = detail() if detail else ""
                        say(f"{label}: {seconds(start)}{', ' + extra if extra else ''}")
        except BaseException:
            _end_group(process)
            raise
    if code != 0:
        raise BuildError(
            f"{label} failed after {seconds(start)} ({Path(argv[0]).name} ended with {code}); the log is "
            f"{log}: {tail(log)}"
        )


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def output(
    argv: Sequence[str], *, timeout: float = 60.0, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> str:
    """Standard output of a short command.

    Raises:
        BuildError: it is missing, ended with an error, or took longer than timeout seconds.
    """
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **(env or {})},
            check=False,
            input=stdin,
        )
    except FileNotFoundError as error:
        raise BuildError(f"the program {argv[0]} is not there; install it and run again.") from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{' '.join(argv[:3])} did not answer within {timeout:.0f} s.") from error
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split())[-400:]
        raise BuildError(f"{' '.join(argv[:3])} ended with {done.returncode}: {words}")
    return done.stdout


def succeeds(argv: Sequence[str], *, timeout: float = 60.0) -> bool:
    """Whether a short command ends well within timeout seconds."""
    try:
        output(argv, timeout=timeout)
    except BuildError:
        return False
    return True


@contextlib.contextmanager
def lock(path: Path, *, holder: str, say: Say, what: str) -> Iterator[None]:
    """Hold a file lock; while somebody else has it, say who and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        start = time.monotonic()
        shown = -INTERVAL
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() - start - shown >= INTERVAL:
                    shown = time.monotonic() - start
                    file.seek(0)
                    say(f"{what}: waiting for {file.read().strip() or 'another run'}, {seconds(start)}")
                time.sleep(_POLL)
        file.seek(0)
        file.truncate()
        file.write(holder)
        file.flush()
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
