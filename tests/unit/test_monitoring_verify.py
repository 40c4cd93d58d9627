# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitoring tiers answer, judged: each kind of lie or fault is a failure that names it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _grafana as grafana
from ansible_collections.twisterlab.platform.plugins.module_utils import _monitoring as monitoring
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records, Summary
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from ansible_collections.twisterlab.platform.plugins.module_utils._web import Answer
from ansible_collections.twisterlab.platform.plugins.modules import monitoring_verify
from kube_fake import NAMESPACE, FakeCluster, namespace, workload


class Server:
    """Answers by path; what was posted is kept."""

    def __init__(self, answers: Mapping[str, Any], slow: float = 0.0) -> None:
        self.answers = answers
        self.posted: list[tuple[str, Any]] = []
        self.slow = slow

    def json(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        time.sleep(self.slow)
        if body is not None:
            self.posted.append((path, body))
            return None
        found = self.answers.get(f"{path}?{fields['query']}" if fields and "query" in fields else path)
        if isinstance(found, Exception):
            raise found
        return {"data": {"result": []}} if found is None else found


def states(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.state for check in checks}


def evidence(checks: list[Check], name: str) -> str:
    return next(check.evidence for check in checks if check.name == name)


def target(job: str, instance: str, health: str = "up", error: str = "") -> dict[str, Any]:
    labels = {"job": job, "instance": instance}
    return {"labels": labels, "health": health, "lastError": error, "lastScrapeDuration": 0.0042}


def with_targets(*given: dict[str, Any]) -> Server:
    return Server({"/api/v1/targets": {"data": {"activeTargets": list(given)}}})


def test_every_target_is_a_line_with_its_figure() -> None:
    found = monitoring.targets(
        with_targets(target("api", "10.0.0.1:8000"), target("redis", "[fd00::2]:9121")),
        {"10.0.0.1": "api-1", "fd00::2": "redis-1"},
    )
    assert set(states(found).values()) == {"ok"}
    assert evidence(found, "target api 10.0.0.1:8000") == "up, read in 4 ms"
    assert monitoring.warmed(found)


def test_a_target_that_is_down_and_a_pod_that_nobody_reads_are_named() -> None:
    found = monitoring.targets(
        with_targets(target("api", "10.0.0.1:8000", "down", "connection refused")), {"10.0.0.1": "a", "10.0.0.2": "b"}
    )
    assert states(found) == {"target api 10.0.0.1:8000": "failed", "every pod's metrics": "failed"}
    assert "connection refused" in evidence(found, "target api 10.0.0.1:8000")
    assert evidence(found, "every pod's metrics").startswith("b offer metrics")
    assert not monitoring.warmed(found)


def with_rules(*rules: dict[str, Any]) -> Server:
    return Server({"/api/v1/rules": {"data": {"groups": [{"rules": list(rules)}]}}})


def alert(name: str, state: str, severity: str = "warning", health: str = "ok") -> dict[str, Any]:
    return {
        "name": name,
        "type": "alerting",
        "state": state,
        "health": health,
        "evaluationTime": 0.0005,
        "labels": {"severity": severity},
    }


WATCHDOG = alert("Watchdog", "firing", "none")


def test_rules_have_their_figures_and_a_warning_is_told() -> None:
    record = {"name": "job:x", "type": "recording", "health": "ok", "evaluationTime": 0.001}
    found = monitoring.rules(with_rules(WATCHDOG, record, alert("NodeCpuHigh", "firing")))
    assert set(states(found).values()) == {"ok"}
    assert evidence(found, "rule job:x") == "evaluated in 1.0 ms"
    assert evidence(found, "no critical alert") == "these fire: NodeCpuHigh (warning), Watchdog (none)"


@pytest.mark.parametrize(
    ("rules", "name", "word"),
    [
        ([WATCHDOG, alert("RedisDown", "firing", "critical")], "no critical alert", "RedisDown fires"),
        ([alert("Watchdog", "inactive", "none")], "no critical alert", "Watchdog does not fire"),
        ([WATCHDOG, alert("Odd", "inactive", health="err")], "rule Odd", "it is err"),
    ],
)
def test_faults_of_rules(rules: list[dict[str, Any]], name: str, word: str) -> None:
    found = monitoring.rules(with_rules(*rules))
    assert states(found)[name] == "failed"
    assert word in evidence(found, name)


def test_a_panel_without_a_series_fails_with_its_query_unless_it_is_rare() -> None:
    panel = monitoring.Panel("Board", "Requests", "A", "no_such_metric", "")
    found = monitoring.panel(Server({}), panel)
    assert (found.name, found.state) == ("panel Board / Requests (A)", "failed")
    assert found.evidence == "there is no series: no_such_metric"
    rare = monitoring.panel(Server({}), monitoring.Panel("Board", "Errors", "A", "errors", "none yet"))
    assert rare.state == "ok"
    assert rare.evidence.endswith("it may be empty: none yet")


def test_a_slow_panel_and_a_wrong_query_fail() -> None:
    panel = monitoring.Panel("Board", "Requests", "A", "sum(x)", "")
    series = {"/api/v1/query?sum(x)": {"data": {"result": [1]}}}
    assert monitoring.panel(Server(series), panel).state == "ok"
    slow = monitoring.panel(Server(series, monitoring.PANEL_SECONDS + 0.05), panel)
    assert slow.state == "failed"
    assert "of 500: sum(x)" in slow.evidence
    wrong = monitoring.panel(Server({"/api/v1/query?sum(x)": PlatformError("parse error")}), panel)
    assert (wrong.state, wrong.evidence) == ("failed", "parse error (query: sum(x))")


def test_panels_are_read_as_grafana_writes_them() -> None:
    board = {
        "title": "Board",
        "panels": [
            {"title": "P", "description": "Rare: seldom", "targets": [{"refId": "A", "expr": "x"}]},
            {"title": "Text", "type": "text"},
        ],
    }
    assert monitoring.panels_of([board]) == [monitoring.Panel("Board", "P", "A", "x", "seldom")]


CONFIG = """route:
  receiver: people
receivers:
- name: nobody
- name: people
  webhook_configs:
  - url: <secret>
  email_configs:
  - to: a@example.com
- name: heartbeat
  webhook_configs:
  - url: <secret>
"""


def metrics(webhook: int, email: int, email_failed: int = 0, heartbeat: int = 7) -> str:
    name = "alertmanager_notification_requests"
    return (
        "# HELP x\n"
        f'{name}_total{{integration="webhook",receiver_name="people"}} {webhook}\n'
        f'{name}_total{{integration="webhook",receiver_name="heartbeat"}} {heartbeat}\n'
        f'{name}_total{{integration="email",receiver_name="people"}} {email}\n'
        f'{name}_failed_total{{integration="email",receiver_name="people"}} {email_failed}\n'
    )


def route(config: str, texts: list[str]) -> tuple[Server, list[Check]]:
    server = Server({"/api/v2/status": {"config": {"original": config}}})
    left = list(texts)
    found = monitoring.route(
        server, lambda: left.pop(0) if len(left) > 1 else left[0], 0.3, "twisterlab", lambda _s: time.sleep(0.01)
    )
    return server, found


def test_an_alert_that_every_way_took_has_arrived_and_ends() -> None:
    server, found = route(CONFIG, [metrics(1, 1), metrics(2, 1), metrics(2, 2)])
    assert states(found) == {"alert route webhook": "ok", "alert route email": "ok"}
    (_, first), (_, last) = server.posted
    assert first[0]["labels"]["alertname"] == monitoring.ALERT
    assert first[0]["endsAt"] > last[0]["endsAt"]


def test_an_attempt_that_failed_and_somebody_elses_notification_are_no_arrival() -> None:
    server, found = route(CONFIG, [metrics(1, 1), metrics(1, 2, email_failed=1, heartbeat=9)])
    assert states(found) == {"alert route webhook": "failed", "alert route email": "failed"}
    assert len(server.posted) == 2


def test_a_route_without_a_receiver_is_skipped_with_the_reason() -> None:
    server, found = route("receivers:\n- name: nobody\n- name: people\n", [""])
    assert [(check.state, check.evidence) for check in found] == [
        ("skipped", "no receiver is switched on in twisterlab_alertmanager")
    ]
    assert not server.posted


def test_what_prometheus_needs_is_a_figure_and_its_limit_a_failure() -> None:
    chosen = 'namespace="lab", container="prometheus"'
    answers = {
        f"/api/v1/query?sum(container_memory_working_set_bytes{{{chosen}}})": {
            "data": {"result": [{"value": [0, str(950 * 2**20)]}]}
        },
        f"/api/v1/query?sum(rate(container_cpu_usage_seconds_total{{{chosen}}}[2m]))": {
            "data": {"result": [{"value": [0, "0.012"]}]}
        },
    }
    (full,) = monitoring.usage(Server(answers), "lab", "1Gi")
    assert full.state == "failed"
    assert "limits.memory" in full.evidence
    (fits,) = monitoring.usage(Server(answers), "lab", "2Gi")
    assert (fits.state, fits.evidence) == ("ok", "950 MiB of 2048, 12 thousandths of a processor")
    (unknown,) = monitoring.usage(Server({}), "lab", "2Gi")
    assert unknown.state == "skipped"


class Grafana:
    """A Grafana with one account; what is wrong with it is said by `fault`."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    def ask(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        known = (headers or {}).get("Cookie") == "grafana_session=abc"
        if path == "/api/search":
            return Answer(200 if self.fault == "open" else 401, {}, "")
        if path == "/login":
            good = body == {"user": "admin", "password": "secret"} and self.fault != "password"
            return Answer(
                200 if good else 401, {"Set-Cookie": "grafana_session=abc; Path=/; HttpOnly"} if good else {}, ""
            )
        if "/proxy/uid/" in path:
            return Answer(404, {}, "")
        if "/proxy/7/" in path and known and self.fault != "proxy":
            return Answer(200, {}, '{"data":{"result":[{"metric":{},"value":[1,"12"]}]}}')
        return Answer(502 if known else 401, {}, "bad gateway")

    def json(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        if path == "/api/health":
            return {"database": "failing" if self.fault == "database" else "ok", "version": "6.1.6"}
        if (headers or {}).get("Cookie") != "grafana_session=abc":
            raise PlatformError("grafana answers with 401")
        if path == "/api/datasources/name/Prometheus":
            return {"id": 7, "type": "prometheus", "access": "proxy", "url": "http://prometheus:9090"}
        if path == "/api/dashboards/uid/twisterlab-api" and self.fault != "board":
            return {"meta": {"provisioned": self.fault != "by hand"}, "dashboard": {"panels": [1, 2]}}
        raise PlatformError(f"grafana answers {path} with 404")


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("", ""),
        ("database", "grafana health"),
        ("open", "grafana strangers"),
        ("password", "grafana password"),
        ("board", "grafana dashboard API"),
        ("by hand", "grafana dashboard API"),
        ("proxy", "grafana query through the data source"),
    ],
)
def test_grafana(fault: str, name: str) -> None:
    found = grafana.verify(Grafana(fault), "admin", "secret", {"twisterlab-api": "API"})
    failed = {check.name for check in found if check.state == "failed"}
    assert (name in failed) if name else not failed
    assert len(found) == 6
    assert not any("secret" in check.evidence for check in found)


def test_a_tier_that_somebody_removed_is_not_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    cluster.put(namespace())
    monkeypatch.setattr(monitoring_verify._kube, "Cluster", lambda _params: cluster)
    verification = monitoring_verify.Verification(SimpleNamespace(params={"namespace": NAMESPACE, "timeout": 1.0}))  # type: ignore[arg-type]

    def released(*found: dict[str, Any]) -> None:
        summary = Summary(0, "applied", "ann", "", ["alertmanager"])
        Records(cluster, NAMESPACE).write(summary, [Component("alertmanager", list(found), {})])

    assert [check.state for check in verification.part("route")] == ["skipped"]
    released(workload("Deployment", "alertmanager", "alertmanager"))
    (check,) = verification.part("route")
    assert (check.name, check.state) == ("route", "failed")
    assert check.evidence.startswith("release 1 has Deployment/alertmanager, and the namespace has not")
    assert [check.state for check in verification.part("grafana")] == ["skipped"]
    released()
    assert [check.state for check in verification.part("route")] == ["skipped"]


@pytest.mark.parametrize(
    ("known", "arrived", "problem"),
    [
        (["http://a:9093/api/v2/alerts"], [{"updatedAt": "2026-11-23T09:00:00Z"}], ""),
        ([], [], "it knows no Alertmanager"),
        (["http://a:9093/api/v2/alerts"], [], "Watchdog, which fires always, does not arrive"),
    ],
)
def test_alerts_come_out_when_the_one_that_fires_always_arrives(
    known: list[str], arrived: list[Any], problem: str
) -> None:
    prometheus = Server({"/api/v1/alertmanagers": {"data": {"activeAlertmanagers": [{"url": url} for url in known]}}})
    check = monitoring.connected(prometheus, Server({"/api/v2/alerts": arrived}))
    assert (check.state, problem in check.evidence) == ("failed" if problem else "ok", True)
    assert problem or check.evidence.endswith("the last time 2026-11-23T09:00:00Z")
