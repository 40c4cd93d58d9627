# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup: stage, save, base, retention, check and drill, and what the metrics say of it."""

from __future__ import annotations

import shutil
import time
from typing import Any

from . import base, drill, repository, stage, state, throwaway
from .errors import Fault, clean, say
from .repository import Snapshot
from .settings import Settings


def run(settings: Settings, reason: str = "") -> None:
    """Back up and prove it.

    Raises:
        Fault: something failed; the state says it too.
    """
    with state.locked(settings.state):
        start = time.monotonic()
        # a run that was killed is said by its start: nothing else of it is left
        interrupted = state.read(settings.state, "running")
        if interrupted:
            say(
                f"the {interrupted.get('what')} that started {interrupted.get('started')} was killed: its rest is removed"
            )
        last: dict[str, Any] = {"started": state.stamp(state.now()), "ok": False, "why": "", "reason": reason}
        state.write(settings.state, "running", {"what": "run", "started": last["started"]})
        try:
            throwaway.empty(settings.work)
            _run(settings, last)
            last["ok"] = True
        except Fault as fault:
            last["why"] = clean(str(fault))
            raise
        except BaseException as error:
            last["why"] = f"The backup was ended: {type(error).__name__}."
            raise
        finally:
            throwaway.empty(settings.work)
            last |= {"ended": state.stamp(state.now()), "seconds": round(time.monotonic() - start, 1)}
            state.write(settings.state, "last", last)
            if last["ok"]:
                state.write(settings.state, "good", {"ended": last["ended"], "snapshot": last["snapshot"]})
            state.forget(settings.state, "running")
    say(f"good: snapshot {last['snapshot']}, {last['bytes']} bytes, after {last['seconds']} s")


def _run(settings: Settings, last: dict[str, Any]) -> None:
    repository.prepare(settings, make=True)
    made: list[Snapshot] = []
    folder = settings.work / "logical"
    manifest = stage.stage(settings, folder)
    last["parts"] = {name: _summary(about) for name, about in manifest["parts"].items()}
    last["bytes"] = stage.size(folder)
    with repository.alone(settings):
        made.append(repository.save("logical", folder, {"bytes": str(last["bytes"])}))
    last["snapshot"] = made[-1].id
    shutil.rmtree(folder)
    current = ""
    if settings.wal and "postgres" in settings.parts:
        folder = settings.work / "base"
        tags = base.take(settings, folder)
        current = tags["system"]
        with repository.alone(settings):
            made.append(repository.save("base", folder, {**tags, "bytes": str(stage.size(folder))}))
        last["base"] = made[-1].id
        shutil.rmtree(folder)
    # before anything is forgotten: what is proven now may take the place of what was
    last["drill"] = drill.drill(settings, made)
    try:
        _count(settings, _retain(settings, current), last["bytes"])
    except Fault:
        # of two faults the drill's is the one to be told
        if last["drill"]["ok"]:
            raise
    if not last["drill"]["ok"]:
        raise Fault(last["drill"]["why"])


def _summary(about: dict[str, Any]) -> dict[str, Any]:
    """What the state says of a part: numbers and names, no contents."""
    found = about.get("fingerprint")
    if found:
        return {"tables": len(found["tables"]), "rows": sum(each["rows"] for each in found["tables"].values())}
    return {name: value for name, value in about.items() if isinstance(value, int | bool | list)}


def _retain(settings: Settings, current: str) -> list[Snapshot]:
    kept = repository.thin_out(settings, {current} - {""})
    oldest: dict[str, str] = {}
    for snapshot in kept:
        if snapshot.kind == "base":
            # oldest first: the first one of a server needs the most
            oldest.setdefault(snapshot.tags["system"], snapshot.tags["segment"])
    removed = base.tidy(settings, oldest, current) if settings.wal else 0
    say(f"retention: {len(kept)} snapshots are kept" + (f", {removed} WAL segments were removed" if removed else ""))
    return kept


def _count(settings: Settings, kept: list[Snapshot], newest: int) -> None:
    """Write what the metrics say of the repository."""
    kinds = [each.kind for each in kept]
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    found = {"bytes": repository.size(), "newest_bytes": newest, "snapshots": counts}
    state.write(settings.state, "repository", found)


def drill_again(settings: Settings, name: str) -> None:
    """Only the drill, of the newest or a named snapshot.

    Raises:
        Fault: it failed; the state says it too.
    """
    with state.locked(settings.state):
        state.write(settings.state, "running", {"what": "drill", "started": state.stamp(state.now())})
        try:
            throwaway.empty(settings.work)
            try:
                repository.prepare(settings)
                snapshot = repository.pick(name, ("logical",) if name == "latest" else ("logical", "base"))
            except Fault as fault:
                failed = {
                    "ok": False,
                    "why": clean(str(fault)),
                    "ended": state.stamp(state.now()),
                    "tables": 0,
                    "rows": 0,
                }
                state.write(settings.state, "drill", failed)
                raise
            result = drill.drill(settings, [snapshot])
        finally:
            state.forget(settings.state, "running")
    if not result["ok"]:
        raise Fault(result["why"])
    say(f"good: snapshot {snapshot.id}, {result['tables']} tables, {result['rows']} rows, after {result['seconds']} s")
