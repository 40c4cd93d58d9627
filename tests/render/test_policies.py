# SPDX-License-Identifier: GPL-3.0-or-later
"""What the rendered policies allow is what the other manifests need: judged here as a network plugin judges, over the same files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as manifests
from rendering import HERE

FIXTURES = sorted(yaml.safe_load((HERE / "valid" / "hosts.yml").read_text(encoding="utf-8"))["clusters"]["hosts"])
#: It has none.
WITHOUT = "green"
OURS = {"app.kubernetes.io/part-of": "twisterlab", "app.kubernetes.io/managed-by": "twisterlab.platform"}
#: It runs only while verification makes a load.
LOAD = {"app.kubernetes.io/name": "verify-load"}
APPLICATIONS = ("twisterlab-api", "mcp-orchestrator", "mcp-monitoring")

Labels = dict[str, str]


class Stack:
    """One fixture's pods, by the name of their workload, and its policies."""

    def __init__(self, folder: Path) -> None:
        found = [
            document
            for path in sorted(folder.rglob("*.yaml"))
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        ]
        (self.namespace,) = [item["metadata"]["name"] for item in found if item["kind"] == "Namespace"]
        self.templates = {
            item["metadata"]["name"]: template for item in found if (template := manifests.template(item)) is not None
        }
        for item in found:
            if item["kind"] == "Cluster":
                # Its pods are made by the operator; so it labels them.
                instance = {"containers": [{"ports": [{"containerPort": 5432}]}]}
                labels = {"cnpg.io/cluster": item["metadata"]["name"]}
                self.templates["postgres"] = {"metadata": {"labels": labels}, "spec": instance}
        self.policies = {item["metadata"]["name"]: item["spec"] for item in found if item["kind"] == "NetworkPolicy"}
        self.pods: dict[str, Labels] = {name: item["metadata"]["labels"] for name, item in self.templates.items()}
        self.pods["verify-load"] = {**OURS, **LOAD, "app.kubernetes.io/instance": self.namespace}

    def ports(self, name: str) -> set[int]:
        """The ports that a workload's pods listen on."""
        containers = self.templates[name]["spec"]["containers"] if name in self.templates else []
        return {port["containerPort"] for container in containers for port in container.get("ports", [])}

    def selected(self, spec: dict[str, Any]) -> list[str]:
        return [name for name, labels in self.pods.items() if matches(spec["podSelector"], labels)]

    def allows(self, source: str, target: str, port: int) -> bool:
        """Whether both ends allow a connection, as a plugin judges it."""
        return self._one("Egress", source, target, port) and self._one("Ingress", target, source, port)

    def _one(self, way: str, mine: str, other: str, port: int) -> bool:
        mine_all = [
            spec for spec in self.policies.values() if way in spec["policyTypes"] and mine in self.selected(spec)
        ]
        if not mine_all:
            return True
        key, end = way.lower(), {"Egress": "to", "Ingress": "from"}[way]
        return any(
            any(item["protocol"] == "TCP" and item["port"] == port for item in rule["ports"])
            and any(
                "namespaceSelector" not in peer
                and "podSelector" in peer
                and matches(peer["podSelector"], self.pods[other])
                for peer in rule[end]
            )
            for spec in mine_all
            for rule in spec.get(key, [])
        )


def matches(selector: dict[str, Any], labels: Labels) -> bool:
    assert set(selector) <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


