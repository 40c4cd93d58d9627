# SPDX-License-Identifier: GPL-3.0-or-later
"""The action around an autoscaler's proof: whatever ends it, the load is removed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.action import autoscaling_verify as action
from ansible_collections.twisterlab.platform.plugins.module_utils import _autoscaling_judge as judge
from ansible_collections.twisterlab.platform.plugins.module_utils._autoscaling_facts import Memory

TARGET = {"deployment": "api", "low": 2, "high": 5, "percents": {"cpu": 70}, "window": 30.0}


def answer(phase: str, created: float | None = 1.0, **rest: Any) -> dict[str, Any]:
    memory = Memory(phase=phase, created=created, target=TARGET, known=0.0, **rest).data()
    return {"memory": memory, "samples": [], "figures": [], "changes": [[1.0, phase]], "status": phase}


class Action(action.ActionModule):
    """Its module answers from a list; what it was asked and what it said is kept."""

    def __init__(self, answers: list[dict[str, Any] | Callable[[], dict[str, Any]]]) -> None:
        self.answers, self.asked, self.said = answers, [], []

    def own_arguments(self) -> dict[str, Any]:
        return dict(self.arguments)

    def call(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        self.asked.append("remove" if arguments.get("remove") else "look")
        if arguments.get("remove"):
            return {}
        found = self.answers.pop(0)
        return found() if callable(found) else found

    def say(self, task_vars: dict[str, Any], text: str) -> None:
        self.said.append(text)

    def go(self, **arguments: Any) -> dict[str, Any]:
        self.arguments = arguments
        return self.prove({})


def test_a_proof_that_is_done_has_removed_its_load_itself() -> None:
    proof = Action([answer("load"), answer("done", rest=0.5, problems={judge.LOAD: "the pod x does not start"})])
    result = proof.go(conclude=False)
    assert proof.asked == ["look", "look"]
    assert "failed" not in result and [check["state"] for check in result["checks"]][:3] == ["ok", "ok", "failed"]
    assert result["msg"] == "autoscaling load runs: the pod x does not start"


@pytest.mark.parametrize("conclude", [True, "yes", None])
def test_a_failed_check_fails_the_task(conclude: Any) -> None:
    last = answer("done", created=None, problems={judge.REST: "not at rest"})
    result = Action([last]).go(**({} if conclude is None else {"conclude": conclude}))
    assert result["failed"] is True and result["plots"] == []
    assert [check["name"] for check in result["checks"]] == [judge.REST]


def test_an_error_in_the_middle_removes_the_load() -> None:
    proof = Action([answer("load"), {"failed": True, "msg": "the server is away"}])
    assert proof.go(conclude=False)["msg"] == "the server is away"
    assert proof.asked == ["look", "look", "remove"]


def test_an_exception_removes_the_load() -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("no module")

    proof = Action([answer("load"), broken])
    with pytest.raises(RuntimeError):
        proof.go()
    assert proof.asked == ["look", "look", "remove"]


def test_a_refusal_is_a_check_for_a_report_and_a_failure_otherwise() -> None:
    refusal = {"failed": True, "refused": True, "msg": "Namespace x has no autoscaler y."}
    result = Action([dict(refusal)]).go(conclude=False)
    assert "failed" not in result
    assert [check["state"] for check in result["checks"]] == ["failed"] + ["skipped"] * 7
    assert result["msg"].endswith("Namespace x has no autoscaler y.")
    assert Action([dict(refusal)]).go()["failed"] is True


def test_check_mode_is_all_skipped() -> None:
    proof = Action([{"skipped": True, "msg": "nothing is put under load in check mode"}])
    result = proof.go()
    assert {check["state"] for check in result["checks"]} == {"skipped"}
    assert proof.asked == ["look"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_removes_the_load_and_then_ends_the_process(number: signal.Signals) -> None:
    came: list[int] = []
    before = {
        each: signal.signal(each, lambda got, _frame: came.append(got)) for each in (signal.SIGINT, signal.SIGTERM)
    }

    def interrupted() -> dict[str, Any]:
        os.kill(os.getpid(), number)
        return answer("load")

    try:
        proof = Action([answer("load"), interrupted, answer("load")])
        proof.go(conclude=False)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert proof.asked == ["look", "look", "remove"]
    # What the worker would have done at once, it does now.
    assert came == [number]
