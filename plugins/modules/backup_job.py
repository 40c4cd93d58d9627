# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.backup_job; the action plugin of the same name repeats it and shows the lines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_job
short_description: Make a backup, try one, restore one, or list them
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Makes a Job from the CronJob C(backup) and shows what it says, line by line, until it ends. When it fails, its last sentence is the task's.
  - Run again after it was killed, it finds the Job that still runs and goes on looking at that one. Of a restore it also finds the one that has ended meanwhile, and nobody was told.
  - With O(command=restore) the Lease of the release is held, so nobody deploys meanwhile.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  command:
    description: What to do; V(run) makes a backup and tries it, V(drill) tries one that there is.
    type: str
    choices: [run, drill, restore, list]
    default: run
  snapshot:
    description: The snapshot to try or restore; V(latest) is the newest one.
    type: str
    default: ''
  time:
    description: The second to which Postgres is restored, such as V(2026-11-26T18:00:00Z).
    type: str
    default: ''
  parts:
    description: What is restored, V(postgres) and V(redis). Empty is Postgres.
    type: list
    elements: str
    default: []
  replace:
    description: Whether a database that holds rows may be replaced. It is kept beside under another name.
    type: bool
    default: false
  timeout:
    description: Seconds to look on. The Job goes on after that.
    type: float
    default: 14400
  holder:
    description: Who runs this. Set by the action plugin.
    type: dict
  job:
    description: Name of the Job that is looked at. Set by the action plugin.
    type: str
    default: ''
  cursor:
    description: Where the call before ended. Set by the action plugin.
    type: str
    default: ''
  last:
    description: The last line of the call before. Set by the action plugin.
    type: str
    default: ''
  seconds:
    description: How long one call looks at most. Set by the action plugin.
    type: float
    default: 8
  elapsed:
    description: Seconds that have gone already. Set by the action plugin.
    type: float
    default: 0
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Says what would be done, and makes no Job.
    support: full
  diff_mode:
    support: none
  idempotent:
    description: A backup is another one each time.
    support: none
  action:
    support: full
"""

EXAMPLES = r"""
- name: Make a backup and try it
  twisterlab.platform.backup_job:
    namespace: twisterlab

- name: Postgres as it was at that second
  twisterlab.platform.backup_job:
    command: restore
    time: "2026-11-26T18:00:00Z"
    replace: true
"""

RETURN = r"""
msg:
  description: The last line of the program.
  returned: always
  type: str
  sample: backup 3f1c9a2e is good, 41 tables with 18233 rows compared
job:
  description: The Job.
  returned: success
  type: str
  sample: backup-20261126t180000z
state:
  description: V(running) when it goes on, else V(complete).
  returned: success
  type: str
  sample: complete
lines:
  description: What the program said since the call before.
  returned: success
  type: list
  elements: str
  sample: ["postgres: 41 tables, 18233 rows"]
found:
  description: Whether an earlier run had begun it.
  returned: success
  type: bool
  sample: false
"""

import contextlib
import time
from collections.abc import Iterator

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _backup_job as jobs
from ansible_collections.twisterlab.platform.plugins.module_utils import _kube, _lease, _logs
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError

POLL_SECONDS = 1.0


@contextlib.contextmanager
def held(lease: _lease.Lease | None) -> Iterator[None]:
    """Hold the release meanwhile; the hold stays for the next call."""
    if lease is None:
        yield
        return
    lease.acquire()
    lease.keep()
    try:
        yield
    finally:
        lease.stop()


def main() -> None:
    """Begin, or look on for a while."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            command={"type": "str", "choices": list(jobs.COMMANDS), "default": jobs.RUN},
            snapshot={"type": "str", "default": ""},
            time={"type": "str", "default": ""},
            parts={"type": "list", "elements": "str", "default": []},
            replace={"type": "bool", "default": False},
            timeout={"type": "float", "default": 14400.0},
            holder={"type": "dict"},
            job={"type": "str", "default": ""},
            cursor={"type": "str", "default": ""},
            last={"type": "str", "default": ""},
            seconds={"type": "float", "default": 8.0},
            elapsed={"type": "float", "default": 0.0},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params, begun = module.params, time.monotonic()
    namespace, command = params["namespace"], params["command"]
    try:
        cluster = _kube.Cluster(params)
        holder = _lease.holder_from(params["holder"])
        hide = _logs.hider(cluster, namespace)
        # The first answer of the server brings its time.
        arguments = jobs.words(params, holder.identity.partition(" ")[0], cluster.now())
        if module.check_mode:
            one = jobs.begin(cluster, namespace, arguments, dry_run=True)
            would = (
                f"would go on with Job/{one.job}" if one.found else f"would run twisterlab-backup {' '.join(arguments)}"
            )
            module.exit_json(
                changed=command in (jobs.RUN, jobs.RESTORE),
                msg=would,
                state=jobs.COMPLETE,
                lines=[would],
                job="",
                found=one.found,
            )
        lease = _lease.Lease(cluster, namespace, holder) if command == jobs.RESTORE else None
        with held(lease):
            job, found = params["job"], False
            if not job:
                one = jobs.begin(cluster, namespace, arguments)
                job, found = one.job, one.found
            cursor, last = params["cursor"], params["last"]
            while True:
                gone = time.monotonic() - begun
                seen = jobs.look(cluster, namespace, job, cursor, last, params["elapsed"] + gone, hide)
                # A Job that an earlier run began is told of at once, and so is every line.
                if seen.state != jobs.RUNNING or seen.lines or found or gone >= params["seconds"]:
                    break
                time.sleep(POLL_SECONDS)
            if seen.state == jobs.COMPLETE and command == jobs.RESTORE:
                jobs.renew_exporter(cluster, namespace)
            if seen.state != jobs.RUNNING:
                jobs.tell(cluster, namespace, job)
        if lease is not None and seen.state != jobs.RUNNING:
            lease.end()
    except PlatformError as error:
        module.fail_json(msg=str(error))
    result = {
        "job": job,
        "state": seen.state,
        "lines": seen.lines,
        "cursor": seen.cursor,
        "last": seen.last,
        "why": seen.why,
        "found": found,
    }
    if seen.state == jobs.FAILED:
        module.fail_json(msg=f"Job/{job}: {seen.why}", **result)
    changed = seen.state == jobs.COMPLETE and command in (jobs.RUN, jobs.RESTORE)
    module.exit_json(changed=changed, msg=seen.last or f"Job/{job} runs", **result)


if __name__ == "__main__":
    main()
