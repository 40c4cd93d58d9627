# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.status; the action plugin of the same name shows it on one screen."""

from __future__ import annotations

DOCUMENTATION = r"""
module: status
short_description: What runs, what is wrong, and what to do next
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Reads tiers with images and replicas, autoscalers, the last release, certificates, backups and the warnings of the last hour, in one round of parallel requests, and
    shows them on one screen. Changes nothing.
  - What is wrong is judged as by M(twisterlab.platform.stack_health), except that nothing is waited for. Beside it counts a workload of the last release that is not there, a
    release that failed, a certificate that was not renewed and a backup of more than 26 hours.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  format:
    description: V(screen) shows it for people, V(json) as JSON.
    type: str
    choices: [screen, json]
    default: screen
  dest:
    description: File that gets the JSON in any case. Written by the action plugin on the controller; one that cannot be written is told and no failure.
    type: path
  fail:
    description: Whether the task fails when the stack is not healthy, for schedulers.
    type: bool
    default: false
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
seealso:
  - module: twisterlab.platform.stack_health
"""

EXAMPLES = r"""
- name: Look
  twisterlab.platform.status:
    namespace: twisterlab

- name: Look, and fail when something is wrong
  twisterlab.platform.status:
    namespace: twisterlab
    fail: true
"""

RETURN = r"""
msg:
  description: The state in one sentence.
  returned: always
  type: str
  sample: "Namespace twisterlab: healthy (23 of 23 objects ready, 2026-11-23T09:00:00Z)"
status:
  description: Everything that the screen shows, as data.
  returned: success
  type: dict
  contains:
    state:
      description: V(ready), V(degraded) (all ready and something else wrong), V(waiting), V(broken) or V(absent).
      type: str
      sample: ready
    wrong:
      description: What is not as it should be, worst first.
      type: list
      elements: dict
      sample: []
    next:
      description: The commands to run next.
      type: list
      elements: str
      sample: [ansible-playbook playbooks/verify.yml]
    seconds:
      description: How long reading and judging took.
      type: float
      sample: 0.4
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import (
    _backup_verify,
    _health,
    _kube,
    _status,
    _web,
)
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError

READ: _status.Read | None = None
try:
    from ansible_collections.twisterlab.platform.plugins.module_utils._certificates import lifetime

    READ = lifetime
except ImportError:
    # Everything else can still be told.
    pass


#: Of the three that a screen may take.
RECEIVER_SECONDS = 1.5


def receiver(cluster: _kube.Cluster, namespace: str) -> dict[str, float]:
    """What the receiver of the backups knows; nothing where there is none, it does not answer or the rights are lacking."""
    try:
        web = _web.Web(cluster, namespace, _status.BACKUP, _backup_verify.PORT, RECEIVER_SECONDS)
        return _backup_verify.parse(web.ask("/metrics").text)
    except PlatformError:
        return {}


def main() -> None:
    """Look once."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            format={"type": "str", "choices": ["screen", "json"], "default": "screen"},
            dest={"type": "path"},
            fail={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    namespace = module.params["namespace"]
    begun = time.monotonic()
    try:
        cluster = _kube.Cluster(module.params)
        data = _status.collect(cluster, namespace, READ, lambda: receiver(cluster, namespace))
        # An image's arguments or an event may repeat what stands in the Secret.
        data = _status.redacted(data, _health.redactor(cluster, namespace))
    except PlatformError as error:
        module.fail_json(msg=str(error))
    data.update(server=cluster.server, seconds=round(time.monotonic() - begun, 3))
    module.exit_json(
        changed=False,
        msg=f"{namespace}: {data['state']}",
        status=data,
        kubectl=_kube.kubectl(module.params, namespace),
        api_calls=cluster.calls,
        api_seconds=round(cluster.seconds, 3),
    )


if __name__ == "__main__":
    main()
