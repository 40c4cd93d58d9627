# SPDX-License-Identifier: GPL-3.0-or-later
"""The document's checklist: what a row says of the checks that were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _checklist

ROOT = Path(__file__).resolve().parents[2]
BACKUPS, TLS = "Backups are configured and restorable", "Services are reachable through the Ingress over TLS"
GRAFANA, ALERTS = "Grafana's dashboards are configured", "Alerts are active and routed"


def check(tag: str, name: str, state: str = "ok", evidence: str = "seen") -> dict[str, Any]:
    return {"tag": tag, "name": name, "state": state, "evidence": evidence, "seconds": 0.0}


def said(*checks: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item.title: (item.state, item.evidence) for item in _checklist.concluded(checks)}


def test_a_row_is_what_its_proofs_are() -> None:
    good = said(check("edge", "https api.x"), check("edge", "http api.x"), check("health", "service redis"))
    assert good[TLS] == ("ok", "3 checks of edge, health")
    half = said(check("health", "service redis"))
    assert half[TLS] == (
        "not looked at",
        "verify with --tags edge looks at it; alone 1 checks of health prove too little",
    )
    broken = said(
        check("edge", "https api.x", "failed", "its certificate is not accepted"), check("health", "service redis")
    )
    assert broken[TLS] == ("failed", "edge https api.x: its certificate is not accepted")
    assert said(check("backup", "newest backup", "skipped", "there is none"))[BACKUPS] == (
        "skipped",
        "newest backup: there is none",
    )
    assert said()[BACKUPS] == ("not looked at", "verify with --tags backup looks at it")
    # A check of another tag or name proves nothing.
    assert said(check("network", "backups"), check("health", "backups of mine"))[BACKUPS][0] == "not looked at"


@pytest.mark.parametrize(
    ("row", "checks", "state"),
    [
        (TLS, [("edge", "address", "failed"), ("health", "service redis", "ok")], "failed"),
        (TLS, [("edge", "names", "skipped"), ("health", "service redis", "ok")], "skipped"),
        (GRAFANA, [("monitoring", "grafana", "failed"), ("monitoring", "panel x", "ok")], "failed"),
        (GRAFANA, [("monitoring", "grafana", "skipped"), ("monitoring", "panel x", "ok")], "skipped"),
        (ALERTS, [("monitoring", "rule x", "ok"), ("monitoring", "alert route", "skipped")], "skipped"),
        (ALERTS, [("monitoring", "rule x", "ok"), ("monitoring", "route", "skipped")], "skipped"),
        (ALERTS, [("monitoring", "rules", "failed"), ("monitoring", "alert route webhook", "ok")], "failed"),
        ("Metrics are collected in Prometheus", [("monitoring", "targets", "failed")], "failed"),
        ("Health checks are operational", [("health", "workloads", "failed")], "failed"),
        (BACKUPS, [("backup", "newest backup", "ok"), ("backup", "restore drill", "skipped")], "skipped"),
        ("Autoscaling works", [("health", "autoscaler x", "ok")], "not looked at"),
    ],
)
def test_a_row_is_not_proven_by_a_part_of_it(row: str, checks: list[tuple[str, str, str]], state: str) -> None:
    assert said(*(check(*item) for item in checks))[row][0] == state


def test_the_list_is_shown_when_a_row_was_looked_at() -> None:
    assert _checklist.lines(_checklist.concluded([check("network", "edges")])) == []
    lines = _checklist.lines(
        _checklist.concluded([check("mcp", "anything"), check("backup", "newest backup", "failed", "old")])
    )
    assert len(lines) == 1 + len(_checklist.ROWS)
    assert "  [x] MCP works from an IDE's configuration: ok, 1 checks of mcp" in lines
    assert "  [!] Backups are configured and restorable: failed, backup newest backup: old" in lines


def test_every_row_has_proofs_of_tags_that_exist() -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / "verify.yml").read_text(encoding="utf-8"))
    tags = {tag for task in plays[-1]["tasks"] for tag in task["tags"]}
    assert len(_checklist.ROWS) == 8, "the document has eight"
    for row in _checklist.ROWS:
        assert row.tags and set(row.tags) <= tags, row.title


def test_every_name_of_a_proof_is_one_that_the_code_gives() -> None:
    """The part before the star stands in a file that makes checks; a check that is renamed must not leave a row without proof."""
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "plugins").glob("module*/*.py")
        if path.name != "_checklist.py"
    )
    for row in _checklist.ROWS:
        for _tag, names in (*row.proofs, *row.beside):
            for name in names:
                stem = name.partition("*")[0]
                assert not stem or f'"{stem}' in code, name
