# SPDX-License-Identifier: MIT
"""The orchestrator: ``python -m twisterlab_app.orchestrator`` (port 8080). It routes requests to its agents."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, FastAPI, HTTPException
from prometheus_client import Gauge
from pydantic import BaseModel, ConfigDict, Field

from .background import repeat, task
from .errors import ConfigurationError, DependencyError
from .heartbeat import heartbeats
from .mcp_api_tools import said
from .mcp_http import McpEndpoint
from .mcp_tools import Arguments, NoArguments, Tool, ToolBox, ToolFailure
from .peers import PeerAnswer, PeerClient, PeerHealth
from .redaction import Redactor
from .server import main
from .service import build_service
from .settings import Peer, Settings

NAME = "mcp-orchestrator"
MCP_NAME = "twisterlab-mcp-orchestrator"
PEER_UP = Gauge("twisterlab_peer_up", "1 when the peer's last health check worked.", ("peer",))


class PeerList(BaseModel):
    """Every configured agent with its health at this moment."""

    items: list[PeerHealth]
    count: int
    healthy: int


class AgentArguments(Arguments):
    """The name of a configured agent."""

    agent: str = Field(min_length=1, max_length=63)


class RoutedRequest(BaseModel):
    """A request for one of the configured agents; ``path`` is a path on that agent, nothing else."""

    model_config = ConfigDict(extra="forbid")
    agent: str = Field(min_length=1, max_length=63)
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    path: str = Field(max_length=2000, pattern=r"^/([^/\s\\#\x00][^\s\\#\x00]*)?$")
    body: Any = None


class Orchestrator:
    """The configured agents and what is known about them."""

    def __init__(self, peers: tuple[Peer, ...], client: PeerClient) -> None:
        self.peers = {peer.name: peer for peer in peers}
        self._client = client
        self._rounds = 0

    async def look(self) -> list[PeerHealth]:
        """Check all agents now."""
        found = await self._client.healths(self.peers.values())
        for health in found:
            PEER_UP.labels(health.name).set(int(health.healthy))
        self._rounds += 1
        return found

    async def listed(self) -> PeerList:
        """Check all agents now and count them."""
        items = await self.look()
        return PeerList(items=items, count=len(items), healthy=sum(item.healthy for item in items))

    async def check(self) -> None:
        """Ready once the agents were looked at; a sick agent must not take the orchestrator out of service."""
        if not self._rounds:
            raise DependencyError("agents", "the first health check of the agents has not ended yet")

    def peer(self, name: str) -> Peer:
        """Return a configured agent; KeyError with a sentence that names the known ones."""
        if name not in self.peers:
            raise KeyError(f"no agent {name!r} is configured; known: {', '.join(sorted(self.peers)) or 'none'}")
        return self.peers[name]


def routes(orchestrator: Orchestrator, client: PeerClient) -> APIRouter:
    """Return the routes under /api/v1."""
    router = APIRouter(prefix="/api/v1", tags=["agents"])

    def known(name: str) -> Peer:
        try:
            return orchestrator.peer(name)
        except KeyError as error:
            raise HTTPException(404, error.args[0]) from None

    @router.get("/agents")
    async def everybody() -> PeerList:
        """List the configured agents and their health, checked now."""
        return await orchestrator.listed()

    @router.get("/agents/{name}")
    async def one(name: str) -> PeerHealth:
        """Check one agent now."""
        return await client.health(known(name))

    @router.post("/route")
    async def route(request: RoutedRequest) -> PeerAnswer:
        """Send a request to an agent and return what it answered; 503 with the reason when it does not answer."""
        return await client.call(known(request.agent), request.method, request.path, request.body)

    return router


def tools(orchestrator: Orchestrator, client: PeerClient) -> list[Tool]:
    """Return the MCP tools: what the routes do."""

    def known(name: str) -> Peer:
        try:
            return orchestrator.peer(name)
        except KeyError as error:
            raise ToolFailure(error.args[0], "refused") from None

    async def everybody(_arguments: NoArguments) -> PeerList:
        return await orchestrator.listed()

    async def one(arguments: AgentArguments) -> PeerHealth:
        return await client.health(known(arguments.agent))

    async def route(request: RoutedRequest) -> PeerAnswer:
        answer = await client.call(known(request.agent), request.method, request.path, request.body)
        if answer.status >= 400:
            raise ToolFailure(f"{answer.agent} answered {answer.status}: {said(answer)}", answer=answer)
        return answer

    return [
        Tool(
            "list_agents",
            "List the configured agents and their health, checked now.",
            NoArguments,
            PeerList,
            everybody,
            reads=True,
        ),
        Tool("agent_health", "Check one configured agent now.", AgentArguments, PeerHealth, one, reads=True),
        Tool(
            "route_request",
            "Send an HTTP request to one of the configured agents and return its answer.",
            RoutedRequest,
            PeerAnswer,
            route,
        ),
    ]


def build(settings: Settings, redact: Redactor) -> FastAPI:
    """Return the orchestrator's application."""
    if not settings.api_url:
        raise ConfigurationError("API_URL is not set: write http://twisterlab-api:8000.")
    client = PeerClient(settings.mcp.tool_timeout)
    orchestrator = Orchestrator(settings.peers, client)
    looking = task(lambda: repeat("agents", settings.check_interval, orchestrator.look))
    box = ToolBox(MCP_NAME, tools(orchestrator, client), settings.mcp.tool_timeout, redact)
    endpoint = McpEndpoint(box.server("Routes requests to the agents of TwisterLab."), settings.mcp)
    resources = (client, looking, heartbeats(settings, NAME, "orchestrator", client), endpoint.running())
    app = build_service("TwisterLab MCP orchestrator", settings, redact, {"agents": orchestrator.check}, resources)
    app.include_router(routes(orchestrator, client))
    endpoint.add_to(app)
    return app


if __name__ == "__main__":
    main("mcp-orchestrator", 8080, build)
