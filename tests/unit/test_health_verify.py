# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify sees without disturbing anything: every rendered workload passes, and each fault is named."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _health_checks as health
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Silent
from ansible_collections.twisterlab.platform.plugins.module_utils._judge import Snapshot
from kube_fake import START, manifest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = [
    obj
    for path in sorted((ROOT / "tests" / "render" / "golden" / "defaults").rglob("*.yaml"))
    for obj in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
GOOD = {
    "postgres_password": "k8Jd02mmPq91zzXw",
    "redis_password": "Qm38dkfo02lskdjf",
    "salt": "x",
    "postgres_login": "twisterlab",
}


def deployed() -> Snapshot:
    """The rendered stack as a cluster shows it when all is well."""
    found: dict[str, list[Any]] = {"ReplicaSet": [], "Pod": [], "Deployment": [], "StatefulSet": []}
    for number, obj in enumerate(copy.deepcopy(GOLDEN)):
        found.setdefault(obj["kind"], []).append(obj)
        if obj["kind"] not in ("Deployment", "StatefulSet"):
            continue
        uid = f"uid-{number}"
        obj["metadata"] |= {"uid": uid, "generation": 1}
        wanted = obj["spec"].setdefault("replicas", 1)
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        obj["status"] = {"observedGeneration": 1, **dict.fromkeys(counts, wanted)}
        template = copy.deepcopy(obj["spec"]["template"])
        owner = uid
        if obj["kind"] == "Deployment":
            owner = f"rs-{number}"
            replica_set = {
                "kind": "ReplicaSet",
                "metadata": {"name": owner, "uid": owner, "ownerReferences": [{"controller": True, "uid": uid}]},
            }
            found["ReplicaSet"].append({**replica_set, "spec": {"template": copy.deepcopy(template)}})
        for turn in range(wanted):
            metadata = {**template["metadata"], "name": f"{obj['metadata']['name']}-{turn}"}
            metadata["ownerReferences"] = [{"controller": True, "uid": owner}]
            states = [
                {"name": item["name"], "ready": True, "restartCount": 0, "state": {"running": {}}}
                for item in template["spec"]["containers"]
            ]
            status = {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": states,
            }
            found["Pod"].append(
                {"kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"]), "status": status}
            )
    for obj in found["PersistentVolumeClaim"]:
        obj["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    for obj in found["HorizontalPodAutoscaler"]:
        metrics = [
            {"type": "Resource", "resource": {"name": item["resource"]["name"], "current": {"averageUtilization": 5}}}
            for item in obj["spec"]["metrics"]
        ]
        conditions = [{"type": kind, "status": "True"} for kind in ("ScalingActive", "AbleToScale")]
        obj["status"] = {
            "currentReplicas": 2,
            "desiredReplicas": 2,
            "currentMetrics": metrics,
            "conditions": conditions,
        }
    return Snapshot(found)


def every(snapshot: Snapshot) -> list[Check]:
    return [
        *health.workloads(snapshot, START),
        *health.probes(snapshot),
        *health.images(snapshot),
        *health.volumes(snapshot),
        *health.autoscalers(snapshot),
        *[health.service(item, snapshot.of("Pod"), lambda name, port, path: 200) for item in snapshot.of("Service")],
        health.closed(snapshot.of("Service")),
    ]


def bad(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.evidence for check in checks if check.state != "ok"}


def test_everything_that_is_rendered_passes_when_it_runs() -> None:
    checks = every(deployed())
    assert bad(checks) == {}
    names = [check.name for check in checks]
    assert len(names) == len(set(names)) > 50
    evidence = {check.name: check.evidence for check in checks}
    assert evidence["workload StatefulSet/postgres"] == "1 of 1 pods Running and Ready, 0 restarts in all"
    assert evidence["probes Deployment/twisterlab-api"] == "api readiness by GET /ready, api liveness by GET /health"
    assert "cpu 5 % of 70 %" in evidence["autoscaler twisterlab-api-hpa"]
    assert "is answered with 200" in evidence["service twisterlab-api"]
    assert "the kubelet's probe (exec) succeeds" in evidence["service postgres"]
    # Its readiness is asked on another port than its Service's.
    assert evidence["service kube-state-metrics"] == "port 8080: 1 ready pods, GET /metrics is answered with 200"


def _of(snapshot: Snapshot, kind: str, name: str) -> dict[str, Any]:
    return next(obj for obj in snapshot.of(kind) if obj["metadata"]["name"] == name)


def _no_probe(snapshot: Snapshot) -> None:
    del _of(snapshot, "Deployment", "twisterlab-api")["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]


def _floating(snapshot: Snapshot) -> None:
    _of(snapshot, "Deployment", "twisterlab-api")["spec"]["template"]["spec"]["containers"][0]["image"] = (
        "shop/api:latest"
    )


def _other_image(snapshot: Snapshot) -> None:
    _of(snapshot, "Pod", "redis-0")["spec"]["containers"][0]["image"] = "docker.io/redis:5"


def _falling(snapshot: Snapshot) -> None:
    ended = {"terminated": {"exitCode": 1, "finishedAt": "2026-11-23T08:50:00Z"}}
    _of(snapshot, "Pod", "redis-0")["status"]["containerStatuses"][0].update(restartCount=150, lastState=ended)


def _unready(snapshot: Snapshot) -> None:
    pod = _of(snapshot, "Pod", "redis-0")
    pod["status"]["conditions"][0]["status"] = "False"
    _of(snapshot, "Deployment", "redis")["status"].update(readyReplicas=0, availableReplicas=0)


def _unbound(snapshot: Snapshot) -> None:
    _of(snapshot, "PersistentVolumeClaim", "redis-data")["status"] = {"phase": "Pending"}


def _no_figures(snapshot: Snapshot) -> None:
    _of(snapshot, "HorizontalPodAutoscaler", "twisterlab-api-hpa")["status"]["currentMetrics"] = []


def _open(snapshot: Snapshot) -> None:
    _of(snapshot, "Service", "redis")["spec"]["type"] = "NodePort"


@pytest.mark.parametrize(
    ("fault", "name", "sentence"),
    [
        (_no_probe, "probes Deployment/twisterlab-api", "api has no livenessProbe"),
        (_floating, "image Deployment/twisterlab-api", "shop/api:latest is of no fixed version"),
        (_other_image, "image Deployment/redis", "redis-0 runs docker.io/redis:5 in the place of"),
        (
            _falling,
            "workload Deployment/redis",
            "it ended 150 times, the last time at 2026-11-23T08:50:00Z with exit code 1",
        ),
        (_unready, "workload Deployment/redis", "it is waiting: 0 of 1 pods ready"),
        (_unready, "service redis", "none of its 1 pods is ready"),
        (_unbound, "volume redis-data", "it is Pending"),
        (_no_figures, "autoscaler twisterlab-api-hpa", "has no figure yet for cpu, memory"),
        (_open, "services are inside only", "redis is a NodePort"),
    ],
)
def test_each_fault_is_named(fault: Callable[[Snapshot], None], name: str, sentence: str) -> None:
    snapshot = deployed()
    fault(snapshot)
    assert sentence in bad(every(snapshot))[name]


@pytest.mark.parametrize("image", ["api", "shop/api", "localhost:5000/api", "shop/api:latest"])
def test_a_version_that_floats(image: str) -> None:
    assert health._FLOATING.search(image)


@pytest.mark.parametrize("image", ["api:1", "localhost:5000/api:1.2", "shop/api@sha256:abc", "localhost/x/y:17.2"])
def test_a_version_that_stays(image: str) -> None:
    assert not health._FLOATING.search(image)


def test_a_service_that_does_not_answer_well_is_named() -> None:
    snapshot = deployed()
    obj = _of(snapshot, "Service", "twisterlab-api")
    assert health.service(obj, snapshot.of("Pod"), lambda *_: 503).evidence == "port 8000 answers GET /ready with 503"
    assert health.service(obj, snapshot.of("Pod"), lambda *_: 404).state == "failed"
    # A rate limiter answers too.
    assert health.service(obj, snapshot.of("Pod"), lambda *_: 429).state == "ok"

    def silent(name: str, port: int, path: str) -> int:
        raise Silent("twisterlab-api did not answer")

    assert health.service(obj, snapshot.of("Pod"), silent).evidence == "twisterlab-api did not answer"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"redis_password": "changeme"}, "redis_password is a well-known default"),
        ({"redis_password": "Password123"}, "redis_password is a well-known default"),
        ({"redis_password": "short-one"}, "redis_password has 9 characters, fewer than 12"),
        ({"redis_password": ""}, "redis_password is empty"),
        ({"redis_password": GOOD["postgres_password"]}, "redis_password and postgres_password have one value"),
    ],
)
def test_a_password_that_is_none_is_named_and_not_told(change: dict[str, str], sentence: str) -> None:
    assert health.passwords(GOOD).evidence == "2 keys, none of them empty, short, well known or used twice"
    check = health.passwords({**GOOD, **change})
    assert check.state == "failed"
    assert sentence in check.evidence
    for value in change.values():
        assert not value or value not in check.evidence or value == "changeme"


