# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that are thrown away: Postgres and Redis on a Unix socket in the work folder, no network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from . import programs
from .errors import Fault
from .redis_wire import Redis

#: The superuser of a new throw-away server: no role of a backup has this name.
ADMINISTRATOR = "backup_drill"


class Ended(Fault):
    """A throw-away Postgres ended while it started; `log` is what it said."""

    def __init__(self, sentence: str, log: str) -> None:
        """Keep what it said."""
        super().__init__(sentence)
        self.log = log


def empty(folder: Path) -> None:
    """Remove everything below a folder, and end the servers a killed run left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.rglob("postmaster.pid"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            os.kill(int(file.read_text(encoding="utf-8").split()[0]), signal.SIGQUIT)
    for entry in folder.iterdir():
        if entry.name == "cache":
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def initdb(folder: Path) -> None:
    """Make a new data directory.

    Raises:
        Fault: initdb failed.
    """
    programs.run(
        *("initdb", "--pgdata", str(folder), "--username", ADMINISTRATOR, "--auth=trust", "--encoding=UTF8"),
        *("--locale=C.UTF-8", "--no-sync"),
        what="The throw-away Postgres cannot be made",
    )


@contextlib.contextmanager
def postgres(
    data: Path, user: str = ADMINISTRATOR, settings: dict[str, str] | None = None, seconds: float = 24 * 3600.0
) -> Iterator[dict[str, str]]:
    """Run a server on a data directory while the block runs; what to connect with (host, user).

    Raises:
        Ended: it ended before it was ready.
    """
    data.chmod(0o700)
    # the socket's path may have 107 characters
    socket = data.parent / "s"
    socket.mkdir(exist_ok=True)
    trust = data.parent / "pg_hba.conf"
    trust.write_text("local all all trust\n", encoding="utf-8")
    log = data.parent / f"{data.name}.log"
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(socket),
        "hba_file": str(trust),
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "",
        "ssl": "off",
        "archive_mode": "off",
        "shared_preload_libraries": "",
        "synchronous_standby_names": "",
        "max_connections": "20",
        "shared_buffers": "64MB",
        "maintenance_work_mem": "64MB",
        "max_wal_size": "2GB",
        "wal_level": "replica",
        # what is thrown away need not survive a power cut
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "autovacuum": "off",
        "jit": "off",
        "port": "5432",
        "external_pid_file": "",
        **(settings or {}),
    }
    words = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    where = {"host": str(socket), "port": "5432", "user": user}
    with log.open("wb") as output:
        process = programs.start(
            *("postgres", "-D", str(data), *words), end_with=signal.SIGQUIT, output=output, errors=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + seconds
            while not _ready(socket):
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(encoding="utf-8", errors="replace")
                    faults = [line for line in said.splitlines() if line.startswith(("FATAL", "PANIC"))]
                    raise Ended(
                        f"The throw-away Postgres did not start: {programs.last_words(chr(10).join(faults) or said)}.",
                        said,
                    )
                time.sleep(0.1)
            yield where
        finally:
            programs.end(process, signal.SIGQUIT)


def _ready(socket: Path) -> bool:
    """Whether a server takes connections on a socket."""
    if not (socket / ".s.PGSQL.5432").exists():
        return False
    code, _, _ = programs.attempt("pg_isready", "--quiet", "--host", str(socket), "--port", "5432")
    return code == 0


@contextlib.contextmanager
def redis(folder: Path, seconds: float = 3600.0) -> Iterator[Redis]:
    """Run a server on the file `dump.rdb` of a folder while the block runs.

    Raises:
        Fault: it did not load the file.
    """
    socket = folder / "r"
    log = folder / "redis.log"
    with log.open("wb") as output:
        process = programs.start(
            *("redis-server", "--port", "0", "--unixsocket", str(socket), "--dir", str(folder)),
            *("--dbfilename", "dump.rdb", "--save", "", "--appendonly", "no", "--databases", "1024"),
            end_with=signal.SIGKILL,
            output=output,
            errors=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + seconds
            while True:
                with contextlib.suppress(OSError, Fault):
                    client = Redis.at_socket(str(socket))
                    client.call("PING")
                    break
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(encoding="utf-8", errors="replace")
                    raise Fault(f"The throw-away Redis did not load the copy: {programs.last_words(said)}.")
                time.sleep(0.1)
            with contextlib.closing(client):
                yield client
        finally:
            process.kill()
            process.wait()
