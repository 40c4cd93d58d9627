# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and the parts of manifests that are data."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _labels, _pods, _secrets

SUPPLIED = {"supplied": True}


def test_a_selector_is_part_of_the_labels_and_has_no_version() -> None:
    labels = _labels.labels("api", name="twisterlab-api", version="2.1.0", namespace="lab")
    assert labels == {
        "app.kubernetes.io/name": "twisterlab-api",
        "app.kubernetes.io/instance": "lab",
        "app.kubernetes.io/component": "api",
        "app.kubernetes.io/part-of": "twisterlab",
        "app.kubernetes.io/managed-by": "twisterlab.platform",
        "app.kubernetes.io/version": "2.1.0",
    }
    selector = _labels.selector("api", name="twisterlab-api", namespace="lab")
    assert selector.items() <= labels.items()
    assert "app.kubernetes.io/version" not in selector
    serving = _labels.serving_selector("api", name="twisterlab-api", namespace="lab")
    assert serving == selector | {"twisterlab.io/serving": "true"}
    assert serving.items() <= _labels.pod_labels(labels).items()


@pytest.mark.parametrize("value", ["-api", "a" * 64, "a/b", "api "])
def test_what_cannot_be_a_label_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be the value of the label"):
        _labels.labels("api", version=value)


@pytest.mark.parametrize(
    ("reference", "version"),
    [
        ("registry.example:5000/team/api:1.4.2", "1.4.2"),
        ("registry.example:5000/team/api", ""),
        ("api@sha256:0123456789abcdef", "0123456789ab"),
        ("api:1.0@sha256:0123456789abcdef", "1.0"),
        ("api:_odd_", "odd"),
        ("api:" + "1" * 100, "1" * 63),
    ],
)
def test_the_version_of_an_image(reference: str, version: str) -> None:
    assert _labels.image_version(reference) == version


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": "", "b": None, "c": {"d": ""}, "e": [], "f": 0, "g": False}, {"f": 0, "g": False}),
        ([{"a": ""}, 1], [{}, 1]),
        ("", ""),
    ],
)
def test_without_empty(value: Any, expected: Any) -> None:
    assert _pods.without_empty(value) == expected


def _reference(name: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": "twisterlab-secrets", "key": key}}}


def test_the_environment_is_sorted_and_made_of_texts() -> None:
    env = _pods.container_env({"B": 2, "A": True}, defaults={"C": "c"}, secret_defaults={"D": "d"})
    assert env == [
        {"name": "A", "value": "true"},
        {"name": "B", "value": "2"},
        {"name": "C", "value": "c"},
        _reference("D", "d"),
    ]


def test_the_users_word_wins_and_no_name_comes_twice() -> None:
    defaults, secrets = {"HOST": "ours", "PORT": 1, "MODE": "x"}, {"PASSWORD": "ours", "URL": "ours", "GONE": "ours"}
    env = _pods.container_env(
        {"HOST": "theirs", "URL": "public", "MODE": None},
        defaults=defaults,
        secret={"PORT": "theirs", "GONE": None},
        secret_defaults=secrets,
    )
    assert env == [
        {"name": "HOST", "value": "theirs"},
        _reference("PASSWORD", "ours"),
        _reference("PORT", "theirs"),
        {"name": "URL", "value": "public"},
    ]


def test_declarations_bring_what_they_are_derived_from() -> None:
    known = {
        "url": {"derived": "redis://:{password:url}@{{x}}"},
        "password": {"generated": {"length": 32}},
        "other": SUPPLIED,
    }
    assert _pods.secret_declarations(["url", "mine"], known) == [
        {"name": "mine", "supplied": True},
        {"name": "password", "generated": {"length": 32}},
        {"name": "url", "derived": "redis://:{password:url}@{{x}}"},
    ]


def test_declarations_are_what_release_understands() -> None:
    known = {
        "redis_conf": {"derived": _pods.redis_conf({})},
        "auth": {"derived": "requirepass {redis_password:quoted}"},
    }
    found = _secrets.parse(
        _pods.secret_declarations(["redis_conf", "auth", "kept"], {**known, "kept": {"initial": "{first}"}})
    )
    assert [item.name for item in found] == ["auth", "first", "kept", "redis_conf", "redis_password"]


def test_keys_of_an_environment() -> None:
    env = [_reference("A", "b"), _reference("B", "a"), _reference("C", "b"), {"name": "D", "value": "x"}]
    env.append({"name": "E", "valueFrom": {"secretKeyRef": {"name": "another", "key": "z"}}})
    assert _pods.secret_keys(env) == ["a", "b"]


def test_redis_conf_has_its_directives_and_no_password() -> None:
    text = _pods.redis_conf({"port": 6379, "appendonly": True, "gone": None, "proc-title-template": "{title}"})
    conf = _secrets.expand(text, {})
    assert "include /etc/twisterlab/auth.conf\n" in conf
    assert "port 6379\nappendonly yes\nproc-title-template {title}\n" in conf
    assert "gone" not in conf


def test_a_directive_is_one_line() -> None:
    with pytest.raises(ValueError, match="one line"):
        _pods.redis_conf({"dir": "/data\nrequirepass x"})


def test_probes() -> None:
    workload = {"probe_type": "http", "liveness_path": "/health"}
    assert _pods.probe(workload, "liveness_path") == {"httpGet": {"path": "/health", "port": "http", "scheme": "HTTP"}}
    assert _pods.probe(workload | {"probe_type": "tcp"}, "liveness_path") == {"tcpSocket": {"port": "http"}}


def test_metrics_are_announced_only_where_there_are_some() -> None:
    assert _pods.scrape_annotations("", 80) == {}
    assert _pods.scrape_annotations("/m", 80)["prometheus.io/port"] == "80"


def test_peers_are_the_others_that_run() -> None:
    ports = {"orchestrator": 8080, "monitoring": 8082}
    both = {"orchestrator": True, "monitoring": True}
    assert _pods.peer_urls(ports, both, "monitoring") == {"mcp-orchestrator": "http://mcp-orchestrator:8080"}
    assert _pods.peer_urls(ports, both | {"monitoring": False}, "orchestrator") == {}
