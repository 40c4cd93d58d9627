# SPDX-License-Identifier: GPL-3.0-or-later
"""One release at a time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _lease
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, LeaseLost, Refused
from kube_fake import NAMESPACE, FakeCluster, namespace

ME = _lease.holder_of("ann", "here", 12, "local", "777")
BOB = _lease.holder_of("bob", "there", 34, "local", "888")


def alive(identity: str, run: str) -> bool:
    return False


def cluster() -> FakeCluster:
    found = FakeCluster()
    found.put(namespace())
    return found


def lease_of(found: FakeCluster, who: _lease.Holder, dead: Any = alive) -> _lease.Lease:
    return _lease.Lease(found, NAMESPACE, who, dead)


def spec(found: FakeCluster) -> dict[str, Any]:
    return found.store[("Lease", NAMESPACE, "twisterlab-release")]["spec"]


def test_acquire_renew_end() -> None:
    found = cluster()
    mine = lease_of(found, ME)
    assert mine.acquire() == "create"
    assert spec(found)["holderIdentity"] == "ann@here pid=12"
    begun = spec(found)["acquireTime"]
    found.clock.sleep(20)
    assert mine.acquire() == "renew"
    assert spec(found)["acquireTime"] == begun
    assert spec(found)["renewTime"] > begun
    mine.end()
    assert spec(found)["holderIdentity"] == ""
    assert lease_of(found, BOB).acquire() == "take"
    mine.end()
    assert spec(found)["holderIdentity"] == "bob@there pid=34"


def test_the_second_is_told_who_and_since_when() -> None:
    found = cluster()
    lease_of(found, BOB).acquire()
    found.clock.sleep(10)
    with pytest.raises(Refused, match=r"held by bob@there pid=34 since 2026-11-23 09:00:00 UTC.*in 50 s") as caught:
        lease_of(found, ME).acquire()
    assert str(caught.value).count(". ") == 0


def test_expired_leases_are_taken() -> None:
    found = cluster()
    lease_of(found, BOB).acquire()
    found.clock.sleep(61)
    assert lease_of(found, ME).acquire() == "take"
    assert spec(found)["leaseTransitions"] == 1


def test_a_dead_process_of_this_machine_is_taken_over_at_once() -> None:
    found = cluster()
    lease_of(found, BOB).acquire()
    assert lease_of(found, ME, dead=lambda identity, run: identity == BOB.identity).acquire() == "take"


def test_a_module_that_outlives_its_playbook_neither_writes_nor_holds_on() -> None:
    found = cluster()
    killed: set[str] = set()
    mine = lease_of(found, ME, dead=lambda identity, run: identity in killed)
    mine.acquire()
    killed.add(ME.identity)
    for again in (mine.check, mine.renew, mine.acquire):
        with pytest.raises(LeaseLost, match=r"The playbook of this run \(ann@here pid=12\) was killed"):
            again()
    assert lease_of(found, BOB, dead=lambda identity, run: identity in killed).acquire() == "take"


def test_a_killed_process_that_nobody_has_waited_for_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    holder = _lease.holder_of("ann", socket.gethostname(), process.pid, "local", _lease.process_started(process.pid))
    assert not _lease.is_dead(holder.identity, holder.run)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert _lease.is_dead(holder.identity, holder.run)
    process.communicate()


def test_the_same_process_for_two_hosts_of_an_inventory_is_two_runs() -> None:
    found = cluster()
    lease_of(found, _lease.holder_of("ann", "here", 12, "one", "777")).acquire()
    with pytest.raises(Refused, match="held by ann@here pid=12"):
        lease_of(found, _lease.holder_of("ann", "here", 12, "two", "777")).acquire()


def test_of_two_at_once_exactly_one_wins() -> None:
    found = cluster()
    barrier = threading.Barrier(2)
    results: list[str] = []

    def wait(verb: str, obj: dict[str, Any]) -> None:
        if verb == "create" and barrier.n_waiting < 2 and not barrier.broken:
            barrier.wait(timeout=5)

    found.before_write = wait

    def run(who: _lease.Holder) -> None:
        try:
            results.append(lease_of(found, who).acquire())
        except Refused:
            results.append("refused")

    threads = [threading.Thread(target=run, args=(who,)) for who in (ME, BOB)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["create", "refused"]


def test_a_lost_hold_is_noticed() -> None:
    found = cluster()
    mine = lease_of(found, ME)
    mine.acquire()
    found.clock.sleep(100)
    lease_of(found, BOB).acquire()
    with pytest.raises(LeaseLost, match="held by bob@there"):
        mine.renew()


def test_the_renewing_thread_reports_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lease, "RENEW_SECONDS", 0.01)
    found = cluster()
    mine = lease_of(found, ME)
    mine.acquire()
    mine.keep()
    found.clock.sleep(100)
    lease_of(found, BOB).acquire()
    for _turn in range(200):
        if mine.lost:
            break
        threading.Event().wait(0.01)
    mine.stop()
    with pytest.raises(LeaseLost):
        mine.check()


def test_a_forbidden_write_is_an_error_of_its_own() -> None:
    found = cluster()
    found.errors["create Lease"] = ApiError(403, "Forbidden", "no", "create")
    with pytest.raises(ApiError):
        lease_of(found, ME).acquire()


def test_is_dead() -> None:
    here = socket.gethostname()
    mine = _lease.process_started(os.getpid())
    machine = mine.rpartition("-")[0]
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert _lease.is_dead(f"ann@{here} pid={ended.pid}", f"local/1/{machine}-2")
    assert not _lease.is_dead(f"ann@{here} pid={os.getpid()}", f"local/{os.getpid()}/{mine}")
    # The number was given to another process since.
    assert _lease.is_dead(f"ann@{here} pid={os.getpid()}", f"local/1/{machine}-1")
    # Another machine that is called the same, or this one before it was started again.
    assert not _lease.is_dead(f"ann@{here} pid={ended.pid}", "local/1/0000-4026531836-2")
    assert not _lease.is_dead(f"ann@elsewhere pid={ended.pid}", f"local/1/{machine}-2")
    assert not _lease.is_dead("somebody", "")


def test_own_holder_names_user_host_and_process() -> None:
    assert _lease.own_holder().identity.endswith(f"@{socket.gethostname()} pid={os.getppid()}")
