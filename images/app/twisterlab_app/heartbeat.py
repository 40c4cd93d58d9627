# SPDX-License-Identifier: MIT
"""Register this service with the API, again and again."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from . import __version__
from .background import repeat, task
from .errors import DependencyError
from .peers import PeerClient
from .settings import Peer, Settings

PATH = "/api/v1/agents/heartbeat"


def heartbeats(settings: Settings, name: str, kind: str, client: PeerClient) -> AbstractAsyncContextManager[None]:
    """Return the background work that sends heartbeats while the service lives."""
    api = Peer("api", settings.api_url)
    content = {"name": name, "kind": kind, "version": __version__, "instance": settings.instance}

    async def beat() -> None:
        answer = await client.call(api, "POST", PATH, content, seconds=5.0, waits=False)
        if answer.status != 200:
            raise DependencyError("api", f"the heartbeat was answered {answer.status}")

    return task(lambda: repeat("heartbeat", settings.heartbeat_interval, beat))
