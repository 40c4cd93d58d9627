# SPDX-License-Identifier: GPL-3.0-or-later
"""What an autoscaler, its workload and the load's log say, as numbers. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from . import _objects as objects
from ._errors import Refused
from ._objects import Object

#: Seconds of an autoscaler that says nothing of its own, as Kubernetes has it.
DEFAULT_WINDOW = 300.0


@dataclass(frozen=True)
class Target:
    """What an autoscaler is to do.

    Attributes:
        deployment: the name of what it scales.
        low: its smallest number of pods.
        high: its largest.
        percents: for each resource, the share of the requests that it aims at.
        window: seconds that the load must have been low before pods go.
    """

    deployment: str
    low: int
    high: int
    percents: dict[str, int]
    window: float


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        seconds: since the beginning.
        desired: the pods that the autoscaler wants.
        ready: the workload's ready pods.
        percents: for each resource, the share of the requests in use, as the autoscaler knows it.
    """

    seconds: float
    desired: int
    ready: int
    percents: dict[str, int]


@dataclass(frozen=True)
class Figure:
    """One second of the load.

    Attributes:
        seconds: since the load's beginning.
        requests: answered, the failed ones among them.
        failed: how many of them.
        p50: milliseconds that half of the good answers took at most; None without one.
        p95: the same of 95 in 100.
        error: the first failure.
        whole: whether this is the line about the whole load.
    """

    seconds: float
    requests: int
    failed: int
    p50: float | None
    p95: float | None
    error: str
    whole: bool = False


@dataclass
class Memory:
    """What one look leaves to the next. Times are seconds since the beginning; None is not yet.

    Attributes:
        phase: what is going on.
        start: the clock at the beginning.
        pod: the load's name; empty while there is none.
        target: the autoscaler's, as plain data.
        known: when there was a figure.
        rest: when all was at rest.
        created: when the load's pod was made.
        begun: when the load began.
        logged: the load's own seconds of the last line taken.
        raised: the first number of pods above the smallest; 0 while there was none.
        rise: when it was wanted.
        ready: when so many were ready.
        ended: when the load was told to end.
        settled: when all was at rest again.
        peak: the largest number wanted.
        seen: when the cluster answered last.
        whole: the load's line about itself, as plain data.
        shown: what was shown last.
        problems: by check, why it failed.
        told: what the autoscaler complains of.
    """

    phase: str = "rest"
    start: float | None = None
    pod: str = ""
    target: dict[str, Any] = field(default_factory=dict)
    known: float | None = None
    rest: float | None = None
    created: float | None = None
    begun: float | None = None
    logged: float = -1.0
    raised: int = 0
    rise: float | None = None
    ready: float | None = None
    ended: float | None = None
    settled: float | None = None
    peak: int = 0
    seen: float = 0.0
    whole: dict[str, Any] = field(default_factory=dict)
    shown: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    told: str = ""

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def of(cls, data: dict[str, Any]) -> Memory:
        """From plain data."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in data.items() if name in known})


def target_of(autoscaler: Object, namespace: str) -> Target:
    """What the autoscaler is to do.

    Raises:
        Refused: it can show nothing: one number of pods, another kind of target, or no aim for the processor time.
    """
    title, spec = objects.name(autoscaler), autoscaler.get("spec") or {}
    aimed = spec.get("scaleTargetRef") or {}
    low, high = int(spec.get("minReplicas") or 1), int(spec.get("maxReplicas") or 1)
    percents = {}
    for item in spec.get("metrics") or []:
        resource = item.get("resource") or {}
        percent = (resource.get("target") or {}).get("averageUtilization")
        if percent:
            percents[str(resource.get("name"))] = int(percent)
    if aimed.get("kind") != "Deployment":
        raise Refused(
            f"The autoscaler {title} of namespace {namespace} scales a {aimed.get('kind')}, and only Deployments are "
            "verified; name another with the option autoscaler."
        )
    if low >= high:
        raise Refused(
            f"The autoscaler {title} of namespace {namespace} may run {low} pods, no fewer and no more, so there is nothing "
            "to see; raise replicas_max of its tier."
        )
    if "cpu" not in percents:
        raise Refused(
            f"The autoscaler {title} of namespace {namespace} does not look at the processor time, so requests would not "
            "move it; give it a target for cpu, or name another with the option autoscaler."
        )
    down = (spec.get("behavior") or {}).get("scaleDown") or {}
    window = down.get("stabilizationWindowSeconds")
    return Target(str(aimed.get("name")), low, high, percents, DEFAULT_WINDOW if window is None else float(window))


def percents_of(autoscaler: Object) -> dict[str, int]:
    """For each resource that the autoscaler has a figure for, the share of the requests in use."""
    found = {}
    for item in (autoscaler.get("status") or {}).get("currentMetrics") or []:
        resource = item.get("resource") or {}
        percent = (resource.get("current") or {}).get("averageUtilization")
        if percent is not None:
            found[str(resource.get("name"))] = int(percent)
    return found


def complaint_of(autoscaler: Object) -> str:
    """What the autoscaler says that keeps it from working; empty when nothing does."""
    for condition in (autoscaler.get("status") or {}).get("conditions") or []:
        if condition.get("type") in ("AbleToScale", "ScalingActive") and condition.get("status") == "False":
            return f"{condition.get('reason')}: {' '.join(str(condition.get('message')).split())}"[:300]
    return ""


def sample_of(seconds: float, autoscaler: Object, deployment: Object) -> Sample:
    """One look at both."""
    status = autoscaler.get("status") or {}
    # Before its first round an autoscaler wants nothing; the workload's own number is the truth then.
    desired = int(status.get("desiredReplicas") or 0) or int((deployment.get("spec") or {}).get("replicas") or 0)
    ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
    return Sample(round(seconds, 1), desired, ready, percents_of(autoscaler))


def at_rest(autoscaler: Object, deployment: Object, low: int) -> bool:
    """Whether the smallest number of pods is wanted, there, ready and of the newest make."""
    status, numbers = autoscaler.get("status") or {}, deployment.get("status") or {}
    found = [
        (deployment.get("spec") or {}).get("replicas"),
        status.get("currentReplicas"),
        status.get("desiredReplicas"),
        numbers.get("replicas"),
        numbers.get("readyReplicas"),
        numbers.get("updatedReplicas"),
    ]
    seen = int(numbers.get("observedGeneration") or 0) >= int(objects.meta(deployment).get("generation") or 0)
    return seen and all(int(number or 0) == low for number in found)


def figures_of(text: str, after: float) -> list[Figure]:
    """The lines of the load's log that are younger than `after` (the load's own seconds).

    A line that is cut in half is left for the next reading, which has it whole.
    """
    found = []
    for line in text.splitlines():
        try:
            data = json.loads(line)
            figure = Figure(
                float(data["t"]),
                int(data["requests"]),
                int(data["failed"]),
                data["p50_ms"],
                data["p95_ms"],
                str(data["error"]),
                bool(data.get("end")),
            )
        except (ValueError, TypeError, KeyError):
            continue
        if figure.seconds > after:
            found.append(figure)
    return found


def percents_text(percents: dict[str, int], wanted: dict[str, int]) -> str:
    """`cpu 160 % of 70 %, memory 30 % of 80 %`."""
    known = [f"{name} {percents[name]} % of {aim} %" for name, aim in sorted(wanted.items()) if name in percents]
    return ", ".join(known) or "no figures"
