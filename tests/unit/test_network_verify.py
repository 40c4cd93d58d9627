# SPDX-License-Identifier: GPL-3.0-or-later
"""Proving the policies: what is tried, how it is judged, and that no pod is left."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.action import network_verify as action
from ansible_collections.twisterlab.platform.plugins.module_utils import (
    _edges,
    _labels,
    _network,
    _network_judge,
    _policies,
)
from ansible_collections.twisterlab.platform.plugins.module_utils import _network_plan as planning
from ansible_collections.twisterlab.platform.plugins.module_utils import _network_pods as pods
from ansible_collections.twisterlab.platform.plugins.module_utils import _network_probe as probe
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import FAILED, OK, SKIPPED, Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused
from kube_fake import NAMESPACE, FakeClock, FakeCluster, namespace, workload
from network_facts import network

Judge = Callable[[str, str, bool], int]


def found(of: _edges.Map, **rest: Any) -> planning.Found:
    services = {tier.workload: f"10.96.0.{number}" for number, tier in enumerate(of.tiers.values(), 1) if tier.port}
    copies = {name: (f"10.244.0.{address.rpartition('.')[2]}",) for name, address in services.items()}
    return planning.Found(
        services,
        copies,
        ("172.18.0.2",),
        {},
        planning.Elsewhere("kube-dns.kube-system", "10.96.0.99", 9153, 9153),
        {},
        **rest,
    )


def right(_source: str, _target: str, allowed: bool) -> int:
    return 2 if allowed else probe.REFUSED


def answers(plan: planning.Plan, judge: Judge = right, silent: Iterable[str] = ()) -> _network_judge.Answers:
    """What the probes would say if every pair were as `judge` says."""
    results = {
        source: {
            "rounds": 1,
            "settled": 0.4,
            "results": [
                judge(pair.source, pair.target, pair.allowed)
                for pair in plan.attempts(source)
                for _address in plan.targets[pair.target].addresses
            ],
        }
        for source in plan.sources
        if source not in silent and plan.attempts(source)
    }
    return _network_judge.Answers(results, dict.fromkeys(silent, "does not start: ErrImagePull"), 2.0, 9.0)


def judged(
    of: _edges.Map, judge: Judge = right, missing: list[str] | None = None, silent: Iterable[str] = ()
) -> dict[str, Check]:
    plan = planning.plan(of, found(of))
    checks = _network_judge.Judgement(plan, answers(plan, judge, silent), [] if missing is None else missing).checks()
    names = [check.name for check in checks]
    assert len(names) == len(set(names))
    return {check.name: check for check in checks}


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.state == FAILED}


# -- what is tried ---------------------------------------------------------------------------------------------------


def test_every_edge_and_every_other_pair_is_a_check() -> None:
    of = network()
    checks = judged(of)
    for edge in of.edges:
        title = f"{edge.target}:{of.tiers[edge.target].port}" if edge.target in of.tiers else edge.target
        assert any(name.startswith(f"allowed edge {edge.source} -> {title}") for name in checks), edge
    assert {
        "refused edge redis -> postgres:5432",
        "refused edge redis -> dns:53",
        "refused edge api -> kubernetes:443",
    } <= set(checks)
    assert {
        "refused edge stranger -> api:8000",
        "refused edge other -> dns:53",
        "refused edge ingress -> postgres:5432",
    } <= set(checks)
    assert {"refused edge api -> kube-dns.kube-system:9153", "refused edge grafana -> nodes:10250"} <= set(checks)
    assert "refused edge ingress -> kubernetes:443" not in checks
    # What a stranger reaches outside only shows that it is there.
    assert not any("stranger -> dns" in name or "stranger -> kubernetes" in name for name in checks)
    assert {check.state for check in checks.values()} == {OK}
    sources, targets = len(of.tiers) + 3, 12 + 4
    assert len(checks) == 2 + sources * targets - 4 - 4


def test_addresses_are_those_of_the_service_and_of_the_pods() -> None:
    of = network(api={"port": 9000})
    target = planning.plan(of, found(of)).targets["api"]
    assert target.title == "api:8000"
    assert [port for _kind, _host, port in target.addresses] == [8000, 9000]


def test_probes_carry_their_tiers_labels_and_not_what_services_look_for() -> None:
    of = network()
    plan = planning.plan(of, found(of))
    like = workload("Deployment", "mcp-monitoring", "mcp-monitoring", image="app:1")
    for name, source in plan.sources.items():
        pod = pods.pod_of(like, source.namespace, f"verify-{name}-x", "", source.labels, plan.task(name, 2.0, 10.0), 60)
        labels = objects.labels(pod)
        assert not set(_labels.SERVING) & set(labels)
        assert len(json.dumps(pod)) < 60_000
        if name in of.tiers:
            assert of.tiers[name].selects.items() <= labels.items()
            assert objects.OURS.items() <= labels.items()
    stranger = plan.sources[planning.STRANGER].labels
    assert not objects.OURS.items() <= {**stranger}.items()


def test_a_port_that_a_range_allows_is_not_tried_in_another_namespace() -> None:
    """The ranges of nodes and API server hold the cluster's pods too, and metrics-server listens where kubelets do."""
    of = network()
    for pod_port, tried in ((10250, False), (0, False), (4443, True)):
        there = found(of)
        elsewhere = planning.Elsewhere("metrics-server.kube-system", "10.96.0.99", 443, pod_port)
        plan = planning.plan(of, planning.Found(there.services, there.pods, there.nodes, {}, elsewhere, {}))
        pairs = {(pair.source, pair.target) for pair in plan.pairs}
        assert (("prometheus", planning.ELSEWHERE) in pairs) is tried
        assert ("api", planning.ELSEWHERE) in pairs