def test_a_secret_that_is_gone_is_not_a_good_one() -> None:
    for values in ({}, {"salt": "x"}):
        check = health.passwords(values)
        assert (check.state, "Secret/twisterlab-secrets is not there or empty" in check.evidence) == ("failed", True)
        assert health.in_clear([manifest("ConfigMap", "a", "api", data={"A": "x"})], values).state == "skipped"


def test_what_is_made_from_a_password_is_not_used_twice() -> None:
    made = {
        "jwt_secret_key": "k" * 40,
        "jwt_secret_key_previous": "k" * 40,
        "redis_url": "redis://x",
        "redis_auth_conf": "requirepass x",
    }
    assert health.passwords({**GOOD, **made}).state == "ok"


@pytest.mark.parametrize("form", ["{}", "postgresql://u:{}@h/db", "base64"])
def test_a_password_in_a_configmap_is_found(form: str) -> None:
    value = GOOD["postgres_password"]
    text = base64.b64encode(value.encode()).decode() if form == "base64" else form.format(value)
    clean, dirty = (
        manifest("ConfigMap", "a", "api", data={"A": "x"}),
        manifest("ConfigMap", "b", "api", data={"B": text}),
    )
    assert health.in_clear([clean], GOOD).state == "ok"
    check = health.in_clear([clean, dirty], GOOD)
    assert (check.state, value in check.evidence) == ("failed", False)
    assert "ConfigMap/b holds the value of postgres_password" in check.evidence
    # What a cluster says of it, such as an event's text in the status, is not what somebody wrote.
    assert health.in_clear([{**clean, "status": {"x": value}}], GOOD).state == "ok"


def test_a_release_that_failed_is_named() -> None:
    good = {"number": 3, "status": "healthy", "user": "ann@x", "ended": "2026-11-23T08:00:00Z"}
    assert health.released(good).state == "ok"
    assert health.released({}).state == "skipped"
    assert "3, failed" in health.released({**good, "status": "failed"}).evidence
