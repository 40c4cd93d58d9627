# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of twisterlab.platform.build_component; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_component
short_description: Make one folder of images/ from package registries
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Makes the programs, root file system, wheels and image that C(images/<component>/recipe.yml) describes, and what
    it needs.
  - Results are kept by the hash of everything that went into them. A half-made result never counts, and an
    interrupted run is continued.
  - Shows a line on every change and at least every 15 seconds.
options:
  component:
    description: Name of the folder.
    type: str
    required: true
  alongside:
    description: Folders whose root file system is fetched at the same time.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - twisterlab.platform.cache
attributes:
  check_mode:
    description: Says what would be made.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: What is there is not made again.
    support: full
notes:
  - Runs on the controller. Everything is fetched with the host's own settings of apt, pip and Go.
"""

EXAMPLES = r"""
- name: Build the node image
  twisterlab.platform.build_component:
    component: node
"""

RETURN = r"""
component:
  description: Name of the folder.
  returned: always
  type: str
  sample: node
image:
  description: Reference of its image; empty when the folder yields none.
  returned: always
  type: str
  sample: twisterlab/node:1.37.2-0123456789ab
msg:
  description: What was done.
  returned: always
  type: str
  sample: node made in 27 s
"""
