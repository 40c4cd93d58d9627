# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at the cluster until everything of ours is ready, something is broken, or time is up."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from . import _kinds as kinds
from . import _objects as objects
from . import _secrets
from ._api import Api, Clock, attempt, each
from ._errors import ApiError, Unreachable
from ._judge import BROKEN, READY, WAITING, Check, Judge, Snapshot, brief, line, overall
from ._kinds import Kind
from ._lease import Lease
from ._objects import Object
from ._record import Records

OURS: tuple[Kind, ...] = (
    kinds.DEPLOYMENT, kinds.STATEFUL_SET, kinds.DAEMON_SET, kinds.JOB, kinds.CLAIM, kinds.AUTOSCALER,
    kinds.CLUSTER,
)  # fmt: skip
# Pods and ReplicaSets are found through their owners: a user's own pod labels must not hide them.
ALL: tuple[Kind, ...] = (kinds.REPLICA_SET, kinds.POD)
# What a role without many rights may be forbidden to list; its state is then not judged.
OPTIONAL = ("Job", "DaemonSet", "HorizontalPodAutoscaler", "Cluster")
POLL_SECONDS = 2.0
# A change is not reported before the module has run this long: each report costs a process.
BATCH_SECONDS = 4.0
LEASE_SECONDS = 15.0
SILENT = "api/silent"
SILENT_SECONDS = 60.0
LOG_LINES = 15


@dataclass
class Outcome:
    """What one look-out came to.

    Attributes:
        state: ready, broken, waiting (look again) or timeout.
        checks: the last verdicts, worst first.
        changes: pairs of seconds and a line, one for each change of the whole picture.
        elapsed: seconds since the beginning of all look-outs.
    """

    state: str
    checks: list[Check]
    changes: list[tuple[float, str]] = field(default_factory=list)
    elapsed: float = 0.0

    def data(self) -> list[dict[str, Any]]:
        """The checks as plain data."""
        return [asdict(check) for check in self.checks]


def read(api: Api, namespace: str) -> Snapshot:
    """Everything that is judged, in one round of parallel lists."""

    unseen: list[str] = []

    def one(kind: Kind) -> tuple[str, list[Object]]:
        try:
            return kind.name, api.list(kind, namespace, labels=objects.OURS_SELECTOR if kind in OURS else "")
        except ApiError as error:
            if error.status == 403 and kind.name in OPTIONAL:
                unseen.append(kind.name)
            elif error.status != 404:
                raise
            return kind.name, []

    return Snapshot(dict(each([*OURS, *ALL], one)), unseen=unseen)


def read_events(api: Api, namespace: str) -> list[Object]:
    """The namespace's events; empty when they may not be read."""
    try:
        return api.list(kinds.EVENT, namespace)
    except ApiError:
        return []


