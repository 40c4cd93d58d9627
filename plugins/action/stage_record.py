# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.stage_record: what the module read becomes this run's stage."""

from __future__ import annotations

from typing import Any

from ansible import constants as C
from ansible_collections.twisterlab.platform.plugins.module_utils import _stage
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    """Run the module and write the stage."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result without the objects."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        result = self.call("stage_record", self.own_arguments(), task_vars)
        staged = result.pop("staged", [])
        if not result.get("failed"):
            folder = _stage.folder_of(C.DEFAULT_LOCAL_TMP, self.host(task_vars))
            _stage.clear(folder)
            for item in staged:
                _stage.write(folder, _stage.Component(**item))
            self.say(task_vars, result["msg"])
        return result
