# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing what is in the cluster with what the server would make of a manifest, and showing the difference."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import yaml

from ._objects import Object, meta, title

VOLATILE = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")
FOREIGN_ANNOTATIONS = ("deployment.kubernetes.io/revision", "deprecated.daemonset.template.generation")


def normalise(obj: Object) -> Object:
    """A copy without what the server and its controllers write."""
    found = copy.deepcopy({key: value for key, value in obj.items() if key != "status"})
    metadata = found.get("metadata") or {}
    for key in VOLATILE:
        metadata.pop(key, None)
    notes = metadata.get("annotations") or {}
    for key in FOREIGN_ANNOTATIONS:
        notes.pop(key, None)
    if not notes:
        metadata.pop("annotations", None)
    return found


def same(before: Object, after: Object) -> bool:
    """Whether two states of one object differ in nothing that we or a user wrote."""
    return normalise(before) == normalise(after)


def covers(live: Any, wanted: Any) -> bool:
    """Whether everything that is wanted is there; what is there beside it does not count."""
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(covers(live.get(key), value) for key, value in wanted.items())
    return bool(live == wanted)


def owned_fields(obj: Object, manager: str) -> Any:
    """The fields that one manager applies; None when it never applied."""
    for entry in meta(obj).get("managedFields") or []:
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            return entry.get("fieldsV1")
    return None


def managed_time(obj: Object, manager: str) -> str:
    """When that manager last changed the object (RFC 3339); empty when unknown."""
    times = [
        str(entry.get("time", ""))
        for entry in meta(obj).get("managedFields") or []
        if entry.get("manager") == manager and not entry.get("subresource")
    ]
    return max(times, default="")


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Texts of several lines as blocks: a diff is read by people."""


def _represent(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent)


def text(obj: Object | None) -> str:
    """An object as YAML for a diff; empty for None."""
    if obj is None:
        return ""
    # Our own dumper, derived from the safe one.
    return str(yaml.dump(normalise(obj), Dumper=_Dumper, sort_keys=True, default_flow_style=False, width=4096))


def difference(before: Object | None, after: Object | None, redact: Callable[[str], str]) -> dict[str, str]:
    """One entry of a task's `diff`, with secrets hidden."""
    name = title(after or before or {})
    return {
        "before_header": name if before is not None else f"{name} (absent)",
        "after_header": name if after is not None else f"{name} (removed)",
        "before": redact(text(before)),
        "after": redact(text(after)),
    }


def fingerprint(obj: Any) -> str:
    """A stable text of plain data, for comparing and hashing."""
    return json.dumps(obj, sort_keys=True, separators=(",", ":"))