class Watch:
    """Looks at one namespace, with what the judge remembered from the process before.

    Args:
        api: the cluster.
        clock: the time.
        namespace: where.
        components: only these decide; empty means all of ours.
        judge: with its grace and its memory.
        elapsed: seconds that have gone already.
        timeout: seconds that all may take together.
        lease: renewed while looking; None when nothing is released.
        shown: the line that was shown last.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        namespace: str,
        components: list[str],
        judge: Judge,
        elapsed: float,
        timeout: float,
        lease: Lease | None = None,
        shown: str = "",
    ) -> None:
        self._api, self._clock, self._namespace = api, clock, namespace
        self._components, self._judge, self._timeout, self._lease = components, judge, timeout, lease
        self._start = clock.time() - elapsed
        self._shown = shown

    def look(self) -> list[Check]:
        """One look: the verdicts that count."""
        snapshot = read(self._api, self._namespace)
        now = self._clock.time() - self._start
        # A glance without events must not make the judge forget what it learnt from them.
        glance = Judge(self._judge.grace, dict(self._judge.memory))
        checks = self._chosen(glance.judge(snapshot, now))
        if overall(checks) == READY:
            return checks
        # Only now are the reasons worth a request.
        snapshot.events = read_events(self._api, self._namespace)
        return self._chosen(self._judge.judge(snapshot, now))

    def _silence(self, error: Unreachable) -> Check:
        """An API server that restarts is waited for; one that stays away is an error."""
        now = self._clock.time() - self._start
        if now - self._judge.memory.setdefault(SILENT, now) >= SILENT_SECONDS:
            raise error
        return Check("the API server", "", WAITING, f"does not answer: {error}")

    def _renew(self) -> None:
        if self._lease:
            # One missed renewal is harmless: the hold lasts longer.
            with contextlib.suppress(Unreachable):
                self._lease.renew()

    def _chosen(self, checks: list[Check]) -> list[Check]:
        return [check for check in checks if not self._components or check.component in self._components]

    def run(self, seconds: float) -> Outcome:
        """Look for at most that long, and stop early when it is decided or a change is worth telling."""
        begun = self._clock.time()
        renewed = begun
        self._renew()
        changes: list[tuple[float, str]] = []
        while True:
            try:
                checks = self.look()
                self._judge.memory.pop(SILENT, None)
            except Unreachable as error:
                checks = [self._silence(error)]
            now = self._clock.time()
            elapsed = now - self._start
            state = overall(checks)
            text = summary(checks)
            if text != self._shown:
                changes.append((elapsed, text))
                self._shown = text
            if state != WAITING:
                return Outcome(state, checks, changes, elapsed)
            if elapsed >= self._timeout:
                return Outcome("timeout", checks, changes, elapsed)
            if now - begun >= seconds or (changes and now - begun >= BATCH_SECONDS):
                return Outcome(WAITING, checks, changes, elapsed)
            if now - renewed >= LEASE_SECONDS:
                self._renew()
                renewed = now
            self._clock.sleep(POLL_SECONDS)


def summary(checks: list[Check], limit: int = 3) -> str:
    """The whole picture in one line."""
    ready = sum(1 for check in checks if check.state == READY)
    rest = [check for check in checks if check.state != READY]
    if not rest:
        return f"all {len(checks)} objects ready"
    shown = "; ".join(f"{check.title} {brief(check.reason, 140)}" for check in rest[:limit])
    more = f"; and {len(rest) - limit} more" if len(rest) > limit else ""
    return f"{ready} of {len(checks)} ready; {shown}{more}"


def add_logs(api: Api, namespace: str, checks: list[Check], secret: str = _secrets.SECRET_NAME, limit: int = 4) -> None:
    """Put the last log lines beside the first checks that are not ready, with every secret value hidden."""
    wanted = [check for check in checks if check.state != READY and check.pod and check.container][:limit]
    if not wanted:
        return
    redact = redactor(api, namespace, secret)

    def one(check: Check) -> None:
        text = api.log(namespace, check.pod, check.container, LOG_LINES, previous=True) if check.crashed else None
        text = text or api.log(namespace, check.pod, check.container, LOG_LINES, previous=False)
        check.logs = [redact(part) for part in (text or "").splitlines() if part.strip()][-LOG_LINES:]

    attempt(wanted, one)
    for check in wanted:
        check.reason = redact(check.reason)


def redactor(api: Api, namespace: str, secret: str = _secrets.SECRET_NAME) -> Callable[[str], str]:
    """Hides the Secret's values, when we may read it."""
    try:
        found = api.get(kinds.SECRET, secret, namespace)
    except ApiError:
        found = None
    return _secrets.redactor(_secrets.confidential(_secrets.decode((found or {}).get("data"))))


def report(outcome: Outcome, namespace: str, timeout: float) -> str:
    """Why it failed, for people: every check that is broken (or, on timeout, not ready) with its log."""
    if outcome.state == "timeout":
        head = f"Not healthy after {int(timeout)} s in namespace {namespace}; the last verdicts:"
        rest = [check for check in outcome.checks if check.state != READY]
    else:
        head = f"Broken in namespace {namespace} after {outcome.elapsed:.0f} s; everything else keeps running:"
        rest = [check for check in outcome.checks if check.state == BROKEN]
    lines = [head]
    for check in rest:
        lines.append(f"- {line(check)}")
        if check.logs:
            lines.append(
                f"  last lines of the log of {check.pod}/{check.container}{' before it crashed' if check.crashed else ''}:"
            )
            lines += [f"    {part}" for part in check.logs]
    return "\n".join(lines)


def conclude(records: Records, lease: Lease | None, number: int, outcome: Outcome, text: str) -> dict[str, Any]:
    """Write how the release ended into its record and end the hold.

    Returns:
        The summary of the healthy release before it, when this one failed.
    """
    if lease:
        lease.check()
    if number:
        records.conclude(
            number, "healthy" if outcome.state == READY else "failed", "" if outcome.state == READY else text
        )
    if lease:
        lease.end()
    if outcome.state == READY:
        return {}
    found = records.last_healthy(before=number)
    return {name: found[name] for name in ("number", "started", "ended", "images") if found.get(name)}
