# SPDX-License-Identifier: MIT
"""One ASGI middleware around every service: request id, size limit, access log line, RED metrics."""

from __future__ import annotations

import logging
import re
import time
import uuid

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import logs, metrics

MAX_BODY_BYTES = 1024 * 1024
QUIET_ROUTES = frozenset({"/health", "/ready", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
log = logging.getLogger("twisterlab.access")


class _TooLarge(Exception):
    """The body went over the limit while it was read."""


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def route_of(scope: Scope) -> str:
    """Return the route template of a routed request, never its raw path (labels must stay few)."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "unmatched"


class ObservedService:
    """Wrap an ASGI application; websockets and lifespan pass through."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and measure it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _header(scope, b"x-request-id")
        identity = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        token = logs.request_id.set(identity)
        started, status, received = time.perf_counter(), 500, 0
        begun = False

        async def limited_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise _TooLarge
            return message

        async def observed_send(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                message["headers"] = [*message.get("headers", []), (b"x-request-id", identity.encode())]
            await send(message)

        length = _header(scope, b"content-length")
        metrics.IN_PROGRESS.inc()
        try:
            try:
                if length.isdigit() and int(length) > MAX_BODY_BYTES:
                    raise _TooLarge
                await self._app(scope, limited_receive, observed_send)
            except _TooLarge:
                if begun:
                    raise
                refusal = JSONResponse({"detail": f"the request body is larger than {MAX_BODY_BYTES} bytes"}, 413)
                await refusal(scope, receive, observed_send)
        finally:
            metrics.IN_PROGRESS.dec()
            self._record(scope, status, time.perf_counter() - started)
            logs.request_id.reset(token)

    @staticmethod
    def _record(scope: Scope, status: int, seconds: float) -> None:
        route, method = route_of(scope), scope["method"] if scope["method"] in METHODS else "other"
        metrics.REQUESTS.labels(method, route, str(status)).inc()
        metrics.DURATION.labels(method, route).observe(seconds)
        level = logging.DEBUG if route in QUIET_ROUTES and status < 400 else logging.INFO
        if log.isEnabledFor(level):
            client = (scope.get("client") or ("",))[0]
            fields = {"method": method, "path": scope["path"], "route": route, "status": status}
            log.log(level, "request", extra=fields | {"seconds": round(seconds, 4), "client": client})
