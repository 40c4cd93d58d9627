# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the keys of a Redis copy into the live server."""

from __future__ import annotations

import contextlib
from pathlib import Path

from . import throwaway
from .errors import Fault, say
from .redis_wire import Redis
from .settings import Settings

_MISSING = -2


def keys(settings: Settings) -> int:
    """How many keys the live server holds."""
    with contextlib.closing(Redis.live(settings.redis_host, settings.redis_port)) as server:
        return sum(number for number, _ in server.keyspace().values())


def replay(settings: Settings, folder: Path) -> None:
    """Empty the live server and put every key of `dump.rdb` there, with its time to live.

    Raises:
        Fault: a server refused, or not every lasting key has arrived.
    """
    with (
        throwaway.redis(folder) as source,
        contextlib.closing(Redis.live(settings.redis_host, settings.redis_port)) as target,
    ):
        target.call("FLUSHALL")
        lasting = 0
        for database in source.keyspace():
            source.call("SELECT", database)
            target.call("SELECT", database)
            lasting += _database(source, target)
        arrived = sum(number - expires for number, expires in target.keyspace().values())
        if arrived < lasting:
            raise Fault(f"Redis holds {arrived} lasting keys instead of {lasting}: run the restore again.")
    say(f"redis: {lasting} lasting keys are back")


def _database(source: Redis, target: Redis) -> int:
    cursor, lasting = b"0", 0
    while True:
        answer = source.call("SCAN", cursor, "COUNT", 500)
        if not isinstance(answer, list) or not isinstance(answer[0], bytes) or not isinstance(answer[1], list):
            raise Fault("The throw-away Redis gave no list of keys: run the restore again.")
        cursor = answer[0]
        for key in answer[1]:
            if not isinstance(key, bytes):
                continue
            left, value = source.call("PTTL", key), source.call("DUMP", key)
            if left == _MISSING or not isinstance(value, bytes) or not isinstance(left, int):
                continue
            # 0 would be a key that lasts, so one in its last millisecond gets a whole one
            target.call("RESTORE", key, 0 if left < 0 else max(left, 1), value, "REPLACE")
            lasting += left < 0
        if cursor == b"0":
            return lasting
