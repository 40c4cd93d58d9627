# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of the Redis protocol as a copy needs."""

from __future__ import annotations

import os
import socket
from typing import BinaryIO

from .errors import Fault, clean

Answer = bytes | int | list["Answer"] | None


class Redis:
    """One connection.

    Attributes:
        where: for the sentences of faults.
    """

    def __init__(self, connection: socket.socket, where: str) -> None:
        """Speak over a connected socket."""
        self.where = where
        self._connection = connection
        self._file: BinaryIO = connection.makefile("rb")

    @classmethod
    def at_socket(cls, path: str) -> Redis:
        """Connect to a throw-away server."""
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return cls(connection, "the throw-away Redis")

    @classmethod
    def live(cls, host: str, port: int) -> Redis:
        """Connect to the live server and log in with REDISCLI_AUTH.

        Raises:
            Fault: it cannot be reached or the password is wrong.
        """
        try:
            connection = socket.create_connection((host, port), timeout=60)
        except OSError as error:
            raise Fault(f"Redis at {host}:{port} cannot be reached: {error.strerror or error}.") from error
        found = cls(connection, f"Redis at {host}:{port}")
        if os.environ.get("REDISCLI_AUTH"):
            found.call("AUTH", os.environ["REDISCLI_AUTH"])
        return found

    def close(self) -> None:
        """End the connection."""
        self._file.close()
        self._connection.close()

    def call(self, *words: str | bytes | int) -> Answer:
        """Send one command and return its answer.

        Raises:
            Fault: the server refused it or went away.
        """
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        request = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        try:
            self._connection.sendall(request)
            return self._answer()
        except OSError as error:
            raise Fault(f"{self.where} went away: {error.strerror or error}.") from error

    def _answer(self) -> Answer:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise Fault(f"{self.where} ended the connection.")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Fault(f"{self.where} refused: {clean(rest.decode(errors='replace'))}.")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._file.read(size + 2)[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self._answer() for _ in range(int(rest))]
        return rest

    def keyspace(self) -> dict[int, tuple[int, int]]:
        """The keys of every database: number, and how many of them expire."""
        found: dict[int, tuple[int, int]] = {}
        answer = self.call("INFO", "keyspace")
        for line in (answer if isinstance(answer, bytes) else b"").decode().splitlines():
            name, _, values = line.partition(":")
            if name.startswith("db") and "keys=" in values:
                fields = dict(word.split("=", 1) for word in values.split(","))
                found[int(name[2:])] = (int(fields["keys"]), int(fields["expires"]))
        return found
