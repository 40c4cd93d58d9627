# SPDX-License-Identifier: GPL-3.0-or-later
"""The post-deployment checklist of the migration document, row by row, and which checks of verify prove each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ._checks import FAILED, OK, SKIPPED

#: No check of the row was made.
UNSEEN = "not looked at"


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        title: what must be so.
        proofs: tags of verify with the names of the checks that prove it; `*` stands for any text.
    """

    title: str
    proofs: tuple[tuple[str, tuple[str, ...]], ...]

    def holds(self, check: Mapping[str, Any]) -> bool:
        """Whether a check is one of this row's proofs."""
        return any(
            check["tag"] == tag and any(fnmatchcase(str(check["name"]), name) for name in names)
            for tag, names in self.proofs
        )

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that look at it."""
        return tuple(tag for tag, _names in self.proofs)


ROWS = (
    Row(
        "Services are reachable through the Ingress over TLS",
        (("edge", ("https *", "http *")), ("health", ("service *",))),
    ),
    Row("MCP works from an IDE's configuration", (("mcp", ("*",)),)),
    Row("Metrics are collected in Prometheus", (("monitoring", ("target *", "every pod's metrics")),)),
    Row("Grafana's dashboards are configured", (("monitoring", ("grafana *", "panel *")),)),
    Row("Health checks are operational", (("health", ("probes *", "workload *")),)),
    Row("Autoscaling works", (("health", ("autoscaler*",)), ("autoscaling", ("*",)))),
    Row("Backups are configured and restorable", (("backup", ("newest backup", "restore drill")),)),
    Row(
        "Alerts are active and routed",
        (("monitoring", ("rule *", "no critical alert", "Prometheus sends alerts", "alert route*")),),
    ),
)


@dataclass(frozen=True)
class Verdict:
    """What the checks that were made say of a row."""

    title: str
    state: str
    evidence: str


def concluded(checks: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """Every row: failed when a proof failed, ok when one of each tag was seen, skipped or not looked at with the reason."""
    made = list(checks)
    return [_verdict(row, [check for check in made if row.holds(check)]) for row in ROWS]


def _verdict(row: Row, found: list[Mapping[str, Any]]) -> Verdict:
    failed = [check for check in found if check["state"] == FAILED]
    if failed:
        more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
        return Verdict(row.title, FAILED, f"{failed[0]['tag']} {failed[0]['name']}: {failed[0]['evidence']}{more}")
    good = [check for check in found if check["state"] == OK]
    seen = {check["tag"] for check in found}
    left = [f"--tags {tag}" for tag in row.tags if tag not in seen]
    if not found:
        return Verdict(row.title, UNSEEN, f"verify with {' and '.join(left)} looks at it")
    if not good:
        return Verdict(row.title, SKIPPED, f"{found[0]['name']}: {found[0]['evidence']}")
    missing = f"; more with {' and '.join(left)}" if left else ""
    return Verdict(
        row.title, OK, f"{len(good)} checks of {', '.join(sorted({str(check['tag']) for check in good}))}{missing}"
    )


def lines(verdicts: Iterable[Verdict]) -> list[str]:
    """The checklist for people; nothing when no row was looked at."""
    found = list(verdicts)
    if all(item.state == UNSEEN for item in found):
        return []
    return [
        "Post-deployment checklist:",
        *(f"  [{_MARKS[item.state]}] {item.title}: {item.state}, {item.evidence}" for item in found),
    ]


_MARKS = {OK: "x", FAILED: "!", SKIPPED: "-", UNSEEN: " "}
