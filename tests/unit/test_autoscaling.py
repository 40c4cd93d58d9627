# SPDX-License-Identifier: GPL-3.0-or-later
"""An autoscaler under load: what is seen, what is concluded, and that no load is left."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _autoscaling, _autoscaling_pod, _checks
from ansible_collections.twisterlab.platform.plugins.module_utils import _autoscaling_facts as facts
from ansible_collections.twisterlab.platform.plugins.module_utils import _autoscaling_judge as judge
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused, Unreachable
from kube_fake import NAMESPACE, FakeCluster, manifest, namespace, workload

POD = "verify-load-test"
OPTIONS = _autoscaling.Options(NAMESPACE, "api-hpa", "http://api:8000/health", load_seconds=120)


def line(second: float, failed: int = 0, **rest: Any) -> str:
    data = {
        "t": second,
        "requests": 96,
        "failed": failed,
        "p50_ms": 4.0,
        "p95_ms": 12.0,
        "error": "HTTP 503" if failed else "",
    }
    return json.dumps(data | rest)


class Stage:
    """A Deployment `api` with its autoscaler, and a load that speaks a line a second."""

    def __init__(self, low: int = 2, high: int = 5, cpu: int | None = 7, window: int = 30) -> None:
        self.cluster = FakeCluster()
        self.clock = self.cluster.clock
        self.cluster.put(namespace())
        self.low, self.high, self.window = low, high, window
        self.failing: set[int] = set()
        self.begun: float | None = None
        self.ended: float | None = None
        self.plans: list[tuple[float, Callable[[], None]]] = []
        self.show(low, low, cpu)
        self.cluster.before_write = self._written

    def show(self, desired: int, ready: int, cpu: int | None = 7, **status: Any) -> None:
        """Set what the cluster says now."""
        metrics = [
            {
                "type": "Resource",
                "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": aim}},
            }
            for name, aim in (("cpu", 70), ("memory", 80))
        ]
        spec = {
            "scaleTargetRef": {"kind": "Deployment", "name": "api"},
            "minReplicas": self.low,
            "maxReplicas": self.high,
            "metrics": metrics,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": self.window}},
        }
        current = (
            [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": cpu}}}]
            if cpu is not None
            else []
        )
        state = {"desiredReplicas": desired, "currentReplicas": desired, "currentMetrics": current, **status}
        self.cluster.put(manifest("HorizontalPodAutoscaler", "api-hpa", "api", spec=spec, status=state))
        deployment = workload(
            "Deployment",
            "api",
            "api",
            image="registry.example/api:2",
            replicas=desired,
            pod={"nodeSelector": {"pool": "a"}},
        )
        deployment["status"] = {"replicas": desired, "readyReplicas": ready, "updatedReplicas": desired}
        self.cluster.put(deployment)

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        """Plan something for that long after the load's beginning."""
        self.plans.append((seconds, what))

    def ending(self, seconds: float, what: Callable[[], None]) -> None:
        """Plan something for that long after the load's end."""
        self.plans.append((-seconds, what))

    def _written(self, verb: str, obj: dict[str, Any]) -> None:
        now = self.clock.time()
        if verb == "create" and obj["kind"] == "Pod":
            self.begun = now
            for seconds, what in self.plans:
                if seconds >= 0:
                    self.clock.at(now + seconds, what)
            for second in range(1, 400):
                self.clock.at(now + second, self._speak)
        elif verb == "delete" and obj["metadata"]["name"] == POD:
            self.ended = now
            for seconds, what in self.plans:
                if seconds < 0:
                    self.clock.at(now - seconds, what)

    def _speak(self) -> None:
        if self.begun is None or self.ended is not None:
            return
        seconds = int(self.clock.time() - self.begun)
        said = [line(second, int(second in self.failing)) for second in range(1, seconds + 1)]
        self.cluster.logs[(POD, False)] = "\n".join(said[-100:])

    def run(self, **options: Any) -> tuple[dict[str, _checks.Check], judge.Judgement, list[str]]:
        """The whole proof, in calls of eight seconds whose memory goes through JSON, as the action does it."""
        memory: dict[str, Any] = {}
        samples: list[facts.Sample] = []
        figures: list[facts.Figure] = []
        said: list[str] = []
        chosen = _autoscaling.Options(**{**OPTIONS.__dict__, **options})
        for _turn in range(400):
            kept = facts.Memory.of(json.loads(json.dumps(memory)))
            look = _autoscaling.Proof(self.cluster, self.clock, chosen, kept, lambda: POD).run(8)
            memory = kept.data()
            samples += look.samples
            figures += look.figures
            said += [text for _seconds, text in look.changes]
            if kept.phase == _autoscaling.DONE:
                verdict = judge.Judgement(kept, samples, figures)
                return {check.name: check for check in verdict.checks()}, verdict, said
        raise AssertionError("it never ends")

    def pods(self) -> list[str]:
        return [name for kind, _namespace, name in self.cluster.store if kind == "Pod"]


