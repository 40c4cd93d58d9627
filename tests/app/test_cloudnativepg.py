# SPDX-License-Identifier: GPL-3.0-or-later
"""The SQL that CloudNativePG runs once in a new database, against a real server."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import psycopg
import pytest
import yaml
from conftest import PASSWORD, Postgres
from psycopg import sql

ROOT = Path(__file__).resolve().parents[2]


def statements(user: str, database: str, login: str) -> str:
    """As the release writes them."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    from plugins.module_utils import _secrets

    variables = yaml.safe_load((ROOT / "roles" / "twisterlab" / "vars" / "main.yml").read_text(encoding="utf-8"))
    text = variables["__twisterlab_secrets"]["postgres_init_sql"]["derived"]
    text = text.replace("{{ __twisterlab_postgres.user }}", user)
    text = text.replace("{{ __twisterlab_postgres.database }}", database)
    assert "{{" not in text
    return _secrets.expand(text, {"postgres_login": login, "postgres_password": PASSWORD})


def before() -> list[str]:
    """What the operator runs before them, over another connection."""
    golden = ROOT / "tests" / "render" / "golden" / "cloudnativepg" / "postgres" / "cluster-postgres-cluster.yaml"
    found: list[str] = yaml.safe_load(golden.read_text(encoding="utf-8"))["spec"]["bootstrap"]["initdb"]["postInitSQL"]
    return found


@pytest.mark.parametrize("suffix", ["", "_a"])
def test_the_owner_and_who_logs_in(postgres: Postgres, database: str, suffix: str) -> None:
    owner = re.sub(r"\W", "_", f"o_{database}")[:40] + suffix
    login = owner + suffix
    with postgres.connect(database) as operator:
        # As the operator leaves it.
        operator.execute("DROP ROLE IF EXISTS cloudnativepg")
        operator.execute("DROP ROLE IF EXISTS postgres")
        operator.execute(sql.SQL("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD {}").format(sql.Literal(PASSWORD)))
        operator.execute("CREATE ROLE cloudnativepg LOGIN PASSWORD 'of the operator'")
        operator.execute(sql.SQL("ALTER DATABASE {} OWNER TO cloudnativepg").format(sql.Identifier(database)))
        # The worst that a user's settings can be.
        operator.execute("ALTER SYSTEM SET log_statement = 'all'")
        operator.execute("ALTER SYSTEM SET log_min_duration_statement = 0")
        operator.execute("SELECT pg_reload_conf()")
        for text in before():
            operator.execute(text)
    log = postgres.folder.parent / "server.log"
    seen = len(log.read_text(errors="replace"))
    with psycopg.connect(
        host="127.0.0.1", port=postgres.port, user="postgres", password=PASSWORD, dbname=database, autocommit=True
    ) as operator:
        with pytest.raises(psycopg.Error, match="already exists"):
            operator.execute(statements("postgres", database, "postgres"))
        operator.execute(statements(owner, database, login))
    said = log.read_text(errors="replace")[seen:]
    with postgres.connect(database) as operator:
        operator.execute("ALTER SYSTEM RESET ALL")
        operator.execute("SELECT pg_reload_conf()")
        settings = operator.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'postgres'").fetchone()
    assert settings == (None,)
    assert "already exists" in said
    assert "PASSWORD" not in said
    with psycopg.connect(
        host="127.0.0.1", port=postgres.port, user=login, password=PASSWORD, dbname=database
    ) as connection:
        connection.execute("CREATE TABLE kept (id int)")
        found = connection.execute(
            "SELECT current_user, tableowner, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),"
            " (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database())"
            " FROM pg_tables WHERE tablename = 'kept'"
        ).fetchone()
    assert found == (owner, owner, True, owner)
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(
            host="127.0.0.1", port=postgres.port, user="cloudnativepg", password="of the operator", dbname=database
        )
    if suffix:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host="127.0.0.1", port=postgres.port, user=owner, password=PASSWORD, dbname=database)
