# SPDX-License-Identifier: MIT
"""Redis: the read-through cache of tickets, the shared rate limit, and the readiness check."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Iterable
from types import TracebackType
from typing import Any, cast

from prometheus_client import Counter
from redis.asyncio import BlockingConnectionPool, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from .errors import DependencyError, reason_of

NAME = "redis"
PREFIX = "twisterlab:"
log = logging.getLogger("twisterlab.cache")

REQUESTS = Counter("cache_requests_total", "Look-ups and writes of the ticket cache.", ("operation", "result"))

# A replica that read an older revision must not overwrite a newer one: the comparison happens in Redis.
_STORE_IF_NEWER = """
local known = redis.call('HGET', KEYS[1], 'revision')
if known and tonumber(known) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'body', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


class Cache:
    """The Redis client of one service; enter it to start, leave it to close its connections."""

    def __init__(self, parameters: dict[str, Any], instance: str, ttl: int) -> None:
        arguments = {key: value for key, value in parameters.items() if key != "ssl"}
        if parameters.get("ssl"):
            arguments["connection_class"] = SSLConnection
        pool = BlockingConnectionPool(
            max_connections=10,
            timeout=2,
            socket_connect_timeout=2,
            socket_timeout=2,
            health_check_interval=30,
            decode_responses=True,
            retry=Retry(ConstantBackoff(0.05), 1),  # one retry: enough for a connection that Redis closed
            **arguments,
        )
        self._client = Redis(connection_pool=pool)
        self._store_if_newer = self._client.register_script(_STORE_IF_NEWER)
        self._instance = instance
        self._ttl = ttl
        self.source = ""  # identity of the database the tickets come from; nothing is cached while it is unknown

    async def __aenter__(self) -> Cache:
        """Start; connections are made on first use."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    def _key(self, number: int) -> str:
        """Return the cache key of one ticket: a restored database must not be answered from the old one's cache."""
        return f"{PREFIX}ticket:{self.source}:{number}"

    async def check(self) -> None:
        """Prove that Redis keeps what is written; raise DependencyError."""
        key, token = f"{PREFIX}ready:{self._instance}", uuid.uuid4().hex
        try:
            await self._client.set(key, token, ex=60)
            answer = await self._client.get(key)
        except (RedisError, OSError) as error:
            raise DependencyError(NAME, reason_of(error)) from None
        if answer != token:
            raise DependencyError(NAME, "a key that was written could not be read back")

    async def get_ticket(self, number: int) -> str | None:
        """Return a ticket's JSON, or None when there is none or Redis does not answer (then ask the database)."""
        if not self.source:
            return None
        try:
            body = await cast(Awaitable[str | None], self._client.hget(self._key(number), "body"))
        except (RedisError, OSError) as error:
            self._failed("get", error)
            return None
        REQUESTS.labels("get", "hit" if body else "miss").inc()
        return body

    async def put_ticket(self, number: int, revision: int, body: str) -> bool:
        """Store a ticket unless a newer revision is there; return False when Redis did not take it."""
        if not self.source:
            return False
        try:
            await self._store_if_newer(keys=[self._key(number)], args=[revision, body, self._ttl])
        except (RedisError, OSError) as error:
            self._failed("put", error)
            return False
        REQUESTS.labels("put", "ok").inc()
        return True

    async def put_tickets(self, tickets: Iterable[tuple[int, int, str]]) -> tuple[int, int]:
        """Store ``(id, revision, JSON)`` in one pipeline; return how many were written and how many Redis had newer."""
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                for number, revision, body in tickets:
                    pipe.eval(_STORE_IF_NEWER, 1, self._key(number), str(revision), body, str(self._ttl))
                answers = await pipe.execute()
        except (RedisError, OSError) as error:
            raise DependencyError(NAME, reason_of(error)) from None
        written = sum(int(answer) for answer in answers)
        return written, len(answers) - written

    async def forget_tickets(self) -> int:
        """Delete every cached ticket; return how many there were."""
        deleted, batch = 0, []
        try:
            async for key in self._client.scan_iter(f"{PREFIX}ticket:*", count=500):
                batch.append(key)
                if len(batch) == 500:
                    deleted += await self._client.unlink(*batch)
                    batch = []
            if batch:
                deleted += await self._client.unlink(*batch)
        except (RedisError, OSError) as error:
            raise DependencyError(NAME, reason_of(error)) from None
        return deleted

    async def hits_this_minute(self, client: str) -> tuple[int, int]:
        """Count one request of a client; return its count and the seconds until the minute ends."""
        now = int(time.time())
        key = f"{PREFIX}rate:{client}:{now // 60}"
        try:
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.incr(key)
                pipe.expire(key, 90)
                count, _expire = await pipe.execute()
        except (RedisError, OSError) as error:
            raise DependencyError(NAME, reason_of(error)) from None
        return int(count), 60 - now % 60

    async def facts(self) -> dict[str, Any]:
        """Return what INFO says about memory and clients."""
        try:
            info = await self._client.info()
        except (RedisError, OSError) as error:
            raise DependencyError(NAME, reason_of(error)) from None
        names = ("redis_version", "role", "connected_clients", "used_memory", "maxmemory", "uptime_in_seconds")
        return {name: info[name] for name in names if name in info}

    @staticmethod
    def _failed(operation: str, error: Exception) -> None:
        REQUESTS.labels(operation, "error").inc()
        log.warning("the cache did not answer", extra={"operation": operation, "reason": reason_of(error)})