def states(checks: dict[str, _checks.Check]) -> dict[str, str]:
    return {name: check.state for name, check in checks.items()}


def rising(stage: Stage) -> None:
    stage.after(20, lambda: stage.show(2, 2, 160))
    stage.after(40, lambda: stage.show(4, 2, 160))
    stage.after(50, lambda: stage.show(4, 4, 90))


def test_it_rises_and_settles() -> None:
    stage = Stage()
    rising(stage)
    stage.ending(50, lambda: stage.show(3, 3, 5))
    stage.ending(110, lambda: stage.show(2, 2, 4))
    checks, verdict, said = stage.run()
    assert states(checks) == dict.fromkeys(judge.NAMES, "ok"), checks
    assert checks["figures known"].evidence == "cpu 7 % of 70 %"
    assert checks["replicas rise"].evidence == "2 -> 4 within 40 s at 96 requests/s, cpu 160 % of 70 %"
    assert (
        checks["new replicas become ready"].evidence
        == "4 of 4 ready 10 s after they were wanted, under load for 20 s more"
    )
    assert checks["no request failed"].evidence.endswith("requests, none failed")
    assert checks["replicas settle back"].evidence == "4 -> 2, 110 s after the load ended"
    assert checks["no flapping"].evidence == "2 -> 4 -> 3 -> 2"
    assert all(isinstance(check.seconds, float) and check.tag == "autoscaling" for check in checks.values())
    assert stage.pods() == []
    # The load ended 20 s after the new pods were ready, not at its limit.
    assert stage.ended is not None and stage.begun is not None
    assert stage.ended - stage.begun == pytest.approx(70, abs=3)
    load, replicas, latency, processor = verdict.plots()
    assert (load["unit"], {point[1] for point in load["series"][0]["points"]}) == ("requests/s", {96})
    assert [series["name"] for series in replicas["series"]] == ["desired", "ready"]
    assert {point[1] for point in latency["series"][1]["points"]} == {12.0}
    assert processor["series"][1]["points"][0][1] == 70
    # Every second of the load is drawn once, though its log was read many times.
    seconds = [point[0] for point in load["series"][0]["points"]]
    assert seconds == sorted(set(seconds)) and len(seconds) >= 68
    assert any("4 pods wanted, 2 ready" in text for text in said)
    assert all(point[0] >= 0 for plot in verdict.plots() for series in plot["series"] for point in series["points"])
    assert json.dumps(verdict.plots())


def test_the_pod_is_restricted_and_found_by_nobody() -> None:
    stage = Stage()
    made: list[dict[str, Any]] = []
    before = stage.cluster.before_write

    def keep(verb: str, obj: dict[str, Any]) -> None:
        if verb == "create":
            made.append(obj)
        before(verb, obj)

    stage.cluster.before_write = keep
    stage.run(load_seconds=30)
    (pod,) = made
    labels, spec = pod["metadata"]["labels"], pod["spec"]
    assert labels["twisterlab.io/verify"] == "load" and labels["app.kubernetes.io/name"] == "verify-load"
    assert "twisterlab.io/serving" not in labels and "app.kubernetes.io/component" not in labels
    assert spec["nodeSelector"] == {"pool": "a"}
    assert spec["automountServiceAccountToken"] is False and spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["image"] == "registry.example/api:2"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["command"][-4:] == ["http://api:8000/health", "200", "8", "30"]
    compile(container["command"][2], "load", "exec")
    assert spec["activeDeadlineSeconds"] > 30


