# SPDX-License-Identifier: MIT
"""Streamable HTTP MCP at /mcp of a service: for those who have the token, without any session."""

from __future__ import annotations

import hmac
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .mcp_settings import McpSettings
from .middleware import MAX_BODY_BYTES

PATH = "/mcp"


class McpEndpoint:
    """An ASGI application; ``path`` is its label in the metrics."""

    path = PATH

    def __init__(self, server: Server[Any], settings: McpSettings) -> None:
        self._token = settings.token.encode()
        # While a token is replaced, those who still hold the one before are let in too.
        self._tokens = tuple(item.encode() for item in (settings.token, settings.token_previous) if item)
        self._origins = settings.allowed_origins
        self._manager = StreamableHTTPSessionManager(
            server,
            json_response=True,
            stateless=True,  # any replica answers any request
            # The Host varies with the ingress, and a rebound page has neither the token nor an Origin allowed below.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=MAX_BODY_BYTES,
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return the context in which it can answer."""
        return self._manager.run()

    def add_to(self, app: FastAPI) -> None:
        """Serve at /mcp and /mcp/: a redirect would cost clients their request."""
        for path in (PATH, f"{PATH}/"):
            app.router.routes.append(Route(path, self, include_in_schema=False))

    def _refusal(self, method: str, headers: Headers) -> JSONResponse | None:
        """Return the answer to those who are not served, None for the others."""
        if not self._token:
            return JSONResponse({"detail": "MCP is closed because MCP_TOKEN is not set for this service"}, 503)
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins:
            return JSONResponse({"detail": "this Origin is not one of MCP_ALLOWED_ORIGINS"}, 403)
        scheme, _space, token = headers.get("authorization", "").partition(" ")
        known = sum(hmac.compare_digest(token.strip().encode(), item) for item in self._tokens) > 0
        if scheme.lower() != "bearer" or not known:
            detail = "send the header 'Authorization: Bearer ' with the value of MCP_TOKEN"
            return JSONResponse({"detail": detail}, 401, headers={"WWW-Authenticate": 'Bearer realm="mcp"'})
        if method != "POST":
            # No stream is offered that a GET could open: it would only keep a stopping process alive.
            return JSONResponse({"detail": "MCP is served to POST only"}, 405, headers={"Allow": "POST"})
        return None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["route"] = self
        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        await self._manager.handle_request(scope, receive, send)
