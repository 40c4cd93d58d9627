# SPDX-License-Identifier: GPL-3.0-or-later
"""The pods that try the edges: one with each tier's labels, and three that no tier is.

None carries `twisterlab.io/serving`, so no Service, workload or budget counts them, and policies judge them like the tier.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from . import _network_probe
from . import _objects as objects
from . import _throwaway as throwaway
from ._objects import Object

NETWORK = "network"
CONTAINER = "probe"
GRACE_SECONDS = 1


def selector(stack: str) -> str:
    """The labels of all probes of one stack, in whatever namespace."""
    return f"{throwaway.VERIFY}={NETWORK},{objects.INSTANCE}={stack}"


def pod_of(
    like: Object,
    namespace: str,
    name: str,
    image: str,
    labels: Mapping[str, str],
    task: Mapping[str, Any],
    seconds: int,
) -> Object:
    """One probe's manifest.

    Args:
        like: a workload of ours; see _throwaway.
        namespace: where.
        name: the pod's name.
        image: an image with Python; empty is that workload's own.
        labels: whose labels it carries.
        task: what it tries; see _network_probe.
        seconds: how long it may live.
    """
    arguments = json.dumps(task, separators=(",", ":"))
    # Isolated and without site packages: half the start.
    command = ["python", "-I", "-S", "-c", inspect.getsource(_network_probe), arguments]
    resources = {
        "requests": {"cpu": "1m", "memory": "16Mi", "ephemeral-storage": "1Mi"},
        "limits": {"cpu": "1", "memory": "64Mi", "ephemeral-storage": "8Mi"},
    }
    spec = throwaway.spec_of(like, CONTAINER, image, command, seconds, GRACE_SECONDS, resources)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            # Throw-away: health does not count it.
            "labels": {**labels, objects.SMOKE: "true", throwaway.VERIFY: NETWORK},
        },
        "spec": spec,
    }


def answer_of(pod: Object) -> dict[str, Any] | None:
    """What a probe that has ended left as its last words; None while it has not, or when they are none of ours."""
    for state in (pod.get("status") or {}).get("containerStatuses") or []:
        ended = (state.get("state") or {}).get("terminated") or {}
        if ended and not ended.get("exitCode"):
            try:
                found = json.loads(ended.get("message") or "")
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None
