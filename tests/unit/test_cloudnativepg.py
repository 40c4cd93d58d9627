# SPDX-License-Identifier: GPL-3.0-or-later
"""Postgres as a Cluster of CloudNativePG: judged, kept, put to sleep, and never mistaken for the other mode."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import (
    _destroy,
    _edges,
    _health_checks,
    _judge,
    _kinds,
    _lease,
    _logs,
    _past,
    _policies,
    _secrets,
    _sizing,
    _status,
)
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._judge import BROKEN, READY, WAITING
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from kube_fake import NAMESPACE, START, FakeCluster, manifest, namespace
from network_facts import network
from test_release import Run, staged

HEALTHY = "Cluster in healthy state"
ME = _lease.holder_of("ann", "here", 12, "local", "777")


def cluster_of(hibernation: str = "off", image: str = "registry/postgres:17.6", **status: Any) -> dict[str, Any]:
    obj = manifest("Cluster", objects.CLUSTER, "postgres")
    obj["metadata"].update(uid="c", annotations={objects.HIBERNATION: hibernation})
    resources = {"requests": {"cpu": "100m", "memory": "192Mi"}}
    return {
        **obj,
        "spec": {"instances": 3, "imageName": image, "resources": resources, "storage": {"size": "8Gi"}},
        "status": status,
    }


def instance(number: int, ready: bool = True, **state: Any) -> dict[str, Any]:
    """A pod as the operator makes it."""
    container = {"name": "postgres", "image": "registry/postgres:17.6", "ready": ready, "restartCount": 0, **state}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{objects.CLUSTER}-{number}",
            "namespace": NAMESPACE,
            "uid": f"p{number}",
            "labels": {**objects.INSTANCES, objects.MANAGED_BY: "cloudnative-pg"},
            "ownerReferences": [{"controller": True, "uid": "c"}],
        },
        "spec": {
            "containers": [{"name": "postgres", "image": "registry/postgres:17.6", "readinessProbe": {"httpGet": {}}}]
        },
        "status": {
            "phase": "Running",
            "containerStatuses": [container],
            "conditions": [{"type": "Ready", "status": str(ready)}, {"type": "PodScheduled", "status": "True"}],
        },
    }


def judged(*found: dict[str, Any], after: float = 60.0) -> _judge.Check:
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for obj in found:
        by_kind.setdefault(obj["kind"], []).append(obj)
    memory: dict[str, float] = {}
    for now in (0.0, after):
        checks = _judge.Judge(10.0, memory).judge(_judge.Snapshot(by_kind), now)
    return checks[0]


@pytest.mark.parametrize(
    ("obj", "state", "reason"),
    [
        (cluster_of(phase=HEALTHY, readyInstances=3), READY, ""),
        (cluster_of("on", phase=HEALTHY, readyInstances=0), READY, "it sleeps, its volumes stay"),
        (cluster_of(), WAITING, "the operator CloudNativePG has not seen it yet"),
        (cluster_of(phase=HEALTHY, readyInstances=2), WAITING, "2 of 3 instances ready"),
        (
            cluster_of(phase="Failing over", phaseReason="of 1 to 2", readyInstances=2),
            WAITING,
            "2 of 3 instances ready; Failing over: of 1 to 2",
        ),
        (
            cluster_of(phase="Invalid cluster definition"),
            BROKEN,
            "0 of 3 instances ready; Invalid cluster definition: no reason is told",
        ),
    ],
)
def test_a_cluster_is_judged_by_its_operators_words(obj: dict[str, Any], state: str, reason: str) -> None:
    check = judged(obj, *(instance(number + 1) for number in range(obj["status"].get("readyInstances", 0))))
    assert (check.title, check.state, check.reason) == ("Cluster/postgres-cluster", state, reason)


def test_what_an_operator_wrote_before_it_went_is_not_what_serves() -> None:
    old = cluster_of(phase=HEALTHY, readyInstances=3)
    assert judged(old, instance(1), instance(2), instance(3)).state == READY
    check = judged(old, instance(1), instance(2), instance(3, ready=False))
    assert (check.state, check.reason.partition(";")[0]) == (WAITING, "2 of 3 instances ready")
    assert (judged(old).state, judged(old).reason) == (WAITING, "0 of 3 instances ready")
    (tier,) = _status.tiers(_judge.Snapshot({"Cluster": [old], "Pod": [instance(1)]}))
    assert (tier["ready"], tier["wanted"]) == (1, 3)


def test_an_instance_without_an_image_is_broken_at_once_also_in_the_pod_of_a_job() -> None:
    absent = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
    pod = instance(1, ready=False, **absent)
    pod["metadata"]["ownerReferences"] = [{"controller": True, "uid": "job"}]
    check = judged(cluster_of(phase="Setting up primary"), pod, after=0.0)
    assert check.state == BROKEN
    assert "ImagePullBackOff" in check.reason
    assert check.pod == "postgres-cluster-1"


def test_one_that_sleeps_is_no_good_workload_and_lacks_no_probes() -> None:
    snapshot = _judge.Snapshot({"Cluster": [cluster_of("on", phase=HEALTHY, readyInstances=0)]})
    (check,) = _health_checks.workloads(snapshot, START)
    assert (check.state, check.evidence.partition(":")[0]) == ("failed", "it sleeps, so nothing of it runs")
    (probes,) = _health_checks.probes(snapshot)
    assert (probes.state, probes.evidence) == ("skipped", "it has no pods")


def test_the_screen_shows_its_instances_and_image() -> None:
    snapshot = _judge.Snapshot(
        {"Cluster": [cluster_of(phase=HEALTHY, readyInstances=2)], "Pod": [instance(1), instance(2)]}
    )
    (tier,) = _status.tiers(snapshot)
    assert (tier["ready"], tier["wanted"], tier["images"]) == (2, 3, {"postgres": "registry/postgres:17.6"})


def test_its_pods_are_in_the_log_of_the_tier() -> None:
    api = FakeCluster()
    api.put(instance(1))
    assert [objects.name(pod) for pod in _logs.pods(api, NAMESPACE, ["postgres"])] == ["postgres-cluster-1"]
    assert not _logs.pods(api, NAMESPACE, ["redis"])


# -- releases ----------------------------------------------------------------------------------------------------------


def with_cluster() -> list[Component]:
    base, *_rest = staged()
    return [base, Component("postgres", [cluster_of()])]


def test_without_the_operator_nothing_is_changed() -> None:
    run = Run()
    run.cluster.errors["list Cluster"] = ApiError(404, "NotFound", "404 page not found", "list clusters")
    run(staged())
    with pytest.raises(
        Refused, match=r"no kind Cluster of postgresql.cnpg.io/v1: install the operator CloudNativePG, or write twist"
    ):
        run(with_cluster())


def test_what_the_operator_says_of_the_image_before_does_not_count() -> None:
    found = cluster_of(image="registry/postgres:17.7", phase=HEALTHY, readyInstances=3)
    check = judged(found, *(instance(number) for number in (1, 2)))
    assert (check.state, check.reason) == (
        WAITING,
        "2 of 3 instances ready, postgres-cluster-1, postgres-cluster-2 still of the release before",
    )


@pytest.mark.parametrize("first", ["single", "cloudnativepg"])
def test_the_other_mode_is_refused_while_there_is_data(first: str) -> None:
    claim = Component("postgres", [manifest("PersistentVolumeClaim", "postgres-data", "postgres")])
    modes = {"single": [staged()[0], claim], "cloudnativepg": with_cluster()}
    run = Run()
    run(modes.pop(first))
    (other,) = modes.values()
    kept = {"single": "PersistentVolumeClaim/postgres-data", "cloudnativepg": "Cluster/postgres-cluster"}[first]
    workload = "statefulset/postgres " if first == "single" else ""
    with pytest.raises(Refused) as refused:
        run(other)
    assert f"The data of Postgres is in {kept}, " in str(refused.value)
    assert f"'kubectl -n shop delete {workload}{kept.lower()}'" in str(refused.value)


def test_another_major_version_is_refused() -> None:
    run = Run()
    run(with_cluster())
    live = run.cluster.store["Cluster", NAMESPACE, objects.CLUSTER]
    live["status"] = {"pgDataImageInfo": {"image": "registry/postgres:17.6", "majorVersion": 17}}
    base, _cluster = with_cluster()
    run([base, Component("postgres", [cluster_of(image="registry:5000/postgres:17.7-a@sha256:0f")])])
    with pytest.raises(Refused, match=r"has data of Postgres 17, and registry:5000/postgres:18.1 is 18: write an im"):
        run([base, Component("postgres", [cluster_of(image="registry:5000/postgres:18.1")])])


def test_a_cluster_that_is_rendered_no_longer_stays() -> None:
    run = Run()
    run(with_cluster())
    run([staged()[0], Component("postgres", [])])
    assert run.cluster.get(_kinds.CLUSTER, objects.CLUSTER, NAMESPACE) is not None


def test_every_instance_needs_room() -> None:
    (want,) = _sizing.wants([cluster_of()])
    assert (want.title, want.least) == ("Cluster/postgres-cluster", 3)
    assert _sizing.requests(want.spec)["memory"] == 192 * 2**20


def test_another_image_and_an_older_release_leave_the_volumes() -> None:
    item = Component("postgres", [cluster_of(), manifest("Service", "postgres", "postgres")])
    assert _past.image_of(item) == "registry/postgres:17.6"
    (changed, _service) = _past.with_image(item, "registry/postgres:17.7").objects
    assert changed["spec"]["imageName"] == "registry/postgres:17.7"
    larger = cluster_of()
    larger["spec"]["storage"] = {"size": "16Gi"}
    (kept,) = _past.keep_volumes([item], [Component("postgres", [larger])])
    assert kept.objects[0]["spec"]["storage"] == {"size": "16Gi"}


# -- the end -----------------------------------------------------------------------------------------------------------


class Operated(FakeCluster):
    """A cluster whose operator ends the instances of what sleeps or is gone."""

    def list(self, kind: _kinds.Kind, *given: Any, **more: Any) -> list[dict[str, Any]]:
        """What is there, after the operator has worked."""
        found = self.store.get(("Cluster", NAMESPACE, objects.CLUSTER))
        if found is None or objects.notes(found).get(objects.HIBERNATION) == "on":
            for key in [key for key in self.store if key[0] == "Pod"]:
                del self.store[key]
        return super().list(kind, *given, **more)


def destroyed(api: FakeCluster, purge: bool = False) -> _destroy.Removal:
    return _destroy.Destroy(api, api.clock, NAMESPACE, ME, purge, False, dead=lambda identity, which: False).run(10)


def running() -> Operated:
    api = Operated()
    for obj in (namespace(), cluster_of(), manifest("Service", "postgres", "postgres"), instance(1), instance(2)):
        api.put(obj)
    return api


def test_destroy_puts_it_to_sleep_and_keeps_it() -> None:
    api = running()
    removal = destroyed(api)
    assert removal.deleted == ["Service/postgres"]
    assert "Cluster/postgres-cluster" in [title for title, _why in removal.kept]
    assert not removal.waiting
    left = api.get(_kinds.CLUSTER, objects.CLUSTER, NAMESPACE)
    assert left is not None
    assert objects.notes(left)[objects.HIBERNATION] == "on"
    api.calls.clear()
    destroyed(api)
    assert api.writes() == []


def test_a_destroy_of_several_calls_lets_go_of_its_hold() -> None:
    """The operator needs longer than one call."""
    api = FakeCluster()
    for obj in (namespace(), cluster_of(), manifest("Service", "postgres", "postgres"), instance(1)):
        api.put(obj)
    api.clock.at(30, lambda: api.store.pop(("Pod", NAMESPACE, "postgres-cluster-1")))
    lease = ("Lease", NAMESPACE, _lease.LEASE_NAME)
    assert destroyed(api).waiting
    assert api.store[lease]["spec"]["holderIdentity"] == ME.identity
    while destroyed(api).waiting:
        assert api.store[lease]["spec"]["holderIdentity"] == ME.identity
    assert api.store[lease]["spec"]["holderIdentity"] == ""


def test_one_that_is_not_healthy_does_not_sleep_and_it_is_said() -> None:
    api = FakeCluster()
    words = "Waiting for the cluster to be healthy before proceeding with hibernation"
    condition = {"type": objects.HIBERNATION, "reason": "WaitingForHealthy", "message": words}
    for obj in (namespace(), cluster_of(conditions=[condition]), instance(1)):
        api.put(obj)
    assert destroyed(api).left == ["Pod/postgres-cluster-1", f"Cluster/postgres-cluster: {words}"]


def test_a_purge_removes_it() -> None:
    api = running()
    assert "Cluster/postgres-cluster" in destroyed(api, purge=True).deleted
    assert not [call for call in api.calls if call.startswith("merge")]


# -- who talks to whom -------------------------------------------------------------------------------------------------


def test_its_instances_are_known_by_the_operators_label() -> None:
    found = network(postgres={"mode": "cloudnativepg", "operator_namespace": "operators"})
    assert found.tiers["postgres"].selects == objects.INSTANCES
    talks = {(edge.source, edge.target) for edge in found.edges if "postgres" in (edge.source, edge.target)}
    assert {("postgres", "postgres"), (_edges.OPERATOR, "postgres"), ("postgres", _edges.API_SERVER)} <= talks
    (spec,) = [item["spec"] for item in _policies.policies(found) if item["name"] == "postgres"]
    assert spec["podSelector"] == {"matchLabels": objects.INSTANCES}
    assert _edges.OPERATOR not in network(postgres={"operator_namespace": "operators"}).peers


# -- secrets -----------------------------------------------------------------------------------------------------------


def test_a_password_is_one_text_in_sql() -> None:
    values = {"password": 'it\'s\\ $$ "so"'}
    assert _secrets.expand("PASSWORD {password:sql};", values) == "PASSWORD 'it''s\\ $$ \"so\"';"
