# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: a snapshot is restored into throw-away servers and compared with what it was made from."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from . import base, fingerprint, grafana, live, programs, repository, stage, state, throwaway
from .errors import Fault, clean, say
from .repository import Snapshot
from .settings import Settings

_GRANTOR = re.compile(r'^(GRANT .*) GRANTED BY (?:\w+|"(?:[^"]|"")+");$', re.MULTILINE)


def drill(settings: Settings, snapshots: list[Snapshot]) -> dict[str, Any]:
    """Check the repository and prove these snapshots; the result, also written to the state.

    Args:
        settings: the settings.
        snapshots: logical ones and bases.

    A result that is not good is returned, not raised: `ok`, `why`, `ended`, `seconds`, `tables`, `rows`.
    """
    start = time.monotonic()
    result: dict[str, Any] = {
        "ok": False,
        "why": "",
        "tables": 0,
        "rows": 0,
        "snapshots": [each.id for each in snapshots],
    }
    try:
        repository.check(settings, repository.size())
        for snapshot in snapshots:
            prove = _base if snapshot.kind == "base" else _logical
            prove(settings, snapshot, result)
            say(f"drilled {snapshot.id} ({snapshot.kind})")
        result["ok"] = True
    except Fault as fault:
        result["why"] = clean(str(fault))
    finally:
        throwaway.empty(settings.work)
    result |= {"ended": state.stamp(state.now()), "seconds": round(time.monotonic() - start, 1)}
    state.write(settings.state, "drill", result)
    known = state.read(settings.state, "drills")
    known |= {each.id: {"ok": result["ok"], "ended": result["ended"]} for each in snapshots}
    state.write(settings.state, "drills", known)
    return result


