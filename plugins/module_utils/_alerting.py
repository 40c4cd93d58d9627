# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitoring tiers compute from their inputs: Alertmanager's configuration and how much a volume may hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from . import _quantity

NOBODY = "nobody"
#: Share of the volume that blocks and write-ahead log may fill; the rest is for compaction, which writes before it deletes.
USABLE = 0.8
#: Which alerts are silent while another one explains them.
EXPLAINED: tuple[tuple[str, str], ...] = (
    ("ApiDown", "Api(ErrorRatioHigh|LatencyHigh|ErrorBudgetBurn|LatencyBudgetBurn).*|AgentInactive"),
    (
        "PostgresDown",
        "Api(ErrorRatioHigh|LatencyHigh|ErrorBudgetBurn|LatencyBudgetBurn).*|Postgres(ConnectionsHigh|ReplicaMissing)|BackupReceiverDown|AgentInactive",
    ),
    ("RedisDown", "RedisMemoryHigh"),
    ("NodeNotReady", "Pod(NotReady|CrashLooping)|TargetDown"),
)

_MARK = re.compile(r'"\\0([A-Za-z0-9_]+)\\0"')


def _secret(key: str) -> str:
    """A place in the configuration that release fills with a key of the Secret; no YAML value holds a NUL itself."""
    return f"\0{key}\0"


def alertmanager_conf(given: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return the format of alertmanager.yml, whose secrets release fills in.

    Args:
        given: the inputs of the tier, merged over their defaults.
        names: what the receivers' messages say: `namespace` and `domain`.
    """
    config = {
        "global": {"resolve_timeout": "5m"},
        "route": {
            "receiver": "people",
            "group_by": ["alertname"],
            "group_wait": f"{given['group_wait_seconds']}s",
            "group_interval": f"{given['group_interval_seconds']}s",
            "repeat_interval": f"{given['repeat_hours']}h",
            "routes": [
                # It fires always; only who waits for it wants to hear it.
                {
                    "receiver": "heartbeat" if given["heartbeat"] else NOBODY,
                    "matchers": ['alertname="Watchdog"'],
                    "group_wait": "0s",
                    "group_interval": "1m",
                    "repeat_interval": "1m",
                },
                {"receiver": NOBODY, "matchers": ['severity="none"']},
            ],
        },
        "inhibit_rules": [
            {"source_matchers": [f'alertname="{cause}"'], "target_matchers": [f'alertname=~"{effects}"'], "equal": []}
            for cause, effects in EXPLAINED
        ]
        + [
            # The same thing, more urgent.
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity="warning"'],
                "equal": ["alertname", "pod", "job"],
            }
        ],
        "receivers": [{"name": NOBODY}, _people(given, names)],
    }
    if given["heartbeat"]:
        config["receivers"].append(  # type: ignore[attr-defined]
            {
                "name": "heartbeat",
                "webhook_configs": [{"url": _secret("alertmanager_heartbeat_url"), "send_resolved": False}],
            }
        )
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=False, allow_unicode=True, width=4096)
    text = text.replace("{", "{{").replace("}", "}}")
    return "# Made by twisterlab.platform from twisterlab_alertmanager.\n" + _MARK.sub(r"{\1:quoted}", text)


def _people(given: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    subject = "[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }} in " + names["namespace"]
    found: dict[str, Any] = {"name": "people"}
    if given["webhook"]:
        found["webhook_configs"] = [{"url": _secret("alertmanager_webhook_url"), "send_resolved": True}]
    if given["email_to"]:
        email = {
            "to": given["email_to"],
            "from": given["email_from"] or f"alertmanager@{names['domain']}",
            "smarthost": f"{given['smtp_host']}:{given['smtp_port']}",
            "require_tls": given["smtp_tls"],
            "send_resolved": True,
            "headers": {"Subject": subject},
        }
        if given["smtp_user"]:
            email |= {"auth_username": given["smtp_user"], "auth_password": _secret("alertmanager_smtp_password")}
        found["email_configs"] = [email]
    if given["slack"]:
        slack = {
            "api_url": _secret("alertmanager_slack_url"),
            "send_resolved": True,
            "title": subject,
            "text": "{{ range .Alerts }}{{ .Annotations.summary }}: {{ .Annotations.description }} {{ .Annotations.runbook_url }}\n{{ end }}",
        }
        if given["slack_channel"]:
            slack["channel"] = given["slack_channel"]
        found["slack_configs"] = [slack]
    return found


def retention_size(volume: str) -> str:
    """Return how much Prometheus may keep on a volume of that size, in its own units (`MB` is 2^20 bytes there)."""
    return f"{int(float(_quantity.parse(volume)) * USABLE) // 2**20}MB"
