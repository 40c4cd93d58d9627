# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.logs; the action plugin of the same name shows the lines, and repeats it to follow."""

from __future__ import annotations

DOCUMENTATION = r"""
module: logs
short_description: Show the logs of a tier, its pods by time, secrets hidden
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Reads the logs of every container of some tiers and puts them in order of time. Of a container that crashed, the run before is shown too. Changes nothing.
  - Every value of the stack's Secrets is hidden, and so is what looks like a bearer token or an C(Authorization) header. Who may not read the Secret is refused.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  component:
    description: Tier, or V(mcp) or V(monitoring) for several. Empty is every tier.
    type: str
    default: ''
  lines:
    description: Lines of each container at most.
    type: int
    default: 100
  since:
    description: Only what is not older, for example V(90s), V(15m), V(2h) or V(1d). Empty is everything that is kept.
    type: str
    default: ''
  follow:
    description: Whether to go on showing what comes, until it is interrupted or O(follow_seconds) are over.
    type: bool
    default: false
  follow_seconds:
    description: How long to follow. 0 is until it is interrupted.
    type: int
    default: 0
  seconds:
    description: How long one call waits for new lines. Set by the action plugin.
    type: float
    default: 0
  cursors:
    description: Where the call before ended. Set by the action plugin.
    type: dict
    default: {}
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
"""

EXAMPLES = r"""
- name: The API's last lines
  twisterlab.platform.logs:
    component: api

- name: What the MCP servers said in the last quarter of an hour
  twisterlab.platform.logs:
    component: mcp
    since: 15m
    lines: 1000
"""

RETURN = r"""
msg:
  description: How many lines of how many containers there are.
  returned: always
  type: str
  sample: 200 lines of api
lines:
  description: The lines, oldest first.
  returned: success
  type: list
  elements: str
  sample: ["2026-11-23T09:00:00.123Z twisterlab-api-5d4f8-x2b9k api | started"]
notes:
  description: What must be known beside them, such as how a container ended or why it has no log.
  returned: success
  type: list
  elements: str
  sample: ["twisterlab-api-5d4f8-x2b9k/api ended with exit code 3 (Error) at 2026-11-23T08:59:59Z, restarts: 4"]
"""

import time

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _components, _kube, _logs
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused

POLL_SECONDS = 1.0


def main() -> None:
    """Read once or, for who follows, until something came."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            component={"type": "str", "default": ""},
            lines={"type": "int", "default": 100},
            since={"type": "str", "default": ""},
            follow={"type": "bool", "default": False},
            follow_seconds={"type": "int", "default": 0},
            seconds={"type": "float", "default": 0.0},
            cursors={"type": "dict", "default": {}},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    namespace, begun = params["namespace"], time.monotonic()
    try:
        components = _components.chosen(params["component"])
        since = _logs.span(params["since"])
        if params["lines"] < 1:
            raise Refused(f"twisterlab_logs_lines is {params['lines']}; write how many lines you want, at least 1.")
        cluster = _kube.Cluster(params)
        hide = _logs.hider(cluster, namespace)
        while True:
            found = _logs.look(cluster, namespace, components, params["lines"], since, params["cursors"], hide)
            if found.lines or time.monotonic() - begun >= params["seconds"]:
                break
            time.sleep(POLL_SECONDS)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    what = params["component"] or "every tier"
    module.exit_json(changed=False, msg=f"{len(found.lines)} lines of {what}", **_logs.data(found))


if __name__ == "__main__":
    main()
