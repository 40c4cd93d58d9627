# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup program against real servers: what it saves comes back, and what is damaged is noticed."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import datetime
import http.server
import ipaddress
import json
import os
import re
import shutil
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import PASSWORD, Postgres, RedisServer, _unprivileged, assert_no_secret, free_port, until
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis import Redis

IMAGE = Path(__file__).resolve().parents[2] / "images" / "backup"
REPOSITORY_PASSWORD = "repository-Secret-77aa"
REPLICATION_PASSWORD = "replication Secret'\"\\ 5c"
NOBODY = _unprivileged()
S3_KEY, S3_SECRET = "s3-access-Key-1b", "s3-Secret-9911/+x"
# Postgres does not run as root: a user namespace in which root's files are another one's, as they are in the pod.
SOMEBODY = ["unshare", "--user", *(f"--map-{kind}={NOBODY[kind]}" for kind in ("user", "group"))] if NOBODY else []
# The image's own interpreter, where these tests run inside it.
PYTHON = os.environ.get("TWISTERLAB_TEST_PYTHON", sys.executable)

pytestmark = pytest.mark.skipif(shutil.which("restic") is None, reason="restic is not on this machine")


@dataclasses.dataclass
class Backup:
    """One volume, and the program with its environment."""

    folder: Path
    env: dict[str, str]

    @property
    def state(self) -> Path:
        return self.folder / "backup" / "state"

    def start(self, *words: str, **env: str) -> subprocess.Popen[str]:
        """Start a command."""
        command = [*SOMEBODY, PYTHON, "-m", "twisterlab_backup", *words]
        return subprocess.Popen(
            command, env=self.env | env, cwd="/", text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(self, *words: str, code: int = 0, **env: str) -> str:
        """Run a command to its end; what it printed, which holds no secret."""
        process = self.start(*words, **env)
        output, errors = process.communicate(timeout=600)
        self.no_secret(output + errors, " ".join(words))
        assert process.returncode == code, f"{words}: {process.returncode}\n{output}\n{errors}"
        if code:
            assert len(errors.strip().splitlines()) == 1, errors
            assert errors.strip().endswith("."), errors
        return output + errors

    def no_secret(self, text: str, where: str) -> None:
        """No secret is in a text."""
        assert_no_secret(text, where, REPOSITORY_PASSWORD, REPLICATION_PASSWORD, S3_KEY, S3_SECRET)

    def last(self, name: str = "last") -> dict[str, Any]:
        """A file of the state."""
        text = (self.state / f"{name}.json").read_text(encoding="utf-8")
        self.no_secret(text, name)
        found: dict[str, Any] = json.loads(text)
        return found

    def list(self) -> dict[str, Any]:
        """What `list` says."""
        found: dict[str, Any] = json.loads(self.run("list", "--json"))
        return found

    def restic(self, *words: str, folder: Path = Path("/")) -> str:
        """Run restic on the repository."""
        command = [*SOMEBODY, "restic", "-q", *words]
        return subprocess.run(command, env=self.env, cwd=folder, text=True, capture_output=True, check=True).stdout

    def left_nothing(self) -> None:
        """The work folder is empty, and no throw-away server lives."""
        left = [path.name for path in (self.folder / "work").iterdir() if path.name != "cache"]
        assert left == []
        assert not servers_in(self.folder / "work")


def servers_in(folder: Path) -> list[str]:
    """The command lines of processes that work in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words and "pytest" not in words:
                found.append(words)
    return found


@contextlib.contextmanager
def volume(postgres: Postgres, redis_server: RedisServer, database: str, **more: str) -> Iterator[Backup]:
    """A volume and an environment."""
    # the path of a socket may have 107 characters
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    (folder / "password").write_text(REPOSITORY_PASSWORD, encoding="utf-8")
    grafana = folder / "grafana.db"
    with contextlib.closing(sqlite3.connect(grafana)) as connection:
        connection.executescript("CREATE TABLE dashboard (id INTEGER); INSERT INTO dashboard VALUES (1), (2), (3);")
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(IMAGE),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGDATABASE": database,
        "PGUSER": "twisterlab",
        "PGPASSWORD": PASSWORD,
        "BACKUP_PG_OWNER": "twisterlab",
        "BACKUP_PG_REPLICATION_PASSWORD": REPLICATION_PASSWORD,
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis_server.port),
        "REDISCLI_AUTH": PASSWORD,
        "RESTIC_REPOSITORY": str(folder / "backup" / "repository"),
        "RESTIC_PASSWORD_FILE": str(folder / "password"),
        "RESTIC_CACHE_DIR": str(folder / "work" / "cache"),
        "BACKUP_DIR": str(folder / "backup"),
        "BACKUP_WORK": str(folder / "work"),
        "BACKUP_GRAFANA": str(grafana),
        "BACKUP_PARTS": "postgres,redis,grafana",
        "BACKUP_PORT": str(free_port()),
    }
    (folder / "work").mkdir()
    try:
        yield Backup(folder, env | more)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


TABLES = """
CREATE SCHEMA other;
CREATE TABLE tickets (id serial PRIMARY KEY, title text NOT NULL, body jsonb, at timestamptz DEFAULT now(), raw bytea);
INSERT INTO tickets (title, body, raw)
    SELECT 'ticket ' || n, jsonb_build_object('n', n, 'x', 1.5 / n), decode(md5(n::text), 'hex') FROM generate_series(1, 500) n;
CREATE TABLE other."No Key" (a text, b double precision);
INSERT INTO other."No Key" VALUES ('x', 0.1), ('x', 0.1), (NULL, 'NaN');
CREATE INDEX ON tickets (title);
CREATE VIEW open_tickets AS SELECT id, title FROM tickets;
CREATE FUNCTION answer() RETURNS int LANGUAGE sql AS 'SELECT 42';
"""


def fill(postgres: Postgres, database: str) -> None:
    """Make the database and put rows of many kinds into it."""
    with postgres.connect() as connection:
        connection.execute(f'CREATE DATABASE "{database}"')
        connection.execute(f"ALTER DATABASE \"{database}\" SET work_mem = '5MB'")
    with postgres.connect(database) as connection:
        connection.execute(TABLES)


def titles(postgres: Postgres, database: str) -> list[str]:
    """The titles of the tickets that the tests themselves added."""
    with postgres.connect(database) as connection:
        rows = connection.execute("SELECT title FROM tickets WHERE title NOT LIKE 'ticket %' ORDER BY id")
        return [row[0] for row in rows]


def add(postgres: Postgres, database: str, title: str) -> None:
    """Add a ticket."""
    with postgres.connect(database) as connection:
        connection.execute("INSERT INTO tickets (title) VALUES (%s)", [title])


def databases(postgres: Postgres, start: str) -> list[str]:
    """The databases whose names start so."""
    with postgres.connect() as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1", [start])
        return [row[0] for row in rows]


@pytest.fixture(scope="module")
def saved(postgres: Postgres, redis_server: RedisServer) -> Iterator[Backup]:
    """A volume with one good backup; tests that change it take a copy."""
    fill(postgres, "saved")
    with Redis(port=redis_server.port, password=PASSWORD) as redis, volume(postgres, redis_server, "saved") as backup:
        redis.flushall()
        redis.mset({f"key-{number}": "value" for number in range(50)})
        redis.set("short", "lived", ex=3600)
        redis.hset("hash", mapping={"a": "1", "b": b"\x00\xff"})
        backup.run("run", "--reason", "a test")
        yield backup


@pytest.fixture
def copied(saved: Backup) -> Iterator[Backup]:
    """A copy of the volume with one good backup."""
    folder = Path(tempfile.mkdtemp(prefix="tb-"))
    shutil.copytree(saved.folder, folder, dirs_exist_ok=True)
    yield Backup(folder, {name: value.replace(str(saved.folder), str(folder)) for name, value in saved.env.items()})
    shutil.rmtree(folder, ignore_errors=True)


def test_a_backup_is_made_and_proven(saved: Backup) -> None:
    last = saved.last()
    assert last["ok"] is True
    assert last["why"] == ""
    assert last["parts"]["postgres"] == {"tables": 2, "rows": 503}
    assert last["parts"]["redis"] == {"keys": 52, "expires": 1}
    assert last["parts"]["grafana"]["there"] is True
    assert (last["drill"]["ok"], last["drill"]["tables"], last["drill"]["rows"]) == (True, 2, 503)
    (snapshot,) = saved.list()["snapshots"]
    assert (snapshot["id"], snapshot["kind"], snapshot["drilled"]) == (last["snapshot"], "logical", True)
    assert "point in time: no base yet" in saved.run("list")
    saved.left_nothing()


def test_a_table_whose_check_is_written_otherwise_after_a_dump_is_proven(
    postgres: Postgres, redis_server: RedisServer
) -> None:
    fill(postgres, "checked")
    with postgres.connect("checked") as connection:
        connection.execute("CREATE TABLE states (state varchar(9) CHECK (state IN ('open', 'closed')))")
        connection.execute("CREATE VIEW opened AS SELECT * FROM states WHERE state IN ('open', 'new')")
        connection.execute("CREATE INDEX ON states (state) WHERE state IN ('open', 'new')")
    with volume(postgres, redis_server, "checked", BACKUP_PARTS="postgres") as backup:
        backup.run("run")
        backup.run("restore", "--snapshot", "latest", "--replace")
        # what is really another one is still noticed
        with postgres.connect("checked") as connection:
            connection.execute("ALTER TABLE states DROP CONSTRAINT states_state_check")
            connection.execute("ALTER TABLE states ADD CONSTRAINT states_state_check CHECK (state IN ('open', 'done'))")
        probe = "from twisterlab_backup import drill, live, repository, settings\n" + (
            "inside, about = drill.open_snapshot(repository.pick('latest'), settings.read().work / 'probe')\n"
            "drill.compare('checked', about['parts']['postgres']['fingerprint'], 'Probe')"
        )
        command = [*SOMEBODY, PYTHON, "-c", probe]
        done = subprocess.run(command, env=backup.env, cwd="/", text=True, capture_output=True, check=False)
        assert "the shape of table public.states differs" in done.stderr


def flip(backup: Backup) -> None:
    """Change one bit of the largest file of the repository."""
    data = backup.folder / "backup" / "repository" / "data"
    largest = max((path for path in data.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 3] ^= 1
    largest.chmod(0o600)
    largest.write_bytes(content)


def test_one_wrong_byte_in_the_repository_is_noticed(copied: Backup) -> None:
    flip(copied)
    said = copied.run("drill", code=1)
    assert said.startswith("The repository is damaged: ")
    drill = copied.last("drill")
    assert drill["ok"] is False
    assert "damaged" in drill["why"]
    copied.left_nothing()


def test_where_a_damaged_repository_was_another_is_begun(copied: Backup) -> None:
    flip(copied)
    place = copied.folder / "backup" / "repository"
    place.rename(place.with_name("repository-damaged"))
    assert "Is there a repository" in copied.run("drill", code=1)
    said = copied.run("run", BACKUP_PARTS="grafana")
    assert "made a new repository" in said
    assert copied.last("drill")["ok"] is True
    assert len(copied.list()["snapshots"]) == 1


def test_a_manifest_that_says_something_else_fails_the_drill(copied: Backup, postgres: Postgres) -> None:
    snapshot = copied.last()["snapshot"]
    copied.restic("restore", snapshot, "--target", str(copied.folder / "out"))
    (manifest,) = (copied.folder / "out").rglob("manifest.json")
    about = json.loads(manifest.read_text(encoding="utf-8"))
    about["parts"]["postgres"]["fingerprint"]["tables"]["public.tickets"]["hash"] = "1/2"
    manifest.write_text(json.dumps(about), encoding="utf-8")
    copied.restic("backup", "--host", "twisterlab", "--tag", "logical", "logical", folder=manifest.parents[1])
    said = copied.run("drill", code=1)
    assert "the content of table public.tickets differs" in said
    assert copied.last("drill")["ok"] is False
    said = copied.run("restore", "--snapshot", "latest", "--replace", code=1)
    assert "The restored database is not what was saved" in said
    assert "saved_restore" not in databases(postgres, "saved_"), "it would stay on the live server's disk"
    # the one before is as good as it was
    assert "2 tables, 503 rows" in copied.run("drill", "--snapshot", snapshot)
    assert copied.last("drill")["ok"] is True


def test_a_filled_database_is_replaced_only_when_asked(saved: Backup, copied: Backup, postgres: Postgres) -> None:
    snapshot = copied.last()["snapshot"]
    add(postgres, "saved", "written later")
    said = copied.run("restore", "--snapshot", snapshot, code=1)
    assert "is not empty (other.No Key holds rows): add --replace" in said
    assert databases(postgres, "saved") == ["saved"]
    with postgres.connect("saved") as session:
        copied.run("restore", "--snapshot", "latest", "--replace")
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert titles(postgres, "saved") == []
    now, before = databases(postgres, "saved")
    assert now == "saved"
    assert re.fullmatch(r"saved_before_\d{14}", before)
    assert titles(postgres, before) == ["written later"]
    with postgres.connect("saved") as connection:
        assert connection.execute("SHOW work_mem").fetchone() == ("5MB",)
        assert connection.execute("SELECT answer(), count(*) FROM open_tickets").fetchone() == (42, 500)
        # the sequence goes on after what was restored
        assert connection.execute("INSERT INTO tickets (title) VALUES ('x') RETURNING id").fetchone() == (501,)
        connection.execute("DELETE FROM tickets WHERE title = 'x'")
    time.sleep(1.1)
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE saved_before_upgrade")
    copied.run("restore", "--snapshot", "latest", "--replace")
    *ours, own = databases(postgres, "saved_before_")
    assert own == "saved_before_upgrade", "it is the user's own"
    with postgres.connect() as connection:
        connection.execute("DROP DATABASE saved_before_upgrade")
    assert len(ours) == 1
    assert ours != [before]
    copied.left_nothing()


def test_a_name_as_long_as_it_may_be_is_restored_too(postgres: Postgres, redis_server: RedisServer) -> None:
    name = "long".ljust(63, "g")
    fill(postgres, name)
    with volume(postgres, redis_server, name, BACKUP_PARTS="postgres") as backup:
        backup.run("run")
        add(postgres, name, "written later")
        backup.run("restore", "--snapshot", "latest", "--replace")
        assert titles(postgres, name) == []
        (before,) = (found for found in databases(postgres, "longg") if found != name)
        assert re.fullmatch(r"longg+_before_\d{14}", before)
        assert titles(postgres, before) == ["written later"]


def test_redis_is_restored_when_asked(copied: Backup, redis_server: RedisServer) -> None:
    with Redis(port=redis_server.port, password=PASSWORD) as redis:
        redis.flushall()
        redis.set("new", "1")
        # refused, it is not an interrupted one that the same words would go on with
        for _turn in range(2):
            assert "is not empty" in copied.run("restore", "--snapshot", "latest", "--parts", "redis", code=1)
            assert redis.get("new") == b"1"
        copied.run("restore", "--snapshot", "latest", "--parts", "redis", "--replace")
        assert redis.dbsize() == 52
        assert redis.get("new") is None
        assert redis.hgetall("hash") == {b"a": b"1", b"b": b"\x00\xff"}
        assert 0 < redis.ttl("short") <= 3600
        # killed while it filled Redis it goes on without being asked again
        words = f"snapshot {copied.last()['snapshot']} into saved, redis"
        told = copied.last("restore") | {"request": words, "finished": False, "redis": True}
        (copied.state / "restore.json").write_text(json.dumps(told), encoding="utf-8")
        copied.run("restore", "--snapshot", "latest", "--parts", "redis")


def test_words_that_are_wrong_are_said_in_one_sentence(copied: Backup) -> None:
    for words, sentence in {
        ("restore", "--time", "yesterday"): "write a time with its zone, as 2026-11-26T18:00:00Z",
        ("restore", "--time", "2020-01-01T00:00:00Z"): "there is no base yet",
        ("restore", "--snapshot", "0123456789"): "There is no snapshot '0123456789'",
        ("restore", "--snapshot", "latest", "--parts", "grafana"): "mounted read-only",
        ("restore", "--snapshot", "latest", "--parts", "all"): "write some of postgres,redis",
        ("drill", "--snapshot", "0123456789"): "There is no snapshot",
    }.items():
        assert sentence in copied.run(*words, code=1), words
    assert "another password" in copied.run("drill", code=1, RESTIC_PASSWORD="wrong", RESTIC_PASSWORD_FILE="")
    assert "BACKUP_KEEP" in copied.run("list", code=1, BACKUP_KEEP="forever")
    assert "cannot be reached" in copied.run("run", code=1, PGPORT="1")
    assert "password authentication failed" in copied.run("run", code=1, PGPASSWORD="wrong-Password")
    assert "Redis" in copied.run("run", code=1, REDISCLI_AUTH="wrong-Password", BACKUP_PARTS="redis")


def test_a_part_is_written_into_a_file_and_never_printed(saved: Backup) -> None:
    target = saved.folder / "grafana-copy.db"
    saved.run("show", "--part", "grafana", "--dest", str(target))
    assert target.stat().st_mode & 0o777 == 0o600
    with contextlib.closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT count(*) FROM dashboard").fetchone() == (3,)
    assert "is there already" in saved.run("show", "--part", "grafana", "--dest", str(target), code=1)
    assert "does not hold secrets" in saved.run("show", "--part", "secrets", "--dest", str(target), code=1)


@contextlib.contextmanager
def serving(backup: Backup) -> Iterator[subprocess.Popen[str]]:
    """Run `serve`; its log holds no secret."""
    process = backup.start("serve")
    try:
        yield process
    finally:
        process.terminate()
        output, errors = process.communicate(timeout=60)
        backup.no_secret(output + errors, "serve")
        assert process.returncode == 0, output + errors


def get(backup: Backup, path: str) -> tuple[int, str]:
    """One answer of `serve`."""
    url = f"http://127.0.0.1:{backup.env['BACKUP_PORT']}{path}"
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(backup: Backup, name: str) -> float | None:
    """One value; None when it is not there."""
    code, text = get(backup, "/metrics")
    assert code == 200
    backup.no_secret(text, "the metrics")
    match = re.search(rf"^twisterlab_backup_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else None


def ready(backup: Backup) -> bool:
    """Whether WAL is received."""
    return get(backup, "/readyz")[0] == 200


def whole_second() -> str:
    """A second that has passed, of which everything before and nothing after is known."""
    time.sleep(1.1 - time.time() % 1)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    time.sleep(1.0 - time.time() % 1)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_metrics_tell_good_bad_and_killed(copied: Backup) -> None:
    with serving(copied):
        until(lambda: get(copied, "/healthz")[0] == 200, what="serve answers")
        assert ready(copied), "WAL is off: nothing to wait for"
        assert metric(copied, "last_run_success") == 1
        assert metric(copied, "drill_success") == 1
        assert metric(copied, 'snapshots{kind="logical"}') == 1
        assert metric(copied, "size_bytes") == copied.last()["bytes"]
        assert (metric(copied, "repository_bytes") or 0) > 0
        assert metric(copied, "wal_streaming") is None
        good = metric(copied, "last_success_timestamp_seconds")
        assert good is not None
        assert abs(time.time() - good) < 600
        copied.run("run", code=1, PGPORT="1")
        assert metric(copied, "last_run_success") == 0
        assert metric(copied, "last_success_timestamp_seconds") == good
        flip(copied)
        copied.run("drill", code=1)
        assert metric(copied, "drill_success") == 0
        assert get(copied, "/other")[0] == 404


def test_a_volume_that_was_full_does_not_end_the_receiving(postgres: Postgres, redis_server: RedisServer) -> None:
    with volume(postgres, redis_server, "postgres", BACKUP_WAL="true") as backup:
        with serving(backup):
            until(lambda: ready(backup), 60, "WAL is received")
        # what it leaves: a segment that could not be made as long as it must be
        (partial,) = (backup.folder / "backup" / "wal").glob("*/*.partial")
        os.truncate(partial, 4096)
        with serving(backup):
            until(lambda: ready(backup), 60, "WAL is received again")
    with postgres.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot('twisterlab_backup')")


def test_before_the_first_run_the_metrics_say_so(postgres: Postgres, redis_server: RedisServer) -> None:
    with volume(postgres, redis_server, "postgres") as backup, serving(backup):
        until(lambda: get(backup, "/healthz")[0] == 200, what="serve answers")
        assert metric(backup, "last_success_timestamp_seconds") == 0
        assert metric(backup, "last_run_success") == 0
        assert metric(backup, "drill_success") is None


def test_every_second_since_the_base_comes_back(postgres: Postgres, redis_server: RedisServer) -> None:
    fill(postgres, "timed")
    wal = {"BACKUP_WAL": "true", "BACKUP_PARTS": "postgres"}
    with volume(postgres, redis_server, "timed", **wal) as backup, serving(backup):
        until(lambda: ready(backup), 60, "WAL is received")
        backup.run("run")
        assert backup.last()["drill"]["ok"] is True
        assert [each["kind"] for each in backup.list()["snapshots"]] == ["logical", "base"]
        add(postgres, "timed", "after the base")
        second = whole_second()
        add(postgres, "timed", "after the second")
        last = whole_second()
        backup.run("restore", "--time", second, "--replace")
        assert titles(postgres, "timed") == ["after the base"]
        # nothing is written after this second but the commit that the restore asks for
        backup.run("restore", "--time", last, "--replace")
        assert titles(postgres, "timed") == ["after the base", "after the second"]
        span = backup.list()["pitr"]
        for target, sentence in {
            "2020-01-01T00:00:00Z": "is before the oldest base: choose a second from " + span["from"],
            "2199-01-01T00:00:00Z": "is in the future: choose a second from " + span["from"],
        }.items():
            assert sentence in backup.run("restore", "--time", target, "--replace", code=1)
        assert metric(backup, "wal_streaming") == 1
        assert metric(backup, "wal_lag_bytes") == 0
        received = metric(backup, "wal_last_received_timestamp_seconds")
        assert received is not None
        assert abs(time.time() - received) < 30
        backup.left_nothing()
    with postgres.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot('twisterlab_backup')")


def test_what_was_received_before_a_gap_is_still_restored(postgres: Postgres, redis_server: RedisServer) -> None:
    fill(postgres, "gap")
    wal = {"BACKUP_WAL": "true", "BACKUP_PARTS": "postgres"}
    with volume(postgres, redis_server, "gap", **wal) as backup:
        with serving(backup):
            until(lambda: ready(backup), 60, "WAL is received")
            backup.run("run")
            add(postgres, "gap", "before the gap")
            second = whole_second()
            add(postgres, "gap", "after the second")
            until(lambda: backup.list()["pitr"]["to"] > second, what="it is received")
        # the receiver is away for so long that the server removes what follows
        with postgres.connect() as connection:
            connection.execute("SELECT pg_drop_replication_slot('twisterlab_backup')")
            for _turn in range(12):
                connection.execute("SELECT pg_logical_emit_message(true, 'x', repeat('x', 1000)), pg_switch_wal()")
                connection.execute("CHECKPOINT")
        with serving(backup):
            until(lambda: ready(backup), 60, "WAL is received again")
            backup.run("run")
            assert backup.list()["pitr"]["from"] < second
            backup.run("restore", "--time", second, "--replace")
            assert titles(postgres, "gap") == ["before the gap"]
            # it goes with the last base that needs it
            assert len(list((backup.folder / "backup" / "wal").glob("*-until-*"))) == 1
            backup.run("run", BACKUP_KEEP="last=1")
            assert not list((backup.folder / "backup" / "wal").glob("*-until-*"))
    with postgres.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot('twisterlab_backup')")


def kill_at(backup: Backup, line: str, *words: str) -> None:
    """Start a command and kill it as soon as it prints a line that starts so."""
    process = backup.start(*words)
    assert process.stdout is not None
    for said in process.stdout:
        if said.startswith(line):
            break
    else:
        raise AssertionError(f"{words} never said {line!r}: {process.communicate()}")
    process.kill()
    process.communicate()


def test_a_killed_backup_leaves_nothing_half_done(copied: Backup) -> None:
    for line in ("postgres: ", "checked "):
        kill_at(copied, line, "run")
    with serving(copied):
        until(lambda: get(copied, "/healthz")[0] == 200, what="serve answers")
        assert metric(copied, "last_run_success") == 0
        until(lambda: not servers_in(copied.folder / "work"), what="no throw-away server lives")
    said = copied.run("run")
    assert "was killed: its rest is removed" in said
    assert copied.last()["ok"] is True
    assert not (copied.state / "running.json").exists()
    copied.left_nothing()


def test_a_killed_restore_ends_well_when_it_is_run_again(copied: Backup, postgres: Postgres) -> None:
    words = ("restore", "--snapshot", "latest", "--replace")
    add(postgres, "saved", "before the restore")
    begun: list[dict[str, Any]] = []
    for line in ("loading into ", "switched "):
        kill_at(copied, line, *words)
        begun.append(copied.last("restore"))
        # never half of it: the old database, or the restored one
        assert titles(postgres, "saved") in ([], ["before the restore"])
    # where the kill came after the last word was written, take that back
    (copied.state / "restore.json").write_text(json.dumps(begun[0]), encoding="utf-8")
    said = copied.run(*words)
    assert "was already switched to snapshot" in said
    assert titles(postgres, "saved") == []
    assert "saved_restore" not in databases(postgres, "saved")
    # the same words another day are another restore
    add(postgres, "saved", "another day")
    assert "was already switched" not in copied.run(*words)
    assert titles(postgres, "saved") == []
    copied.left_nothing()


def test_every_column_counts_whatever_it_is_called(postgres: Postgres, database: str) -> None:
    probe = f"from twisterlab_backup import fingerprint, live\nprint(fingerprint.take(live.connect({database!r}))['tables'])"
    env = {"PYTHONPATH": str(IMAGE), "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "twisterlab"}
    hashes = []
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE series (t int, value text); INSERT INTO series VALUES (1, 'a')")
        for value in ("a", "b"):
            connection.execute("UPDATE series SET value = %s", [value])
            command = [PYTHON, "-c", probe]
            done = subprocess.run(
                command, env=os.environ | env | {"PGPASSWORD": PASSWORD}, text=True, capture_output=True, check=True
            )
            hashes.append(done.stdout)
    assert "public.series" in hashes[0]
    assert hashes[0] != hashes[1]


def test_retention_keeps_what_it_says(copied: Backup) -> None:
    (copied.folder / "old" / "logical").mkdir(parents=True)
    (copied.folder / "old" / "logical" / "file").write_text("old", encoding="utf-8")
    (newest,) = [each["id"] for each in copied.list()["snapshots"]]
    today = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=30)
    for days, hour in ((1, 1), (1, 5), (2, 5), (3, 5)):
        when = (today - datetime.timedelta(days=days)).replace(hour=hour).strftime("%Y-%m-%d %H:%M:%S")
        words = ("backup", "--host", "twisterlab", "--tag", "logical", "--time", when, "logical")
        copied.restic(*words, folder=copied.folder / "old")
    copied.run("run", BACKUP_KEEP="last=1,daily=3", BACKUP_PARTS="grafana")
    kept = copied.list()["snapshots"]
    days = [str((today - datetime.timedelta(days=days)).date()) for days in (2, 1, 0)]
    assert [each["time"][:10] for each in kept] == days
    # of a day the newest one stays
    assert [each["time"][11:13] for each in kept[:2]] == ["05", "05"]
    assert newest not in [each["id"] for each in kept]


def test_the_last_proven_backup_is_not_forgotten(copied: Backup, postgres: Postgres) -> None:
    (good,) = [each["id"] for each in copied.list()["snapshots"]]
    with postgres.connect("saved") as connection:
        # what can be dumped and not loaded: the table is not found without the path of this session
        connection.execute(
            "CREATE FUNCTION many() RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN EXISTS (SELECT FROM tickets); END'"
        )
        connection.execute("CREATE TABLE guarded (id int CHECK (many())); INSERT INTO guarded VALUES (1)")
    try:
        for _turn in range(2):
            assert "cannot be loaded" in copied.run("run", code=1, BACKUP_KEEP="last=1", BACKUP_PARTS="postgres")
            assert [each["id"] for each in copied.list()["snapshots"]][0] == good
        assert len(copied.list()["snapshots"]) == 2
    finally:
        with postgres.connect("saved") as connection:
            connection.execute("DROP TABLE guarded; DROP FUNCTION many()")
    copied.run("run", BACKUP_KEEP="last=1", BACKUP_PARTS="postgres")
    assert [each["id"] for each in copied.list()["snapshots"]] == [copied.last()["snapshot"]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """The address of an S3 server."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    with (tmp_path / "moto.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, cwd="/", stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        until(lambda: opener.open(f"{address}/moto-api/", timeout=1).status == 200, 60, "the S3 server answers")
        yield address
    finally:
        process.kill()
        process.wait()


def test_a_store_elsewhere_holds_all_that_is_needed(store: str, postgres: Postgres, redis_server: RedisServer) -> None:
    fill(postgres, "stored")
    where = {
        "RESTIC_REPOSITORY": f"s3:{store}/bucket/prefix",
        "AWS_ACCESS_KEY_ID": S3_KEY,
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "BACKUP_WAL": "true",
        "BACKUP_WAL_UPLOAD_SECONDS": "2",
        "BACKUP_PARTS": "postgres",
    }
    with volume(postgres, redis_server, "stored", **where) as backup, serving(backup):
        until(lambda: ready(backup), 60, "WAL is received")
        backup.run("run", "--reason", "the first")
        add(postgres, "stored", "one")
        second = whole_second()
        add(postgres, "stored", "two")

        def uploaded() -> bool:
            # without the state of this volume, as after its loss
            found = json.loads(backup.run("list", "--json", BACKUP_DIR=str(backup.folder / "lost")))
            return bool(found["pitr"]["to"] > second)

        until(uploaded, 60, "the WAL is in the store")
    # the volume is lost: only the store is left
    with volume(postgres, redis_server, "stored", **where) as other:
        kinds = {each["kind"] for each in other.list()["snapshots"]}
        assert kinds == {"logical", "base", "wal"}
        other.run("drill")
        other.run("restore", "--time", second, "--replace")
        assert titles(postgres, "stored") == ["one"]
        other.run("restore", "--snapshot", "latest", "--replace")
        assert titles(postgres, "stored") == []
        other.left_nothing()
    with postgres.connect() as connection:
        connection.execute("SELECT pg_drop_replication_slot('twisterlab_backup')")


def certificate(folder: Path) -> None:
    """A service account's folder: a token, and the certificate of an API on this machine (`ca.crt`, `key`)."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    encoding, no = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "ca.crt").write_bytes(made.public_bytes(encoding))
    (folder / "key").write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no))
    (folder / "token").write_text("pod-token-4411", encoding="utf-8")


IN_SECRET = "in-the-Secret-3f"


class Api(http.server.BaseHTTPRequestHandler):
    """The four answers of the Kubernetes API; what is not there is 404."""

    def do_GET(self) -> None:
        """Answer."""
        secret = {"metadata": {"name": "twisterlab-secrets", "uid": "u"}, "type": "Opaque", "data": {}}
        secret["data"] = {"jwt": base64.b64encode(IN_SECRET.encode()).decode()}
        record = {"metadata": {"name": "twisterlab-release-1"}, "data": {"release.json": "{}"}}
        answers: dict[str, Any] = {
            "/api/v1/namespaces/shop/configmaps?labelSelector=twisterlab.io/record%3Dtrue": {"items": [record]},
            "/api/v1/namespaces/shop/secrets/twisterlab-secrets": secret,
        }
        allowed = self.headers["Authorization"] == "Bearer pod-token-4411"
        self.send_response((200 if self.path in answers else 404) if allowed else 403)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path, {})).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_records_and_secrets_are_saved_and_never_printed(copied: Backup) -> None:
    account = copied.folder / "account"
    certificate(account)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(account / "ca.crt", account / "key")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api) as api:
        api.socket = context.wrap_socket(api.socket, server_side=True)
        threading.Thread(target=api.serve_forever, daemon=True).start()
        where = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api.server_port),
            "BACKUP_SERVICE_ACCOUNT": str(account),
            "BACKUP_NAMESPACE": "shop",
            "BACKUP_PARTS": "records,secrets",
        }
        said = copied.run("run", **where)
        (account / "token").write_text("another", encoding="utf-8")
        assert "answered 403 for configmaps" in copied.run("run", code=1, **where)
        api.shutdown()
    assert copied.last("drill")["ok"] is True
    target = copied.folder / "secrets.json"
    said += copied.run("show", "--part", "secrets", "--dest", str(target))
    found = json.loads(target.read_text(encoding="utf-8"))["items"]
    assert [each["metadata"] for each in found] == [{"name": "twisterlab-secrets"}]
    encoded = base64.b64encode(IN_SECRET.encode()).decode()
    assert found[0]["data"] == {"jwt": encoded}
    for text in (said, (copied.state / "good.json").read_text(encoding="utf-8")):
        assert IN_SECRET not in text
        assert encoded not in text


@pytest.mark.skipif(not os.environ.get("TWISTERLAB_TEST_LONG"), reason="takes minutes: set TWISTERLAB_TEST_LONG")
def test_the_time_and_space_of_one_gibibyte(postgres: Postgres, redis_server: RedisServer) -> None:
    fill(postgres, "large")
    with postgres.connect("large") as connection:
        connection.execute(
            "CREATE TABLE events AS SELECT n AS id, (SELECT string_agg(md5((n * 32 + k)::text), '') FROM generate_series(1, 31) k)"
            " AS body FROM generate_series(1, 1000000) n"
        )
        connection.execute("ALTER TABLE events ADD PRIMARY KEY (id)")
        (size,) = connection.execute("SELECT pg_database_size('large')").fetchone() or (0,)
    assert size > 1024**3
    with volume(postgres, redis_server, "large", BACKUP_PARTS="postgres") as backup:
        times = {}
        for name, words in {
            "run": ("run",),
            "run again": ("run",),
            "restore": ("restore", "--snapshot", "latest", "--replace"),
        }.items():
            start = time.monotonic()
            backup.run(*words)
            times[name] = round(time.monotonic() - start)
        stored = backup.last("repository")["bytes"]
        print(f"database {size} bytes, repository {stored} bytes, seconds {times}")
        # the second one finds that it has all there is
        assert stored < 1.2 * size
    with postgres.connect() as connection:
        for name in databases(postgres, "large"):
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
