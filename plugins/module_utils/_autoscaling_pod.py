# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod that makes the load: throw-away, without a token, found by no Service, ended by itself in any case."""

from __future__ import annotations

import inspect

from . import _autoscaling_load, _edges
from . import _objects as objects
from . import _throwaway as throwaway
from ._objects import Object

SELECTOR = f"{throwaway.VERIFY}=load,{objects.OURS_SELECTOR}"
CONTAINER = "load"
#: Seconds beside the load itself that the pod may live: for its image, and for its last words.
SPARE_SECONDS = 180
GRACE_SECONDS = 20


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
    arguments = [url, f"{rate:g}", str(connections), str(seconds)]
    spec = throwaway.spec_of(
        target,
        CONTAINER,
        image,
        ["python", "-c", inspect.getsource(_autoscaling_load), *arguments],
        seconds + SPARE_SECONDS,
        GRACE_SECONDS,
        {
            "requests": {"cpu": "10m", "memory": "48Mi", "ephemeral-storage": "8Mi"},
            "limits": {"cpu": "1", "memory": "192Mi", "ephemeral-storage": "32Mi"},
        },
    )
    labels = {
        **objects.OURS,
        objects.NAME: _edges.LOAD,
        objects.INSTANCE: namespace,
        # A throw-away pod: health does not count it, and destroy removes one that was left.
        objects.SMOKE: "true",
        throwaway.VERIFY: "load",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": spec,
    }
