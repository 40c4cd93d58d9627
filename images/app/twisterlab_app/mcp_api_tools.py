# SPDX-License-Identifier: MIT
"""The tools that do their work through the ticket API."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from .errors import DependencyError
from .mcp_tools import Arguments, NoArguments, Tool, ToolFailure
from .models import AgentList, ClassificationAnswer, ResolutionAnswer, SyncAnswer
from .peers import PeerAnswer, PeerClient
from .settings import Peer

Answer = TypeVar("Answer", bound=BaseModel)
_TEXT = Field(min_length=1, max_length=20_000)


class HealthArguments(Arguments):
    """``detailed`` adds the facts that monitoring found."""

    detailed: bool = False


class BackupArguments(Arguments):
    """Which backup to make."""

    backup_type: Literal["full", "incremental", "config_only"] = "full"


class SyncArguments(Arguments):
    """``force`` empties the cache first."""

    force: bool = False


class ClassifyArguments(Arguments):
    """The text of a ticket."""

    ticket_text: str = _TEXT


class ResolveArguments(Arguments):
    """Resolve the ticket with this id, or, without an id, open one and get its category's guide."""

    category: Literal["network", "hardware", "software", "account", "email"]
    description: str = _TEXT
    ticket_id: int | None = Field(default=None, ge=1, lt=2**63)


class TierState(BaseModel):
    """What monitoring found about one tier; ``facts`` is null unless asked for."""

    name: str
    verdict: Literal["ok", "failed", "skipped"]
    reason: str | None
    seconds: float
    facts: dict[str, Any] | None = None


class SystemHealth(BaseModel):
    """``healthy`` when the API can use all it needs and, where monitoring is configured, no tier failed.

    ``api``: each dependency of the API with ``ok`` or the reason; ``monitoring``: ``ok``, ``not configured`` or why
    it said nothing.
    """

    healthy: bool
    api: dict[str, str]
    monitoring: str
    tiers: list[TierState]


class Backup(BaseModel):
    """A backup that was made."""

    name: str
    backup_type: str
    bytes: int


def said(answer: PeerAnswer) -> str:
    """Return the reason in an error answer: its ``detail`` (a sentence or a list of wrong fields), or its text."""
    detail = answer.body.get("detail", answer.body) if isinstance(answer.body, dict) else answer.body
    if isinstance(detail, list) and all(isinstance(item, dict) for item in detail):
        told = [f"{'.'.join(str(part) for part in item.get('loc', ()))}: {item.get('msg')}" for item in detail]
        detail = "; ".join(told)
    return " ".join(str(detail).split())[:500] or "nothing"


def understood(answer: PeerAnswer, model: type[Answer]) -> Answer:
    """Return a good answer as its model; ToolFailure with the reason for any other."""
    if not 200 <= answer.status < 300:
        raise ToolFailure(f"{answer.agent} answered {answer.status}: {said(answer)}")
    try:
        return model.model_validate(answer.body)
    except ValidationError as error:
        # Success is what the answer shows, not what its status says.
        wrong = ".".join(str(part) for part in error.errors()[0]["loc"]) or "the whole"
        raise ToolFailure(
            f"{answer.agent} answered {answer.status}, but not with a {model.__name__} ({wrong})"
        ) from None