def test_it_never_rises() -> None:
    stage = Stage()
    stage.after(20, lambda: stage.show(2, 2, 41))
    checks, _verdict, _said = stage.run(load_seconds=60)
    rise = checks["replicas rise"]
    assert rise.state == "failed"
    assert rise.evidence.startswith("still 2 after 60 s at 96 requests/s, cpu 41 % of 70 %; raise verify_load_rate")
    assert checks["no request failed"].state == "ok"
    assert {checks[name].state for name in (judge.READY, judge.SETTLE, judge.STEADY)} == {"skipped"}
    assert len(_checks.failures(check.data() for check in checks.values())) == 1
    assert stage.pods() == []


def test_the_autoscalers_own_reason_is_told() -> None:
    stage = Stage()
    condition = {"type": "AbleToScale", "status": "False", "reason": "FailedUpdateScale", "message": "quota exceeded"}
    stage.after(20, lambda: stage.show(2, 2, 200, conditions=[condition]))
    checks, _verdict, _said = stage.run(load_seconds=60)
    assert checks["replicas rise"].evidence.endswith("the autoscaler says FailedUpdateScale: quota exceeded")


def test_new_pods_that_never_come() -> None:
    stage = Stage()
    stage.after(40, lambda: stage.show(4, 3, 160))
    stage.ending(40, lambda: stage.show(2, 2, 4))
    checks, _verdict, _said = stage.run()
    assert checks["replicas rise"].state == "ok"
    assert checks["new replicas become ready"].state == "failed"
    assert checks["new replicas become ready"].evidence.startswith("3 of 4 ready 80 s after they were wanted")


def test_failed_requests_are_counted() -> None:
    stage = Stage()
    stage.failing = {30, 44}
    rising(stage)
    stage.ending(40, lambda: stage.show(2, 2, 4))
    checks, _verdict, _said = stage.run()
    answered = checks["no request failed"]
    assert answered.state == "failed"
    assert answered.evidence.startswith("2 of ") and answered.evidence.endswith("the first with HTTP 503")
    assert checks["replicas rise"].state == "ok"


def test_what_the_load_says_at_its_end_counts() -> None:
    stage = Stage()
    rising(stage)
    stage.ending(40, lambda: stage.show(2, 2, 4))
    pod_is_there = stage.cluster.delete

    def slow_delete(kind: Any, name: str, *rest: Any, **more: Any) -> bool:
        if name != POD or stage.ended is not None:
            return pod_is_there(kind, name, *rest, **more)
        # Told to end, the pod says its last words and goes a few seconds later.
        stage._written("delete", {"kind": "Pod", "metadata": {"name": POD}})
        now = stage.clock.time()

        def last_words() -> None:
            whole = line(75.5, 1, end=True, requests=7001, p95_ms=14.5)
            stage.cluster.logs[(POD, False)] += "\n" + whole

        stage.clock.at(now + 1, last_words)
        stage.clock.at(now + 4, lambda: bool(pod_is_there(kind, name, NAMESPACE)) and None)
        return True

    stage.cluster.delete = slow_delete  # type: ignore[method-assign]
    checks, verdict, said = stage.run()
    assert checks["no request failed"].evidence == "1 of 7001 requests failed, the first with HTTP 503"
    assert any("7001 requests, 1 failed" in text for text in said)
    assert max(point[1] for point in verdict.plots()[0]["series"][0]["points"]) == 96


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (lambda stage: stage.after(56, lambda: stage.show(3, 3, 60)), "2 -> 4 -> 3 -> 2: fell to 3 under load"),
        (
            lambda stage: (
                stage.ending(40, lambda: stage.show(3, 3, 5)),
                stage.ending(50, lambda: stage.show(4, 4, 5)),
            ),
            "2 -> 4 -> 3 -> 4 -> 2: not one rise and one fall",
        ),
        (lambda stage: stage.ending(90, lambda: stage.show(5, 5, 5)), "2 -> 4 -> 5 -> 2: rose to 5 90 s after"),
    ],
)
def test_flapping(plan: Callable[[Stage], Any], why: str) -> None:
    stage = Stage()
    rising(stage)
    plan(stage)
    stage.ending(110, lambda: stage.show(2, 2, 4))
    checks, _verdict, _said = stage.run()
    assert checks["no flapping"].state == "failed"
    assert checks["no flapping"].evidence.startswith(why)


