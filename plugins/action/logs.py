# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.logs: show the lines; to follow, show what comes until it is interrupted or time is up."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.utils.display import Display
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import CALL_SECONDS, ClusterAction


class ActionModule(ClusterAction):
    """Run the module, perhaps several times, and show what it found."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result; of one that followed, the number of lines."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        begun = time.monotonic()
        result = self._show(self.call("logs", arguments, task_vars), task_vars)
        if result.get("failed") or not boolean(arguments.get("follow", False)):
            # Everything is on the screen.
            result.pop("cursors", None)
            return result
        limit, number = float(arguments.get("follow_seconds") or 0), len(result.get("lines") or [])
        # With nothing read yet there is no place to go on from, and everything is new.
        cursors = result.get("cursors") or {"": ""}
        while not limit or time.monotonic() - begun < limit:
            left = limit - (time.monotonic() - begun) if limit else CALL_SECONDS
            more = {**arguments, "cursors": cursors, "seconds": min(CALL_SECONDS, left)}
            result = self._show(self.call("logs", more, task_vars), task_vars)
            if result.get("failed"):
                return result
            cursors = result.get("cursors") or cursors
            number += len(result.get("lines") or [])
        return {"changed": False, "msg": f"{number} lines in {time.monotonic() - begun:.0f} s"}

    def _show(self, result: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        for note in result.get("notes") or []:
            self.say(task_vars, note)
        if result.get("lines"):
            Display().display("\n".join(result["lines"]))
        return result
