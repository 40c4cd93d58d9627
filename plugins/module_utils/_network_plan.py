# SPDX-License-Identifier: GPL-3.0-or-later
"""What verification tries: every pair of somebody who talks and somebody who answers, from the map and what the cluster says of addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from . import _edges as edges
from . import _network_probe as probe
from . import _objects as objects
from ._edges import Map, Tier

#: Those who are no tier: a pod of ours that the map does not name, a pod of the namespace that is not ours, the ingress.
OTHER, STRANGER = "other", "stranger"
#: Something of another namespace, which nobody may reach.
ELSEWHERE = "elsewhere"
#: The environment of every pod says where the API server is.
API_SERVER_HOST = "$KUBERNETES_SERVICE_HOST"

Address = tuple[str, str, int]


@dataclass(frozen=True)
class Target:
    """Somebody who answers.

    Attributes:
        name: in the map.
        title: with its port, as people know it.
        addresses: kind of question, host, port; each must be as wanted.
        missing: why there is nothing to try.
    """

    name: str
    title: str
    addresses: tuple[Address, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Source:
    """Somebody who talks.

    Attributes:
        name: in the map, or one of those who are in none.
        namespace: of its pod.
        labels: of its pod.
        missing: why no pod of it can be started.
    """

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True)
class Pair:
    """One attempt.

    Attributes:
        source: who talks.
        target: who should answer, or should not.
        allowed: whether the map has this edge.
        control: it only shows that the target is there; no check of its own.
    """

    source: str
    target: str
    allowed: bool
    control: bool = False


@dataclass(frozen=True)
class Elsewhere:
    """Something of another namespace.

    Attributes:
        name: how it is called.
        host: its cluster address.
        port: of its Service.
        pod_port: of its pods; 0 when it is not known.
    """

    name: str
    host: str
    port: int
    pod_port: int


@dataclass(frozen=True)
class Found:
    """What the cluster says of addresses.

    Attributes:
        services: cluster addresses by Service.
        pods: addresses of ready pods by workload.
        nodes: addresses of the nodes that run pods of ours.
        peers: addresses of the pods of peers that are known by labels.
        elsewhere: something of another namespace; None when there is nothing, or it may not be read.
        missing: why a source or target cannot be tried, by name.
    """

    services: Mapping[str, str] = field(default_factory=dict)
    pods: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    peers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    elsewhere: Elsewhere | None = None
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """All sources, all targets, and who tries whom."""

    sources: Mapping[str, Source]
    targets: Mapping[str, Target]
    pairs: tuple[Pair, ...]

    def task(self, source: str, seconds: float, settle: float) -> dict[str, object]:
        """What the probe of one source does; its answers come in the order of `attempts`."""
        targets = [
            [*address, pair.allowed]
            for pair in self.attempts(source)
            for address in self.targets[pair.target].addresses
        ]
        return {"targets": targets, "seconds": seconds, "settle": settle}

    def attempts(self, source: str) -> list[Pair]:
        """The pairs of one source for which there is an address."""
        return [pair for pair in self.pairs if pair.source == source and self.targets[pair.target].addresses]


def plan(network: Map, found: Found) -> Plan:
    """Everything that is to be tried."""
    targets = {target.name: target for target in _targets(network, found)}
    sources = {source.name: source for source in _sources(network, found)}
    allowed = {(edge.source, edge.target) for edge in network.edges}
    pairs = []
    for source in sources.values():
        for target in targets.values():
            right = (source.name, target.name) in allowed
            ours = target.name in network.tiers
            if source.name == edges.INGRESS and not ours:
                # What the ingress controller reaches besides is its own matter.
                continue
            if (
                target.name == ELSEWHERE
                and found.elsewhere
                and _in_ranges(network, source.name, found.elsewhere.pod_port)
            ):
                continue
            if not right and _by_name(target):
                # Who may not ask for addresses cannot try a name, and that is no refusal.
                continue
            # A pod that no policy of ours selects shows that what others are refused is there.
            control = source.name == STRANGER and not ours
            pairs.append(Pair(source.name, target.name, right or control, control))
    return Plan(sources, targets, tuple(pairs))


def _in_ranges(network: Map, source: str, port: int) -> bool:
    """Whether a source may reach that port somewhere by address ranges, which hold the cluster's pods too in many clusters."""
    ports = {
        number
        for edge in network.edges
        if edge.source == source and edge.target in network.peers
        for _protocol, number in edge.ports
        if any("ipBlock" in item for item in network.peers[edge.target].to)
    }
    return bool(ports) and (not port or port in ports)


