# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.autoscaling_verify: repeat the short module, show what changes, judge, and never leave the load."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.twisterlab.platform.plugins.module_utils import _autoscaling, _autoscaling_judge, _checks
from ansible_collections.twisterlab.platform.plugins.module_utils._autoscaling_facts import Figure, Memory, Sample
from ansible_collections.twisterlab.platform.plugins.module_utils._autoscaling_judge import Judgement
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import FAILED, Check
from ansible_collections.twisterlab.platform.plugins.plugin_utils.cluster_action import (
    CALL_SECONDS,
    INTERVAL,
    ClusterAction,
    held_signals,
)

MODULE = "autoscaling_verify"


class ActionModule(ClusterAction):
    """Look on until it is decided."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The verdicts and the pictures; see the module's documentation."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        return self.prove(task_vars)

    def prove(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Look on until it is decided, and leave no load whatever happens."""
        arguments = self.own_arguments()
        self._memory: dict[str, Any] = {}
        self._samples: list[Sample] = []
        self._figures: list[Figure] = []
        self._clean = True
        with held_signals() as came:
            try:
                return self._look_on(arguments, task_vars, came)
            finally:
                if not self._clean:
                    self.call(MODULE, {**arguments, "memory": {}, "remove": True}, task_vars)

    def _look_on(self, arguments: dict[str, Any], task_vars: dict[str, Any], came: list[int]) -> dict[str, Any]:
        """Repeat the module until it is done."""
        begun = said = time.monotonic()
        while not came:
            # Whatever ends this call, a pod that it made must not stay.
            self._clean = False
            result = self.call(MODULE, {**arguments, "memory": self._memory, "seconds": CALL_SECONDS}, task_vars)
            if result.get("skipped"):
                self._clean = True
                return {**result, "checks": _data(_autoscaling_judge.nothing(str(result["msg"]))), "plots": []}
            if result.get("refused"):
                return self._conclude(_autoscaling_judge.refused(str(result["msg"])), [], arguments, task_vars)
            if result.get("failed"):
                return result
            self._memory = result["memory"]
            self._clean = self._memory["created"] is None or self._memory["phase"] == _autoscaling.DONE
            self._samples += [Sample(**item) for item in result["samples"]]
            self._figures += [Figure(**item) for item in result["figures"]]
            for seconds, text in result["changes"]:
                said = time.monotonic()
                self.say(task_vars, f"{seconds:3.0f} s: {text}")
            if self._memory["phase"] == _autoscaling.DONE:
                break
            # The next call may take as long as this one did.
            if time.monotonic() - said + CALL_SECONDS + 1 > INTERVAL:
                said = time.monotonic()
                self.say(task_vars, f"{said - begun:3.0f} s: {result['status']}")
        if came:
            return {"changed": False, "failed": True, "msg": "interrupted"}
        verdict = Judgement(Memory.of(self._memory), self._samples, self._figures)
        return self._conclude(verdict.checks(), verdict.plots(), arguments, task_vars)

    def _conclude(
        self, checks: list[Check], plots: list[dict[str, Any]], arguments: dict[str, Any], task_vars: dict[str, Any]
    ) -> dict[str, Any]:
        """Show the verdicts, and fail when one is bad and the task wants to."""
        found = _data(checks)
        self.show_checks(task_vars, found)
        result = {**_checks.concluded(found), "plots": plots}
        if not _checks.failures(found) or not boolean(arguments.get("conclude", True)):
            return result
        # What a failing task holds fills the screen.
        return {**result, "failed": True, "checks": [check for check in found if check["state"] == FAILED], "plots": []}


def _data(checks: list[Check]) -> list[dict[str, Any]]:
    return [check.data() for check in checks]
