# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of twisterlab.platform.check_inputs; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: check_inputs
short_description: Refuse wrong inputs, all of them at once
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Compares the variables of the host with what the roles' argument specs declare, before anything is rendered.
  - Every mistake is one sentence that says what is wrong, where, and what to write instead.
  - A variable that starts with C(twisterlab_), or is within two edits of an input, and is not known is refused with a
    suggestion. Others are ignored and never evaluated.
options:
  cluster_required:
    description: Whether a cluster must be named, by an input or by C(K8S_AUTH_*) variables.
    type: bool
    default: false
attributes:
  check_mode:
    description: Runs in check mode as it does otherwise.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
notes:
  - Runs on the controller and never talks to a cluster.
"""

EXAMPLES = r"""
- name: Check the inputs
  twisterlab.platform.check_inputs:
    cluster_required: true
"""

RETURN = r"""
msg:
  description: How many inputs were checked or, with a failure, what is wrong.
  returned: always
  type: str
  sample: twisterlab_namspace is not an input; write twisterlab_namespace.
"""
