# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions share: a worker that outlives its killed playbook keeps that one's name and does nothing more."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from multiprocessing.connection import Connection

from ansible.errors import AnsibleActionFail
from ansible_collections.twisterlab.platform.plugins.action import release
from ansible_collections.twisterlab.platform.plugins.plugin_utils import cluster_action

# Ansible forks its workers too.
FORK = multiprocessing.get_context("fork")


def playbook(answer: Connection) -> None:
    """Starts a worker and is killed."""
    FORK.Process(target=work, args=(answer, os.getpid())).start()
    os.kill(os.getpid(), signal.SIGKILL)


def work(answer: Connection, started_by: int) -> None:
    """Says which playbook it belongs to when that one is gone, and what comes of calling a module."""
    while os.getppid() == started_by:
        time.sleep(0.02)
    try:
        object.__new__(release.ActionModule).call("release", {}, {})
    except AnsibleActionFail as error:
        answer.send((cluster_action.playbook_pid() == started_by, str(error)))


def test_a_worker_of_a_killed_playbook_calls_no_module() -> None:
    ours, theirs = FORK.Pipe()
    killed = FORK.Process(target=playbook, args=(theirs,))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert ours.poll(20)
    assert ours.recv() == (True, "The playbook was killed, so this worker of it does nothing any more.")
