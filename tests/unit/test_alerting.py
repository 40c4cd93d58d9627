# SPDX-License-Identifier: GPL-3.0-or-later
"""Alertmanager's configuration and Prometheus' retention, from inputs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _alerting, _secrets, _specs

INPUT = _specs.load_inputs(_specs.collection_root())["twisterlab_alertmanager"]
NAMES = {"namespace": "lab", "domain": "lab.example"}


def conf(**given: Any) -> tuple[str, dict[str, Any]]:
    """Return the format and, filled in, what Alertmanager reads."""
    text = _alerting.alertmanager_conf(_specs.merge(INPUT, given), NAMES)
    keys = _secrets.references(text, "alertmanager_conf")
    return text, yaml.safe_load(_secrets.expand(text, {key: f'<{key}: "1\\2">' for key in keys}))


@pytest.mark.parametrize(
    ("given", "receivers", "keys"),
    [
        ({}, [], set()),
        ({"webhook": "true"}, ["webhook_configs"], {"alertmanager_webhook_url"}),
        ({"slack": True}, ["slack_configs"], {"alertmanager_slack_url"}),
        ({"email_to": "a@b.example", "smtp_host": "mail"}, ["email_configs"], set()),
        (
            {"email_to": "a@b.example", "smtp_host": "mail", "smtp_user": "u", "webhook": True},
            ["webhook_configs", "email_configs"],
            {"alertmanager_smtp_password", "alertmanager_webhook_url"},
        ),
        ({"heartbeat": True}, [], {"alertmanager_heartbeat_url"}),
    ],
)
def test_only_what_is_switched_on_is_there(given: dict[str, Any], receivers: list[str], keys: set[str]) -> None:
    text, found = conf(**given)
    people = next(item for item in found["receivers"] if item["name"] == "people")
    assert [name for name in people if name != "name"] == receivers
    assert set(_secrets.references(text, "x")) == keys
    used = {found["route"]["receiver"]} | {route["receiver"] for route in found["route"]["routes"]}
    assert used == {item["name"] for item in found["receivers"]}


def test_secrets_and_braces_of_inputs_stay_whole() -> None:
    _text, found = conf(slack=True, slack_channel="{redis_password}")
    slack = next(item for item in found["receivers"] if item["name"] == "people")["slack_configs"][0]
    assert slack["channel"] == "{redis_password}"
    assert slack["api_url"] == '<alertmanager_slack_url: "1\\2">'
    assert slack["title"].startswith("[{{ .Status")


def test_the_watchdog_reaches_the_heartbeat_only() -> None:
    for heartbeat, receiver in ((False, "nobody"), (True, "heartbeat")):
        _text, found = conf(heartbeat=heartbeat)
        assert found["route"]["routes"][0]["receiver"] == receiver
        assert found["route"]["routes"][0]["matchers"] == ['alertname="Watchdog"']


def test_what_explains_and_what_is_explained_exists_and_a_warning_silences_nothing_critical() -> None:
    files = (_specs.collection_root() / "roles/prometheus/files/rules").glob("*.yml")
    rules = [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    severity = {rule["alert"]: rule["labels"]["severity"] for rule in rules if "alert" in rule}
    for cause, effects in _alerting.EXPLAINED:
        found = [name for name in severity if re.fullmatch(effects, name)]
        for part in re.split(r"\|(?![^(]*\))", effects):
            assert any(re.fullmatch(part, name) for name in severity), (cause, part)
        assert severity[cause] == "critical" or "critical" not in {severity[name] for name in found}, cause


def test_the_times() -> None:
    _text, found = conf(group_wait_seconds=3, group_interval_seconds="7", repeat_hours=9)
    assert [found["route"][name] for name in ("group_wait", "group_interval", "repeat_interval")] == ["3s", "7s", "9h"]


@pytest.mark.parametrize(("volume", "expected"), [("8Gi", "6553MB"), ("1Gi", "819MB"), ("50G", "38146MB")])
def test_the_retention_leaves_room_on_the_volume(volume: str, expected: str) -> None:
    assert _alerting.retention_size(volume) == expected
