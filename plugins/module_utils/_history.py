# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases that are recorded, newest first. Pure but for the reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ._api import Api, each
from ._judge import brief
from ._objects import sentence_list
from ._record import Records, number_of, status_of, summary_of
from ._status_screen import WIDTH, changes, table


def collect(api: Api, namespace: str) -> list[dict[str, Any]]:
    """The summary of every record, newest first; one that cannot be read has its number and its status.

    Raises:
        ApiError: the records may not be listed.
    """
    records = Records(api, namespace)
    found = sorted(records.all(), key=number_of, reverse=True)
    whole = each(found, lambda item: (item, records.read(number_of(item))))
    return [{"number": number_of(item), "status": status_of(item), **summary_of(full or {})} for item, full in whole]


def with_seconds(releases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same, with how long each took, and whether the one before had other images."""
    told = []
    for index, item in enumerate(releases):
        before = releases[index + 1].get("images") or {} if index + 1 < len(releases) else {}
        images = item.get("images") or {}
        moved = {name: [before[name], image] for name, image in images.items() if before.get(name, image) != image}
        told.append({**item, "seconds": _seconds(item), "images_changed": moved})
    return told


def _seconds(item: Mapping[str, Any]) -> float | None:
    try:
        begun, ended = (datetime.fromisoformat(str(item[name]).replace("Z", "+00:00")) for name in ("started", "ended"))
    except (KeyError, ValueError):
        return None
    return (ended - begun).total_seconds()


def screen(namespace: str, releases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The lines for people."""
    if not releases:
        return [f"Namespace {namespace}: no release is recorded; ansible-playbook deploy.yml makes the first."]
    rows = [["RELEASE", "STARTED", "TOOK", "STATUS", "BY", "COMPONENTS", "WHAT CHANGED"]]
    below: list[list[str]] = [[]]
    for item in releases:
        took = item.get("seconds")
        rows.append(
            [
                str(item["number"]),
                str(item.get("started") or "?"),
                f"{took:.0f} s" if took is not None else "",
                str(item["status"] or "?"),
                str(item.get("user") or "?"),
                sentence_list(list(item.get("components") or []), 3),
                changes(item, 3) if "created" in item else "not known, its record cannot be read",
            ]
        )
        more = [f"    {name}: {old} -> {new}" for name, (old, new) in (item.get("images_changed") or {}).items()]
        reason = str(item.get("reason") or "").strip().splitlines()
        more += [f"    failed: {brief(line.strip(), WIDTH)}" for line in reason[:3]]
        below.append(more)
    lines = [f"Namespace {namespace}: {len(releases)} release{'s' if len(releases) > 1 else ''} recorded", ""]
    for row, more in zip(table(rows), below, strict=True):
        lines += [row, *more]
    return lines
