# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus reads, made from the files of the state."""

from __future__ import annotations

from typing import Any

from . import state
from .settings import Settings

_HELP = {
    "last_success_timestamp_seconds": "When the last good backup ended.",
    "last_run_timestamp_seconds": "When the last backup ended, good or not.",
    "last_run_success": "Whether the last backup was good.",
    "last_duration_seconds": "How long the last backup took.",
    "size_bytes": "What the newest snapshot holds.",
    "repository_bytes": "What the repository takes.",
    "snapshots": "Snapshots in the repository.",
    "drill_last_timestamp_seconds": "When the last drill ended.",
    "drill_success": "Whether the last drill was good.",
    "wal_streaming": "Whether WAL is received now.",
    "wal_last_received_timestamp_seconds": "Until when all WAL of the server has been received.",
    "wal_lag_bytes": "WAL of the server that has not been received.",
}


def _seconds(text: object) -> float | None:
    return state.moment(str(text)).timestamp() if text else None


def text(settings: Settings) -> str:
    """The metrics in Prometheus's text format; what nothing is known of is left out."""
    last, drill, wal, about = (state.read(settings.state, name) for name in ("last", "drill", "wal", "repository"))
    # a run that was killed has written nothing but its start
    running = state.read(settings.state, "running")
    killed = running.get("what") == "run" and not state.busy(settings.state)
    newest = (wal.get("systems") or {}).get(wal.get("system", ""), "")
    values: dict[str, float | None] = {
        "last_success_timestamp_seconds": _seconds(state.read(settings.state, "good").get("ended")) or 0,
        "last_run_timestamp_seconds": _seconds(running.get("started") if killed else last.get("ended")) or 0,
        "last_run_success": int(bool(last.get("ok")) and not killed),
        "last_duration_seconds": last.get("seconds", 0),
        "size_bytes": about.get("newest_bytes", 0),
        "repository_bytes": about.get("bytes", 0),
        "drill_last_timestamp_seconds": _seconds(drill.get("ended")),
        "drill_success": int(bool(drill["ok"])) if drill else None,
        "wal_streaming": int(bool(wal.get("streaming"))) if settings.wal else None,
        "wal_last_received_timestamp_seconds": _seconds(newest) if settings.wal else None,
        "wal_lag_bytes": wal.get("lag_bytes", 0) if settings.wal else None,
    }
    lines: list[str] = []
    for name, meaning in _HELP.items():
        full = f"twisterlab_backup_{name}"
        head = [f"# HELP {full} {meaning}", f"# TYPE {full} gauge"]
        if name == "snapshots":
            counts: dict[str, Any] = {"logical": 0, "base": 0, "wal": 0, **(about.get("snapshots") or {})}
            lines += [*head, *(f'{full}{{kind="{kind}"}} {number}' for kind, number in sorted(counts.items()))]
        elif values[name] is not None:
            lines += [*head, f"{full} {values[name]}"]
    return "\n".join(lines) + "\n"
