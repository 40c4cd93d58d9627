# SPDX-License-Identifier: GPL-3.0-or-later
"""The map of who talks to whom, and the policies made from it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _edges, _policies
from network_facts import network


def edges(found: _edges.Map, source: str = "", target: str = "") -> set[str]:
    return {
        f"{edge.source} -> {edge.target}:{_edges.port_text(edge.ports)}"
        for edge in found.edges
        if source in ("", edge.source) and target in ("", edge.target)
    }


def spec(found: _edges.Map, name: str) -> dict[str, Any]:
    return next(item["spec"] for item in _policies.policies(found) if item["name"] == name)


def blocks(found: _edges.Map, name: str) -> list[str]:
    return [item["ipBlock"]["cidr"] for item in found.peers[name].to if "ipBlock" in item]


def test_who_reaches_the_servers() -> None:
    found = network()
    assert edges(found, target="postgres") == {
        "api -> postgres:5432",
        "mcp-orchestrator -> postgres:5432",
        "mcp-monitoring -> postgres:5432",
        "postgres-exporter -> postgres:5432",
        "backup -> postgres:5432",
    }
    assert edges(found, source="backup") == {
        "backup -> postgres:5432",
        "backup -> redis:6379",
        "backup -> kubernetes:443,6443,8443",
        "backup -> dns:53",
    }
    assert edges(found, target="backup") == {"prometheus -> backup:9188"}
    assert edges(found, source="redis") == edges(found, source="postgres") == set()
    assert edges(found, source="grafana") == {"grafana -> prometheus:9090", "grafana -> dns:53"}
    assert edges(found, source="kube-state-metrics") == {"kube-state-metrics -> kubernetes:443,6443,8443"}


def test_who_asks_the_dns_follows_from_who_is_reached_by_name() -> None:
    asking = {edge.source for edge in network().edges if edge.target == _edges.DNS}
    assert asking == {
        "backup",
        "postgres-exporter", "redis-exporter", "api", "mcp-orchestrator", "mcp-monitoring", "prometheus", "grafana", "verify-load",
    }  # fmt: skip
    assert "alertmanager -> dns:53" in edges(network(alertmanager={"slack": True}))


def test_the_nightly_renewal_reaches_the_api_server_alone() -> None:
    assert edges(network(renewal=True), source="certificate-renewal") == {
        "certificate-renewal -> kubernetes:443,6443,8443"
    }
    assert not edges(network(renewal=True), target="certificate-renewal")
    assert "certificate-renewal" not in " ".join(edges(network()))


def test_a_tier_that_is_not_there_is_in_no_edge() -> None:
    found = network(without=("prometheus", "mcp_monitoring", "postgres"), postgres={"host": "192.0.2.7", "port": 6432})
    text = " ".join(edges(found))
    assert "prometheus" not in text
    assert "mcp-monitoring" not in text
    assert "postgres-exporter" not in text
    assert "api -> postgres:6432" in edges(found)
    assert blocks(found, "postgres") == ["192.0.2.7/32"]
    assert {item["name"] for item in _policies.policies(found)} == {
        "default-deny", "redis", "redis-exporter", "api", "mcp-orchestrator", "kube-state-metrics", "alertmanager", "grafana", "backup", "verify-load",
    }  # fmt: skip


def test_backups_reach_their_store_and_only_what_they_keep() -> None:
    found = network(
        backup={"store": {"s3_url": "https://s3.example:9000/lab/x"}, "parts": ["postgres"]},
        network_policies={"backup_cidrs": ["192.0.2.16/28"]},
    )
    assert edges(found, source="backup") == {
        "backup -> postgres:5432",
        "backup -> backup-store:9000",
        "backup -> dns:53",
    }
    assert blocks(found, "backup-store") == ["192.0.2.16/28"]
    assert blocks(network(backup={"store": {"s3_url": "http://192.0.2.9/b/x"}}), "backup-store") == ["192.0.2.9/32"]
    assert not edges(network(without=("backup",)), source="backup")


@pytest.mark.parametrize(
    ("host", "ranges", "expected"),
    [
        ("db.example", [], ["0.0.0.0/0", "::/0"]),
        ("db.example", ["192.0.2.0/29"], ["192.0.2.0/29"]),
        ("2001:db8::7", [], ["2001:db8::7/128"]),
    ],
)
def test_a_server_elsewhere(host: str, ranges: list[str], expected: list[str]) -> None:
    found = network(without=("redis",), redis={"host": host}, network_policies={"redis_cidrs": ranges})
    assert blocks(found, "redis") == expected


def test_a_server_in_another_namespace() -> None:
    found = network(without=("redis",), redis={"host": "redis.cache.svc.cluster.local"})
    assert found.peers["redis"].to == ({"namespaceSelector": {"matchLabels": {_edges.NAMESPACE_LABEL: "cache"}}},)


def test_policies_see_the_ports_of_pods() -> None:
    found = network(api={"port": 9000, "metrics_path": ""})
    assert "mcp-monitoring -> api:9000" in edges(found)
    assert "prometheus -> api:9000" not in edges(found)
    assert (found.tiers["api"].port, found.tiers["api"].pod_port) == (8000, 9000)


def test_peers_of_the_agents() -> None:
    given = {"campaign": "http://mcp-campaign:8081", "mcp-monitoring": "", "x": "http://192.0.2.9"}
    found = network(mcp_orchestrator={"agents": given})
    assert {"mcp-orchestrator -> mcp-campaign:8081:8081", "mcp-orchestrator -> 192.0.2.9:80:80"} <= edges(found)
    assert blocks(found, "192.0.2.9:80") == ["192.0.2.9/32"]
    # Its address is still in the environment that all applications share.
    (edge,) = [edge for edge in found.edges if (edge.source, edge.target) == ("mcp-orchestrator", "mcp-monitoring")]
    assert edge.why == "MONITORING_URL"


@pytest.mark.parametrize("suffix", ["", ".shop", ".shop.svc", ".shop.svc.cluster.local", ".shop.svc.cluster.local."])
def test_a_tier_by_any_of_its_names(suffix: str) -> None:
    found = network(
        grafana={"prometheus_url": f"http://prometheus{suffix}:9090"},
        mcp_monitoring={"agents": {"api": f"http://twisterlab-api{suffix}:8000"}},
        api={"port": 9000},
    )
    assert edges(found, source="grafana") == {"grafana -> prometheus:9090", "grafana -> dns:53"}
    assert "grafana -> prometheus:9090" in edges(found, target="prometheus")
    assert {edge.target for edge in found.edges if edge.source == "mcp-monitoring"} <= {*found.tiers, "dns"}


def test_a_service_of_the_same_name_in_another_namespace_is_no_tier() -> None:
    found = network(grafana={"prometheus_url": "http://prometheus.other.svc:9090"})
    assert "grafana -> prometheus:9090" not in edges(found)
    assert found.peers["prometheus.other.svc:9090"].to == (
        {"namespaceSelector": {"matchLabels": {_edges.NAMESPACE_LABEL: "other"}}},
    )


def test_scrape_targets_and_another_prometheus() -> None:
    found = network(
        targets={"ingress": "traefik.ingress-nginx.svc:8082", "certs": "certs.example:9402"},
        grafana={"prometheus_url": "https://metrics.example"},
        prometheus={"cluster_metrics": False},
    )
    assert found.peers["traefik.ingress-nginx.svc:8082"].to == (
        {"namespaceSelector": {"matchLabels": {_edges.NAMESPACE_LABEL: "ingress-nginx"}}},
    )
    assert "prometheus -> certs.example:9402:9402" in edges(found)
    assert "grafana -> metrics.example:443:443" in edges(found)
    assert "grafana -> prometheus:9090" not in edges(found)
    assert edges(found, target=_edges.NODES) == set()


def test_where_alerts_go() -> None:
    found = network(
        alertmanager={"email_to": "a@b.example", "smtp_host": "mail.example", "webhook": True},
        network_policies={"receiver_cidrs": ["198.51.100.0/24"], "receiver_ports": [443, 8443]},
    )
    assert edges(found, source="alertmanager") == {
        "alertmanager -> mail.example:587:587",
        "alertmanager -> receivers:443,8443",
        "alertmanager -> dns:53",
    }
    assert blocks(found, "receivers") == ["198.51.100.0/24"]
    assert "egress" not in spec(network(), "alertmanager")


def test_no_ingress_and_one_by_addresses() -> None:
    assert edges(network(network_policies={"ingress_namespaces": []}), source=_edges.INGRESS) == set()
    found = network(network_policies={"ingress_namespaces": [], "ingress_cidrs": ["10.0.0.0/24"]})
    assert "ingress -> api:8000" in edges(found)
    assert found.peers[_edges.INGRESS].to == ({"ipBlock": {"cidr": "10.0.0.0/24"}},)


def test_what_is_declared() -> None:
    found = network(
        network_policies={
            "egress": {
                "api": [{"cidr": "198.51.100.7/32", "port": 11434}, {"namespace": "mail", "port": "25"}],
                "alertmanager": [{"pod_labels": {"app": "receiver"}, "port": 8090}],
                "grafana": [{"tier": "alertmanager"}, {"tier": "nobody"}],
            },
            "ingress": {"redis": [{"namespace": "tools", "pod_labels": {"app": "cli"}}, {"cidr": "192.0.2.0/24"}]},
        }
    )
    assert {"api -> 198.51.100.7:11434", "api -> pods of mail:25"} <= edges(found)
    assert "grafana -> alertmanager:9093" in edges(found)
    assert "alertmanager -> pods app=receiver:8090" in edges(found)
    assert {"pods app=cli of tools -> redis:6379", "192.0.2.0/24 -> redis:6379"} <= edges(found)
    assert found.peers["pods app=receiver"].to == ({"podSelector": {"matchLabels": {"app": "receiver"}}},)


def test_every_edge_is_written_at_both_ends() -> None:
    found = network()
    written = json.dumps(_policies.policies(found))
    assert "serving" not in written
    for edge in found.edges:
        for name, end, way in ((edge.target, edge.source, "ingress"), (edge.source, edge.target, "egress")):
            if name not in found.tiers:
                continue
            wanted = _policies._selectors(end, found)
            ports = [{"protocol": protocol, "port": port} for protocol, port in edge.ports]
            rules = [rule for rule in spec(found, name)[way] if rule["ports"] == ports]
            assert any(item in rule.get("from", rule.get("to")) for rule in rules for item in wanted), edge


def test_the_map_is_plain_data_and_back() -> None:
    found = network(targets={"x": "x.y.svc:1"})
    assert _edges.Map.of(json.loads(json.dumps(found.data()))) == found
