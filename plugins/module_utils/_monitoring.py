# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitoring tiers say of themselves, judged: targets, rules, panels, the way of an alert, Grafana.

Every function asks a server through `ask` (see _web.Web.json) and returns checks; nothing is believed that a server did not answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from . import _quantity
from ._checks import FAILED, SKIPPED, Check, judged
from ._errors import PlatformError

TAG = "monitoring"
#: What there is to look at, in the order of looking.
PARTS = ("targets", "rules", "panels", "usage", "route", "grafana")
#: The time within which a dashboard's query must answer, in seconds.
PANEL_SECONDS = 0.5
#: The alert that verify sends through the route.
ALERT = "VerifyAlertRoute"
#: The receiver that people hear; see _alerting.
RECEIVER = "people"
#: Share of a container's memory limit above which it is near its end.
NEAR_LIMIT = 0.9

CONNECTED = "Prometheus sends alerts"
#: The alert that never ends.
ALWAYS = "Watchdog"

_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\}\s+(\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Asks(Protocol):
    """A server that answers with JSON; see _web.Web."""

    def json(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer of 2xx."""


@dataclass(frozen=True)
class Panel:
    """One query of one panel.

    Attributes:
        dashboard: title of its dashboard.
        title: title of the panel.
        query: letter of the query in it.
        expression: PromQL.
        rare: why there may be no series; empty when there must be one.
    """

    dashboard: str
    title: str
    query: str
    expression: str
    rare: str

    @property
    def name(self) -> str:
        """How it is called in checks."""
        return f"panel {self.dashboard} / {self.title} ({self.query})"


def query(prometheus: Asks, expression: str) -> list[Any]:
    """The series that an expression has now.

    Raises:
        PlatformError: it cannot be evaluated.
    """
    return list(prometheus.json("/api/v1/query", {"query": expression})["data"]["result"])


def targets(prometheus: Asks, pods: Mapping[str, str]) -> list[Check]:
    """Every target is up, and every pod that offers metrics is a target.

    Args:
        prometheus: Prometheus.
        pods: IP and name of each running pod that says it has metrics.
    """
    begun = time.monotonic()
    active = prometheus.json("/api/v1/targets", {"state": "active"})["data"]["activeTargets"]
    seconds = time.monotonic() - begun
    found = []
    for target in sorted(active, key=lambda item: (item["labels"]["job"], item["labels"]["instance"])):
        labels = target["labels"]
        took = float(target.get("lastScrapeDuration") or 0)
        problem = (
            ""
            if target["health"] == "up"
            else f"it is {target['health']}: {target.get('lastError') or 'not scraped yet'}"
        )
        name = f"target {labels['job']} {labels['instance']}"
        found.append(judged(name, problem, f"up, read in {took * 1000:.0f} ms", seconds, TAG))
    read = {target["labels"]["instance"].rpartition(":")[0].strip("[]") for target in active}
    missing = sorted(name for ip, name in pods.items() if ip not in read)
    problem = f"{', '.join(missing)} offer metrics that Prometheus does not read" if missing else ""
    evidence = f"{len(pods)} pods of the stack offer metrics, each is a target; {len(active)} targets in all"
    return [*found, judged("every pod's metrics", problem, evidence, seconds, TAG)]


def rules(prometheus: Asks) -> list[Check]:
    """Every rule can be evaluated; what fires is told, and a critical alert is a failure."""
    begun = time.monotonic()
    groups = prometheus.json("/api/v1/rules")["data"]["groups"]
    seconds = time.monotonic() - begun
    found, firing = [], []
    for rule in (rule for group in groups for rule in group["rules"]):
        alert = rule["type"] == "alerting"
        took = float(rule.get("evaluationTime") or 0) * 1000
        problem = (
            "" if rule["health"] == "ok" else f"it is {rule['health']}: {rule.get('lastError') or 'not evaluated yet'}"
        )
        evidence = f"evaluated in {took:.1f} ms" + (f", {rule['state']}" if alert else "")
        found.append(judged(f"rule {rule['name']}", problem, evidence, seconds, TAG))
        if alert and rule["state"] == "firing":
            firing.append((rule["labels"].get("severity", ""), rule["name"]))
    critical = sorted(name for severity, name in firing if severity == "critical")
    problem = f"{', '.join(critical)} {'fire' if len(critical) > 1 else 'fires'}: see docs/runbooks" if critical else ""
    fires = ", ".join(sorted(f"{name} ({severity})" for severity, name in firing)) or "none"
    watched = any(name == "Watchdog" for _severity, name in firing)
    problem = problem or ("" if watched else "Watchdog does not fire, so no alert would")
    return [*found, judged("no critical alert", problem, f"these fire: {fires}", seconds, TAG)]


def panel(prometheus: Asks, wanted: Panel) -> Check:
    """A panel's query has series, in time."""
    begun = time.monotonic()
    try:
        series = len(query(prometheus, wanted.expression))
    except PlatformError as error:
        return Check(wanted.name, FAILED, f"{error} (query: {wanted.expression})", time.monotonic() - begun, TAG)
    seconds = time.monotonic() - begun
    if seconds > PANEL_SECONDS:
        problem = f"it took {seconds * 1000:.0f} ms of {PANEL_SECONDS * 1000:.0f}: {wanted.expression}"
    else:
        problem = "" if series or wanted.rare else f"there is no series: {wanted.expression}"
    evidence = f"{series} series in {seconds * 1000:.0f} ms"
    if not series:
        evidence += f"; it may be empty: {wanted.rare}"
    return judged(wanted.name, problem, evidence, seconds, TAG)


def usage(prometheus: Asks, namespace: str, limit: str) -> list[Check]:
    """What Prometheus itself needs.

    Args:
        limit: its memory limit as a quantity; empty for none.
    """
    name = "what Prometheus needs"
    chosen = f'namespace="{namespace}", container="prometheus"'
    begun = time.monotonic()
    memory = query(prometheus, f"sum(container_memory_working_set_bytes{{{chosen}}})")
    cpu = query(prometheus, f"sum(rate(container_cpu_usage_seconds_total{{{chosen}}}[2m]))")
    seconds = time.monotonic() - begun
    if not memory or not cpu:
        return [
            Check(name, SKIPPED, "containers are not measured (twisterlab_prometheus.cluster_metrics)", seconds, TAG)
        ]
    used, cores = float(memory[0]["value"][1]), float(cpu[0]["value"][1])
    most = float(_quantity.parse(limit)) if limit else 0.0
    evidence = f"{used / 2**20:.0f} MiB{f' of {most / 2**20:.0f}' if most else ''}, {cores * 1000:.0f} thousandths of a processor"
    near = f"it uses {evidence}: raise twisterlab_prometheus.resources.limits.memory"
    return [judged(name, near if most and used > most * NEAR_LIMIT else "", evidence, seconds, TAG)]


def delivered(metrics: str) -> dict[str, float]:
    """Notifications that the people's receiver took, by integration, from Alertmanager's metrics."""
    found: dict[str, float] = {}
    for name, labels, value in _SAMPLE.findall(metrics):
        sign = {"alertmanager_notification_requests_total": 1, "alertmanager_notification_requests_failed_total": -1}
        if name not in sign:
            continue
        given = dict(_LABEL.findall(labels))
        if given.get("receiver_name", RECEIVER) == RECEIVER:
            integration = given["integration"]
            found[integration] = found.get(integration, 0.0) + sign[name] * float(value)
    return found


def integrations(config: str) -> list[str]:
    """The ways by which the people's receiver hears, from Alertmanager's running configuration."""
    block = re.search(rf"^- name: {RECEIVER}\n((?:  .*\n?)*)", config, re.MULTILINE)
    return re.findall(r"^  (\w+)_configs:", block.group(1), re.MULTILINE) if block else []


def route(
    alertmanager: Asks,
    metrics: Callable[[], str],
    seconds: float,
    namespace: str,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Check]:
    """Send an alert of our own through the route and see every integration of the receiver take it.

    Args:
        alertmanager: Alertmanager.
        metrics: its metrics, as text.
        seconds: time within which it must arrive.
        namespace: named in the alert.
        sleep: waits.
    """
    begun = time.monotonic()
    ways = integrations(alertmanager.json("/api/v2/status")["config"]["original"])
    if not ways:
        return [
            Check(
                "alert route",
                SKIPPED,
                "no receiver is switched on in twisterlab_alertmanager",
                time.monotonic() - begun,
                TAG,
            )
        ]
    before = delivered(metrics())
    begun = time.monotonic()
    _alert(alertmanager, namespace, timedelta(minutes=5))
    arrived: dict[str, float] = {}
    try:
        while len(arrived) < len(ways) and time.monotonic() - begun < seconds:
            sleep(0.5)
            now = delivered(metrics())
            for way in ways:
                if way not in arrived and now.get(way, 0.0) > before.get(way, 0.0):
                    arrived[way] = time.monotonic() - begun
    finally:
        _alert(alertmanager, namespace, timedelta(0))
    found = []
    for way in ways:
        problem = (
            ""
            if way in arrived
            else f"the receiver did not take the alert within {seconds:.0f} s; read the log of Alertmanager"
        )
        took = arrived.get(way, time.monotonic() - begun)
        found.append(judged(f"alert route {way}", problem, f"the receiver took {ALERT} after {took:.1f} s", took, TAG))
    return found


def _alert(alertmanager: Asks, namespace: str, lasts: timedelta) -> None:
    """Tell Alertmanager of our alert, or of its end."""
    now = datetime.now(UTC)
    annotations = {
        "summary": "A test of the alert route by verify; nothing is wrong",
        "description": "playbooks/verify.yml sent it to see that alerts arrive. It ends by itself.",
    }
    alertmanager.json(
        "/api/v2/alerts",
        body=[
            {
                "labels": {"alertname": ALERT, "severity": "info", "stack": namespace},
                "annotations": annotations,
                "startsAt": (now - timedelta(seconds=1)).isoformat(),
                "endsAt": (now + lasts).isoformat(),
            }
        ],
    )


def connected(prometheus: Asks, alertmanager: Asks) -> Check:
    """Prometheus' alerts arrive at Alertmanager: the one that fires always is there, and it is forgotten some minutes after the last time that it came."""
    begun = time.monotonic()
    active = prometheus.json("/api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    urls = ", ".join(item["url"] for item in active)
    arrived = alertmanager.json("/api/v2/alerts", {"filter": f'alertname="{ALWAYS}"'})
    problem = "" if active else "it knows no Alertmanager, so alerts reach nobody"
    if active and not arrived:
        problem = f"{ALWAYS}, which fires always, does not arrive at {urls}, so no other alert does; read the log of Prometheus"
    when = max((str(item.get("updatedAt") or "") for item in arrived or []), default="")
    return judged(CONNECTED, problem, f"to {urls}, the last time {when}", time.monotonic() - begun, TAG)


def panels_of(boards: Iterable[Mapping[str, Any]]) -> list[Panel]:
    """Every query of some dashboards, as Grafana writes them."""
    found = []
    for board in boards:
        for item in board["panels"]:
            description = str(item.get("description") or "")
            rare = description.removeprefix("Rare: ") if description.startswith("Rare: ") else ""
            found += [
                Panel(str(board["title"]), str(item["title"]), str(target["refId"]), str(target["expr"]), rare)
                for target in item.get("targets") or []
            ]
    return found


def warmed(checks: Sequence[Check]) -> bool:
    """Whether nothing failed that more samples could mend."""
    return all(check.state != FAILED for check in checks)
