# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiers by the names that people use: the tags of playbooks/tasks/tiers.yml, which are also the objects' component labels."""

from __future__ import annotations

from ._errors import Refused

#: Single tiers, as the label `app.kubernetes.io/component` has them.
COMPONENTS = (
    "postgres", "redis", "api", "mcp-orchestrator", "mcp-monitoring", "kube-state-metrics", "alertmanager", "prometheus", "grafana",
    "ingress", "backup",
)  # fmt: skip
#: Words for several of them.
GROUPS = {
    "mcp": ("mcp-orchestrator", "mcp-monitoring"),
    "monitoring": ("kube-state-metrics", "alertmanager", "prometheus", "grafana"),
}


def chosen(name: str) -> tuple[str, ...]:
    """The tiers that a name stands for; every tier for an empty one.

    Raises:
        Refused: there is no such tier.
    """
    if not name:
        return COMPONENTS
    if name in GROUPS:
        return GROUPS[name]
    if name in COMPONENTS:
        return (name,)
    known = ", ".join([*COMPONENTS, *(f"{group} ({' and '.join(parts)})" for group, parts in GROUPS.items())])
    raise Refused(f"twisterlab_component is {name!r}, which is no tier; write one of {known}, or leave it out for all.")
