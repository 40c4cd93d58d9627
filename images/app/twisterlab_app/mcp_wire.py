# SPDX-License-Identifier: MIT
"""Standard input and output as the wire of a protocol: lines of bounded length in, whole lines out."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import queue
import threading
from collections.abc import AsyncIterator, Iterator

MAX_LINE_BYTES = 1024 * 1024
READ_BYTES = 64 * 1024


class Lines:
    """Cut a byte stream into lines; of a line beyond the limit nothing is kept and None is returned, once."""

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """Yield the lines that end in ``data``, without their line ends."""
        *ended, rest = data.split(b"\n")
        for piece in ended:
            yield from self._add(piece)
            if not self._skipping:
                yield bytes(self._rest).removesuffix(b"\r")
            self._rest.clear()
            self._skipping = False
        yield from self._add(rest)

    def end(self) -> Iterator[bytes]:
        """Yield the last line when it has no line end."""
        if self._rest and not self._skipping:
            yield bytes(self._rest)
        self._rest.clear()

    def _add(self, piece: bytes) -> Iterator[None]:
        if self._skipping:
            return
        if len(self._rest) + len(piece) > self._limit:
            self._rest.clear()
            self._skipping = True
            yield None
        else:
            self._rest += piece


class Wire:
    """Own the standard input and output of the process.

    Files cannot be polled and a blocked call in a joined thread would keep the process alive: two daemon threads read
    and write. From its start on, file descriptor 0 is empty and 1 is stderr: no print and no child reaches the wire.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._input, self._output = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._incoming: asyncio.Queue[bytes] = asyncio.Queue(4)
        self._outgoing: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        for work in (self._read, self._write):
            threading.Thread(target=work, daemon=True, name=f"wire{work.__name__}").start()

    def _read(self) -> None:
        data = b"."
        while data:
            try:
                data = os.read(self._input, READ_BYTES)
            except OSError:  # a terminal that went away
                data = b""
            try:
                asyncio.run_coroutine_threadsafe(self._incoming.put(data), self._loop).result()
            except (RuntimeError, concurrent.futures.CancelledError):  # the loop has ended
                return

    def _write(self) -> None:
        while True:
            data, done = self._outgoing.get()
            error: OSError | None = None
            try:
                while data:
                    data = data[os.write(self._output, data) :]
            except OSError as failure:
                error = failure
            try:
                self._loop.call_soon_threadsafe(_settle, done, error)
            except RuntimeError:  # the loop has ended
                return

    async def lines(self) -> AsyncIterator[bytes | None]:
        """Yield every line of the input, None for one that is too long, until the input ends."""
        lines = Lines()
        while data := await self._incoming.get():
            for line in lines.feed(data):
                yield line
        for line in lines.end():
            yield line

    async def send(self, line: bytes) -> None:
        """Write one line; OSError when nobody reads any more."""
        done = self._loop.create_future()
        self._outgoing.put((line + b"\n", done))
        await done


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():  # the sender was cancelled meanwhile
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
