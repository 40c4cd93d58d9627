# SPDX-License-Identifier: GPL-3.0-or-later
"""Of a log of Molecule, what ended it is shown: neither a failure that a rescue mended nor the clean-up."""

from __future__ import annotations

import subprocess

from ansible_collections.twisterlab.platform.plugins.module_utils import _specs

PROGRAM = _specs.collection_root() / "scripts" / "first_failure.awk"
LOG = f"""
TASK [What a rescue mends] *****
fatal: [stack]: FAILED! => mended

TASK [Judge] *****
FAILED - RETRYING: [stack]: Judge (1 retries left).
[ERROR]: Task failed: the sentence
fatal: [stack]: FAILED! =>
    msg: the beginning
{chr(10).join(f"        line {number}" for number in range(200))}
        PLAY RECAP
        the end

PLAY RECAP *****
stack : failed=1
CRITICAL Ansible return code was 2
ERROR    [backup > converge] Executed: Failed
TASK [Remove the stack] *****
fatal: [stack]: FAILED! => later
"""


def test_the_failure_that_ended_it_is_shown() -> None:
    said = subprocess.run([PROGRAM], input=LOG, capture_output=True, text=True, timeout=20, check=True).stdout
    lines = said.splitlines()
    assert lines[0].startswith("TASK [Judge]") and lines[-1].startswith("CRITICAL Ansible return code")
    assert len(lines) < 60
    for present in ("msg: the beginning", "    […]", "line 199", "the end"):
        assert present in said
    for absent in ("mended", "later", "line 100", "stack : failed=1"):
        assert absent not in said


def test_what_was_changed_again_is_shown() -> None:
    again = "CRITICAL Idempotence test failed because of the following tasks:\n*  => Deploy\n*  => Record"
    log = f"TASK [Mended] ***\nfatal: [stack]: FAILED! => mended\n{again}\nERROR    [stack > idempotence] Failed\n* later\n"
    said = subprocess.run([PROGRAM], input=log, capture_output=True, text=True, timeout=20, check=True).stdout
    assert said.strip() == again