def selectors(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Every selector of pods of our own namespace in a policy."""
    peers = [peer for rule in spec.get("ingress", []) for peer in rule["from"]]
    peers += [peer for rule in spec.get("egress", []) for peer in rule["to"]]
    return [spec["podSelector"]] + [
        peer["podSelector"] for peer in peers if "podSelector" in peer and "namespaceSelector" not in peer
    ]


def addresses(stack: Stack, name: str) -> set[str]:
    """The workloads that a pod's environment names."""
    found: set[str] = set()
    spec = stack.templates[name]["spec"]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        for variable in container.get("env", []):
            key = variable.get("valueFrom", {}).get("secretKeyRef", {}).get("key", "")
            value = str(variable.get("value", ""))
            if key in ("database_url", "database_url_asyncpg"):
                found.add("postgres")
            if key == "redis_url":
                found.add("redis")
            hosts = re.findall(r"//([a-z0-9.-]+)", value) + re.findall(r"^([a-z0-9-]+):\d", value)
            found |= {*hosts, *([value] if re.search("HOST$", variable["name"]) else [])}
    return found & set(stack.templates)


@pytest.fixture(params=[name for name in FIXTURES if name != WITHOUT])
def stack(request: pytest.FixtureRequest, rendered: Path) -> Stack:
    return Stack(rendered / request.param)


def test_policies_can_be_left_out(rendered: Path) -> None:
    assert [name for name in FIXTURES if not (rendered / name / "network-policies").is_dir()] == [WITHOUT]


def test_everything_is_closed_unless_it_is_opened(stack: Stack) -> None:
    assert stack.policies["default-deny"] == {
        "podSelector": {"matchLabels": OURS},
        "policyTypes": ["Ingress", "Egress"],
    }
    ours = {name for name, labels in stack.pods.items() if OURS.items() <= labels.items()}
    assert set(stack.selected(stack.policies["default-deny"])) == ours >= set(stack.pods) - {"postgres"}
    for name, spec in stack.policies.items():
        assert spec["policyTypes"] == ["Ingress", "Egress"], name
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            assert rule["ports"], name
            assert rule.get("from") or rule.get("to"), name


def test_no_selector_looks_for_what_no_pod_carries_or_for_pods_that_serve(stack: Stack) -> None:
    for name, spec in stack.policies.items():
        if name != "default-deny":
            assert len(stack.selected(spec)) == 1, name
        for selector in selectors(spec):
            assert "twisterlab.io/serving" not in selector.get("matchLabels", {}), name
            declared = "app.kubernetes.io/instance" not in selector["matchLabels"]
            assert declared or any(matches(selector, labels) for labels in stack.pods.values()), name


def test_every_workload_has_a_policy(stack: Stack) -> None:
    closed = {
        workload for name, spec in stack.policies.items() if name != "default-deny" for workload in stack.selected(spec)
    }
    assert closed == set(stack.pods)


def test_what_a_manifest_names_is_allowed_and_an_application_gets_nothing_else(stack: Stack) -> None:
    for source in stack.templates:
        named = addresses(stack, source)
        for target in named:
            assert any(stack.allows(source, target, port) for port in stack.ports(target)), f"{source} -> {target}"
        if source in APPLICATIONS:
            reached = {
                name for name in stack.templates for port in stack.ports(name) if stack.allows(source, name, port)
            }
            assert reached == named, source


def test_what_offers_metrics_can_be_scraped(stack: Stack) -> None:
    if "prometheus" not in stack.templates:
        return
    for name, template in stack.templates.items():
        notes = template["metadata"].get("annotations", {})
        if notes.get("prometheus.io/scrape") == "true" and name != "prometheus":
            assert stack.allows("prometheus", name, int(notes["prometheus.io/port"])), name


def test_an_edge_is_open_at_both_ends(stack: Stack) -> None:
    """One end alone would be a hole that nobody meant, or a tier that cannot be reached."""
    for source in stack.pods:
        for target in stack.pods:
            for port in stack.ports(target):
                ends = stack._one("Egress", source, target, port), stack._one("Ingress", target, source, port)
                assert len(set(ends)) == 1, f"{source} -> {target}:{port}"


def test_the_servers_talk_to_nobody(stack: Stack) -> None:
    for name in {"postgres", "redis"} & set(stack.policies):
        if "cnpg.io/cluster" not in stack.pods[name]:
            assert "egress" not in stack.policies[name]


def test_the_instances_of_a_cluster_talk_among_themselves(rendered: Path) -> None:
    stack = Stack(rendered / "cloudnativepg")
    assert stack.allows("postgres", "postgres", 5432)
    assert stack.allows("postgres", "postgres", 8000)
    operator = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "operators"}}}
    assert {"from": [operator], "ports": [{"protocol": "TCP", "port": 8000}]} in stack.policies["postgres"]["ingress"]
    assert 6443 in {port["port"] for rule in stack.policies["postgres"]["egress"] for port in rule["ports"]}


def test_releases_throw_away_pod_is_judged_like_its_tier(rendered: Path) -> None:
    """kube-state-metrics ends when the API server does not answer it, so its new image must be let through when it is tried."""
    stack = Stack(rendered / "defaults")
    labels = {**stack.pods["kube-state-metrics"], "app.kubernetes.io/name": "twisterlab-smoke"}
    assert matches(stack.policies["kube-state-metrics"]["podSelector"], labels)
    # Of two workloads of one component the name decides.
    assert not matches(stack.policies["redis"]["podSelector"], stack.pods["redis-exporter"])


def test_what_a_user_declares(rendered: Path) -> None:
    policies = Stack(rendered / "changed").policies
    egress = [
        (peer, port["port"]) for rule in policies["api"]["egress"] for peer in rule["to"] for port in rule["ports"]
    ]
    assert ({"ipBlock": {"cidr": "198.51.100.7/32"}}, 11434) in egress
    relay = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mail"}},
        "podSelector": {"matchLabels": {"app": "relay"}},
    }
    assert (relay, 25) in egress
    callers = [peer for rule in policies["api"]["ingress"] for peer in rule["from"]]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "tools"}}} in callers
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "edge"}},
            "podSelector": {"matchLabels": {"app": "traefik"}}} in callers  # fmt: skip
