# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.autoscaling_verify; the action plugin of the same name repeats it and shows progress."""

from __future__ import annotations

DOCUMENTATION = r"""
module: autoscaling_verify
short_description: Put an autoscaler under load from inside the cluster, and prove that pods come, serve and go again
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Waits until the autoscaler is at rest, starts a pod that asks the Service, and ends the load as soon as the replicas rose and the new ones served for a while, or after
    O(load_seconds). Then watches the way back, which may take the autoscaler's window for scaling down, a minute a pod and two minutes more.
  - Checked are that there are figures, that replicas rise, that the new ones become ready, that no request fails, that the replicas settle back to the minimum, and that
    they rise only under the load and fall only after it.
  - The pod has neither token nor ports, is found by no Service and meets the C(restricted) Pod Security Standard. It is removed in any case; one that an interrupted run
    left ends by itself and is removed by the next run.
  - An autoscaler that is not there, or that may run one number of pods only, is refused in one sentence.
  - Needs the rights to get horizontalpodautoscalers, deployments and pods/log, and to get, list, create and delete pods.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  autoscaler:
    description: Name of the HorizontalPodAutoscaler. It must scale a Deployment and look at the processor time.
    type: str
    default: twisterlab-api-hpa
  service:
    description: Name of the Service that is asked.
    type: str
    default: twisterlab-api
  port:
    description: Port of the Service.
    type: int
    default: 8000
  path:
    description: Path that is asked with GET. An answer of 400 and more is a failure.
    type: str
    default: /health
  image:
    description: Image of the load's pod; it must have C(python) 3.8 or newer. Empty is the image of the Deployment under load.
    type: str
    default: ''
  rate:
    description: Requests a second. V(0) is as many as O(connections) allow.
    type: float
    default: 200
  connections:
    description: Connections at once. Each is renewed every few seconds, so that new pods get their share.
    type: int
    default: 8
  load_seconds:
    description: Seconds that the load lasts at most.
    type: int
    default: 240
  settle_seconds:
    description: Seconds to wait for rest before the load.
    type: float
    default: 600
  served_seconds:
    description: Seconds that the new pods serve before the load ends.
    type: float
    default: 20
  conclude:
    description: Whether a failed check, or a refusal, fails the task. With V(false) it stands in RV(checks) alone.
    type: bool
    default: true
  seconds:
    description: How long one call looks at most. Set by the action plugin.
    type: float
    default: 8
  memory:
    description: What the call before left. Set by the action plugin.
    type: dict
    default: {}
  remove:
    description: Only remove the load's pod. Set by the action plugin.
    type: bool
    default: false
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Starts nothing and is skipped.
    support: full
  diff_mode:
    support: none
  idempotent:
    description: Leaves nothing behind and never reports a change.
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Prove that the API scales
  twisterlab.platform.autoscaling_verify:
    namespace: twisterlab

- name: Prove it for the orchestrator, whose autoscaler is switched on, and only note what fails
  twisterlab.platform.autoscaling_verify:
    autoscaler: mcp-orchestrator-hpa
    service: mcp-orchestrator
    port: 8080
    rate: 0
    conclude: false
  register: proof
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, a sentence for every check that failed.
  returned: always
  type: str
  sample: "8 checks: 8 ok, 0 failed, 0 skipped"
checks:
  description: The verdicts in the order of what happened; with a failure only those that failed.
  returned: always
  type: list
  elements: dict
  sample:
    - name: replicas rise
      tag: autoscaling
      state: ok
      seconds: 48.2
      evidence: 2 -> 4 within 48 s at 96 requests/s, cpu 160 % of 70 %
plots:
  description: Load, replicas, latency and processor time over the seconds since the load began. Empty with a failure.
  returned: always
  type: list
  elements: dict
  sample:
    - title: Replicas
      unit: pods
      series:
        - name: desired
          points: [[0.4, 2], [48.2, 4]]
        - name: ready
          points: [[0.4, 2], [48.2, 2]]
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _autoscaling, _kube
from ansible_collections.twisterlab.platform.plugins.module_utils._autoscaling_facts import Memory
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused


def main() -> None:
    """Look on for one call."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            autoscaler={"type": "str", "default": "twisterlab-api-hpa"},
            service={"type": "str", "default": "twisterlab-api"},
            port={"type": "int", "default": 8000},
            path={"type": "str", "default": "/health"},
            image={"type": "str", "default": ""},
            rate={"type": "float", "default": 200.0},
            connections={"type": "int", "default": 8},
            load_seconds={"type": "int", "default": 240},
            settle_seconds={"type": "float", "default": 600.0},
            served_seconds={"type": "float", "default": 20.0},
            conclude={"type": "bool", "default": True},
            seconds={"type": "float", "default": 8.0},
            memory={"type": "dict", "default": {}},
            remove={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    if module.check_mode:
        module.exit_json(changed=False, skipped=True, msg="nothing is put under load in check mode")
    params = module.params
    memory = Memory.of(params["memory"])
    try:
        options = _autoscaling.options_of(params)
        cluster = _kube.Cluster(params)
        if params["remove"]:
            module.exit_json(
                changed=False, msg="removed", removed=_autoscaling.remove_all(cluster, params["namespace"])
            )
        proof = _autoscaling.Proof(cluster, _kube.RealClock(), options, memory)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    try:
        look = proof.run(params["seconds"])
    except Refused as error:
        # Of the cluster's state, so it may stand in a report.
        module.fail_json(msg=str(error), refused=True)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, msg=look.status, memory=memory.data(), **asdict(look))


if __name__ == "__main__":
    main()
