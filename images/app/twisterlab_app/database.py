# SPDX-License-Identifier: MIT
"""Postgres: a pool that survives outages, and the schema."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from importlib import resources
from types import TracebackType
from typing import Any

import psycopg
from prometheus_client import Gauge
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from .background import task
from .errors import ConfigurationError, DependencyError, reason_of

NAME = "postgres"
MIGRATION_LOCK = 0x7457_6973_7465  # any number, the same in every replica
ACQUIRE_SECONDS = 3.0
SLICE_SECONDS = 0.5
RETRY_SECONDS = (0.5, 1.0, 2.0, 3.0)
_FORGET_GONE_REPLICAS = "DELETE FROM service_readiness WHERE written_at < now() - interval '1 hour'"
# Changes with the server, the database and a restore that makes the table anew.
_IDENTITY = (
    "SELECT format('%s-%s-%s', system_identifier, d.oid, 'tickets'::regclass::oid) AS identity"
    " FROM pg_control_system(), pg_database d WHERE d.datname = current_database()"
)
log = logging.getLogger("twisterlab.database")

POOL = Gauge("db_pool_connections", "Connections of the Postgres pool.", ("state",))
POOL_MAX = Gauge("db_pool_connections_max", "Upper limit of the Postgres pool.")
POOL_WAITING = Gauge("db_pool_requests_waiting", "Requests that wait for a connection now.")

_UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,  # a read-only standby, for example
    psycopg.errors.UndefinedTable,
    psycopg.errors.InsufficientPrivilege,
)

Connection = psycopg.AsyncConnection[DictRow]


def connection_arguments(parameters: dict[str, Any], component: str) -> dict[str, Any]:
    """Add time limits to libpq parameters, so that a vanished server is noticed; refuse unknown parameters."""
    limits = {
        "connect_timeout": 3,
        "tcp_user_timeout": 5000,
        "keepalives_idle": 30,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    arguments = {**limits, "application_name": f"twisterlab-{component}", **parameters}
    arguments.setdefault("options", "-c statement_timeout=10000 -c idle_in_transaction_session_timeout=30000")
    try:
        make_conninfo(**arguments)
    except psycopg.Error:
        raise ConfigurationError("DATABASE_URL has a parameter after '?' that libpq does not know.") from None
    return arguments


def migrations() -> list[tuple[int, str, str]]:
    """Return ``(version, file name, SQL)`` of every migration, in order."""
    folder = resources.files(__package__).joinpath("migrations")
    files = sorted(
        (item.name, item.read_text(encoding="utf-8")) for item in folder.iterdir() if item.name.endswith(".sql")
    )
    return [(int(name.partition("_")[0]), name, text) for name, text in files]


async def migrate(connection: Connection) -> int:
    """Bring the schema up to date in one transaction; return how many migrations ran. Replicas take turns."""
    applied = 0
    async with connection.transaction():
        await connection.execute("SET LOCAL statement_timeout = '120s'")
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY, name text NOT NULL,"
            " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        rows = await (await connection.execute("SELECT version, sha256 FROM schema_migrations")).fetchall()
        known = {row["version"]: row["sha256"] for row in rows}
        for version, name, text in migrations():
            digest = hashlib.sha256(text.encode()).hexdigest()
            if version not in known:
                await connection.execute(text.encode())
                await connection.execute(
                    "INSERT INTO schema_migrations (version, name, sha256) VALUES (%s, %s, %s)", (version, name, digest)
                )
                applied += 1
            elif known[version] != digest:
                raise DependencyError(NAME, f"migration {name} differs from the one the database was made with")
    return applied


class Database:
    """The pool of one service; enter it to start, leave it to stop.

    It starts without a server: connecting and the migrations are retried in the background until they work.
    ``on_identity`` hears which database this is, at the start and at every check.
    """

    def __init__(
        self,
        parameters: dict[str, Any],
        component: str,
        instance: str,
        maximum: int,
        on_identity: Callable[[str], None],
    ) -> None:
        self._arguments = connection_arguments(parameters, component)
        self._instance = instance
        self._last_error = "not connected yet"
        self._schema_ready = False
        self._unreachable = False
        self._on_identity = on_identity
        self._stack = contextlib.AsyncExitStack()
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._maximum = maximum
        POOL_MAX.set(maximum)

    async def __aenter__(self) -> Database:
        """Open the pool without waiting for the server."""
        database = self

        class Recording(psycopg.AsyncConnection[Any]):
            """A connection class that remembers why connecting failed: the pool's own timeout does not say it."""

            @classmethod
            async def connect(cls, *args: Any, **kwargs: Any) -> Any:
                try:
                    connection = await super().connect(*args, **kwargs)
                except psycopg.Error as error:
                    database._last_error, database._unreachable = reason_of(error), True
                    raise
                database._unreachable = False
                return connection

        self._pool = AsyncConnectionPool(
            kwargs={**self._arguments, "row_factory": dict_row},
            connection_class=Recording,
            min_size=1,
            max_size=self._maximum,
            reconnect_timeout=5.0,  # a short patience: the next request starts a fresh attempt
            max_idle=120.0,
            check=AsyncConnectionPool.check_connection,
            open=False,
            name=NAME,
        )
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # the reason is logged here, once a change
        await self._pool.open(wait=False)
        self._stack.push_async_callback(self._pool.close, 5.0)
        await self._stack.enter_async_context(task(self._prepare))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the background work and close the pool."""
        if self._schema_ready:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(1.0), self.connection() as connection:
                    await connection.execute("DELETE FROM service_readiness WHERE instance = %s", (self._instance,))
        await self._stack.aclose()

    async def _prepare(self) -> None:
        """Run the migrations as soon as the server answers."""
        last, attempt = "", 0
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    **self._arguments, row_factory=dict_row, autocommit=True
                ) as connection:
                    applied = await migrate(connection)
                    await self._identify(connection)
                    await connection.execute(_FORGET_GONE_REPLICAS)
            except (psycopg.Error, OSError, DependencyError) as error:
                self._last_error = error.reason if isinstance(error, DependencyError) else reason_of(error)
                if self._last_error != last:
                    log.warning("the database is not ready, trying again", extra={"reason": self._last_error})
                last = self._last_error
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
                continue
            self._schema_ready = True
            log.info("the schema is up to date", extra={"migrations_applied": applied})
            return

    async def _identify(self, connection: Connection) -> None:
        row = await (await connection.execute(_IDENTITY)).fetchone()
        self._on_identity(row["identity"] if row else "")

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection inside one transaction; raise DependencyError with the server's reason.

        Errors in the data (a constraint) pass through as psycopg's own.
        """
        if self._pool is None or not self._schema_ready:
            raise DependencyError(NAME, self._last_error)
        borrowed = await self._borrow(self._pool)
        try:
            async with borrowed:  # commits, or rolls back when an error passes
                yield borrowed
        except _UNAVAILABLE as error:
            self._last_error = reason_of(error)
            raise DependencyError(NAME, self._last_error) from error
        finally:
            await self._pool.putconn(borrowed)

    async def _borrow(self, pool: AsyncConnectionPool[Connection]) -> Connection:
        """Wait for a connection, but not for a server that refuses: the caller gets the reason at once."""
        deadline = time.monotonic() + ACQUIRE_SECONDS
        while True:
            try:
                return await pool.getconn(SLICE_SECONDS)
            except PoolTimeout:
                if self._unreachable:
                    raise DependencyError(NAME, self._last_error) from None
                if time.monotonic() > deadline:
                    full = pool.get_stats().get("pool_size", 0) >= self._maximum
                    reason = "all connections are in use" if full else self._last_error
                    raise DependencyError(NAME, reason) from None

    async def check(self) -> None:
        """Prove that the database keeps what is written: commit a row, read it back in another transaction."""
        token = uuid.uuid4().hex
        async with self.connection() as connection:
            await connection.execute(
                "INSERT INTO service_readiness (instance, token) VALUES (%s, %s)"
                " ON CONFLICT (instance) DO UPDATE SET token = EXCLUDED.token, written_at = now()",
                (self._instance, token),
            )
        async with self.connection() as connection:
            row = await (
                await connection.execute("SELECT token FROM service_readiness WHERE instance = %s", (self._instance,))
            ).fetchone()
            await self._identify(connection)
        if row is None or row["token"] != token:
            raise DependencyError(NAME, "a row that was written could not be read back")

    def measure(self) -> None:
        """Publish the state of the pool."""
        stats = self._pool.get_stats() if self._pool is not None else {}
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        POOL.labels("idle").set(idle)
        POOL.labels("used").set(max(size - idle, 0))
        POOL_WAITING.set(stats.get("requests_waiting", 0))
