# SPDX-License-Identifier: GPL-3.0-or-later
"""The API against real servers."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import psycopg
from conftest import ENCODED, JWT, PASSWORD, free_port, until
from prometheus_client.parser import text_string_to_metric_families


def samples(client: httpx2.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return the metrics, read by the official parser."""
    text = client.get("/metrics").text
    families = text_string_to_metric_families(text)
    return {
        (item.name, tuple(sorted(item.labels.items()))): item.value for family in families for item in family.samples
    }


def test_ticket_round_trip(run_program, api_environment, postgres, database):
    api = run_program("api", **api_environment).ready()
    client = api.client
    created = client.post("/api/v1/tickets", json={"title": "Écran noir", "description": "since Monday"})
    assert created.status_code == 201
    number = created.json()["id"]
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT title, status::text FROM tickets WHERE id = %s", (number,)).fetchone() == (
            "Écran noir",
            "open",
        )
    answer = client.get(f"/api/v1/tickets/{number}")
    assert (answer.headers["x-source"], answer.json()) == ("cache", created.json())

    changed = client.patch(f"/api/v1/tickets/{number}", json={"status": "in_progress"}).json()
    assert (changed["status"], changed["revision"]) == ("in_progress", 2)
    assert client.get(f"/api/v1/tickets/{number}").json() == changed
    resolved = client.post(f"/api/v1/tickets/{number}/resolve", json={"resolution": "new cable"}).json()
    assert (resolved["status"], resolved["resolution"]) == ("resolved", "new cable")
    assert resolved["resolved_at"]
    assert client.patch(f"/api/v1/tickets/{number}", json={"status": "closed"}).json()["status"] == "closed"
    refused = client.patch(f"/api/v1/tickets/{number}", json={"status": "resolved"})
    assert refused.status_code == 409 and "open it again" in refused.json()["detail"]
    reopened = client.patch(f"/api/v1/tickets/{number}", json={"status": "open"}).json()
    assert (reopened["status"], reopened["resolved_at"]) == ("open", None)

    classified = client.post(
        "/api/v1/tickets/classify", json={"text": "URGENT: le VPN ne marche pas\ntunnel en panne"}
    ).json()
    assert (classified["category"], classified["rule"], classified["matched"]) == (
        "network",
        "network-vpn",
        ["vpn", "tunnel"],
    )
    assert (classified["priority"], classified["ticket"]["classified_by"]) == ("high", "rule:network-vpn")
    nothing = client.post("/api/v1/tickets/classify", json={"text": "hello"}).json()
    assert (nothing["category"], nothing["rule"], nothing["matched"]) == ("unclassified", None, [])
    opened = client.post("/api/v1/tickets/resolve", json={"category": "email", "description": "no mail"})
    assert (opened.status_code, opened.json()["action"], opened.json()["ticket"]["status"]) == (201, "created", "open")

    page = client.get("/api/v1/tickets", params={"limit": 2}).json()
    assert page["count"] == 2 and page["next_before"] == page["items"][-1]["id"]
    assert client.get("/api/v1/tickets", params={"status": "open", "category": "email"}).json()["count"] == 1
    synced = client.post("/api/v1/cache/sync", json={"force": True}).json()
    assert (synced["tickets_in_database"], synced["read"], synced["written"]) == (4, 4, 4)
    assert client.post("/api/v1/cache/sync").json()["read"] == 4

    assert client.get("/api/v1/tickets/999999").status_code == 404
    assert client.post("/api/v1/tickets", json={"title": ""}).status_code == 422
    assert client.post("/api/v1/tickets", json={"title": "nul \x00"}).status_code == 422
    assert client.post("/api/v1/tickets", json={"title": "x", "typo": 1}).status_code == 422
    assert client.post("/api/v1/tickets", content=b"x" * 2_000_000).status_code == 413
    assert client.get("/api/v1/tickets/99999999999999999999").status_code == 422

    found = samples(client)
    assert (
        found[("http_requests_total", (("method", "GET"), ("route", "/api/v1/tickets/{number}"), ("status", "404")))]
        == 1
    )
    assert (
        found[("http_request_duration_seconds_count", (("method", "POST"), ("route", "/api/v1/tickets/classify")))] == 2
    )
    assert found[("twisterlab_tickets", (("status", "open"),))] == 4
    assert found[("cache_requests_total", (("operation", "get"), ("result", "hit")))] >= 2
    assert found[("db_pool_connections_max", ())] == 5
    assert not any("999999" in str(key) for key in found), "raw paths must not become labels"
    routes = {
        label for name, labels in found if name == "http_requests_total" for key, label in labels if key == "route"
    }
    client.get("/none/such")
    assert "/ready" in routes
    assert ("http_requests_total", (("method", "GET"), ("route", "unmatched"), ("status", "404"))) in samples(client)
    assert api.stop() == 0


