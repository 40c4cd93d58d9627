# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to restore."""

from __future__ import annotations

import json

from . import pitr, repository, state
from .settings import Settings


def listing(settings: Settings, as_json: bool) -> None:
    """Print the snapshots and the span of point-in-time recovery.

    Raises:
        Fault: the repository cannot be read.
    """
    found = repository.snapshots()
    drilled = state.read(settings.state, "drills")
    spans = pitr.spans(settings, found)
    span = (
        {"from": state.stamp(min(each.start for each in spans)), "to": state.stamp(max(each.end for each in spans))}
        if spans
        else None
    )
    rows = [
        {
            "id": each.id,
            "kind": each.kind,
            "time": each.time,
            "bytes": each.bytes,
            # null: no drill of it is known here
            "drilled": drilled[each.id]["ok"] if each.id in drilled else None,
        }
        for each in found
    ]
    if as_json:
        print(json.dumps({"snapshots": rows, "pitr": span, "last": state.read(settings.state, "last")}, indent=1))
        return
    for row in rows:
        proof = {True: "drilled", False: "DRILL FAILED", None: ""}[row["drilled"]]  # type: ignore[index]
        print(f"{row['id']}  {row['kind']:7}  {row['time']}  {row['bytes']:>14}  {proof}".rstrip())
    print(f"point in time: every second from {span['from']} to {span['to']}" if span else "point in time: no base yet")