def test_what_is_elsewhere_is_tried_by_those_who_may() -> None:
    of = network(without=("postgres", "redis"), postgres={"host": "db.example"}, redis={"host": "192.0.2.7"})
    checks = judged(of)
    assert checks["allowed edge api -> postgres:5432"].state == OK
    # A name cannot be tried by who may not ask for addresses; an address can.
    assert "refused edge kube-state-metrics -> postgres:5432" not in checks
    assert checks["refused edge kube-state-metrics -> redis:6379"].state == OK


def test_what_cannot_be_tried_is_said() -> None:
    of = network(
        alertmanager={"webhook": True},
        network_policies={
            "ingress_pod_labels": {"app": "traefik"},
            "egress": {"api": [{"cidr": "192.0.2.0/24", "port": 443}, {"namespace": "mail", "port": 25}]},
            "ingress": {"redis": [{"namespace": "tools"}]},
        },
    )
    checks = judged(of)
    skipped = {name: check.evidence for name, check in checks.items() if check.state == SKIPPED}
    assert skipped["allowed edge alertmanager -> receivers:443"] == "the URLs of the receivers are secrets"
    assert skipped["allowed edge api -> 192.0.2.0/24:443"] == "a range has no one address to try"
    assert skipped["allowed edge api -> pods of mail:25"] == "there is no ready pod with these labels"
    assert skipped["allowed edge pods of tools -> redis:6379"].startswith("it is a caller that you declared")
    assert "could be sent its traffic" in skipped["allowed edge ingress -> api:8000"]
    assert "could be sent its traffic" in skipped["refused edges from ingress"]
    assert skipped["refused edges to receivers:443"] == "the URLs of the receivers are secrets"
    assert not any(name.startswith("refused edge ") for name in skipped)
    assert not failed(checks)


# -- how it is judged --------------------------------------------------------------------------------------------------


def test_an_edge_that_is_shut_is_named_with_its_address() -> None:
    checks = judged(
        network(),
        lambda source, target, allowed: (
            probe.SILENT if (source, target) == ("api", "postgres") else right(source, target, allowed)
        ),
    )
    assert failed(checks) == {"allowed edge api -> postgres:5432"}
    evidence = checks["allowed edge api -> postgres:5432"].evidence
    assert evidence == (
        "10.96.0.1:5432 gave no answer in 2 s, 10.244.0.1:5432 gave no answer in 2 s, and the map allows it; see kubectl get networkpolicies"
    )


