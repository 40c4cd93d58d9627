# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.history: a table, or JSON."""

from __future__ import annotations

from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _history
from ansible_collections.twisterlab.platform.plugins.plugin_utils.answers import AnsweringAction


class ActionModule(AnsweringAction):
    """Run the module and show what it found."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        result = self.call("history", arguments, task_vars)
        if result.get("failed") or "releases" not in result:
            return result
        lines = _history.screen(str(arguments.get("namespace", "twisterlab")), result["releases"])
        self.show(task_vars, lines, result["releases"], arguments)
        result["msg"] = lines[0]
        return result
