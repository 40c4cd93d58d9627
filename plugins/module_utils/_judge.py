# SPDX-License-Identifier: GPL-3.0-or-later
"""Three verdicts on everything of ours: ready, waiting, broken. Pure: a snapshot and a time go in, checks come out.

What makes a thing broken at once: an image that does not exist or is denied, a configuration that cannot become a
container, an admission that refuses the pods, a deadline that has passed, a failed Job, a lost volume. A crash counts
once everything that the pod declared to need was ready before the crashed run began. An unschedulable pod or an
unbound volume counts after a grace, because Kubernetes itself may still be at it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from . import _objects as objects
from ._api import MANAGER
from ._compare import managed_time
from ._lease import moment_of
from ._objects import Object, meta

READY, WAITING, BROKEN = "ready", "waiting", "broken"
ORDER = {BROKEN: 0, WAITING: 1, READY: 2}

IMAGE_REASONS = (
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable",
    "SignatureValidationFailed",
)  # fmt: skip
CREATE_REASONS = (
    "CreateContainerError",
    "RunContainerError",
    "PostStartHookError",
    "PreStartHookError",
    "PreCreateHookError",
)
FINAL_CREATE = re.compile(
    r"executable file not found|no such file or directory|permission denied|exec format error|not a directory|is a directory"
)
PASSING = re.compile(
    r"timeout|timed out|deadline exceeded|connection refused|connection reset|temporary failure|server misbehaving|no such host|\bEOF\b"
    r"|too many requests|toomanyrequests|50[0-9] |try again|has been modified|no endpoints available|network is unreachable",
    re.IGNORECASE,
)
MOUNT_REASONS = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
# A provisioner that never answers is given longer than the grace: cloud volumes take their time.
PROVISION_SECONDS = 60.0
# The kubelet has tried for a while already when it says that a registry does not answer.
PULL_SHARE = 0.6
#: Of CloudNativePG: what is well, and what does not pass by itself.
HEALTHY_CLUSTER = "Cluster in healthy state"
BROKEN_CLUSTER = (
    "Cluster is unrecoverable and needs manual intervention",
    "Cluster has incomplete or invalid image catalog",
    "Unable to create required cluster objects",
    "Invalid cluster definition",
)
# A service is not reachable the instant its pod becomes ready.
SETTLE_SECONDS = 2


@dataclass
class Check:
    """The verdict on one object.

    Attributes:
        title: `Deployment/twisterlab-api`.
        component: its component label.
        state: ready, waiting or broken.
        reason: why, for people; empty when ready.
        pod, container, image: where to look, when a pod is the cause.
        crashed: whether the log of the container's previous run tells the cause.
        logs: its last log lines.
    """

    title: str
    component: str
    state: str
    reason: str = ""
    pod: str = ""
    container: str = ""
    image: str = ""
    crashed: bool = False
    logs: list[str] = field(default_factory=list)


@dataclass
class Snapshot:
    """What the cluster said at one moment; kinds by their names.

    Attributes:
        found: objects by kind.
        events: may be left empty when nothing is amiss.
        unseen: kinds that may not be listed, so that none is found says nothing.
    """

    found: dict[str, list[Object]]
    events: list[Object] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[Object]:
        """The objects of a kind."""
        return self.found.get(kind, [])


class Judge:
    """Judges one snapshot after the other; remembers only since when it sees what.

    Args:
        grace: seconds that a pod may be unschedulable or a volume unbound.
        memory: what the judge remembers; plain data, so that it can be handed from one process to the next.
    """

    def __init__(self, grace: float, memory: dict[str, float]) -> None:
        self.grace = grace
        self.memory = memory
        self._now = 0.0
        self._touched: set[str] = set()
        self._snapshot = Snapshot({})
        self._pods: dict[str, list[Object]] = {}
        self._events: dict[tuple[str, str], list[Object]] = {}
        self._terminating = False

    def judge(self, snapshot: Snapshot, now: float) -> list[Check]:
        """Every check, worst first.

        Args:
            snapshot: what the cluster said.
            now: seconds of the injected clock.
        """
        self._now, self._touched, self._snapshot = now, set(), snapshot
        self._pods, self._events = defaultdict(list), defaultdict(list)
        for pod in snapshot.of("Pod"):
            self._pods[str(objects.owner(pod).get("uid", ""))].append(pod)
        for event in snapshot.events:
            about = event.get("involvedObject") or {}
            self._events[(str(about.get("kind")), str(about.get("name")))].append(event)
        self._terminating = any(meta(pod).get("deletionTimestamp") for pod in snapshot.of("Pod"))
        checks = list(self._all())
        for key in set(self.memory) - self._touched:
            del self.memory[key]
        return sorted(checks, key=lambda check: (ORDER[check.state], check.title))

    def _all(self) -> Iterator[Check]:
        scaled = {
            f"{target.get('kind')}/{target.get('name')}": int((obj.get("spec") or {}).get("minReplicas") or 1)
            for obj in self._snapshot.of("HorizontalPodAutoscaler")
            for target in [(obj.get("spec") or {}).get("scaleTargetRef") or {}]
        }
        for obj in self._ours("Deployment"):
            yield self._deployment(obj, scaled.get(objects.title(obj)))
        for obj in self._ours("StatefulSet"):
            yield self._stateful_set(obj)
        for obj in self._ours("DaemonSet"):
            yield self._daemon_set(obj)
        for obj in self._ours("Cluster"):
            yield self._cluster(obj)
        for obj in self._ours("Job"):
            if not objects.owner(obj):
                yield self._job(obj)
        for obj in self._ours("PersistentVolumeClaim"):
            yield self._claim(obj)
        for obj in self._ours("HorizontalPodAutoscaler"):
            yield self._autoscaler(obj)
        for pod in self._ours("Pod"):
            if not objects.owner(pod) and objects.SMOKE not in objects.labels(pod):
                yield self._lone_pod(pod)

    def _ours(self, kind: str) -> list[Object]:
        return [obj for obj in self._snapshot.of(kind) if objects.is_ours(obj)]

    # -- memory ---------------------------------------------------------------------------------------------------

    def _lasts(self, key: str) -> float:
        """For how many seconds the judge has been seeing this."""
        self._touched.add(key)
        return self._now - self.memory.setdefault(key, self._now)

    def _after_grace(self, key: str, seconds: float | None = None) -> str:
        return BROKEN if self._lasts(key) >= (self.grace if seconds is None else seconds) else WAITING

    # -- workloads ------------------------------------------------------------------------------------------------

    def _deployment(self, obj: Object, least: int | None) -> Check:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        wanted = int(spec.get("replicas", 1))
        required = min(wanted, least) if least is not None else wanted
        if not _observed(obj):
            return self._check(obj, WAITING, "the controller has not seen the change yet")
        if not wanted:
            return self._check(obj, BROKEN, _scaled_away(obj, least or 1))
        pods = self._pods_of_newest(obj)
        available, updated = int(status.get("availableReplicas") or 0), int(status.get("updatedReplicas") or 0)
        old = max(0, int(status.get("replicas") or 0) - updated)
        # Pods that only the autoscaler wants must not break a release that has all it needs.
        enough = updated >= required and available >= required and old == 0
        if not enough:
            broken = self._worst(obj, pods)
            if broken and broken.state == BROKEN:
                return broken
            failure = _condition(obj, "ReplicaFailure")
            if failure.get("status") == "True":
                found = self._refusal(obj, str(failure.get("message") or failure.get("reason")))
                if found.state == BROKEN:
                    return found
            progress = _condition(obj, "Progressing")
            if progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded":
                why = f"no progress within {spec.get('progressDeadlineSeconds', 600)} s"
                return self._join(obj, BROKEN, why, broken)
            if failure.get("status") == "True":
                return self._check(obj, WAITING, str(failure.get("message")))
            ready = sum(1 for pod in pods if _is_ready(pod))
            why = f"{ready} of {required} pods ready" + (f", {old} of the release before still there" if old else "")
            return self._join(obj, WAITING, why, broken)
        if available < wanted:
            return self._check(obj, READY, f"{available} of the {wanted} pods that the autoscaler wants")
        return self._check(obj, READY)

    def _stateful_set(self, obj: Object) -> Check:
        spec, status = obj.get("spec") or {}, obj.get("status") or {}
        wanted = int(spec.get("replicas", 1))
        if not _observed(obj):
            return self._check(obj, WAITING, "the controller has not seen the change yet")
        if not wanted:
            return self._check(obj, BROKEN, _scaled_away(obj, 1))
        revision = status.get("updateRevision")
        pods = [pod for pod in self._pods[_uid(obj)] if not meta(pod).get("deletionTimestamp")]
        newest = [
            pod for pod in pods if not revision or objects.labels(pod).get("controller-revision-hash") == revision
        ]
        ready = sum(1 for pod in newest if _is_ready(pod))
        if ready >= wanted and len(newest) >= wanted and len(pods) == len(newest):
            return self._check(obj, READY)
        broken = self._worst(obj, newest)
        if broken and broken.state == BROKEN:
            return broken
        if len(pods) < wanted:
            refused = self._failed_create(obj)
            if refused:
                return refused
        old = [objects.name(pod) for pod in pods if pod not in newest]
        why = f"{ready} of {wanted} pods ready" + (f", {', '.join(old)} still of the release before" if old else "")
        return self._join(obj, WAITING, why, broken)

    def _daemon_set(self, obj: Object) -> Check:
        status = obj.get("status") or {}
        if not _observed(obj):
            return self._check(obj, WAITING, "the controller has not seen the change yet")
        wanted = int(status.get("desiredNumberScheduled") or 0)
        available, updated = int(status.get("numberAvailable") or 0), int(status.get("updatedNumberScheduled") or 0)
        if available >= wanted and updated >= wanted:
            return self._check(obj, READY)
        generation = objects.notes(obj).get("deprecated.daemonset.template.generation")
        pods = [
            pod
            for pod in self._pods[_uid(obj)]
            if not generation or objects.labels(pod).get("pod-template-generation") in (None, generation)
        ]
        broken = self._worst(obj, pods)
        if broken and broken.state == BROKEN:
            return broken
        refused = self._failed_create(obj) if len(pods) < wanted else None
        return refused or self._join(obj, WAITING, f"{min(available, updated)} of {wanted} nodes ready", broken)

    def _cluster(self, obj: Object) -> Check:
        """Postgres as CloudNativePG runs it; the phase is in its operator's words."""
        if objects.notes(obj).get(objects.HIBERNATION) == "on":
            return self._check(obj, READY, "it sleeps, its volumes stay")
        wanted, status = int((obj.get("spec") or {}).get("instances") or 1), obj.get("status") or {}
        phase, ready = str(status.get("phase") or ""), ready_instances(obj, self._pods[_uid(obj)])
        # What it says may be of before a change; an image is the change that is known by its pods.
        image = (obj.get("spec") or {}).get("imageName")
        old = sorted(
            objects.name(pod)
            for pod in self._pods[_uid(obj)]
            for item in (pod.get("spec") or {}).get("containers") or []
            if item.get("name") == "postgres" and item.get("image") != image
        )
        why = f"{ready} of {wanted} instances ready" + (
            f", {', '.join(old)} still of the release before" if old else ""
        )
        if not phase:
            return self._check(obj, WAITING, "the operator CloudNativePG has not seen it yet")
        if phase == HEALTHY_CLUSTER and ready >= wanted and not old:
            return self._check(obj, READY)
        why += "" if phase == HEALTHY_CLUSTER else f"; {phase}: {status.get('phaseReason') or 'no reason is told'}"
        # The pods that make and copy the data are their Jobs', so by the operator's label.
        pods = [pod for pod in self._snapshot.of("Pod") if objects.is_instance(pod)]
        broken = self._worst(obj, pods)
        if broken and broken.state == BROKEN:
            return broken
        if phase in BROKEN_CLUSTER:
            return self._join(obj, self._after_grace(f"cluster/{_uid(obj)}"), why, broken)
        return self._join(obj, WAITING, why, broken)

    def _job(self, obj: Object) -> Check:
        failed = _condition(obj, "Failed")
        pods = self._pods[_uid(obj)]
        if failed.get("status") == "True":
            check = self._check(obj, BROKEN, f"failed: {failed.get('message') or failed.get('reason')}")
            last = max(pods, key=lambda pod: str(meta(pod).get("creationTimestamp", "")), default=None)
            if last:
                check.pod = objects.name(last)
                names = list(objects.containers(last.get("spec") or {}))
                check.container, check.image = str(names[-1].get("name", "")), str(names[-1].get("image", ""))
            return check
        if _condition(obj, "Complete").get("status") == "True" or (obj.get("spec") or {}).get("suspend"):
            return self._check(obj, READY)
        broken = self._worst(
            obj, [pod for pod in pods if (pod.get("status") or {}).get("phase") in ("Pending", "Running")]
        )
        if broken and broken.state == BROKEN:
            return broken
        refused = self._failed_create(obj) if not pods else None
        return refused or self._join(obj, WAITING, "not finished yet", broken)

    def _lone_pod(self, pod: Object) -> Check:
        if (pod.get("status") or {}).get("phase") == "Succeeded" or _is_ready(pod):
            return self._check(pod, READY)
        found = self._worst(pod, [pod])
        return found or self._check(pod, WAITING, "not ready yet")

    def _pods_of_newest(self, obj: Object) -> list[Object]:
        """The pods of a Deployment's newest ReplicaSet; those of older ones are not judged."""
        mine = [item for item in self._snapshot.of("ReplicaSet") if objects.owner(item).get("uid") == _uid(obj)]
        newest = max(mine, key=_revision, default=None)
        return self._pods[_uid(newest)] if newest else []

    # -- claims and autoscalers -------------------------------------------------------------------------------------

    def _claim(self, obj: Object) -> Check:
        phase = (obj.get("status") or {}).get("phase", "Pending")
        if meta(obj).get("deletionTimestamp"):
            return self._check(obj, BROKEN, "is being deleted while it is needed")
        if phase == "Bound":
            return self._check(obj, READY)
        if phase == "Lost":
            return self._check(obj, BROKEN, "its volume is lost")
        event = self._event(
            obj,
            (
                "ProvisioningFailed",
                "FailedBinding",
                "WaitForFirstConsumer",
                "ExternalProvisioning",
                "WaitForPodScheduled",
            ),
        )
        reason, message = (
            (str(event.get("reason")), str(event.get("message"))) if event else ("", "not bound to a volume yet")
        )
        key = f"claim/{_uid(obj)}"
        if reason in ("ProvisioningFailed", "FailedBinding"):
            return self._check(obj, self._after_grace(key + "/failed"), f"not bound: {message}")
        used = any(objects.name(obj) in objects.claim_names(pod.get("spec") or {}) for pod in self._snapshot.of("Pod"))
        if reason == "WaitForFirstConsumer" and not used:
            return self._check(obj, READY, "bound when its first pod comes")
        return self._check(
            obj, self._after_grace(key + "/slow", max(self.grace, PROVISION_SECONDS)), f"not bound: {message}"
        )

    def _autoscaler(self, obj: Object) -> Check:
        active, able = _condition(obj, "ScalingActive"), _condition(obj, "AbleToScale")
        if able.get("status") == "False" and able.get("reason") == "FailedGetScale":
            return self._check(obj, self._after_grace(f"scale/{_uid(obj)}"), str(able.get("message")))
        if active.get("reason") == "ScalingDisabled":
            return self._check(obj, READY, "its workload has no replicas")
        message = str(active.get("message") or "not seen by its controller")
        if active.get("status") != "True":
            if "could not find the requested resource" in message:
                why = f"{message}; install metrics-server"
                return self._check(
                    obj, self._after_grace(f"metrics/{_uid(obj)}", max(self.grace, PROVISION_SECONDS)), why
                )
            return self._check(obj, WAITING, f"has no figures yet ({brief(message, 90)})")
        missing = _missing_metrics(obj)
        if missing:
            return self._check(obj, WAITING, f"has no figure yet for {', '.join(missing)}")
        return self._check(obj, READY)

    # -- pods -------------------------------------------------------------------------------------------------------

    def _worst(self, workload: Object, pods: list[Object]) -> Check | None:
        """The worst that the workload's pods say; None when none of them is amiss."""
        found = [check for pod in pods for check in [self._pod(workload, pod)] if check and check.state != READY]
        return min(found, key=lambda check: (ORDER[check.state], not check.image), default=None)

    def _pod(self, workload: Object, pod: Object) -> Check | None:
        status = pod.get("status") or {}
        phase = status.get("phase")
        if meta(pod).get("deletionTimestamp") or phase == "Succeeded":
            return None
        if phase == "Failed" and workload.get("kind") in ("Deployment", "StatefulSet", "DaemonSet", "Cluster"):
            # Evicted and the like: its controller makes another one.
            return None
        scheduled = _condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            return self._unscheduled(workload, pod, scheduled)
        for state in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            found = self._container(workload, pod, state)
            if found:
                return found
        if _is_ready(pod):
            return None
        return self._unready(workload, pod)

    def _unscheduled(self, workload: Object, pod: Object, scheduled: Object) -> Check:
        if scheduled.get("reason") == "SchedulingGated":
            return self._on_pod(workload, pod, WAITING, "held back by a scheduling gate")
        message = str(scheduled.get("message") or "no node takes it")
        state = self._after_grace(f"unschedulable/{_uid(pod)}")
        if self._event(pod, ("TriggeredScaleUp",)):
            state, message = WAITING, f"the cluster is adding a node ({message})"
        elif self._terminating and state == BROKEN:
            # What an ending pod holds is free in a moment.
            state = WAITING
        return self._on_pod(workload, pod, state, f"Unschedulable: {message}")

    def _container(self, workload: Object, pod: Object, state: Object) -> Check | None:
        waiting = (state.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        key = f"{_uid(pod)}/{state.get('name')}"
        if reason in IMAGE_REASONS:
            final = reason == "InvalidImageName" or not PASSING.search(message)
            verdict = BROKEN if final else self._after_grace(f"pull/{key}", self.grace * PULL_SHARE)
            return self._on_pod(workload, pod, verdict, f"{reason}: {brief(message)}", state)
        if reason == "CreateContainerConfigError":
            return self._on_pod(workload, pod, BROKEN, f"{reason}: {brief(message)}", state)
        if reason in CREATE_REASONS:
            verdict = BROKEN if FINAL_CREATE.search(message) else self._after_grace(f"create/{key}")
            return self._on_pod(workload, pod, verdict, f"{reason}: {brief(message)}", state)
        ended = (state.get("state") or {}).get("terminated") or {}
        if reason == "CrashLoopBackOff" or ended:
            return self._crash(workload, pod, state, ended)
        return None

    def _crash(self, workload: Object, pod: Object, state: Object, ended: Object) -> Check | None:
        """A container that ended; the kubelet shows it as ended or as backing off, as its loop happens to stand."""
        last = ended or (state.get("lastState") or {}).get("terminated") or {}
        begins = {str(item.get("name")) for item in (pod.get("spec") or {}).get("initContainers") or []}
        once = (pod.get("spec") or {}).get("restartPolicy", "Always") != "Always" or str(state.get("name")) in begins
        if ended and once and int(ended.get("exitCode") or 0) == 0:
            return None
        restarts = int(state.get("restartCount") or 0)
        crashed = not ended
        if (ended and restarts < 1) or workload.get("kind") == "Job":
            # Once may be chance, and a Job counts its failures itself.
            return self._on_pod(workload, pod, WAITING, _ended(last), state, crashed)
        why = f"CrashLoopBackOff: {_ended(last)}, {_restarts(restarts)}"
        begun = moment_of(last.get("startedAt"))
        for need in objects.needs(workload):
            since = self._available_since(need)
            if since is None:
                return self._on_pod(
                    workload, pod, WAITING, f"{why}; it needs {need}, which is not ready yet", state, crashed
                )
            if begun and begun < since + timedelta(seconds=SETTLE_SECONDS):
                return self._on_pod(
                    workload, pod, WAITING, f"{why}; that run began before {need} was ready", state, crashed
                )
        return self._on_pod(workload, pod, BROKEN, why, state, crashed)

    def _available_since(self, component: str) -> datetime | None:
        """Since when every workload of a component serves; None while one does not. The distant past when it has none."""
        times = [datetime.fromisoformat("1970-01-01T00:00:00+00:00")]
        for kind in ("Deployment", "StatefulSet", "Cluster"):
            for obj in self._ours(kind):
                if objects.component(obj) != component or int((obj.get("spec") or {}).get("replicas", 1)) == 0:
                    continue
                owners = {_uid(obj)} | {
                    _uid(item)
                    for item in self._snapshot.of("ReplicaSet")
                    if objects.owner(item).get("uid") == _uid(obj)
                }
                since = [
                    moment
                    for uid in owners
                    for pod in self._pods.get(uid, [])
                    if _is_ready(pod) and not meta(pod).get("deletionTimestamp")
                    for moment in [moment_of(_condition(pod, "Ready").get("lastTransitionTime"))]
                    if moment
                ]
                if not since:
                    return None
                times.append(min(since))
        return max(times)

    def _unready(self, workload: Object, pod: Object) -> Check:
        status = pod.get("status") or {}
        mount = self._event(pod, MOUNT_REASONS)
        if mount and not any("running" in (item.get("state") or {}) for item in status.get("containerStatuses") or []):
            message = str(mount.get("message"))
            final = "not found" in message and self._after_grace(f"mount/{_uid(pod)}") == BROKEN
            return self._on_pod(workload, pod, BROKEN if final else WAITING, f"{mount.get('reason')}: {brief(message)}")
        for state in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            waiting = (state.get("state") or {}).get("waiting") or {}
            running = "running" in (state.get("state") or {})
            if waiting.get("reason"):
                return self._on_pod(workload, pod, WAITING, str(waiting["reason"]), state)
            if running and not state.get("ready"):
                probe = self._event(pod, ("Unhealthy",))
                why = brief(str(probe.get("message"))) if probe else "its probes have not succeeded yet"
                restarts = int(state.get("restartCount") or 0)
                why += f" ({_restarts(restarts)})" if restarts else ""
                return self._on_pod(workload, pod, WAITING, why, state, crashed=False)
        return self._on_pod(workload, pod, WAITING, "starting")

    # -- events -----------------------------------------------------------------------------------------------------

    def _event(self, obj: Object, reasons: tuple[str, ...]) -> Object | None:
        """The newest event of an object among the given reasons."""
        found = [
            event
            for event in self._events.get((str(obj.get("kind")), objects.name(obj)), [])
            if event.get("reason") in reasons
            and (event.get("involvedObject") or {}).get("uid") in (None, "", _uid(obj))
        ]
        return max(found, key=event_time, default=None)

    def _failed_create(self, obj: Object) -> Check | None:
        event = self._event(obj, ("FailedCreate",))
        if event is None or event_time(event) < managed_time(obj, MANAGER):
            return None
        return self._refusal(obj, str(event.get("message")))

    def _refusal(self, obj: Object, message: str) -> Check:
        passing = PASSING.search(message) or ("exceeded quota" in message and self._terminating)
        state = self._after_grace(f"refused/{_uid(obj)}") if passing else BROKEN
        return self._check(obj, state, f"its pods cannot be made: {brief(message)}")

    # -- shaping ----------------------------------------------------------------------------------------------------

    def _check(self, obj: Object, state: str, reason: str = "") -> Check:
        return Check(objects.title(obj), objects.component(obj), state, reason)

    def _join(self, obj: Object, state: str, why: str, pod: Check | None) -> Check:
        """A verdict on a workload with the state of its worst pod beside it."""
        if pod is None:
            return self._check(obj, state, why)
        return Check(
            pod.title, pod.component, state, f"{why}; {pod.reason}", pod.pod, pod.container, pod.image, pod.crashed
        )

    def _on_pod(
        self,
        workload: Object,
        pod: Object,
        state: str,
        reason: str,
        container: Object | None = None,
        crashed: bool = False,
    ) -> Check:
        check = Check(
            objects.title(workload), objects.component(workload), state, reason, pod=objects.name(pod), crashed=crashed
        )
        if container:
            check.container = str(container.get("name", ""))
            written = {
                str(item.get("name")): str(item.get("image")) for item in objects.containers(pod.get("spec") or {})
            }
            check.image = written.get(check.container, str(container.get("image", "")))
        return check


def overall(checks: list[Check]) -> str:
    """The state of all checks together."""
    return min((check.state for check in checks), key=lambda state: ORDER[state], default=READY)


def line(check: Check) -> str:
    """One check for people."""
    where = f"pod {check.pod}" if check.pod and not check.title.startswith("Pod/") else ""
    where += (
        f", container {check.container}"
        if check.container and where
        else (f"container {check.container}" if check.container else "")
    )
    where += f", image {check.image}" if check.image else ""
    return (
        f"{check.title} is {check.state}"
        + (f": {check.reason}" if check.reason else "")
        + (f" [{where}]" if where else "")
    )


def _uid(obj: Object | None) -> str:
    return str(meta(obj or {}).get("uid", ""))


def _observed(obj: Object) -> bool:
    return int((obj.get("status") or {}).get("observedGeneration") or 0) >= int(meta(obj).get("generation") or 0)


def _condition(obj: Object, kind: str) -> Object:
    for item in (obj.get("status") or {}).get("conditions") or []:
        if item.get("type") == kind:
            return item
    return {}


def _is_ready(pod: Object) -> bool:
    return _condition(pod, "Ready").get("status") == "True"


def _scaled_away(obj: Object, replicas: int) -> str:
    """No template has 0 replicas, so somebody did it, and a release does not give an autoscaler's workload its number back."""
    where = meta(obj).get("namespace") or "default"
    return f"it is scaled to 0, so nothing of it runs: kubectl -n {where} scale {objects.title(obj).lower()} --replicas={replicas}"


def ready_instances(cluster: Object, pods: list[Object]) -> int:
    """The instances of a Cluster that serve; what its operator wrote stays as it was when that is gone, so its pods must say the same."""
    told = int((cluster.get("status") or {}).get("readyInstances") or 0)
    return min(told, sum(1 for pod in pods if _is_ready(pod)))


def _revision(replica_set: Object) -> int:
    text = objects.notes(replica_set).get("deployment.kubernetes.io/revision", "0")
    return int(text) if text.isdigit() else 0


def event_time(event: Object) -> str:
    """When an event was last seen (RFC 3339); empty when it does not say."""
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        meta(event).get("creationTimestamp"),
    )
    return max((str(item) for item in times if item), default="")


