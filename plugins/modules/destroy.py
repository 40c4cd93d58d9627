# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.destroy; the action plugin of the same name repeats it and shows progress."""

from __future__ import annotations

DOCUMENTATION = r"""
module: destroy
short_description: Remove the stack from a namespace and say what stays
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Deletes every object that carries our two labels, C(app.kubernetes.io/part-of=twisterlab) and
    C(app.kubernetes.io/managed-by=twisterlab.platform), and waits until its pods are gone. Nothing else is touched.
  - Volume claims, the Secret, the release records and the namespace stay, and so does what carries the annotation C(twisterlab.io/keep=true).
    A later deploy finds its data again.
  - With O(purge) these go too. The namespace is deleted only if we made it and nothing of others is in it.
  - Takes the hold of a release; it refuses while somebody releases to the namespace.
options:
  namespace:
    description: Namespace to remove the stack from. When it does not exist there is nothing to do.
    type: str
    required: true
  purge:
    description: Remove volumes, secrets, records and the namespace too. What they held is lost.
    type: bool
    default: false
  confirm:
    description: The namespace's name again. Required with O(purge).
    type: str
    default: ''
  timeout:
    description: Seconds to wait for the pods, the volumes and the namespace to be gone.
    type: float
    default: 300
  holder:
    description: Who destroys. Set by the action plugin.
    type: dict
  seconds:
    description: How long one call waits at most. Set by the action plugin.
    type: float
    default: 10
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
- name: Remove the workloads and keep the data
  twisterlab.platform.destroy:
    namespace: twisterlab

- name: Remove everything
  twisterlab.platform.destroy:
    namespace: twisterlab
    purge: true
    confirm: twisterlab
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, what is wrong and what to do.
  returned: always
  type: str
  sample: "31 objects removed from namespace twisterlab; kept: PersistentVolumeClaim/postgres-data (data; -e twisterlab_purge=true removes it)"
deleted:
  description: What was (or would be) removed.
  returned: success
  type: list
  elements: str
  sample: [Deployment/twisterlab-api]
kept:
  description: What stays, with the reason.
  returned: success
  type: list
  elements: dict
  sample: [{object: PersistentVolumeClaim/postgres-data, reason: data}]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _destroy, _kube, _lease
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError


def main() -> None:
    """Delete, and wait for a while."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "required": True},
            purge={"type": "bool", "default": False},
            confirm={"type": "str", "default": ""},
            timeout={"type": "float", "default": 300.0},
            holder={"type": "dict"},
            seconds={"type": "float", "default": 10.0},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    namespace = params["namespace"]
    try:
        _destroy.confirm(params["purge"], params["confirm"], namespace)
        holder = _lease.holder_from(params["holder"])
        removal = _destroy.Destroy(
            _kube.Cluster(params), _kube.RealClock(), namespace, holder, params["purge"], module.check_mode
        ).run(params["seconds"])
    except PlatformError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(removal.deleted),
        msg=_destroy.text(removal, namespace, module.check_mode),
        absent=removal.absent,
        deleted=removal.deleted,
        kept=[{"object": title, "reason": why} for title, why in removal.kept],
        left=removal.left,
        waiting=removal.waiting,
    )


if __name__ == "__main__":
    main()