def test_a_pair_that_is_open_is_named() -> None:
    checks = judged(
        network(),
        lambda source, target, allowed: (
            3 if (source, target) == ("redis", "postgres") else right(source, target, allowed)
        ),
    )
    assert failed(checks) == {"refused edge redis -> postgres:5432"}
    assert (
        "10.96.0.1:5432 connected in 3 ms, and the map has no such edge"
        in checks["refused edge redis -> postgres:5432"].evidence
    )


def test_a_plugin_that_enforces_nothing_is_a_failure_and_not_a_pass() -> None:
    checks = judged(network(), lambda _source, _target, _allowed: 1)
    assert failed(checks) == {_network_judge.ENFORCEMENT}
    assert (
        "the cluster's network plugin does not enforce NetworkPolicies" in checks[_network_judge.ENFORCEMENT].evidence
    )
    assert checks["refused edge redis -> postgres:5432"].state == SKIPPED
    assert checks["allowed edge api -> postgres:5432"].state == OK


def test_a_policy_that_opens_everything_is_named_before_the_plugin_is_blamed() -> None:
    cluster = Cluster(network(), lambda _source, _host, _want: 1)
    cluster.put(thing("NetworkPolicy", "open", {}))
    checks = prove(cluster)
    assert failed(checks) == {_network_judge.ENFORCEMENT}
    assert checks[_network_judge.ENFORCEMENT].evidence.endswith("not of the map, which may allow them: open")


def test_without_policies_the_plugin_is_not_blamed() -> None:
    checks = judged(network(), lambda _source, _target, _allowed: 1, missing=["default-deny", "redis"])
    assert "default-deny, redis are not there" in checks[_network_judge.POLICIES].evidence
    assert checks[_network_judge.ENFORCEMENT].evidence.endswith("connections were made, as policies are missing")
    assert failed(checks) == {_network_judge.POLICIES, _network_judge.ENFORCEMENT}


def test_nobody_reaching_it_makes_a_refusal_no_proof() -> None:
    checks = judged(
        network(),
        lambda source, target, allowed: probe.REFUSED if target == "grafana" else right(source, target, allowed),
    )
    assert failed(checks) == {"allowed edge prometheus -> grafana:3000", "allowed edge ingress -> grafana:3000"}
    assert checks["refused edge redis -> grafana:3000"].state == SKIPPED
    assert checks["refused edge redis -> grafana:3000"].evidence == "nobody reached it, so a refusal proves nothing"


def test_a_tier_without_pods_fails_its_edges() -> None:
    of = network()
    there = found(of)
    plan = planning.plan(of, planning.Found({**there.services}, {**there.pods, "redis": ()}, there.nodes, {}, None, {}))
    checks = {check.name: check for check in _network_judge.Judgement(plan, answers(plan), []).checks()}
    assert checks["allowed edge api -> redis:6379"].evidence == "redis has no ready pod"
    assert checks["allowed edge api -> redis:6379"].state == FAILED
    assert checks["refused edges to redis:6379"].state == SKIPPED
    assert checks["refused edges to another namespace"].evidence == "there is no Service of another namespace to try"
    assert "refused edge grafana -> redis:6379" not in checks


def test_a_probe_that_says_nothing_is_one_failure() -> None:
    checks = judged(network(), silent=["redis"])
    assert failed(checks) == {"probe redis"}
    assert checks["refused edge redis -> postgres:5432"].state == SKIPPED


def test_the_figures_are_told() -> None:
    evidence = judged(network())[_network_judge.ENFORCEMENT].evidence
    assert "connections in 9.0 s; the policies held for a new pod after at most 0.4 s" in evidence


# -- the run -----------------------------------------------------------------------------------------------------------


