# SPDX-License-Identifier: MIT
"""Resolve requirements.in into requirements.txt: exact versions with the hashes of the wheels for both architectures.

Run it with the interpreter whose pip shall resolve: ``python3.13 images/app/lock.py``. It installs nothing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "3.13"
GLIBC_TAGS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28, 31, 34)))
MACHINES = ("x86_64", "aarch64")


def resolve(machine: str) -> dict[str, tuple[str, str]]:
    """Return ``{name: (version, sha256)}`` of the wheels pip chooses for one machine type."""
    platforms = [f"--platform={tag}_{machine}" for tag in GLIBC_TAGS]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--dry-run",
            "--ignore-installed",
            "--only-binary=:all:",
        ]
        command += [f"--target={folder}/site", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
        command += [f"--report={report}", f"--requirement={HERE / 'requirements.in'}"]
        subprocess.run(command, check=True)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    result = {}
    for item in found:
        name = item["metadata"]["name"].lower().replace("_", "-").replace(".", "-")
        result[name] = (item["metadata"]["version"], item["download_info"]["archive_info"]["hashes"]["sha256"])
    return result


def main() -> int:
    """Write requirements.txt; exit 1 when the machine types disagree about a version."""
    locks = [resolve(machine) for machine in MACHINES]
    lines = [f"# Made by lock.py from requirements.in: wheels for CPython {PYTHON}, {' and '.join(MACHINES)}."]
    for name in sorted(set().union(*locks)):
        pins = [lock[name] for lock in locks if name in lock]
        if len({version for version, _hash in pins}) > 1 or len(pins) != len(locks):
            print(f"{name}: the machine types need different versions: pin it in requirements.in", file=sys.stderr)
            return 1
        hashes = sorted({digest for _version, digest in pins})
        lines.append(f"{name}=={pins[0][0]} \\")
        lines.append(" \\\n".join(f"    --hash=sha256:{digest}" for digest in hashes))
    HERE.joinpath("requirements.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
