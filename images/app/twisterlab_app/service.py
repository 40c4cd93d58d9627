# SPDX-License-Identifier: MIT
"""The frame that every service shares: probes, metrics, error answers, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response

from . import __version__, metrics
from .errors import DependencyError, reason_of
from .middleware import ObservedService
from .redaction import Redactor
from .settings import Settings

READY_SECONDS = 4.0
log = logging.getLogger("twisterlab.service")

Check = Callable[[], Awaitable[object]]


async def run_check(name: str, check: Check) -> str | None:
    """Use one dependency; return None when it worked, else the reason."""
    reason: str | None = None
    try:
        async with asyncio.timeout(READY_SECONDS):
            await check()
    except DependencyError as error:
        reason = error.reason
    except Exception as error:  # any failure of the dependency is the answer, not a crash
        reason = reason_of(error)
    metrics.DEPENDENCY_UP.labels(name).set(0 if reason else 1)
    return reason


class Readiness:
    """Run the readiness checks together; log each change of verdict once.

    Callers that come at the same time share one round: each check writes and reads back one row of this instance.
    """

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks
        self._last: dict[str, str | None] = {}
        self._round: asyncio.Task[dict[str, str | None]] | None = None

    async def verdict(self) -> dict[str, str | None]:
        """Return ``{dependency: None | reason}``, found now."""
        if self._round is None or self._round.done():
            self._round = asyncio.create_task(self._look())
        return await asyncio.shield(self._round)

    async def _look(self) -> dict[str, str | None]:
        reasons = await asyncio.gather(*(run_check(name, check) for name, check in self._checks.items()))
        result = dict(zip(self._checks, reasons, strict=True))
        for name, reason in result.items():
            if name not in self._last or self._last[name] != reason:
                level = logging.WARNING if reason else logging.INFO
                log.log(
                    level, f"{name} {'failed' if reason else 'works'}", extra={"dependency": name, "reason": reason}
                )
        self._last = result
        return result


def _answers(app: FastAPI, redact: Redactor, checked: Collection[str]) -> None:
    """Install the error answers: a reason in every one of them, a secret in none."""

    @app.exception_handler(DependencyError)
    async def unavailable(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, DependencyError):  # the framework's signature is wider than what it passes
            raise error
        log.warning("dependency failed", extra={"dependency": error.dependency, "reason": error.reason})
        if error.dependency in checked:  # nothing would ever set another one back to 1
            metrics.DEPENDENCY_UP.labels(error.dependency).set(0)
        content = {"detail": redact(str(error)), "dependency": error.dependency}
        return JSONResponse(content, 503, headers={"Retry-After": "5"})

    @app.exception_handler(RequestValidationError)
    async def wrong(_request: Request, error: Exception) -> Response:
        if not isinstance(error, RequestValidationError):
            raise error
        # Without what was sent, which no answer may be able to carry (NaN); in ASCII, which can carry half a character.
        told = [{name: item[name] for name in ("type", "loc", "msg")} for item in error.errors()]
        return Response(json.dumps({"detail": told}), 422, media_type="application/json")

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": f"internal error ({type(error).__name__}); the log has its trace"}, 500)


def build_service(
    title: str,
    settings: Settings,
    redact: Redactor,
    checks: Mapping[str, Check],
    resources: Sequence[AbstractAsyncContextManager[object]],
    before_scrape: Check | None = None,
) -> FastAPI:
    """Return an application with /, /health, /ready and /metrics.

    ``checks`` make up /ready; ``resources`` are entered at start-up and left in reverse order after the last request.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for resource in resources:
                await stack.enter_async_context(resource)
            yield

    app = FastAPI(title=title, version=__version__, lifespan=lifespan, license_info={"name": "MIT"})
    app.add_middleware(ObservedService)
    metrics.announce(settings.component)
    _answers(app, redact, checks)
    readiness = Readiness(checks)

    @app.get("/", tags=["service"])
    async def index() -> dict[str, str]:
        """Say what this is."""
        return {
            "service": settings.component,
            "version": __version__,
            "environment": settings.environment,
            "docs": "/docs",
        }

    @app.get("/health", tags=["service"])
    async def health() -> dict[str, str]:
        """Answer that the process is alive; uses no dependency."""
        return {"status": "alive", "service": settings.component, "version": __version__}

    @app.get("/ready", tags=["service"])
    async def ready() -> JSONResponse:
        """Use every dependency; 503 names the ones that failed and why."""
        verdict = await readiness.verdict()
        failed = {name: redact(reason) for name, reason in verdict.items() if reason}
        checks_answer = {
            name: {"ok": not reason} | ({"reason": failed[name]} if reason else {}) for name, reason in verdict.items()
        }
        content = {"status": "not ready" if failed else "ready", "checks": checks_answer}
        return JSONResponse(content, 503 if failed else 200)

    @app.get("/metrics", tags=["service"])
    async def scrape() -> Response:
        """Return the metrics in Prometheus' text format."""
        if before_scrape is not None:
            await before_scrape()
        return metrics.exposition()

    return app
