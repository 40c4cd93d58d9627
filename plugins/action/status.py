# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.status: one screen, or JSON."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.twisterlab.platform.plugins.module_utils import _status_screen
from ansible_collections.twisterlab.platform.plugins.plugin_utils.answers import AnsweringAction


class ActionModule(AnsweringAction):
    """Run the module and show what it found."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result, failed when the stack is not healthy and that was asked for."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        result = self.call("status", arguments, task_vars)
        data = result.get("status")
        if result.get("failed") or data is None:
            return result
        known, kubectl = self.playbooks(), str(result.pop("kubectl"))
        data["next"] = _status_screen.next_steps(data, known, kubectl)
        lines = _status_screen.screen(data, known, kubectl)
        self.show(task_vars, lines, data, arguments)
        result["msg"] = lines[0]
        if boolean(arguments.get("fail", False)) and data["state"] != "ready":
            # The screen is above; an error says once more what decided.
            told = [f"- {_status_screen.fault(item)}" for item in data["wrong"]]
            del result["status"]
            result.update(failed=True, msg="\n".join([lines[0], *told[: _status_screen.LINES]]))
        return result
