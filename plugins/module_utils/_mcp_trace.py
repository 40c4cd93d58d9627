# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cluster itself says, without asking the server under test: the ticket's row, the agents, what runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import _kinds as kinds
from . import _objects as objects
from ._api import known
from ._errors import ApiError, PlatformError
from ._kube import Cluster
from ._mcp_stream import Target, run

POSTGRES = "service/postgres"
API = "twisterlab-api"
_FIELDS = "id, title, description, status, resolution"
# The pod's own variables name user and database; the socket needs no password. The query holds nothing but our number.
_PSQL = 'exec psql --no-psqlrc --quiet --tuples-only --no-align --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --command="$1"'


@dataclass(frozen=True)
class Row:
    """A ticket as it is stored.

    Attributes:
        source: where it was read, such as `Postgres`.
        fields: its columns; None when there is no such row.
    """

    source: str
    fields: Mapping[str, Any] | None


class Evidence:
    """Read-only questions to one namespace."""

    def __init__(self, cluster: Cluster, namespace: str, seconds: float) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._seconds = seconds

    def ticket(self, number: int) -> Row:
        """One ticket: from Postgres, or from the API where the database is outside the cluster.

        Raises:
            PlatformError: neither can be asked.
        """
        if self._cluster.get(kinds.SERVICE, POSTGRES.rpartition("/")[2], self._namespace) is None:
            return self._from_api(number)
        query = f"SELECT row_to_json(t) FROM (SELECT {_FIELDS} FROM tickets WHERE id = {int(number)}) t"  # noqa: S608 - an integer
        where = Target(self._namespace, POSTGRES, "", ("sh", "-c", _PSQL, "psql", query))
        try:
            good, text, words = run(self._cluster, where, self._seconds)
        except PlatformError as error:
            raise PlatformError(f"Postgres cannot be asked for ticket {number}: {error}") from error
        if not good:
            raise PlatformError(f"Postgres cannot be asked for ticket {number}: {words[-300:] or 'psql failed'}")
        return Row("Postgres", json.loads(text) if text.strip() else None)

    def _from_api(self, number: int) -> Row:
        path = f"{kinds.SERVICE.path(self._namespace, f'{API}:http')}/proxy/api/v1/tickets/{int(number)}"
        source = f"the API (there is no {POSTGRES})"
        try:
            return Row(source, self._cluster.request("get", path, what=f"read ticket {number} through the API"))
        except ApiError as error:
            if error.status == 404 and "ticket" in error.message:
                return Row(source, None)
            raise

    def agents(self, deployment: str) -> dict[str, str] | None:
        """The agents that a server's Deployment configures: name and URL; None when that cannot be read."""
        found = self._cluster.get(kinds.DEPLOYMENT, deployment, self._namespace)
        for container in ((found or {}).get("spec") or {}).get("template", {}).get("spec", {}).get("containers", []):
            for variable in container.get("env") or []:
                if variable["name"] == "AGENTS" and isinstance(variable.get("value"), str):
                    return agents(variable["value"])
        return None

    def missing_services(self, urls: Mapping[str, str]) -> list[str]:
        """The agents whose URL is in this namespace and names no Service of it."""
        there = {item["metadata"]["name"] for item in self._cluster.list(kinds.SERVICE, self._namespace)}
        return [name for name, url in urls.items() if (own := service_of(url, self._namespace)) and own not in there]

    def ready(self) -> dict[str, int]:
        """The ready pods of every Deployment and StatefulSet, and those of a Cluster of CloudNativePG as `postgres`."""
        found = {
            item["metadata"]["name"]: int((item.get("status") or {}).get("readyReplicas") or 0)
            for kind in (kinds.DEPLOYMENT, kinds.STATEFUL_SET)
            for item in self._cluster.list(kind, self._namespace)
        }
        for item in known(self._cluster, kinds.CLUSTER, self._namespace, objects.OURS_SELECTOR):
            found["postgres"] = int((item.get("status") or {}).get("readyInstances") or 0)
        return found


def agents(text: str) -> dict[str, str] | None:
    """The variable AGENTS: an object of names and URLs, or a list of `name=url`; None when it is neither."""
    try:
        found = json.loads(text)
    except ValueError:
        pairs = [item.partition("=") for item in re.split(r"[,\s]+", text) if item]
        return {name: url for name, _, url in pairs} if all(url for _, _, url in pairs) else None
    return {str(name): str(url) for name, url in found.items()} if isinstance(found, dict) else None


def service_of(url: str, namespace: str) -> str:
    """The Service of this namespace that a URL names; empty when it leads elsewhere."""
    first, _, rest = (urlsplit(url).hostname or "").partition(".")
    return first if rest in ("", namespace) or rest.startswith(f"{namespace}.svc") else ""