def test_postgres_away_and_back(run_program, api_environment, postgres):
    postgres.stop()
    try:
        api = run_program("api", **api_environment).alive()
        answer = api.client.get("/ready")
        assert answer.status_code == 503
        checks = answer.json()["checks"]
        assert not checks["postgres"]["ok"] and "refused" in checks["postgres"]["reason"] and checks["redis"]["ok"]
        refused = api.client.post("/api/v1/tickets", json={"title": "lost?"})
        assert (refused.status_code, refused.json()["dependency"]) == (503, "postgres")
        assert api.client.get("/metrics").status_code == 200
    finally:
        postgres.start()
    api.ready()
    number = api.client.post("/api/v1/tickets", json={"title": "kept"}).json()["id"]
    postgres.stop()
    try:
        started = time.monotonic()
        down = api.client.get("/ready")
        assert (down.status_code, down.json()["checks"]["postgres"]["ok"]) == (503, False)
        assert time.monotonic() - started < 8
        assert api.client.get("/api/v1/tickets").status_code == 503
        assert not any(name == "twisterlab_tickets" for name, _labels in samples(api.client))
        assert api.client.get("/health").status_code == 200
    finally:
        postgres.start()
    api.ready()
    assert api.client.get(f"/api/v1/tickets/{number}").json()["title"] == "kept"
    assert any(line["message"] == "postgres failed" for line in api.lines())


def test_redis_away_and_back(run_program, api_environment, redis_server):
    api = run_program("api", **api_environment).ready()
    redis_server.stop()
    try:
        down = api.client.get("/ready")
        assert down.status_code == 503 and down.json()["checks"]["postgres"]["ok"]
        assert "connect" in down.json()["checks"]["redis"]["reason"].lower()
        number = api.client.post("/api/v1/tickets", json={"title": "without cache"}).json()["id"]
        assert api.client.get(f"/api/v1/tickets/{number}").headers["x-source"] == "database"
        refused = api.client.post("/api/v1/cache/sync")
        assert (refused.status_code, refused.json()["dependency"]) == (503, "redis")
    finally:
        redis_server.start()
    api.ready()
    assert api.client.get(f"/api/v1/tickets/{number}").headers["x-source"] == "database"
    assert api.client.get(f"/api/v1/tickets/{number}").headers["x-source"] == "cache"


def test_secrets_stay_inside(run_program, api_environment, postgres, redis_server):
    wrong = "Wr0ng " + PASSWORD
    environment = api_environment | {"LOG_LEVEL": "debug"}
    environment["DATABASE_URL"] = environment["DATABASE_URL"].replace(ENCODED, ENCODED + "no")
    api = run_program("api", **environment).alive()
    until(lambda: "authentication failed" in api.client.get("/ready").text, what="the reason is told")
    # a client that writes the secret into a path, and an exception whose text holds it
    api.client.get(f"/{ENCODED}")
    until(lambda: any(line.get("path") == "/***" for line in api.lines()), what="the request is logged, without it")

    raw = f"postgresql://twisterlab:{PASSWORD}@127.0.0.1:{postgres.port}/x"
    for broken in (raw, f"mysql://u:{ENCODED}@h/x", f"postgresql://u:{ENCODED}@h:port/x"):
        program = run_program("api", DATABASE_URL=broken, REDIS_URL=redis_server.url, OTHER_TOKEN=wrong)
        assert program.process.wait(30) == 2
        (line,) = program.lines()
        assert "DATABASE_URL cannot be parsed" in line["message"] and "percent-encoded" in line["message"]
    program = run_program("api", REDIS_URL=redis_server.url)
    assert program.process.wait(30) == 2 and "DATABASE_URL is not set" in program.lines()[0]["message"]