def _restarts(number: int) -> str:
    return "1 restart" if number == 1 else f"{number} restarts"


def _ended(state: Object) -> str:
    if not state:
        return "it ended"
    reason = str(state.get("reason") or "")
    text = f"it ended with exit code {state.get('exitCode')}"
    if reason and reason not in ("Error", "Completed"):
        text += f" ({reason}{': ' + brief(str(state['message'])) if reason in ('StartError', 'ContainerCannotRun') and state.get('message') else ''})"
    return text


def brief(message: str, limit: int = 400) -> str:
    """A message on one line, cut where it is too long."""
    text = " ".join(message.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _missing_metrics(obj: Object) -> list[str]:
    """The configured metrics of an autoscaler for which it has no figure."""
    current: dict[tuple[str, str], Any] = {}
    for item in (obj.get("status") or {}).get("currentMetrics") or []:
        kind = str(item.get("type") or "")
        body = item.get(kind[:1].lower() + kind[1:]) or {}
        figure = body.get("current") or {}
        if any(figure.get(name) not in (None, "") for name in ("averageUtilization", "averageValue", "value")):
            current[(kind, _metric_name(body))] = figure
    missing = []
    for item in (obj.get("spec") or {}).get("metrics") or []:
        kind = str(item.get("type") or "")
        name = _metric_name(item.get(kind[:1].lower() + kind[1:]) or {})
        if (kind, name) not in current:
            missing.append(name or kind)
    return missing


def _metric_name(body: Object) -> str:
    return str(body.get("name") or (body.get("metric") or {}).get("name") or "")
