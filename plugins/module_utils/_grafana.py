# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana as a person meets it: closed to strangers, open to the password of the Secret, its dashboards and their source there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from ._checks import FAILED, OK, Check
from ._errors import PlatformError
from ._monitoring import TAG
from ._web import Web

SOURCE = "Prometheus"


class Failed(PlatformError):
    """Grafana does not do what it must."""


def verify(web: Web, user: str, password: str, boards: Mapping[str, str]) -> list[Check]:
    """Everything that is provisioned, and the way of a query through it.

    Args:
        web: Grafana's Service.
        user: account of the administrator.
        password: its password.
        boards: uid and title of every dashboard that must be there.
    """
    session: dict[str, str] = {}
    steps: list[tuple[str, Callable[[], str]]] = [
        ("health", lambda: _health(web)),
        ("strangers", lambda: _strangers(web)),
        ("password", lambda: _login(web, user, password, session)),
        ("data source", lambda: _source(web, session)),
        *((f"dashboard {title}", lambda uid=uid: _board(web, session, uid)) for uid, title in boards.items()),
        ("query through the data source", lambda: _proxied(web, session)),
    ]
    found = []
    for name, step in steps:
        begun = time.monotonic()
        try:
            state, evidence = OK, step()
        except (PlatformError, KeyError, TypeError) as error:
            state = FAILED
            evidence = str(error) if isinstance(error, PlatformError) else f"Grafana's answer lacks {error}"
        found.append(Check(f"grafana {name}", state, evidence, time.monotonic() - begun, TAG))
    return found


def _health(web: Web) -> str:
    told = web.json("/api/health")
    if told["database"] != "ok":
        raise Failed(f"its database is {told['database']!r}")
    return f"version {told['version']}, database ok"


def _strangers(web: Web) -> str:
    status = web.ask("/api/search").status
    if status not in (401, 403):
        raise Failed(f"somebody without an account gets {status} instead of 401: twisterlab_grafana.env opens it")
    return f"refused with {status}"


def _login(web: Web, user: str, password: str, session: dict[str, str]) -> str:
    answer = web.ask("/login", body={"user": user, "password": password})
    cookie = re.search(r"grafana_session=[^;,\s]+", answer.headers.get("Set-Cookie", ""))
    if answer.status != 200 or not cookie:
        raise Failed(
            f"{user} is refused with {answer.status}: grafana_admin_password of the Secret is not the password any more; "
            "Grafana reads it only when its database is made"
        )
    session["Cookie"] = cookie.group()
    return f"{user} is let in with grafana_admin_password"


def _source(web: Web, session: Mapping[str, str]) -> str:
    told = web.json(f"/api/datasources/name/{SOURCE}", headers=session)
    if told["type"] != "prometheus" or told["access"] != "proxy":
        raise Failed(f"{SOURCE} is of type {told['type']}, access {told['access']}")
    return f"{SOURCE} at {told['url']}"


def _board(web: Web, session: Mapping[str, str], uid: str) -> str:
    told = web.json(f"/api/dashboards/uid/{uid}", headers=session)
    if not told["meta"].get("provisioned"):
        raise Failed(f"dashboard {uid} is there, but it was not provisioned")
    return f"{len(told['dashboard']['panels'])} panels"


def _proxied(web: Web, session: Mapping[str, str]) -> str:
    source: dict[str, Any] = web.json(f"/api/datasources/name/{SOURCE}", headers=session)
    # The address by number is gone from newer versions, the one by uid is not in older ones.
    for path in (f"uid/{source.get('uid')}", str(source["id"])):
        answer = web.ask(f"/api/datasources/proxy/{path}/api/v1/query", {"query": "count(up == 1)"}, headers=session)
        if answer.status == 200 and '"result":[{' in answer.text:
            value = re.search(r'"value":\[[^,]+,"([^"]+)"\]', answer.text)
            return f"{value.group(1) if value else 'some'} targets up, asked through Grafana"
    raise Failed(f"a query through the data source gets {answer.status}: {answer.text[:200].strip()}")
