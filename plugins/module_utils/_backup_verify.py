# SPDX-License-Identifier: GPL-3.0-or-later
"""What the backups say of themselves, judged: the newest one, the drill, the receiver, where they are, what is kept. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from . import _backup_job as jobs
from . import _objects as objects
from ._checks import SKIPPED, Check, judged
from ._lease import moment_of
from ._objects import Object, meta
from ._quantity import show_bytes
from ._status import BACKUP_AGE

#: Of the receiver's Service.
PORT = 9188
TAG = "backup"
NEWEST, DRILL, RECEIVER, REPOSITORY, RETENTION = (
    "newest backup",
    "restore drill",
    "receiver of the log",
    "repository",
    "retention",
)
NAMES = (NEWEST, DRILL, RECEIVER, REPOSITORY, RETENTION)
MAKE = "playbooks/backup.yml makes one"
_SAMPLE = re.compile(r"^(\w+)(?:\{([^}]*)\})?\s+(\S+)", re.MULTILINE)
_KIND = re.compile(r'kind="([^"]*)"')
_PREFIX = "twisterlab_backup_"


@dataclass
class Seen:
    """What was looked at.

    Attributes:
        metrics: of the receiver's Service, by name without its beginning; several of one name by the label `kind`.
        settings: the environment of the CronJob's container.
        cron: the CronJob.
        claim: the volume claim of the repository or the log; None when there is none.
        told: what the receiver knows beside the metrics; empty where it says nothing.
        failed: the last sentence of the newest job that failed; empty when none did.
        now: the server's time.
    """

    metrics: Mapping[str, float]
    settings: Mapping[str, str]
    cron: Object
    claim: Object | None
    told: Mapping[str, Any]
    failed: str
    now: datetime


def parse(text: str) -> dict[str, float]:
    """Our samples of a page of metrics."""
    found = {}
    for name, labels, value in _SAMPLE.findall(text):
        if name.startswith(_PREFIX):
            kind = _KIND.search(labels)
            key = name.removeprefix(_PREFIX) + (f"/{kind[1]}" if kind else "")
            try:
                found[key] = float(value)
            except ValueError:
                continue
    return found


def last_failure(pods: Iterable[Object]) -> str:
    """The sentence of the newest job of backup or drill; empty when that ended well, or none has ended."""
    newest, told = "", ""
    for pod in pods:
        when = str(meta(pod).get("creationTimestamp") or "")
        over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if over and when >= newest and objects.labels(pod).get(jobs.LABEL) in (jobs.RUN, jobs.DRILL):
            newest, told = when, jobs.message_of(pod)
    return told


def judge(seen: Seen) -> list[Check]:
    """Every check."""
    return [check(seen) for check in (_newest, _drill, _receiver, _repository, _retention)]


def _stamp(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _size(number: float) -> str:
    return show_bytes(Decimal(int(number)))


def _hours(seen: Seen, seconds: float) -> float:
    return (seen.now.timestamp() - seconds) / 3600


def _why(seen: Seen, part: str) -> str:
    """The reason as the receiver knows it, or as the last job said it."""
    about = seen.told.get(part)
    told = about if isinstance(about, Mapping) else {}
    why = "" if told.get("ok", True) else str(told.get("why") or "")
    return f": {why or seen.failed}" if why or seen.failed else ""


def _newest(seen: Seen) -> Check:
    good, tried = (
        seen.metrics.get("last_success_timestamp_seconds", 0.0),
        seen.metrics.get("last_run_timestamp_seconds", 0.0),
    )
    limit = BACKUP_AGE.total_seconds() / 3600
    schedule = (seen.cron.get("spec") or {}).get("schedule")
    if (seen.cron.get("spec") or {}).get("suspend"):
        return judged(NEWEST, "the CronJob backup is suspended, so none is made: set suspend to false", "", 0.0, TAG)
    if not good and not tried:
        made = moment_of(str(meta(seen.cron).get("creationTimestamp") or "")) or seen.now
        age = (seen.now - made).total_seconds() / 3600
        if age <= limit:
            return Check(NEWEST, SKIPPED, f"none was made yet, the schedule is {schedule}; {MAKE} now", 0.0, TAG)
        return judged(
            NEWEST, f"there never was one, and the schedule {schedule} is {age:.0f} hours old; {MAKE}", "", 0.0, TAG
        )
    problem = ""
    if not good:
        problem = f"there never was a good one, the last try was {_stamp(tried)}{_why(seen, 'last')}"
    elif _hours(seen, good) > limit:
        problem = f"the last good one is {_hours(seen, good):.0f} hours old, more than {limit:.0f}{_why(seen, 'last')}"
    elif not seen.metrics.get("last_run_success", 1.0):
        problem = f"the last try, {_stamp(tried)}, failed{_why(seen, 'last')}"
    size, took = seen.metrics.get("size_bytes", 0.0), seen.metrics.get("last_duration_seconds", 0.0)
    evidence = f"{_stamp(good)}, {_hours(seen, good):.1f} hours ago, {_size(size)} in {took:.0f} s, schedule {schedule}"
    return judged(NEWEST, problem, evidence, 0.0, TAG)


def _drill(seen: Seen) -> Check:
    good, when = seen.metrics.get("drill_success"), seen.metrics.get("drill_last_timestamp_seconds", 0.0)
    if good is None:
        return Check(DRILL, SKIPPED, f"none was made yet; {MAKE} and restores it for proof", 0.0, TAG)
    hours, limit = _hours(seen, when), BACKUP_AGE.total_seconds() / 3600
    problem = ""
    if not good:
        problem = f"the drill of {_stamp(when)} failed, so the backups may be worth nothing{_why(seen, 'drill')}"
    elif hours > limit:
        problem = f"the last drill is {hours:.0f} hours old, more than {limit:.0f}; {MAKE}"
    told = seen.told.get("drill") or {}
    tables = f", {told['tables']} tables with {told.get('rows', '?')} rows compared" if told.get("tables") else ""
    return judged(DRILL, problem, f"restored and compared {_stamp(when)}, {hours:.1f} hours ago{tables}", 0.0, TAG)


def _receiver(seen: Seen) -> Check:
    if seen.settings.get("BACKUP_WAL") != "true":
        return Check(
            RECEIVER,
            SKIPPED,
            "twisterlab_backup.wal is off, or Postgres is elsewhere; only whole backups can be restored",
            0.0,
            TAG,
        )
    last, lag = seen.metrics.get("wal_last_received_timestamp_seconds", 0.0), seen.metrics.get("wal_lag_bytes", 0.0)
    problem = (
        ""
        if seen.metrics.get("wal_streaming")
        else "it does not stream, so what is written now can only be restored from the next backup; "
        "playbooks/logs.yml -e twisterlab_component=backup shows why"
    )
    received = f", the last of it {_stamp(last)}" if last else ""
    return judged(RECEIVER, problem, f"it streams, {_size(lag)} behind{received}", 0.0, TAG)


def _repository(seen: Seen) -> Check:
    where = seen.settings.get("RESTIC_REPOSITORY", "")
    size = _size(seen.metrics.get("repository_bytes", 0.0))
    phase = ((seen.claim or {}).get("status") or {}).get("phase")
    problem = "" if phase == "Bound" else f"the volume claim backup-data is {phase or 'not there'}"
    room = (((seen.claim or {}).get("status") or {}).get("capacity") or {}).get("storage", "?")
    place = where if where.startswith("s3:") else f"{where} on the volume backup-data of {room}"
    return judged(REPOSITORY, problem, f"{place}, {size}", 0.0, TAG)


def _retention(seen: Seen) -> Check:
    keep = seen.settings.get("BACKUP_KEEP", "")
    numbers = dict(part.split("=", 1) for part in keep.split(",") if "=" in part)
    most = sum(int(value) for value in numbers.values() if value.isdigit())
    kinds = {key.partition("/")[2]: int(value) for key, value in seen.metrics.items() if key.startswith("snapshots/")}
    if not kinds:
        return Check(RETENTION, SKIPPED, f"there is no backup yet; kept will be {keep}", 0.0, TAG)
    logical = kinds.get("logical", 0)
    problem = (
        ""
        if logical <= most
        else f"{logical} backups are there, and {keep} keeps {most} at most: look at the log of the last backup"
    )
    listed = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return judged(RETENTION, problem, f"{listed}; kept are {keep}", 0.0, TAG)
