# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings, all from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import Fault

PARTS = ("postgres", "redis", "grafana", "records", "secrets")
SLOT = "twisterlab_backup"
_KEEP = ("last", "hourly", "daily", "weekly", "monthly", "yearly")


@dataclass(frozen=True)
class Settings:
    """What the environment says.

    Attributes:
        backup: folder of the volume that stays: repository, WAL, state.
        work: folder for staging and throw-away servers; emptied by every command that uses it.
        database: the database that is backed up.
        owner: role that owns it, and the superuser of the server.
        wal: whether write-ahead log is kept for point-in-time recovery.
        keep: what retention keeps, by restic's words (`last`, `daily`, ...).
        jobs: parallel workers of pg_dump and pg_restore.
        parts: what a run saves.
        check_data: whether every byte of the repository is read, however large it is.
        grafana: Grafana's database file; None where the tier is off.
        port: of the metrics.
        upload_seconds: how often new WAL goes to a repository elsewhere.
    """

    backup: Path
    work: Path
    host: str
    pg_port: str
    database: str
    owner: str
    replication_user: str
    redis_host: str
    redis_port: int
    repository: str
    wal: bool
    keep: Mapping[str, int]
    jobs: int
    parts: tuple[str, ...]
    check_data: bool
    grafana: Path | None
    namespace: str
    service_account: Path
    port: int
    upload_seconds: int

    @property
    def state(self) -> Path:
        """Folder of what the metrics read."""
        return self.backup / "state"

    @property
    def wal_folder(self) -> Path:
        """Folder of the received WAL, one folder a server below it."""
        return self.backup / "wal"

    @property
    def remote(self) -> bool:
        """Whether the repository stands elsewhere than on the volume."""
        return not self.repository.startswith("/")


def _flag(name: str, default: str = "false") -> bool:
    value = os.environ.get(name, "") or default
    if value.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise Fault(f"{name} is {value!r}: write true or false.")
    return value.lower() in ("true", "1", "yes")


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "") or str(default)
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise Fault(f"{name} is {value!r}: write a whole number from 1 on.")
    return int(value)


def keep(text: str) -> dict[str, int]:
    """Parse `last=3,daily=7`.

    Raises:
        Fault: it is not of that form, or would keep nothing.
    """
    found: dict[str, int] = {}
    for word in text.replace(" ", "").split(","):
        name, _, number = word.partition("=")
        if name not in _KEEP or not re.fullmatch(r"\d{1,4}", number):
            raise Fault(f"BACKUP_KEEP holds {word!r}: write for example last=3,daily=7,weekly=4,monthly=6.")
        found[name] = int(number)
    if not any(found.values()):
        raise Fault("BACKUP_KEEP would keep nothing: write for example last=3,daily=7,weekly=4,monthly=6.")
    return found


def parts(text: str, name: str) -> tuple[str, ...]:
    """Parse `postgres,redis`.

    Raises:
        Fault: a part is unknown, or there is none.
    """
    found = tuple(dict.fromkeys(word for word in text.replace(" ", "").split(",") if word))
    for word in found:
        if word not in PARTS:
            raise Fault(f"{name} holds {word!r}: write some of {','.join(PARTS)}.")
    if not found:
        raise Fault(f"{name} names no part: write some of {','.join(PARTS)}.")
    return found


def read() -> Settings:
    """Read the environment.

    Raises:
        Fault: a value cannot be understood or a needed one is missing.
    """
    get = os.environ.get
    for name in ("PGDATABASE", "RESTIC_REPOSITORY"):
        if not get(name):
            raise Fault(f"{name} is not set: set it as images/backup/README.md says.")
    if not get("RESTIC_PASSWORD_FILE") and not get("RESTIC_PASSWORD"):
        raise Fault("RESTIC_PASSWORD_FILE is not set: name the file that holds the repository's password.")
    os.environ.setdefault("PGCONNECT_TIMEOUT", "10")
    # a pager, a psqlrc or a service file of an image must not change what the programs do
    os.environ["PSQLRC"] = "/dev/null"
    return Settings(
        backup=Path(get("BACKUP_DIR", "/backup")),
        work=Path(get("BACKUP_WORK", "/work")),
        host=get("PGHOST", "postgres"),
        pg_port=get("PGPORT", "5432"),
        database=get("PGDATABASE", ""),
        owner=get("BACKUP_PG_OWNER", "twisterlab"),
        replication_user=get("BACKUP_PG_REPLICATION_USER", "twisterlab_backup"),
        redis_host=get("REDIS_HOST", "redis"),
        redis_port=_number("REDIS_PORT", 6379),
        repository=get("RESTIC_REPOSITORY", ""),
        wal=_flag("BACKUP_WAL"),
        keep=keep(get("BACKUP_KEEP") or "last=3,daily=7,weekly=4,monthly=6"),
        jobs=_number("BACKUP_DRILL_JOBS", 2),
        parts=parts(get("BACKUP_PARTS") or ",".join(PARTS), "BACKUP_PARTS"),
        check_data=_flag("BACKUP_CHECK_DATA"),
        grafana=Path(get("BACKUP_GRAFANA", "")) if get("BACKUP_GRAFANA") else None,
        namespace=get("BACKUP_NAMESPACE", ""),
        service_account=Path(get("BACKUP_SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount")),
        port=_number("BACKUP_PORT", 9188),
        upload_seconds=_number("BACKUP_WAL_UPLOAD_SECONDS", 60),
    )
