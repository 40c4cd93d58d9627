# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.health_verify; the action plugin of the same name shows a line a check."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health_verify
short_description: Prove what can be seen of a stack without disturbing it
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Looks at every workload, its probes and images, at volume claims, autoscalers, Services, at the stack's Secret, the last release and the backups. It only reads.
  - A Service that speaks HTTP is asked through a port-forward for the path of its readiness probe. The Secret's values are compared and never told.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  timeout:
    description: Seconds that one request to a Service may take.
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
- name: Prove the health of the stack
  twisterlab.platform.health_verify:
    namespace: twisterlab
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, a sentence for everything that is wrong.
  returned: always
  type: str
  sample: "health volume redis-data: it is Pending"
checks:
  description: Everything that was looked at.
  returned: always
  type: list
  elements: dict
  sample:
    - name: workload Deployment/twisterlab-api
      tag: health
      state: ok
      seconds: 0.0
      evidence: 2 of 2 pods Running and Ready, 0 restarts in all
"""

import time
from dataclasses import replace

from ansible_collections.twisterlab.platform.plugins.module_utils import (
    _checks,
    _health,
    _kube,
    _look,
    _secrets,
    _status,
    _web,
)
from ansible_collections.twisterlab.platform.plugins.module_utils import _health_checks as health
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds as kinds
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._api import each
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError


def look(cluster: _kube.Cluster, namespace: str, timeout: float) -> list[Check]:
    """Every check."""
    begun = time.monotonic()
    snapshot = _health.read(cluster, namespace)
    snapshot.events = _health.read_events(cluster, namespace)
    # The records hold what was rendered, which these objects are.
    services, configs = each(
        (kinds.SERVICE, kinds.CONFIG_MAP),
        lambda kind: cluster.list(kind, namespace, labels=f"{objects.OURS_SELECTOR},!{objects.RECORD}"),
    )
    spent = time.monotonic() - begun
    now = cluster.now()
    found = [*health.workloads(snapshot, now), *health.probes(snapshot), *health.images(snapshot)]
    if not found:
        return [
            Check(
                "workloads",
                _checks.FAILED,
                f"there is none of the stack in namespace {namespace}; ansible-playbook deploy.yml",
                spent,
                health.TAG,
            )
        ]
    found += [*health.volumes(snapshot), *health.autoscalers(snapshot), health.closed(services)]
    found = [replace(check, seconds=spent / len(found)) for check in found]

    def ask(name: str, port: int, path: str) -> int:
        return _web.Web(cluster, namespace, name, port, timeout).ask(path).status

    def asked(service: objects.Object) -> Check:
        start = time.monotonic()
        return replace(health.service(service, snapshot.of("Pod"), ask), seconds=time.monotonic() - start)

    found += each(sorted(services, key=objects.name), asked, workers=4)
    found += secret(cluster, namespace, [*configs, *health.ours(snapshot), *services])
    found.append(health.released(_status.newest_record(cluster, namespace)))
    return found


def secret(cluster: _kube.Cluster, namespace: str, others: list[objects.Object]) -> list[Check]:
    """The checks about the Secret; skipped for who may not read it."""
    try:
        held = cluster.get(kinds.SECRET, _secrets.SECRET_NAME, namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        return [Check("secrets", _checks.SKIPPED, f"Secret/{_secrets.SECRET_NAME} may not be read", 0.0, health.TAG)]
    values = _secrets.decode((held or {}).get("data"))
    return [health.passwords(values), health.in_clear(others, values)]


def main() -> None:
    """Verify."""
    _look.answer(look)


if __name__ == "__main__":
    main()
