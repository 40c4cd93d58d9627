# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.stage_record; the action plugin of the same name writes the stage."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage_record
short_description: Stage what a recorded release held, for the next release
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Reads a record that M(twisterlab.platform.release) wrote and stages its components on the controller, as M(twisterlab.platform.stage) stages rendered ones. So a
    rollback is a release like every other; it is planned, applied in order, judged and recorded.
  - Volume claims stay as they are today, as a volume neither shrinks nor changes its class. Records hold no Secret, so the Secrets stay as well.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  release:
    description:
      - Number of the release.
      - V(newest) is the last one, V(healthy) the last one that was healthy, V(previous) the healthy one before what runs now.
    type: str
    default: previous
  components:
    description: Which components. None is all; V(mcp) is both agents.
    type: list
    elements: str
    default: []
  image:
    description: Image for the components' own program, in the place of the one on record.
    type: str
    default: ''
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
attributes:
  check_mode:
    description: It changes nothing in the cluster.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Stage what ran before
  twisterlab.platform.stage_record:
    namespace: twisterlab

- name: Stage the API with another image
  twisterlab.platform.stage_record:
    release: healthy
    components: [api]
    image: registry.example/team/api:1.4.2
"""

RETURN = r"""
msg:
  description: What was staged.
  returned: success
  type: str
  sample: release 6 of 2026-11-26T10:00:00Z (api, postgres)
release:
  description: Number of the release.
  returned: success
  type: int
  sample: 6
components:
  description: Names of the staged components.
  returned: success
  type: list
  elements: str
  sample: [api]
images:
  description: The image of each component's own program, by component.
  returned: success
  type: dict
  sample: {api: registry.example/team/api:1.4.2}
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _kube, _past, _record
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError


def main() -> None:
    """Read the record."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            release={"type": "str", "default": _past.PREVIOUS},
            components={"type": "list", "elements": "str", "default": []},
            image={"type": "str", "default": ""},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    try:
        records = _record.Records(_kube.Cluster(params), params["namespace"])
        record, found = _past.past(
            records, params["release"], params["components"], params["image"], params["namespace"]
        )
    except PlatformError as error:
        module.fail_json(msg=str(error))
    number, summary = _record.number_of(record), _record.summary_of(record)
    names = [item.component for item in found]
    module.exit_json(
        changed=False,
        msg=f"release {number} of {summary.get('started', '')} ({', '.join(names)})",
        release=number,
        components=names,
        images={item.component: image for item in found if (image := _past.image_of(item))},
        staged=[asdict(item) for item in found],
    )


if __name__ == "__main__":
    main()
