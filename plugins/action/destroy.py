# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.destroy: repeat the short module until everything is gone, and say what is left."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _destroy
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import CALL_SECONDS, ClusterAction


class ActionModule(ClusterAction):
    """Destroy, wait, report."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's results put together."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        timeout = float(arguments.get("timeout", 300))
        begun = time.monotonic()
        deleted: list[str] = []
        while True:
            result = self.call(
                "destroy", {**arguments, "holder": self.holder(task_vars), "seconds": CALL_SECONDS}, task_vars
            )
            deleted += [title for title in result.get("deleted") or [] if title not in deleted]
            if result.get("failed") or not result.get("waiting"):
                break
            spent = time.monotonic() - begun
            if spent > timeout:
                result.update(
                    failed=True,
                    msg=f"Not gone after {timeout:.0f} s: {', '.join(result['left'])}; look at their events and finalizers (kubectl describe), then run again.",
                )
                break
            self.say(task_vars, f"{spent:3.0f} s: waiting until these are gone: {', '.join(result['left'][:6])}")
        if not result.get("failed"):
            kept = [(item["object"], item["reason"]) for item in result.get("kept") or []]
            whole = _destroy.Removal(absent=bool(result.get("absent")) and not deleted, deleted=deleted, kept=kept)
            result["msg"] = _destroy.text(whole, str(arguments["namespace"]), bool(self._task.check_mode))
            self.say(task_vars, result["msg"])
        result.update(deleted=deleted, changed=bool(deleted))
        for name in ("waiting", "left"):
            result.pop(name, None)
        return result
