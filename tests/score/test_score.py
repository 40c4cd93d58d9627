# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-score finds nothing critical in the expected renders, but what docs/security.md argues."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Without those whose inputs take limits (changed) and network policies (green) away.
LOOSENED = {"changed", "green"}
RENDERS = sorted(path for path in (ROOT / "tests" / "render" / "golden").iterdir() if path.name not in LOOSENED)
CRITICAL = 1
#: The same rows as in docs/security.md: a check, and the objects in which it is meant (empty: in all).
MEANT: dict[str, set[str]] = {
    "container-image-pull-policy": set(),
    "networkpolicy-targets-pod": {"verify-load"},
}
#: Beside them, where the operator CloudNativePG makes the pods of Postgres: no manifest of ours has them.
MEANT_OF_CLUSTERS: dict[str, set[str]] = {
    "networkpolicy-targets-pod": {"postgres"},
    "service-targets-pod": {"postgres"},
}


def judge(text: str) -> list[dict]:
    """What kube-score says of manifests, one entry an object."""
    done = subprocess.run(
        [os.environ["KUBE_SCORE"], "score", "--output-format=json", "-"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    return json.loads(done.stdout)


def critical(report: list[dict]) -> list[tuple[str, str]]:
    """The critical findings: check and object."""
    return [
        (check["check"]["id"], found["object_meta"]["name"])
        for found in report
        for check in found["checks"] or []
        if check["grade"] == CRITICAL and not check["skipped"]
    ]


@pytest.mark.parametrize("render", RENDERS, ids=lambda path: path.name)
def test_nothing_critical(render: Path) -> None:
    """Every object of the render was judged, and none badly."""
    files = sorted(render.rglob("*.yaml"))
    text = "\n---\n".join(path.read_text(encoding="utf-8") for path in files)
    report = judge(text)
    assert {found["type_meta"]["kind"] for found in report} >= {"Deployment", "NetworkPolicy", "Service"}
    others = MEANT_OF_CLUSTERS if "\nkind: Cluster\n" in text else {}
    assert [
        (check, name)
        for check, name in critical(report)
        if (check not in MEANT or (MEANT[check] and name not in MEANT[check])) and name not in others.get(check, set())
    ] == []


def test_a_bad_pod_is_found() -> None:
    """The judge judges."""
    bad = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: {containers: [{name: bad, image: 'bad:latest'}]}\n"
    assert {check for check, _ in critical(judge(bad))} >= {
        "container-resources",
        "container-security-context-user-group-id",
    }


def test_what_is_meant_is_in_the_documentation() -> None:
    """No exception without its reason."""
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    for check, names in MEANT.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{check}`"))
        assert all(f"`{name}`" in row for name in names)
