# SPDX-License-Identifier: GPL-3.0-or-later
"""Putting an autoscaler under load and watching it, a few seconds a call; the verdict is `_autoscaling_judge`'s."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from . import _autoscaling_facts as facts
from . import _autoscaling_judge as judge
from . import _autoscaling_pod as pods
from . import _kinds as kinds
from . import _objects as objects
from . import _throwaway as throwaway
from ._api import Api, Clock
from ._autoscaling_facts import Figure, Memory, Sample, Target
from ._errors import ApiError, Refused, Unreachable
from ._objects import Object

REST, LOAD, STOP, SETTLE, DONE = "rest", "load", "stop", "settle", "done"
POLL_SECONDS = 2.0
STOP_POLL_SECONDS = 0.5
#: Seconds after which a change ends a call, so that somebody tells it.
BATCH_SECONDS = 4.0
#: Seconds that an autoscaler may be without a figure.
FIGURE_SECONDS = 90.0
#: Seconds that the load's pod may take to start.
START_SECONDS = 120.0
#: Seconds that the API server may be silent.
SILENT_SECONDS = 60.0
#: Seconds that one pod may take to go, and that the figures may lag.
POD_SECONDS, LAG_SECONDS = 60.0, 120.0
LOG_LINES = 150


@dataclass(frozen=True)
class Options:
    """What is put under which load.

    Attributes:
        namespace: where.
        autoscaler: the name of the HorizontalPodAutoscaler.
        url: the address that is asked.
        image: an image with Python; empty is that of the autoscaler's workload.
        rate: requests a second; 0 is as fast as the connections allow.
        connections: how many at once.
        load_seconds: how long the load lasts at most.
        settle_seconds: how long to wait for rest before the load.
        served_seconds: how long the new pods serve before the load ends.
    """

    namespace: str
    autoscaler: str
    url: str
    image: str = ""
    rate: float = 200.0
    connections: int = 8
    load_seconds: int = 240
    settle_seconds: float = 600.0
    served_seconds: float = 20.0


@dataclass
class Look:
    """What one call saw.

    Attributes:
        samples: every look at the autoscaler.
        figures: every second of the load that was not known before.
        changes: pairs of seconds and a line, one for each change.
        status: how things stand, in one line.
    """

    samples: list[Sample] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    changes: list[tuple[float, str]] = field(default_factory=list)
    status: str = ""


class Proof:
    """One run, continued from what the call before left.

    Args:
        api: the cluster.
        clock: the time.
        options: what is put under which load.
        memory: of the call before; a new one begins the run. It is changed in place.
        new_name: makes the pod's name.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        options: Options,
        memory: Memory,
        new_name: Callable[[], str] = lambda: f"verify-load-{secrets.token_hex(3)}",
    ) -> None:
        self._api, self._clock, self._options, self._memory = api, clock, options, memory
        self._new_name = new_name
        self._look = Look()

    def run(self, seconds: float) -> Look:
        """Look on for at most that long; `memory.phase` says whether it is done.

        Raises:
            Refused: there is nothing to see, in one sentence.
            ApiError: a right is missing.
            Unreachable: the API server has been silent for a minute.
        """
        memory, begun = self._memory, self._clock.time()
        if memory.start is None:
            memory.start = begun
            remove_all(self._api, self._options.namespace)
        while True:
            try:
                self._step()
                memory.seen = self._now()
            except Unreachable:
                # One that restarts under load is waited for.
                if self._now() - memory.seen >= SILENT_SECONDS:
                    raise
            spent = self._clock.time() - begun
            if memory.phase == DONE or spent >= seconds or (self._look.changes and spent >= BATCH_SECONDS):
                return self._look
            self._clock.sleep(STOP_POLL_SECONDS if memory.phase == STOP else POLL_SECONDS)

    def _step(self) -> None:
        {REST: self._await_rest, LOAD: self._watch_load, STOP: self._stop, SETTLE: self._watch_settling}[
            self._memory.phase
        ]()

    # -- the phases ------------------------------------------------------------------------------------------------

    def _await_rest(self) -> None:
        memory, options = self._memory, self._options
        autoscaler = self._api.get(kinds.AUTOSCALER, options.autoscaler, options.namespace)
        if autoscaler is None:
            raise Refused(
                f"Namespace {options.namespace} has no autoscaler {options.autoscaler}; deploy its tier first, or name another "
                "with the option autoscaler."
            )
        target = facts.target_of(autoscaler, options.namespace)
        memory.target = asdict(target)
        deployment = self._deployment(target)
        sample = self._sample(autoscaler, deployment)
        if "cpu" not in sample.percents:
            why = memory.told or "its controller has not looked at it yet"
            if self._now() >= FIGURE_SECONDS:
                return self._give_up(
                    judge.KNOWN,
                    f"no figure for the processor time after {self._now():.0f} s ({why}); the cluster needs metrics-server, and the pods a request for cpu",
                )
            return self._tell("figures", f"waiting for figures: {why}")
        if memory.known is None:
            memory.known = self._now()
        if not facts.at_rest(autoscaler, deployment, target.low):
            stands = self._stands(sample, target)
            if self._now() - memory.known >= options.settle_seconds:
                return self._give_up(
                    judge.REST,
                    f"not at rest after {options.settle_seconds:.0f} s: {stands}, {target.low} is the minimum; end what loads it and run again",
                )
            return self._tell(
                f"rest {sample.desired} {sample.ready}", f"waiting for rest ({target.low} pods): {stands}"
            )
        memory.rest = self._now()
        return self._start(deployment, sample, target)

    def _start(self, deployment: Object, sample: Sample, target: Target) -> None:
        memory, options = self._memory, self._options
        memory.pod = self._new_name()
        memory.created = self._now()
        pod = pods.pod_of(
            deployment,
            options.namespace,
            memory.pod,
            options.image,
            options.url,
            options.rate,
            options.connections,
            options.load_seconds,
        )
        try:
            self._api.create(pod)
        except ApiError as error:
            return self._give_up(judge.LOAD, f"the pod {memory.pod} cannot be made: {error}")
        memory.phase = LOAD
        speed = f"{options.rate:g} requests/s" if options.rate else "as fast as possible"
        return self._tell("start", f"at rest: {self._stands(sample, target)}; {memory.pod} asks {options.url}, {speed}")

    def _watch_load(self) -> None:
        memory, options, target = self._memory, self._options, Target(**self._memory.target)
        autoscaler, deployment = self._both(target)
        pod = self._api.get(kinds.POD, memory.pod, options.namespace)
        self._read_log()
        sample = self._sample(autoscaler, deployment)
        now = self._now()
        if memory.begun is None:
            return self._await_first_figure(pod, now)
        memory.peak = max(memory.peak, sample.desired)
        if memory.rise is None and sample.desired > target.low:
            memory.rise, memory.raised = now, sample.desired
        if memory.rise is not None and memory.ready is None and sample.ready >= memory.raised:
            memory.ready = now
        self._tell(f"load {sample.desired} {sample.ready}", f"{self._speed()}; {self._stands(sample, target)}")
        if (
            memory.ready is not None and now - memory.ready >= options.served_seconds
        ) or now - memory.begun >= options.load_seconds:
            return self._end_load()
        problem = throwaway.trouble(pod)
        if problem:
            memory.problems[judge.LOAD] = f"the pod {memory.pod} {problem}"
            return self._end_load()
        return None

    def _await_first_figure(self, pod: Object | None, now: float) -> None:
        memory = self._memory
        problem = throwaway.trouble(pod)
        waited = now - (memory.created or 0.0)
        # A pod that finds no node, or no image, at first may find it in a moment.
        if pod is not None and waited < START_SECONDS and "exit code" not in problem:
            return self._tell(
                f"starting {problem}", f"{memory.pod} starts" if not problem else f"{memory.pod} {problem}"
            )
        remove_all(self._api, self._options.namespace)
        return self._give_up(
            judge.LOAD,
            f"the pod {memory.pod} {problem or f'has not begun after {waited:.0f} s, or its log may not be read'}",
        )

    def _end_load(self) -> None:
        """Tell the load to end; what it says about itself is read in the next phase."""
        memory = self._memory
        memory.ended, memory.phase = self._now(), STOP
        self._api.delete(kinds.POD, memory.pod, self._options.namespace)

    def _stop(self) -> None:
        memory = self._memory
        gone = self._api.get(kinds.POD, memory.pod, self._options.namespace) is None
        self._read_log()
        if not gone and not memory.whole and self._now() - (memory.ended or 0.0) < pods.GRACE_SECONDS:
            return
        whole = memory.whole
        lasted = (memory.ended or 0.0) - (memory.begun or 0.0)
        told = f": {whole['requests']} requests, {whole['failed']} failed" if whole else ""
        memory.phase = SETTLE if memory.rise is not None else DONE
        self._tell("stop", f"the load ended after {lasted:.0f} s{told}")

    def _watch_settling(self) -> None:
        memory, target = self._memory, Target(**self._memory.target)
        autoscaler, deployment = self._both(target)
        sample = self._sample(autoscaler, deployment)
        memory.peak = max(memory.peak, sample.desired)
        now = self._now()
        self._tell(f"settle {sample.desired} {sample.ready}", self._stands(sample, target))
        if facts.at_rest(autoscaler, deployment, target.low):
            memory.settled, memory.phase = now, DONE
        elif now - (memory.ended or 0.0) >= bound(target, memory.peak):
            memory.phase = DONE

    # -- small things ----------------------------------------------------------------------------------------------

    def _now(self) -> float:
        """Seconds since the beginning of the run."""
        return self._clock.time() - (self._memory.start or 0.0)

    def _deployment(self, target: Target) -> Object:
        found = self._api.get(kinds.DEPLOYMENT, target.deployment, self._options.namespace)
        if found is None:
            raise Refused(
                f"The autoscaler {self._options.autoscaler} scales the Deployment {target.deployment}, which namespace "
                f"{self._options.namespace} does not have; deploy its tier first."
            )
        return found

    def _both(self, target: Target) -> tuple[Object, Object]:
        autoscaler = self._api.get(kinds.AUTOSCALER, self._options.autoscaler, self._options.namespace)
        if autoscaler is None:
            raise Refused(
                f"The autoscaler {self._options.autoscaler} of namespace {self._options.namespace} was removed while it was "
                "watched; deploy its tier and run again."
            )
        return autoscaler, self._deployment(target)

    def _sample(self, autoscaler: Object, deployment: Object) -> Sample:
        self._memory.told = facts.complaint_of(autoscaler)
        found = facts.sample_of(self._now(), autoscaler, deployment)
        self._look.samples.append(found)
        return found

    def _read_log(self) -> None:
        """Take the lines of the load that are new, and learn from the newest when it began."""
        memory = self._memory
        text = self._api.log(self._options.namespace, memory.pod, pods.CONTAINER, LOG_LINES, False) or ""
        found = facts.figures_of(text, memory.logged)
        for figure in found:
            if figure.whole:
                memory.whole = asdict(figure)
        if not found:
            return
        memory.logged = found[-1].seconds
        self._look.figures += found
        # A line may be read late, never early: the earliest beginning that any of them allows is the truest.
        begun = self._now() - memory.logged
        memory.begun = begun if memory.begun is None else min(memory.begun, begun)

    def _speed(self) -> str:
        last = next((item for item in reversed(self._look.figures) if not item.whole), None)
        if last is None:
            return "under load"
        failed = f", {last.failed} failed ({last.error})" if last.failed else ""
        slow = f", 95 % within {last.p95:g} ms" if last.p95 is not None else ""
        return f"{last.requests} requests/s{failed}{slow}"

    @staticmethod
    def _stands(sample: Sample, target: Target) -> str:
        return f"{sample.desired} pods wanted, {sample.ready} ready, {facts.percents_text(sample.percents, target.percents)}"

    def _tell(self, key: str, text: str) -> None:
        """Keep a line when something changed; figures alone change all the time."""
        self._look.status = text
        if key != self._memory.shown:
            self._memory.shown = key
            self._look.changes.append((round(self._now(), 1), text))

    def _give_up(self, check: str, why: str) -> None:
        self._memory.problems[check] = why
        self._memory.phase = DONE
        self._tell(f"problem {check}", f"{check}: {why}")


