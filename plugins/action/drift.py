# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.drift: a line a difference."""

from __future__ import annotations

from typing import Any

from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    """Run the module and show what it found."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        result = self.call("drift", self.own_arguments(), task_vars)
        if not result.get("failed"):
            for line in [*result["lines"], *(f"not compared: {line}" for line in result["unseen"]), result["msg"]]:
                self.say(task_vars, line)
        return result
