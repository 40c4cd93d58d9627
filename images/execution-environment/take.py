# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep one collection of many, and have the programs where PATH finds them: take.py PACKAGES COLLECTION. Runs while the image is built."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

packages, (namespace, name) = Path(sys.argv[1]), sys.argv[2].split(".")
collections = packages / "ansible_collections"
for folder in [path for path in collections.iterdir() if path.is_dir()]:
    for collection in [path for path in folder.iterdir() if path.is_dir()]:
        if (folder.name, collection.name) != (namespace, name):
            shutil.rmtree(collection)
    if folder.name != namespace:
        shutil.rmtree(folder)
# It tells which collections belong to the package, which are gone now.
for path in packages.glob("ansible-[0-9]*.dist-info"):
    shutil.rmtree(path)
programs = packages.parent / "bin"
programs.mkdir()
for program in (packages / "bin").iterdir():
    text = program.read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    if "python" in first:
        target = programs / program.name
        target.write_text(f"#!/usr/bin/python3\n{rest}", encoding="utf-8")
        target.chmod(0o755)
shutil.rmtree(packages / "bin")
