# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod that makes the load: throw-away, without a token, found by no Service, ended by itself in any case."""

from __future__ import annotations

import copy
import inspect

from . import _autoscaling_load
from . import _objects as objects
from ._objects import Object

VERIFY = "twisterlab.io/verify"
SELECTOR = f"{VERIFY}=load,{objects.OURS_SELECTOR}"
CONTAINER = "load"
#: Seconds beside the load itself that the pod may live: for its image, and for its last words.
SPARE_SECONDS = 180
GRACE_SECONDS = 20
USER = 10001


def pod_of(
    target: Object, namespace: str, name: str, image: str, url: str, rate: float, connections: int, seconds: int
) -> Object:
    """The load's manifest.

    Args:
        target: the workload under load; its pull secrets, node selector and tolerations hold for the load too.
        namespace: where.
        name: the pod's name.
        image: an image with Python; empty is the target's own.
        url: the address to ask.
        rate: requests a second; 0 is as fast as the connections allow.
        connections: how many at once.
        seconds: how long the load lasts at most.
    """
    theirs = objects.pod_spec(target)
    arguments = [url, f"{rate:g}", str(connections), str(seconds)]
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        # An interrupted run must not leave it running.
        "activeDeadlineSeconds": seconds + SPARE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": image or image_of(target),
                "imagePullPolicy": "IfNotPresent",
                "command": ["python", "-c", inspect.getsource(_autoscaling_load), *arguments],
                "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
                "resources": {
                    "requests": {"cpu": "10m", "memory": "48Mi", "ephemeral-storage": "8Mi"},
                    "limits": {"cpu": "1", "memory": "192Mi", "ephemeral-storage": "32Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "privileged": False,
                    "readOnlyRootFilesystem": True,
                },
            }
        ],
    }
    for part in ("imagePullSecrets", "nodeSelector", "tolerations"):
        if theirs.get(part):
            spec[part] = copy.deepcopy(theirs[part])
    labels = {
        **objects.OURS,
        objects.NAME: "verify-load",
        objects.INSTANCE: namespace,
        # A throw-away pod: health does not count it, and destroy removes one that was left.
        objects.SMOKE: "true",
        VERIFY: "load",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }


def image_of(target: Object) -> str:
    """The image of the target's first container."""
    return str(objects.pod_spec(target)["containers"][0]["image"])


def trouble(pod: Object | None) -> str:
    """Why the pod makes no load (any more); empty while nothing says that it cannot."""
    if pod is None:
        return "is gone: somebody removed it"
    status = pod.get("status") or {}
    for state in status.get("containerStatuses") or []:
        waiting = (state.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "", "ContainerCreating", "PodInitializing"):
            return f"does not start: {waiting['reason']}: {waiting.get('message', '')}".strip(": ")
        ended = (state.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"ended with exit code {ended['exitCode']} ({ended.get('reason', 'Error')})"
    if status.get("phase") == "Failed":
        return f"failed: {status.get('reason', '')} {status.get('message', '')}".strip(": ")
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"finds no node: {condition.get('message', '')}"
    return ""
