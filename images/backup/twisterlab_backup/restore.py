# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores: beside the live database, compared, then switched. Killed anywhere and run again, it ends well."""

from __future__ import annotations

import contextlib
import datetime
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from . import drill, fingerprint, live, pitr, redis_copy, repository, stage, state, switch, throwaway
from .errors import Fault, clean, say
from .live import Connection
from .settings import Settings


@dataclass(frozen=True)
class Request:
    """What is to be restored.

    Attributes:
        snapshot: an id or `latest`; empty when a second is asked for.
        time: the second, UTC.
        parts: some of postgres, redis.
        replace: whether what is there may be replaced.
        keep_old: whether databases that earlier restores put aside stay.
    """

    snapshot: str
    time: datetime.datetime | None
    parts: tuple[str, ...]
    replace: bool
    keep_old: bool


@dataclass(frozen=True)
class Source:
    """A dump that can be loaded, and what it must turn out to be."""

    dump: Path
    about: dict[str, Any]


def restore(settings: Settings, request: Request) -> None:
    """Restore.

    Raises:
        Fault: it was refused or failed; the live database is then as it was.
    """
    _refuse_parts(request)
    with state.locked(settings.state):
        state.write(settings.state, "running", {"what": "restore", "started": state.stamp(state.now())})
        try:
            throwaway.empty(settings.work)
            repository.prepare(settings)
            _restore(settings, request)
        finally:
            throwaway.empty(settings.work)
            state.forget(settings.state, "running")


def _refuse_parts(request: Request) -> None:
    for part in request.parts:
        if part == "grafana":
            raise Fault(
                "--parts grafana: its volume is mounted read-only here; write the file with `show --part grafana` and put it into Grafana's volume."
            )
        if part not in ("postgres", "redis"):
            raise Fault(f"--parts {part}: this is restored by hand; write the file with `show --part {part}`.")
    if request.time is not None and "redis" in request.parts:
        raise Fault("--parts redis needs --snapshot: Redis can be restored to a snapshot, not to a second.")


def _restore(settings: Settings, request: Request) -> None:
    if request.time is not None:
        caught_up = pitr.catch_up(settings)
        span = pitr.choose(pitr.spans(settings, repository.snapshots(), caught_up), request.time)
        source = f"time {state.stamp(request.time)}"
        snapshot = span.base
    else:
        snapshot = repository.pick(request.snapshot)
        source = f"snapshot {snapshot.id}"
    token, again = _token(settings, f"{source} into {settings.database}, {','.join(request.parts)}")
    # one that was refused, or that failed before, has not touched Redis: what is there is the user's
    emptied = again and bool(state.read(settings.state, "restore").get("redis"))
    if again and "postgres" in request.parts and _switched(settings, token):
        say(f"the database {settings.database} was already switched to {source} by the run that was interrupted")
        remaining = tuple(part for part in request.parts if part != "postgres")
    else:
        _refuse_filled(settings, request, emptied)
        remaining = request.parts
    if remaining:
        with contextlib.ExitStack() as stack:
            if request.time is not None:
                found = stack.enter_context(_from_time(settings, span, request.time))
                inside = found.dump
            else:
                inside, manifest = drill.open_snapshot(snapshot, settings.work / "restore")
                missing = [part for part in remaining if part not in manifest["parts"]]
                if missing:
                    raise Fault(f"The snapshot {snapshot.id} does not hold {missing[0]}: choose another one.")
                found = Source(inside / stage.DUMP, manifest["parts"].get("postgres") or {})
            if "postgres" in remaining:
                _postgres(settings, found, token, request.keep_old, source)
            if "redis" in remaining:
                known = state.read(settings.state, "restore")
                state.write(settings.state, "restore", known | {"redis": True})
                redis_copy.replay(settings, (inside / stage.RDB).parent)
    state.write(settings.state, "restore", {"token": token, "finished": True, "ended": state.stamp(state.now())})
    say(f"restored {', '.join(request.parts)} from {source}")


def _token(settings: Settings, words: str) -> tuple[str, bool]:
    """The token of a request, and whether an earlier run of the same request has not ended."""
    known = state.read(settings.state, "restore")
    if known.get("request") == words and not known.get("finished"):
        return str(known["token"]), True
    token = uuid.uuid4().hex
    state.write(
        settings.state,
        "restore",
        {"request": words, "token": token, "finished": False, "started": state.stamp(state.now())},
    )
    return token, False


def _comment(token: str) -> str:
    return f"twisterlab restore {token}"


