# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a deployed stack can be seen without disturbing it: one check a thing, each with its evidence. Pure but for `ask`."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from . import _objects as objects
from . import _secrets, _status
from . import _status_screen as screen
from ._checks import FAILED, OK, SKIPPED, Check, judged
from ._errors import PlatformError
from ._judge import READY, Judge, Snapshot
from ._judge import Check as Verdict
from ._lease import moment_of
from ._objects import Object, meta

TAG = "health"
#: A pod that ended so often, the last time within this time, is no healthy one though it runs just now. A first API may end while the
#: database is made.
RESTARTS, RECENT = 5, timedelta(hours=1)
#: Shorter passwords can be guessed.
SHORTEST = 12
#: What documents, compose files and examples are full of.
DEFAULTS = frozenset(
    [
        "admin",
        "administrator",
        "changeme",
        "change_me",
        "change-me",
        "default",
        "grafana",
        "letmein",
        "mysecretpassword",
        "password",
        "passw0rd",
        "postgres",
        "prometheus",
        "redis",
        "root",
        "secret",
        "secretkey",
        "secret_key",
        "supersecret",
        "test",
        "twisterlab",
        "your-secret-key",
        "your_secret_key",
    ]
)
#: Keys of the Secret that are made from others, so they repeat them; the salt is nobody's password.
_MADE = re.compile(r"url|conf$|_sql$|_previous$|^salt|_login$|login_")
_FLOATING = re.compile(r"(?::latest|/[^:@]+|^[^:@/]+)$")

#: Asks a Service's port for a path by HTTP; the status it answers with.
Ask = Callable[[str, int, str], int]


def workloads(snapshot: Snapshot, now: datetime) -> list[Check]:
    """Every workload is ready, its pods run, and none of them falls again and again."""
    verdicts = {check.title: check for check in Judge(0.0, {}).judge(snapshot, 0.0)}
    found = []
    for obj in ours(snapshot):
        title = objects.title(obj)
        pods = [pod for pod in _status.pods_of(snapshot, obj) if not meta(pod).get("deletionTimestamp")]
        ready = sum(_is_ready(pod) for pod in pods)
        restarts = sum(int(state.get("restartCount") or 0) for pod in pods for state in _states(pod))
        asleep = objects.notes(obj).get(objects.HIBERNATION) == "on"
        sleeps = "it sleeps, so nothing of it runs: ansible-playbook deploy.yml wakes it" if asleep else ""
        problem = sleeps or _reason(verdicts[title]) or _falling(pods, now)
        evidence = f"{ready} of {len(pods)} pods Running and Ready, {restarts} restarts in all"
        found.append(judged(f"workload {title}", problem, evidence, 0.0, TAG))
    return found


def _reason(verdict: Verdict | None) -> str:
    return "" if verdict is None or verdict.state == READY else f"it is {verdict.state}: {verdict.reason}"


def _states(pod: Object) -> list[Object]:
    return list((pod.get("status") or {}).get("containerStatuses") or [])


def _is_ready(pod: Object) -> bool:
    status = pod.get("status") or {}
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in status.get("conditions") or [])
    return ready and status.get("phase") == "Running"


def _falling(pods: Iterable[Object], now: datetime) -> str:
    for pod in pods:
        for state in _states(pod):
            ended = (state.get("lastState") or {}).get("terminated") or {}
            when = moment_of(ended.get("finishedAt"))
            if int(state.get("restartCount") or 0) >= RESTARTS and when and now - when < RECENT:
                return (
                    f"{objects.name(pod)}/{state.get('name')} runs, but it ended {state['restartCount']} times, the last time at {ended['finishedAt']} with exit code "
                    f"{ended.get('exitCode')}; playbooks/logs.yml shows why"
                )
    return ""


def probes(snapshot: Snapshot) -> list[Check]:
    """Kubernetes watches every container: whether it serves, and whether it lives."""
    found = []
    for obj in ours(snapshot):
        if obj.get("kind") == "Cluster" and not _status.pods_of(snapshot, obj):
            # Its operator gives them to the pods.
            found.append(Check(f"probes {objects.title(obj)}", SKIPPED, "it has no pods", 0.0, TAG))
            continue
        lacking, kinds = [], []
        for item in _status.pod_spec(snapshot, obj).get("containers") or []:
            for probe in ("readinessProbe", "livenessProbe"):
                if probe in item:
                    kinds.append(f"{item.get('name')} {probe.removesuffix('Probe')} by {_way(item[probe])}")
                else:
                    lacking.append(f"{item.get('name')} has no {probe}")
        problem = f"{'; '.join(lacking)}: nobody notices when it stops working" if lacking else ""
        found.append(judged(f"probes {objects.title(obj)}", problem, ", ".join(kinds), 0.0, TAG))
    return found


