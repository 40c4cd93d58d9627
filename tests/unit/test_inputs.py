# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs: merging over the defaults, and the checks that the fixtures of tests/render do not reach."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _inputs, _rules, _specs

INPUTS = _specs.load_inputs(_specs.collection_root())


def judge(**values: Any) -> list[str]:
    return _inputs.check(values, values, INPUTS, _inputs.Surroundings(images=("api", "mcp")))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int", "3", 3),
        ("int", 3.0, 3),
        ("bool", "yes", True),
        ("bool", "False", False),
        ("bool", 1, True),
        ("str", 8, "8"),
        ("str", True, "true"),
        ("str", None, ""),
        ("float", "1.5", 1.5),
        ("list", "a, b", ["a", "b"]),
        ("list", ("a",), ["a"]),
    ],
)
def test_texts_of_extra_vars_become_what_they_mean(kind: str, value: Any, expected: Any) -> None:
    assert _specs.convert(_specs.Option("x", kind, "role"), value) == expected


@pytest.mark.parametrize(
    ("kind", "value"),
    [("int", "3.5"), ("int", True), ("int", [1]), ("bool", "maybe"), ("str", {}), ("float", "x"), ("list", 1)],
)
def test_what_cannot_be_meant_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(_specs.InputError):
        _specs.convert(_specs.Option("x", kind, "role"), value)


def test_a_key_is_merged_at_any_depth_and_nothing_else_changes() -> None:
    option = INPUTS["twisterlab_postgres"]
    default = _specs.merge(option, {})
    merged = _specs.merge(
        option,
        {"port": "6432", "resources": {"limits": {"memory": "1Gi"}}, "config": {"jit": "off", "max_wal_size": None}},
    )
    assert merged["port"] == 6432
    assert merged["resources"]["limits"] == default["resources"]["limits"] | {"memory": "1Gi"}
    assert merged["resources"]["requests"] == default["resources"]["requests"]
    assert merged["config"]["jit"] == "off"
    assert "max_wal_size" not in merged["config"]
    assert _specs.merge(option, {}) == default, "defaults must not be shared between results"


def test_the_result_of_a_merge_is_a_copy() -> None:
    option = INPUTS["twisterlab_api"]
    _specs.merge(option, {})["command"].append("changed")
    assert _specs.merge(option, {})["command"] == []


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("twisterlab_domain", "twisterlab_domain", True),
        ("twisterlab_domian", "twisterlab_domain", True),
        ("twisterlab_domains", "twisterlab_domain", True),
        ("twistrlab_doman", "twisterlab_domain", True),
        ("twistrlb_doman", "twisterlab_domain", False),
        ("my_domain", "twisterlab_domain", False),
        ("twisterlab_dom", "twisterlab_domain", False),
    ],
)
def test_two_edits(name: str, known: str, near: bool) -> None:
    assert _inputs.within_two_edits(name, known) is near


@pytest.mark.parametrize(
    "name", ["ansible_user", "_twisterlab_domain", "__twisterlab_redis", "my_variable", "lab_twister"]
)
def test_variables_of_others_are_left_alone(name: str) -> None:
    assert judge(**{name: object()}) == []


def test_defaults_are_right() -> None:
    assert judge() == []
    merged = {name: _specs.merge(option, None) for name, option in INPUTS.items()}
    wrong = [
        sentence
        for name, option in INPUTS.items()
        if option.default is not None
        for sentence in _all(name, option, merged[name])
    ]
    assert wrong == []


def _all(name: str, option: _specs.Option, value: Any) -> list[str]:
    """Every sentence about one merged value: also the defaults must pass the rules."""
    return list(_inputs._value(name, option, value))


@pytest.mark.parametrize(
    "reference",
    [
        "localhost/none:1",
        "redis:8.0",
        "registry.example:5000/team/api:v1",
        "a/b/c@sha256:" + "0" * 64,
        "ghcr.io/x/y:1.0@sha256:" + "f" * 64,
    ],
)
def test_image_references(reference: str) -> None:
    assert list(_rules.image_reference("twisterlab_images.api", reference)) == []


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "api",
        "api:latest",
        "API:1",
        "http://registry.example/api:1",
        "api:1 ",
        "api@sha256:12",
        "registry.example:5000/api",
    ],
)
def test_wrong_image_references(reference: str) -> None:
    assert len(list(_rules.image_reference("twisterlab_images.api", reference))) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [("128mb", 128 * 2**20), ("1GB", 2**30), ("1k", 1000), ("512", 512), ("1.5gb", None), ("lots", None), ("", None)],
)
def test_sizes_of_redis(size: str, expected: int | None) -> None:
    assert _rules.redis_bytes(size) == expected


