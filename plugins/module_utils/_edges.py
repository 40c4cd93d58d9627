# SPDX-License-Identifier: GPL-3.0-or-later
"""The one map of who talks to whom. Policies, verification and the diagram in the docs are all made from it.

A tier may reach what its own manifest gives it an address of, and nothing else. Pure data and pure functions.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from . import _labels
from . import _objects as objects

TCP, UDP = "TCP", "UDP"
#: Peers that are no tiers of ours.
DNS, API_SERVER, NODES, INGRESS, LOAD = "dns", "kubernetes", "nodes", "ingress", "verify-load"
#: The nightly pod of role ingress.
RENEWAL = "certificate-renewal"
#: Where CloudNativePG runs Postgres: its operator, and the port at which an instance says how it is.
OPERATOR, STATUS_PORT = "cloudnativepg", 8000
KUBELET_PORT = 10250
ANYWHERE = ("0.0.0.0/0", "::/0")
#: The label by which every namespace is known.
NAMESPACE_LABEL = "kubernetes.io/metadata.name"

#: Name, workload, component, key of `enabled`, port of the Service. A policy is named like its tier.
_TIERS: tuple[tuple[str, str, str, str, int], ...] = (
    ("postgres", "postgres", "postgres", "postgres", 5432),
    ("postgres-exporter", "postgres-exporter", "postgres", "postgres", 9187),
    ("redis", "redis", "redis", "redis", 6379),
    ("redis-exporter", "redis-exporter", "redis", "redis", 9121),
    ("api", "twisterlab-api", "api", "api", 8000),
    ("mcp-orchestrator", "mcp-orchestrator", "mcp-orchestrator", "mcp_orchestrator", 8080),
    ("mcp-monitoring", "mcp-monitoring", "mcp-monitoring", "mcp_monitoring", 8082),
    ("kube-state-metrics", "kube-state-metrics", "kube-state-metrics", "kube_state_metrics", 8080),
    ("alertmanager", "alertmanager", "alertmanager", "alertmanager", 9093),
    ("prometheus", "prometheus", "prometheus", "prometheus", 9090),
    ("grafana", "grafana", "grafana", "grafana", 3000),
    ("backup", "backup", "backup", "backup", 9188),
)
TIER_NAMES = tuple(row[0] for row in _TIERS)
#: The tier of a workload or Service.
TIER_OF = {row[1]: row[0] for row in _TIERS}
#: The applications, which share one environment and so one set of addresses.
APPLICATIONS = ("api", "mcp-orchestrator", "mcp-monitoring")
AGENTS = ("mcp-orchestrator", "mcp-monitoring")
#: What people reach from outside, through the ingress controller.
PUBLISHED = ("api", "grafana", "prometheus", "mcp-orchestrator", "mcp-monitoring")

Ports = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Tier:
    """One workload of ours.

    Attributes:
        name: how it is called in the map.
        workload: name of its Service and pods; of none for what only talks.
        labels: what its pods carry beside `twisterlab.io/serving`.
        selects: what its policy looks for. No `serving`, so that pods that only probe are judged alike; no name where the
            component has one workload, so that release's throw-away pod of it is judged alike too.
        port: of its Service; 0 for what only talks.
        pod_port: of its pods, which is what policies see.
    """

    name: str
    workload: str
    labels: Mapping[str, str]
    selects: Mapping[str, str]
    port: int = 0
    pod_port: int = 0


@dataclass(frozen=True)
class Peer:
    """Somebody who is no tier of ours.

    Attributes:
        name: how it is called in the map.
        to: how policies name it (NetworkPolicyPeer).
        host: an address to try it by; empty when there is none.
        port: of that address.
        namespaces: where its pods are.
        pod_labels: what they carry.
        unknown: why it cannot be tried; empty when it can.
    """

    name: str
    to: tuple[Mapping[str, Any], ...]
    host: str = ""
    port: int = 0
    namespaces: tuple[str, ...] = ()
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""


@dataclass(frozen=True)
class Edge:
    """Somebody may talk to somebody.

    Attributes:
        source: who begins.
        target: who answers.
        ports: protocol and number, as the target's pods listen.
        why: in a few words.
    """

    source: str
    target: str
    ports: Ports
    why: str


@dataclass(frozen=True)
class Map:
    """Everybody that runs here, and every edge between them."""

    namespace: str
    tiers: Mapping[str, Tier]
    peers: Mapping[str, Peer]
    edges: tuple[Edge, ...]

    def data(self) -> dict[str, Any]:
        """As plain data, for a module's argument."""
        return asdict(self)

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Map:
        """From what `data` gave."""
        peers = {
            name: Peer(**{**item, "to": tuple(item["to"]), "namespaces": tuple(item["namespaces"])})
            for name, item in data["peers"].items()
        }
        edges = tuple(
            Edge(**{**item, "ports": tuple((str(protocol), int(port)) for protocol, port in item["ports"])})
            for item in data["edges"]
        )
        return cls(str(data["namespace"]), {name: Tier(**item) for name, item in data["tiers"].items()}, peers, edges)


