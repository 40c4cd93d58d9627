# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.preflight; the action plugin of the same name shows its line."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Say which cluster it is and whether a release can succeed there
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Shows one line with server, context and namespace before anything else is done, and checks that the server answers, accepts the credentials and is of a
    supported version; that the namespace is ours to use; that the credentials allow what a release does; that the storage class exists; and that a node is
    ready for our pods. The first thing that is wrong ends the task with one sentence that says what to do.
  - A namespace that exists and was not made by this collection is used only if it carries the label C(twisterlab.io/managed=true). It is then never relabelled
    or deleted.
  - What the credentials may not read is not checked, and listed in RV(unchecked).
options:
  namespace:
    description: Namespace that the release goes to. It need not exist.
    type: str
    required: true
  storage_class:
    description: Storage class of the volumes. Empty is the cluster's default.
    type: str
    default: ''
  storage_classes:
    description:
      - The class that each tier with a volume names itself, by the tier. An empty one is O(storage_class).
      - Without it only O(storage_class) is looked for.
    type: dict
  volumes:
    description: Whether the release needs volumes.
    type: bool
    default: true
  ingress_class:
    description: Class of the Ingresses of the release. Empty when it makes none.
    type: str
    default: ''
  gateway:
    description: The Gateway of the release's HTTPRoutes. Without it there are none.
    type: dict
    suboptions:
      class_name:
        description: Class of the Gateway that the release makes. Empty when O(gateway.name) exists.
        type: str
        default: ''
      name:
        description: Name of one that exists.
        type: str
        default: ''
      namespace:
        description: Its namespace. Empty is O(namespace).
        type: str
        default: ''
      sections:
        description: Names of the listeners that it must have.
        type: list
        elements: str
        default: []
  node_selector:
    description: Labels that a node must carry to run our pods.
    type: dict
    default: {}
  roles:
    description: Whether the release makes Roles.
    type: bool
    default: false
  cluster_roles:
    description:
      - The tiers that need a ClusterRole, named C(<namespace>-<tier>). Who may not make ClusterRoles needs them there, made by C(playbooks/bootstrap.yml).
    type: list
    elements: str
    default: []
  policies:
    description: How the release's network policies allow the API server, which is refused if it is elsewhere. Without it there are no policies.
    type: dict
    suboptions:
      ranges:
        description: Address ranges.
        type: list
        elements: str
        required: true
      ports:
        description: Ports.
        type: list
        elements: int
        required: true
  release:
    description: Whether a release follows. With V(false) only the server and the credentials are checked, and the line is shown.
    type: bool
    default: true
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Look at the cluster
  twisterlab.platform.preflight:
    namespace: "{{ twisterlab_namespace }}"
    storage_class: "{{ twisterlab_storage_class }}"
    node_selector: "{{ twisterlab_node_selector }}"
"""

RETURN = r"""
msg:
  description: The line that was shown or, with a failure, what is wrong and what to do.
  returned: always
  type: str
  sample: cluster https://127.0.0.1:6443, context kind-twisterlab, namespace twisterlab
server:
  description: Address of the API server.
  returned: success
  type: str
  sample: https://127.0.0.1:6443
context:
  description: Context of the kubeconfig.
  returned: success
  type: str
  sample: kind-twisterlab
version:
  description: Version of the API server.
  returned: success
  type: str
  sample: v1.37.1
namespace_state:
  description: V(absent), V(ours), V(lent) (somebody else made it and allows us to use it) or V(unknown) (it may not be read).
  returned: success
  type: str
  sample: ours
unchecked:
  description: Checks that could not be made, with the reason.
  returned: success
  type: list
  elements: str
  sample: ["nodes: no permission to list them"]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _kube, _preflight
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, PlatformError


def main() -> None:
    """Run the checks."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "required": True},
            storage_class={"type": "str", "default": ""},
            storage_classes={"type": "dict"},
            volumes={"type": "bool", "default": True},
            node_selector={"type": "dict", "default": {}},
            ingress_class={"type": "str", "default": ""},
            gateway={
                "type": "dict",
                "options": {
                    "class_name": {"type": "str", "default": ""},
                    "name": {"type": "str", "default": ""},
                    "namespace": {"type": "str", "default": ""},
                    "sections": {"type": "list", "elements": "str", "default": []},
                },
            },
            roles={"type": "bool", "default": False},
            cluster_roles={"type": "list", "elements": "str", "default": []},
            policies={
                "type": "dict",
                "options": {
                    "ranges": {"type": "list", "elements": "str", "required": True},
                    "ports": {"type": "list", "elements": "int", "required": True},
                },
            },
            release={"type": "bool", "default": True},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    namespace, line = module.params["namespace"], ""
    try:
        where = _kube.settings(module.params)
        context = _preflight.describe_context(where)
        cluster = _kube.Cluster(module.params, read_seconds=15.0, attempts=1)
        line = f"cluster {cluster.server}, context {context}, namespace {namespace}"
        checks = _preflight.Preflight(
            cluster,
            namespace,
            module.params["storage_class"],
            module.params["volumes"],
            module.params["node_selector"],
            module.params["roles"],
            module.params["cluster_roles"],
            module.params["ingress_class"],
            module.params["policies"],
            module.params["gateway"],
            module.params["storage_classes"],
        )
        try:
            found = checks.run() if module.params["release"] else checks.greet()
        except ApiError as error:
            if error.status != 401:
                raise
            sentence = _preflight.denied_sentence(cluster.server, where, cluster.configuration, cluster.now())
            module.fail_json(msg=sentence, line=line)
    except PlatformError as error:
        module.fail_json(msg=str(error), line=line)
    for sentence in found.warnings:
        module.warn(sentence)
    module.exit_json(
        changed=False,
        msg=line,
        line=line,
        server=cluster.server,
        context=context,
        version=found.version,
        namespace_state=found.namespace_state,
        unchecked=found.skipped,
        api_calls=cluster.calls,
        api_seconds=round(cluster.seconds, 3),
    )


if __name__ == "__main__":
    main()
