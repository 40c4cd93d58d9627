# SPDX-License-Identifier: GPL-3.0-or-later
"""The one label map: what objects carry and what selectors look for."""

from __future__ import annotations

import re
from collections.abc import Mapping

PART_OF = "twisterlab"
MANAGED_BY = "twisterlab.platform"
SERVING = {"twisterlab.io/serving": "true"}

_PREFIX = "app.kubernetes.io/"
_VALUE = re.compile(r"^(?=.{1,63}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")


def _checked(labels: Mapping[str, str]) -> dict[str, str]:
    for key, value in labels.items():
        if not _VALUE.match(value):
            raise ValueError(
                f"{value!r} cannot be the value of the label {key}: "
                "at most 63 letters, digits, '-', '_' and '.', letters or digits at both ends."
            )
    return dict(labels)


def selector(component: str, name: str = "", namespace: str = "twisterlab") -> dict[str, str]:
    """Return what identifies the pods of one workload; ``name`` defaults to the component."""
    return _checked(
        {f"{_PREFIX}name": name or component, f"{_PREFIX}instance": namespace, f"{_PREFIX}component": component}
    )


def serving_selector(component: str, name: str = "", namespace: str = "twisterlab") -> dict[str, str]:
    """Return the selector of Services, workloads and disruption budgets; pods that only probe lack its last label."""
    return selector(component, name, namespace) | SERVING


def labels(component: str, name: str = "", version: str = "", namespace: str = "twisterlab") -> dict[str, str]:
    """Return the labels of an object; an empty ``version`` leaves that label out."""
    extra = {f"{_PREFIX}part-of": PART_OF, f"{_PREFIX}managed-by": MANAGED_BY}
    if version:
        extra[f"{_PREFIX}version"] = version
    return selector(component, name, namespace) | _checked(extra)


def pod_labels(of: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of a workload's pods, given those of the workload."""
    return dict(of) | SERVING


def image_version(reference: str) -> str:
    """Return an image reference's tag, or the start of its digest, as a label's value; empty when it has neither."""
    rest, _at, digest = reference.partition("@")
    _name, _colon, tag = rest.rpartition("/")[2].partition(":")
    value = tag or digest.rpartition(":")[2][:12]
    return re.sub(r"[^A-Za-z0-9._-]", "-", value)[:63].strip("._-")
