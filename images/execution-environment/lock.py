# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve requirements.in into requirements.lock (with hashes, for the recipe) and requirements.txt (for ansible-builder).

Run it with the interpreter whose pip shall resolve: ``python3.13 images/execution-environment/lock.py``. It installs nothing.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: It carries the collection; ansible-builder takes that from requirements.yml.
CARRIER = "ansible"


def main() -> int:
    """Write both files; exit 1 when the machine types disagree about a version."""
    spec = importlib.util.spec_from_file_location("lock_of_the_app", HERE.parent / "app" / "lock.py")
    assert spec and spec.loader  # noqa: S101
    lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lock)
    lock.HERE = HERE
    failed = lock.main()
    if failed:
        return int(failed)
    locked = (HERE / "requirements.txt").rename(HERE / "requirements.lock").read_text(encoding="utf-8")
    pins = [pin for pin in re.findall(r"^([\w.-]+)==(\S+)", locked, re.MULTILINE) if pin[0] != CARRIER]
    lines = ["# Made by lock.py from requirements.in, for ansible-builder.", *(f"{name}=={at}" for name, at in pins)]
    (HERE / "requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
