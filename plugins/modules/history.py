# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.history; the action plugin of the same name shows it as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
module: history
short_description: List the releases of a stack
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Reads the release records, that is the last ten (and the last healthy one), and lists number, time, who released, how it ended, what changed and why it failed. Changes nothing.
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
  - module: twisterlab.platform.release
"""

EXAMPLES = r"""
- name: List the releases
  twisterlab.platform.history:
    namespace: twisterlab
"""

RETURN = r"""
msg:
  description: How many releases there are.
  returned: always
  type: str
  sample: "Namespace twisterlab: 7 releases recorded"
releases:
  description: The releases, newest first.
  returned: success
  type: list
  elements: dict
  sample:
    - number: 7
      status: healthy
      user: ann@build1
      started: "2026-11-23T09:00:00Z"
      ended: "2026-11-23T09:00:41Z"
      seconds: 41.0
      components: [api]
      created: []
      changed: [Deployment/twisterlab-api]
      deleted: []
      images_changed: {Deployment/twisterlab-api/api: [registry.example/api:4.1, registry.example/api:4.2]}
      reason: ''
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _history, _kube
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError


def main() -> None:
    """Read the records."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            format={"type": "str", "choices": ["screen", "json"], "default": "screen"},
            dest={"type": "path"},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    namespace = module.params["namespace"]
    try:
        releases = _history.with_seconds(_history.collect(_kube.Cluster(module.params), namespace))
    except PlatformError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, msg=f"{len(releases)} releases recorded", releases=releases)


if __name__ == "__main__":
    main()
