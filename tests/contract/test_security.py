# SPDX-License-Identifier: GPL-3.0-or-later
"""The deploy Role covers what is staged and what is done, and the page about it says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds, _rights

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = [
    obj
    for path in sorted((ROOT / "tests" / "render" / "golden").rglob("*.yaml"))
    for obj in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]
#: What a deploy does without when it may not read it, and says so.
SKIPPED = {
    ("list", "NODE"),
    ("list", "STORAGE_CLASS"),
    ("list", "INGRESS_CLASS"),
    ("list", "GATEWAY_CLASS"),
    ("list", "ENDPOINT_SLICE"),
}
#: What an administrator's purge does and the deployer's says it cannot.
ADMINISTRATOR = {("delete", "NAMESPACE")}
VERBS = {"merge": "patch", "replace": "update", "log": "get"}


def _held(group: str, resource: str, verb: str) -> bool:
    return any((right.group, right.resource) == (group, resource) and verb in right.verbs for right in _rights.RIGHTS)


def _kind(obj: dict[str, Any]) -> _kinds.Kind:
    kind = _kinds.find(obj["apiVersion"], obj["kind"])
    assert kind is not None, f"{obj['kind']} is not in the table of _kinds.py"
    return kind


def test_every_kind_that_is_staged_may_be_released() -> None:
    for kind in {_kind(obj) for obj in GOLDEN}:
        if not kind.namespaced:
            continue
        for verb in ("get", "list", "create", "patch", "delete"):
            assert _held(kind.group, kind.plural, verb), f"_rights.py lacks {verb} {kind.plural}"


def test_what_is_outside_the_namespace_is_made_by_bootstrap() -> None:
    for obj in GOLDEN:
        if _kind(obj).namespaced or obj["kind"] == "Namespace":
            continue
        namespace = obj["metadata"]["labels"]["app.kubernetes.io/instance"]
        names = [_rights.cluster_name(namespace, tier) for tier in _rights.CLUSTER_TIERS]
        assert obj["metadata"]["name"] in names, f"CLUSTER_TIERS of _rights.py lacks {obj['metadata']['name']}"


def test_bootstrap_stages_every_tier_with_something_outside_the_namespace() -> None:
    wide = {kind.name.lower() for kind in _kinds.TABLE if not kind.namespaced}
    tiers = {
        path.parents[1].name
        for path in (ROOT / "roles").glob("*/templates/*.yml.j2")
        if path.name.partition(".")[0].partition("_")[0] in wide
    }
    play = yaml.safe_load((ROOT / "playbooks" / "bootstrap.yml").read_text(encoding="utf-8"))[-1]
    listed = [item["role"].rpartition(".")[2] for item in play["roles"]]
    assert listed[-1] == "bootstrap"
    assert set(listed[:-1]) == tiers


def test_the_deployer_may_make_every_role_that_is_staged() -> None:
    """The API server lets nobody make a Role that may do more than its maker."""
    rules = _rights.rules()
    for obj in GOLDEN:
        if obj["kind"] != "Role":
            continue
        for rule in obj["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        name = f"{obj['metadata']['name']}: {verb} {resource}"
                        names = tuple(rule.get("resourceNames") or ())
                        assert any(_rights.grants(held, group, resource, verb, names) for held in rules), name


def test_every_verb_that_the_code_uses_is_held() -> None:
    calls: set[tuple[str, str]] = set()
    texts = {path: path.read_text(encoding="utf-8") for path in (ROOT / "plugins").rglob("*.py")}
    for path, text in texts.items():
        # The local cluster is made by its owner, a bootstrap by an administrator.
        if path.name not in ("_cluster.py", "_bootstrap.py"):
            calls |= set(re.findall(r"\.(get|list|merge|delete)\(\s*kinds\.([A-Z_]+)", text))
    assert len(calls) > 15, "the pattern finds the calls no longer"
    for verb, constant in sorted(calls - SKIPPED - ADMINISTRATOR):
        kind = getattr(_kinds, constant)
        if not kind.namespaced and constant != "NAMESPACE":
            assert (verb, constant) in {("get", "CLUSTER_ROLE"), ("get", "CLUSTER_ROLE_BINDING")}, f"{verb} {constant}"
            continue
        assert _held(kind.group, kind.plural, VERBS.get(verb, verb)), f"_rights.py lacks {verb} {kind.plural}"
    everything = "\n".join(texts.values())
    for stream, resource in (("exec", "pods/exec"), ("portforward", "pods/portforward")):
        assert f"connect_get_namespaced_pod_{stream}" in everything
        assert _held("", resource, "get")
        # A server may ask for the right to create where a stream begins with GET.
        assert _held("", resource, "create")


def test_the_table_of_rights_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/rights.py", "--check"], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_images_built_here_do_not_run_as_root() -> None:
    images = yaml.safe_load((ROOT / "images" / "catalogue.yml").read_text(encoding="utf-8"))["images"]
    for name, image in images.items():
        if image.get("built"):
            text = (ROOT / image["built"]["context"] / "Dockerfile").read_text(encoding="utf-8")
            user, _, group = re.findall(r"^USER (\S+)$", text, re.MULTILINE)[-1].partition(":")
            assert min(int(user), int(group)) > 10000, name
