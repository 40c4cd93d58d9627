# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: what every module of the release path supports."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes; a module says the support itself where it differs."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what it would change, without changing it.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in check mode), with secrets hidden, when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
  action:
    description: Part of it runs on the controller, so that it can show progress and read files of the run.
"""
