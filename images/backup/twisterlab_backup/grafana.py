# SPDX-License-Identifier: GPL-3.0-or-later
"""Grafana's database: a consistent copy of a file that is in use, and what it holds."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from .errors import Fault


def copy(source: Path, target: Path) -> None:
    """Copy through SQLite's backup interface.

    Raises:
        Fault: the file cannot be read as a database.
    """
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as one,
            contextlib.closing(sqlite3.connect(target)) as other,
        ):
            one.backup(other)
    except sqlite3.Error as error:
        raise Fault(f"Grafana's database {source} cannot be copied: {error}.") from error


def content(file: Path) -> dict[str, int]:
    """Check a copy and count the rows of every table.

    Raises:
        Fault: the file is damaged.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as connection:
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                raise Fault(f"The copy of Grafana's database is damaged: {said}.")
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            counts = {}
            for name in sorted(names):
                quoted = name.replace('"', '""')
                (counts[name],) = connection.execute(f'SELECT count(*) FROM "{quoted}"').fetchone()  # noqa: S608
            return counts
    except sqlite3.Error as error:
        raise Fault(f"The copy of Grafana's database is damaged: {error}.") from error