def options_of(params: dict[str, Any]) -> Options:
    """The options of a module's arguments.

    Raises:
        Refused: a number or the path makes no load.
    """
    for name, least in (
        ("rate", 0),
        ("connections", 1),
        ("load_seconds", 30),
        ("settle_seconds", 0),
        ("served_seconds", 0),
    ):
        if params[name] < least:
            raise Refused(f"{name} is {params[name]:g}; write a number from {least} on.")
    if not params["path"].startswith("/"):
        raise Refused(f"path is {params['path']!r}; write it with a leading slash, for example /health.")
    return Options(
        params["namespace"],
        params["autoscaler"],
        f"http://{params['service']}:{params['port']}{params['path']}",
        params["image"],
        params["rate"],
        params["connections"],
        params["load_seconds"],
        params["settle_seconds"],
        params["served_seconds"],
    )


def bound(target: Target, peak: int) -> float:
    """Seconds that the way back to the smallest number may take."""
    return target.window + POD_SECONDS * max(0, peak - target.low) + LAG_SECONDS


def remove_all(api: Api, namespace: str) -> list[str]:
    """Remove every load pod, those of an interrupted run included; their names."""
    found = [objects.name(pod) for pod in api.list(kinds.POD, namespace, labels=pods.SELECTOR, metadata_only=True)]
    for name in found:
        api.delete(kinds.POD, name, namespace)
    return found