def _way(probe: Object) -> str:
    if "httpGet" in probe:
        return f"GET {probe['httpGet'].get('path', '/')}"
    return next((word for word in ("exec", "tcpSocket", "grpc") if word in probe), "?")


def ours(snapshot: Snapshot) -> list[Object]:
    """Every workload of the stack."""
    return [obj for kind in _status.WORKLOADS for obj in _status.ours(snapshot, kind)]


def images(snapshot: Snapshot) -> list[Check]:
    """Every workload runs the images that it names, each of a fixed version."""
    found = []
    for obj in ours(snapshot):
        named = {
            str(item.get("name")): str(item.get("image"))
            for item in objects.containers(_status.pod_spec(snapshot, obj))
        }
        floating = [image for image in named.values() if _FLOATING.search(image)]
        other = sorted(
            f"{objects.name(pod)} runs {item.get('image')}"
            for pod in _status.pods_of(snapshot, obj)
            if not meta(pod).get("deletionTimestamp")
            for item in objects.containers(pod.get("spec") or {})
            if str(item.get("name")) in named and str(item.get("image")) != named[str(item.get("name"))]
        )
        problem = (
            f"{floating[0]} is of no fixed version; give it a tag or a digest in twisterlab_images" if floating else ""
        )
        problem = problem or (f"{'; '.join(other)} in the place of {', '.join(named.values())}" if other else "")
        found.append(judged(f"image {objects.title(obj)}", problem, ", ".join(dict.fromkeys(named.values())), 0.0, TAG))
    return found


def volumes(snapshot: Snapshot) -> list[Check]:
    """Every volume claim is bound."""
    found = []
    for obj in _status.ours(snapshot, "PersistentVolumeClaim"):
        status = obj.get("status") or {}
        size = (status.get("capacity") or {}).get("storage", "?")
        storage = (obj.get("spec") or {}).get("storageClassName") or "no class"
        problem = "" if status.get("phase") == "Bound" else f"it is {status.get('phase') or 'not seen yet'}"
        found.append(judged(f"volume {objects.name(obj)}", problem, f"Bound, {size} of {storage}", 0.0, TAG))
    return found


def autoscalers(snapshot: Snapshot) -> list[Check]:
    """Every autoscaler has a figure for each of its metrics."""
    verdicts = {check.title: check for check in Judge(0.0, {}).judge(snapshot, 0.0)}
    found = [
        judged(
            f"autoscaler {objects.name(obj)}",
            _reason(verdicts[objects.title(obj)]),
            screen.autoscaler(_status.autoscaler(obj)),
            0.0,
            TAG,
        )
        for obj in _status.ours(snapshot, "HorizontalPodAutoscaler")
    ]
    forbidden = "HorizontalPodAutoscaler" in snapshot.unseen
    why = "no permission to list HorizontalPodAutoscalers" if forbidden else "there is none of the stack"
    return found or [Check("autoscaler", SKIPPED, why, 0.0, TAG)]


def service(obj: Object, pods: Iterable[Object], ask: Ask) -> Check:
    """A Service has ready pods, and what speaks HTTP answers.

    Args:
        obj: the Service.
        pods: of the namespace.
        ask: asks it.
    """
    name, spec = objects.name(obj), obj.get("spec") or {}
    selector = spec.get("selector") or {}
    chosen = [pod for pod in pods if selector.items() <= objects.labels(pod).items() and selector]
    ready = [pod for pod in chosen if _is_ready(pod)]
    if not ready:
        return Check(f"service {name}", FAILED, f"none of its {len(chosen)} pods is ready, so nobody answers", 0.0, TAG)
    evidence = []
    for port in spec.get("ports") or []:
        probe = _probe(ready[0], port.get("targetPort", port["port"]))
        if "httpGet" not in probe:
            told = f"the kubelet's probe ({_way(probe)}) succeeds" if probe else "no probe tells more"
            evidence.append(f"port {port['port']}: {len(ready)} ready pods, {told}")
            continue
        path = str(probe["httpGet"].get("path") or "/")
        try:
            status = ask(name, int(port["port"]), path)
        except PlatformError as error:
            return Check(f"service {name}", FAILED, str(error), 0.0, TAG)
        if status >= 500 or status == 404:
            return Check(f"service {name}", FAILED, f"port {port['port']} answers GET {path} with {status}", 0.0, TAG)
        evidence.append(f"port {port['port']}: {len(ready)} ready pods, GET {path} is answered with {status}")
    return Check(f"service {name}", OK, "; ".join(evidence), 0.0, TAG)


