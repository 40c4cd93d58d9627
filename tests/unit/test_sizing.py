# SPDX-License-Identifier: GPL-3.0-or-later
"""Quantities, and whether a release fits on the nodes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _quantity, _sizing
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from kube_fake import manifest, node, workload


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("250m", "0.25"),
        ("1", "1"),
        ("1.5", "1.5"),
        (2, "2"),
        ("1Gi", str(2**30)),
        ("1G", "1000000000"),
        ("1e3", "1000"),
        ("12E", "12000000000000000000"),
        ("100k", "100000"),
        ("5n", "5e-9"),
    ],
)
def test_quantity(text: str | int, number: str) -> None:
    assert _quantity.parse(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "abc", "1GB", "1 2", "1..2", "m"])
def test_bad_quantity(text: str) -> None:
    with pytest.raises(Refused, match="is no quantity"):
        _quantity.parse(text)


def test_shown() -> None:
    assert [_quantity.show_cpu(Decimal(x)) for x in ("2", "0.25")] == ["2", "250m"]
    assert [_quantity.show_bytes(Decimal(x)) for x in (2**30, 3 * 2**29, 2**20)] == ["1Gi", "1.5Gi", "1Mi"]


def pods(
    cpu: str, name: str = "d", replicas: int | None = None, kind: str = "Deployment", **rest: Any
) -> dict[str, Any]:
    spec = {"replicas": replicas} if replicas is not None else {}
    container = {"resources": {"requests": {"cpu": cpu, "memory": "64Mi"}}}
    return workload(kind, name, "api", container=container, **spec, **rest)


def autoscaler(low: int, high: int, target: str = "d") -> dict[str, Any]:
    ref = {"kind": "Deployment", "name": target}
    return manifest(
        "HorizontalPodAutoscaler", "h", "api", spec={"minReplicas": low, "maxReplicas": high, "scaleTargetRef": ref}
    )


def check(
    found: list[dict[str, Any]], *nodes: dict[str, Any], running: list[dict[str, Any]] | None = None
) -> _sizing.Report:
    places = _sizing.nodes(list(nodes or (node(),)), running or [], lambda pod: pod["metadata"].get("mine", False))
    return _sizing.check(_sizing.wants(found), places)


def other(cpu: str, where: str = "node", mine: bool = False, phase: str = "Running") -> dict[str, Any]:
    spec = {"nodeName": where, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}
    return {"metadata": {"name": "p", "mine": mine}, "spec": spec, "status": {"phase": phase}}


def test_init_containers_and_sidecars_count_as_the_scheduler_counts() -> None:
    def container(cpu: str, **rest: Any) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu}}, **rest}

    spec = {
        "initContainers": [container("3"), container("1", restartPolicy="Always"), container("2")],
        "containers": [container("500m"), {"resources": {"limits": {"cpu": "1"}}}],
        "overhead": {"cpu": "100m"},
    }
    # The third init container runs beside the sidecar (3), as much as the first alone (3); the pod itself takes 2.5.
    assert _sizing.requests(spec)["cpu"] == Decimal("3.1")


def test_fits() -> None:
    report = check([pods("500m", replicas=2)], running=[other("500m")])
    assert not report.refusals


def test_too_many_pods() -> None:
    report = check([pods("500m", replicas=4)], running=[other("500m")])
    (sentence,) = report.refusals
    assert "Deployment/d needs 4 pods of cpu 500m, memory 64Mi, and there is room for 3" in sentence
    assert "twisterlab_api" in sentence


def test_pods_that_are_replaced_or_ended_take_no_room() -> None:
    assert not check([pods("1500m")], running=[other("1500m", mine=True), other("2", phase="Succeeded")]).refusals


def test_a_pod_larger_than_any_node() -> None:
    report = check([pods("3")], node("small", cpu="1"), node("large", cpu="2"))
    assert "more than any node has (the largest, large, has cpu 2" in report.refusals[0]


def test_pods_are_placed_on_nodes_not_on_their_sum() -> None:
    assert check([pods("1500m", replicas=2)], node("a"), node("b", cpu="1")).refusals
    assert not check([pods("1500m", replicas=2)], node("a"), node("b")).refusals


def test_the_autoscalers_minimum_must_fit_and_its_maximum_is_warned_of() -> None:
    report = check([pods("500m"), autoscaler(2, 10)])
    assert not report.refusals
    assert any("may grow to 10 pods" in text and "room for 4" in text for text in report.warnings)
    assert check([pods("500m"), autoscaler(5, 10)]).refusals


def test_no_room_for_an_update_is_warned_of() -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert any(
        "an update of it may wait for ever" in text
        for text in check([pods("1", replicas=2, strategy=strategy)]).warnings
    )
    assert not check([pods("1", replicas=2, strategy={"type": "Recreate"})]).warnings
    assert not check([pods("1", replicas=2, strategy={"rollingUpdate": {"maxUnavailable": 1}})]).warnings


def test_node_selector_and_taints() -> None:
    windows = pods("100m", pod={"nodeSelector": {"kubernetes.io/os": "windows"}})
    assert "No node may run Deployment/d (node selector kubernetes.io/os=windows" in check([windows]).refusals[0]
    tainted = node()
    tainted["spec"]["taints"] = [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    assert check([pods("100m")], tainted).refusals
    for toleration in (
        {"operator": "Exists"},
        {"key": "gpu", "operator": "Exists"},
        {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
    ):
        assert not check([pods("100m", pod={"tolerations": [toleration]})], tainted).refusals
    assert check([pods("100m", pod={"tolerations": [{"key": "gpu", "value": "no"}]})], tainted).refusals


def test_cordoned_and_unready_nodes_take_nothing() -> None:
    cordoned, away = node("a"), node("b")
    cordoned["spec"]["unschedulable"] = True
    away["status"]["conditions"][0]["status"] = "Unknown"
    assert "No node of the cluster is ready" in check([pods("1m")], cordoned, away).refusals[0]


def test_a_daemon_set_needs_room_on_every_node() -> None:
    found = pods("1500m", kind="DaemonSet")
    assert not check([found], node("a"), node("b")).refusals
    assert check([found], node("a"), node("b"), running=[other("1", "b")]).refusals
