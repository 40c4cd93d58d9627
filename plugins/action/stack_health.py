# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.stack_health: repeat the short module and show what changes."""

from __future__ import annotations

from typing import Any

from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    """Look on until everything is ready, something is broken, or time is up."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The last result of the module."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        return self.look_on(self.own_arguments(), task_vars)
