# SPDX-License-Identifier: GPL-3.0-or-later
"""Point-in-time recovery: which seconds can be reached, and a throw-away server that stands at one of them."""

from __future__ import annotations

import contextlib
import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from . import base, live, repository, state, throwaway
from .errors import Fault, say
from .repository import Snapshot
from .settings import SLOT, Settings

_NOT_REACHED = "recovery ended before configured recovery target was reached"
_NEVER = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Span:
    """The seconds that one base reaches.

    Attributes:
        start: the first, UTC.
        end: the last, UTC.
    """

    base: Snapshot
    start: datetime.datetime
    end: datetime.datetime


def spans(
    settings: Settings, snapshots: list[Snapshot], caught_up: dict[str, datetime.datetime] | None = None
) -> list[Span]:
    """What every base reaches, oldest first; a base whose WAL has a hole reaches itself only.

    Args:
        settings: the settings.
        snapshots: of the repository.
        caught_up: what `catch_up` returned.
    """
    found: list[Span] = []
    for snapshot in snapshots:
        if snapshot.kind != "base":
            continue
        start = state.moment(snapshot.tags["from"])
        system = snapshot.tags["system"]
        folder, until = base.wal_of(settings, snapshot.tags)
        known = (_received(settings, system), _stored(snapshots, system), (caught_up or {}).get(system, _NEVER))
        end = max(start, *known) if until is None else until
        names = set(base.segments(folder))
        # with a store elsewhere the volume may hold less than the store
        if (until is not None or not settings.remote) and (base.hole(names, snapshot.tags["segment"]) or not names):
            end = start
        found.append(Span(snapshot, start, end))
    return found


def _received(settings: Settings, system: str) -> datetime.datetime:
    """Until when the receiver has had everything of a server."""
    known = state.read(settings.state, "wal")
    text = (known.get("systems") or {}).get(system, "")
    return state.moment(text) if text else _NEVER


def _stored(snapshots: list[Snapshot], system: str) -> datetime.datetime:
    """When the newest WAL of a server went to the repository."""
    times = [
        each.tags.get("until", each.time)
        for each in snapshots
        if each.kind == "wal" and each.tags.get("system") == system
    ]
    return state.moment(max(times)) if times else _NEVER


def words(found: list[Span]) -> str:
    """The span of all bases for a sentence."""
    if not found:
        return "there is no base yet"
    start, end = min(each.start for each in found), max(each.end for each in found)
    return f"choose a second from {state.stamp(start)} to {state.stamp(end)}"


def choose(found: list[Span], target: datetime.datetime) -> Span:
    """The newest base that reaches a second.

    Raises:
        Fault: none does; the sentence names the span.
    """
    text = state.stamp(target)
    if target > state.now():
        raise Fault(f"--time {text} is in the future: {words(found)}.")
    fitting = [each for each in found if each.start <= target <= each.end]
    if fitting:
        return fitting[-1]
    if not found or target < min(each.start for each in found):
        raise Fault(f"--time {text} is before the oldest base: {words(found)}.")
    if target > max(each.end for each in found):
        raise Fault(f"--time {text} is after the newest WAL: {words(found)}.")
    raise Fault(f"--time {text} falls into a hole between two servers or receivers: {words(found)}.")


def catch_up(settings: Settings, seconds: float = 60.0) -> dict[str, datetime.datetime]:
    """Let the receiver have everything that the live server has done; a server that is gone is no fault.

    One more commit is asked for: recovery stops at the first commit after its target, so there must be one.

    Returns:
        Until when the WAL of the live server is there, by the server's identifier; empty when nobody knows.
    """
    with contextlib.suppress(Fault, psycopg.Error), live.connect(settings.database) as connection:
        connection.execute("SELECT txid_current()")
        (moment, wanted, system) = connection.execute(
            "SELECT clock_timestamp(), pg_current_wal_insert_lsn(), system_identifier::text FROM pg_control_system()"
        ).fetchone() or (None, None, "")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            row = connection.execute(
                "SELECT flush_lsn >= %s::pg_lsn FROM pg_stat_replication WHERE application_name = %s", [wanted, SLOT]
            ).fetchone()
            if row is None:
                break
            if row[0]:
                return {str(system): moment}
            time.sleep(0.2)
    return {}


@contextlib.contextmanager
def recovered(settings: Settings, span: Span, target: datetime.datetime) -> Iterator[dict[str, str]]:
    """Run a throw-away server that holds what was committed up to a second; what to connect with.

    Raises:
        Fault: the base is damaged or the WAL does not reach.
    """
    folder = settings.work / "pitr"
    say(f"restoring the base {span.base.id}")
    data = repository.restore(span.base, folder / "base") / base.DATA
    wal = gather(settings, span.base, folder)
    (data / "recovery.signal").touch()
    # the last segment is partial when the server has died in it
    command = f'cp "{wal}/%f" "%p" 2>/dev/null || cp "{wal}/%f.partial" "%p" 2>/dev/null'
    options = {
        "restore_command": command,
        "recovery_target_action": "promote",
        "recovery_target_time": state.stamp(target).replace("T", " ").replace("Z", "+00"),
        # connections are taken when the target is reached, not before
        "hot_standby": "off",
    }
    say(f"replaying the WAL up to {state.stamp(target)}")
    try:
        with throwaway.postgres(data, settings.owner, options) as where:
            yield where
            return
    except throwaway.Ended as ended:
        if _NOT_REACHED not in ended.log:
            raise Fault(f"The WAL cannot be replayed: {ended}") from ended
    # nothing was committed after the target and up to the newest WAL, so all of the WAL is what was asked for
    del options["recovery_target_time"]
    with throwaway.postgres(data, settings.owner, options) as where:
        yield where


def gather(settings: Settings, snapshot: Snapshot, folder: Path) -> Path:
    """One folder with all the WAL there is of a base's server: of the volume, and of the repository.

    Raises:
        Fault: a segment is missing.
    """
    system = snapshot.tags["system"]
    local, until = base.wal_of(settings, snapshot.tags)
    sources = [local]
    # the store goes on with what the receiver has now
    if settings.remote and until is None:
        stored = [each for each in repository.snapshots() if each.kind == "wal" and each.tags.get("system") == system]
        if stored:
            say(f"fetching the WAL {stored[-1].id}")
            sources.append(repository.restore(stored[-1], folder / "stored"))
    target = folder / "wal"
    target.mkdir()
    for source in sources:
        for path in source.glob("*") if source.is_dir() else ():
            place = target / path.name
            # of two partial ones the younger holds more
            if place.is_symlink() and path.stat().st_mtime <= place.stat().st_mtime:
                continue
            place.unlink(missing_ok=True)
            place.symlink_to(path)
    missing = base.hole(set(base.segments(target)), snapshot.tags["segment"])
    if missing:
        raise Fault(f"The WAL after the base {snapshot.id} has a hole: the segment {missing} is missing.")
    return target
