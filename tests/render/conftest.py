# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the playbooks once for all fixtures."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rendering import HERE, ansible_playbook


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the expected renders anew")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder once, also when several processes test."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = shared / name
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                unfinished = shared / f"{name}.new"
                unfinished.mkdir(exist_ok=True)
                fill(unfinished)
                unfinished.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def rendered(once: Callable[[str, Callable[[Path], None]], Path]) -> Iterator[Path]:
    """The folder that holds the renders of every valid fixture, one folder each."""

    def fill(folder: Path) -> None:
        done = ansible_playbook(
            "-i", str(HERE / "valid" / "hosts.yml"), "playbooks/render.yml", "-e", f"twisterlab_render_dest={folder}"
        )
        assert done.returncode == 0, done.stdout + done.stderr

    yield once("rendered", fill)
