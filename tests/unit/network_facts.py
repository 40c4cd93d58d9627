# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts from which the map is made, as the roles give them: everything runs, and what a test changes."""

from __future__ import annotations

from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _edges, _specs

INPUTS = _specs.load_inputs(_specs.collection_root())
TIERS = (
    "postgres", "redis", "api", "mcp_orchestrator", "mcp_monitoring", "kube_state_metrics", "alertmanager", "prometheus", "grafana", "backup",
)  # fmt: skip


def network(
    without: tuple[str, ...] = (), targets: dict[str, str] | None = None, renewal: bool = False, **given: Any
) -> _edges.Map:
    """The map of a stack with these inputs, by name without `twisterlab_`."""
    merged = {
        name: _specs.merge(INPUTS[f"twisterlab_{name}"], given.get(name)) for name in (*TIERS, "network_policies")
    }
    enabled = {name: name not in without for name in TIERS} | {"renewal": renewal}
    return _edges.map_of({"namespace": "shop", "enabled": enabled, "given": merged, "targets": targets or {}})
