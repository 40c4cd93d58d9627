# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a namespace is, and what that allows."""

from __future__ import annotations

from . import _objects as objects
from ._errors import Refused
from ._objects import Object, meta

ABSENT, OWN, LENT = "absent", "ours", "lent"
SYSTEM = ("kube-system", "kube-public", "kube-node-lease")


def state(namespace: Object | None, name: str) -> str:
    """Whose the namespace is.

    Returns:
        `absent`; `ours` (we made it: it carries our labels); `lent` (somebody else made it and allows us to use it by the
        label `twisterlab.io/managed: "true"`: it is used, and never relabelled or deleted).

    Raises:
        Refused: it is somebody else's, a part of Kubernetes, or going away.
    """
    if name in SYSTEM:
        raise Refused(f"The namespace {name} belongs to Kubernetes itself: set twisterlab_namespace to another name.")
    if namespace is None:
        return ABSENT
    if meta(namespace).get("deletionTimestamp") or (namespace.get("status") or {}).get("phase") == "Terminating":
        raise Refused(
            f"The namespace {name} is being deleted: wait until it is gone (kubectl get namespace {name}) and run again."
        )
    if objects.is_ours(namespace):
        return OWN
    if objects.labels(namespace).get(objects.ALLOWED, "").lower() == "true":
        return LENT
    raise Refused(
        f"The namespace {name} exists and was not made by twisterlab.platform: set twisterlab_namespace to another name, "
        f"or let its owner allow it with 'kubectl label namespace {name} {objects.ALLOWED}=true'."
    )
