# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to the API through the edge, a ticket written and read back in turn; no request may fail.

`load.py PORT AUTHORITY NAME CALM RATE`: port of the controller on 127.0.0.1, file of the authority, the API's public name, a file that ends the load when it
is there (25 minutes do too), requests a second. Prints the number of requests and every failure; ends with 1 when there was one.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

RATE = LANES = int(sys.argv[5])
SECONDS = 1500


class Door(http.client.HTTPSConnection):
    """A name of the edge, which no DNS knows."""

    def connect(self) -> None:
        """Connect to this machine's port, and check the certificate for the name."""
        plain = socket.create_connection(("127.0.0.1", int(sys.argv[1])), self.timeout)
        self.sock = TRUST.wrap_socket(plain, server_hostname=self.host)


def ask(door: Door, path: str, body: dict[str, str] | None = None) -> dict[str, object]:
    """One request on the lane's connection."""
    method, text = ("GET", None) if body is None else ("POST", json.dumps(body))
    door.request(method, path, text, {"Content-Type": "application/json"})
    answer = door.getresponse()
    told = answer.read().decode("utf-8", "replace")
    if answer.status >= 300:
        raise OSError(f"{method} {path}: {answer.status} {told[:200]}")
    return dict(json.loads(told))


def lane(number: int, until: float, done: list[int], failed: list[str]) -> None:
    """One request a second: a ticket, then that ticket from the database."""
    begun = time.monotonic() + number / LANES
    turn, ticket = 0, ""
    # Kept, as a client's connection to the edge is: a handshake for each request would be the load of two processors, and not of the stack.
    door = Door(sys.argv[3], timeout=10)
    while time.monotonic() < until and not CALM.exists():
        time.sleep(max(0.0, begun + turn * LANES / RATE - time.monotonic()))
        turn += 1
        try:
            if not ticket:
                told = ask(door, "/api/v1/tickets", {"title": "under load", "description": f"lane {number}"})
                ticket = str(told["id"])
            else:
                told, ticket = ask(door, f"/api/v1/tickets/{ticket}"), ""
                if told["description"] != f"lane {number}":
                    failed.append(f"another ticket: {told}")
        except Exception as error:
            failed.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}"[:300])
            door.close()
            ticket = ""
        done.append(1)


if __name__ == "__main__":
    TRUST, CALM = ssl.create_default_context(cafile=sys.argv[2]), Path(sys.argv[4])
    done: list[int] = []
    failed: list[str] = []
    begun = time.monotonic()
    lanes = [threading.Thread(target=lane, args=(number, begun + SECONDS, done, failed)) for number in range(LANES)]
    for one in lanes:
        one.start()
    for one in lanes:
        one.join()
    seconds = time.monotonic() - begun
    print(
        f"requests {len(done)} failed {len(failed)} at {len(done) / seconds:.1f}/s in {seconds:.0f} s",
        *failed[:20],
        sep="\n",
    )
    # A busy machine asks less often and fails no test for that; half of it is still a load.
    sys.exit(bool(failed) or len(done) < RATE * seconds * 0.5)
