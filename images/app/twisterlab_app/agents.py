# SPDX-License-Identifier: MIT
"""The register of agents in Postgres."""

from __future__ import annotations

from .database import Database
from .models import Agent, Heartbeat

_SELECT = (
    "SELECT *, extract(epoch FROM now() - last_heartbeat_at)::float8 AS seconds_since_heartbeat,"
    " now() - last_heartbeat_at < make_interval(secs => %s) AS active FROM agents"
)


class Agents:
    """Register heartbeats and list who is there; ``timeout`` seconds without one make an agent inactive."""

    def __init__(self, database: Database, timeout: int) -> None:
        self._database = database
        self._timeout = timeout

    async def beat(self, heartbeat: Heartbeat) -> Agent:
        """Store a heartbeat (the first one registers the agent) and return the agent."""
        url = str(heartbeat.url) if heartbeat.url else None
        values = (heartbeat.name, heartbeat.kind, heartbeat.version, url, heartbeat.instance)
        async with self._database.connection() as connection:
            await connection.execute(
                "INSERT INTO agents (name, kind, version, url, instance) VALUES (%s, %s, %s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET kind = EXCLUDED.kind, version = EXCLUDED.version,"
                " url = EXCLUDED.url, instance = EXCLUDED.instance, last_heartbeat_at = now()",
                values,
            )
            row = await (
                await connection.execute(f"{_SELECT} WHERE name = %s", (self._timeout, heartbeat.name))
            ).fetchone()
        return Agent.model_validate(row)

    async def all(self) -> list[Agent]:
        """Return every registered agent by name."""
        async with self._database.connection() as connection:
            rows = await (await connection.execute(f"{_SELECT} ORDER BY name", (self._timeout,))).fetchall()
        return [Agent.model_validate(row) for row in rows]
