# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.bootstrap: hand the stage to the module and list what was done."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ansible import constants as C
from ansible_collections.twisterlab.platform.plugins.module_utils import _stage
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


class ActionModule(ClusterAction):
    """Apply what this run staged for the whole cluster, and have a kubeconfig for deploys."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The module's result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        folder = _stage.folder_of(C.DEFAULT_LOCAL_TMP, self.host(task_vars))
        arguments = {**self.own_arguments(), "staged": [asdict(item) for item in _stage.read(folder)]}
        result = self.call("bootstrap", arguments, task_vars)
        if result.get("failed"):
            return result
        _stage.clear(folder)
        self.tell(
            task_vars,
            [
                ("created", "would create", result.get("created")),
                ("changed", "would change", result.get("updated")),
                ("removed", "would remove", result.get("deleted")),
            ],
        )
        if not result.get("diff"):
            result.pop("diff", None)
        return result
