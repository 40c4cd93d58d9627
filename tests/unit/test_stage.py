# SPDX-License-Identifier: GPL-3.0-or-later
"""Staging: what is refused and with which sentence, and what is written."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _stage
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from kube_fake import labels, manifest, workload


def env(**variables: Any) -> dict[str, Any]:
    return {"container": {"env": [{"name": name, "value": value} for name, value in variables.items()]}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "does not render YAML"),
        ("a: 1\nb: x: y\n", "line 2 of its result ('b: x: y')"),
        ("kind: A\nkind: B\n", "the key kind is written twice"),
        ("- 1\n", "renders a list where an object is expected"),
        ("kind: ConfigMap\n", "without apiVersion, metadata.name"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {labels: {}}\n", "without metadata.name"),
    ],
)
def test_parse_refuses(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match="Template t.yml.j2") as caught:
        _stage.parse(text, "t.yml.j2")
    assert sentence in str(caught.value)


def test_parse_reads_as_the_api_server_does() -> None:
    text = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {day: 2026-11-23}\n---\n# nothing\n"
    (found,) = _stage.parse(text, "t")
    assert found["data"]["day"] == "2026-11-23"
    assert _stage.parse("", "t") == []


@pytest.mark.parametrize(
    ("obj", "sentence"),
    [
        (manifest("Secret", "s", "api"), "declare its keys in `secrets`"),
        ({**manifest("ConfigMap", "c", "api"), "metadata": {"name": "c"}}, "lacks the label app.kubernetes.io/part-of"),
        (manifest("ConfigMap", "c", "redis"), "lacks the label app.kubernetes.io/component: api (it has 'redis')"),
        (
            {**manifest("ConfigMap", "c", "api"), "metadata": {"name": "c", "labels": {**labels("api"), "x": 1}}},
            "put it in quotes",
        ),
        (workload("Deployment", "d", "api", **env(DB_PASSWORD="x")), "api_secret_env"),
        (workload("Deployment", "d", "api", **env(PORT=8000)), "the variable PORT has a value that is no text (8000)"),
        (
            workload("Deployment", "d", "api", selector={"matchLabels": {"a": "b"}}),
            "selects a=b, which its own pods do not carry",
        ),
        ({**manifest("ConfigMap", "c", "api"), "kind": "ConfigMapList", "items": []}, "is a list"),
    ],
)
def test_build_refuses(obj: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        _stage.build("api", [("t.yml.j2", [obj])])
    assert sentence in str(caught.value)
    assert "t.yml.j2" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("JWT_SECRET_KEY", "abc", True),
        ("redis_password", "abc", True),
        ("API_TOKEN", "abc", True),
        ("API_TOKEN", "", False),
        ("POSTGRES_PASSWORD_FILE", "/run/secrets/p", False),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "30", False),
        ("ALLOW_EMPTY_PASSWORD", "yes", False),
        ("POSTGRES_PASSWORD", "$(OTHER)", False),
        ("POSTGRES_PASSWORD", "x$(OTHER)", True),
        ("LOG_LEVEL", "info", False),
    ],
)
def test_looks_secret(name: str, value: str, secret: bool) -> None:
    assert _stage.looks_secret(name, value) is secret


def test_the_sentence_names_the_input_of_a_component_with_a_hyphen() -> None:
    obj = workload("Deployment", "d", "mcp-orchestrator", **env(API_KEY="x"))
    with pytest.raises(Refused, match=r"mcp_orchestrator_secret_env \(twisterlab_mcp_orchestrator"):
        _stage.build("mcp-orchestrator", [("t", [obj])])


def test_build_refuses_what_is_written_twice() -> None:
    first = _stage.build("api", [("a", [manifest("Service", "s", "api")])])
    with pytest.raises(Refused, match="rendered twice, by template b and by component api"):
        _stage.build("web", [("b", [manifest("Service", "s", "web")])], others=[first])
    with pytest.raises(Refused, match="rendered twice, by template b and by template a"):
        _stage.build("api", [("a", [manifest("Service", "s", "api")]), ("b", [manifest("Service", "s", "api")])])
    # The same component staged again replaces itself.
    assert _stage.build("api", [("a", [manifest("Service", "s", "api")])], others=[first]).objects


def test_build_refuses_two_workloads_with_one_selector() -> None:
    one = workload("Deployment", "one", "api")
    two = workload("StatefulSet", "two", "api")
    two["spec"]["selector"] = one["spec"]["selector"]
    two["spec"]["template"]["metadata"]["labels"] = one["spec"]["template"]["metadata"]["labels"]
    with pytest.raises(Refused, match="selects the same pods as Deployment/one"):
        _stage.build("api", [("t", [one, two])])


def test_build_refuses_replicas_beside_an_autoscaler() -> None:
    scaler = manifest(
        "HorizontalPodAutoscaler", "h", "api", spec={"scaleTargetRef": {"kind": "Deployment", "name": "d"}}
    )
    assert _stage.build("api", [("t", [scaler, workload("Deployment", "d", "api")])])
    with pytest.raises(Refused, match="Deployment/d sets replicas while HorizontalPodAutoscaler/h scales it"):
        _stage.build("api", [("t", [scaler, workload("Deployment", "d", "api", replicas=2)])])


def test_needs_go_on_workloads_only() -> None:
    staged = _stage.build(
        "api", [("t", [workload("Deployment", "d", "api"), manifest("Service", "s", "api")])], needs=["a", "b"]
    )
    assert staged.objects[0]["metadata"]["annotations"] == {"twisterlab.io/needs": "a,b"}
    assert "annotations" not in staged.objects[1]["metadata"]
    assert "annotations" not in staged.objects[0]["spec"]["template"]["metadata"]


def test_a_component_name_must_be_a_label() -> None:
    with pytest.raises(Refused, match="cannot be a label"):
        _stage.build("My_API", [])


def test_write_and_read_are_private(tmp_path: Path) -> None:
    folder = _stage.folder_of(tmp_path, "a/b")
    assert folder.parent.parent == tmp_path
    staged = _stage.build("api", [("t", [manifest("Service", "s", "api")])], [{"name": "k", "supplied": True}], ["x"])
    path = _stage.write(folder, staged)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert _stage.read(folder) == [staged]
    _stage.clear(folder)
    assert _stage.read(folder) == []
    assert _stage.read(tmp_path / "absent") == []


def test_export_writes_removes_and_rests(tmp_path: Path) -> None:
    both = _stage.build(
        "api", [("t", [manifest("Service", "s", "api"), manifest("ConfigMap", "c", "api", data={"a": "b"})])]
    )
    one = _stage.build("api", [("t", [manifest("Service", "s", "api")])])
    assert _stage.export(tmp_path, both, dry_run=True)
    assert not (tmp_path / "api").exists()
    assert _stage.export(tmp_path, both)
    assert yaml.safe_load((tmp_path / "api" / "configmap-c.yaml").read_text())["data"] == {"a": "b"}
    assert not _stage.export(tmp_path, both)
    (tmp_path / "api" / "mine.yaml").write_text("# somebody's own\n")
    assert _stage.export(tmp_path, one)
    assert sorted(path.name for path in (tmp_path / "api").iterdir()) == ["mine.yaml", "service-s.yaml"]
    (tmp_path / "api" / "mine.yaml").unlink()
    assert _stage.export(tmp_path, _stage.build("api", []))
    assert not (tmp_path / "api").exists()