class Cluster(FakeCluster):
    """A cluster whose kubelet runs the probes as soon as somebody waits."""

    def __init__(self, of: _edges.Map, judge: Judge = right) -> None:
        super().__init__(FakeClock())
        self.judge, self.of, self.made = judge, of, []  # type: ignore[var-annotated]
        for space in (NAMESPACE, "kube-system", "ingress-nginx"):
            self.put(namespace(space, ours=space == NAMESPACE))
        self.put(workload("Deployment", "mcp-monitoring", "mcp-monitoring", image="app:1"))
        for number, tier in enumerate(tier for tier in of.tiers.values() if tier.port):
            self.put(thing("Service", tier.workload, tier.labels, spec={"clusterIP": f"10.96.0.{number}"}))
            status = {
                "podIP": f"10.244.0.{number}",
                "hostIP": "172.18.0.2",
                "conditions": [{"type": "Ready", "status": "True"}],
            }
            self.put(thing("Pod", f"{tier.workload}-0", {**tier.labels, **_labels.SERVING}, status=status))
        self.put(
            thing(
                "Service",
                "kube-dns",
                {},
                spec={
                    "clusterIP": "10.96.0.99",
                    "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}, {"port": 9153}],
                },
            ),
            "kube-system",
        )
        for policy in _policies.policies(of):
            self.put(thing("NetworkPolicy", policy["name"], {}))

    def create(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        result = super().create(obj, dry_run)
        self.made.append(obj["metadata"]["name"])
        self.clock.at(self.clock.time() + 0.2, lambda: self.run(obj))
        return result

    def run(self, obj: dict[str, Any]) -> None:
        task = json.loads(obj["spec"]["containers"][0]["command"][-1])
        results = [self.judge("", host, want) for _kind, host, _port, want in task["targets"]]
        message = json.dumps({"rounds": 1, "settled": 0.3, "results": results})
        ended = {"state": {"terminated": {"exitCode": 0, "message": message}}}
        self.put({**obj, "status": {"phase": "Succeeded", "containerStatuses": [ended]}})

    def left(self) -> list[str]:
        return [
            objects.name(obj)
            for obj in self.store.values()
            if objects.labels(obj).get("twisterlab.io/verify") == "network"
        ]


def thing(kind: str, name: str, labels: Any, **rest: Any) -> dict[str, Any]:
    version = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "labels": dict(labels)}, **rest}


def prove(cluster: Cluster, **options: Any) -> dict[str, Check]:
    proof = _network.Proof(cluster, cluster.clock, cluster.of, _network.Options(**options), lambda: "x")
    return {check.name: check for check in proof.run()}


def test_all_probes_are_made_at_once_and_removed() -> None:
    cluster = Cluster(network())
    checks = prove(cluster)
    assert {check.state for check in checks.values()} == {OK}
    assert len(cluster.made) == len(cluster.of.tiers) + 3
    assert "probe-kube-state-metrics-x" in cluster.made
    assert cluster.left() == []
    assert cluster.clock.time() < 2


def test_probes_of_an_interrupted_run_are_removed_first() -> None:
    cluster = Cluster(network())
    for space in (NAMESPACE, "ingress-nginx"):
        # Another stack of the cluster may be at it too.
        cluster.put(thing("Pod", "others", {"twisterlab.io/verify": "network", objects.INSTANCE: "other"}), space)
        cluster.put(thing("Pod", "verify-old", {"twisterlab.io/verify": "network", objects.INSTANCE: NAMESPACE}), space)
    prove(cluster)
    assert cluster.calls.index("delete Pod/verify-old") < cluster.calls.index("create Pod/probe-api-x")
    assert set(cluster.left()) == {"others"}


def test_an_error_in_the_middle_leaves_no_pod() -> None:
    cluster = Cluster(network())
    cluster.clock.at(
        0.1, lambda: cluster.errors.update({"list Pod": ApiError(500, "InternalError", "broken", "list pods")})
    )
    with pytest.raises(ApiError):
        prove(cluster)
    cluster.errors.clear()
    assert cluster.left() == []


def test_no_right_to_start_a_pod_at_the_ingress_is_a_skip() -> None:
    cluster = Cluster(network())
    cluster.errors["create Pod/probe-ingress"] = ApiError(403, "Forbidden", "no", "create")
    checks = prove(cluster)
    assert (
        checks["allowed edge ingress -> api:8000"].evidence == "no permission to start a pod in namespace ingress-nginx"
    )
    assert not failed(checks)
    del cluster.store[("Namespace", "", "ingress-nginx")]
    assert prove(cluster)["allowed edge ingress -> api:8000"].evidence == "there is no namespace ingress-nginx"


