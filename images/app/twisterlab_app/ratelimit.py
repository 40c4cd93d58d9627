# SPDX-License-Identifier: MIT
"""A limit of requests a minute and client, shared by all replicas through Redis; probes are never limited."""

from __future__ import annotations

import logging

from prometheus_client import Counter
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .cache import Cache
from .errors import DependencyError
from .middleware import QUIET_ROUTES

LIMITED = Counter("http_requests_rate_limited_total", "Requests refused with 429.")
UNCOUNTED = Counter("http_requests_rate_uncounted_total", "Requests let through because Redis could not count them.")
log = logging.getLogger("twisterlab.ratelimit")


class RateLimit:
    """ASGI middleware; ``per_minute`` is at least 1."""

    def __init__(self, app: ASGIApp, cache: Cache, per_minute: int) -> None:
        self._app = app
        self._cache = cache
        self._per_minute = per_minute

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 429 with the seconds to wait."""
        if scope["type"] != "http" or scope["path"] in QUIET_ROUTES:
            await self._app(scope, receive, send)
            return
        client = (scope.get("client") or ("unknown",))[0]
        try:
            count, seconds = await self._cache.hits_this_minute(client)
        except DependencyError as error:
            UNCOUNTED.inc()
            log.warning("the rate limit is not counted", extra={"reason": error.reason})
            count, seconds = 0, 0
        if count <= self._per_minute:
            await self._app(scope, receive, send)
            return
        LIMITED.inc()
        detail = f"more than {self._per_minute} requests this minute; try again in {seconds} s"
        await JSONResponse({"detail": detail}, 429, headers={"Retry-After": str(seconds)})(scope, receive, send)
