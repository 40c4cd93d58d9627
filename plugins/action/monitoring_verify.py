# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.monitoring_verify: one part after the other, a line a check, all failures at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.twisterlab.platform.plugins.module_utils import _checks, _monitoring, _specs
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction

DASHBOARDS = Path("roles") / "grafana" / "files" / "dashboards"


class ActionModule(ClusterAction):
    """Repeat the module for each part."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's results put together."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        arguments = self.own_arguments()
        conclude = boolean(arguments.pop("conclude", True))
        boards = self._boards(arguments.get("dashboards"))
        panels = [vars(panel) for panel in _monitoring.panels_of(boards)]
        given = {
            **arguments,
            "panels": panels,
            "boards": {str(board["uid"]): str(board["title"]) for board in boards},
            "conclude": False,
        }
        checks: list[dict[str, Any]] = []
        wanted = arguments.get("part", "all")
        for part in _monitoring.PARTS if wanted == "all" else (wanted,):
            result = self.call("monitoring_verify", {**given, "part": part}, task_vars)
            if result.get("failed"):
                return result
            self.show_checks(task_vars, result["checks"])
            checks += result["checks"]
        return _checks.ended(checks, conclude)

    def _boards(self, folder: str | None) -> list[dict[str, Any]]:
        path = Path(self._loader.path_dwim(folder)) if folder else _specs.collection_root() / DASHBOARDS
        found = []
        for file in sorted(path.glob("*.json")):
            try:
                found.append(json.loads(file.read_text(encoding="utf-8")))
            except ValueError as error:
                raise AnsibleActionFail(f"The dashboard {file} is not JSON: {error}.") from error
        if not found:
            raise AnsibleActionFail(f"There is no dashboard (*.json) in {path}.")
        return found
