# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of twisterlab.platform.cluster_images; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_images
short_description: Have images where a cluster finds them
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Looks names of the catalogue up, builds those that are built here and are missing, and loads them into the nodes
    of the local cluster or
    pushes them to a registry.
  - An image of the user's own that this machine's Docker has is loaded into the local cluster too.
  - Shows a line on every change and at least every 15 seconds.
options:
  names:
    description: Names of the catalogue.
    type: list
    elements: str
    required: true
  source:
    description: Upstream's images, or those built from C(images/).
    type: str
    required: true
    choices: [registry, built]
  overrides:
    description: References of the user's own, by name. They win.
    type: dict
    default: {}
  registry:
    description: Where images built here are pushed to; part of their references.
    type: str
    default: ''
  mirror:
    description: What takes the place of the registry's host in upstream references.
    type: str
    default: ''
  local_cluster:
    description: Name of the local cluster. Empty for another cluster.
    type: str
    default: ''
extends_documentation_fragment:
  - twisterlab.platform.cache
attributes:
  check_mode:
    description: Says what would be loaded or pushed.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: What is there is not moved again.
    support: full
notes:
  - Runs on the controller.
"""

EXAMPLES = r"""
- name: Have the images of Postgres and Redis in the local cluster
  twisterlab.platform.cluster_images:
    names: [postgres, redis]
    source: built
    local_cluster: twisterlab
"""

RETURN = r"""
images:
  description: The reference of each name.
  returned: always
  type: dict
  sample: {postgres: "twisterlab/postgres:17-0123456789ab"}
moved:
  description: The references that were, or would be, loaded or pushed.
  returned: always
  type: list
  elements: str
  sample: ["twisterlab/postgres:17-0123456789ab"]
msg:
  description: What was done.
  returned: always
  type: str
  sample: every image is where it is used
"""
