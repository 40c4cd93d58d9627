# SPDX-License-Identifier: GPL-3.0-or-later
"""What stays between commands: small JSON files, written whole or not at all, and the lock."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import Fault


def now() -> datetime.datetime:
    """The time, UTC."""
    return datetime.datetime.now(datetime.UTC)


def stamp(moment: datetime.datetime) -> str:
    """A time as `2026-11-26T18:00:00Z`."""
    return moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime.datetime:
    """Parse what `stamp` writes, or any ISO 8601 time with its zone.

    Raises:
        ValueError: it is not one.
    """
    found = datetime.datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found.astimezone(datetime.UTC)


def read(folder: Path, name: str) -> dict[str, Any]:
    """One file of the state; empty when it is not there."""
    try:
        found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write(folder: Path, name: str, value: dict[str, Any]) -> None:
    """Write one file of the state; a reader sees the old one or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f".{name}.{os.getpid()}"
    with place.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    place.replace(folder / f"{name}.json")


def forget(folder: Path, name: str) -> None:
    """Remove one file of the state."""
    (folder / f"{name}.json").unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path, name: str = "lock", *, shared: bool = False, seconds: float = 20.0) -> Iterator[None]:
    """Hold a lock, which a killed process leaves by itself.

    Raises:
        Fault: another process has held it for all the seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mode = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    # opened for writing: network file systems give an exclusive lock on nothing else
    with (folder / name).open("a+b") as file:
        deadline = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, mode)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    going = read(folder, "running")
                    since = f" ({going.get('what')}, since {going.get('started')})" if going else ""
                    raise Fault(
                        f"Another backup, drill or restore is going on{since}: wait for it and run this again."
                    ) from error
                time.sleep(0.2)
        yield


def busy(folder: Path, name: str = "lock") -> bool:
    """Whether somebody holds the lock."""
    try:
        with locked(folder, name, shared=True, seconds=0):
            return False
    except Fault:
        return True
