# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the path of kube-score, compiled once from images/kube-score-test. Exit code 77: it cannot be had here, and why."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.twisterlab.platform.plugins.module_utils._build import Builder
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError
from ansible_collections.twisterlab.platform.plugins.module_utils._recipe import Recipes
from ansible_collections.twisterlab.platform.plugins.plugin_utils.reporting import cache_folder

NAME = "kube-score-test"


def say(line: str) -> None:
    """Standard output is for the path."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    builder = Builder(Recipes(), cache_folder(None), say)
    try:
        builder.build(NAME)
    except BuildError as error:
        say(f"skipped: the judgement of the manifests needs kube-score: {error}")
        sys.exit(77)
    print(next(builder.folder(NAME, "go").rglob("kube-score")))
