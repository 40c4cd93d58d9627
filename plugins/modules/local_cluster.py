# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of twisterlab.platform.local_cluster; the work is done by the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: local_cluster
short_description: Look at, make or remove a kind cluster on this machine
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - One small step of the role M(twisterlab.platform.local_cluster) per O(state), so that each long step is a task of
    its own.
  - Shows a line on every change and at least every 15 seconds.
  - The cluster has a kubeconfig of its own below the cache folder; C(~/.kube/config) is never read or written.
  - Two hosts of the inventory may name the same cluster; the second waits for the first.
options:
  state:
    description:
      - V(info) says what is there. It changes nothing and needs no cluster.
      - V(docker) has a Docker daemon that answers, installing and starting it for root on Debian and Ubuntu.
      - V(source) decides where images come from.
      - V(present) makes the cluster or finishes what an interrupted run left.
      - V(absent) removes the cluster with its volumes and its kubeconfig, if it was made here.
    type: str
    required: true
    choices: [info, docker, source, present, absent]
  name:
    description: Name of the kind cluster.
    type: str
    default: twisterlab
  listen_address:
    description: Address of this machine on which the ingress controller is reached.
    type: str
    default: 127.0.0.1
  http_port:
    description: Port of this machine for HTTP.
    type: int
    default: 80
  https_port:
    description: Port of this machine for HTTPS.
    type: int
    default: 443
  image_source:
    description: Where images come from. V(auto) is for O(state=source) only and asks the registry of O(node_image)
        for at most three seconds.
    type: str
    default: auto
    choices: [auto, registry, built]
  node_image:
    description: Node image where images come from a registry.
    type: str
    default: ''
  registry:
    description: The user's registry for images built here, if there is one.
    type: str
    default: ''
  manifests:
    description: What is installed in the cluster, as lists of YAML texts with the keys V(registry) and V(built).
    type: dict
    default: {}
extends_documentation_fragment:
  - twisterlab.platform.cache
attributes:
  check_mode:
    description: Says what would be done.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: Changes nothing when the cluster is there.
    support: full
notes:
  - Runs on the controller.
"""

EXAMPLES = r"""
- name: Look at the local cluster
  twisterlab.platform.local_cluster:
    state: info
"""

RETURN = r"""
status:
  description: What is there.
  returned: with O(state=info), O(state=present) and O(state=absent)
  type: str
  sample: ready
image_source:
  description: Where the cluster's images come from; empty when there is no cluster.
  returned: always
  type: str
  sample: built
kubeconfig:
  description: Path of the cluster's kubeconfig.
  returned: with O(state=info), O(state=present) and O(state=absent)
  type: str
  sample: /home/me/.cache/twisterlab/clusters/twisterlab/kubeconfig
vars_file:
  description: A file of variables for the roles that follow.
  returned: with O(state=info), O(state=present) and O(state=absent)
  type: str
  sample: /home/me/.cache/twisterlab/clusters/twisterlab/vars.yml
name:
  description: Name of the cluster.
  returned: with O(state=info), O(state=present) and O(state=absent)
  type: str
  sample: twisterlab
msg:
  description: What was found or done.
  returned: always
  type: str
  sample: the local cluster twisterlab is ready
"""