class ApiTools:
    """The tools of the API at ``api_url``; ``monitoring_url`` may be empty."""

    def __init__(self, client: PeerClient, api_url: str, monitoring_url: str) -> None:
        self._client = client
        self._api = Peer("api", api_url)
        self._monitoring = Peer("monitoring", monitoring_url) if monitoring_url else None

    async def _ask(self, model: type[Answer], method: str, path: str, body: Any = None) -> Answer:
        return understood(await self._client.call(self._api, method, path, body), model)

    async def agents(self, _arguments: NoArguments) -> AgentList:
        """List the register of agents."""
        return await self._ask(AgentList, "GET", "/api/v1/agents")

    async def classify(self, arguments: ClassifyArguments) -> ClassificationAnswer:
        """Classify and store a ticket."""
        body = {"text": arguments.ticket_text}
        return await self._ask(ClassificationAnswer, "POST", "/api/v1/tickets/classify", body)

    async def resolve(self, arguments: ResolveArguments) -> ResolutionAnswer:
        """Resolve or open a ticket."""
        body = arguments.model_dump(exclude_none=True)
        return await self._ask(ResolutionAnswer, "POST", "/api/v1/tickets/resolve", body)

    async def sync(self, arguments: SyncArguments) -> SyncAnswer:
        """Fill the cache from the database."""
        return await self._ask(SyncAnswer, "POST", "/api/v1/cache/sync", {"force": arguments.force})

    async def backup(self, arguments: BackupArguments) -> Backup:
        """Make a backup."""
        return await self._ask(Backup, "POST", "/api/v1/backups", {"backup_type": arguments.backup_type})

    async def _readiness(self) -> dict[str, str]:
        answer = await self._client.call(self._api, "GET", "/ready", seconds=8.0)
        checks = answer.body.get("checks") if isinstance(answer.body, dict) else None
        if answer.status not in (200, 503) or not isinstance(checks, dict) or not checks:
            raise ToolFailure(f"{self._api.name} answered {answer.status} to /ready: {said(answer)}")
        verdicts = {name: check if isinstance(check, dict) else {} for name, check in checks.items()}
        return {
            name: "ok" if check.get("ok") is True else str(check.get("reason") or "failed")
            for name, check in verdicts.items()
        }

    async def _tiers(self) -> tuple[str, list[TierState]]:
        if self._monitoring is None:
            return "not configured", []
        try:
            answer = await self._client.call(self._monitoring, "GET", "/api/v1/checks", seconds=8.0)
            checks = answer.body.get("checks") if isinstance(answer.body, dict) else None
            if answer.status != 200 or not isinstance(checks, list) or not checks:  # nothing checked is not healthy
                return f"answered {answer.status}: {said(answer)}", []
            return "ok", [TierState.model_validate(check) for check in checks]
        except DependencyError as error:
            return error.reason, []
        except ValidationError:
            return "answered something that is not a list of checks", []

    async def health(self, arguments: HealthArguments) -> SystemHealth:
        """Ask the API and monitoring at once."""
        api, (monitoring, tiers) = await asyncio.gather(self._readiness(), self._tiers())
        healthy = set(api.values()) == {"ok"} and monitoring in ("ok", "not configured")
        healthy = healthy and all(tier.verdict != "failed" for tier in tiers)
        if not arguments.detailed:
            tiers = [tier.model_copy(update={"facts": None}) for tier in tiers]
        return SystemHealth(healthy=healthy, api=api, monitoring=monitoring, tiers=tiers)

    def tools(self) -> list[Tool]:
        """Return the tools; the names are those of the former server."""
        return [
            Tool(
                "twisterlab_mcp_list_autonomous_agents",
                "List the agents registered with TwisterLab and which of them are active.",
                NoArguments,
                AgentList,
                self.agents,
                reads=True,
            ),
            Tool(
                "monitor_system_health",
                "Check now whether the API, Postgres, Redis and the other tiers work; detailed adds facts.",
                HealthArguments,
                SystemHealth,
                self.health,
                reads=True,
            ),
            Tool(
                "create_backup",
                "Make a backup; an error says so when this installation has none configured.",
                BackupArguments,
                Backup,
                self.backup,
            ),
            Tool(
                "sync_cache_db",
                "Read the newest tickets from the database into the cache; force empties the cache first.",
                SyncArguments,
                SyncAnswer,
                self.sync,
            ),
            Tool(
                "classify_ticket",
                "Classify the text of a support ticket by rules and store it as a new ticket.",
                ClassifyArguments,
                ClassificationAnswer,
                self.classify,
            ),
            Tool(
                "resolve_ticket",
                "Resolve the ticket named by ticket_id with this description; without an id open a new ticket. "
                "Answers the check list of the category.",
                ResolveArguments,
                ResolutionAnswer,
                self.resolve,
            ),
        ]
