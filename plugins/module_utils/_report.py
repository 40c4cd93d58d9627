# SPDX-License-Identifier: GPL-3.0-or-later
"""A verification as people and programs read it: a page of its own, JSON, JUnit's XML. Pure."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from ._checks import FAILED, OK, SKIPPED, summary

#: Size of a plot and of its margins in pixels: left, top, right, bottom.
WIDTH, HEIGHT = 720, 220
LEFT, TOP, RIGHT, BOTTOM = 56, 12, 12, 28
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
_TICKS = 5


def step(span: float, count: int = _TICKS) -> float:
    """A round distance of ticks (1, 2 or 5 times a power of ten), so that about `count` cover a span."""
    if span <= 0:
        return 1.0
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= raw)


def drawn(plot: Mapping[str, Any]) -> dict[str, Any]:
    """A plot as the page draws it: lines in pixels, ticks, legend.

    Args:
        plot: `title`, `unit` and `series`, each with `name` and `points` ([seconds, value], in order; an empty value is a gap).
    """
    points = [(float(x), float(y)) for series in plot["series"] for x, y in series["points"] if y is not None]
    last = max((x for x, _y in points), default=1.0) or 1.0
    top = max((y for _x, y in points), default=1.0) or 1.0
    rise = step(top)
    top = math.ceil(top / rise) * rise
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return round(LEFT + x / last * across, 1), round(TOP + (1 - y / top) * down, 1)

    run = step(last, 8)
    return {
        "title": plot["title"],
        "unit": plot["unit"],
        "series": [
            {
                "name": series["name"],
                "colour": COLOURS[number % len(COLOURS)],
                "lines": [" ".join(f"{x},{y}" for x, y in part) for part in _parts(series["points"], at)],
            }
            for number, series in enumerate(plot["series"])
        ],
        "across": [(at(run * turn, 0)[0], f"{run * turn:g}") for turn in range(int(last / run) + 1)],
        "up": [(at(0, rise * turn)[1], f"{rise * turn:g}") for turn in range(round(top / rise) + 1)],
        "box": {"left": LEFT, "top": TOP, "right": WIDTH - RIGHT, "bottom": HEIGHT - BOTTOM},
        "width": WIDTH,
        "height": HEIGHT,
    }


def _parts(points: Sequence[Sequence[Any]], at: Any) -> list[list[tuple[float, float]]]:
    """The line of a series, cut where it has no value."""
    parts: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            parts.append([])
        else:
            parts[-1].append(at(float(x), float(y)))
    return [part for part in parts if part]


def page(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's template needs: the verdict, the checks by tag, the plots."""
    checks = report["checks"]
    return {
        **report,
        "summary": summary(checks),
        "failed": [check for check in checks if check["state"] == FAILED],
        "proven": any(check["state"] == OK for check in checks),
        "tags": {
            tag: [check for check in checks if check["tag"] == tag]
            for tag in dict.fromkeys(check["tag"] for check in checks)
        },
        "plots": [drawn(plot) for plot in report["plots"]],
    }


def as_json(report: Mapping[str, Any]) -> str:
    """Everything, for programs."""
    return json.dumps(report, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def as_junit(report: Mapping[str, Any]) -> str:
    """The checks as the test cases that CI servers show; one suite a tag."""
    root = ET.Element("testsuites", name=f"verify {report['host']}")
    for tag, checks in page(report)["tags"].items():
        states = [check["state"] for check in checks]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=tag,
            tests=str(len(checks)),
            failures=str(states.count(FAILED)),
            skipped=str(states.count(SKIPPED)),
            errors="0",
            time=f"{sum(float(check['seconds']) for check in checks):.3f}",
        )
        for check in checks:
            case = ET.SubElement(
                suite, "testcase", classname=f"verify.{tag}", name=check["name"], time=f"{float(check['seconds']):.3f}"
            )
            if check["state"] == FAILED:
                ET.SubElement(case, "failure", message=_legal(check["evidence"]))
            elif check["state"] == SKIPPED:
                ET.SubElement(case, "skipped", message=_legal(check["evidence"]))
            else:
                ET.SubElement(case, "system-out").text = _legal(check["evidence"])
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _legal(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return "".join(char if char in "\t\n\r" or " " <= char < "\ufffe" else "?" for char in text)
