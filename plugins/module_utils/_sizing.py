# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the release fit on the nodes? Asked before anything is applied. Pure.

Pods are placed the way a person would: largest first, each on the first node that has room, where it may run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from . import _objects as objects
from ._objects import Object
from ._quantity import parse, show_bytes, show_cpu

RESOURCES = ("cpu", "memory", "ephemeral-storage")
ZERO = Decimal(0)
Amount = dict[str, Decimal]


@dataclass
class Node:
    """A node with what is left on it."""

    name: str
    labels: dict[str, str]
    taints: list[dict[str, Any]]
    free: Amount
    allocatable: Amount
    pods: int


@dataclass(frozen=True)
class Want:
    """One workload's pods.

    Attributes:
        title: `Deployment/twisterlab-api`.
        component: its component.
        spec: the pod spec, for the node selector and tolerations.
        least: pods that must run.
        most: pods that the autoscaler may run.
        surge: pods that run besides them during an update.
        everywhere: one on every node that it may run on.
    """

    title: str
    component: str
    spec: Object = field(hash=False)
    least: int = 1
    most: int = 1
    surge: int = 0
    everywhere: bool = False


@dataclass
class Report:
    """Sentences: what does not fit at all, and what may not."""

    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def requests(spec: Object) -> Amount:
    """What the scheduler reserves for one pod: its containers together, or its greediest init container."""
    running = dict.fromkeys(RESOURCES, ZERO)
    peak = dict.fromkeys(RESOURCES, ZERO)
    sidecars = dict.fromkeys(RESOURCES, ZERO)
    for item in spec.get("initContainers") or []:
        own = _own(item)
        for resource in RESOURCES:
            if item.get("restartPolicy") == "Always":
                sidecars[resource] += own[resource]
                peak[resource] = max(peak[resource], sidecars[resource])
            else:
                peak[resource] = max(peak[resource], sidecars[resource] + own[resource])
    for item in spec.get("containers") or []:
        own = _own(item)
        for resource in RESOURCES:
            running[resource] += own[resource]
    overhead = spec.get("overhead") or {}
    whole = (spec.get("resources") or {}).get("requests") or {}
    found = {}
    for resource in RESOURCES:
        amount = max(running[resource] + sidecars[resource], peak[resource])
        amount = parse(whole[resource]) if resource in whole else amount
        found[resource] = amount + (parse(overhead[resource]) if resource in overhead else ZERO)
    return found


def _own(item: Object) -> Amount:
    resources = item.get("resources") or {}
    asked, limits = resources.get("requests") or {}, resources.get("limits") or {}
    # A limit without a request is a request.
    return {name: parse(asked.get(name, limits.get(name, 0))) for name in RESOURCES}


def wants(found: list[Object]) -> list[Want]:
    """The pods that a set of objects will run, with the autoscalers' bounds."""
    bounds = {}
    for obj in found:
        if obj.get("kind") == "HorizontalPodAutoscaler":
            spec = obj.get("spec") or {}
            target = spec.get("scaleTargetRef") or {}
            bounds[f"{target.get('kind')}/{target.get('name')}"] = (
                int(spec.get("minReplicas") or 1),
                int(spec.get("maxReplicas") or 1),
            )
    result = []
    for obj in found:
        kind, spec = obj.get("kind"), obj.get("spec") or {}
        if kind == "Cluster":
            instance = {"containers": [{"resources": spec.get("resources")}], **(spec.get("affinity") or {})}
            number = int(spec.get("instances") or 1)
            result.append(Want(objects.title(obj), objects.component(obj), instance, number, number))
            continue
        if kind not in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            continue
        replicas = spec.get("replicas")
        least = 1 if kind in ("DaemonSet", "Job") or replicas is None else int(replicas)
        low, high = bounds.get(objects.title(obj), (least, least))
        result.append(
            Want(
                title=objects.title(obj),
                component=objects.component(obj),
                spec=objects.pod_spec(obj),
                least=low,
                most=max(low, high),
                surge=_surge(obj, low) if kind == "Deployment" else 0,
                everywhere=kind == "DaemonSet",
            )
        )
    return result


def _surge(obj: Object, replicas: int) -> int:
    strategy = (obj.get("spec") or {}).get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return 0
    rolling = strategy.get("rollingUpdate") or {}
    if _share(rolling.get("maxUnavailable", "25%"), replicas, up=False) > 0:
        # Old pods may go first, so no room is needed beside them.
        return 0
    return max(1, _share(rolling.get("maxSurge", "25%"), replicas, up=True))


def _share(value: Any, whole: int, up: bool) -> int:
    text = str(value)
    if not text.endswith("%"):
        return int(value)
    exact = Decimal(text[:-1]) * whole / 100
    return int(exact.to_integral_value(rounding="ROUND_CEILING" if up else "ROUND_FLOOR"))


