# SPDX-License-Identifier: MIT
"""The ticket API: ``python -m twisterlab_app.api`` (port 8000)."""

from __future__ import annotations

import asyncio
import time

from fastapi import FastAPI
from prometheus_client import Gauge
from starlette.middleware import Middleware

from .agents import Agents
from .api_routes import agent_routes, backup_routes, ticket_routes
from .cache import Cache
from .database import Database
from .errors import ConfigurationError, DependencyError
from .ratelimit import RateLimit
from .redaction import Redactor
from .server import main
from .service import build_service
from .settings import Settings
from .tickets import Tickets

COUNT_SECONDS = 15.0  # how old the counted gauges may be: a scrape must not become a table scan
TICKETS = Gauge("twisterlab_tickets", "Tickets in the database by status.", ("status",))
AGENT_ACTIVE = Gauge("twisterlab_agent_active", "1 while the agent's heartbeat is recent.", ("agent",))
AGENT_AGE = Gauge("twisterlab_agent_heartbeat_age_seconds", "Seconds since the agent's last heartbeat.", ("agent",))


class Counted:
    """Gauges counted in the database when they are scraped; without a database there are none, not old ones."""

    def __init__(self, database: Database, tickets: Tickets, agents: Agents) -> None:
        self._database, self._tickets, self._agents = database, tickets, agents
        self._counted_at = float("-inf")

    async def refresh(self) -> None:
        """Bring the gauges up to date; never fails a scrape."""
        self._database.measure()
        if time.monotonic() - self._counted_at < COUNT_SECONDS:
            return
        try:
            async with asyncio.timeout(2.0):
                counts, agents = await self._tickets.counts(), await self._agents.all()
        except (DependencyError, TimeoutError):
            for gauge in (TICKETS, AGENT_ACTIVE, AGENT_AGE):
                gauge.clear()
            return
        for status, number in counts.items():
            TICKETS.labels(status).set(number)
        for agent in agents:
            AGENT_ACTIVE.labels(agent.name).set(int(agent.active))
            AGENT_AGE.labels(agent.name).set(round(agent.seconds_since_heartbeat, 1))
        self._counted_at = time.monotonic()


def build(settings: Settings, redact: Redactor) -> FastAPI:
    """Return the API's application; ConfigurationError when a dependency is not configured."""
    if settings.postgres is None:
        raise ConfigurationError(
            "DATABASE_URL is not set: write postgresql://user:password@host:5432/name (there is no other storage)."
        )
    if settings.redis is None:
        raise ConfigurationError("REDIS_URL is not set: write redis://:password@host:6379/0.")
    cache = Cache(settings.redis, settings.instance, settings.cache_ttl)

    def remember_source(identity: str) -> None:
        cache.source = identity

    database = Database(settings.postgres, settings.component, settings.instance, settings.db_pool_max, remember_source)
    tickets, agents = Tickets(database, cache), Agents(database, settings.agent_timeout)
    checks = {"postgres": database.check, "redis": cache.check}
    counted = Counted(database, tickets, agents)
    app = build_service("TwisterLab API", settings, redact, checks, (cache, database), counted.refresh)
    if settings.rate_limit_per_minute:
        # add_middleware would put it outermost; inside, its refusals are measured and carry a request id too
        app.user_middleware.append(Middleware(RateLimit, cache=cache, per_minute=settings.rate_limit_per_minute))
    app.include_router(ticket_routes(tickets))
    app.include_router(agent_routes(agents))
    app.include_router(backup_routes())
    return app


if __name__ == "__main__":
    main("api", 8000, build)
