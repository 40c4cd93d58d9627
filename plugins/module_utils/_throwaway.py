# SPDX-License-Identifier: GPL-3.0-or-later
"""The spec of a pod that verification starts and removes: no token, restricted, ended by itself in any case."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from . import _objects as objects
from ._objects import Object

VERIFY = "twisterlab.io/verify"
USER = 10001


def spec_of(
    like: Object, name: str, image: str, command: list[str], seconds: int, grace: int, resources: Mapping[str, Any]
) -> Object:
    """The pod's spec.

    Args:
        like: a workload; its pull secrets, node selector and tolerations hold for this pod too.
        name: of the container.
        image: an image with Python; empty is the workload's own.
        command: what runs.
        seconds: how long the pod may live; an interrupted run must not leave it running.
        grace: seconds between the order to end and the end.
        resources: of the container.
    """
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "activeDeadlineSeconds": seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": name,
                "image": image or image_of(like),
                "imagePullPolicy": "IfNotPresent",
                "command": command,
                "env": [{"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
                "resources": dict(resources),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "privileged": False,
                    "readOnlyRootFilesystem": True,
                },
            }
        ],
    }
    theirs = objects.pod_spec(like)
    for part in ("imagePullSecrets", "nodeSelector", "tolerations"):
        if theirs.get(part):
            spec[part] = copy.deepcopy(theirs[part])
    return spec


def image_of(workload: Object) -> str:
    """The image of a workload's first container."""
    return str(objects.pod_spec(workload)["containers"][0]["image"])


def trouble(pod: Object | None) -> str:
    """Why the pod does not work (any more); empty while nothing says that it cannot."""
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
