#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write awx/surveys.yml from the roles' argument specs; with --check only say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.twisterlab.platform.plugins.module_utils._surveys import surveys

TARGET = ROOT / "awx" / "surveys.yml"
HEAD = """---
# Made by `make awx` from awx/job_templates.yml and the roles' argument specs; changes belong there. `spec` is what a template asks, `in_the_inventory` are the
# other inputs of its playbook.
"""


def document() -> str:
    """Return the whole file."""
    return HEAD + str(
        yaml.dump({"surveys": surveys(ROOT)}, Dumper=Indented, sort_keys=False, width=160, allow_unicode=True)
    )


class Indented(yaml.SafeDumper):
    """Writes the items of a list to the right of its key, as the linter wants it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Never without indentation."""
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out."""
        return True


def main() -> int:
    """Write or check the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is not up to date")
    arguments = parser.parse_args()
    try:
        wanted = document()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.check:
        if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == wanted:
            return 0
        print(f"{TARGET.relative_to(ROOT)} is not what the argument specs say; run: make awx", file=sys.stderr)
        return 1
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
