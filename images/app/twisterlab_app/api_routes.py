# SPDX-License-Identifier: MIT
"""The routes under /api/v1 of the API."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Response

from .agents import Agents
from .classifier import classify
from .guides import GUIDES
from .models import (
    Agent,
    AgentList,
    BackupRequest,
    Category,
    ClassificationAnswer,
    Heartbeat,
    NewTicket,
    Resolution,
    ResolutionAnswer,
    ResolutionRequest,
    Status,
    SyncAnswer,
    SyncRequest,
    TextToClassify,
    Ticket,
    TicketChange,
    TicketPage,
)
from .tickets import ConflictError, Tickets, new_from_request

SYNC_LIMIT = 5000
Number = Annotated[int, Path(ge=1, lt=2**63)]


def _found(ticket: Ticket | None, number: int) -> Ticket:
    if ticket is None:
        raise HTTPException(404, f"there is no ticket {number}")
    return ticket


def ticket_routes(tickets: Tickets) -> APIRouter:
    """Return the routes of tickets and their cache."""
    router = APIRouter(prefix="/api/v1", tags=["tickets"])

    @router.post("/tickets", status_code=201)
    async def create(new: NewTicket) -> Ticket:
        """Store a ticket."""
        return await tickets.create(new)

    @router.get("/tickets")
    async def page(
        status: Status | None = None,
        category: Category | None = None,
        before: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> TicketPage:
        """List tickets, newest first."""
        items = await tickets.page(status, category, before, limit + 1)
        more, items = len(items) > limit, items[:limit]
        return TicketPage(items=items, count=len(items), next_before=items[-1].id if more else None)

    @router.post("/tickets/classify", status_code=201)
    async def classify_text(request: TextToClassify) -> ClassificationAnswer:
        """Classify a text by rules and store it as a ticket."""
        answer = classify(request.text)
        ticket = await tickets.create_classified(request.text, request.reporter, answer)
        return ClassificationAnswer.model_validate({"ticket": ticket, **asdict(answer)})

    @router.post("/tickets/resolve")
    async def resolve_or_open(request: ResolutionRequest, response: Response) -> ResolutionAnswer:
        """Resolve the ticket named, or open a new one and answer the guide of its category."""
        guide = list(GUIDES[request.category])
        if request.ticket_id is None:
            response.status_code = 201
            ticket = await tickets.create(new_from_request(request.category, request.description))
            return ResolutionAnswer(ticket=ticket, action="created", guide=guide)
        try:
            changed = await tickets.resolve(request.ticket_id, request.description, request.category)
        except ConflictError as error:
            raise HTTPException(409, str(error)) from None
        return ResolutionAnswer(ticket=_found(changed, request.ticket_id), action="resolved", guide=guide)

    @router.get("/tickets/{number}")
    async def one(number: Number, response: Response) -> Ticket:
        """Return one ticket; the header X-Source says whether the cache or the database answered."""
        ticket, source = await tickets.get(number)
        response.headers["X-Source"] = source
        return _found(ticket, number)

    @router.patch("/tickets/{number}")
    async def change(number: Number, wanted: TicketChange) -> Ticket:
        """Change the status of a ticket."""
        try:
            return _found(await tickets.set_status(number, wanted.status), number)
        except ConflictError as error:
            raise HTTPException(409, str(error)) from None

    @router.post("/tickets/{number}/resolve")
    async def resolve(number: Number, how: Resolution) -> Ticket:
        """Mark a ticket resolved."""
        try:
            return _found(await tickets.resolve(number, how.resolution), number)
        except ConflictError as error:
            raise HTTPException(409, str(error)) from None

    @router.post("/cache/sync", tags=["cache"])
    async def sync(request: SyncRequest | None = None) -> SyncAnswer:
        """Read the newest tickets from Postgres into Redis and say how many."""
        return await tickets.sync(request.force if request else False, SYNC_LIMIT)

    return router


def backup_routes() -> APIRouter:
    """Return the route of backups."""
    router = APIRouter(prefix="/api/v1", tags=["backups"])

    @router.post("/backups", status_code=201)
    async def make(_request: BackupRequest | None = None) -> None:
        """Make a backup; 501 while this installation has none configured."""
        raise HTTPException(501, "no backup is configured in this installation, so nothing was backed up")

    return router


def agent_routes(agents: Agents) -> APIRouter:
    """Return the routes of the agents' register."""
    router = APIRouter(prefix="/api/v1", tags=["agents"])

    @router.get("/agents")
    async def everybody() -> AgentList:
        """List the registered agents and which of them are active."""
        items = await agents.all()
        return AgentList(items=items, count=len(items), active=sum(item.active for item in items))

    @router.post("/agents/heartbeat")
    async def beat(heartbeat: Heartbeat) -> Agent:
        """Register an agent or renew its heartbeat."""
        return await agents.beat(heartbeat)

    return router
