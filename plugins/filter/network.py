# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that make policies, and what verification tries, from the one map of who talks to whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _edges, _policies


def _plain(value: Any) -> Any:
    """Ansible's values carry tags and are evaluated late; what follows wants plain ones."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def network_map(facts: Any) -> dict[str, Any]:
    """Return the map as plain data."""
    return _edges.map_of(_plain(facts)).data()


def network_policies(facts: Any) -> list[dict[str, Any]]:
    """Return name and spec of every policy."""
    return _policies.policies(_edges.map_of(_plain(facts)))


class FilterModule:
    """The map and its policies."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"network_map": network_map, "network_policies": network_policies}
