#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the table of rights into docs/security.md; with --check only say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.twisterlab.platform.plugins.module_utils._rights import table

TARGET = ROOT / "docs" / "security.md"
BEGIN, END = "<!-- rights: made by `make docs` -->\n", "<!-- end of rights -->\n"


def document(text: str) -> str:
    """Return the page with the table as it should be."""
    before, begin, rest = text.partition(BEGIN)
    _old, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(
            f"{TARGET.relative_to(ROOT)} lacks the lines between which the table of rights stands: {BEGIN}{END}"
        )
    lines = "\n".join(table())
    return f"{before}{begin}\n{lines}\n\n{end}{after}"


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the table is not up to date")
    arguments = parser.parse_args()
    found = TARGET.read_text(encoding="utf-8")
    wanted = document(found)
    if arguments.check:
        if found == wanted:
            return 0
        print(f"{TARGET.relative_to(ROOT)} does not show the rights of _rights.py; run: make docs", file=sys.stderr)
        return 1
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
