# SPDX-License-Identifier: GPL-3.0-or-later
"""Ready, waiting or broken: one row a state of the cluster."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _judge
from ansible_collections.twisterlab.platform.plugins.module_utils._judge import BROKEN, READY, WAITING
from kube_fake import labels, manifest, workload

GRACE = 10.0
EARLY, LATER, LATEST = "2026-11-23T09:00:00Z", "2026-11-23T09:01:00Z", "2026-11-23T09:02:00Z"


def live(obj: dict[str, Any], uid: str, **status: Any) -> dict[str, Any]:
    obj["metadata"].update(uid=uid, generation=2)
    obj["status"] = {"observedGeneration": 2, **status}
    return obj


def deployment(component: str = "api", needs: str = "", replicas: int = 2, **status: Any) -> dict[str, Any]:
    good = {"replicas": replicas, "updatedReplicas": replicas, "availableReplicas": replicas}
    return live(
        workload("Deployment", component, component, needs=needs, replicas=replicas),
        f"d-{component}",
        **{**good, **status},
    )


def replica_set(component: str = "api", revision: int = 1) -> dict[str, Any]:
    return {
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{component}-{revision}",
            "uid": f"rs-{component}-{revision}",
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"controller": True, "uid": f"d-{component}"}],
        },
    }


def pod(
    owner: str, state: dict[str, Any] | None = None, ready: bool = False, since: str = EARLY, **rest: Any
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}]
    conditions += rest.pop("conditions", [{"type": "PodScheduled", "status": "True"}])
    container = {"name": "main", "image": "kubelets-name:1", "ready": ready, "restartCount": 0, **(state or {})}
    return {
        "kind": "Pod",
        "metadata": {
            "name": rest.pop("name", f"{owner}-pod"),
            "uid": rest.pop("uid", f"pod-{owner}"),
            "labels": {**labels("api"), **rest.pop("labels", {})},
            "ownerReferences": [{"controller": True, "uid": owner}],
            **rest.pop("metadata", {}),
        },
        "spec": {"containers": [{"name": "main", "image": "written:1"}], **rest.pop("spec", {})},
        "status": {
            "phase": rest.pop("phase", "Pending"),
            "conditions": conditions,
            "containerStatuses": [container],
            **rest,
        },
    }


def waiting(reason: str, message: str = "", **rest: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}, **rest}


def crash(started: str = LATEST, restarts: int = 2, code: int = 3, backing_off: bool = True) -> dict[str, Any]:
    ended = {"terminated": {"exitCode": code, "startedAt": started, "reason": "Error"}}
    if backing_off:
        return {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended, "restartCount": restarts}
    return {"state": ended, "restartCount": restarts}


def event(kind: str, name: str, reason: str, message: str, when: str = LATEST, uid: str = "") -> dict[str, Any]:
    about = {"kind": kind, "name": name, **({"uid": uid} if uid else {})}
    return {
        "kind": "Event",
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "lastTimestamp": when,
        "metadata": {},
    }


def snapshot(*found: dict[str, Any], events: list[dict[str, Any]] | None = None) -> _judge.Snapshot:
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for obj in found:
        by_kind.setdefault(obj["kind"], []).append(copy.deepcopy(obj))
    return _judge.Snapshot(by_kind, events or [])


def judge(*found: dict[str, Any], after: float = 0.0, events: list[dict[str, Any]] | None = None) -> list[_judge.Check]:
    """The verdicts when the same picture has been seen for `after` seconds."""
    memory: dict[str, float] = {}
    shot = snapshot(*found, events=events)
    for now in (0.0, after):
        checks = _judge.Judge(GRACE, memory).judge(shot, now)
    return checks


def worst(*found: dict[str, Any], **rest: Any) -> _judge.Check:
    return judge(*found, **rest)[0]


def test_what_somebody_scaled_to_nothing_is_not_ready() -> None:
    autoscaler = manifest("HorizontalPodAutoscaler", "api", "api")
    autoscaler["spec"] = {"minReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "api"}}
    autoscaler["status"] = {"conditions": [{"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}]}
    stateful = live(workload("StatefulSet", "db", "postgres", replicas=0), "s-db", updateRevision="1")
    checks = judge(deployment(replicas=0), replica_set(), stateful, autoscaler)
    assert [(check.title, check.state, check.reason) for check in checks] == [
        (
            "Deployment/api",
            BROKEN,
            "it is scaled to 0, so nothing of it runs: kubectl -n default scale deployment/api --replicas=2",
        ),
        (
            "StatefulSet/db",
            BROKEN,
            "it is scaled to 0, so nothing of it runs: kubectl -n default scale statefulset/db --replicas=1",
        ),
        ("HorizontalPodAutoscaler/api", READY, "its workload has no replicas"),
    ]


ROLLING = {"replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}


def rollout(state: dict[str, Any], **rest: Any) -> list[dict[str, Any]]:
    """Two old pods that serve and a new one in some state."""
    return [
        deployment(**ROLLING),
        replica_set(revision=1),
        replica_set(revision=2),
        pod("rs-api-1", ready=True, name="old-1", uid="old-1"),
        pod("rs-api-1", ready=True, name="old-2", uid="old-2"),
        pod("rs-api-2", state, name="new", uid="new", **rest),
    ]


def test_all_ready() -> None:
    checks = judge(deployment(), replica_set(), pod("rs-api-1", ready=True))
    assert [(check.title, check.state) for check in checks] == [("Deployment/api", READY)]
    assert _judge.overall([]) == READY


@pytest.mark.parametrize(
    ("state", "after", "verdict", "reason"),
    [
        (waiting("ContainerCreating"), 999, WAITING, "ContainerCreating"),
        (
            waiting("ErrImagePull", "localhost/none:1: not found"),
            0,
            BROKEN,
            "ErrImagePull: localhost/none:1: not found",
        ),
        (waiting("ImagePullBackOff", "pull access denied"), 0, BROKEN, "ImagePullBackOff"),
        (waiting("InvalidImageName", "timeout"), 0, BROKEN, "InvalidImageName"),
        (waiting("ErrImagePull", "dial tcp: i/o timeout"), 0, WAITING, "i/o timeout"),
        (waiting("ErrImagePull", "dial tcp: i/o timeout"), GRACE, BROKEN, "i/o timeout"),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), 0, BROKEN, "CreateContainerConfigError"),
        (waiting("RunContainerError", "exec: no such file or directory"), 0, BROKEN, "RunContainerError"),
        (waiting("CreateContainerError", "name is reserved"), 0, WAITING, "CreateContainerError"),
        (waiting("CreateContainerError", "name is reserved"), GRACE, BROKEN, "CreateContainerError"),
        (crash(), 0, BROKEN, "CrashLoopBackOff: it ended with exit code 3, 2 restarts"),
        (crash(backing_off=False, restarts=1), 0, BROKEN, "CrashLoopBackOff: it ended with exit code 3, 1 restart"),
        (crash(backing_off=False, restarts=0), 999, WAITING, "it ended with exit code 3"),
        (crash(backing_off=False, restarts=1, code=0), 0, BROKEN, "it ended with exit code 0"),
        ({"state": {"running": {}}}, 999, WAITING, "its probes have not succeeded yet"),
    ],
)
def test_a_new_pod_while_old_ones_serve(state: dict[str, Any], after: float, verdict: str, reason: str) -> None:
    check = worst(*rollout(state), after=after)
    assert (check.title, check.state) == ("Deployment/api", verdict)
    assert reason in check.reason
    if verdict == BROKEN:
        assert (check.pod, check.container, check.image) == ("new", "main", "written:1")


def test_the_restart_of_a_crashed_pod_is_read_from_the_previous_log() -> None:
    assert worst(*rollout(crash())).crashed
    assert not worst(*rollout(crash(backing_off=False))).crashed


def test_broken_init_container() -> None:
    new = rollout({"state": {"waiting": {"reason": "PodInitializing"}}})
    new[-1]["spec"]["initContainers"] = [{"name": "setup", "image": "setup:1"}]
    new[-1]["status"]["initContainerStatuses"] = [{"name": "setup", **crash()}]
    check = worst(*new)
    assert (check.state, check.container, check.image) == (BROKEN, "setup", "setup:1")
    new[-1]["status"]["initContainerStatuses"] = [
        {"name": "setup", "state": {"terminated": {"exitCode": 0}}, "restartCount": 1}
    ]
    assert worst(*new).state == WAITING


def test_a_broken_pod_of_an_older_replica_set_is_not_judged() -> None:
    found = [
        deployment(),
        replica_set(revision=1),
        replica_set(revision=2),
        pod("rs-api-1", waiting("ImagePullBackOff", "not found"), name="stale", uid="stale"),
        pod("rs-api-2", ready=True),
    ]
    assert worst(*found).state == READY
    found[0]["status"].update(replicas=3)
    check = worst(*found)
    assert check.state == WAITING
    assert "1 of the release before still there" in check.reason


def test_evicted_and_ending_pods_are_not_judged() -> None:
    found = rollout(waiting("ImagePullBackOff", "not found"), metadata={"deletionTimestamp": EARLY})
    assert worst(*found).state == WAITING
    found = rollout(crash(), phase="Failed")
    assert worst(*found).state == WAITING


def test_a_change_that_no_controller_saw_is_waited_for() -> None:
    found = deployment()
    found["metadata"]["generation"] = 3
    assert "has not seen the change" in worst(found).reason


@pytest.mark.parametrize(
    ("condition", "state", "reason"),
    [
        (
            {"type": "ReplicaFailure", "status": "True", "message": "violates PodSecurity"},
            BROKEN,
            "cannot be made: violates",
        ),
        ({"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}, BROKEN, "exceeded quota"),
        (
            {"type": "ReplicaFailure", "status": "True", "message": "webhook: context deadline exceeded"},
            WAITING,
            "deadline",
        ),
        (
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"},
            BROKEN,
            "no progress within 600 s",
        ),
    ],
)
def test_conditions_of_a_deployment(condition: dict[str, Any], state: str, reason: str) -> None:
    check = worst(deployment(availableReplicas=0, updatedReplicas=0, conditions=[condition]))
    assert check.state == state
    assert reason in check.reason


def test_a_quota_is_waited_for_while_pods_end() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}
    ending = pod("rs-api-1", ready=True, metadata={"deletionTimestamp": EARLY})
    assert worst(deployment(availableReplicas=0, conditions=[failure]), ending).state == WAITING


def unschedulable(message: str = "0/1 nodes are available: 1 Insufficient cpu.") -> dict[str, Any]:
    return {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}


def test_unschedulable_counts_after_the_grace() -> None:
    found = rollout({}, **unschedulable())
    assert worst(*found, after=GRACE - 1).state == WAITING
    check = worst(*found, after=GRACE)
    assert check.state == BROKEN
    assert "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu." in check.reason


def test_unschedulable_waits_for_ending_pods_and_for_new_nodes() -> None:
    found = rollout({}, **unschedulable())
    ending = pod("rs-api-1", ready=True, name="ending", uid="ending", metadata={"deletionTimestamp": EARLY})
    assert worst(*found, ending, after=99).state == WAITING
    scaling = [event("Pod", "new", "TriggeredScaleUp", "pod triggered scale-up")]
    check = worst(*found, after=99, events=scaling)
    assert check.state == WAITING
    assert "adding a node" in check.reason


def test_the_grace_begins_anew_when_the_cause_was_gone() -> None:
    memory: dict[str, float] = {}
    bad, good = snapshot(*rollout({}, **unschedulable())), snapshot(*rollout(waiting("ContainerCreating")))
    for now, shot, state in (
        (0, bad, WAITING),
        (8, good, WAITING),
        (12, bad, WAITING),
        (20, bad, WAITING),
        (22, bad, BROKEN),
    ):
        assert _judge.Judge(GRACE, memory).judge(shot, now)[0].state == state


def hpa(conditions: list[dict[str, Any]], current: list[dict[str, Any]] | None = None, low: int = 2) -> dict[str, Any]:
    metric = [
        {"type": "Resource", "resource": {"name": "cpu", "target": {}}},
        {"type": "Resource", "resource": {"name": "memory", "target": {}}},
    ]
    target = {"kind": "Deployment", "name": "api"}
    obj = manifest(
        "HorizontalPodAutoscaler", "h", "api", spec={"scaleTargetRef": target, "metrics": metric, "minReplicas": low}
    )
    return live(obj, "hpa", conditions=conditions, currentMetrics=current)


def figure(name: str, **current: Any) -> dict[str, Any]:
    return {"type": "Resource", "resource": {"name": name, "current": current}}


ACTIVE = {"type": "ScalingActive", "status": "True"}


@pytest.mark.parametrize(
    ("conditions", "current", "after", "state", "reason"),
    [
        ([], None, 0, WAITING, "no figures yet"),
        (
            [{"type": "ScalingActive", "status": "False", "message": "no metrics returned"}],
            None,
            500,
            WAITING,
            "no metrics returned",
        ),
        ([ACTIVE], [figure("cpu", averageUtilization=3)], 0, WAITING, "no figure yet for memory"),
        ([ACTIVE], [figure("cpu", averageUtilization=0), figure("memory", averageValue="0")], 0, READY, ""),
        ([ACTIVE], [{"type": ""}, figure("cpu", averageUtilization=3)], 0, WAITING, "memory"),
        (
            [
                {
                    "type": "ScalingActive",
                    "status": "False",
                    "message": "the server could not find the requested resource (get pods.metrics.k8s.io)",
                }
            ],
            None,
            60,
            BROKEN,
            "install metrics-server",
        ),
        (
            [{"type": "AbleToScale", "status": "False", "reason": "FailedGetScale", "message": "not found"}],
            None,
            10,
            BROKEN,
            "not found",
        ),
        ([{"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}], None, 0, READY, "no replicas"),
    ],
)
def test_autoscaler(
    conditions: list[dict[str, Any]], current: list[dict[str, Any]] | None, after: float, state: str, reason: str
) -> None:
    check = worst(hpa(conditions, current), after=after)
    assert check.state == state
    assert reason in check.reason


def test_pods_that_only_the_autoscaler_wants_break_nothing() -> None:
    scaler = hpa([ACTIVE], [figure("cpu", averageUtilization=99), figure("memory", averageUtilization=9)])
    found = [
        deployment(replicas=3, availableReplicas=2),
        replica_set(),
        pod("rs-api-1", ready=True, name="a", uid="a"),
        pod("rs-api-1", ready=True, name="b", uid="b"),
        pod("rs-api-1", name="c", uid="c", **unschedulable()),
        scaler,
    ]
    checks = {check.title: check for check in judge(*found, after=99)}
    assert checks["Deployment/api"].state == READY
    assert "2 of the 3 pods" in checks["Deployment/api"].reason
    # Without the autoscaler the same is broken.
    assert worst(*found[:-1], after=99).state == BROKEN


def database(ready_since: str | None = EARLY, **status: Any) -> list[dict[str, Any]]:
    obj = live(workload("StatefulSet", "postgres", "postgres", replicas=1), "db", updateRevision="db-2", **status)
    found = pod(
        "db", {"state": {"running": {}}}, ready=ready_since is not None, since=ready_since or EARLY, name="postgres-0", uid="db-0",
        labels={"controller-revision-hash": "db-2"},
    )  # fmt: skip
    return [obj, found]


@pytest.mark.parametrize(
    ("ready_since", "run_began", "state"),
    [
        (EARLY, LATER, BROKEN),
        (None, LATER, WAITING),
        (LATEST, LATER, WAITING),
        (LATER, LATER, WAITING),
        (LATER, LATEST, BROKEN),
    ],
)
def test_a_crash_counts_when_what_the_pod_needs_was_ready_before(
    ready_since: str | None, run_began: str, state: str
) -> None:
    found = rollout(crash(started=run_began))
    found[0]["metadata"]["annotations"] = {"twisterlab.io/needs": "postgres"}
    checks = {check.title: check for check in judge(*found, *database(ready_since))}
    assert checks["Deployment/api"].state == state


def test_a_need_that_runs_elsewhere_counts_as_ready() -> None:
    found = rollout(crash())
    found[0]["metadata"]["annotations"] = {"twisterlab.io/needs": "postgres"}
    assert worst(*found).state == BROKEN


def test_stateful_set() -> None:
    assert worst(*database()).state == READY
    obj, found = database()
    found["metadata"]["labels"]["controller-revision-hash"] = "db-1"
    check = worst(obj, found)
    assert check.state == WAITING
    assert "postgres-0 still of the release before" in check.reason
    # A pod of an older revision is not judged, however broken.
    found["status"]["containerStatuses"][0].update(waiting("ImagePullBackOff", "not found"))
    assert worst(obj, found).state == WAITING
    found["metadata"]["labels"]["controller-revision-hash"] = "db-2"
    found["status"]["conditions"][0]["status"] = "False"
    assert worst(obj, found).state == BROKEN


def test_a_stateful_set_whose_pods_are_refused() -> None:
    obj, _found = database()
    obj["metadata"]["managedFields"] = [{"manager": "twisterlab", "operation": "Apply", "time": LATER}]
    refused = event(
        "StatefulSet",
        "postgres",
        "FailedCreate",
        "create Pod postgres-0 failed: forbidden: violates PodSecurity",
        LATEST,
    )
    check = worst(obj, events=[refused])
    assert check.state == BROKEN
    assert "violates PodSecurity" in check.reason
    # The event of a state that was mended since does not count.
    assert worst(obj, events=[{**refused, "lastTimestamp": EARLY}]).state == WAITING


def test_daemon_set() -> None:
    counts = {"desiredNumberScheduled": 2, "numberAvailable": 2, "updatedNumberScheduled": 2}
    obj = live(workload("DaemonSet", "agent", "agent"), "ds", **counts)
    assert worst(obj).state == READY
    obj["status"]["numberAvailable"] = 1
    assert worst(obj).state == WAITING
    assert worst(obj, pod("ds", waiting("ErrImagePull", "not found"))).state == BROKEN


def job(*conditions: str, message: str = "") -> dict[str, Any]:
    return live(
        workload("Job", "migrate", "api"),
        "job",
        conditions=[{"type": kind, "status": "True", "message": message} for kind in conditions],
    )


def test_job() -> None:
    assert worst(job("Complete")).state == READY
    assert worst(job()).state == WAITING
    failed = worst(job("Failed", message="BackoffLimitExceeded"), pod("job", crash(), phase="Failed", name="migrate-x"))
    assert (failed.state, failed.pod, failed.container) == (BROKEN, "migrate-x", "main")
    # A Job counts its failures itself.
    assert worst(job(), pod("job", crash(), phase="Running")).state == WAITING
    assert worst(job(), pod("job", waiting("ErrImagePull", "not found"))).state == BROKEN
    owned = job("Failed")
    owned["metadata"]["ownerReferences"] = [{"controller": True, "uid": "cron"}]
    assert judge(owned) == []


def claim(phase: str = "Pending", **metadata: Any) -> dict[str, Any]:
    obj = live(manifest("PersistentVolumeClaim", "data", "postgres"), "claim", phase=phase)
    obj["metadata"].update(metadata)
    return obj


MOUNTS = {"spec": {"containers": [], "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]}}


@pytest.mark.parametrize(
    ("phase", "reason", "message", "used", "after", "state"),
    [
        ("Bound", "", "", True, 0, READY),
        ("Lost", "", "", True, 0, BROKEN),
        ("Pending", "ProvisioningFailed", 'storageclass "x" not found', True, 0, WAITING),
        ("Pending", "ProvisioningFailed", 'storageclass "x" not found', True, GRACE, BROKEN),
        ("Pending", "FailedBinding", "no storage class is set", True, GRACE, BROKEN),
        ("Pending", "WaitForFirstConsumer", "waiting for first consumer", False, 0, READY),
        ("Pending", "WaitForFirstConsumer", "waiting for first consumer", True, GRACE, WAITING),
        ("Pending", "ExternalProvisioning", "waiting for a provisioner", True, 59, WAITING),
        ("Pending", "ExternalProvisioning", "waiting for a provisioner", True, 60, BROKEN),
    ],
)
def test_claim(phase: str, reason: str, message: str, used: bool, after: float, state: str) -> None:
    events = [event("PersistentVolumeClaim", "data", reason, message)] if reason else []
    found = [claim(phase), *([pod("nobody", **MOUNTS)] if used else [])]
    assert worst(*found, after=after, events=events).state == state


def test_a_claim_that_goes_away() -> None:
    assert worst(claim("Bound", deletionTimestamp=EARLY)).state == BROKEN


def test_a_mount_that_cannot_be_is_told() -> None:
    found = rollout(waiting("ContainerCreating"))
    missing = [event("Pod", "new", "FailedMount", 'MountVolume.SetUp failed: secret "x" not found')]
    assert "FailedMount" in worst(*found, events=missing).reason
    assert worst(*found, events=missing, after=GRACE).state == BROKEN
    slow = [event("Pod", "new", "FailedAttachVolume", "Multi-Attach error")]
    assert worst(*found, events=slow, after=999).state == WAITING


def test_a_failing_probe_is_told() -> None:
    found = rollout({"state": {"running": {}}, "restartCount": 1})
    check = worst(*found, events=[event("Pod", "new", "Unhealthy", "Readiness probe failed: 503")])
    assert "Readiness probe failed: 503 (1 restart)" in check.reason


def test_objects_of_others_are_not_judged() -> None:
    foreign = deployment(availableReplicas=0)
    foreign["metadata"]["labels"] = {}
    assert judge(foreign) == []


def test_line_and_order() -> None:
    checks = judge(*rollout(waiting("ErrImagePull", "not found")), deployment("redis"), claim())
    assert [check.state for check in checks] == [BROKEN, WAITING, READY]
    assert (
        _judge.line(checks[0])
        == "Deployment/api is broken: ErrImagePull: not found [pod new, container main, image written:1]"
    )
    assert _judge.overall(checks) == BROKEN
