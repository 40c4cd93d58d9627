# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks that only look share: an answer is shown to people or programs, and kept as a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.utils.display import Display
from ansible_collections.twisterlab.platform.plugins.module_utils import _specs
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import ClusterAction


def as_json(data: Any) -> str:
    """For programs, the same for the same data."""
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False)


class AnsweringAction(ClusterAction):
    """An action that shows lines and keeps their data."""

    def show(self, task_vars: dict[str, Any], lines: list[str], data: Any, arguments: dict[str, Any]) -> None:
        """Show the lines, or the data as JSON, and write the data to `dest`, but for a check run."""
        if arguments.get("format") == "json":
            Display().display(as_json(data))
        else:
            # A fleet's screens stand below each other, so each is named once.
            Display().display("\n".join([f"[{self.host(task_vars)}] {lines[0]}", *lines[1:]]))
        dest = "" if self._task.check_mode else str(arguments.get("dest") or "")
        problem = keep(Path(dest), data) if dest else ""
        if problem:
            self.say(task_vars, f"no file: {dest} cannot be written ({problem})")

    @staticmethod
    def playbooks() -> set[str]:
        """The playbooks that this collection has."""
        return {path.stem for path in (_specs.collection_root() / "playbooks").glob("*.yml")}


def keep(path: Path, data: Any) -> str:
    """Write the data as a whole or not at all; returns why it could not be written."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(as_json(data) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        return str(error.strerror)
    return ""
