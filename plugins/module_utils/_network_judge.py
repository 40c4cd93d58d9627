# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdicts on what the probes found: one check for every edge that must be open, one for every pair that must be shut.

A refusal counts only if somebody else reached the same target in the same run: what nobody reaches may just not be there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _network_probe as probe
from ._checks import FAILED, OK, SKIPPED, Check
from ._network_plan import Pair, Plan

TAG = "network"
ENFORCEMENT = "enforcement"
POLICIES = "policies in the cluster"
NO_PYTHON = "; if its image has no Python, name one that has in verify_probe_image"
ENFORCERS = "Calico, Cilium, kube-router or the local cluster of this collection"


@dataclass(frozen=True)
class Answers:
    """What the probes left.

    Attributes:
        found: the probe's answer by source.
        silent: why a source's probe gave none.
        seconds: how long a connection was waited for.
        took: how long everything took.
    """

    found: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    silent: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 2.0
    took: float = 0.0


class Judgement:
    """The checks.

    Args:
        plan: what was tried.
        answers: what came of it.
        missing: policies of the map that the cluster lacks; None when it may not be asked.
        strange: policies of the namespace that are not of the map.
    """

    def __init__(
        self, plan: Plan, answers: Answers, missing: Sequence[str] | None, strange: Sequence[str] = ()
    ) -> None:
        self.plan, self.answers, self.missing, self.strange = plan, answers, missing, strange
        self.codes: dict[tuple[str, str], list[int]] = {}
        for source, answer in answers.found.items():
            results = [int(code) for code in answer["results"]]
            for pair in plan.attempts(source):
                count = len(plan.targets[pair.target].addresses)
                self.codes[(pair.source, pair.target)], results = results[:count], results[count:]
        #: Targets that somebody reached.
        self.reached = {target for (_source, target), codes in self.codes.items() if any(code >= 0 for code in codes)}
        shut = [pair for pair in plan.pairs if not pair.allowed and self._tried(pair)]
        self.shut = len(shut)
        self.open = sum(self._open(pair) for pair in shut)

    def checks(self) -> list[Check]:
        """Everything, the general first, then the allowed edges, then the refused ones."""
        pairs = [pair for pair in self.plan.pairs if not pair.control]
        allowed = [self._allowed(pair) for pair in pairs if pair.allowed]
        tried = [pair for pair in pairs if not pair.allowed and not self._untried(pair)]
        refused = [self._refused(pair) for pair in tried]
        return [self._policies(), self._plugin(), *self._probes(), *allowed, *refused, *self._nothing(pairs)]

    @property
    def unenforced(self) -> bool:
        """Whether nothing at all is refused."""
        return bool(self.shut) and self.open == self.shut

    # -- the general -----------------------------------------------------------------------------------------------

    def _policies(self) -> Check:
        if self.missing is None:
            return self._check(POLICIES, SKIPPED, "no permission to list NetworkPolicies")
        if self.missing:
            names = ", ".join(self.missing)
            say = "is" if len(self.missing) == 1 else "are"
            return self._check(
                POLICIES, FAILED, f"{names} {say} not there; run ansible-playbook deploy.yml --tags network"
            )
        return self._check(POLICIES, OK, "every policy of the map is there")

    def _plugin(self) -> Check:
        if not self.shut:
            return self._check(ENFORCEMENT, SKIPPED, "no forbidden connection could be tried")
        if self.unenforced:
            return self._check(
                ENFORCEMENT, FAILED, f"all {self.shut} forbidden connections were made{self._why_open()}"
            )
        settled = [float(answer["settled"]) for answer in self.answers.found.values() if answer["settled"] is not None]
        after = f"; the policies held for a new pod after at most {max(settled):.1f} s" if settled else ""
        tried = sum(len(codes) for codes in self.codes.values())
        return self._check(
            ENFORCEMENT,
            OK,
            f"{self.shut - self.open} of {self.shut} forbidden pairs refused, {tried} connections in {self.answers.took:.1f} s{after}",
        )

    def _why_open(self) -> str:
        if self.missing:
            return ", as policies are missing"
        if self.strange:
            return f", and there are policies that are not of the map, which may allow them: {', '.join(self.strange)}"
        return f": the cluster's network plugin does not enforce NetworkPolicies; use one that does ({ENFORCERS})"

    def _probes(self) -> list[Check]:
        return [
            self._check(f"probe {name}", FAILED, f"its pod {reason}{NO_PYTHON if 'exit code' in reason else ''}")
            for name, reason in sorted(self.answers.silent.items())
        ]

    def _nothing(self, pairs: Sequence[Pair]) -> list[Check]:
        """One line for each end with which no forbidden connection can be tried."""
        found: dict[str, str] = {}
        for pair in pairs:
            source, target = self.plan.sources[pair.source], self.plan.targets[pair.target]
            if pair.allowed or not self._untried(pair):
                continue
            name = f"from {source.name}" if source.missing else f"to {target.title}"
            found[f"refused edges {name}"] = source.missing or target.missing
        return [self._check(name, SKIPPED, why) for name, why in found.items()]

    def _untried(self, pair: Pair) -> bool:
        return bool(self.plan.sources[pair.source].missing or self.plan.targets[pair.target].missing)

    # -- one pair --------------------------------------------------------------------------------------------------

    def _allowed(self, pair: Pair) -> Check:
        name = f"allowed edge {pair.source} -> {self.plan.targets[pair.target].title}"
        source, target = self.plan.sources[pair.source], self.plan.targets[pair.target]
        if source.missing:
            return self._check(name, SKIPPED, source.missing)
        if target.missing:
            # A tier of ours that does not answer is a fault; somebody else's address may be nobody's business here.
            ours = bool(target.name in self.plan.sources)
            return self._check(name, FAILED if ours else SKIPPED, target.missing)
        codes = self.codes.get((pair.source, pair.target))
        if codes is None:
            return self._check(name, SKIPPED, "its probe did not answer")
        if all(code >= 0 for code in codes):
            return self._check(name, OK, f"connected in {max(codes)} ms", max(codes) / 1000)
        failed = ", ".join(
            f"{self._address(pair, index)} {self._said(code)}" for index, code in enumerate(codes) if code < 0
        )
        return self._check(name, FAILED, f"{failed}, and the map allows it; see kubectl get networkpolicies")

    def _refused(self, pair: Pair) -> Check:
        name = f"refused edge {pair.source} -> {self.plan.targets[pair.target].title}"
        if self.unenforced:
            return self._check(name, SKIPPED, "nothing at all is refused")
        codes = self.codes.get((pair.source, pair.target))
        if codes is None:
            return self._check(name, SKIPPED, "its probe did not answer")
        made = [(index, code) for index, code in enumerate(codes) if code >= 0]
        if made:
            index, code = made[0]
            return self._check(
                name,
                FAILED,
                f"{self._address(pair, index)} connected in {code} ms, and the map has no such edge; see kubectl get networkpolicies",
            )
        if pair.target not in self.reached:
            return self._check(name, SKIPPED, "nobody reached it, so a refusal proves nothing")
        silent = any(code == probe.SILENT for code in codes)
        return self._check(name, OK, f"no answer in {self.answers.seconds:g} s" if silent else "refused at once")

    def _tried(self, pair: Pair) -> bool:
        return (pair.source, pair.target) in self.codes and pair.target in self.reached

    def _open(self, pair: Pair) -> bool:
        return any(code >= 0 for code in self.codes[(pair.source, pair.target)])

    def _said(self, code: int) -> str:
        words = {probe.SILENT: f"gave no answer in {self.answers.seconds:g} s", probe.REFUSED: "refused the connection"}
        return words.get(code, "failed")

    def _address(self, pair: Pair, index: int) -> str:
        """The address behind a result; the title where only the pod itself knows it."""
        _kind, host, port = self.plan.targets[pair.target].addresses[index]
        return f"{host}:{port}" if host and not host.startswith("$") else self.plan.targets[pair.target].title

    def _check(self, name: str, state: str, evidence: str, seconds: float = 0.0) -> Check:
        return Check(name, state, evidence, seconds, TAG)
