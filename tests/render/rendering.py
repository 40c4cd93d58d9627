# SPDX-License-Identifier: GPL-3.0-or-later
"""Running playbooks the way a user does."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def ansible_playbook(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a playbook as a user does, without the tester's own cluster."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("K8S_AUTH_", "ANSIBLE_"))}
    settings = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "4"}
    return subprocess.run(
        ["ansible-playbook", *arguments],
        cwd=ROOT,
        env={**clean, **settings, **environment},
        text=True,
        capture_output=True,
        check=False,
    )
