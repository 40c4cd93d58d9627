# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a Postgres server, and what is asked of it."""

from __future__ import annotations

import os
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from .errors import Fault, clean
from .settings import SLOT, Settings

Connection = psycopg.Connection[Any]
# a row's text must be the same in every session, and no time-out of the server may end a backup
_OPTIONS = (
    "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=0 -c row_security=off "
    "-c datestyle=ISO,YMD -c intervalstyle=postgres -c timezone=UTC -c extra_float_digits=1 -c bytea_output=hex "
    "-c xmloption=content -c search_path=pg_catalog"
)


def connect(database: str, *, autocommit: bool = True, **where: str) -> Connection:
    """Connect; what is not said comes from the environment (PGHOST, PGUSER, PGPASSWORD).

    Raises:
        Fault: the server does not let us in.
    """
    try:
        return psycopg.connect(
            dbname=database, autocommit=autocommit, options=_OPTIONS, application_name="twisterlab-backup", **where
        )
    except psycopg.Error as error:
        raise Fault(f"Postgres cannot be reached: {clean(str(error))}.") from error


def system_identifier(connection: Connection) -> str:
    """The number that tells one server's WAL from another's."""
    (found,) = connection.execute("SELECT system_identifier::text FROM pg_control_system()").fetchone() or ("",)
    return str(found)


def major(connection: Connection) -> int:
    """The server's major version."""
    return connection.info.server_version // 10000


def is_superuser(connection: Connection) -> bool:
    """Whether the role in force may do everything."""
    (found,) = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() or (False,)
    return bool(found)


def exists(connection: Connection, database: str) -> bool:
    """Whether there is a database of this name."""
    return connection.execute("SELECT FROM pg_database WHERE datname = %s", [database]).fetchone() is not None


def run(connection: Connection, text: LiteralString, *names: str) -> None:
    """Run a statement whose `{}` are names."""
    connection.execute(sql.SQL(text).format(*(sql.Identifier(name) for name in names)))


def prepare_replication(settings: Settings, connection: Connection) -> None:
    """Make the role and the slot of the WAL receiver, or give the role its password of now.

    Raises:
        Fault: a password is missing or the role in force may not make roles.
    """
    password = os.environ.get("BACKUP_PG_REPLICATION_PASSWORD", "")
    if not password:
        raise Fault("BACKUP_PG_REPLICATION_PASSWORD is not set: it comes from the key backup_postgres_password.")
    role = settings.replication_user
    try:
        # neither the password nor its hash goes to the server's log
        for setting in (
            "log_statement = 'none'",
            "log_min_duration_statement = -1",
            "log_min_error_statement = 'panic'",
        ):
            connection.execute(sql.SQL("SET " + setting))  # type: ignore[arg-type]
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
            run(connection, "CREATE ROLE {}", role)
        secret = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
        connection.execute(
            sql.SQL(
                "ALTER ROLE {} LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {}"
            ).format(sql.Identifier(role), sql.Literal(secret))
        )
        # a slot whose WAL the server had to remove is of no use any more
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE slot_name = %s AND wal_status = 'lost' AND NOT active",
            [SLOT],
        )
        connection.execute(
            "SELECT pg_create_physical_replication_slot(%s, true)"
            " WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %s)",
            [SLOT, SLOT],
        )
    except psycopg.Error as error:
        raise Fault(f"The role {role} of the WAL receiver cannot be made: {clean(str(error))}.") from error


def drop_slot(connection: Connection) -> bool:
    """Remove the slot of a receiver that is switched off; whether there was one."""
    found = connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active",
        [SLOT],
    ).fetchall()
    return bool(found)


def replication_environment(settings: Settings) -> dict[str, str]:
    """The environment in which pg_receivewal and pg_basebackup log in."""
    return {
        "PGUSER": settings.replication_user,
        "PGPASSWORD": os.environ.get("BACKUP_PG_REPLICATION_PASSWORD", ""),
        "PGAPPNAME": SLOT,
    }
