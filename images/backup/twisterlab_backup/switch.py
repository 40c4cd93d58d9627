# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a restored database in the live one's place, in one transaction, so that nobody ever sees half of it."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator

import psycopg
from psycopg import sql

from . import live, state
from .errors import Fault, clean
from .live import Connection

_STAMP = re.compile(r"[0-9]{14}")
#: Postgres cuts a longer name off without a word: it would be that of another database, of the live one at worst.
_LONGEST = 63


def filled_table(connection: Connection) -> str:
    """The first table of a database that holds a row; empty when none does."""
    tables = connection.execute(
        "SELECT schemaname, tablename FROM pg_tables"
        " WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname <> 'information_schema' ORDER BY 1, 2"
    ).fetchall()
    for schema, table in tables:
        query = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(schema, table))
        (there,) = connection.execute(query).fetchone() or (False,)
        if there:
            return f"{schema}.{table}"
    return ""


def comment(connection: Connection, database: str) -> str:
    """The comment of a database."""
    row = connection.execute(
        "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", [database]
    ).fetchone()
    return str(row[0] or "") if row else ""


def drop(connection: Connection, database: str) -> None:
    """Drop a database with its sessions, if it is there."""
    live.run(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", database)


def beside(database: str, tail: str, more: int = 0) -> str:
    """The name of a database that goes with another one: its name, shortened where that must be, and a tail.

    Args:
        database: the other one.
        tail: what its name ends with.
        more: characters that come after it.
    """
    return database[: _LONGEST - len(tail) - more] + tail


def befores(connection: Connection, database: str) -> list[str]:
    """The databases that a restore has put aside, oldest first; one of another name is somebody's own."""
    start = beside(database, "_before_", 14)
    rows = connection.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY datname", [start]
    ).fetchall()
    return [str(row[0]) for row in rows if _STAMP.fullmatch(str(row[0]).removeprefix(start))]


def switch(connection: Connection, database: str, restored: str) -> str:
    """Rename the live database to `<database>_before_<time>` and the restored one to its name.

    The rename holds a lock under which nobody can connect; sessions that are there are ended meanwhile.

    Returns:
        The name the live database has now; empty when there was none.

    Raises:
        Fault: sessions did not end.
    """
    old = beside(database, f"_before_{state.now():%Y%m%d%H%M%S}")
    with live.connect("postgres") as helper:
        for attempt in range(10):
            try:
                with _ending_sessions(helper, (database, restored)), connection.transaction():
                    there = live.exists(connection, database)
                    if there:
                        live.run(connection, "ALTER DATABASE {} RENAME TO {}", database, old)
                    live.run(connection, "ALTER DATABASE {} RENAME TO {}", restored, database)
                return old if there else ""
            except psycopg.errors.ObjectInUse as error:
                if attempt == 9:
                    raise Fault(
                        f"The sessions of the database {database} do not end: stop what uses it and run this again."
                    ) from error
                time.sleep(0.5)
            except psycopg.Error as error:
                raise Fault(f"The restored database cannot be put in place: {clean(str(error))}.") from error
    return ""


@contextlib.contextmanager
def _ending_sessions(helper: Connection, databases: tuple[str, ...]) -> Iterator[None]:
    """End the sessions of databases again and again while the block runs."""
    done = threading.Event()

    def end() -> None:
        while not done.is_set():
            with contextlib.suppress(psycopg.Error):
                helper.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = ANY(%s) AND pid <> pg_backend_pid()",
                    [list(databases)],
                )
            done.wait(0.1)

    thread = threading.Thread(target=end, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
