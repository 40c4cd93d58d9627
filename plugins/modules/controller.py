# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of twisterlab.platform.controller; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: controller
short_description: Have an automation controller hold templates, workflows and schedules of this collection
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Makes in AWX or AAP what the folder C(awx) of the collection says, with the modules of C(awx.awx) or C(ansible.controller), whichever is installed.
  - What is ours there and no longer in the data is named, and removed only when asked. Everything of ours has C((twisterlab.platform)) at the end of its description.
options:
  host:
    description: Address of the controller.
    type: str
    required: true
  token:
    description: Token of a user who may change the organisation. It never stands in a command line or an output.
    type: str
    required: true
  validate_certs:
    description: Whether the certificate of the controller is checked.
    type: bool
    default: true
  api_path:
    description: Path of the API without its version. Empty is C(/api) with C(awx.awx) and C(/api/controller) with C(ansible.controller).
    type: str
    default: ''
  collection:
    description: Collection whose modules are used. Empty is the first of the choices that is installed.
    type: str
    default: ''
    choices: ['', awx.awx, ansible.controller]
  organization:
    description: Organisation that holds everything.
    type: str
    required: true
  project_url:
    description: Address of the git repository that the controller reads.
    type: str
    required: true
  project_branch:
    description: Branch, tag or commit. Empty is the repository's own branch.
    type: str
    default: ''
  inventory_path:
    description: File or folder of the inventory in the repository.
    type: str
    default: inventories/production
  image:
    description: Image of the execution environment. Empty is the controller's own.
    type: str
    default: ''
  credentials:
    description: Credentials that every job gets, each with C(name), C(credential_type) and C(inputs).
    type: list
    elements: dict
    default: []
  update_secrets:
    description: Whether the secrets of credentials that exist are written again; the controller does not tell whether they differ.
    type: bool
    default: false
  notifications:
    description: Channels, each with C(name), C(notification_type) and C(notification_configuration).
    type: list
    elements: dict
    default: []
  data:
    description: Folder with files that replace those of the same name in the folder C(awx). Empty is none.
    type: path
    default: ''
  prune:
    description: Whether what is ours and no longer in the data is removed.
    type: bool
    default: false
attributes:
  check_mode:
    description: Says what would be changed and removed.
    support: full
  diff_mode:
    description: The modules of the controller show none.
    support: none
  idempotent:
    description: A second run changes nothing, unless O(update_secrets) is true.
    support: full
extends_documentation_fragment:
  - twisterlab.platform.attributes
notes:
  - Runs on the controller of Ansible.
"""

EXAMPLES = r"""
- name: Apply the data
  twisterlab.platform.controller:
    host: https://awx.example
    token: "{{ lookup('ansible.builtin.env', 'CONTROLLER_OAUTH_TOKEN') }}"
    organization: TwisterLab
    project_url: https://git.example/twisterlab.git
"""

RETURN = r"""
msg:
  description: How many objects there are, and how many were (or would be) changed and removed.
  returned: success
  type: str
  sample: 31 objects, 31 changed, 0 removed, 0 kept though no longer in the data
changed_objects:
  description: What was (or would be) made or changed.
  returned: success
  type: list
  elements: str
  sample: [job template TwisterLab deploy]
removed_objects:
  description: What was (or would be) removed.
  returned: success
  type: list
  elements: str
  sample: []
kept_objects:
  description: What is ours and no longer in the data, and stays.
  returned: success
  type: list
  elements: str
  sample: [schedule TwisterLab drift, every hour]
"""
