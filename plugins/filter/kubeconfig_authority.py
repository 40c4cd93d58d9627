# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter twisterlab.platform.kubeconfig_authority."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _kubeconfig

DOCUMENTATION = r"""
name: kubeconfig_authority
short_description: The certificate authority of the cluster that a kubeconfig leads to
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Tells whether two kubeconfigs lead to one cluster, whoever's they are, since each cluster has an authority of its own. No cluster is asked.
options:
  _input:
    description: The kubeconfig's text.
    type: str
    required: true
  context:
    description: The context. Empty is the file's current one.
    type: str
    default: ''
"""

EXAMPLES = r"""
- name: Whether this is the local cluster
  ansible.builtin.debug:
    msg: "{{ mine | twisterlab.platform.kubeconfig_authority == local | twisterlab.platform.kubeconfig_authority }}"
  vars:
    mine: "{{ lookup('ansible.builtin.file', '~/clusters/deployer.yml') }}"
    local: "{{ lookup('ansible.builtin.file', '~/.cache/twisterlab/clusters/twisterlab/kubeconfig') }}"
"""

RETURN = r"""
_value:
  description: The authority as the file writes it; empty when it names none.
  type: str
"""


def kubeconfig_authority(text: str, context: str = "") -> str:
    """The authority; see DOCUMENTATION."""
    return _kubeconfig.authority(str(text), str(context or ""))


class FilterModule:
    """The filter of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filter by its name."""
        return {"kubeconfig_authority": kubeconfig_authority}
