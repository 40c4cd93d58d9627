# SPDX-License-Identifier: MIT
"""Monitoring: ``python -m twisterlab_app.monitoring`` (port 8082). It uses every tier and says what it found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import psycopg
from fastapi import APIRouter, FastAPI
from prometheus_client import Gauge
from psycopg.rows import dict_row
from pydantic import BaseModel, Field

from .background import repeat, task
from .cache import Cache
from .database import connection_arguments
from .errors import ConfigurationError, DependencyError, reason_of
from .heartbeat import heartbeats
from .mcp_http import McpEndpoint
from .mcp_prometheus import prometheus_tools
from .mcp_tools import Arguments, NoArguments, Tool, ToolBox, ToolFailure
from .peers import CHECK_SECONDS as PEER_SECONDS
from .peers import PeerClient
from .redaction import Redactor
from .server import main
from .service import READY_SECONDS, build_service
from .settings import Peer, Settings

NAME = "mcp-monitoring"
MCP_NAME = "twisterlab-mcp-monitoring"
LIMIT_SECONDS = 5.0
CHECK_UP = Gauge("twisterlab_check_up", "1 when the last check of the tier worked.", ("check",))
CHECK_SECONDS = Gauge("twisterlab_check_duration_seconds", "How long the last check of the tier took.", ("check",))

Facts = dict[str, Any]
Prober = Callable[[], Awaitable[Facts]]


class Verdict(BaseModel):
    """What one check found; a check that is not configured is ``skipped``, never ``ok``."""

    name: str
    verdict: Literal["ok", "failed", "skipped"]
    reason: str | None
    seconds: float
    facts: Facts


class Report(BaseModel):
    """All checks, made at this moment; ``healthy`` is false when one failed."""

    healthy: bool
    checks: list[Verdict]


class TierArguments(Arguments):
    """The name of a tier, as check_tiers lists it."""

    tier: str = Field(min_length=1, max_length=63)


class Monitor:
    """Run the checks together; callers that come at the same time share one round."""

    def __init__(self, probers: dict[str, Prober | None], redact: Redactor) -> None:
        self._probers = probers
        self._redact = redact
        self._round: asyncio.Task[Report] | None = None
        self._rounds = 0

    async def _one(self, name: str, prober: Prober | None) -> Verdict:
        if prober is None:
            return Verdict(name=name, verdict="skipped", reason="not configured", seconds=0, facts={})
        started, facts, reason = time.perf_counter(), {}, None
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                facts = await prober()
        except DependencyError as error:
            reason = error.reason
        except Exception as error:  # whatever went wrong is the verdict
            reason = reason_of(error)
        seconds = round(time.perf_counter() - started, 4)
        CHECK_UP.labels(name).set(int(reason is None))
        CHECK_SECONDS.labels(name).set(seconds)
        said = self._redact(reason) if reason else None
        return Verdict(name=name, verdict="failed" if reason else "ok", reason=said, seconds=seconds, facts=facts)

    async def _all(self) -> Report:
        checks = await asyncio.gather(*(self._one(name, prober) for name, prober in self._probers.items()))
        self._rounds += 1
        return Report(healthy=all(check.verdict != "failed" for check in checks), checks=list(checks))

    async def report(self) -> Report:
        """Check everything now."""
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._all())
        return await asyncio.shield(self._round)

    async def one(self, name: str) -> Verdict:
        """Check one tier now; ToolFailure names the known ones."""
        if name not in self._probers:
            raise ToolFailure(f"there is no tier {name!r}; known: {', '.join(self._probers)}", "refused")
        return await self._one(name, self._probers[name])

    async def check(self) -> None:
        """Ready once a round has ended, whatever it found: monitoring must be reachable when the rest is down."""
        if not self._rounds:
            raise DependencyError("checks", "the first round of checks has not ended yet")


def postgres_prober(arguments: dict[str, Any]) -> Prober:
    """Return a check that connects anew and reads how full the server is."""

    async def probe() -> Facts:
        statement = (
            "SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS in_recovery,"
            " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,"
            " current_setting('max_connections')::int AS max_connections, pg_database_size(current_database()) AS bytes"
        )
        async with await psycopg.AsyncConnection.connect(
            **arguments, row_factory=dict_row, autocommit=True
        ) as connection:
            return dict(await (await connection.execute(statement)).fetchone() or {})

    return probe


def redis_prober(cache: Cache) -> Prober:
    """Return a check that writes, reads back and asks for memory."""

    async def probe() -> Facts:
        await cache.check()
        return await cache.facts()

    return probe


def http_prober(client: PeerClient, peer: Peer, path: str | None = None, seconds: float = PEER_SECONDS) -> Prober:
    """Return a check of an HTTP service, which may take so long to answer."""

    async def probe() -> Facts:
        health = await client.health(peer, path, seconds)
        if not health.healthy:
            raise DependencyError(peer.name, health.reason or "unhealthy")
        return {"url": health.url, "status": health.status}

    return probe


def routes(monitor: Monitor) -> APIRouter:
    """Return the routes under /api/v1."""
    router = APIRouter(prefix="/api/v1", tags=["checks"])

    @router.get("/checks")
    async def checks() -> Report:
        """Check every tier now and answer verdict, reason and time of each."""
        return await monitor.report()

    return router


def tools(monitor: Monitor) -> list[Tool]:
    """Return the MCP tools that check tiers."""

    async def everything(_arguments: NoArguments) -> Report:
        return await monitor.report()

    async def one(arguments: TierArguments) -> Verdict:
        return await monitor.one(arguments.tier)

    return [
        Tool(
            "check_tiers",
            "Check every tier now: verdict, reason and time of each.",
            NoArguments,
            Report,
            everything,
            reads=True,
        ),
        Tool("check_tier", "Check one tier now.", TierArguments, Verdict, one, reads=True),
    ]


def build(settings: Settings, redact: Redactor) -> FastAPI:
    """Return the monitoring application."""
    if not settings.api_url:
        raise ConfigurationError("API_URL is not set: write http://twisterlab-api:8000.")
    client = PeerClient()
    probers: dict[str, Prober | None] = {
        # It answers when its own checks end: only then it can say what failed.
        "api": http_prober(client, Peer("api", settings.api_url), "/ready", READY_SECONDS + 0.5)
    }
    resources: list[Any] = [client]
    probers["postgres"] = None
    if settings.postgres is not None:
        probers["postgres"] = postgres_prober(connection_arguments(settings.postgres, settings.component))
    probers["redis"] = None
    if settings.redis is not None:
        cache = Cache(settings.redis, settings.instance, settings.cache_ttl)
        probers["redis"] = redis_prober(cache)
        resources.append(cache)
    probers.update({peer.name: http_prober(client, peer) for peer in settings.peers})
    monitor = Monitor(probers, redact)
    resources.append(task(lambda: repeat("checks", settings.check_interval, monitor.report)))
    resources.append(heartbeats(settings, NAME, "monitoring", client))
    offered = tools(monitor) + prometheus_tools(client, settings.mcp.prometheus_url)
    box = ToolBox(MCP_NAME, offered, settings.mcp.tool_timeout, redact)
    endpoint = McpEndpoint(box.server("Checks the tiers of TwisterLab and reads its alerts and metrics."), settings.mcp)
    resources.append(endpoint.running())
    app = build_service("TwisterLab MCP monitoring", settings, redact, {"checks": monitor.check}, resources)
    app.include_router(routes(monitor))
    endpoint.add_to(app)
    return app


if __name__ == "__main__":
    main("mcp-monitoring", 8082, build)
