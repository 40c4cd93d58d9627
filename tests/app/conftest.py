# SPDX-License-Identifier: GPL-3.0-or-later
"""Private Postgres and Redis servers, and the application's programs as processes."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import psycopg
import pytest

APP = Path(__file__).resolve().parents[2] / "images" / "app"
PASSWORD = """a b!c#d$e%f&g'h"i\\j`k@/:"""
ENCODED = quote(PASSWORD, safe="")
JWT = "jwt-Secret-Value-9f3b"


def free_port() -> int:
    """Return a loopback port that nobody uses now, outside the range of outgoing connections: it must stay free."""
    while True:
        port = random.randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "the condition") -> Any:
    """Wait until the condition holds and return its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            value = condition()
        except (httpx2.TransportError, OSError, psycopg.Error):
            value = None
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def _unprivileged() -> dict[str, Any]:
    """Return the arguments that run a program as somebody other than root."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@dataclass
class Postgres:
    """A private server that can be stopped and started again on the same port."""

    programs: Path
    folder: Path
    port: int
    identity: dict[str, Any]

    def run(self, *arguments: str) -> None:
        """Run one of the server's programs."""
        command = [str(self.programs / arguments[0]), *arguments[1:]]
        log = self.folder.parent / "commands.log"
        with log.open("ab") as output:
            done = subprocess.run(command, cwd="/", stdout=output, stderr=output, timeout=60, **self.identity)
        if done.returncode:
            said = "".join(path.read_text(errors="replace")[-3000:] for path in self.folder.parent.glob("*.log"))
            raise AssertionError(f"{arguments[0]} ended with {done.returncode}; the server's logs end with:\n{said}")

    def start(self) -> None:
        """Start and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self.run(
            "pg_ctl", "-D", str(self.folder), "-w", "-l", str(self.folder.parent / "server.log"), "-o", options, "start"
        )

    def stop(self) -> None:
        """Stop at once."""
        self.run("pg_ctl", "-D", str(self.folder), "-m", "immediate", "-w", "stop")

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect as the administrator."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="twisterlab", password=PASSWORD, dbname=database, autocommit=True
        )

    def url(self, database: str) -> str:
        """Return the DSN of a database, as some users write it."""
        return f"postgresql+asyncpg://twisterlab:{ENCODED}@127.0.0.1:{self.port}/{database}"


@dataclass
class RedisServer:
    """A private server with a password."""

    program: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; the password goes through stdin, as a user's configuration file would."""
        quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        lines = f'port {self.port}\nbind 127.0.0.1\nsave ""\nappendonly no\ndir {self.folder}\nrequirepass "{quoted}"\n'
        self.process = subprocess.Popen([self.program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        assert self.process.stdin is not None
        self.process.stdin.write(lines.encode())
        self.process.stdin.close()
        until(lambda: socket.create_connection(("127.0.0.1", self.port), 1).close() is None, what="redis listens")

    def stop(self) -> None:
        """Kill it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"redis://:{ENCODED}@127.0.0.1:{self.port}/0"


@dataclass
class Program:
    """One running program of the application."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30, trust_env=False)

    def alive(self) -> Program:
        """Wait for /health."""
        until(lambda: self.client.get("/health").status_code == 200, what="/health is 200")
        return self

    def ready(self) -> Program:
        """Wait for /ready."""
        until(lambda: self.client.get("/ready").status_code == 200, 60, what="/ready is 200")
        return self

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.client.close()

    def lines(self) -> list[dict[str, Any]]:
        """Return its log; every line must be JSON."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    program = found[-1] if found else Path(shutil.which("pg_ctl") or "")
    if not program.name:
        pytest.skip("pg_ctl is not on this machine: install the package postgresql")
    # Not below pytest's own folder: each session that starts takes it away from all users but its own.
    base = Path(tempfile.mkdtemp(prefix="twisterlab-pg-"))
    identity = _unprivileged()
    if identity:
        os.chown(base, identity["user"], identity["group"])
    secret = base / "password"
    secret.write_text(PASSWORD, encoding="utf-8")
    secret.chmod(0o644)
    server = Postgres(program.parent, base / "data", free_port(), identity)
    options = [
        "--auth=scram-sha-256",
        "-U",
        "twisterlab",
        f"--pwfile={secret}",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]
    try:
        server.run("initdb", "-D", str(server.folder), *options)
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A running server."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not on this machine: install the package redis-server")
    server = RedisServer(program, tmp_path_factory.mktemp("redis"), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture
def database(postgres: Postgres, request: pytest.FixtureRequest) -> str:
    """An empty database of this test's own."""
    name = "db_" + re.sub(r"\W", "_", request.node.name.lower())[:50]
    with postgres.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return name


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs keep their compiled modules: outside the source tree, shared by all of them."""
    return tmp_path_factory.mktemp("bytecode")


def assert_no_secret(text: str, where: str, *more: str) -> None:
    """No secret of these tests, in any spelling, may be in a text."""
    for secret in (PASSWORD, ENCODED, JWT, json.dumps(PASSWORD)[1:-1], repr(PASSWORD)[1:-1], *more):
        assert secret not in text, f"{where} holds a secret"


@contextlib.contextmanager
def programs(folder: Path, bytecode: Path) -> Iterator[Callable[..., Program]]:
    """Start programs; they are stopped at the end, and none of their logs may hold a secret."""
    started: list[Program] = []

    def start(module: str, **environment: str) -> Program:
        port = free_port()
        log = folder / f"{module}-{len(started)}.log"
        basic = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(APP),
            "PYTHONPYCACHEPREFIX": str(bytecode),
            "PORT": str(port),
        }
        basic |= {"JWT_SECRET_KEY": JWT, "HOSTNAME": f"{module}-{len(started)}", "HOST": "127.0.0.1"}
        with log.open("wb") as output:
            command = [sys.executable, "-m", f"twisterlab_app.{module}"]
            process = subprocess.Popen(command, env=basic | environment, cwd="/", stdout=output, stderr=output)
        started.append(Program(process, port, log))
        return started[-1]

    yield start
    for program in started:
        program.process.terminate()
    codes = [program.stop() for program in started]
    for program in started:
        assert_no_secret(program.log.read_text(encoding="utf-8"), program.log.name)
    assert all(code in (0, 2) for code in codes), f"exit codes {codes}"


@pytest.fixture
def run_program(tmp_path: Path, bytecode: Path) -> Iterator[Callable[..., Program]]:
    """Start programs of one test."""
    with programs(tmp_path, bytecode) as start:
        yield start


@pytest.fixture(scope="module")
def run_shared(tmp_path_factory: pytest.TempPathFactory, bytecode: Path) -> Iterator[Callable[..., Program]]:
    """Start programs that the tests of a module share."""
    with programs(tmp_path_factory.mktemp("shared"), bytecode) as start:
        yield start


@pytest.fixture(scope="module")
def shared_database(postgres: Postgres, request: pytest.FixtureRequest) -> str:
    """A database that the tests of a module share."""
    name = "shared_" + re.sub(r"\W", "_", request.module.__name__.lower())
    with postgres.connect() as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return name


@pytest.fixture
def api_environment(postgres: Postgres, redis_server: RedisServer, database: str) -> dict[str, str]:
    """What the API needs to run."""
    return {"DATABASE_URL": postgres.url(database), "REDIS_URL": redis_server.url}
