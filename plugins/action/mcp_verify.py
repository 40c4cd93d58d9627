# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.mcp_verify: one server and era after the other, a line a step, all failures at the end."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import FAILED, Check
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction

TAG = "mcp"


class ActionModule(ClusterAction):
    """Repeat the module for each pair of server and era."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's results put together."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        conclude = boolean(arguments.pop("conclude", True))
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
                return result if conclude or not result.get("failed") else self._not_begun(arguments, result)
            pairs = int(result.pop("pairs"))
            steps += result.get("steps") or []
            (failures if result.get("failed") else summaries).append(str(result.get("msg", "")))
            turn += 1
        if not failures or not conclude:
            return {
                "changed": False,
                "msg": "\n".join(failures or summaries),
                "steps": steps,
                "checks": [_check(step, arguments.get("via", "file")) for step in steps],
            }
        # Every line was shown and every failure is in `msg`; a failing task need not print the rest once more.
        broken = [step for step in steps if step["state"] == "failed"]
        return {"changed": False, "failed": True, "msg": "\n".join(failures), "steps": broken}

    @staticmethod
    def _not_begun(arguments: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        """A verification that could not begin, as a failed check."""
        name = f"the file of {arguments.get('client', 'continue')}"
        check = Check(name, FAILED, str(result.get("msg", "")), 0.0, TAG)
        return {"changed": False, "msg": check.evidence, "steps": [], "checks": [check.data()]}


def _check(step: dict[str, Any], via: str) -> dict[str, Any]:
    """A step in the shape that every verification has."""
    way = f"{step['transport']} through the Kubernetes API" if via == "api" else step["transport"]
    name = f"{step['server']} ({way}, {step['era']}): {step['step']}"
    return Check(name, step["state"], step["evidence"], step["seconds"], TAG).data()