def test_bytes_that_are_not_utf8() -> None:
    broken = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert judge(twisterlab_domain=broken) == ["twisterlab_domain is not UTF-8; save the file it comes from as UTF-8."]
    (sentence,) = judge(twisterlab_api={"env": {"NAME": broken}})
    assert sentence == "twisterlab_api.env.NAME is not UTF-8; save the file it comes from as UTF-8."
    (sentence,) = judge(twisterlab_api={"command": ["a", broken]})
    assert sentence.startswith("twisterlab_api.command.1 is not UTF-8")


def test_a_secret_is_never_shown() -> None:
    assert not [sentence for sentence in judge(twisterlab_secrets="hunter2") if "hunter2" in sentence]
    assert not [sentence for sentence in judge(twisterlab_secrets={"a": ["hunter2"]}) if "hunter2" in sentence]


def test_a_key_of_the_users_own_secrets_may_be_named() -> None:
    assert judge(twisterlab_secrets={"smtp": "x"}, twisterlab_api={"secret_env": {"SMTP_PASSWORD": "smtp"}}) == []


def test_without_applications_no_server_is_asked_for() -> None:
    off = {f"twisterlab_{tier}_enabled": "no" for tier in ("postgres", "redis", *_rules.APPLICATIONS)}
    assert judge(**off) == []


@pytest.mark.parametrize(("given", "required", "count"), [(False, True, 1), (True, True, 0), (False, False, 0)])
def test_a_cluster_is_asked_for_only_where_one_is_needed(given: bool, required: bool, count: int) -> None:
    around = _inputs.Surroundings(cluster_given=given, cluster_required=required)
    assert len(_inputs.check([], {}, INPUTS, around)) == count
    assert _inputs.check([], {"twisterlab_cluster": "local"}, INPUTS, around) == []


def test_hosts_of_different_clusters_may_be_alike() -> None:
    hosts = {
        name: _inputs.Host(cluster=name, namespace="twisterlab", domain="twisterlab.local")
        for name in ("paris", "montreal")
    }
    assert _inputs.check([], {}, INPUTS, _inputs.Surroundings(hosts=hosts, host="paris")) == []


def test_one_input_is_declared_by_one_role(tmp_path: Any) -> None:
    for role in ("one", "two"):
        meta = tmp_path / "roles" / role / "meta"
        meta.mkdir(parents=True)
        (meta / "argument_specs.yml").write_text("argument_specs: {main: {options: {twisterlab_x: {type: str}}}}")
    with pytest.raises(ValueError, match="by the roles one and two"):
        _specs.load_inputs(tmp_path)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"twisterlab_component": "apo"}, "'apo', which is no tier; write one of postgres, redis, api"),
        ({"twisterlab_logs_since": "yesterday"}, "write a time with its unit, for example 90s"),
        ({"twisterlab_logs_lines": "0"}, "twisterlab_logs_lines is 0"),
        ({"twisterlab_forward_seconds": "-1"}, "twisterlab_forward_seconds is -1"),
        ({"twisterlab_status_format": "xml"}, "write one of screen, json"),
        ({"twisterlab_status_fail": "perhaps"}, "must be true or false"),
        ({"twisterlab_log_lines": "5"}, "twisterlab_log_lines is not an input; write twisterlab_logs_lines."),
    ],
)
def test_the_arguments_of_the_playbooks_that_look(values: dict[str, Any], sentence: str) -> None:
    (said,) = judge(**values)
    assert sentence in said


def test_good_arguments_of_the_playbooks_that_look_pass() -> None:
    assert judge(twisterlab_component="mcp", twisterlab_logs_since="1h30m", twisterlab_forward_seconds="0") == []
