# SPDX-License-Identifier: MIT
"""Background work that belongs to the service's lifetime."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from .errors import reason_of

RETRY_SECONDS = 3.0
log = logging.getLogger("twisterlab.background")


@contextlib.asynccontextmanager
async def task(work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run ``work`` beside the service and cancel it at the end."""
    running = asyncio.ensure_future(work())
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def repeat(name: str, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
    """Call ``work`` for ever, ``seconds`` apart; a failure is logged when its reason changes and
    tried again sooner."""
    last = ""
    while True:
        try:
            await work()
            reason = ""
        except Exception as error:  # the next round tries again
            reason = reason_of(error)
        if reason != last:
            log.log(logging.WARNING if reason else logging.INFO, f"{name}: {reason or 'works'}")
        last = reason
        await asyncio.sleep(min(seconds, RETRY_SECONDS) if reason else seconds)
