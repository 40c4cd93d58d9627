#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the map of who talks to whom into docs/network.md; with --check only say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.twisterlab.platform.plugins.module_utils import _edges, _specs

TARGET = ROOT / "docs" / "network.md"
BEGIN, END = "<!-- From here made by `make docs` from plugins/module_utils/_edges.py. -->", "<!-- To here. -->"
# What a local cluster scrapes beside our pods (vars of role twisterlab).
TARGETS = {"ingress": "traefik.ingress-nginx.svc:8082"}
# Drawn, they would hide the rest.
IN_WORDS = (_edges.DNS, _edges.LOAD)


def facts() -> dict[str, Any]:
    """Everything runs, with its defaults."""
    inputs = _specs.load_inputs(_specs.collection_root())
    given = {
        name.removeprefix("twisterlab_"): _specs.merge(option, {}) for name, option in inputs.items() if option.options
    }
    return {
        "namespace": "twisterlab",
        "enabled": dict.fromkeys([*given, "renewal"], True),
        "given": given,
        "targets": TARGETS,
    }


def diagram(network: _edges.Map) -> Iterator[str]:
    """The lines of the mermaid diagram: an arrow for a conversation, a dotted one for what only measures."""
    yield "flowchart LR"
    names = {name: f"n{number}" for number, name in enumerate([*network.tiers, *network.peers])}
    drawn = [edge for edge in network.edges if not {edge.source, edge.target} & set(IN_WORDS)]
    for name, short in names.items():
        if any(name in (edge.source, edge.target) for edge in drawn):
            yield f'    {short}["{name}"]' if name in network.tiers else f'    {short}(["{name}"])'
    for edge in drawn:
        measures = all(word.startswith(("metrics", "measures")) for word in edge.why.split(", "))
        arrow = "-.->" if measures else "-->"
        yield f'    {names[edge.source]} {arrow}|"{_edges.port_text(edge.ports)}"| {names[edge.target]}'


def table(network: _edges.Map) -> Iterator[str]:
    """Every edge with its reason."""
    yield "| from | to | port | why |"
    yield "|---|---|---|---|"
    for edge in network.edges:
        yield f"| {edge.source} | {edge.target} | {_edges.port_text(edge.ports)} | {edge.why} |"


def section() -> str:
    """What stands between the marks."""
    network = _edges.map_of(facts())
    asking = ", ".join(edge.source for edge in network.edges if edge.target == _edges.DNS)
    parts = [
        BEGIN,
        "",
        "```mermaid",
        *diagram(network),
        "```",
        "",
        f"Not drawn: who may ask the DNS ({asking}), and the load that `verify --tags autoscaling` makes.",
        "",
        *table(network),
        "",
        END,
    ]
    return "\n".join(parts)


def document(text: str) -> str:
    """The page with what is between the marks made anew."""
    before, _begin, rest = text.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return before + section() + after


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not up to date")
    arguments = parser.parse_args()
    text = TARGET.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        print(
            f"{TARGET.relative_to(ROOT)} lacks the lines between which the map is drawn:\n{BEGIN}\n{END}",
            file=sys.stderr,
        )
        return 1
    wanted = document(text)
    if wanted == text:
        return 0
    if arguments.check:
        print(
            f"{TARGET.relative_to(ROOT)} does not show the map of plugins/module_utils/_edges.py; run: make docs",
            file=sys.stderr,
        )
        return 1
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