def open_snapshot(snapshot: Snapshot, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Restore a logical snapshot and check every file of it; where it is, and its manifest.

    Raises:
        Fault: a file is missing, changed or added.
    """
    inside = repository.restore(snapshot, folder)
    try:
        manifest: dict[str, Any] = json.loads((inside / stage.MANIFEST).read_text(encoding="utf-8"))
        wanted, parts = dict(manifest["files"]), dict(manifest["parts"])
    except (OSError, ValueError, KeyError) as error:
        raise Fault(f"The manifest of the snapshot {snapshot.id} cannot be read: {error}.") from error
    found = {str(path.relative_to(inside)): stage.sha256(path) for path in stage.files(inside)}
    wrong = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
    if wrong:
        raise Fault(f"The snapshot {snapshot.id} is damaged: {wrong[0]} is not what its manifest says.")
    return inside, {**manifest, "parts": parts}


def _logical(settings: Settings, snapshot: Snapshot, result: dict[str, Any]) -> None:
    throwaway.empty(settings.work)
    inside, manifest = open_snapshot(snapshot, settings.work / "drill")
    provers: dict[str, Callable[[Settings, Path, dict[str, Any]], None]] = {
        "postgres": _postgres,
        "redis": _redis,
        "grafana": _grafana,
        "records": _objects("records"),
        "secrets": _objects("secrets"),
    }
    for part, about in manifest["parts"].items():
        if part not in provers:
            raise Fault(f"The part {part} of the snapshot {snapshot.id} cannot be drilled: use a newer image.")
        provers[part](settings, inside, about)
    found = (manifest["parts"].get("postgres") or {}).get("fingerprint")
    if found:
        result["tables"] += len(found["tables"])
        result["rows"] += fingerprint.rows(found)


def _postgres(settings: Settings, inside: Path, about: dict[str, Any]) -> None:
    folder = settings.work / "pg"
    folder.mkdir()
    throwaway.initdb(folder / "data")
    with throwaway.postgres(folder / "data") as where:
        # a member of CREATEROLE of its own would be refused: the roles are made by a superuser, as they were
        programs.run(
            *(
                "psql",
                "--no-psqlrc",
                "--quiet",
                "--set",
                "ON_ERROR_STOP=1",
                "--output",
                "/dev/null",
                *programs.server(where),
            ),
            *("--dbname", "postgres", "--file", str(_roles_of_anyone(inside / stage.ROLES, folder))),
            what="The roles cannot be restored",
        )
        with live.connect("postgres", **where) as connection:
            found = fingerprint.roles(connection)
            found.pop(throwaway.ADMINISTRATOR, None)
            wrong = sorted(name for name in {*found, *about["roles"]} if found.get(name) != about["roles"].get(name))
            if wrong:
                raise Fault(f"The drill failed: the role {wrong[0]} is not restored as it was.")
            try:
                live.run(connection, "CREATE DATABASE drill TEMPLATE template0")
                live.run(connection, "ALTER DATABASE drill OWNER TO {}", about["owner"])
            except psycopg.Error as error:
                raise Fault(f"The drill failed: {clean(str(error))}.") from error
        load(settings, inside / stage.DUMP, "drill", where)
        compare("drill", about["fingerprint"], "The drill failed", **where)


def _roles_of_anyone(script: Path, folder: Path) -> Path:
    """The script of roles without who granted a membership: only the very superuser that a server began with could repeat it."""
    found = folder / "roles.sql"
    found.write_text(_GRANTOR.sub(r"\1;", script.read_text(encoding="utf-8")), encoding="utf-8")
    return found


def load(settings: Settings, dump: Path, database: str, where: dict[str, str] | None = None) -> None:
    """Load a dump into an empty database.

    Raises:
        Fault: pg_restore failed.
    """
    programs.run(
        *("pg_restore", "--exit-on-error", f"--jobs={settings.jobs}", "--no-password", *programs.server(where)),
        *("--dbname", database, str(dump)),
        what="The dump cannot be loaded",
    )


def compare(database: str, wanted: dict[str, Any], what: str, **where: str) -> None:
    """Compare a database with a fingerprint.

    Raises:
        Fault: something differs; the sentence starts with `what`.
    """
    with live.connect(database, **where) as connection:
        try:
            found = fingerprint.take(connection)
        except psycopg.Error as error:
            raise Fault(f"{what}: {clean(str(error))}.") from error
    said = fingerprint.difference(wanted, found)
    if said:
        raise Fault(f"{what}: {said}.")


def _redis(settings: Settings, inside: Path, about: dict[str, Any]) -> None:
    if stage.rdb_counts(inside / stage.RDB) != {"keys": about["keys"], "expires": about["expires"]}:
        raise Fault("The drill failed: the copy of Redis holds another number of keys than its manifest says.")
    with throwaway.redis((inside / stage.RDB).parent) as server:
        counts = server.keyspace().values()
    keys, expires = sum(keys for keys, _ in counts), sum(expires for _, expires in counts)
    # keys with a time to live have gone since then, the others must all be there
    lasting = about["keys"] - about["expires"]
    if keys - expires != lasting or expires > about["expires"]:
        raise Fault(f"The drill failed: Redis loaded {keys - expires} lasting keys instead of {lasting}.")


def _grafana(_settings: Settings, inside: Path, about: dict[str, Any]) -> None:
    if not about["there"]:
        return
    found = grafana.content(inside / stage.GRAFANA)
    for name in sorted({*found, *about["tables"]}):
        if found.get(name) != about["tables"].get(name):
            raise Fault(
                f"The drill failed: Grafana's table {name} has {found.get(name, 'no')} rows instead of "
                f"{about['tables'].get(name, 'none')}."
            )


def _objects(part: str) -> Callable[[Settings, Path, dict[str, Any]], None]:
    def prove(_settings: Settings, inside: Path, about: dict[str, Any]) -> None:
        found = json.loads((inside / stage.OBJECTS[part]).read_text(encoding="utf-8"))["items"]
        names = sorted(obj["metadata"]["name"] for obj in found)
        if names != about["names"] or not all(obj.get("data") or obj.get("binaryData") for obj in found):
            raise Fault(f"The drill failed: the {part} are not whole.")

    return prove


def _base(settings: Settings, snapshot: Snapshot, _result: dict[str, Any]) -> None:
    throwaway.empty(settings.work)
    inside = repository.restore(snapshot, settings.work / "drill")
    data = inside / base.DATA
    programs.run("pg_verifybackup", "--quiet", "--no-parse-wal", str(data), what="The base is damaged")
    kept, _until = base.wal_of(settings, snapshot.tags)
    missing = base.hole(set(base.segments(kept)), snapshot.tags["segment"])
    if missing:
        raise Fault(f"The WAL after the base {snapshot.id} has a hole: the segment {missing} is missing.")
    with (
        throwaway.postgres(data, settings.owner) as where,
        live.connect(settings.database, **where) as connection,
    ):
        fingerprint.sequences(connection)
