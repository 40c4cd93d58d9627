# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking on: when it ends, what it tells, and what it hides."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _health, _lease, _secrets
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Unreachable
from ansible_collections.twisterlab.platform.plugins.module_utils._judge import Judge
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records, Summary, summary_of
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from kube_fake import NAMESPACE, FakeCluster, labels, manifest, namespace, workload


def stack(cluster: FakeCluster, ready: bool = True, state: dict[str, Any] | None = None) -> dict[str, Any]:
    """A StatefulSet `db` and its pod."""
    obj = workload("StatefulSet", "db", "postgres", replicas=1)
    obj["metadata"].update(uid="db", generation=1)
    obj["status"] = {"observedGeneration": 1, "updateRevision": "r1"}
    cluster.put(obj)
    container = {
        "name": "main",
        "image": "pause:1",
        "ready": ready,
        "restartCount": 0,
        **(state or {"state": {"running": {}}}),
    }
    return cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "db-0",
                "uid": "db-0",
                "labels": {**labels("postgres", "db"), "controller-revision-hash": "r1"},
                "ownerReferences": [{"controller": True, "uid": "db"}],
            },
            "spec": {"containers": [{"name": "main", "image": "pause:1"}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": str(ready)}, {"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [container],
            },
        }
    )


def watch(cluster: FakeCluster, components: list[str] | None = None, **rest: Any) -> _health.Watch:
    options = {"elapsed": 0.0, "timeout": 60.0, "lease": None, "shown": "", **rest}
    return _health.Watch(cluster, cluster.clock, NAMESPACE, components or [], Judge(10.0, {}), **options)


def new_cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(namespace())
    return cluster


def test_a_healthy_stack_is_one_look_without_events() -> None:
    cluster = new_cluster()
    stack(cluster)
    outcome = watch(cluster).run(10)
    assert outcome.state == "ready"
    assert outcome.changes == [(0.0, "all 1 objects ready")]
    assert "list Event" not in cluster.calls
    assert len(cluster.calls) == 9


def test_it_ends_as_soon_as_all_is_ready() -> None:
    cluster = new_cluster()
    stack(cluster, ready=False)
    cluster.clock.at(5, lambda: stack(cluster) and None)
    first = watch(cluster).run(10)
    # A change is told after four seconds at the latest, so that nobody waits in silence.
    assert (first.state, cluster.clock.time()) == ("waiting", 4.0)
    second = watch(cluster, elapsed=4.0, shown=first.changes[-1][1]).run(10)
    assert (second.state, second.elapsed) == ("ready", 6.0)


