# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers of the playbooks that only look: shown to people or programs, kept as a file, a failure only when asked for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.action import status as action
from ansible_collections.twisterlab.platform.plugins.plugin_utils import answers

WRONG = {
    "title": "Deployment/api",
    "component": "api",
    "state": "broken",
    "reason": "CrashLoopBackOff",
    "pod": "api-1",
    "container": "",
    "crashed": True,
}


def state(*wrong: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "tiers": [],
        "autoscalers": [],
        "certificates": [],
        "events": [],
        "release": {},
        "backups": {},
        "unseen": [],
    }
    return {
        **parts,
        "namespace": "shop",
        "taken": "now",
        "ready": 1,
        "objects": 1,
        "wrong": list(wrong),
        "state": "broken" if wrong else "ready",
    }


class Action(action.ActionModule):
    """Its module answers with one state; what is displayed is kept."""

    def __init__(self, data: dict[str, Any], arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.data, self.arguments = data, arguments
        self.shown: list[str] = []
        self._task = SimpleNamespace(check_mode=False)
        monkeypatch.setattr(action.AnsweringAction, "run", lambda *_: {})
        monkeypatch.setattr(answers.Display, "display", lambda _self, text, *_: self.shown.append(text))

    def own_arguments(self) -> dict[str, Any]:
        return dict(self.arguments)

    def call(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        return {"changed": False, "status": self.data, "kubectl": "kubectl -n shop"}

    def go(self) -> dict[str, Any]:
        return self.run(None, {"inventory_hostname": "lab"})


def test_the_screen_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dest = tmp_path / "new" / "lab.json"
    looking = Action(state(), {"dest": str(dest)}, monkeypatch)
    result = looking.go()
    assert "failed" not in result
    assert looking.shown[0].startswith("[lab] Namespace shop: healthy (1 of 1 objects ready, now)\n")
    assert json.loads(dest.read_text(encoding="utf-8"))["next"] == ["ansible-playbook playbooks/verify.yml"]
    assert [path.name for path in dest.parent.iterdir()] == ["lab.json"], "nothing half written is left"


def test_a_check_run_writes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Action(state(), {"dest": str(tmp_path / "new" / "lab.json")}, monkeypatch)
    looking._task.check_mode = True
    assert "failed" not in looking.go()
    assert looking.shown
    assert not (tmp_path / "new").exists()


def test_json_is_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Action(state(WRONG), {"format": "json"}, monkeypatch)
    assert "failed" not in looking.go(), "looking succeeded"
    assert json.loads(looking.shown[0])["wrong"] == [WRONG]


@pytest.mark.parametrize(("wrong", "fails"), [((), False), ((WRONG,), True)])
def test_it_fails_when_that_is_asked_for_and_something_is_wrong(
    wrong: tuple[dict[str, Any], ...], fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Action(state(*wrong), {"fail": "yes"}, monkeypatch).go()
    assert bool(result.get("failed")) == fails
    assert ("- Deployment/api is broken: CrashLoopBackOff [pod api-1]" in result["msg"]) == fails
    # What the screen showed is not printed once more as the error's data.
    assert ("status" in result) != fails


def test_a_file_that_cannot_be_written_is_told_and_fails_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("", encoding="utf-8")
    looking = Action(state(), {"dest": str(tmp_path / "taken" / "lab.json")}, monkeypatch)
    assert "failed" not in looking.go()
    assert looking.shown[-1].startswith("[lab] no file: ")
