# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away pod that starts a new image before the tier that runs on it is stopped.

It is the tier's own pod with nothing shared: empty volumes in the place of its claims, other labels (so that no
Service, workload or budget counts it), no probes and hardly any request. It is good once every container has run for
a moment; it is bad when an image cannot be pulled, a container cannot be made, or one ends with an error.

For an update it must keep the whole contract of its image: the readiness probes stay, and the kubelet asks for the
metrics before them, as a startup probe. It is good once it is Ready.
"""

from __future__ import annotations

import copy
import hashlib

from . import _kinds as kinds
from . import _objects as objects
from ._api import Api
from ._judge import BROKEN, READY, Check, Judge, Snapshot
from ._lease import moment_of
from ._objects import Object

SETTLE_SECONDS = 3.0
#: Seconds that a new image may take until it answers with its metrics.
CONTRACT_SECONDS = 60
CONTRACT = "twisterlab.io/contract"


def needed(desired: Object, live: Object | None, contract: bool = False) -> bool:
    """Whether a change would stop the running pods of a single-copy tier for an image that has not run here yet.

    Args:
        desired: what will be applied.
        live: what is there.
        contract: tiers that replace their pods one by one count as well.
    """
    if live is None or not (stops_first(desired) or (contract and desired.get("kind") == "Deployment")):
        return False
    return bool(set(objects.images(objects.pod_spec(desired))) - set(objects.images(objects.pod_spec(live))))


def stops_first(obj: Object) -> bool:
    """Whether an update stops the old pod before the new one starts."""
    if obj.get("kind") == "StatefulSet":
        return True
    return obj.get("kind") == "Deployment" and ((obj.get("spec") or {}).get("strategy") or {}).get("type") == "Recreate"


def _scraped(desired: Object) -> Object:
    """How the metrics of a workload's pods are asked for; empty where they have none."""
    notes = objects.notes(objects.template(desired) or {})
    if notes.get("prometheus.io/scrape") != "true":
        return {}
    return {"path": notes.get("prometheus.io/path", "/metrics"), "port": int(notes.get("prometheus.io/port", "0"))}


def pod_of(desired: Object, namespace: str, contract: bool = False) -> Object:
    """The throw-away pod of a workload; with `contract` it is asked for its health and its metrics."""
    spec = copy.deepcopy(objects.pod_spec(desired))
    for volume in spec.get("volumes") or []:
        if volume.pop("persistentVolumeClaim", None) is not None:
            volume["emptyDir"] = {}
    claimed = {
        str(objects.meta(item).get("name")) for item in (desired.get("spec") or {}).get("volumeClaimTemplates") or []
    }
    spec.setdefault("volumes", []).extend({"name": name, "emptyDir": {}} for name in sorted(claimed))
    for item in objects.containers(spec):
        if item.get("restartPolicy") != "Always":
            item.pop("startupProbe", None)
        for probe in ("livenessProbe", "lifecycle", *(() if contract else ("readinessProbe",))):
            item.pop(probe, None)
        for port in item.get("ports") or []:
            port.pop("hostPort", None)
        resources = item.setdefault("resources", {})
        # It must find room beside what is running; its limits stay, for they belong to the contract of the image.
        resources["requests"] = {**(resources.get("requests") or {}), "cpu": "1m", "memory": "16Mi"}
    scraped = _scraped(desired) if contract else {}
    for item in spec.get("containers") or []:
        ports = [port.get("containerPort") for port in item.get("ports") or []]
        if scraped.get("port") in ports:
            item["startupProbe"] = {
                "httpGet": scraped,
                "periodSeconds": 1,
                "timeoutSeconds": 5,
                "failureThreshold": CONTRACT_SECONDS,
            }
    spec["restartPolicy"] = "Never"
    spec["terminationGracePeriodSeconds"] = 1
    # An interrupted run must not leave it running.
    spec["activeDeadlineSeconds"] = 900
    spec.pop("topologySpreadConstraints", None)
    images = "\n".join(objects.images(spec))
    digest = hashlib.sha256(images.encode()).hexdigest()[:8]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"twisterlab-smoke-{objects.name(desired)}-{digest}"[:63].rstrip("-"),
            "namespace": namespace,
            "labels": {
                **objects.OURS,
                objects.NAME: "twisterlab-smoke",
                objects.INSTANCE: namespace,
                objects.COMPONENT: objects.component(desired),
                objects.SMOKE: "true",
            },
            "annotations": {objects.NEEDS: "", **({CONTRACT: "true"} if contract else {})},
        },
        "spec": spec,
    }


def judge(pod: Object, judge_of: Judge, snapshot: Snapshot, clock_now: float, server_now: float) -> Check:
    """The verdict on a throw-away pod.

    Args:
        pod: as it is now.
        judge_of: with its memory.
        snapshot: this pod alone, with its events.
        clock_now: seconds of the injected clock.
        server_now: the server's time in seconds since 1970.
    """
    title = objects.title(pod)
    component = objects.component(pod)
    status = pod.get("status") or {}
    # The kubelet may know an image by another of its names; the reader knows the one that was written.
    written = {str(item.get("name")): str(item.get("image")) for item in objects.containers(pod.get("spec") or {})}
    for state in status.get("containerStatuses") or []:
        ended = (state.get("state") or {}).get("terminated") or {}
        if ended and int(ended.get("exitCode") or 0) != 0:
            why = f"the new image ends with exit code {ended.get('exitCode')}"
            return Check(
                title,
                component,
                BROKEN,
                why,
                objects.name(pod),
                str(state.get("name")),
                written.get(str(state.get("name")), ""),
            )
    if status.get("phase") == "Failed":
        return Check(title, component, BROKEN, str(status.get("message") or "failed"), objects.name(pod))
    states = status.get("containerStatuses") or []
    if len(states) == len((pod.get("spec") or {}).get("containers") or []) and states:
        begun = [moment_of(((item.get("state") or {}).get("running") or {}).get("startedAt")) for item in states]
        ended_well = [bool((item.get("state") or {}).get("terminated")) for item in states]
        running = [moment for moment in begun if moment]
        if objects.notes(pod).get(CONTRACT) and not all(item.get("ready") for item in states):
            began = all(item.get("started") for item in states)
            return Check(
                title, component, "waiting", f"does not answer its {'readiness probe' if began else 'metrics path'} yet"
            )
        if all(moment or done for moment, done in zip(begun, ended_well, strict=True)) and all(
            server_now - moment.timestamp() >= SETTLE_SECONDS for moment in running
        ):
            return Check(title, component, READY)
    clean = {
        **pod,
        "metadata": {
            **objects.meta(pod),
            "labels": {k: v for k, v in objects.labels(pod).items() if k != objects.SMOKE},
        },
    }
    found = judge_of.judge(Snapshot({"Pod": [clean]}, snapshot.events), clock_now)
    # Ready according to Kubernetes is not enough: it must have stayed up for a moment.
    return found[0] if found and found[0].state != READY else Check(title, component, "waiting", "starting")


def remove_all(api: Api, namespace: str) -> None:
    """Remove every throw-away pod, those of an interrupted run included."""
    for pod in api.list(
        kinds.POD, namespace, labels=f"{objects.SMOKE}=true,{objects.OURS_SELECTOR}", metadata_only=True
    ):
        api.delete(kinds.POD, objects.name(pod), namespace)
