# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.network_verify: a line a check, all failures at the end, and no pod left whatever happens."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.twisterlab.platform.plugins.module_utils import _checks
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction, held_signals

MODULE = "network_verify"


class ActionModule(ClusterAction):
    """Run the module once, and once more to remove its pods where it did not end by itself."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The verdicts; see the module's documentation."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        return self.prove(task_vars)

    def prove(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Try everything and leave no pod."""
        arguments = self.own_arguments()
        conclude = boolean(arguments.pop("conclude", True))
        result: dict[str, Any] = {}
        with held_signals() as came:
            try:
                result = self.call(MODULE, {**arguments, "conclude": False}, task_vars)
            finally:
                # A module that said its verdicts has removed its pods.
                if came or not result.get("checks"):
                    self.call(MODULE, {**arguments, "remove": True}, task_vars)
        if came:
            return {"changed": False, "failed": True, "msg": "interrupted"}
        if result.get("failed"):
            return result
        self.show_checks(task_vars, result["checks"])
        return _checks.ended(result["checks"], conclude)
