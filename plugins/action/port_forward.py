# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.port_forward: show the commands, or run them for a while and end them."""

from __future__ import annotations

import shlex
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _forward
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.plugin_utils.answers import AnsweringAction
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import held_signals, is_orphan


class ActionModule(AnsweringAction):
    """Run the module, show what it found, and hold the ports open when that is asked for."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result; failed when a port could not be opened or did not stay open."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        result = self.call("port_forward", arguments, task_vars)
        told = result.get("ways")
        if result.get("failed") or told is None:
            return result
        kubectl = str(result.pop("kubectl"))
        seconds = int(arguments.get("seconds") or 0)
        if not seconds or not told or self._task.check_mode:
            self.show(task_vars, _forward.screen(str(arguments.get("namespace", "twisterlab")), told), told, {})
            return result
        found = [_forward.Way(*(item[name] for name in ("service", "component", "port", "local"))) for item in told]
        try:
            with held_signals() as came, _forward.opened(shlex.split(kubectl), found) as running:
                lines = [
                    f"open for {seconds} s, or until Ctrl-C:",
                    *(f"  {way.service}  {way.address}" for way in found),
                ]
                self.show(task_vars, lines, told, {})
                ended = _forward.hold(running, seconds, lambda: bool(came) or is_orphan())
        except Refused as error:
            return {**result, "failed": True, "msg": str(error)}
        if ended:
            sentence = f"The port-forward to {', '.join(ended)} ended by itself (its pod may have gone); run the playbook again."
            return {**result, "failed": True, "msg": sentence}
        return result
