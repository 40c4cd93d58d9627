# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.port_forward; the action plugin of the same name shows the commands, or runs them for a while."""

from __future__ import annotations

DOCUMENTATION = r"""
module: port_forward
short_description: How every Service is reached from this machine
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Lists the exact command that opens each Service of the stack, on the loopback interface only, with the address it then has. Changes nothing.
  - With O(seconds) the action plugin runs them on the controller for that time and ends them afterwards.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  component:
    description: Tier, or V(mcp) or V(monitoring) for several. Empty is every tier.
    type: str
    default: ''
  seconds:
    description: How long the action plugin holds the ports open. 0 opens none. Needs kubectl on the controller.
    type: int
    default: 0
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: Opens nothing in check mode.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: List the commands
  twisterlab.platform.port_forward:
    namespace: twisterlab

- name: Hold the API's port open for an hour
  twisterlab.platform.port_forward:
    component: api
    seconds: 3600
"""

RETURN = r"""
msg:
  description: A summary.
  returned: always
  type: str
  sample: 9 ports of 8 Services
ways:
  description: Every port of every Service.
  returned: success
  type: list
  elements: dict
  sample:
    - service: twisterlab-api
      component: api
      port: 8000
      local: 8000
      address: http://127.0.0.1:8000/docs
      command: kubectl -n twisterlab port-forward --address=127.0.0.1 service/twisterlab-api 8000:8000
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _components, _forward, _kube
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds as kinds
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused


def main() -> None:
    """Read the Services."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            component={"type": "str", "default": ""},
            seconds={"type": "int", "default": 0},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    namespace = params["namespace"]
    try:
        components = _components.chosen(params["component"])
        where = _kube.settings(params)
        if where["host"] and not where["kubeconfig"] or isinstance(where["kubeconfig"], dict):
            raise Refused(
                "kubectl needs a kubeconfig, and the cluster is given by an address; set twisterlab_kubeconfig."
            )
        cluster = _kube.Cluster(params)
        found = _forward.ways(cluster.list(kinds.SERVICE, namespace, labels=objects.OURS_SELECTOR), components)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    kubectl = _kube.kubectl(params, namespace)
    told = [way.data(kubectl) for way in found]
    services = len({way.service for way in found})
    module.exit_json(changed=False, msg=f"{len(told)} ports of {services} Services", ways=told, kubectl=kubectl)


if __name__ == "__main__":
    main()
