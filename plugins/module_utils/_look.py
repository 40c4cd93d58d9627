# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that looks at one namespace and answers with checks, redacted; what differs is how it looks."""

from __future__ import annotations

from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from . import _checks, _health, _kube, _reach, _status
from ._checks import Check
from ._errors import PlatformError


def answer(look: Callable[[_kube.Cluster, str, float], list[Check]]) -> None:
    """Be the module.

    Args:
        look: takes the cluster, the namespace and the seconds that one request may take.
    """
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            timeout={"type": "float", "default": 10.0},
            conclude={"type": "bool", "default": True},
        ),
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR or _reach.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR or _reach.IMPORT_ERROR)
    _kube.hide(module)
    namespace = module.params["namespace"]
    try:
        cluster = _kube.Cluster(module.params)
        hide = _health.redactor(cluster, namespace)
        checks = [_status.redacted(check.data(), hide) for check in look(cluster, namespace, module.params["timeout"])]
    except PlatformError as error:
        module.fail_json(msg=str(error), checks=[])
    _checks.leave(module, checks)