def _switched(settings: Settings, token: str) -> bool:
    with live.connect("postgres") as connection:
        return switch.comment(connection, settings.database) == _comment(token)


def _refuse_filled(settings: Settings, request: Request, emptied: bool) -> None:
    """Refuse to replace what holds something, unless that was asked for.

    Args:
        settings: the settings.
        request: what is to be restored.
        emptied: whether this restore was interrupted when it had begun to fill Redis itself.

    Raises:
        Fault: something is there.
    """
    if request.replace:
        return
    hint = "add --replace to put the restored data in its place"
    if "postgres" in request.parts:
        with live.connect("postgres") as connection:
            there = live.exists(connection, settings.database)
        if there:
            with live.connect(settings.database) as connection:
                table = switch.filled_table(connection)
            if table:
                raise Fault(f"The database {settings.database} is not empty ({table} holds rows): {hint}.")
    if "redis" in request.parts and not emptied and redis_copy.keys(settings):
        raise Fault(f"Redis at {settings.redis_host}:{settings.redis_port} is not empty: {hint}.")


@contextlib.contextmanager
def _from_time(settings: Settings, span: pitr.Span, target: datetime.datetime) -> Iterator[Source]:
    with pitr.recovered(settings, span, target) as where:
        with live.connect(settings.database, **where) as connection:
            found = fingerprint.take(connection)
            about = {**stage.database(connection), "fingerprint": found, "roles": fingerprint.roles(connection)}
        say(f"recovered {len(found['tables'])} tables, {fingerprint.rows(found)} rows")
        dump = settings.work / "restore" / stage.DUMP
        stage.dump(settings, dump, "", where)
    yield Source(dump, about)


def _postgres(settings: Settings, source: Source, token: str, keep_old: bool, words: str) -> None:
    database, restored = settings.database, switch.beside(settings.database, "_restore")
    about = source.about
    with live.connect("postgres") as connection:
        try:
            switch.drop(connection, restored)
            _missing_roles(connection, about["roles"])
            _create(connection, restored, about)
            say(f"loading into {restored}")
            drill.load(settings, source.dump, restored)
            drill.compare(restored, about["fingerprint"], "The restored database is not what was saved")
            _beside(connection, restored, about)
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(restored), sql.Literal(_comment(token)))
            )
            old = switch.switch(connection, database, restored)
            for name in switch.befores(connection, database):
                if name != old and not keep_old:
                    switch.drop(connection, name)
        except BaseException as error:
            # half of a database would only fill the disk of the live one
            with contextlib.suppress(Fault, psycopg.Error), live.connect("postgres") as other:
                switch.drop(other, restored)
            if isinstance(error, psycopg.Error):
                raise Fault(f"The database cannot be restored: {clean(str(error))}.") from error
            raise
    say(f"switched {database} to {words}" + (f"; what was there is {old}" if old else ""))


def _missing_roles(connection: Connection, roles: dict[str, list[Any]]) -> None:
    """Make the roles that own or may something and are not there; nobody can log in as them."""
    for name in sorted(roles):
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [name]).fetchone() is None:
            live.run(connection, "CREATE ROLE {} NOLOGIN", name)
            say(f"made the role {name}, which cannot log in")


def _create(connection: Connection, name: str, about: dict[str, Any]) -> None:
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
            sql.Identifier(name),
            sql.Identifier(about["owner"]),
            *(sql.Literal(about[key]) for key in ("encoding", "collate", "ctype")),
        )
    )


def _beside(connection: Connection, name: str, about: dict[str, Any]) -> None:
    """Settings and grants of the database itself, which no dump holds."""
    for role, settings in about["settings"]:
        for setting in settings:
            key, _, value = setting.partition("=")
            start = (
                sql.SQL("ALTER ROLE {} IN DATABASE {}").format(sql.Identifier(role), sql.Identifier(name))
                if role
                else sql.SQL("ALTER DATABASE {}").format(sql.Identifier(name))
            )
            # a list stands in the catalogue as it is written; quoted it would be one word
            listed = key in ("search_path", "session_preload_libraries", "temp_tablespaces", "DateStyle")
            written = sql.SQL(value) if listed else sql.Literal(value)
            connection.execute(start + sql.SQL(" SET {} TO ").format(sql.Identifier(*key.split("."))) + written)
    if about["grants"]:
        live.run(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
    for grantee, privilege, grantable in about["grants"]:
        connection.execute(
            sql.SQL("GRANT " + privilege + " ON DATABASE {} TO ").format(sql.Identifier(name))
            + (sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"))
            + sql.SQL(" WITH GRANT OPTION" if grantable and grantee != about["owner"] else "")
        )
