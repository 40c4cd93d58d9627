# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps pg_receivewal running, says how far it is, and brings WAL to a repository that stands elsewhere."""

from __future__ import annotations

import collections
import contextlib
import datetime
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import psycopg

from . import live, programs, repository, state
from .base import aside, segments
from .errors import Fault, clean, say
from .settings import SLOT, Settings

POLL = 5.0
#: What Postgres says when what follows cannot be had: a lost slot, or a replica that took over and lacks what was received.
_GONE = ("has already been removed", "is not in this server's history")


class Receiver:
    """The work of `serve` on WAL.

    Attributes:
        streaming: whether WAL arrives now.
        why: why it does not, one sentence.
    """

    def __init__(self, settings: Settings) -> None:
        """Start nothing yet."""
        self.settings = settings
        self.streaming = False
        self.why = "the receiver has not started yet"
        self.system = ""
        self.received: datetime.datetime | None = None
        self.lag = 0
        self._stop = threading.Event()
        self._sent: collections.deque[tuple[datetime.datetime, str]] = collections.deque(maxlen=1000)

    def stop(self) -> None:
        """Let both loops end."""
        self._stop.set()

    # -- receiving

    def receive(self) -> None:
        """Receive until `stop`; whatever goes wrong is said and tried again."""
        while not self._stop.is_set():
            try:
                self._prepare()
                self._stream()
            except (Fault, OSError, psycopg.Error) as error:
                self._down(clean(str(error)))
            self._stop.wait(POLL)

    def _down(self, why: str) -> None:
        if why != self.why or self.streaming:
            say(f"no WAL is received: {why}")
        self.streaming, self.why = False, why
        self._write()

    def _prepare(self) -> None:
        with live.connect(self.settings.database) as connection:
            live.prepare_replication(self.settings, connection)
            self.system = live.system_identifier(connection)
            (segment,) = connection.execute(
                "SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'"
            ).fetchone() or (0,)
        self._sent.clear()
        folder = self.settings.wal_folder / self.system
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.partial"):
            # a full volume cut it off before anything was received into it, and pg_receivewal would not go on with it
            if path.stat().st_size not in (0, segment):
                path.unlink()

    def _stream(self) -> None:
        folder = self.settings.wal_folder / self.system
        with tempfile.TemporaryFile() as errors:
            process = programs.start(
                *("pg_receivewal", "--directory", str(folder), "--slot", SLOT, "--synchronous", "--no-loop"),
                *("--no-password", "--status-interval=5"),
                env=live.replication_environment(self.settings),
                output=subprocess.DEVNULL,
                errors=errors,
                end_with=signal.SIGTERM,
            )
            try:
                while process.poll() is None and not self._stop.is_set():
                    self._poll()
                    self._stop.wait(0.5 if not self.streaming else POLL)
            finally:
                programs.end(process, signal.SIGINT)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        if self._stop.is_set():
            return
        if any(words in said for words in _GONE):
            # what follows does not join on to what is there, which stays for the bases before
            known = state.read(self.settings.state, "wal").get("systems") or {}
            if segments(folder):
                aside(self.settings, self.system, str(known.get(self.system, "")))
            # pg_receivewal has told the server the place that it asked for, and the slot went back to it: it would be asked for again
            with live.connect(self.settings.database) as connection:
                live.drop_slot(connection)
            raise Fault(
                "The server no longer has the WAL that follows what was received: a new base is needed, run the backup."
            )
        raise Fault(f"pg_receivewal ended: {programs.last_words(said, 1) or 'it said nothing'}.")

    def _poll(self) -> None:
        with live.connect(self.settings.database) as connection:
            row = connection.execute(
                "SELECT clock_timestamp(), pg_current_wal_flush_lsn()::text, r.flush_lsn::text,"
                " coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), r.flush_lsn), 0)::bigint"
                " FROM (SELECT) AS one LEFT JOIN pg_stat_replication r ON r.application_name = %s",
                [SLOT],
            ).fetchone()
        if row is None or row[2] is None:
            return
        moment, current, flushed, lag = row
        self._sent.append((moment, current))
        # what the server had written at a moment is here as soon as that place is flushed here
        while self._sent and _place(self._sent[0][1]) <= _place(flushed):
            self.received = self._sent.popleft()[0]
        if not self.streaming:
            say("WAL is received")
        self.streaming, self.why, self.lag = True, "", max(int(lag), 0)
        self._write()

    def _write(self) -> None:
        known = state.read(self.settings.state, "wal")
        systems = dict(known.get("systems") or {})
        if self.received is not None:
            systems[self.system] = max(state.stamp(self.received), systems.get(self.system, ""))
        found: dict[str, Any] = {
            "streaming": self.streaming,
            "why": self.why,
            "lag_bytes": self.lag,
            "system": self.system,
            "systems": systems,
        }
        with contextlib.suppress(OSError):
            state.write(self.settings.state, "wal", found)

    # -- bringing it elsewhere

    def upload(self) -> None:
        """Bring new WAL to the repository again and again until `stop`; a fault is said and tried again."""
        before: list[tuple[str, int, float]] = []
        until, fetched = "", ""
        while not self._stop.wait(self.settings.upload_seconds):
            folder = self.settings.wal_folder / self.system
            if not self.system or not folder.is_dir():
                continue
            try:
                there = _listing(folder)
                # also when nothing new has come but the snapshot does not say yet that this is all
                settled = there == before and until and state.moment(until).timestamp() > max(each[2] for each in there)
                # the first run makes the repository
                if there and not settled and state.read(self.settings.state, "repository"):
                    if fetched != self.system:
                        self._fetch(folder)
                        fetched = self.system
                    until = self._upload(folder)
                    before = there
            except (Fault, OSError) as error:
                say(f"the WAL was not brought to the repository: {clean(str(error))}")

    def _fetch(self, folder: Path) -> None:
        """A volume that is new takes the WAL of this server that the repository has, or the next upload would lack it."""
        with (
            state.locked(self.settings.state, repository.USERS, shared=True, seconds=repository.USERS_SECONDS),
            tempfile.TemporaryDirectory(dir=self.settings.backup) as place,
        ):
            found = [each for each in repository.snapshots() if each.kind == "wal"]
            stored = [each for each in found if each.tags.get("system") == self.system]
            if not stored:
                return
            have = segments(folder)
            # partial ones come whole from the server: its slot has kept them
            for name, path in segments(repository.restore(stored[-1], Path(place))).items():
                if name not in have and path.name == name and (not have or name < min(have)):
                    path.replace(folder / name)

    def _upload(self, folder: Path) -> str:
        """Save the WAL; until when it is all there."""
        until = str(state.read(self.settings.state, "wal").get("systems", {}).get(self.system, ""))
        # `run` takes away restic's locks and prunes: not while this writes
        with state.locked(self.settings.state, repository.USERS, shared=True, seconds=repository.USERS_SECONDS):
            tags = {"system": self.system, **({"until": until} if until else {})}
            repository.save("wal", folder, tags)
            repository.keep_newest_wal(self.system)
        return until


def _place(lsn: str) -> int:
    """A place in the WAL as a number."""
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def _listing(folder: Path) -> list[tuple[str, int, float]]:
    """What tells whether something has arrived."""
    found = []
    for path in sorted(segments(folder).values()):
        with contextlib.suppress(OSError):
            about = path.stat()
            found.append((path.name, about.st_size, about.st_mtime))
    return found
