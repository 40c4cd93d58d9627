# SPDX-License-Identifier: GPL-3.0-or-later
"""NetworkPolicies from the map: one that denies everything to every pod of ours, and one a tier that allows its edges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import _objects as objects
from ._edges import Edge, Map, Ports

DEFAULT_DENY = "default-deny"
BOTH = ["Ingress", "Egress"]


def policies(network: Map) -> list[dict[str, Any]]:
    """Name and spec of every policy.

    The first one selects what is ours by the two labels that make it ours, not `{}`: a namespace that was lent to us may hold
    other people's pods, and those are not ours to shut off.
    """
    deny = {"podSelector": {"matchLabels": dict(objects.OURS)}, "policyTypes": BOTH}
    found = [{"name": DEFAULT_DENY, "spec": deny}]
    for name, tier in network.tiers.items():
        spec: dict[str, Any] = {"podSelector": {"matchLabels": dict(tier.selects)}, "policyTypes": BOTH}
        ingress = _rules([edge for edge in network.edges if edge.target == name], "source", "from", network)
        egress = _rules([edge for edge in network.edges if edge.source == name], "target", "to", network)
        spec |= {"ingress": ingress} if ingress else {}
        spec |= {"egress": egress} if egress else {}
        found.append({"name": name, "spec": spec})
    return found


def _rules(edges: list[Edge], end: str, word: str, network: Map) -> list[dict[str, Any]]:
    """One rule for every set of ports, with everybody at the other end of its edges."""
    by_ports: dict[Ports, list[Mapping[str, Any]]] = {}
    for edge in edges:
        peers = by_ports.setdefault(edge.ports, [])
        peers += [item for item in _selectors(getattr(edge, end), network) if item not in peers]
    return [
        {word: peers, "ports": [{"protocol": protocol, "port": number} for protocol, number in ports]}
        for ports, peers in by_ports.items()
    ]


def _selectors(name: str, network: Map) -> list[Mapping[str, Any]]:
    if name in network.tiers:
        return [{"podSelector": {"matchLabels": dict(network.tiers[name].selects)}}]
    return list(network.peers[name].to)
