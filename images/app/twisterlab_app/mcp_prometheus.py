# SPDX-License-Identifier: MIT
"""The tools that ask Prometheus for alerts and metrics."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field

from .mcp_api_tools import understood
from .mcp_tools import Arguments, NoArguments, Tool, ToolFailure
from .peers import PeerClient
from .settings import Peer

SECONDS = 10.0
Data = TypeVar("Data", bound=BaseModel)


class QueryArguments(Arguments):
    """An instant query in PromQL."""

    query: str = Field(min_length=1, max_length=4000)


class Alert(BaseModel):
    """One active alert."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    state: str
    activeAt: str | None = None  # noqa: N815  Prometheus' own spelling
    value: str | None = None


class AlertList(BaseModel):
    """All active alerts; ``firing`` counts those that are not merely pending."""

    alerts: list[Alert]
    count: int
    firing: int


class Samples(BaseModel):
    """What Prometheus answered to a query."""

    resultType: Literal["vector", "scalar", "string", "matrix"]  # noqa: N815
    result: list[Any]


class _ActiveAlerts(BaseModel):
    """What /api/v1/alerts has under ``data``."""

    alerts: list[Alert]


class _Answer(BaseModel, Generic[Data]):
    """The envelope of Prometheus' answers."""

    status: Literal["success"]
    data: Data


def prometheus_tools(client: PeerClient, url: str) -> list[Tool]:
    """Return the tools; with an empty ``url`` they say that none is configured."""

    async def ask(model: type[Data], path: str) -> Data:
        if not url:
            raise ToolFailure("PROMETHEUS_URL is not set for this service", "refused")
        answer = await client.call(Peer("prometheus", url), "GET", path, seconds=SECONDS)
        if isinstance(answer.body, dict) and answer.body.get("status") == "error":
            raise ToolFailure(f"prometheus answered {answer.status}: {str(answer.body.get('error'))[:500]}")
        return understood(answer, _Answer[model]).data  # type: ignore[valid-type]  # made at run time

    async def alerts(_arguments: NoArguments) -> AlertList:
        found = (await ask(_ActiveAlerts, "/api/v1/alerts")).alerts
        return AlertList(alerts=found, count=len(found), firing=sum(item.state == "firing" for item in found))

    async def query(arguments: QueryArguments) -> Samples:
        return await ask(Samples, f"/api/v1/query?query={quote(arguments.query, safe='')}")

    return [
        Tool(
            "list_alerts", "List the alerts that are active in Prometheus.", NoArguments, AlertList, alerts, reads=True
        ),
        Tool("query_metrics", "Run an instant PromQL query.", QueryArguments, Samples, query, reads=True),
    ]
