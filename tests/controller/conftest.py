# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake controller, and playbooks/awx.yml run against it by the real modules of awx.awx."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from fake import Server
from support import ROOT, TOKEN


@pytest.fixture(scope="module")
def playbooks() -> list[str]:
    """What the project holds, as the controller finds it."""
    return [f"playbooks/{path.name}" for path in (ROOT / "playbooks").glob("*.yml")]


@pytest.fixture(scope="module")
def server(playbooks: list[str]) -> Iterator[Server]:
    """A controller as AWX has it."""
    with Server(TOKEN, "/api", playbooks) as made:
        yield made
