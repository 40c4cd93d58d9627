# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.backup_job: repeat the short module and show each line as it comes."""

from __future__ import annotations

import time
from typing import Any

from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import (
    CALL_SECONDS,
    INTERVAL,
    ClusterAction,
)

#: What is the program's part of a result, and no news for a person at the end.
WORKING = ("cursor", "last", "why", "lines")


class ActionModule(ClusterAction):
    """Look on until the Job has ended, or time is up."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's last result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = {**self.own_arguments(), "holder": self.holder(task_vars)}
        begun = said = time.monotonic()
        limit = float(arguments.get("timeout") or 14400)
        found, memory = False, {"job": "", "cursor": "", "last": ""}
        while True:
            elapsed = time.monotonic() - begun
            result = self.call(
                "backup_job", {**arguments, **memory, "elapsed": elapsed, "seconds": CALL_SECONDS}, task_vars
            )
            if not memory["job"] and result.get("job"):
                found = bool(result.get("found"))
                self.say(task_vars, f"Job/{result['job']}{' was begun before; going on with it' if found else ''}")
            for line in result.get("lines") or []:
                said = time.monotonic()
                self.say(task_vars, line)
            if result.get("failed") or result.get("state") != "running":
                # Every line is on the screen, and a failure's reason is its message.
                for name in WORKING:
                    result.pop(name, None)
                return {**result, "found": found}
            memory = {name: str(result.get(name) or "") for name in memory}
            now = time.monotonic()
            if now - begun > limit:
                sentence = f"Job/{memory['job']} still runs after {limit:.0f} s: run the same command again, which goes on looking at it."
                return {"failed": True, "changed": False, "msg": sentence}
            if now - said + CALL_SECONDS + 1 > INTERVAL:
                said = now
                waits = f" (its pod {result['why']})" if result.get("why") else ""
                self.say(task_vars, f"{now - begun:3.0f} s: still {memory['last'] or 'waiting for its pod'}{waits}")
