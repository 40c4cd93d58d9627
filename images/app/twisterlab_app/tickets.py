# SPDX-License-Identifier: MIT
"""Tickets: Postgres keeps them, Redis remembers them for a while."""

from __future__ import annotations

import time
from typing import Any, LiteralString

from prometheus_client import Counter
from psycopg import sql

from .cache import Cache
from .classifier import Classification
from .database import Connection, Database
from .models import Category, NewTicket, Priority, Status, SyncAnswer, Ticket

CREATED = Counter("twisterlab_tickets_created_total", "Tickets stored by this process.", ("category",))
CLASSIFIED = Counter("twisterlab_tickets_classified_total", "Classifications by the rule that decided.", ("rule",))
SYNC_BATCH = 500
_FIELDS = sql.SQL(", ").join(map(sql.Identifier, Ticket.model_fields))
_TERMINAL = {Status.RESOLVED, Status.CLOSED}


class ConflictError(Exception):
    """The ticket's state does not allow the change; the message says it."""


def _one(row: dict[str, Any] | None) -> Ticket | None:
    return Ticket.model_validate(row) if row is not None else None


class Tickets:
    """Store and read tickets; every method raises DependencyError when Postgres does not answer."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self._database = database
        self._cache = cache

    async def _remember(self, ticket: Ticket) -> None:
        await self._cache.put_ticket(ticket.id, ticket.revision, ticket.model_dump_json())

    async def create(self, new: NewTicket, classified_by: str | None = None) -> Ticket:
        """Store a ticket and return it as Postgres has it."""
        statement = sql.SQL(
            "INSERT INTO tickets (title, description, reporter, category, priority, classified_by)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING {}"
        ).format(_FIELDS)
        values = (new.title, new.description, new.reporter, new.category, new.priority, classified_by)
        async with self._database.connection() as connection:
            ticket = Ticket.model_validate(await (await connection.execute(statement, values)).fetchone())
        CREATED.labels(ticket.category).inc()
        await self._remember(ticket)
        return ticket

    async def create_classified(self, text: str, reporter: str | None, answer: Classification) -> Ticket:
        """Store the ticket of a classification; its first line is the title."""
        CLASSIFIED.labels(answer.rule or "none").inc()
        title = _first_line(text)[:200]
        new = NewTicket(
            title=title, description=text, reporter=reporter, category=answer.category, priority=answer.priority
        )
        return await self.create(new, f"rule:{answer.rule or 'none'}")

    async def get(self, number: int) -> tuple[Ticket | None, str]:
        """Return the ticket (None: there is none) and where it came from, ``cache`` or ``database``."""
        cached = await self._cache.get_ticket(number)
        if cached is not None:
            return Ticket.model_validate_json(cached), "cache"
        statement = sql.SQL("SELECT {} FROM tickets WHERE id = %s").format(_FIELDS)
        async with self._database.connection() as connection:
            row = await (await connection.execute(statement, (number,))).fetchone()
        ticket = _one(row)
        if ticket is not None:
            await self._remember(ticket)
        return ticket, "database"

    async def page(
        self, status: Status | None, category: Category | None, before: int | None, limit: int
    ) -> list[Ticket]:
        """Return up to ``limit`` tickets with ids below ``before``, newest first."""
        wanted: dict[LiteralString, Any] = {"status = %s": status, "category = %s": category, "id < %s": before}
        conditions = [sql.SQL(condition) for condition, value in wanted.items() if value is not None]
        values: list[Any] = [value for value in wanted.values() if value is not None]
        where = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("")
        statement = sql.SQL("SELECT {} FROM tickets{} ORDER BY id DESC LIMIT %s").format(_FIELDS, where)
        async with self._database.connection() as connection:
            rows = await (await connection.execute(statement, [*values, limit])).fetchall()
        return [Ticket.model_validate(row) for row in rows]

    async def _change(
        self, number: int, status: Status, resolution: str | None, category: Category | None
    ) -> Ticket | None:
        """Lock the row, check the step, change it."""
        async with self._database.connection() as connection:
            row = await (
                await connection.execute("SELECT status FROM tickets WHERE id = %s FOR UPDATE", (number,))
            ).fetchone()
            if row is None:
                return None
            if row["status"] == Status.CLOSED and status not in (Status.OPEN, Status.CLOSED):
                raise ConflictError(f"ticket {number} is closed: open it again before it becomes {status}")
            ticket = await self._write(connection, number, status, resolution, category)
        await self._remember(ticket)
        return ticket

    @staticmethod
    async def _write(
        connection: Connection, number: int, status: Status, resolution: str | None, category: Category | None
    ) -> Ticket:
        resolved_at = "coalesce(resolved_at, now())" if status in _TERMINAL else "NULL"
        statement = sql.SQL(
            "UPDATE tickets SET status = %s, resolution = coalesce(%s, resolution), category = coalesce(%s, category),"
            " resolved_at = {}, updated_at = now(), revision = revision + 1 WHERE id = %s RETURNING {}"
        ).format(sql.SQL(resolved_at), _FIELDS)
        row = await (await connection.execute(statement, (status, resolution, category, number))).fetchone()
        return Ticket.model_validate(row)

    async def set_status(self, number: int, status: Status) -> Ticket | None:
        """Change the status; None: there is no such ticket; ConflictError: not from its present status."""
        return await self._change(number, status, None, None)

    async def resolve(self, number: int, resolution: str, category: Category | None = None) -> Ticket | None:
        """Mark a ticket resolved and keep how."""
        return await self._change(number, Status.RESOLVED, resolution, category)

    async def counts(self) -> dict[str, int]:
        """Return the number of tickets of every status."""
        async with self._database.connection() as connection:
            rows = await (
                await connection.execute("SELECT status, count(*) AS number FROM tickets GROUP BY status")
            ).fetchall()
        return {status.value: 0 for status in Status} | {row["status"]: row["number"] for row in rows}

    async def sync(self, force: bool, limit: int) -> SyncAnswer:
        """Read the newest ``limit`` tickets from Postgres into Redis; DependencyError when either does not answer."""
        started = time.perf_counter()
        # Counted first: while Postgres does not answer, the cache is all that can still be read.
        total, read, written, newer, before = sum((await self.counts()).values()), 0, 0, 0, None
        deleted = await self._cache.forget_tickets() if force else 0
        while read < limit:
            batch = await self.page(None, None, before, min(SYNC_BATCH, limit - read))
            if not batch:
                break
            stored, kept = await self._cache.put_tickets(
                (item.id, item.revision, item.model_dump_json()) for item in batch
            )
            read, written, newer, before = read + len(batch), written + stored, newer + kept, batch[-1].id
        seconds = round(time.perf_counter() - started, 4)
        return SyncAnswer(
            tickets_in_database=total,
            read=read,
            written=written,
            newer_in_cache=newer,
            deleted_before=deleted,
            seconds=seconds,
        )


def _first_line(text: str) -> str:
    """Return the first line; of a text that has none but separators, which are no blanks to the models, all of it."""
    return (text.strip().splitlines() or [text])[0]


def default_title(category: Category, description: str) -> str:
    """Return a title for a ticket that came without one."""
    return f"{category.value}: {_first_line(description)}"[:200]


def new_from_request(category: Category, description: str) -> NewTicket:
    """Return the ticket to store for a resolution request without an id."""
    return NewTicket(
        title=default_title(category, description), description=description, category=category, priority=Priority.NORMAL
    )
