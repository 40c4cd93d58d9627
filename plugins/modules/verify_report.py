# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of twisterlab.platform.verify_report; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verify_report
short_description: Write what a verification found, and conclude it
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Writes C(report.html), a page of its own with every check, its evidence and the plots, C(report.json), and C(junit.xml) for CI servers.
  - Fails with a sentence for each failed check, after the files are written. A folder that cannot be written is told and fails nothing.
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  checks:
    description: What was looked at, as the verifying modules return it.
    type: list
    elements: dict
    required: true
  plots:
    description: Plots of measurements, each with C(title), C(unit) and C(series) of C(name) and C(points) ([seconds, value]).
    type: list
    elements: dict
    default: []
  dest:
    description: Folder of the files. It is made when it is missing.
    type: path
    required: true
  started:
    description: When the verification began, as text (UTC).
    type: str
    default: ''
attributes:
  check_mode:
    description: Concludes, and writes nothing.
    support: full
  diff_mode:
    description: A report is new each time.
    support: none
  idempotent:
    description: Each verification has a report of its own, so the files are written each time; the task never counts as changed.
    support: full
extends_documentation_fragment:
  - twisterlab.platform.attributes
notes:
  - Runs on the controller.
"""

EXAMPLES = r"""
- name: Conclude
  twisterlab.platform.verify_report:
    checks: "{{ verified.checks }}"
    dest: build/verify
"""

RETURN = r"""
msg:
  description: A summary and where the report is or, with a failure, a sentence for everything that is wrong.
  returned: always
  type: str
  sample: "112 checks: 112 ok, 0 failed, 0 skipped. Report: /srv/twisterlab/build/verify/local/report.html"
report:
  description: Path of the page; empty when it could not be written.
  returned: always
  type: str
  sample: /srv/twisterlab/build/verify/local/report.html
"""