def test_tracebacks_are_redacted():
    import io
    import logging
    import sys

    from conftest import APP

    sys.path.insert(0, str(APP))
    try:
        from twisterlab_app.logs import JsonFormatter
        from twisterlab_app.redaction import Redactor
    finally:
        sys.path.remove(str(APP))
    environment = {"SOME_PASSWORD": PASSWORD, "JWT_SECRET_KEY": JWT, "X_URL": "amqp://u:plain-pass@h/"}
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter("test", Redactor(environment)))
    logger = logging.Logger("t")
    logger.addHandler(handler)
    try:
        raise ValueError(PASSWORD, {"dsn": f"postgresql://u:{ENCODED}@h/db"}, PASSWORD.encode())
    except ValueError:
        logger.exception("failed with %r and %s", PASSWORD, JWT, extra={"more": [PASSWORD, "plain-pass"]})
    text = stream.getvalue()
    assert "Traceback" in text and "dsn" in text
    for secret in (PASSWORD, repr(PASSWORD)[1:-1], ENCODED, JWT, "plain-pass", "j`k", 'h\\\\\\"i'):
        assert secret not in text


def test_ten_replicas_start_at_once(run_program, api_environment, postgres, database):
    replicas = [run_program("api", **api_environment) for _number in range(10)]
    for replica in replicas:
        replica.ready()
    with postgres.connect(database) as connection:
        rows = connection.execute("SELECT version FROM schema_migrations ORDER BY version").fetchall()
    assert rows == [(1,), (2,)]
    applied = [
        line["migrations_applied"] for replica in replicas for line in replica.lines() if "migrations_applied" in line
    ]
    assert sorted(applied) == [0] * 9 + [2]
    assert not any(line["level"] in ("error", "critical") for replica in replicas for line in replica.lines())


def test_stop_finishes_requests_in_flight(run_program, api_environment, postgres, database):
    api = run_program("api", **api_environment).ready()
    answers: list[Any] = []
    with postgres.connect(database) as blocker:
        with blocker.transaction():
            blocker.execute("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE")
            request = lambda: answers.append(api.client.post("/api/v1/tickets", json={"title": "in flight"}))  # noqa: E731
            thread = threading.Thread(target=request)
            thread.start()
            waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
            with postgres.connect(database) as looker:
                until(lambda: looker.execute(waiting).fetchone(), what="the request waits for the lock")
            api.process.terminate()
            until(lambda: _refused(api.port), what="no new connection is accepted")
            assert api.process.poll() is None
        thread.join(30)
    assert answers[0].status_code == 201
    assert api.process.wait(30) == 0
    with postgres.connect(database) as connection:
        assert connection.execute("SELECT title FROM tickets").fetchall() == [("in flight",)]
        assert connection.execute("SELECT count(*) FROM service_readiness").fetchone() == (0,)
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        until(lambda: connection.execute(waiting, (database,)).fetchone() == (0,), what="all connections are closed")


def test_stop_sends_kept_connections_away_before_it_closes_them(run_program, api_environment):
    """A proxy that sends a POST on a connection at the moment of its end may not repeat it; so the server ends none that it did not announce."""
    api = run_program("api", LAME_DUCK_SECONDS="3", **api_environment).ready()
    assert "connection" not in api.client.get("/health").headers
    api.process.terminate()
    told = lambda: api.client.get("/health").headers.get("connection")  # noqa: E731
    until(lambda: told() == "close", 2.5, what="an answer announces the end of its connection")
    assert api.client.post("/api/v1/tickets", json={"title": "late"}).status_code == 201
    assert api.process.wait(30) == 0


def _refused(port: int) -> bool:
    try:
        httpx2.get(f"http://127.0.0.1:{port}/health", timeout=1, trust_env=False)
    except httpx2.ConnectError:
        return True
    return False


