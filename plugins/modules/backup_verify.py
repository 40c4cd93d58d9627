# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.backup_verify; the action plugin of the same name shows a line a check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove that there is a backup of today, and that it can be restored
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Asks the Service C(backup) for its metrics over the Kubernetes API's port-forward and judges the newest backup, its drill, the receiver of the write-ahead log, where the
    repository is and what is kept. Changes nothing.
  - What was never made is skipped with the reason for the first 26 hours, and a failure after that.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  timeout:
    description: Seconds that one request may take.
    type: float
    default: 10
  conclude:
    description: Whether a failed check fails the task. With V(false) only RV(checks) says so.
    type: bool
    default: true
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: It changes nothing in any case.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Prove that there is a backup that can be restored
  twisterlab.platform.backup_verify:
    namespace: twisterlab
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, a sentence for everything that is wrong.
  returned: always
  type: str
  sample: "5 checks: 5 ok, 0 failed, 0 skipped"
checks:
  description: Everything that was looked at.
  returned: always
  type: list
  elements: dict
  sample:
    - name: restore drill
      tag: backup
      state: ok
      seconds: 0.2
      evidence: restored and compared 2026-11-26T02:16:10Z, 7.1 hours ago
"""

import json
import time
from dataclasses import replace
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _backup_job as jobs
from ansible_collections.twisterlab.platform.plugins.module_utils import _backup_verify as backup
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds as kinds
from ansible_collections.twisterlab.platform.plugins.module_utils import _kube, _look, _record, _web
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import FAILED, SKIPPED, Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError


def look(cluster: _kube.Cluster, namespace: str, timeout: float) -> list[Check]:
    """Everything, or why it could not be looked at."""
    begun = time.monotonic()
    cron = cluster.get(kinds.CRON_JOB, jobs.NAME, namespace)
    if cron is None:
        gone = _record.lost(cluster, namespace, (kinds.CRON_JOB.name,), [])
        reason = gone or "there is no CronJob backup, and the last release has none (twisterlab_backup_enabled)"
        verdict = FAILED if gone else SKIPPED
        spent = time.monotonic() - begun
        rest = [Check(name, SKIPPED, reason, spent, backup.TAG) for name in backup.NAMES if name != backup.NEWEST]
        return [Check(backup.NEWEST, verdict, reason, spent, backup.TAG), *rest]
    try:
        web = _web.Web(cluster, namespace, jobs.NAME, backup.PORT, timeout)
        metrics = backup.parse(web.ask("/metrics").text)
    except PlatformError as error:
        told = Check(backup.RECEIVER, FAILED, f"it cannot be asked: {error}", time.monotonic() - begun, backup.TAG)
        unasked = [name for name in backup.NAMES if name != backup.RECEIVER]
        return [told, *(Check(name, SKIPPED, "the receiver cannot be asked", 0.0, backup.TAG) for name in unasked)]
    pods = cluster.list(kinds.POD, namespace, labels=f"{objects.OURS_SELECTOR},{objects.COMPONENT}={jobs.NAME}")
    seen = backup.Seen(
        metrics=metrics,
        settings=jobs.settings_of(cron),
        cron=cron,
        claim=cluster.get(kinds.CLAIM, "backup-data", namespace),
        told=state(web),
        failed=backup.last_failure(pods),
        now=cluster.now(),
    )
    checks = backup.judge(seen)
    spent = (time.monotonic() - begun) / len(checks)
    return [replace(check, seconds=spent) for check in checks]


def state(web: _web.Web) -> dict[str, Any]:
    """What the receiver knows beside its metrics; nothing where it does not say."""
    try:
        answer = web.ask("/state")
        found = json.loads(answer.text) if answer.status == 200 else {}
    except (PlatformError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def main() -> None:
    """Verify."""
    _look.answer(look)


if __name__ == "__main__":
    main()
