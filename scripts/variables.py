#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write docs/variables.md from the roles' argument specs; with --check only say whether it is up to date."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.twisterlab.platform.plugins.module_utils._specs import Option, role_options

TARGET = ROOT / "docs" / "variables.md"
FIRST = (
    "twisterlab",
    "base",
    "network_policies",
    "postgres",
    "redis",
    "api",
    "mcp_server",
    "kube_state_metrics",
    "alertmanager",
    "prometheus",
    "grafana",
    "ingress",
    "backup",
)
HEAD = """# Variables

Made from `roles/*/meta/argument_specs.yml` by `make docs`; changes belong there.

A tier's inputs are one dict, merged over the defaults below: `twisterlab_postgres: {size: 50Gi}` changes the size and
nothing else. A variable that starts with `twisterlab_` and is not listed here is refused, and so is an unknown key of a
dict. On the command line a dict is written as `-e '{"twisterlab_api": {"replicas_max": 4}}'`.
"""


def _markdown(text: str) -> str:
    """Turn Ansible's markup into Markdown that fits a table's cell."""
    return re.sub(r"\b[CVOIB]\(([^()]*(?:\([^()]*\))?[^()]*)\)", r"`\1`", text).replace("|", "\\|")


def _default(option: Option) -> str:
    if option.options:
        return ""
    if option.default is None:
        return "see there"
    text = option.default if isinstance(option.default, str) else json.dumps(option.default)
    return f"`{text}`" if text else "empty"


def _type(option: Option) -> str:
    if option.choices:
        return " \\| ".join(f"`{choice}`" for choice in option.choices)
    return f"{option.type} of {option.elements}" if option.elements else option.type


def _rows(prefix: str, options: Mapping[str, Option]) -> Iterator[str]:
    for key, option in options.items():
        if not option.options:
            cells = f"`{prefix}{key}`", _type(option), _default(option), _markdown(" ".join(option.description))
            yield f"| {' | '.join(cells)} |"
        yield from _rows(f"{prefix}{key}.", option.options)


def _table(rows: list[str], what: str) -> str:
    return "\n".join([f"| {what} | Type | Default | Meaning |", "|---|---|---|---|", *rows, ""])


def _section(title: str, options: list[Option]) -> str:
    parts = [f"## {title}\n"]
    plain = {option.name: option for option in options if not option.options}
    if plain:
        parts.append(_table(list(_rows("", plain)), "Variable"))
    before: set[str] = set()
    for option in options:
        if not option.options:
            continue
        rows = list(_rows("", option.options))
        fresh = [row for row in rows if row not in before]
        parts.append(f"### `{option.name}`\n\n{_markdown(' '.join(option.description))}\n")
        if len(fresh) < len(rows):
            parts.append("The keys that are not shown are those of the dict above.\n")
        parts.append(_table(fresh, "Key"))
        before |= set(rows)
    return "\n".join(parts)


def document() -> str:
    """Return the whole page."""
    by_role: dict[str, list[Option]] = {}
    for option in role_options(ROOT):
        by_role.setdefault(option.role, []).append(option)
    roles = [role for role in FIRST if role in by_role] + [role for role in sorted(by_role) if role not in FIRST]
    titles = {"twisterlab": "Shared"}
    sections = [_section(titles.get(role, f"Role {role}"), by_role[role]) for role in roles]
    return "\n".join([HEAD, *sections]).rstrip() + "\n"


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not up to date")
    arguments = parser.parse_args()
    wanted = document()
    if arguments.check:
        if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == wanted:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is not what the argument specs say; run: make docs", file=sys.stderr)
        return 1
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