def test_rate_limit_spares_probes(run_program, api_environment, redis_server):
    api = run_program("api", RATE_LIMIT_PER_MINUTE="5", **api_environment).ready()
    if time.time() % 60 > 50:  # the counted minute must not end in the middle
        time.sleep(61 - time.time() % 60)
    statuses = [api.client.get("/api/v1/tickets").status_code for _number in range(8)]
    assert statuses == [200] * 5 + [429] * 3
    refused = api.client.get("/api/v1/tickets")
    assert int(refused.headers["retry-after"]) <= 60 and refused.headers["x-request-id"]
    for path in ("/health", "/ready", "/metrics"):
        assert {api.client.get(path).status_code for _number in range(8)} == {200}
    found = samples(api.client)
    assert found[("http_requests_rate_limited_total", ())] == 4


def test_agents_and_monitoring(run_program, api_environment, redis_server):
    api = run_program("api", **api_environment).ready()
    api_url = f"http://127.0.0.1:{api.port}"
    absent = free_port()
    peers = f'{{"api": "{api_url}", "gone": "http://127.0.0.1:{absent}"}}'
    quick = {"API_URL": api_url, "HEARTBEAT_INTERVAL_SECONDS": "1", "CHECK_INTERVAL_SECONDS": "1"}
    orchestrator = run_program("orchestrator", AGENTS=peers, **quick).ready()
    watched = f"mcp-orchestrator=http://127.0.0.1:{orchestrator.port}"
    monitoring = run_program("monitoring", AGENTS=watched, **quick, **api_environment).ready()

    listed = orchestrator.client.get("/api/v1/agents").json()
    assert (listed["count"], listed["healthy"]) == (2, 1)
    gone = next(item for item in listed["items"] if item["name"] == "gone")
    assert not gone["healthy"] and gone["reason"]
    routed = orchestrator.client.post("/api/v1/route", json={"agent": "api", "path": "/health"}).json()
    assert (routed["status"], routed["body"]["service"]) == (200, "api")
    assert orchestrator.client.post("/api/v1/route", json={"agent": "gone", "path": "/health"}).status_code == 503
    assert ("twisterlab_dependency_up", (("dependency", "gone"),)) not in samples(orchestrator.client)
    assert orchestrator.client.post("/api/v1/route", json={"agent": "x", "path": "/health"}).status_code == 404
    assert orchestrator.client.post("/api/v1/route", json={"agent": "api", "path": "//evil/x"}).status_code == 422
    assert orchestrator.client.post("/api/v1/route", json={"agent": "api", "path": "@evil/x"}).status_code == 422

    report = monitoring.client.get("/api/v1/checks").json()
    assert report["healthy"], report
    assert [check["name"] for check in report["checks"]] == ["api", "postgres", "redis", "mcp-orchestrator"]
    assert report["checks"][1]["facts"]["max_connections"] > 0
    registered = until(lambda: (found := api.client.get("/api/v1/agents").json())["active"] == 2 and found)
    assert [item["name"] for item in registered["items"]] == ["mcp-monitoring", "mcp-orchestrator"]
    assert ("twisterlab_check_up", (("check", "redis"),)) in samples(monitoring.client)

    redis_server.stop()
    try:
        report = monitoring.client.get("/api/v1/checks").json()
        verdicts = {check["name"]: check["verdict"] for check in report["checks"]}
        assert not report["healthy"]
        assert verdicts == {"api": "failed", "postgres": "ok", "redis": "failed", "mcp-orchestrator": "ok"}
        assert "redis: " in report["checks"][0]["reason"]
        assert monitoring.client.get("/ready").status_code == 200
    finally:
        redis_server.start()


def test_schema_that_was_tampered_with(run_program, api_environment, postgres, database):
    with postgres.connect(database) as connection:
        connection.execute("CREATE TABLE tickets (somebody_elses text)")
    api = run_program("api", **api_environment).alive()
    failed = until(lambda: "already exists" in api.client.get("/ready").text)
    assert failed
    with postgres.connect(database) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute("SELECT to_regclass('schema_migrations'), to_regclass('tickets')")
        assert cursor.fetchone() == (None, "tickets")


def test_many_ask_for_readiness_at_once(run_program, api_environment):
    api = run_program("api", **api_environment).ready()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: api.client.get("/ready"), range(200)))
    assert {answer.status_code for answer in answers} == {200}, {answer.text for answer in answers}
