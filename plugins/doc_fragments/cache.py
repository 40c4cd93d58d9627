# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: where the modules that build things on the controller keep them."""

from __future__ import annotations


class ModuleDocFragment:
    """The option `cache_dir`."""

    DOCUMENTATION = r"""
options:
  cache_dir:
    description: Cache folder. Empty is C($TWISTERLAB_CACHE_DIR), C($XDG_CACHE_HOME/twisterlab) or C(~/.cache/twisterlab).
    type: path
    default: ''
"""
