# SPDX-License-Identifier: GPL-3.0-or-later
"""The container that makes the Postgres exporter's role, as it is rendered, against a real server."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from conftest import PASSWORD, Postgres

GOLDEN = Path(__file__).resolve().parents[1] / "render" / "golden" / "defaults" / "postgres"
ROLE = "twisterlab_exporter"
OWN = """x y'z"\\$;--:/"""

pytestmark = pytest.mark.skipif(shutil.which("psql") is None, reason="psql is not on this machine")


def make_role(server: Postgres, database: str, password: str) -> None:
    """Run the container's command with its environment."""
    manifest = yaml.safe_load((GOLDEN / "deployment-postgres-exporter.yaml").read_text(encoding="utf-8"))
    (container,) = manifest["spec"]["template"]["spec"]["initContainers"]
    secrets = {"postgres_login": "twisterlab", "postgres_password": PASSWORD, "postgres_exporter_password": password}
    environment = {
        item["name"]: item.get("value") or secrets[item["valueFrom"]["secretKeyRef"]["key"]]
        for item in container["env"]
    }
    environment |= {"PATH": os.environ["PATH"], "PGHOST": "127.0.0.1", "PGPORT": str(server.port)}
    environment |= {"PGDATABASE": database}
    done = subprocess.run(
        container["command"], env=environment, text=True, capture_output=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def connect(server: Postgres, database: str, password: str) -> psycopg.Connection[Any]:
    """Log in as the exporter does."""
    return psycopg.connect(
        host="127.0.0.1", port=server.port, user=ROLE, password=password, dbname=database, autocommit=True
    )


def test_the_role_is_made_rotated_and_may_only_look(postgres: Postgres, database: str) -> None:
    with postgres.connect(database) as owner:
        owner.execute("CREATE TABLE tickets (id int)")
    make_role(postgres, database, "first")
    make_role(postgres, database, OWN)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(postgres, database, "first")
    with connect(postgres, database, OWN) as exporter:
        assert exporter.execute("SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'twisterlab'").fetchone()
        for statement in (
            "SELECT * FROM tickets",
            "CREATE TABLE own (id int)",
            "CREATE ROLE other",
            "CREATE DATABASE d",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                exporter.execute(statement)
    log = (postgres.folder.parent / "server.log").read_text(encoding="utf-8")
    assert OWN not in log
    assert "first" not in log
