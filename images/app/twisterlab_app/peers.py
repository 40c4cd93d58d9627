# SPDX-License-Identifier: MIT
"""Calls to neighbour services: bounded in number, time and size, and honest about failures."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterable
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx2
from prometheus_client import Counter
from pydantic import BaseModel

from . import logs
from .errors import DependencyError, reason_of
from .settings import Peer

CHECK_SECONDS = 3.0
CALL_SECONDS = 15.0
SPARE_SECONDS = 5.0
MAX_ANSWER_BYTES = 1024 * 1024
PARALLEL = 8
CALLS = Counter("twisterlab_peer_requests_total", "Requests to peers by outcome.", ("peer", "outcome"))


class PeerHealth(BaseModel):
    """What one live check of a peer found; ``reason`` is null when it is healthy."""

    name: str
    url: str
    healthy: bool
    status: int | None
    seconds: float
    reason: str | None


class PeerAnswer(BaseModel):
    """What a peer answered to a routed request."""

    agent: str
    status: int
    content_type: str
    body: Any
    seconds: float


def _why(error: Exception, method: str) -> str:
    """Return the cause of a transport error in one line."""
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        # Whoever only reads "no answer" asks again, and has the ticket twice.
        return "no answer in time" + ("" if method == "GET" else "; it is unknown what it did")
    return reason_of(error)


def _parsed(text: str) -> Any:
    """Return the content of a JSON text, or the text itself where no answer could carry it: NaN, half a character."""
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return text
    return content


class PeerClient:
    """One HTTP client for all peers; enter it to start, leave it to close them. Redirects are not followed.

    Args:
        tool_seconds: limit of the tools that call through it: a longer one than usual is for their peers.
    """

    def __init__(self, tool_seconds: float = 0) -> None:
        # Shorter than the tool's own, so that the peer is named.
        self._seconds = max(CALL_SECONDS, tool_seconds - SPARE_SECONDS)
        # A cookie that a peer gives to one caller must not go out with the request of the next.
        no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = httpx2.AsyncClient(
            timeout=self._seconds, follow_redirects=False, trust_env=False, cookies=no_cookies
        )
        self._slots = asyncio.Semaphore(PARALLEL)
        self._checks = asyncio.Semaphore(PARALLEL)

    async def __aenter__(self) -> PeerClient:
        """Start."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def call(
        self,
        peer: Peer,
        method: str,
        path: str,
        body: Any = None,
        seconds: float | None = None,
        authorization: str | None = None,
        waits: bool = True,
    ) -> PeerAnswer:
        """Send one request and return the answer, whatever its status; DependencyError when there is none.

        ``waits`` False: not behind the requests in flight, which say nothing about this peer.
        """
        started, asked = time.perf_counter(), False
        content = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if content is not None else {})
        if authorization is not None:
            headers["Authorization"] = authorization
        if logs.request_id.get():
            headers["X-Request-ID"] = logs.request_id.get()
        try:
            async with (
                asyncio.timeout(seconds or self._seconds),
                self._slots if waits else contextlib.nullcontext(),
            ):
                asked = True
                async with self._client.stream(method, peer.url + path, content=content, headers=headers) as answer:
                    data = bytearray()
                    async for chunk in answer.aiter_bytes():
                        data += chunk
                        if len(data) > MAX_ANSWER_BYTES:
                            raise DependencyError(peer.name, f"its answer is larger than {MAX_ANSWER_BYTES} bytes")
        except DependencyError:
            CALLS.labels(peer.name, "error").inc()
            raise
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
            CALLS.labels(peer.name, "error").inc()
            reason = (
                _why(error, method) if asked else f"it was not asked, as {PARALLEL} other requests had no answer yet"
            )
            raise DependencyError(peer.name, reason) from None
        CALLS.labels(peer.name, "ok" if answer.status_code < 500 else "failed").inc()
        content_type = answer.headers.get("content-type", "")
        text = data.decode("utf-8", errors="replace")
        parsed = _parsed(text) if "json" in content_type else text
        took = round(time.perf_counter() - started, 4)
        return PeerAnswer(
            agent=peer.name, status=answer.status_code, content_type=content_type, body=parsed, seconds=took
        )

    async def health(self, peer: Peer, path: str | None = None, seconds: float = CHECK_SECONDS) -> PeerHealth:
        """Ask one peer for its health now; 2xx is healthy."""
        async with self._checks:  # what it takes to get here is not the peer's time
            started = time.perf_counter()
            status: int | None = None
            reason: str | None = None
            try:
                answer = await self.call(peer, "GET", path or peer.health_path, seconds=seconds, waits=False)
                status = answer.status
                if not 200 <= answer.status < 300:
                    reason = f"answered {answer.status}{_said(answer.body)}"
            except DependencyError as error:
                reason = error.reason
        took = round(time.perf_counter() - started, 4)
        return PeerHealth(
            name=peer.name, url=_shown(peer.url), healthy=reason is None, status=status, seconds=took, reason=reason
        )

    async def healths(self, peers: Iterable[Peer]) -> list[PeerHealth]:
        """Ask all peers at once."""
        return list(await asyncio.gather(*(self.health(peer) for peer in peers)))


def _shown(url: str) -> str:
    """Return a URL without the credentials that only the peer itself may see."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _said(body: Any) -> str:
    """Return the reasons a /ready answer of this family carries, if it is one."""
    checks = body.get("checks") if isinstance(body, dict) else None
    if not isinstance(checks, dict):
        return ""
    failed = [
        f"{name}: {check.get('reason')}"
        for name, check in checks.items()
        if isinstance(check, dict) and not check.get("ok", True)
    ]
    return f" ({'; '.join(failed)})" if failed else ""