def map_of(facts: Mapping[str, Any]) -> Map:
    """Make the map.

    Args:
        facts: `namespace`; `enabled` by the names of the tiers' inputs; `given`, the inputs of the tiers and of the policies
            over their defaults; `targets`, what Prometheus scrapes beside our pods.
    """
    return _Maker(facts).map()


class _Maker:
    """The map while it is made."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.namespace = str(facts["namespace"])
        self.enabled: Mapping[str, bool] = facts["enabled"]
        self.given: Mapping[str, Any] = facts["given"]
        self.targets: Mapping[str, str] = facts["targets"]
        self.own: Mapping[str, Any] = self.given["network_policies"]
        self.tiers = {tier.name: tier for tier in self._tiers()}
        self.peers: dict[str, Peer] = {}
        self.edges: list[Edge] = []

    def map(self) -> Map:
        """Everything, in the order of the tiers."""
        self._applications()
        self._instances()
        self._exporters()
        self._monitoring()
        self._alerts()
        self._ingress()
        self._renewal()
        self._backup()
        self._verification()
        self._declared()
        self._dns()
        order = [*self.tiers, INGRESS]
        edges = sorted(self.edges, key=lambda edge: order.index(edge.source) if edge.source in order else len(order))
        return Map(self.namespace, self.tiers, self.peers, tuple(edges))

    # -- who there is ----------------------------------------------------------------------------------------------

    def _tiers(self) -> Iterator[Tier]:
        for name, workload, component, key, port in _TIERS:
            if not self.enabled.get(key):
                continue
            labels = _labels.labels(component, workload, namespace=self.namespace)
            alone = sum(row[2] == component for row in _TIERS) == 1
            selects = {label: value for label, value in labels.items() if not (alone and label == objects.NAME)}
            if name == "postgres" and self._is_cluster():
                # Its pods are the operator's; these labels have no part in choosing the primary.
                labels = {objects.INSTANCE: self.namespace, **objects.INSTANCES}
                selects = dict(objects.INSTANCES)
            inside = self.given[key]["port"] if name in APPLICATIONS else port
            yield Tier(name, workload, labels, selects, port, int(inside))
        if self.enabled.get("renewal"):
            labels = _labels.labels("ingress", RENEWAL, namespace=self.namespace)
            yield Tier(RENEWAL, "", labels, labels)
        # The pod that makes the load of `verify --tags autoscaling`.
        load = {**objects.OURS, objects.NAME: LOAD, objects.INSTANCE: self.namespace}
        yield Tier(LOAD, "", load, load)

    def _add(self, source: str, target: str, why: str, ports: Ports | None = None) -> None:
        """One edge, unless somebody is not there; a second reason for the same edge is written to the first."""
        if source not in self.tiers and source not in self.peers:
            return
        if ports is None:
            if target not in self.tiers:
                return
            ports = ((TCP, self.tiers[target].pod_port),)
        for index, edge in enumerate(self.edges):
            if (edge.source, edge.target, edge.ports) == (source, target, ports):
                if why not in edge.why.split(", "):
                    self.edges[index] = Edge(source, target, ports, f"{edge.why}, {why}")
                return
        self.edges.append(Edge(source, target, ports, why))

    def _outside(self, name: str, host: str, port: int, ranges: list[str]) -> Ports:
        """A peer by its host's name or address; a name says nothing to a policy, so it may be anywhere unless ranges say where."""
        to: list[Mapping[str, Any]] = [_block(item) for item in ranges]
        if not to:
            try:
                address = ipaddress.ip_address(host)
                to = [_block(f"{address}/{address.max_prefixlen}")]
            except ValueError:
                to = self._of_service(host) or [_block(item) for item in ANYWHERE]
        self.peers[name] = Peer(name, tuple(to), host, port)
        return ((TCP, port),)

    def _of_service(self, host: str) -> list[Mapping[str, Any]]:
        """The pods behind `<service>.<namespace>.svc...`: all of that namespace, for a policy sees no Services."""
        parts = host.rstrip(".").split(".")
        return [_namespaced(parts[1])] if len(parts) >= 3 and parts[2] == "svc" else []

    def _short(self, host: str) -> str:
        """A Service of ours by the name it has in its namespace; `<service>.<namespace>.svc...` is the same one."""
        parts = host.rstrip(".").split(".")
        ours = parts[0] in TIER_OF and parts[1:2] == [self.namespace] and parts[2:3] in ([], ["svc"])
        return parts[0] if ours else host

    def _by_url(self, source: str, url: str, why: str) -> None:
        """An edge to whatever a URL names: a tier by its Service, or somebody outside."""
        parts = urlsplit(url if "//" in url else f"//{url}")
        host, port = self._short(parts.hostname or ""), parts.port or (443 if parts.scheme == "https" else 80)
        if host in TIER_OF:
            # One that does not run here gets no edge.
            self._add(source, TIER_OF[host], why)
        elif host and source in self.tiers:
            name = f"{host}:{port}"
            self._add(source, name, why, self._outside(name, host, port, []))

    # -- who talks to whom -------------------------------------------------------------------------------------------

    def _applications(self) -> None:
        """All three get the addresses of the others in their environment (vars of role twisterlab)."""
        for source in APPLICATIONS:
            if source not in self.tiers:
                continue
            self._server(source, "postgres", "DATABASE_URL")
            self._server(source, "redis", "REDIS_URL")
            self._add(source, "api", "API_URL")
            self._add(source, "mcp-monitoring", "MONITORING_URL")
            self._add(source, "prometheus", "PROMETHEUS_URL")
        for source in AGENTS:
            more = self.given[source.replace("-", "_")]["agents"]
            for peer in AGENTS:
                if peer != source and peer not in more:
                    self._add(source, peer, "AGENTS")
            for url in more.values():
                if url:
                    self._by_url(source, str(url), "AGENTS")

    def _server(self, source: str, server: str, why: str) -> None:
        """An edge to Postgres or Redis, ours or the user's own."""
        ports = None
        if server not in self.tiers:
            given = self.given[server]
            ranges = {"postgres": self.own["postgres_cidrs"], "redis": self.own["redis_cidrs"]}[server]
            ports = self._outside(server, given["host"], int(given["port"]), ranges)
        self._add(source, server, why, ports)

    def _backup(self) -> None:
        """What is kept, and where to."""
        if "backup" not in self.tiers:
            return
        given = self.given["backup"]
        for server in ("postgres", "redis"):
            if server in given["parts"]:
                self._server("backup", server, "backups")
        if {"records", "secrets"} & set(given["parts"]):
            self._cluster("backup", "reads records and Secrets")
        url = urlsplit(given["store"]["s3_url"])
        if url.hostname:
            port = url.port or (80 if url.scheme == "http" else 443)
            ports = self._outside("backup-store", url.hostname, port, self.own["backup_cidrs"])
            self._add("backup", "backup-store", "repository", ports)

    def _is_cluster(self) -> bool:
        return self.given["postgres"].get("mode") == OPERATOR

    def _instances(self) -> None:
        """Those of a Cluster copy from each other, ask each other, keep their state in the API server, and are asked by the operator."""
        if "postgres" not in self.tiers or not self._is_cluster():
            return
        namespace = self.given["postgres"]["operator_namespace"]
        self.peers[OPERATOR] = Peer(OPERATOR, (_namespaced(namespace),), namespaces=(namespace,))
        self._add("postgres", "postgres", "replication", ((TCP, self.tiers["postgres"].pod_port), (TCP, STATUS_PORT)))
        self._add(OPERATOR, "postgres", "state of instances", ((TCP, STATUS_PORT),))
        self._cluster("postgres", "state of instances")

    def _exporters(self) -> None:
        self._add("postgres-exporter", "postgres", "measures")
        self._add("redis-exporter", "redis", "measures")

    def _monitoring(self) -> None:
        """Prometheus finds pods by their annotations; these are the tiers that carry them."""
        for target in self.tiers:
            if target in ("postgres", "redis", "prometheus", RENEWAL, LOAD):
                # The servers have exporters, and its own metrics it reads without leaving its pod.
                continue
            if target in APPLICATIONS and not self.given[target.replace("-", "_")]["metrics_path"]:
                continue
            self._add("prometheus", target, "metrics")
        self._add("prometheus", "alertmanager", "alerts")
        if "grafana" in self.tiers:
            self._by_url("grafana", self.given["grafana"]["prometheus_url"], "dashboards")
        if "prometheus" in self.tiers:
            self._cluster("prometheus", "finds pods and nodes")
            if self.given["prometheus"]["cluster_metrics"]:
                self.peers[NODES] = Peer(NODES, self._cluster_blocks())
                self._add("prometheus", NODES, "metrics of kubelets", ((TCP, KUBELET_PORT),))
            for name in sorted(self.targets):
                self._by_url("prometheus", str(self.targets[name]), f"metrics of {name}")
        if "kube-state-metrics" in self.tiers:
            self._cluster("kube-state-metrics", "watches objects")

    def _cluster(self, source: str, why: str) -> None:
        """The API server is judged after its Service was resolved, so by its own address and port."""
        self.peers[API_SERVER] = Peer(API_SERVER, self._cluster_blocks())
        self._add(source, API_SERVER, why, tuple((TCP, int(port)) for port in self.own["api_server_ports"]))

    def _cluster_blocks(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(_block(item) for item in self.own["cluster_cidrs"])

    def _alerts(self) -> None:
        """Where Alertmanager's receivers are; their URLs are secrets, so only the ports and ranges are known."""
        given = self.given["alertmanager"]
        if "alertmanager" not in self.tiers:
            return
        if given["email_to"]:
            self._by_url("alertmanager", f"//{given['smtp_host']}:{given['smtp_port']}", "mail")
        if given["webhook"] or given["slack"] or given["heartbeat"]:
            to = tuple(_block(item) for item in self.own["receiver_cidrs"])
            self.peers["receivers"] = Peer("receivers", to, unknown="the URLs of the receivers are secrets")
            ports = tuple((TCP, int(port)) for port in self.own["receiver_ports"])
            self._add("alertmanager", "receivers", "notifications", ports)

    def _ingress(self) -> None:
        names = tuple(self.own["ingress_namespaces"])
        labels = self.own["ingress_pod_labels"]
        to = [_namespaced(name, labels) for name in names] + [_block(item) for item in self.own["ingress_cidrs"]]
        if not to:
            return
        self.peers[INGRESS] = Peer(INGRESS, tuple(to), namespaces=names, pod_labels=dict(labels))
        for target in PUBLISHED:
            self._add(INGRESS, target, "public name")

    def _renewal(self) -> None:
        if RENEWAL in self.tiers:
            self._cluster(RENEWAL, "renews the certificate")

    def _verification(self) -> None:
        for target in APPLICATIONS:
            self._add(LOAD, target, "load of verify")

    def _declared(self) -> None:
        """What the user adds."""
        for source, items in self.own["egress"].items():
            for item in items or []:
                if item.get("tier"):
                    self._add(source, str(item["tier"]), "declared")
                elif source in self.tiers:
                    peer = self._declared_peer(item)
                    self._add(source, peer.name, "declared", ((TCP, int(item["port"])),))
        for target, items in self.own["ingress"].items():
            for item in items or []:
                if target in self.tiers:
                    peer = self._declared_peer(item)
                    self._add(peer.name, target, "declared")

    def _declared_peer(self, item: Mapping[str, Any]) -> Peer:
        labels = {str(key): str(value) for key, value in (item.get("pod_labels") or {}).items()}
        namespace, port = str(item.get("namespace") or ""), int(item.get("port") or 0)
        if item.get("cidr"):
            block = ipaddress.ip_network(str(item["cidr"]))
            one = block.num_addresses == 1
            name = str(block.network_address) if one else str(block)
            unknown = "" if one and port else "a range has no one address to try"
            peer = Peer(name, (_block(str(block)),), str(block.network_address) if one else "", port, unknown=unknown)
        else:
            shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
            name = " ".join(part for part in ("pods", shown, f"of {namespace}" if namespace else "") if part)
            to = _namespaced(namespace, labels) if namespace else {"podSelector": {"matchLabels": labels}}
            peer = Peer(name, (to,), "", port, (namespace or self.namespace,), labels)
        self.peers[peer.name] = peer
        return peer

    def _dns(self) -> None:
        """Whoever reaches somebody by a name must ask for its address; the API server and the nodes are known by address."""
        own = self.own
        to = [_namespaced(own["dns_namespace"], own["dns_pod_labels"])] + [_block(item) for item in own["dns_cidrs"]]
        self.peers[DNS] = Peer(
            DNS, tuple(to), namespaces=(own["dns_namespace"],), pod_labels=dict(own["dns_pod_labels"])
        )
        for name in self.tiers:
            if any(edge.source == name and edge.target not in (API_SERVER, NODES) for edge in self.edges):
                self._add(name, DNS, "names", ((UDP, 53), (TCP, 53)))


def _block(cidr: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr}}


def _namespaced(namespace: str, labels: Mapping[str, str] | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: namespace}}}
    if labels:
        found["podSelector"] = {"matchLabels": dict(labels)}
    return found


def port_text(ports: Ports) -> str:
    """The numbers of some ports, each once."""
    return ",".join(dict.fromkeys(str(number) for _protocol, number in ports))
