# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification found: one check, its verdict and its evidence. The same shape for every tag of verify."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

OK, FAILED, SKIPPED = "ok", "failed", "skipped"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, in a few words, unique within its tag.
        state: `ok`, `failed` or `skipped`.
        evidence: what was seen, with its figure; for `failed` and `skipped` the reason.
        seconds: how long looking took.
        tag: the tag of verify it belongs to.
    """

    name: str
    state: str
    evidence: str
    seconds: float
    tag: str

    def data(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def judged(name: str, problem: str, evidence: str, seconds: float, tag: str) -> Check:
    """A check that failed when there is a problem."""
    return Check(name, FAILED if problem else OK, problem or evidence, seconds, tag)


def line(check: Mapping[str, Any]) -> str:
    """How a check is shown while it runs."""
    return f"{check['tag']} {check['name']}: {check['state']}, {check['seconds']:.2f} s: {check['evidence']}"


def failures(checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for everything that failed."""
    return [f"{check['tag']} {check['name']}: {check['evidence']}" for check in checks if check["state"] == FAILED]


def concluded(checks: list[dict[str, Any]]) -> dict[str, Any]:
    """The checks as a task's result, with a sentence for each failure or else a summary."""
    return {"changed": False, "msg": "\n".join(failures(checks)) or summary(checks), "checks": checks}


def ended(checks: list[dict[str, Any]], conclude: bool) -> dict[str, Any]:
    """The same, failed when a check is and that is to be concluded."""
    result = concluded(checks)
    return {**result, "failed": True} if conclude and failures(checks) else result


def leave(module: Any, checks: list[dict[str, Any]]) -> None:
    """End a module that has the option `conclude`."""
    result = ended(checks, module.params["conclude"])
    (module.fail_json if result.pop("failed", False) else module.exit_json)(**result)


def summary(checks: Iterable[Mapping[str, Any]]) -> str:
    """How many of what, in one sentence; what was skipped is named with its reason."""
    found = list(checks)
    states = [check["state"] for check in found]
    text = f"{len(found)} checks: {states.count(OK)} ok, {states.count(FAILED)} failed, {states.count(SKIPPED)} skipped"
    skipped = "; ".join(f"{check['name']} ({check['evidence']})" for check in found if check["state"] == SKIPPED)
    return f"{text}: {skipped}" if skipped else text