def nodes(found: list[Object], pods: list[Object], is_replaced: Any) -> list[Node]:
    """The nodes that take pods, with what others left on them.

    Args:
        found: Node objects.
        pods: pods of the whole cluster; ended ones may be among them.
        is_replaced: says of a pod whether it belongs to the workloads that are being sized.
    """
    result = {}
    for obj in found:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        ready = any(
            item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or []
        )
        if not ready or spec.get("unschedulable"):
            continue
        allocatable = {name: parse((status.get("allocatable") or {}).get(name, 0)) for name in RESOURCES}
        result[objects.name(obj)] = Node(
            name=objects.name(obj),
            labels=objects.labels(obj),
            taints=[item for item in spec.get("taints") or [] if item.get("effect") in ("NoSchedule", "NoExecute")],
            free=dict(allocatable),
            allocatable=allocatable,
            pods=int((status.get("allocatable") or {}).get("pods", 110)),
        )
    for pod in pods:
        node = result.get(str((pod.get("spec") or {}).get("nodeName") or ""))
        if node is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed") or is_replaced(pod):
            continue
        node.pods -= 1
        for resource, amount in requests(pod["spec"]).items():
            node.free[resource] -= amount
    return list(result.values())


def may_run(spec: Object, node: Node) -> bool:
    """Whether the pod's node selector and tolerations let it on the node. Affinity is left to the scheduler."""
    if any(node.labels.get(label) != str(value) for label, value in (spec.get("nodeSelector") or {}).items()):
        return False
    return all(any(_tolerates(item, taint) for item in spec.get("tolerations") or []) for taint in node.taints)


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint.get("key"):
        return False
    return toleration.get("operator") == "Exists" or str(toleration.get("value") or "") == str(taint.get("value") or "")


def fits(asked: Amount, node: Node) -> bool:
    """Whether one more pod of that size fits on the node."""
    return node.pods > 0 and all(asked[name] == ZERO or asked[name] <= node.free[name] for name in RESOURCES)


def check(found: list[Want], places: list[Node]) -> Report:
    """Place all pods and report what finds no room."""
    report = Report()
    if not places:
        report.refusals.append("No node of the cluster is ready and takes pods: mend or uncordon one.")
        return report
    ordered = sorted(found, key=lambda item: _weight(requests(item.spec), places), reverse=True)
    for item in ordered:
        _place(item, places, report)
    if report.refusals:
        return report
    for item in ordered:
        asked = requests(item.spec)
        room = _room(asked, [node for node in places if may_run(item.spec, node)])
        if item.surge > room:
            report.warnings.append(
                f"{item.title} has no room for the {_pods(item.surge)} that an update runs besides the old ones "
                f"({_amount(asked)} each): an update of it may wait for ever."
            )
        if item.most - item.least > room:
            report.warnings.append(
                f"{item.title} may grow to {item.most} pods ({_amount(asked)} each), and there is room for {item.least + room}: "
                f"lower replicas_max of {objects.variable_of(item.component)}, or add a node."
            )
    return report


def _place(item: Want, places: list[Node], report: Report) -> None:
    asked = requests(item.spec)
    allowed = [node for node in places if may_run(item.spec, node)]
    variable = objects.variable_of(item.component)
    if not allowed:
        selector = ", ".join(f"{key}={value}" for key, value in (item.spec.get("nodeSelector") or {}).items())
        report.refusals.append(
            f"No node may run {item.title} (node selector {selector or 'none'}; taints count too): "
            "label a node so, or change twisterlab_node_selector."
        )
        return
    if not any(_fits_empty(asked, node) for node in allowed):
        largest = max(allowed, key=lambda node: node.allocatable["cpu"])
        report.refusals.append(
            f"A pod of {item.title} asks for {_amount(asked)}, more than any node has (the largest, {largest.name}, "
            f"has {_amount(largest.allocatable)}): lower its requests in {variable}, or add a larger node."
        )
        return
    before = _room(asked, allowed)
    for number in range(len(allowed) if item.everywhere else item.least):
        node = next((node for node in ([allowed[number]] if item.everywhere else allowed) if fits(asked, node)), None)
        if node is None:
            left = {name: max((node.free[name] for node in allowed), default=ZERO) for name in RESOURCES}
            report.refusals.append(
                f"{item.title} needs {_pods(len(allowed) if item.everywhere else item.least)} of {_amount(asked)}, and {_room_sentence(before)}; "
                f"the most that is free on one node is {_amount(left, asked)}: lower the requests or the number in {variable}, or add a node."
            )
            return
        node.pods -= 1
        for name in RESOURCES:
            node.free[name] -= asked[name]


def _room_sentence(room: int) -> str:
    return f"there is room for {room}" if room else "there is room for none"


def _pods(number: int) -> str:
    return f"{number} pod" if number == 1 else f"{number} pods"


def _fits_empty(asked: Amount, node: Node) -> bool:
    return all(asked[name] == ZERO or asked[name] <= node.allocatable[name] for name in RESOURCES)


def _room(asked: Amount, places: list[Node]) -> int:
    """How many pods of that size would still fit."""
    total = 0
    for node in places:
        counts = [int(node.free[name] // asked[name]) for name in RESOURCES if asked[name] > ZERO]
        total += max(0, min([node.pods, *counts]))
    return total


def _weight(asked: Amount, places: list[Node]) -> Decimal:
    shares = []
    for name in RESOURCES:
        most = max((node.allocatable[name] for node in places), default=ZERO)
        shares.append(asked[name] / most if most > ZERO else ZERO)
    return max(shares)


def _amount(amount: Amount, only: Amount | None = None) -> str:
    parts = []
    for name in RESOURCES:
        if only is not None and only[name] == ZERO or (only is None and amount[name] == ZERO):
            continue
        shown = show_cpu(amount[name]) if name == "cpu" else show_bytes(amount[name])
        parts.append(f"{name} {shown}")
    return ", ".join(parts) or "nothing"
