# SPDX-License-Identifier: GPL-3.0-or-later
"""Base backups: the copy of the whole server from which WAL is replayed, and which WAL they still need."""

from __future__ import annotations

import datetime
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import psycopg

from . import live, programs, state
from .errors import Fault, clean, say
from .settings import Settings

DATA = "data"
_SEGMENT = re.compile(r"^[0-9A-F]{24}(\.partial)?$")
_UNTIL, _STAMP = "-until-", "%Y%m%dT%H%M%SZ"


def take(settings: Settings, folder: Path) -> dict[str, str]:
    """Copy the server into a new folder and return the tags of the snapshot.

    Raises:
        Fault: the server does not let the role of the receiver in, or the copy failed.
    """
    folder.mkdir(parents=True)
    with live.connect(settings.database) as connection:
        live.prepare_replication(settings, connection)
        system = live.system_identifier(connection)
    programs.run(
        *("pg_basebackup", "--pgdata", str(folder / DATA), "--format=plain", "--wal-method=fetch"),
        *("--checkpoint=fast", "--manifest-checksums=SHA256", "--no-password", "--no-sync"),
        env=live.replication_environment(settings),
        what="The server cannot be copied",
    )
    label = (folder / DATA / "backup_label").read_text(encoding="utf-8")
    segment = re.search(r"START WAL LOCATION: (\S+) \(file ([0-9A-F]{24})\)", label)
    if segment is None:
        raise Fault("The copy of the server does not say where its WAL starts: run the backup again.")
    with live.connect(settings.database) as connection:
        try:
            (moment,) = connection.execute("SELECT clock_timestamp()").fetchone() or (state.now(),)
        except psycopg.Error as error:
            raise Fault(f"Postgres ended the backup: {clean(str(error))}.") from error
    # no second before the copy's end can be reached, and a target is a whole second
    first = moment.replace(microsecond=0) + datetime.timedelta(seconds=1)
    say(f"base: starts at {segment[1]}, serves every second from {state.stamp(first)} on")
    return {"system": system, "segment": segment[2], "lsn": segment[1], "from": state.stamp(first)}


def segments(folder: Path) -> dict[str, Path]:
    """The WAL files of a folder by segment name; a whole one goes before a partial one."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*"), key=lambda each: not each.name.endswith(".partial")):
        if _SEGMENT.match(path.name):
            found[path.name.removesuffix(".partial")] = path
    return found


def aside(settings: Settings, system: str, until: str) -> None:
    """Put a server's WAL aside, as what follows does not join on to it: the bases of before are still restored with it.

    Args:
        settings: the settings.
        system: the server.
        until: up to which second it is whole; empty: nobody knows, so that it is of no use.
    """
    second = state.moment(until) if until else datetime.datetime.fromtimestamp(0, datetime.UTC)
    folder = settings.wal_folder / system
    folder.rename(folder.with_name(f"{system}{_UNTIL}{second:{_STAMP}}-{state.now():{_STAMP}}"))


def wal_of(settings: Settings, tags: Mapping[str, str]) -> tuple[Path, datetime.datetime | None]:
    """The folder of the WAL that follows a base, and up to which second it goes; None: the receiver goes on with it."""
    system = tags["system"]
    for folder in sorted(settings.wal_folder.glob(f"{system}{_UNTIL}*")):
        text = folder.name.removeprefix(f"{system}{_UNTIL}").partition("-")[0]
        until = datetime.datetime.strptime(text, _STAMP).replace(tzinfo=datetime.UTC)
        if state.moment(tags["from"]) <= until:
            return folder, until
    return settings.wal_folder / system, None


def hole(names: set[str], start: str) -> str:
    """The first segment from `start` on that is missing before a later one; empty when there is none."""
    numbers = {_number(name) for name in names if _number(name) >= _number(start)}
    if not numbers:
        return ""
    missing = next((at for at in range(_number(start), max(numbers)) if at not in numbers), None)
    return "" if missing is None else f"{start[:8]}{missing // 256:08X}{missing % 256:08X}"


def _number(name: str) -> int:
    """A segment's place in the WAL, whatever its time line (segments of 16 MiB: 256 a log file)."""
    return int(name[8:16], 16) * 256 + int(name[16:24], 16)


def tidy(settings: Settings, oldest: dict[str, str], current: str) -> int:
    """Remove WAL that no kept base needs; how many files that were.

    Args:
        settings: the settings.
        oldest: the first segment that a kept base needs, by server.
        current: the server of now: without a base of it, all of its WAL stays.
    """
    removed = 0
    for folder in settings.wal_folder.glob("*"):
        system, put_aside, _ = folder.name.partition(_UNTIL)
        if system not in oldest:
            if folder.name != current:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        for path in folder.glob("*"):
            if _SEGMENT.match(path.name) and _number(path.name) < _number(oldest[system]):
                path.unlink(missing_ok=True)
                removed += 1
        if put_aside and not segments(folder):
            shutil.rmtree(folder, ignore_errors=True)
    return removed
