# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins of the release path share: who runs, which kubeconfig, and showing progress."""

from __future__ import annotations

import contextlib
import getpass
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.twisterlab.platform.plugins.module_utils import _checks, _lease

#: Seconds between two lines about something that goes on.
INTERVAL = 15.0
#: Seconds that one call of a module looks on.
CALL_SECONDS = 8.0


@contextlib.contextmanager
def held_signals() -> Iterator[list[int]]:
    """The signals that came meanwhile; a worker would die of them at once and leave its pods."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            os.kill(os.getpid(), came[0])


def playbook_pid() -> int:
    """The process that the user started: an action runs in a fork of it, whose parent becomes another when it is killed."""
    started_by = multiprocessing.parent_process()
    return (started_by.pid if started_by else None) or os.getppid()


def is_orphan() -> bool:
    """Whether the playbook of this worker was killed."""
    return os.getppid() != playbook_pid()


class ClusterAction(ActionBase):
    """An action that runs a module of the same name, perhaps several times."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def holder(self, task_vars: dict[str, Any]) -> dict[str, str]:
        """This run: the `ansible-playbook` process and the host of the inventory."""
        user = task_vars.get("awx_user_name") or task_vars.get("tower_user_name")
        if not user:
            try:
                user = getpass.getuser()
            except (KeyError, OSError):
                user = str(os.getuid())
        pid = playbook_pid()
        found = _lease.holder_of(
            str(user), socket.gethostname(), pid, self.host(task_vars), _lease.process_started(pid)
        )
        return {"identity": found.identity, "run": found.run}

    @staticmethod
    def host(task_vars: dict[str, Any]) -> str:
        """The host of the inventory, that is the cluster."""
        return str(task_vars.get("inventory_hostname", "localhost"))

    def say(self, task_vars: dict[str, Any], text: str) -> None:
        """Show a line at once."""
        Display().display(f"[{self.host(task_vars)}] {text}")

    def tell(self, task_vars: dict[str, Any], done: list[tuple[str, str, list[str] | None]]) -> None:
        """List what was (or in check mode would be) done: the word for it, the word for a plan, titles of objects."""
        for word, planned, titles in done:
            if titles:
                self.say(task_vars, f"{planned if self._task.check_mode else word}: {', '.join(titles)}")

    def show_checks(self, task_vars: dict[str, Any], checks: Iterable[Mapping[str, Any]]) -> None:
        """Show a line a check."""
        for check in checks:
            self.say(task_vars, _checks.line(check))

    def authentication(self) -> dict[str, Any]:
        """The task's options for reaching the cluster, with a relative or vaulted kubeconfig made readable."""
        found = {
            name: self._task.args[name] for name in [*AUTH_ARG_SPEC, "cluster"] if self._task.args.get(name) is not None
        }
        for name, option in AUTH_ARG_SPEC.items():
            for alias in option.get("aliases", []):
                if self._task.args.get(alias) is not None:
                    found[name] = self._task.args[alias]
        kubeconfig = found.get("kubeconfig")
        if isinstance(kubeconfig, str) and self._connection.transport == "local":
            found["kubeconfig"] = os.pathsep.join(self._readable(part) for part in kubeconfig.split(os.pathsep))
        return found

    def _readable(self, part: str) -> str:
        path = Path(str(part)).expanduser()
        if not path.exists() and not path.is_absolute():
            path = Path(self._loader.path_dwim(str(part)))
        # A kubeconfig encrypted with the vault is decrypted into a file of this run.
        return str(self._loader.get_real_file(str(path.absolute()), decrypt=True)) if path.is_file() else str(path)

    def own_arguments(self) -> dict[str, Any]:
        """The task's options that are not about reaching the cluster."""
        aliases = {alias for option in AUTH_ARG_SPEC.values() for alias in option.get("aliases", [])}
        return {
            name: value
            for name, value in self._task.args.items()
            if name not in AUTH_ARG_SPEC and name not in aliases and name != "cluster"
        }

    def call(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run one of our modules.

        Raises:
            AnsibleActionFail: the playbook was killed; who runs it again must not meet this one's doings.
        """
        if is_orphan():
            raise AnsibleActionFail("The playbook was killed, so this worker of it does nothing any more.")
        result = self._execute_module(
            module_name=f"twisterlab.platform.{name}",
            module_args={**self.authentication(), **arguments},
            task_vars=task_vars,
        )
        # What was staged is long, and everybody has it in the templates.
        result.pop("invocation", None)
        return result

    def look_on(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Run `stack_health` until it is decided, showing every change and a line at least every 15 s.

        Returns:
            The last result of the module.
        """
        begun = time.monotonic()
        memory: dict[str, float] = {}
        shown, said = "", begun
        while True:
            result = self.call(
                "stack_health",
                {
                    **arguments,
                    "holder": self.holder(task_vars),
                    "elapsed": time.monotonic() - begun,
                    "memory": memory,
                    "shown": shown,
                    "seconds": CALL_SECONDS,
                },
                task_vars,
            )
            for seconds, text in result.get("changes") or []:
                shown, said = text, time.monotonic()
                self.say(task_vars, f"{seconds:3.0f} s: {text}")
            if result.get("failed") or result.get("state") != "waiting":
                for name in ("changes", "memory"):
                    result.pop(name, None)
                # What a person must read is in `msg`; the rest is for a program and need not fill the screen.
                chosen = [
                    check
                    for check in result.get("checks") or []
                    if not result.get("failed") or check["state"] != "ready"
                ]
                result["checks"] = [{name: value for name, value in check.items() if value} for check in chosen]
                return result
            memory = result.get("memory") or {}
            # The next call may take as long as this one did.
            if time.monotonic() - said + CALL_SECONDS + 1 > INTERVAL:
                said = time.monotonic()
                self.say(task_vars, f"{time.monotonic() - begun:3.0f} s: still {shown}")
