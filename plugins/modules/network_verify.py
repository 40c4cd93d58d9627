# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.network_verify; the action plugin of the same name shows a line a check and leaves no pod behind."""

from __future__ import annotations

DOCUMENTATION = r"""
module: network_verify
short_description: Prove that every allowed connection works and every other one does not
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Starts one pod with each tier's labels, all at once, and lets each try every tier, the cluster's DNS, the API server, the kubelets and a Service of another
    namespace. An edge of the map must connect, by the Service and by the pods' addresses; everything else must not.
  - Three more pods are no tier. One carries our labels and no tier's, one is a stranger in the namespace, one stands in the ingress controller's namespace.
  - A refusal counts only if somebody else reached the same target in the same run. If nothing at all is refused, the cluster's network plugin does not enforce
    NetworkPolicies, and that is a failure.
  - The pods meet the C(restricted) Pod Security Standard, have no token, are found by no Service and are removed in any case. Those that an interrupted run left end
    by themselves and are removed by the next run.
  - What the kubelet asks (probes) and what comes by port-forward does not pass policies, and is not looked at.
  - Needs the rights to list services, pods and networkpolicies, to get deployments, and to create and delete pods. What may not be read or started in other namespaces is
    skipped, and said.
options:
  map:
    description: Who may talk to whom, as the filter P(twisterlab.platform.network_map#filter) makes it.
    type: dict
    required: true
  enabled:
    description: Whether there are policies. With V(false) nothing is tried, and the one check says so.
    type: bool
    default: true
  image:
    description: Image of the pods; it must have C(python) 3.8 or newer. Empty is the image of an MCP agent, or else of the API.
    type: str
    default: ''
  connect_seconds:
    description: Seconds after which a connection without an answer counts as refused.
    type: float
    default: 2
  settle_seconds:
    description: Seconds that the policies may take to hold for a new pod. Only what is not as it should be is waited for that long.
    type: float
    default: 60
  start_seconds:
    description: Seconds that the pods may take to start.
    type: float
    default: 60
  conclude:
    description: Whether a failed check fails the task. With V(false) only RV(checks) says so.
    type: bool
    default: true
  remove:
    description: Only remove the pods. Set by the action plugin.
    type: bool
    default: false
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Starts nothing, and the one check says so.
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
- name: Prove who may talk to whom
  twisterlab.platform.network_verify:
    map: "{{ __twisterlab_network | twisterlab.platform.network_map }}"
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, a sentence for every check that failed.
  returned: always
  type: str
  sample: "network allowed edge api -> postgres:5432: 10.96.4.7:5432 refused the connection, and the map allows it; see kubectl get networkpolicies"
checks:
  description: The verdicts, one for every edge and one for every pair without an edge.
  returned: always
  type: list
  elements: dict
  sample:
    - name: allowed edge api -> postgres:5432
      tag: network
      state: ok
      seconds: 0.002
      evidence: connected in 2 ms
    - name: refused edge redis -> postgres:5432
      tag: network
      state: ok
      seconds: 0.0
      evidence: no answer in 2 s
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _checks, _edges, _kube, _network
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError


def main() -> None:
    """Verify."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            map={"type": "dict", "required": True},
            enabled={"type": "bool", "default": True},
            image={"type": "str", "default": ""},
            connect_seconds={"type": "float", "default": 2.0},
            settle_seconds={"type": "float", "default": 60.0},
            start_seconds={"type": "float", "default": 60.0},
            conclude={"type": "bool", "default": True},
            remove={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    try:
        network = _edges.Map.of(params["map"])
    except (KeyError, TypeError, ValueError) as error:
        module.fail_json(msg=f"map is not what the filter twisterlab.platform.network_map makes ({error!r}).")
    options = _network.Options(
        params["image"], params["connect_seconds"], params["settle_seconds"], params["start_seconds"]
    )
    try:
        cluster = _kube.Cluster(params)
        if params["remove"]:
            module.exit_json(changed=False, msg="removed", removed=_network.remove_all(cluster, network), checks=[])
        if module.check_mode:
            found = _network.nothing("nothing is tried in check mode")
        elif not params["enabled"]:
            found = _network.nothing("there are no network policies, so every pod of the cluster reaches every tier")
        else:
            found = _network.Proof(cluster, _kube.RealClock(), network, options).run()
    except PlatformError as error:
        module.fail_json(msg=str(error), checks=[])
    checks = [check.data() for check in found]
    _checks.leave(module, checks)


if __name__ == "__main__":
    main()