def _by_name(target: Target) -> bool:
    for _kind, host, _port in target.addresses:
        if host and host != API_SERVER_HOST:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                return True
    return False


def _sources(network: Map, found: Found) -> list[Source]:
    space = network.namespace
    known = [Source(tier.name, space, tier.labels) for tier in network.tiers.values()]
    known.append(Source(OTHER, space, {**objects.OURS, objects.NAME: "verify-other", objects.INSTANCE: space}))
    known.append(Source(STRANGER, space, {objects.NAME: "verify-stranger", objects.INSTANCE: space}))
    if edges.INGRESS in network.peers:
        peer = network.peers[edges.INGRESS]
        missing = found.missing.get(edges.INGRESS, "")
        if peer.pod_labels:
            missing = "a pod with the controller's labels could be sent its traffic"
        elif not peer.namespaces:
            missing = "the controller is known by addresses only"
        known.append(
            Source(edges.INGRESS, peer.namespaces[0] if peer.namespaces else "", {objects.INSTANCE: space}, missing)
        )
    declared = [
        name for name in network.peers if name != edges.INGRESS and any(edge.source == name for edge in network.edges)
    ]
    return known + [Source(name, "", {}, "it is a caller that you declared; try it from there") for name in declared]


def _targets(network: Map, found: Found) -> list[Target]:
    known = [_tier(tier, found) for tier in network.tiers.values() if tier.port]
    known.append(Target(edges.DNS, "dns:53", ((probe.DNS, "", 53), (probe.TCP, "", 53))))
    known.append(Target(edges.API_SERVER, "kubernetes:443", ((probe.TCP, API_SERVER_HOST, 443),)))
    nodes = tuple((probe.TCP, address, edges.KUBELET_PORT) for address in found.nodes)
    known.append(
        Target(edges.NODES, f"nodes:{edges.KUBELET_PORT}", nodes, "" if nodes else "no pod of ours runs on a node yet")
    )
    if found.elsewhere:
        other = found.elsewhere
        known.append(Target(ELSEWHERE, f"{other.name}:{other.port}", ((probe.TCP, other.host, other.port),)))
    else:
        missing = found.missing.get(ELSEWHERE, "there is no Service of another namespace to try")
        known.append(Target(ELSEWHERE, "another namespace", (), missing))
    special = (edges.DNS, edges.API_SERVER, edges.NODES, edges.INGRESS)
    for edge in network.edges:
        if edge.target in network.peers and edge.target not in (*special, *(item.name for item in known)):
            known.append(_peer(network, edge, found))
    return known


def _tier(tier: Tier, found: Found) -> Target:
    service, pods = found.services.get(tier.workload), found.pods.get(tier.workload, ())
    title = f"{tier.name}:{tier.port}"
    if not pods or not service:
        return Target(tier.name, title, (), f"{tier.name} has no {'ready pod' if service else 'Service'}")
    addresses = [(probe.TCP, service, tier.port), *((probe.TCP, pod, tier.pod_port) for pod in pods)]
    return Target(tier.name, title, tuple(addresses))


def _peer(network: Map, edge: edges.Edge, found: Found) -> Target:
    peer = network.peers[edge.target]
    port = edge.ports[0][1]
    title = peer.name if peer.name.endswith(f":{port}") else f"{peer.name}:{port}"
    if peer.unknown:
        return Target(peer.name, title, (), peer.unknown)
    if peer.host:
        return Target(peer.name, title, ((probe.TCP, peer.host, port),))
    pods = found.peers.get(peer.name, ())
    missing = found.missing.get(peer.name, "there is no ready pod with these labels")
    return Target(peer.name, title, tuple((probe.TCP, address, port) for address in pods), "" if pods else missing)
