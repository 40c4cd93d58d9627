# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation fragment: options of the modules that talk to a cluster, beside kubernetes.core's own."""

from __future__ import annotations


class ModuleDocFragment:
    """The option `cluster`, and what "given" means."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - Where the cluster comes from. V(given) and V(local) use O(kubeconfig), O(context), O(host) or the C(K8S_AUTH_*) variables
        and refuse to run without one of them.
      - V(current) also accepts what kubectl would use, that is C($KUBECONFIG), C(~/.kube/config) or the account of the pod it runs in.
    type: str
    choices: [local, given, current]
    default: given
requirements:
  - python >= 3.11
  - kubernetes >= 24.2.0
  - PyYAML >= 3.11
notes:
  - Authentication is that of M(kubernetes.core.k8s), so C(module_defaults) of the group C(group/twisterlab.platform.k8s) and C(K8S_AUTH_*) work.
"""