def test_a_late_figure_may_add_pods_a_moment_after_the_load() -> None:
    stage = Stage()
    rising(stage)
    stage.ending(20, lambda: stage.show(5, 5, 80))
    stage.ending(110, lambda: stage.show(2, 2, 4))
    checks, _verdict, _said = stage.run()
    assert checks["no flapping"].evidence == "2 -> 4 -> 5 -> 2"
    assert checks["no flapping"].state == "ok"
    assert checks["replicas settle back"].evidence == "5 -> 2, 110 s after the load ended"


def test_it_does_not_settle() -> None:
    stage = Stage()
    rising(stage)
    checks, _verdict, _said = stage.run()
    settle = checks["replicas settle back"]
    assert settle.state == "failed"
    # Its window, a minute for each of the two pods, and two minutes.
    assert settle.seconds == pytest.approx(30 + 120 + 120, abs=5)
    assert settle.evidence.startswith("still 4 27")
    assert settle.evidence.endswith(
        "cpu 90 % of 70 %; cpu keeps them, as 4 pods become 3 at 52 % or less; "
        "raise resources.requests.cpu or cpu_percent of the tier, or end what else loads it"
    )


def test_unknown_figures_are_one_failure_and_nothing_starts() -> None:
    stage = Stage(cpu=None)
    message = "unable to fetch metrics: the server could not find the requested resource"
    condition = {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": message}
    stage.show(2, 2, None, conditions=[condition])
    checks, _verdict, _said = stage.run()
    assert checks["figures known"].state == "failed"
    assert (
        "could not find the requested resource); the cluster needs metrics-server" in checks["figures known"].evidence
    )
    assert {check.state for name, check in checks.items() if name != "figures known"} == {"skipped"}
    assert "create" not in " ".join(stage.cluster.writes())


def test_figures_that_come_late_are_waited_for() -> None:
    stage = Stage(cpu=None)
    stage.clock.at(40, lambda: stage.show(2, 2, 7))
    checks, _verdict, said = stage.run(load_seconds=30)
    assert checks["figures known"].state == "ok"
    assert checks["figures known"].seconds == pytest.approx(40, abs=3)
    assert said[0] == "waiting for figures: its controller has not looked at it yet"


def test_rest_is_waited_for_and_not_for_ever() -> None:
    stage = Stage()
    stage.show(4, 4, 95)
    checks, _verdict, said = stage.run(settle_seconds=60)
    assert checks["at rest before the load"].evidence.startswith(
        "not at rest after 60 s: 4 pods wanted, 4 ready, cpu 95 % of 70 %"
    )
    assert said[0].startswith("waiting for rest (2 pods)")
    assert checks["load runs"].state == "skipped"


@pytest.mark.parametrize(
    ("low", "high", "change", "why"),
    [
        (3, 3, None, "may run 3 pods, no fewer and no more"),
        (2, 4, ("metrics", []), "does not look at the processor time"),
        (2, 4, ("scaleTargetRef", {"kind": "StatefulSet", "name": "db"}), "scales a StatefulSet"),
        (
            2,
            4,
            ("scaleTargetRef", {"kind": "Deployment", "name": "web"}),
            "the Deployment web, which namespace shop does not have",
        ),
    ],
)
def test_what_cannot_show_anything_is_refused(low: int, high: int, change: Any, why: str) -> None:
    stage = Stage(low=low, high=high)
    if change:
        obj = stage.cluster.store[("HorizontalPodAutoscaler", NAMESPACE, "api-hpa")]
        obj["spec"][change[0]] = change[1]
    with pytest.raises(Refused, match=why):
        stage.run()


def test_no_autoscaler_is_refused() -> None:
    stage = Stage()
    with pytest.raises(Refused, match="Namespace shop has no autoscaler web-hpa"):
        stage.run(autoscaler="web-hpa")


def test_left_over_load_is_removed_first_and_nothing_else() -> None:
    stage = Stage()
    old = _autoscaling_pod.pod_of(
        workload("Deployment", "api", "api"), NAMESPACE, "verify-load-old", "", "http://x/", 1, 1, 30
    )
    stage.cluster.put(old)
    stage.cluster.put(manifest("Pod", "somebody", "api", spec={}))
    stage.run(load_seconds=30)
    assert stage.pods() == ["somebody"]
    deleted = [call for call in stage.cluster.writes() if call.startswith("delete")]
    assert deleted[0] == "delete Pod/verify-load-old"


def test_lines_that_are_cut_in_half_are_read_whole_the_next_time() -> None:
    whole = "\n".join(line(second) for second in (1.0, 2.0, 3.0))
    cut = whole[:-20]
    first = facts.figures_of(cut, -1.0)
    assert [figure.seconds for figure in first] == [1.0, 2.0]
    assert [figure.seconds for figure in facts.figures_of(whole, 2.0)] == [3.0]
    # What tailLines leaves of the first line, what no program of ours wrote, and lines of other make.
    assert facts.figures_of('0}\n[1]\n7\n{"t": 4}\nTraceback\n' + line(5.0), -1.0)[0].seconds == 5.0


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]},
            "does not start: ErrImagePull: not found",
        ),
        (
            {"containerStatuses": [{"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]},
            "ended with exit code 1",
        ),
    ],
)
def test_a_load_that_cannot_start(status: dict[str, Any], why: str) -> None:
    stage = Stage()

    def mute() -> None:
        stage.cluster.logs.clear()
        key = ("Pod", NAMESPACE, POD)
        if key in stage.cluster.store:
            stage.cluster.store[key]["status"] = status

    stage._speak = mute  # type: ignore[method-assign]
    checks, _verdict, _said = stage.run()
    assert checks["load runs"].state == "failed"
    assert why in checks["load runs"].evidence
    assert checks["replicas rise"].state == "skipped"
    assert stage.pods() == []


def test_a_load_that_somebody_removes() -> None:
    stage = Stage()
    stage.after(30, lambda: stage.cluster.store.pop(("Pod", NAMESPACE, POD)) and None)
    checks, _verdict, _said = stage.run()
    assert checks["load runs"].evidence == f"the pod {POD} is gone: somebody removed it"
    assert checks["replicas rise"].state == "failed"


def test_a_pod_that_admission_refuses() -> None:
    stage = Stage()
    stage.cluster.errors["create Pod"] = ApiError(403, "Forbidden", "exceeded quota", "create Pod/x")
    checks, _verdict, _said = stage.run()
    assert checks["load runs"].state == "failed"
    assert "exceeded quota" in checks["load runs"].evidence


def test_a_silent_api_server_is_waited_for_a_minute() -> None:
    stage = Stage()
    rising(stage)
    stage.ending(40, lambda: stage.show(2, 2, 4))
    gone = Unreachable("no answer")
    stage.after(30, lambda: stage.cluster.errors.update({"get": gone}))
    stage.after(60, stage.cluster.errors.clear)
    checks, _verdict, _said = stage.run()
    assert checks["replicas settle back"].state == "ok"
    again = Stage()
    again.after(30, lambda: again.cluster.errors.update({"get": gone}))
    with pytest.raises(Unreachable):
        again.run()


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("rate", -1.0, "rate is -1; write a number from 0 on"),
        ("connections", 0, "connections is 0"),
        ("load_seconds", 5, "load_seconds is 5"),
        ("path", "health", "leading slash"),
    ],
)
def test_options_that_make_no_load(name: str, value: Any, why: str) -> None:
    params = {
        "namespace": "shop", "autoscaler": "h", "service": "s", "port": 80, "path": "/", "image": "", "rate": 1.0, "connections": 1,
        "load_seconds": 60, "settle_seconds": 1.0, "served_seconds": 1.0,
    }  # fmt: skip
    assert _autoscaling.options_of(params).url == "http://s:80/"
    with pytest.raises(Refused, match=why):
        _autoscaling.options_of({**params, name: value})