def _probe(pod: Object, wanted: int | str) -> Object:
    """The readiness probe of the container that has a port, when it asks that port or none; else how its metrics are read."""
    for item in (pod.get("spec") or {}).get("containers") or []:
        for port in item.get("ports") or []:
            names = {str(port.get("name")), str(port.get("containerPort"))}
            if str(wanted) not in names:
                continue
            probe = dict(item.get("readinessProbe") or {})
            asked = (probe.get("httpGet") or {}).get("port")
            if asked is None or str(asked) in names:
                return probe
            notes = objects.notes(pod)
            return (
                {"httpGet": {"path": notes.get("prometheus.io/path", "/metrics")}}
                if notes.get("prometheus.io/port") in names
                else {}
            )
    return {}


def closed(services: Iterable[Object]) -> Check:
    """No Service is open on the nodes or to the outside; that is the edge's work."""
    found = list(services)
    wide = [
        f"{objects.name(obj)} is a {obj['spec']['type']}"
        for obj in found
        if (obj.get("spec") or {}).get("type", "ClusterIP") != "ClusterIP"
    ]
    return judged("services are inside only", "; ".join(wide), f"all {len(found)} are of type ClusterIP", 0.0, TAG)


def passwords(values: Mapping[str, str]) -> Check:
    """Nothing in the Secret is empty, short, well known, or used twice.

    Args:
        values: the Secret in clear; none of it is in the evidence.
    """
    name = "secrets are of this installation"
    own = {key: value for key, value in values.items() if not _MADE.search(key) and key != _secrets.SALT_KEY}
    if not own:
        lacking = f"Secret/{_secrets.SECRET_NAME} is not there or empty, so no pod can start anew: docs/backup.md has the way back"
        return Check(name, FAILED, lacking, 0.0, TAG)
    problems = []
    for key, value in sorted(own.items()):
        if not value:
            problems.append(f"{key} is empty")
        elif value.lower().strip() in DEFAULTS or value.lower().rstrip("0123456789!") in DEFAULTS:
            problems.append(f"{key} is a well-known default")
        elif len(value) < SHORTEST:
            problems.append(f"{key} has {len(value)} characters, fewer than {SHORTEST}")
    seen: dict[str, str] = {}
    for key, value in sorted(own.items()):
        if value and value in seen:
            problems.append(f"{key} and {seen[value]} have one value")
        seen.setdefault(value, key)
    problem = (
        f"{'; '.join(problems)}: give them in twisterlab_secrets, or let playbooks/rotate_secrets.yml make new ones"
        if problems
        else ""
    )
    return judged(name, problem, f"{len(own)} keys, none of them empty, short, well known or used twice", 0.0, TAG)


def in_clear(found: Iterable[Object], values: Mapping[str, str]) -> Check:
    """No value of the Secret stands in an object that everybody may read.

    Args:
        found: ConfigMaps, workloads, Services.
        values: the Secret in clear.
    """
    chosen = {key: value for key, value in values.items() if key not in _secrets.PUBLIC and len(value) >= 8}
    if not chosen:
        return Check("secrets stand in no other object", SKIPPED, "there is no value to look for", 0.0, TAG)
    problems, number = [], 0
    for obj in found:
        number += 1
        text = "\n".join(_texts({name: part for name, part in obj.items() if name != "status"}))
        problems += [
            f"{objects.title(obj)} holds the value of {key}"
            for key, value in sorted(chosen.items())
            if _holds(text, value)
        ]
    problem = f"{'; '.join(problems)}: remove it there and rotate the key" if problems else ""
    return judged(
        "secrets stand in no other object",
        problem,
        f"{number} objects looked through for {len(chosen)} values",
        0.0,
        TAG,
    )


def _holds(text: str, value: str) -> bool:
    return value in text or base64.b64encode(value.encode()).decode() in text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def released(release: Mapping[str, Any]) -> Check:
    """The last release was healthy."""
    if not release:
        return Check("last release", SKIPPED, "none is recorded", 0.0, TAG)
    problem = "" if release.get("status") == "healthy" else f"release {screen.release(release)}"
    return judged("last release", problem, screen.release(release), 0.0, TAG)
