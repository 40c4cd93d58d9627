# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.preflight: show which cluster it is before anything else is done."""

from __future__ import annotations

from typing import Any

from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    """Run the module and show its line."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        result = self.call("preflight", self.own_arguments(), task_vars)
        if result.get("line"):
            self.say(task_vars, result["line"])
        for item in result.get("unchecked") or []:
            self.say(task_vars, f"skipped: {item}")
        result.pop("line", None)
        return result
