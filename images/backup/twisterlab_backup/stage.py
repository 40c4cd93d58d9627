# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts everything that a logical snapshot holds into one folder, with a manifest."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import psycopg

from . import __version__, cluster, fingerprint, grafana, live, programs, state
from .errors import Fault, clean, say
from .settings import Settings

MANIFEST = "manifest.json"
DUMP = "postgres/dump"
ROLES = "postgres/roles.sql"
RDB = "redis/dump.rdb"
GRAFANA = "grafana/grafana.db"
OBJECTS = {"records": "records.json", "secrets": "secrets.json"}
_RDB_COUNTS = {"keys": r"(\d+) keys read", "expires": r"(\d+) expires"}


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files(folder: Path) -> list[Path]:
    """Every file below a folder but the manifest, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def size(folder: Path) -> int:
    """Bytes of every file below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def stage(settings: Settings, folder: Path) -> dict[str, Any]:
    """Fill a new folder and return its manifest.

    Raises:
        Fault: a part could not be saved.
    """
    folder.mkdir(parents=True)
    makers = {"postgres": _postgres, "redis": _redis, "grafana": _grafana, "records": _objects, "secrets": _objects}
    manifest: dict[str, Any] = {"version": 1, "program": __version__, "made": state.stamp(state.now()), "parts": {}}
    for part in settings.parts:
        manifest["parts"][part] = makers[part](settings, folder, part)
    manifest["files"] = {str(path.relative_to(folder)): sha256(path) for path in files(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return manifest


def _postgres(settings: Settings, folder: Path, _part: str) -> dict[str, Any]:
    """Dump and fingerprint in one exported snapshot."""
    (folder / "postgres").mkdir()
    with live.connect(settings.database, autocommit=False) as connection:
        try:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            (snapshot,) = connection.execute("SELECT pg_export_snapshot()").fetchone() or ("",)
            found = fingerprint.take(connection)
            say(f"postgres: {len(found['tables'])} tables, {fingerprint.rows(found)} rows")
            dump(settings, folder / DUMP, str(snapshot))
            after = fingerprint.sequences(connection)
            for name, between in found["sequences"].items():
                between[1] = after.get(name, between[1])
            roles = fingerprint.roles(connection)
            about = database(connection)
            passwords = () if live.is_superuser(connection) else ("--no-role-passwords",)
        except psycopg.Error as error:
            raise Fault(f"Postgres ended the backup: {clean(str(error))}.") from error
    said = programs.run("pg_dumpall", "--roles-only", "--no-password", *passwords, what="The roles cannot be saved")
    (folder / ROLES).write_text(said, encoding="utf-8")
    return {**about, "fingerprint": found, "roles": roles}


def dump(settings: Settings, target: Path, snapshot: str, where: dict[str, str] | None = None) -> None:
    """Dump the database; not compressed, as restic finds what it has and compresses the rest.

    Raises:
        Fault: pg_dump failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    programs.run(
        *(
            "pg_dump",
            "--format=directory",
            "--compress=0",
            f"--jobs={settings.jobs}",
            "--no-password",
            *programs.server(where),
        ),
        *((f"--snapshot={snapshot}",) if snapshot else ()),
        *("--file", str(target), settings.database),
        what="The database cannot be dumped",
    )


def database(connection: live.Connection) -> dict[str, Any]:
    """What stands beside a database's content: encoding, locale, owner, settings, grants."""
    row = connection.execute(
        "SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba), current_setting('server_version')"
        " FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    set_for = connection.execute(
        "SELECT coalesce(r.rolname, ''), s.setconfig FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase"
        " LEFT JOIN pg_roles r ON r.oid = s.setrole WHERE d.datname = current_database() ORDER BY 1"
    ).fetchall()
    grants = connection.execute(
        "SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable"
        " FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = current_database() ORDER BY 1, 2"
    ).fetchall()
    encoding, collate, ctype, owner, version = row or ("", "", "", "", "")
    return {
        **{"encoding": encoding, "collate": collate, "ctype": ctype, "owner": owner, "server": version},
        "settings": [list(each) for each in set_for],
        "grants": [list(each) for each in grants],
    }


def rdb_counts(file: Path) -> dict[str, int]:
    """How many keys a Redis file holds, and how many of them expire.

    Raises:
        Fault: the file is damaged.
    """
    said = programs.run("redis-check-rdb", str(file), what="The copy of Redis is damaged")
    found = {name: re.search(pattern, said) for name, pattern in _RDB_COUNTS.items()}
    return {name: int(match[1]) if match else 0 for name, match in found.items()}


def _redis(settings: Settings, folder: Path, _part: str) -> dict[str, Any]:
    (folder / "redis").mkdir()
    programs.run(
        *("redis-cli", "-h", settings.redis_host, "-p", str(settings.redis_port), "--rdb", str(folder / RDB)),
        what="Redis cannot be copied",
    )
    if not (folder / RDB).is_file():
        raise Fault(f"Redis at {settings.redis_host}:{settings.redis_port} cannot be copied: is its password right?")
    found = rdb_counts(folder / RDB)
    say(f"redis: {found['keys']} keys")
    return found


def _grafana(settings: Settings, folder: Path, _part: str) -> dict[str, Any]:
    if settings.grafana is None or not settings.grafana.exists():
        say("grafana: not there")
        return {"there": False}
    (folder / "grafana").mkdir()
    grafana.copy(settings.grafana, folder / GRAFANA)
    found = grafana.content(folder / GRAFANA)
    say(f"grafana: {len(found)} tables")
    return {"there": True, "tables": found}


def _objects(settings: Settings, folder: Path, part: str) -> dict[str, Any]:
    found = cluster.records(settings) if part == "records" else cluster.secrets(settings)
    file = folder / OBJECTS[part]
    file.touch(mode=0o600)
    listed = {"apiVersion": "v1", "kind": "List", "items": found}
    file.write_text(json.dumps(listed, indent=1, sort_keys=True), encoding="utf-8")
    names = sorted(obj["metadata"]["name"] for obj in found)
    say(f"{part}: {len(names)}")
    return {"names": names}
