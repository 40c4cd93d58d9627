# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.release: hand the stage to the module, step by step, and show what goes on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible_collections.twisterlab.platform.plugins.module_utils import _release, _stage
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction

# Only between this action and its module.
INTERNAL = ("say", "progress")


class ActionModule(ClusterAction):
    """Release what this run staged for this host."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's results put together."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        authority_file = arguments.pop("authority_file", None)
        folder = _stage.folder_of(C.DEFAULT_LOCAL_TMP, self.host(task_vars))
        arguments["staged"] = [asdict(item) for item in _stage.read(folder)]
        arguments["holder"] = self.holder(task_vars)
        result = self._steps(arguments, task_vars)
        if not result.get("failed"):
            self._tell(result, task_vars)
            if not arguments.get("give_up"):
                _stage.clear(folder)
            if authority_file and result.get("authorities") and not self._task.check_mode:
                result["authority_file"] = self._keep(authority_file, result["authorities"])
        for name in INTERNAL:
            result.pop(name, None)
        return result

    def _keep(self, target: str, authorities: dict[str, str]) -> str:
        """Write the public certificates where a person finds them."""
        path = Path(self._loader.path_dwim(target))
        text = "".join(authorities[name] for name in sorted(authorities))
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return str(path)

    def _steps(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Call the module until there is no next step."""
        packed = ""
        diff: list[Any] = []
        warnings: list[Any] = []
        calls, seconds = 0, 0.0
        while True:
            result = self.call("release", {**arguments, **({"progress": packed} if packed else {})}, task_vars)
            diff += result.get("diff") or []
            warnings += [item for item in result.get("warnings") or [] if item not in warnings]
            calls, seconds = calls + int(result.get("api_calls") or 0), seconds + float(result.get("seconds") or 0)
            if result.get("failed") or not result.get("progress"):
                break
            if result.get("say"):
                self.say(task_vars, result["say"])
            progress, next_step = _release.unpack(result["progress"])
            if not next_step:
                break
            packed = result["progress"]
            if progress.waiting:
                waited = self._await(progress.waiting, arguments, task_vars)
                if waited.get("failed"):
                    self.call("release", {**arguments, "progress": packed, "give_up": waited["msg"]}, task_vars)
                    text = f"{waited['msg']}\nThe tiers that need it were not touched. Next: mend the cause and run the same command again."
                    result = {**waited, "changed": True, "msg": text}
                    break
                progress.waiting = []
                packed = _release.pack(progress, next_step)
        if diff:
            result["diff"] = diff
        if warnings:
            result["warnings"] = warnings
        if "api_calls" in result:
            result.update(api_calls=calls, seconds=round(seconds, 3))
        return result

    def _await(self, components: list[str], arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Wait for the data tiers before the rest is applied."""
        wanted = {
            "namespace": arguments["namespace"],
            "components": components,
            "timeout": arguments.get("health_timeout", 600),
            "grace": arguments.get("health_grace", 10),
            "lease": True,
        }
        return self.look_on(wanted, task_vars)

    def _tell(self, result: dict[str, Any], task_vars: dict[str, Any]) -> None:
        """List what was (or would be) done."""
        self.tell(
            task_vars,
            [
                ("created", "would create", result.get("created")),
                ("changed", "would change", result.get("updated")),
                ("removed", "would remove", result.get("deleted")),
                ("restarted", "would restart", result.get("restarted")),
                ("taken back", "would take back", result.get("taken")),
                ("kept, though no longer rendered", "would keep, though no longer rendered", result.get("kept")),
            ],
        )
