# SPDX-License-Identifier: GPL-3.0-or-later
"""One release at a time: the Lease `twisterlab-release` of the namespace.

The holder is the `ansible-playbook` process, not a module: several modules of one run share it. Times are the API
server's, so that two operators' clocks need not agree.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from . import _kinds as kinds
from . import _objects as objects
from ._api import Api
from ._errors import ApiError, LeaseLost, PlatformError, Refused, Unreachable
from ._objects import Object

LEASE_NAME = "twisterlab-release"
DURATION_SECONDS = 60
RENEW_SECONDS = 15
RUN_NOTE = "twisterlab.io/run"

_IDENTITY = re.compile(r"(?P<who>.+)@(?P<host>[^@ ]+) pid=(?P<pid>\d+)")


@dataclass(frozen=True)
class Holder:
    """Who releases.

    Attributes:
        identity: `user@host pid=<n>`, for people.
        run: tells two runs apart even when they share a process (two hosts of one inventory) or a process id.
    """

    identity: str
    run: str


def holder_of(user: str, host: str, pid: int, inventory_host: str, started: str = "") -> Holder:
    """The holder of one `ansible-playbook` process and one host of its inventory."""
    return Holder(identity=f"{user}@{host} pid={pid}", run=f"{inventory_host}/{pid}/{started}")


def own_holder() -> Holder:
    """The holder when nobody says who it is: the parent of this process, which started the module."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    pid = os.getppid()
    return holder_of(user, socket.gethostname(), pid, "", process_started(pid))


def holder_from(given: dict[str, str] | None) -> Holder:
    """The holder that an action names, or this process' own."""
    return Holder(**given) if given else own_holder()


def _stat(pid: int) -> list[str]:
    """What the kernel says of a process after its name, its state first; empty when it does not exist or cannot be seen."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return stat.rpartition(")")[2].split()


def _machine() -> str:
    """This boot and this space of process numbers: a number means another process elsewhere, whatever the host is called."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}-"
    except OSError:
        return ""


def process_started(pid: int) -> str:
    """When a process started, in the kernel's ticks, with the machine in front; empty when it does not exist or cannot be seen."""
    ticks = "".join(_stat(pid)[19:20])
    return f"{_machine()}{ticks}" if ticks else ""


def is_dead(identity: str, run: str) -> bool:
    """Whether the holder was a process of this very machine that has ended."""
    match = _IDENTITY.fullmatch(identity)
    if not match or match["host"] != socket.gethostname():
        return False
    pid, started = int(match["pid"]), run.rpartition("/")[2]
    if started and not started.startswith(_machine()):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    if _stat(pid)[:1] == ["Z"]:
        # It has ended, and whoever started it has not asked how.
        return True
    # The number may have been given to another process since.
    return bool(started) and bool(process_started(pid)) and process_started(pid) != started


def must_live(me: Holder, dead: Callable[[str, str], bool] = is_dead) -> None:
    """Refuse to go on for a playbook that was killed: who runs it again must not meet this one's doings.

    Raises:
        LeaseLost: it was.
    """
    if dead(me.identity, me.run):
        raise LeaseLost(f"The playbook of this run ({me.identity}) was killed, so nothing more is done for it.")


def stamp(moment: datetime) -> str:
    """A time as a Lease writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(text: str | None) -> datetime | None:
    """A Lease's time; None when it has none."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def verdict(lease: Object | None, me: Holder, now: datetime, dead: Callable[[str, str], bool] = is_dead) -> str:
    """What to do with the Lease as it is.

    Returns:
        `create` (there is none), `renew` (it is ours) or `take` (nobody holds it, or the holder is gone).

    Raises:
        Refused: somebody else holds it; the sentence says who and since when.
    """
    if lease is None:
        return "create"
    spec = lease.get("spec") or {}
    identity = str(spec.get("holderIdentity") or "")
    run = objects.notes(lease).get(RUN_NOTE, "")
    if identity == me.identity and run == me.run:
        return "renew"
    renewed = moment_of(spec.get("renewTime"))
    seconds = int(spec.get("leaseDurationSeconds") or DURATION_SECONDS)
    if not identity or renewed is None or now > renewed + timedelta(seconds=seconds) or dead(identity, run):
        return "take"
    since = moment_of(spec.get("acquireTime")) or renewed
    left = max(1, int((renewed + timedelta(seconds=seconds) - now).total_seconds()))
    raise Refused(
        f"The release of namespace {objects.meta(lease).get('namespace')} is held by {identity} since {since:%Y-%m-%d %H:%M:%S} UTC: "
        f"wait until that run ends (if it died, its hold ends by itself in {left} s) and run again."
    )