def test_a_probe_whose_image_cannot_be_had_is_told_once_the_time_is_over() -> None:
    cluster = Cluster(network())
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
    cluster.run = lambda obj: cluster.put({**obj, "status": {"containerStatuses": [waiting]}})  # type: ignore[method-assign]
    checks = prove(cluster, start=5.0, settle=1.0)
    assert checks["probe api"].evidence == "its pod does not start: ErrImagePull: no such image"
    assert cluster.left() == []
    assert cluster.clock.time() < 15


def test_policies_that_are_missing_are_named() -> None:
    cluster = Cluster(network())
    del cluster.store[("NetworkPolicy", NAMESPACE, "redis")]
    assert (
        prove(cluster)[_network_judge.POLICIES].evidence
        == "redis is not there; run ansible-playbook deploy.yml --tags network"
    )
    cluster.errors["list NetworkPolicy"] = ApiError(403, "Forbidden", "no", "list")
    assert prove(cluster)[_network_judge.POLICIES].state == SKIPPED


def test_nothing_with_python_is_refused() -> None:
    cluster = Cluster(network())
    del cluster.store[("Deployment", NAMESPACE, "mcp-monitoring")]
    with pytest.raises(
        Refused, match="whose image has Python; deploy one of them, or name an image in verify_probe_image"
    ):
        prove(cluster)
    assert prove(cluster, image="python:3.13")["policies in the cluster"].state == OK


# -- the action ----------------------------------------------------------------------------------------------------------


class Action(action.ActionModule):
    """Its module gives one answer; what it was asked and what it said is kept."""

    def __init__(self, answer: dict[str, Any] | Exception) -> None:
        self.answer, self.asked, self.said = answer, [], []

    def own_arguments(self) -> dict[str, Any]:
        return dict(self.arguments)

    def call(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        self.asked.append("remove" if arguments.get("remove") else "verify")
        if arguments.get("remove"):
            return {}
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def say(self, task_vars: dict[str, Any], text: str) -> None:
        self.said.append(text)

    def go(self, **arguments: Any) -> dict[str, Any]:
        self.arguments = arguments
        return self.prove({})


CHECKS = [
    Check("allowed edge api -> postgres:5432", OK, "connected in 2 ms", 0.002, "network").data(),
    Check("refused edge redis -> postgres:5432", FAILED, "it connected", 0.0, "network").data(),
]


def test_the_action_shows_a_line_a_check_and_fails_at_the_end() -> None:
    proof = Action({"checks": CHECKS})
    result = proof.go()
    assert proof.said[0] == "network allowed edge api -> postgres:5432: ok, 0.00 s: connected in 2 ms"
    assert (result["failed"], result["msg"]) == (True, "network refused edge redis -> postgres:5432: it connected")
    assert proof.asked == ["verify"]
    assert "failed" not in Action({"checks": CHECKS}).go(conclude="no")


def test_the_action_removes_the_pods_of_a_module_that_broke() -> None:
    proof = Action({"failed": True, "msg": "the server is away", "checks": []})
    assert proof.go(conclude=False)["msg"] == "the server is away"
    assert proof.asked == ["verify", "remove"]
    broken = Action(RuntimeError("no module"))
    with pytest.raises(RuntimeError):
        broken.go()
    assert broken.asked == ["verify", "remove"]


def test_an_interruption_removes_the_pods_and_then_ends_the_process() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: came.append(number))

    class Interrupted(Action):
        def call(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
            if not arguments.get("remove"):
                os.kill(os.getpid(), signal.SIGINT)
            return super().call(name, arguments, task_vars)

    try:
        proof = Interrupted({"checks": CHECKS})
        result = proof.go(conclude=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (result["msg"], proof.asked, came) == ("interrupted", ["verify", "remove"], [signal.SIGINT])
