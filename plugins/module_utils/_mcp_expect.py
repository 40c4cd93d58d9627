# SPDX-License-Identifier: GPL-3.0-or-later
"""What our own servers must be: name, version, tools, and where they run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Expected:
    """One of our servers.

    Attributes:
        info: name and version in its serverInfo; empty when any will do.
        tools: the names of its tools, all of them.
        call: what is called as proof: `ticket`, `agents`, `tiers`; empty for nothing.
        deployment: the Deployment that serves it; empty for stdio.
    """

    info: tuple[str, str] | tuple[()]
    tools: frozenset[str]
    call: str
    deployment: str = ""


STDIO = Expected(
    ("twisterlab-mcp-continue", "2.1.0"),
    frozenset(
        (
            "twisterlab_mcp_list_autonomous_agents",
            "monitor_system_health",
            "create_backup",
            "sync_cache_db",
            "classify_ticket",
            "resolve_ticket",
            "execute_command",
            "configure_webui_tool",
        )
    ),
    "ticket",
)
ORCHESTRATOR = Expected(
    ("twisterlab-mcp-orchestrator", "2.1.0"),
    frozenset(("list_agents", "agent_health", "route_request")),
    "agents",
    "mcp-orchestrator",
)
MONITORING = Expected(
    ("twisterlab-mcp-monitoring", "2.1.0"),
    frozenset(("check_tiers", "check_tier", "list_alerts", "query_metrics")),
    "tiers",
    "mcp-monitoring",
)
UNKNOWN = Expected((), frozenset(), "")

_OURS = {"twisterlab-mcp": STDIO, "twisterlab-orchestrator": ORCHESTRATOR, "twisterlab-monitoring": MONITORING}
#: Where the stdio server is inside the container, and what it needs to find the API.
SCRIPT = "/app/agents/mcp/mcp_server_continue_sync.py"


def expected(name: str) -> Expected:
    """What the server of an entry must be; entries of other namespaces carry its name at the end."""
    for ours, found in _OURS.items():
        if name == ours or name.startswith(f"{ours}-"):
            return found
    return UNKNOWN


def program(namespace: str) -> tuple[str, ...]:
    """The stdio server's program and arguments inside the container."""
    api = f"http://twisterlab-api.{namespace}.svc.cluster.local:8000"
    return ("env", "PYTHONPATH=/app", f"API_URL={api}", "python", "-u", SCRIPT)


def ticket_number(result: Mapping[str, Any]) -> int | None:
    """The number of the ticket that a tool says it stored; None when it names none.

    Args:
        result: a CallToolResult.
    """
    for data in _data(result):
        for place in (data.get("ticket"), data):
            if isinstance(place, dict):
                for key in ("ticket_id", "id", "number"):
                    value = place.get(key)
                    if isinstance(value, int) and not isinstance(value, bool):
                        return value
                    if isinstance(value, str) and value.isdigit():
                        return int(value)
    found = re.search(r"ticket\W{0,4}(?:(?:id|number|no)\W{0,4})?(\d{1,18})\b", text(result), re.IGNORECASE)
    return int(found.group(1)) if found else None


def named_items(result: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The first list of objects with a `name` in a tool's result; None when there is no list at all."""
    for data in _data(result):
        for value in data.values():
            if isinstance(value, list) and all(isinstance(item, dict) and "name" in item for item in value):
                return value
    return None


def text(result: Mapping[str, Any]) -> str:
    """The text of a tool's result."""
    parts = [part.get("text") for part in result.get("content") or [] if isinstance(part, dict)]
    return "\n".join(part for part in parts if isinstance(part, str))


def _data(result: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects in a tool's result: structured content first, then texts that are JSON."""
    found = [result.get("structuredContent")]
    for part in result.get("content") or []:
        try:
            found.append(json.loads(part["text"]))
        except (ValueError, KeyError, TypeError):
            continue
    for data in found:
        if isinstance(data, dict):
            yield data
            inner = data.get("result")
            if isinstance(inner, dict):
                yield inner
        elif isinstance(data, list):
            yield {"items": data}