def manifest(namespace: str, me: Holder, now: datetime, acquired: str, transitions: int, version: str = "") -> Object:
    """The Lease held by `me`."""
    metadata: Object = {
        "name": LEASE_NAME,
        "namespace": namespace,
        "labels": {**objects.OURS, objects.NAME: LEASE_NAME, objects.INSTANCE: namespace, objects.COMPONENT: "release"},
        "annotations": {RUN_NOTE: me.run},
    }
    if version:
        metadata["resourceVersion"] = version
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata,
        "spec": {
            "holderIdentity": me.identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": acquired,
            "renewTime": stamp(now),
            "leaseTransitions": transitions,
        },
    }


class Lease:
    """The hold of one run on a namespace."""

    def __init__(self, api: Api, namespace: str, me: Holder, dead: Callable[[str, str], bool] = is_dead) -> None:
        self._api = api
        self._namespace = namespace
        self._me = me
        self._dead = dead
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.lost: PlatformError | None = None

    def acquire(self, *, going_on: bool = False) -> str:
        """Take the Lease or renew it.

        Args:
            going_on: whether this run has held it before; then it is only renewed.

        Returns:
            `create`, `renew` or `take`.

        Raises:
            Refused: somebody else holds it, or took it in this very moment.
            LeaseLost: the playbook of this run was killed, or another run has held it meanwhile.
        """
        self.check()
        for _turn in range(4):
            lease = self._api.get(kinds.LEASE, LEASE_NAME, self._namespace)
            action = verdict(lease, self._me, self._api.now(), self._dead)
            if going_on and action != "renew":
                # What was planned before would undo what the other one has released.
                raise LeaseLost(
                    "This run lost its hold on the release while it was at work, and another run has held it since: run again."
                )
            spec = (lease or {}).get("spec") or {}
            now = self._api.now()
            acquired = str(spec.get("acquireTime")) if action == "renew" and spec.get("acquireTime") else stamp(now)
            transitions = int(spec.get("leaseTransitions") or 0) + (1 if action == "take" else 0)
            version = str(objects.meta(lease or {}).get("resourceVersion") or "")
            body = manifest(self._namespace, self._me, now, acquired, transitions, version)
            try:
                if lease is None:
                    self._api.create(body)
                else:
                    self._api.replace(body)
            except ApiError as error:
                # Somebody was quicker: look again who it is.
                if error.status in (404, 409):
                    continue
                raise
            return action
        raise Refused(f"The release of namespace {self._namespace} is contended: wait a few seconds and run again.")

    def renew(self) -> None:
        """Prolong the hold.

        Raises:
            LeaseLost: another run took it over, even if that has ended.
        """
        try:
            self.acquire(going_on=True)
        except Refused as error:
            raise LeaseLost(f"This run lost its hold on the release while it was at work: {error}") from error

    def end(self) -> None:
        """Give the hold up; a hold that is not ours (any more) is left alone."""
        self.stop()
        lease = self._api.get(kinds.LEASE, LEASE_NAME, self._namespace)
        spec = (lease or {}).get("spec") or {}
        if lease is None or spec.get("holderIdentity") != self._me.identity:
            return
        if objects.notes(lease).get(RUN_NOTE) != self._me.run:
            return
        spec.update(holderIdentity="", renewTime=stamp(self._api.now()))
        try:
            self._api.replace({**lease, "spec": spec})
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def keep(self) -> None:
        """Renew from a thread until `stop` or `end`; `lost` is set when that fails for good."""
        self._thread = threading.Thread(target=self._renew_until_stopped, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing."""
        self._stop.set()
        if self._thread:
            self._thread.join(timeout=5)
            self._thread = None

    def check(self) -> None:
        """Raise what the renewing thread met, before the next write.

        Raises:
            LeaseLost: another run took it over, or may at once: the playbook of this run was killed.
        """
        must_live(self._me, self._dead)
        if self.lost:
            raise self.lost

    def _renew_until_stopped(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            try:
                self.renew()
            except LeaseLost as error:
                self.lost = error
                return
            except (ApiError, Unreachable):
                # One missed renewal is harmless: the hold lasts four of them.
                continue
