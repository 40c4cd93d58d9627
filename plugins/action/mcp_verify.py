# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.mcp_verify: one server and era after the other, a line a step, all failures at the end."""

from __future__ import annotations

from typing import Any

from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    """Repeat the module for each pair of server and era."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's results put together."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        steps: list[dict[str, Any]] = []
        failures: list[str] = []
        summaries: list[str] = []
        turn, pairs = 0, 1
        while turn < pairs:
            result = self.call("mcp_verify", {**arguments, "turn": turn}, task_vars)
            for line in result.pop("lines", []):
                self.say(task_vars, line)
            if "pairs" not in result:
                # A probe, or the task could not begin.
                return result
            pairs = int(result.pop("pairs"))
            steps += result.get("steps") or []
            (failures if result.get("failed") else summaries).append(str(result.get("msg", "")))
            turn += 1
        if not failures:
            return {"changed": False, "msg": "\n".join(summaries), "steps": steps}
        # Every line was shown and every failure is in `msg`; a failing task need not print the rest once more.
        broken = [step for step in steps if step["state"] == "failed"]
        return {"changed": False, "failed": True, "msg": "\n".join(failures), "steps": broken}
