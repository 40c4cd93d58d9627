# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.rotate_secrets: a line a step."""

from __future__ import annotations

from typing import Any

from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    """Run the module and show what it did."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        result = self.call("rotate_secrets", {**self.own_arguments(), "holder": self.holder(task_vars)}, task_vars)
        if not result.get("failed"):
            self.say(task_vars, result["msg"])
        return result