def test_something_broken_ends_it_at_once() -> None:
    cluster = new_cluster()
    stack(cluster, ready=False, state={"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}})
    outcome = watch(cluster).run(10)
    assert (outcome.state, cluster.clock.time()) == ("broken", 0.0)
    text = _health.report(outcome, NAMESPACE, 60)
    assert "StatefulSet/db is broken: ErrImagePull: not found [pod db-0, container main, image pause:1]" in text


def test_an_unbound_volume_is_told_with_its_cause_after_the_grace() -> None:
    cluster = new_cluster()
    stack(cluster, ready=False)
    cluster.put(manifest("PersistentVolumeClaim", "data", "postgres", status={"phase": "Pending"}))
    about = {"involvedObject": {"kind": "PersistentVolumeClaim", "name": "data"}, "reason": "ProvisioningFailed"}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "storage class x not found"}
    cluster.put({**event, **about, "lastTimestamp": "2026-11-23T09:00:00Z"})
    looking = watch(cluster)
    outcome = looking.run(10)
    while outcome.state == "waiting":
        outcome = looking.run(10)
    assert (outcome.state, outcome.elapsed) == ("broken", 10.0)
    assert "PersistentVolumeClaim/data is broken: not bound: storage class x not found" in _health.report(
        outcome, NAMESPACE, 60
    )


def test_other_components_do_not_decide() -> None:
    cluster = new_cluster()
    stack(cluster, ready=False)
    assert watch(cluster, ["redis"]).run(10).state == "ready"
    assert watch(cluster, ["postgres"]).run(1).state == "waiting"


def test_on_timeout_the_last_verdicts_are_told() -> None:
    cluster = new_cluster()
    stack(cluster, ready=False)
    outcome = watch(
        cluster, elapsed=55.0, shown="0 of 1 ready; StatefulSet/db 0 of 1 pods ready; its probes have not succeeded yet"
    ).run(10)
    assert (outcome.state, outcome.elapsed) == ("timeout", 61.0)
    text = _health.report(outcome, NAMESPACE, 60)
    assert text.startswith("Not healthy after 60 s")
    assert "StatefulSet/db is waiting: 0 of 1 pods ready; its probes have not succeeded yet" in text


def test_an_absent_namespace_has_nothing_to_wait_for() -> None:
    cluster = FakeCluster()
    assert watch(cluster).run(10).state == "ready"


def test_an_api_server_that_restarts_is_waited_for() -> None:
    cluster = new_cluster()
    stack(cluster)
    cluster.errors["list"] = Unreachable("connection refused")
    cluster.clock.at(20, lambda: cluster.errors.clear())
    looking = watch(cluster, timeout=100.0)
    outcome = looking.run(10)
    assert "the API server does not answer" in outcome.changes[0][1]
    while outcome.state == "waiting":
        outcome = looking.run(10)
    assert (outcome.state, outcome.elapsed) == ("ready", 20.0)
    cluster.errors["list"] = Unreachable("connection refused")
    with pytest.raises(Unreachable):
        for _turn in range(30):
            looking.run(10)
    assert cluster.clock.time() == 80.0


def test_what_may_not_be_listed_is_left_out_unless_it_matters() -> None:
    cluster = new_cluster()
    stack(cluster)
    cluster.errors["list HorizontalPodAutoscaler"] = ApiError(403, "Forbidden", "no")
    assert watch(cluster).run(10).state == "ready"


def test_the_lease_is_renewed_while_looking() -> None:
    cluster = new_cluster()
    stack(cluster, ready=False)
    lease = _lease.Lease(cluster, NAMESPACE, _lease.holder_of("ann", "here", 1, "local"))
    lease.acquire()
    first = cluster.store[("Lease", NAMESPACE, "twisterlab-release")]["spec"]["renewTime"]
    watch(
        cluster, lease=lease, shown="0 of 1 ready; StatefulSet/db 0 of 1 pods ready; its probes have not succeeded yet"
    ).run(20)
    assert cluster.store[("Lease", NAMESPACE, "twisterlab-release")]["spec"]["renewTime"] > first


def test_logs_come_from_the_crashed_run_and_hide_secrets() -> None:
    cluster = new_cluster()
    crashed = {"terminated": {"exitCode": 1, "startedAt": "2026-11-23T09:00:00Z"}}
    state = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": crashed, "restartCount": 3}
    stack(cluster, ready=False, state=state)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "twisterlab-secrets"}}
    cluster.put({**secret, "data": _secrets.encode({"password": "p w/secret"})})
    cluster.logs[("db-0", True)] = "first\n\nlogin with p w/secret failed\nurl p%20w%2Fsecret\n"
    outcome = watch(cluster).run(10)
    _health.add_logs(cluster, NAMESPACE, outcome.checks)
    assert outcome.checks[0].logs == ["first", "login with <redacted> failed", "url <redacted>"]
    text = _health.report(outcome, NAMESPACE, 60)
    assert "last lines of the log of db-0/main before it crashed:\n    first" in text
    # Without the right to read the Secret the log is shown as it is.
    cluster.errors["get Secret"] = ApiError(403, "Forbidden", "no")
    _health.add_logs(cluster, NAMESPACE, outcome.checks)
    assert "p w/secret" in outcome.checks[0].logs[1]


def test_the_log_of_the_present_run_when_there_is_no_other() -> None:
    cluster = new_cluster()
    ended = {"state": {"terminated": {"exitCode": 1}}, "restartCount": 3}
    stack(cluster, ready=False, state=ended)
    cluster.logs[("db-0", False)] = "the only line\n"
    outcome = watch(cluster).run(10)
    _health.add_logs(cluster, NAMESPACE, outcome.checks)
    assert outcome.checks[0].logs == ["the only line"]


def test_conclude_writes_the_verdict_and_lets_go() -> None:
    cluster = new_cluster()
    records = Records(cluster, NAMESPACE)
    lease = _lease.Lease(cluster, NAMESPACE, _lease.holder_of("ann", "here", 1, "local"))
    summary = {"status": "applied", "user": "ann", "started": "t", "components": []}
    part = Component("api", [workload("Deployment", "web", "api", "web:1")])
    first = records.write(Summary(number=0, **summary), [part])
    lease.acquire()
    assert _health.conclude(records, lease, first, _health.Outcome("ready", []), "") == {}
    assert cluster.store[("Lease", NAMESPACE, "twisterlab-release")]["spec"]["holderIdentity"] == ""
    assert summary_of(records.read(first) or {})["status"] == "healthy"
    second = records.write(Summary(number=0, **summary), [Component("redis")])
    before = _health.conclude(records, None, second, _health.Outcome("broken", []), "why")
    assert before["number"] == first
    assert before["images"] == {"Deployment/web/main": "web:1"}
    # A release of one component is a release of the whole stack with that component changed.
    assert summary_of(records.read(second) or {})["images"] == before["images"]
    concluded = summary_of(records.read(second) or {})
    assert (concluded["status"], concluded["reason"]) == ("failed", "why")
