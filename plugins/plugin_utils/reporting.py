# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions share that make things on the controller: one line at a time, one sentence on failure."""

from __future__ import annotations

import getpass
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError

display = Display()


class ReportingAction(ActionBase):
    """An action that works on the controller and shows a line about everything that takes time.

    Subclasses set ARGUMENTS (an argument spec) and implement work.
    """

    ARGUMENTS: Mapping[str, Any] = {}
    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the arguments, do the work, turn its errors into one sentence."""
        variables = task_vars or {}
        super().run(tmp, variables)
        _validation, arguments = self.validate_argument_spec(argument_spec=dict(self.ARGUMENTS))
        self._host = str(variables.get("inventory_hostname", "localhost"))
        try:
            # Ansible's values carry tags; what follows wants plain ones.
            return self.work(json.loads(json.dumps(arguments)), check=bool(self._task.check_mode))
        except BuildError as error:
            raise AnsibleActionFail(str(error)) from None

    def work(self, arguments: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """Do it; returns the task's result."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Show one line at once."""
        display.display(f"  [{self._host}] {line}")

    @property
    def holder(self) -> str:
        """Who this run is, for those who wait for it."""
        return f"{_user()} (host {self._host}, process {os.getpid()})"


def _user() -> str:
    """The user's name, or the number of one that no file names, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _home() -> Path:
    """The user's home; a user without one, as in a container, keeps nothing between runs."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())


def cache_folder(value: str | None) -> Path:
    """The cache folder as a path, the user's default where none is given."""
    if value:
        return Path(value).expanduser()
    own = os.environ.get("TWISTERLAB_CACHE_DIR")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "twisterlab"
