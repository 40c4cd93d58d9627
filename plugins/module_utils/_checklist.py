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


#: A tag of verify with the names of its checks; `*` stands for any text. A part that could not be looked at has one check of a name of its own.
Proof = tuple[str, tuple[str, ...]]


def _is(proof: Proof, check: Mapping[str, Any]) -> bool:
    tag, names = proof
    return check["tag"] == tag and any(fnmatchcase(str(check["name"]), name) for name in names)


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        title: what must be so.
        proofs: what proves it, all of them together.
        beside: what alone proves nothing of it, and disproves it.
    """

    title: str
    proofs: tuple[Proof, ...]
    beside: tuple[Proof, ...] = ()

    def holds(self, check: Mapping[str, Any]) -> bool:
        """Whether a check says something of this row."""
        return any(_is(proof, check) for proof in (*self.proofs, *self.beside))

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that look at it."""
        return tuple(dict.fromkeys(tag for tag, _names in (*self.proofs, *self.beside)))


ROWS = (
    Row(
        "Services are reachable through the Ingress over TLS",
        (("edge", ("https *", "http *", "address", "names")),),
        (("health", ("service *",)),),
    ),
    Row("MCP works from an IDE's configuration", (("mcp", ("*",)),)),
    Row("Metrics are collected in Prometheus", (("monitoring", ("target *", "every pod's metrics", "targets")),)),
    Row(
        "Grafana's dashboards are configured",
        (("monitoring", ("grafana *", "grafana")), ("monitoring", ("panel *", "panels"))),
    ),
    Row("Health checks are operational", (("health", ("probes *", "workloads")), ("health", ("workload *",)))),
    Row("Autoscaling works", (("health", ("autoscaler*",)), ("autoscaling", ("*",)))),
    Row("Backups are configured and restorable", (("backup", ("newest backup",)), ("backup", ("restore drill",)))),
    Row(
        "Alerts are active and routed",
        (
            ("monitoring", ("rule *", "no critical alert", "Prometheus sends alerts", "rules")),
            ("monitoring", ("alert route*", "route")),
        ),
    ),
)


@dataclass(frozen=True)
class Verdict:
    """What the checks that were made say of a row."""

    title: str
    state: str
    evidence: str


def concluded(checks: Iterable[Mapping[str, Any]]) -> list[Verdict]:
    """Every row: failed when a check of it failed, ok when each proof was seen, skipped or not looked at with the reason."""
    made = list(checks)
    return [_verdict(row, [check for check in made if row.holds(check)]) for row in ROWS]


def _verdict(row: Row, found: list[Mapping[str, Any]]) -> Verdict:
    failed = [check for check in found if check["state"] == FAILED]
    if failed:
        more = f"; and {len(failed) - 1} more" if len(failed) > 1 else ""
        return Verdict(row.title, FAILED, f"{failed[0]['tag']} {failed[0]['name']}: {failed[0]['evidence']}{more}")
    parts = [(tag, [check for check in found if _is((tag, names), check)]) for tag, names in row.proofs]
    unproven = next((part for _tag, part in parts if part and all(check["state"] != OK for check in part)), None)
    if unproven:
        return Verdict(row.title, SKIPPED, f"{unproven[0]['name']}: {unproven[0]['evidence']}")
    good = [check for check in found if check["state"] == OK]
    told = f"{len(good)} checks of {', '.join(sorted({str(check['tag']) for check in good}))}"
    unseen = list(dict.fromkeys(tag for tag, part in parts if not part))
    if unseen:
        tags = unseen if found else row.tags
        where = f"verify with {' and '.join(f'--tags {tag}' for tag in tags)} looks at it"
        return Verdict(row.title, UNSEEN, f"{where}; alone {told} prove too little" if good else where)
    return Verdict(row.title, OK, told)


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
