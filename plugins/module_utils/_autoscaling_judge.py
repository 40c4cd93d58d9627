# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on an autoscaler that was watched under load. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._autoscaling_facts import Figure, Memory, Sample, Target, percents_text
from ._checks import FAILED, OK, SKIPPED, Check

TAG = "autoscaling"
KNOWN, REST, LOAD, RISE, READY, ANSWERED, SETTLE, STEADY = (
    "figures known",
    "at rest before the load",
    "load runs",
    "replicas rise",
    "new replicas become ready",
    "no request failed",
    "replicas settle back",
    "no flapping",
)
NAMES = (KNOWN, REST, LOAD, RISE, READY, ANSWERED, SETTLE, STEADY)
#: Seconds that a figure may be old: a rise so soon after the load still answers it.
FIGURE_AGE = 60.0


def _check(name: str, state: str, seconds: float, evidence: str) -> Check:
    return Check(name, state, evidence, round(max(0.0, seconds), 1), TAG)


class Judgement:
    """All verdicts on one run.

    Args:
        memory: what the run came to.
        samples: every look, in order.
        figures: every second of the load, in order.
    """

    def __init__(self, memory: Memory, samples: Sequence[Sample], figures: Sequence[Figure]) -> None:
        self._memory, self._samples = memory, samples
        self._seconds = [figure for figure in figures if not figure.whole]
        self._target = Target(**memory.target) if memory.target else None
        self._end = samples[-1].seconds if samples else 0.0

    def checks(self) -> list[Check]:
        """The verdicts in the order of what happened."""
        return [
            self._known(),
            self._rest(),
            self._load(),
            self._rise(),
            self._ready(),
            self._answered(),
            self._settle(),
            self._steady(),
        ]

    # -- one verdict each ------------------------------------------------------------------------------------------

    def _verdict(self, name: str, needed: bool, why: str, seconds: float, evidence: str) -> Check:
        """What was found wrong, else skipped when what it needs did not happen, else well."""
        if name in self._memory.problems:
            return _check(name, FAILED, seconds, self._memory.problems[name])
        if not needed:
            return _check(name, SKIPPED, 0.0, why)
        return _check(name, OK, seconds, evidence)

    def _known(self) -> Check:
        first = next((item for item in self._samples if "cpu" in item.percents), None)
        text = percents_text(first.percents, self._aims) if first else ""
        known = self._memory.known
        return self._verdict(KNOWN, known is not None, "nothing was looked at", self._until(0.0, known), text)

    def _rest(self) -> Check:
        known, rest = self._memory.known, self._memory.rest
        text = f"{self._low} pods wanted and ready"
        return self._verdict(REST, rest is not None, "there are no figures", self._until(known, rest), text)

    def _load(self) -> Check:
        memory = self._memory
        begun = memory.begun if memory.begun is not None else memory.created
        text = f"{self._rate(0.0, float('inf')):.0f} requests/s from {memory.pod}"
        return self._verdict(
            LOAD, begun is not None, "there was no rest before", self._until(begun, memory.ended), text
        )

    def _rise(self) -> Check:
        memory = self._memory
        lasted = self._span(memory.begun, memory.rise if memory.rise is not None else memory.ended)
        evidence = f"{self._low} -> {memory.raised} within {lasted:.0f} s {self._pressure(lasted)}"
        if memory.begun is not None and memory.rise is None:
            advice = (
                "raise verify_load_rate (0 is as fast as the connections allow) or verify_load_connections, "
                "or name a path that costs more in verify_load_path"
            )
            if memory.told:
                advice = f"the autoscaler says {memory.told}"
            return _check(
                RISE,
                FAILED,
                lasted,
                f"still {self._low} after {lasted:.0f} s {self._pressure(lasted)}; {advice}",
            )
        return self._verdict(RISE, memory.rise is not None, "there was no load", lasted, evidence)

    def _ready(self) -> Check:
        memory = self._memory
        until = memory.ready if memory.ready is not None else memory.ended
        lasted = self._span(memory.rise, until)
        evidence = f"{memory.raised} of {memory.raised} ready {lasted:.0f} s after they were wanted, under load for {self._span(memory.ready, memory.ended):.0f} s more"
        if memory.rise is not None and memory.ready is None:
            most = max((item.ready for item in self._samples), default=0)
            return _check(
                READY,
                FAILED,
                lasted,
                f"{most} of {memory.raised} ready {lasted:.0f} s after they were wanted; see kubectl get pods and their events",
            )
        return self._verdict(READY, memory.rise is not None, "the replicas did not rise", lasted, evidence)

    def _answered(self) -> Check:
        memory = self._memory
        total = memory.whole.get("requests") or sum(item.requests for item in self._seconds)
        failed = memory.whole.get("failed") or sum(item.failed for item in self._seconds)
        error = memory.whole.get("error") or next((item.error for item in self._seconds if item.error), "")
        lasted = self._span(memory.begun, memory.ended)
        if failed:
            return _check(ANSWERED, FAILED, lasted, f"{failed} of {total} requests failed, the first with {error}")
        p50, p95 = memory.whole.get("p50"), memory.whole.get("p95")
        evidence = f"{total} requests, none failed"
        if p95 is not None:
            evidence += f", half within {p50:g} ms, 95 % within {p95:g} ms"
        return self._verdict(ANSWERED, bool(total), "there was no load", lasted, evidence)

    def _settle(self) -> Check:
        memory = self._memory
        until = memory.settled if memory.settled is not None else self._end
        lasted = self._span(memory.ended, until)
        evidence = f"{memory.peak} -> {self._low}, {lasted:.0f} s after the load ended"
        if memory.rise is not None and memory.ended is not None and memory.settled is None:
            last = self._samples[-1]
            return _check(
                SETTLE,
                FAILED,
                lasted,
                f"still {last.desired} {lasted:.0f} s after the load ended with {percents_text(last.percents, self._aims)}; "
                + (self._held_by(last) or "something else loads the pods"),
            )
        return self._verdict(SETTLE, memory.rise is not None, "the replicas did not rise", lasted, evidence)

    def _held_by(self, last: Sample) -> str:
        """Which figure alone keeps the pods: that many become one fewer only when their use, shared by the fewer, is below the aim."""
        for name, aim in sorted(self._aims.items()):
            most = aim * (last.desired - 1) // max(1, last.desired)
            if last.percents.get(name, 0) > most:
                return (
                    f"{name} keeps them, as {last.desired} pods become {last.desired - 1} at {most} % or less; "
                    f"raise resources.requests.{name} or {name}_percent of the tier, or end what else loads it"
                )
        return ""

    def _steady(self) -> Check:
        memory = self._memory
        if memory.begun is None or memory.ended is None or memory.rise is None:
            return self._verdict(STEADY, False, "the replicas did not rise", 0.0, "")
        turn = memory.ended + FIGURE_AGE
        sequence = [item for item in self._samples if item.seconds >= (memory.rest or 0.0)]
        numbers = _without_repetition([item.desired for item in sequence])
        lasted = self._span(memory.begun, self._end)
        shown = " -> ".join(map(str, numbers))
        for before, after in zip(sequence, sequence[1:], strict=False):
            at = after.seconds - memory.begun
            if after.desired < before.desired and after.seconds <= memory.ended:
                return _check(
                    STEADY,
                    FAILED,
                    lasted,
                    f"{shown}: fell to {after.desired} under load, {at:.0f} s after its beginning",
                )
            if after.desired > before.desired and after.seconds > turn:
                late = after.seconds - memory.ended
                return _check(
                    STEADY,
                    FAILED,
                    lasted,
                    f"{shown}: rose to {after.desired} {late:.0f} s after the load had ended",
                )
        if not _one_hill(numbers):
            return _check(STEADY, FAILED, lasted, f"{shown}: not one rise and one fall")
        return self._verdict(STEADY, True, "", lasted, shown)

    # -- numbers ---------------------------------------------------------------------------------------------------

    @property
    def _low(self) -> int:
        return self._target.low if self._target else 0

    @property
    def _aims(self) -> dict[str, int]:
        return self._target.percents if self._target else {}

    @staticmethod
    def _span(begin: float | None, end: float | None) -> float:
        return max(0.0, end - begin) if begin is not None and end is not None else 0.0

    def _until(self, begin: float | None, end: float | None) -> float:
        """Like `_span`, but what has not ended lasts until the last look."""
        return self._span(begin, self._end if end is None else end)

    def _rate(self, begin: float, end: float) -> float:
        """Requests a second between two moments of the load."""
        chosen = [item.requests for item in self._seconds if begin <= item.seconds <= end]
        return sum(chosen) / len(chosen) if chosen else 0.0

    def _pressure(self, until: float) -> str:
        """`at 96 requests/s, cpu 160 % of 70 %`: the load and the highest figure of that many seconds."""
        begun = self._memory.begun or 0.0
        seen = [
            item.percents["cpu"]
            for item in self._samples
            if "cpu" in item.percents and begun <= item.seconds <= begun + until + 0.1
        ]
        cpu = percents_text({"cpu": max(seen)}, {"cpu": self._aims.get("cpu", 0)}) if seen else "no cpu figure"
        return f"at {self._rate(0.0, until):.0f} requests/s, {cpu}"

    # -- pictures --------------------------------------------------------------------------------------------------

    def plots(self) -> list[dict[str, Any]]:
        """What a report draws; seconds are those since the load began."""
        begun = self._memory.begun or 0.0
        samples = [(round(item.seconds - begun, 1), item) for item in self._samples]
        samples = [(at, item) for at, item in samples if at >= 0]
        aim = self._aims.get("cpu", 0)
        cpu = [[at, item.percents["cpu"]] for at, item in samples if "cpu" in item.percents]
        return [
            _plot("Load", "requests/s", requests=[[item.seconds, item.requests] for item in self._seconds]),
            _plot(
                "Replicas",
                "pods",
                desired=[[at, item.desired] for at, item in samples],
                ready=[[at, item.ready] for at, item in samples],
            ),
            _plot(
                "Latency",
                "ms",
                p50=[[item.seconds, item.p50] for item in self._seconds if item.p50 is not None],
                p95=[[item.seconds, item.p95] for item in self._seconds if item.p95 is not None],
            ),
            _plot("Processor time", "% of the requests", cpu=cpu, target=[[at, aim] for at, _value in cpu]),
        ]


def _plot(title: str, unit: str, **series: list[list[Any]]) -> dict[str, Any]:
    return {
        "title": title,
        "unit": unit,
        "series": [{"name": name, "points": points} for name, points in series.items()],
    }


def _without_repetition(numbers: Sequence[int]) -> list[int]:
    return [number for place, number in enumerate(numbers) if not place or numbers[place - 1] != number]


def _one_hill(numbers: Sequence[int]) -> bool:
    """Whether the numbers rise, then fall, and that is all."""
    top = numbers.index(max(numbers)) + 1
    return list(numbers) == sorted(numbers[:top]) + sorted(numbers[top:], reverse=True)


def nothing(why: str) -> list[Check]:
    """Nothing was looked at, for a reason."""
    return [_check("the autoscaler under load", SKIPPED, 0.0, why)]


def refused(why: str) -> list[Check]:
    """The first failed for a reason that lies before any looking, the rest skipped."""
    return [
        _check(KNOWN, FAILED, 0.0, why),
        *(_check(name, SKIPPED, 0.0, "it was refused before") for name in NAMES[1:]),
    ]
