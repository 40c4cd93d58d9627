# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/awx.yml, run as a person does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "token-of-the-controller-0123456789"
CLUSTER_TOKEN = "token-of-the-cluster-9876543210"
CREDENTIALS = [
    {
        "name": "production",
        "credential_type": "TwisterLab cluster (bearer token)",
        "inputs": {
            "host": "https://192.0.2.10:6443",
            "bearer_token": CLUSTER_TOKEN,
            "ca_cert": "-----BEGIN CERTIFICATE-----",
        },
    }
]
NOTIFICATIONS = [
    {
        "name": "TwisterLab room",
        "notification_type": "webhook",
        "notification_configuration": {"url": "https://chat.example/hook", "http_method": "POST", "headers": {}},
    }
]


class Run:
    """What a run printed, and whether a token stood in a command line meanwhile."""

    def __init__(self, folder: Path, *words: str, token: str = TOKEN, **inputs: Any) -> None:
        """Run it with inputs in a file, as secrets are given."""
        given = {"awx_project_url": "https://git.example/twisterlab.git", "awx_credentials": CREDENTIALS} | inputs
        variables = folder / "inputs.json"
        variables.write_text(json.dumps(given), encoding="utf-8")
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_NOCOLOR": "1",
            "CONTROLLER_OAUTH_TOKEN": token,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = ["ansible-playbook", "-i", "localhost,", "playbooks/awx.yml", "-e", f"@{variables}", *words]
        self.seen_in_arguments: set[str] = set()
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,))
        # It costs a fifth of a processor, so once is enough.
        if "-vvv" in words:
            watch.start()
        done = subprocess.run(
            command, cwd=ROOT, env=environment, text=True, capture_output=True, check=False, timeout=300
        )
        over.set()
        if watch.is_alive():
            watch.join()
        self.code = done.returncode
        self.raw = done.stdout + done.stderr
        # Ansible folds long lines.
        self.text = " ".join(self.raw.split())

    def _watch(self, over: threading.Event) -> None:
        while not over.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    line = path.read_bytes()
                except OSError:
                    continue
                self.seen_in_arguments |= {
                    token for token in (TOKEN, CLUSTER_TOKEN) if token.encode() in line and b"ansible" in line
                }
