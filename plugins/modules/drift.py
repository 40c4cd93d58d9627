# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.drift; the action plugin of the same name shows each difference."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drift
short_description: Say what in the cluster is not as the last release left it
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Compares every object of the newest release record with the cluster. The server is asked by dry runs what an apply would make of each, and the managed fields say who
    added what beside it. So a value changed with C(kubectl edit), a variable added with C(kubectl set env), and an object that was deleted are each named with their owner.
  - What Kubernetes' controllers, cert-manager and C(kubectl rollout restart) write is no drift, nor is the number of pods that an autoscaler sets.
  - Secrets stand in no record, so they are not compared. Values of variables that are called like secrets, and values of the Secret, are not shown.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  repair:
    description: Take out the fields that others added. Values of ours that differ, and objects that are gone, are mended by releasing the record again
      (M(twisterlab.platform.stage_record)), as role C(drift) does.
    type: bool
    default: false
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Nothing is taken out.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Look for drift
  twisterlab.platform.drift:
    namespace: twisterlab
  register: drifted

- name: Fail for it
  ansible.builtin.assert:
    that: drifted.differences | length == 0
"""

RETURN = r"""
msg:
  description: A summary.
  returned: always
  type: str
  sample: 1 difference from release 7 in 1 of 93 objects
release:
  description: Number of the release that was compared with.
  returned: success
  type: int
  sample: 7
differences:
  description: Every field, or whole object, that differs.
  returned: success
  type: list
  elements: dict
  sample:
    - object: Deployment/twisterlab-api
      field: spec.template.spec.containers[api].env[X]
      what: added
      owner: kubectl-set
      since: '2026-11-26T10:00:00Z'
      live: '{"name": "X", "value": "1"}'
      wanted: ''
lines:
  description: The same for people.
  returned: success
  type: list
  elements: str
  sample: ["Deployment/twisterlab-api spec.template.spec.containers[api].env[X]: {...} was added by kubectl-set at 2026-11-26T10:00:00Z"]
unseen:
  description: Objects that could not be compared, and why.
  returned: success
  type: list
  elements: str
  sample: ["ClusterRole/twisterlab-prometheus: no permission"]
repaired:
  description: Objects out of which something was taken.
  returned: success
  type: list
  elements: str
  sample: [Deployment/twisterlab-api]
seconds:
  description: How long it took.
  returned: success
  type: float
  sample: 1.2
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _drift, _health, _kube
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError


def main() -> None:
    """Look, and perhaps mend."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            repair={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params, begun, repaired = module.params, time.monotonic(), []
    try:
        cluster = _kube.Cluster(params)
        drift = _drift.Drift(cluster, params["namespace"], _health.redactor(cluster, params["namespace"]))
        found = drift.look()
        if params["repair"] and not module.check_mode:
            repaired = drift.remove_additions()
    except PlatformError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(repaired),
        msg=_drift.summary(found),
        release=found.release,
        differences=[item.data() for item in found.differences],
        lines=[item.line() for item in found.differences],
        unseen=found.unseen,
        repaired=repaired,
        seconds=round(time.monotonic() - begun, 3),
    )


if __name__ == "__main__":
    main()
