# SPDX-License-Identifier: MIT
"""What the API accepts and answers."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field


class Status(StrEnum):
    """Life of a ticket."""

    OPEN = "open"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Category(StrEnum):
    """Subject of a ticket."""

    NETWORK = "network"
    HARDWARE = "hardware"
    SOFTWARE = "software"
    ACCOUNT = "account"
    EMAIL = "email"
    UNCLASSIFIED = "unclassified"


class Priority(StrEnum):
    """Urgency of a ticket."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"


class _Input(BaseModel):
    """A request body: unknown fields are refused, NUL (which Postgres cannot store) too."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


_TITLE = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")
_LONG_TEXT = Field(min_length=1, max_length=20_000, pattern=r"^[^\x00]*$")
_REPORTER = Field(default=None, max_length=200, pattern=r"^[^\x00]*$")
_AGENT_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class NewTicket(_Input):
    """A ticket to store."""

    title: str = _TITLE
    description: str = Field(default="", max_length=20_000, pattern=r"^[^\x00]*$")
    reporter: str | None = _REPORTER
    category: Category = Category.UNCLASSIFIED
    priority: Priority = Priority.NORMAL


class TicketChange(_Input):
    """A change of status."""

    status: Status


class TextToClassify(_Input):
    """A ticket's text; the ticket is classified and stored."""

    text: str = _LONG_TEXT
    reporter: str | None = _REPORTER


class Resolution(_Input):
    """How a ticket was resolved."""

    resolution: str = _LONG_TEXT


class ResolutionRequest(_Input):
    """Resolve a known ticket with this description, or, without an id, open one and answer the guide."""

    category: Category
    description: str = _LONG_TEXT
    ticket_id: int | None = Field(default=None, ge=1, lt=2**63)


class SyncRequest(_Input):
    """``force`` empties the cache first."""

    force: bool = False


class BackupRequest(_Input):
    """Which backup to make."""

    backup_type: Literal["full", "incremental", "config_only"] = "full"


class Heartbeat(_Input):
    """An agent says that it is there."""

    name: str = Field(pattern=_AGENT_NAME)
    kind: str = Field(min_length=1, max_length=63, pattern=r"^[a-z0-9-]+$")
    version: str = Field(min_length=1, max_length=63, pattern=r"^[\w.+-]+$")
    instance: str = Field(min_length=1, max_length=253, pattern=r"^[\w.-]+$")
    url: AnyHttpUrl | None = None


class Ticket(BaseModel):
    """A stored ticket."""

    id: int
    revision: int
    title: str
    description: str
    reporter: str | None
    status: Status
    category: Category
    priority: Priority
    classified_by: str | None
    resolution: str | None
    created_at: datetime
    updated_at: datetime
    resolved_at: datetime | None


class TicketPage(BaseModel):
    """Tickets, newest first; ``next_before`` is the ``before`` of the next page, null on the last."""

    items: list[Ticket]
    count: int
    next_before: int | None


class ClassificationAnswer(BaseModel):
    """The stored ticket and why it was put there; ``rule`` is null when no rule matched."""

    ticket: Ticket
    category: Category
    rule: str | None
    matched: list[str]
    priority: Priority
    priority_matched: list[str]


class ResolutionAnswer(BaseModel):
    """``action``: ``resolved`` a known ticket or ``created`` a new one; ``guide``: the category's check list."""

    ticket: Ticket
    action: str
    guide: list[str]


class SyncAnswer(BaseModel):
    """What the synchronisation really did."""

    tickets_in_database: int
    read: int
    written: int
    newer_in_cache: int
    deleted_before: int
    seconds: float


class Agent(BaseModel):
    """A registered agent; ``active`` while its last heartbeat is younger than the limit."""

    name: str
    kind: str
    version: str
    url: str | None
    instance: str
    registered_at: datetime
    last_heartbeat_at: datetime
    seconds_since_heartbeat: float
    active: bool


class AgentList(BaseModel):
    """All registered agents."""

    items: list[Agent]
    count: int
    active: int
