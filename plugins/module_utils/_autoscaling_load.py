# SPDX-License-Identifier: GPL-3.0-or-later
"""The load: asks one address at a steady rate and prints one JSON line a second, then one about the whole.

Its text is what a pod runs (`python -c`), so it uses the standard library alone and nothing newer than Python 3.8: the
image is the user's. Arguments: address, requests a second (0: as fast as the connections allow), connections, seconds.
"""

from __future__ import annotations

import http.client
import json
import signal
import socket
import sys
import threading
import time
from array import array
from typing import Any
from urllib.parse import urlsplit

#: Seconds after which a connection is opened anew, so that new pods get their share.
FRESH_SECONDS = 3.0
#: Seconds that one answer may take.
TIMEOUT = 10.0
#: Seconds that the process stays after it was told to stop, so that its last line can still be read.
LINGER = 5.0
#: Seconds that a new pod may be refused everything: network policies hold for it, and let it out, a moment after it began.
ADMITTED_SECONDS = 60.0
#: Seconds that the schedule may lag; what cannot be sent by then is not made up for.
LAG = 0.5


def percentile(values: Any, share: float) -> float | None:
    """The value below which that share of the sorted values lies, in milliseconds; None without values."""
    if not values:
        return None
    return round(values[min(len(values) - 1, int(len(values) * share))] * 1000, 1)


class Tally:
    """What was answered in a time: latencies in seconds of the good answers, the number of failures, the first of them."""

    def __init__(self) -> None:
        self.good: Any = array("d")
        self.failed = 0
        self.error = ""

    def add(self, seconds: float, error: str) -> None:
        """Count one answer; `error` is empty for a good one."""
        if not error:
            self.good.append(seconds)
            return
        self.failed += 1
        self.error = self.error or error

    def data(self) -> dict[str, Any]:
        """The numbers of one line."""
        values = sorted(self.good)
        return {
            "requests": len(values) + self.failed,
            "failed": self.failed,
            "p50_ms": percentile(values, 0.5),
            "p95_ms": percentile(values, 0.95),
            "error": self.error,
        }


class Client:
    """One connection at a time to one address.

    Args:
        url: the address, plain HTTP.
        age: seconds that count as gone already for the first connection, so that not all are renewed at once.
    """

    def __init__(self, url: str, age: float = 0.0) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connection: http.client.HTTPConnection | None = None
        self._opened, self._age = 0.0, age

    def close(self) -> None:
        """Give the connection up."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def ask(self) -> str:
        """Ask once; empty when the answer is good (below 400), else what is wrong."""
        now = time.monotonic()
        if self._connection is not None and now - self._opened > FRESH_SECONDS:
            self.close()
        reused = self._connection is not None
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT)
            self._opened, self._age = now - self._age, 0.0
        answer = None
        try:
            self._connection.request("GET", self._target, headers={"User-Agent": "twisterlab-verify-load"})
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if reused and answer is None and isinstance(error, ConnectionError):
                # The server closed it while it was idle: every client asks again on a new connection.
                return self.ask()
            return f"{type(error).__name__}: {error}"
        if answer.will_close:
            self.close()
        return "" if answer.status < 400 else f"HTTP {answer.status}"


def admitted(url: str, seconds: float = ADMITTED_SECONDS) -> bool:
    """Wait until a connection is made; False when there was none in time, and the load will say so."""
    parts, until = urlsplit(url), time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            socket.create_connection((parts.hostname or "", parts.port or 80), 1.0).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


class Load:
    """The load as a whole.

    Args:
        url: the address.
        rate: requests a second; 0 is as fast as the connections allow.
        connections: how many at once.
        seconds: how long.
    """

    def __init__(self, url: str, rate: float, connections: int, seconds: float) -> None:
        self._url, self._rate, self._connections = url, rate, connections
        self._begun = time.monotonic()
        self._end = self._begun + seconds
        self._due = self._begun
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._second, self._whole = Tally(), Tally()

    def stop(self, *_signal: Any) -> None:
        """Ask nothing new."""
        self._stop.set()

    def _turn(self) -> bool:
        """Wait for the next place in the schedule; False when there is none."""
        now = time.monotonic()
        if self._rate:
            with self._lock:
                due = max(self._due, now - LAG)
                self._due = due + 1 / self._rate
            if due >= self._end or self._stop.wait(max(0.0, due - now)):
                return False
        return not self._stop.is_set() and now < self._end

    def _work(self, number: int) -> None:
        client = Client(self._url, FRESH_SECONDS * number / self._connections)
        while self._turn():
            begun = time.monotonic()
            error = client.ask()
            seconds = time.monotonic() - begun
            with self._lock:
                self._second.add(seconds, error)
                self._whole.add(seconds, error)
        client.close()

    def _say(self, **data: Any) -> None:
        print(json.dumps({"t": round(time.monotonic() - self._begun, 3), **data}), flush=True)

    def run(self) -> None:
        """Ask until the time is up or somebody says stop, a line a second and one at the end."""
        workers = [
            threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(self._connections)
        ]
        for worker in workers:
            worker.start()
        line = 1
        while not self._stop.wait(max(0.0, self._begun + line - time.monotonic())) and time.monotonic() < self._end:
            line += 1
            with self._lock:
                second, self._second = self._second, Tally()
            self._say(**second.data())
        told = self._stop.is_set()
        self.stop()
        for worker in workers:
            worker.join(TIMEOUT)
        with self._lock:
            self._say(end=True, **self._whole.data())
        if told:
            time.sleep(LINGER)


if __name__ == "__main__":
    admitted(sys.argv[1])
    load = Load(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    signal.signal(signal.SIGTERM, load.stop)
    load.run()
