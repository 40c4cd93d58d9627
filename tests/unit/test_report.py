# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of a verification: nothing of a check is lost, nothing of it can break the page, the plots are true."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _checklist, _checks, _report
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import Check

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "</td><script>alert(1)</script> & \"'\x07 é"
CHECKS = [
    Check("target api", "ok", "up, read in 4 ms", 0.25, "monitoring").data(),
    Check("panel <b>", "failed", HOSTILE, 1.5, "monitoring").data(),
    Check("stdio", "skipped", "there is no kubectl here", 0.0, "mcp").data(),
]
PLOT = {
    "title": "Replicas",
    "unit": "pods",
    "series": [
        {"name": "ready", "points": [[0, 2], [10, 2], [20, None], [30, 4], [60, 2]]},
        {"name": "wanted", "points": [[0, 2], [60, 2]]},
    ],
}
REPORT: dict[str, Any] = {
    "host": "local",
    "namespace": "twisterlab",
    "started": "2026-01-01 10:00:00",
    "ended": "2026-01-01 10:01:00",
    "checks": CHECKS,
    "plots": [PLOT],
    "checklist": [vars(verdict) for verdict in _checklist.concluded(CHECKS)],
}


def page(report: dict[str, Any] = REPORT) -> str:
    source = (ROOT / "roles" / "verify" / "templates" / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(source).render(_report.page(report))


def test_the_page_needs_nothing_else_and_cannot_be_broken_by_evidence() -> None:
    text = page()
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "panel &lt;b&gt;" in text
    for outside in ("http://", "https://", "src=", "@import", "url("):
        assert outside not in text
    assert "Not as it should be: 3 checks: 1 ok, 1 failed, 1 skipped: stdio (there is no kubectl here)" in text
    assert text.count("<polyline") == 3
    assert "Post-deployment checklist" in text
    assert '<td class="not looked at">not looked at</td>' in text


def test_what_was_only_skipped_is_not_as_it_should_be() -> None:
    good, _bad, skipped = CHECKS
    assert ">As it should be: 2 checks" in page({**REPORT, "checks": [good, skipped]})
    text = page({**REPORT, "checks": [skipped]})
    assert '<p class="verdict skipped">Nothing was proven: 1 checks: 0 ok, 0 failed, 1 skipped' in text
    assert "As it should be" not in text


def test_the_plots_are_to_scale() -> None:
    drawn = _report.drawn(PLOT)
    down = _report.HEIGHT - _report.TOP - _report.BOTTOM
    across = _report.WIDTH - _report.LEFT - _report.RIGHT
    bottom = _report.TOP + down
    (first, second) = drawn["series"][0]["lines"]
    points = [tuple(float(number) for number in pair.split(",")) for pair in f"{first} {second}".split()]
    # Four pods are the top tick; the missing value cuts the line.
    assert points == [
        (_report.LEFT, bottom - down / 2),
        (pytest.approx(_report.LEFT + across / 6, abs=0.1), bottom - down / 2),
        (pytest.approx(_report.LEFT + across / 2, abs=0.1), _report.TOP),
        (_report.LEFT + across, bottom - down / 2),
    ]
    assert drawn["up"][0] == (bottom, "0")
    assert drawn["up"][-1] == (_report.TOP, "4")


@pytest.mark.parametrize(("span", "distance"), [(4, 1), (9, 2), (240, 50), (0.3, 0.1), (0, 1), (1000, 200)])
def test_ticks_are_round(span: float, distance: float) -> None:
    assert _report.step(span) == pytest.approx(distance)


@pytest.mark.parametrize("series", [[], [{"name": "none", "points": []}], [{"name": "zero", "points": [[0, 0]]}]])
def test_a_plot_without_measurements_is_empty_and_no_error(series: list[Any]) -> None:
    assert _report.drawn({"title": "x", "unit": "y", "series": series})["box"]


def test_junit_says_the_same() -> None:
    root = ET.fromstring(_report.as_junit(REPORT))  # noqa: S314 - our own
    suites = {suite.get("name"): suite for suite in root}
    assert suites["monitoring"].get("failures") == "1"
    assert suites["mcp"].get("skipped") == "1"
    cases = {case.get("name"): case for case in root.iter("testcase")}
    failure = cases["panel <b>"].find("failure")
    assert failure is not None
    assert failure.get("message") == HOSTILE.replace("\x07", "?")
    assert cases["stdio"].find("skipped") is not None
    assert cases["target api"].findtext("system-out") == "up, read in 4 ms"


def test_json_holds_everything() -> None:
    assert json.loads(_report.as_json(REPORT)) == json.loads(json.dumps(REPORT))


def test_only_failed_checks_are_failures() -> None:
    assert _checks.failures(CHECKS) == [f"monitoring panel <b>: {HOSTILE}"]
    assert _checks.failures(CHECKS[:1]) == []
