# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.stack_health; the action plugin of the same name repeats it and shows progress."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_health
short_description: Wait until everything of ours is ready, and say at once what is broken
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Judges every Deployment, StatefulSet, DaemonSet, Job, volume claim, autoscaler and pod of ours in a namespace in three states, that is ready, waiting and broken.
  - Something broken ends the wait at once with pod, container, reason, image and the last log lines, every value of the Secret hidden. Broken are an image that is
    not found or denied, a container that cannot be made, pods that admission or a quota refuses, a rollout past its deadline, a failed Job and a lost volume
    claim; a crash loop once everything that the pod declared to need was ready before it crashed again; and an unschedulable pod or an unbound volume
    after O(grace).
  - Pods of an older ReplicaSet or revision are not judged. An autoscaler is ready when it has a figure for each of its metrics.
  - When the time is up, the last verdict on everything that is not ready is returned.
options:
  namespace:
    description: Namespace to look at.
    type: str
    required: true
  components:
    description: Only these components decide. Empty means everything of ours.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds that all may take together.
    type: float
    default: 600
  grace:
    description: Seconds that a pod may be unschedulable, or a volume unbound, before it counts as broken.
    type: float
    default: 10
  release:
    description: Number of the release record to conclude with the verdict; 0 for none.
    type: int
    default: 0
  conclude:
    description: Whether the verdict ends a release, that is concludes its record and ends its hold.
    type: bool
    default: false
  lease:
    description: Whether to renew the hold of this run while waiting.
    type: bool
    default: false
  holder:
    description: Who releases. Set by the action plugin.
    type: dict
  seconds:
    description: How long one call looks at most. Set by the action plugin.
    type: float
    default: 10
  elapsed:
    description: Seconds that have gone already. Set by the action plugin.
    type: float
    default: 0
  memory:
    description: What the judge remembers. Set by the action plugin.
    type: dict
    default: {}
  shown:
    description: The line shown last. Set by the action plugin.
    type: str
    default: ''
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Looks in check mode as it does otherwise, but concludes nothing.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
seealso:
  - module: twisterlab.platform.release
"""

EXAMPLES = r"""
- name: Wait for everything of ours
  twisterlab.platform.stack_health:
    namespace: twisterlab

- name: Wait two minutes for Postgres alone
  twisterlab.platform.stack_health:
    namespace: twisterlab
    components: [postgres]
    timeout: 120
"""

RETURN = r"""
msg:
  description: The whole picture in one line or, with a failure, what is broken and why.
  returned: always
  type: str
  sample: all 12 objects ready
state:
  description: V(ready), V(broken) or V(timeout).
  returned: always
  type: str
  sample: ready
checks:
  description: The last verdict on every object, worst first.
  returned: always
  type: list
  elements: dict
  sample:
    - title: Deployment/twisterlab-api
      component: api
      state: broken
      reason: "ImagePullBackOff: Back-off pulling image"
      pod: twisterlab-api-5d4f8-x2b9k
      container: api
      image: localhost/none:1
      crashed: false
      logs: []
elapsed:
  description: Seconds since the beginning.
  returned: always
  type: float
  sample: 41.2
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _health, _kube, _lease
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError
from ansible_collections.twisterlab.platform.plugins.module_utils._judge import READY, WAITING, Judge
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records


def main() -> None:
    """Look at the namespace for a while."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "required": True},
            components={"type": "list", "elements": "str", "default": []},
            timeout={"type": "float", "default": 600.0},
            grace={"type": "float", "default": 10.0},
            release={"type": "int", "default": 0},
            conclude={"type": "bool", "default": False},
            lease={"type": "bool", "default": False},
            holder={"type": "dict"},
            seconds={"type": "float", "default": 10.0},
            elapsed={"type": "float", "default": 0.0},
            memory={"type": "dict", "default": {}},
            shown={"type": "str", "default": ""},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    namespace = params["namespace"]
    try:
        cluster = _kube.Cluster(params)
        holder = _lease.holder_from(params["holder"])
        lease = (
            _lease.Lease(cluster, namespace, holder)
            if (params["lease"] or params["conclude"]) and not module.check_mode
            else None
        )
        memory = {str(key): float(value) for key, value in params["memory"].items()}
        watch = _health.Watch(
            cluster,
            _kube.RealClock(),
            namespace,
            params["components"],
            Judge(params["grace"], memory),
            params["elapsed"],
            params["timeout"],
            lease,
            params["shown"],
        )
        outcome = watch.run(params["seconds"])
        text = _health.summary(outcome.checks)
        if outcome.state not in (READY, WAITING):
            _health.add_logs(cluster, namespace, outcome.checks)
            text = _health.report(outcome, namespace, params["timeout"])
        last_healthy: dict[str, object] = {}
        if params["conclude"] and outcome.state != WAITING and not module.check_mode:
            last_healthy = _health.conclude(Records(cluster, namespace), lease, params["release"], outcome, text)
    except PlatformError as error:
        module.fail_json(msg=str(error), state="unknown", checks=[])
    result = {
        "msg": text,
        "state": outcome.state,
        "checks": outcome.data(),
        "changes": outcome.changes,
        "elapsed": round(outcome.elapsed, 1),
        "memory": memory,
        "last_healthy": last_healthy,
        "api_calls": cluster.calls,
        "api_seconds": round(cluster.seconds, 3),
    }
    if outcome.state in (READY, WAITING):
        module.exit_json(changed=False, **result)
    module.fail_json(changed=False, **result)


if __name__ == "__main__":
    main()
