# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.check_inputs: refuse wrong inputs, all of them at once. Never talks to a cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.twisterlab.platform.plugins.module_utils import _inputs, _specs

ARGUMENTS = {"cluster_required": {"type": "bool", "default": False}}
GROUP = "clusters"
# What one cluster of the inventory is known by.
IDENTITY = (
    "twisterlab_cluster",
    "twisterlab_context",
    "twisterlab_domain",
    "twisterlab_kubeconfig",
    "twisterlab_local_cluster",
    "twisterlab_namespace",
)
AUTH_VARIABLES = ("K8S_AUTH_CONTEXT", "K8S_AUTH_HOST", "K8S_AUTH_KUBECONFIG")


class ActionModule(ActionBase):
    """Collect names and values of the inputs and hand them to the pure checks."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Check the inputs; see the module's documentation for the result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        root = _specs.collection_root()
        inputs = _specs.load_inputs(root)
        host = str(task_vars.get("inventory_hostname", ""))
        values = {name: self._evaluate(task_vars[name]) for name in inputs if name in task_vars}
        around = _inputs.Surroundings(
            images=_specs.image_names(root),
            cluster_required=arguments["cluster_required"],
            cluster_given=self._cluster_given(),
            hosts=self._hosts(task_vars, inputs),
            host=host,
        )
        sentences = _inputs.check(task_vars, values, inputs, around)
        if not sentences:
            return {"changed": False, "msg": f"{len(values)} inputs checked"}
        if len(sentences) == 1:
            raise AnsibleActionFail(sentences[0])
        lines = [f"{len(sentences)} things are wrong:", *(f"- {sentence}" for sentence in sentences)]
        raise AnsibleActionFail("\n".join(lines))

    def _evaluate(self, value: Any) -> Any:
        """Return a plain value, or why there is none; only inputs are evaluated, other variables may be broken."""
        try:
            return _plain(self._templar.template(value))
        except AnsibleError as error:
            return _inputs.Unreadable(" ".join(str(error).split()).rstrip("."))

    def _cluster_given(self) -> bool:
        environment: dict[str, str] = dict(os.environ)
        for part in self._task.environment or []:
            try:
                part = self._templar.template(part)
            except AnsibleError:
                continue
            if isinstance(part, Mapping):
                environment.update({str(name): str(value) for name, value in part.items()})
        return any(environment.get(name) for name in AUTH_VARIABLES)

    def _hosts(self, task_vars: Mapping[str, Any], inputs: Mapping[str, _specs.Option]) -> dict[str, _inputs.Host]:
        """Return every cluster of the inventory; one whose own variables are broken is left to its own check."""
        found = {}
        for name in (task_vars.get("groups") or {}).get(GROUP, []):
            try:
                variables = task_vars["hostvars"][name]
                values = {key: _plain(variables[key]) for key in IDENTITY if key in variables}
            except (AnsibleError, KeyError):
                continue
            found[str(name)] = _identity(values, inputs)
        return found


def _identity(values: Mapping[str, Any], inputs: Mapping[str, _specs.Option]) -> _inputs.Host:
    def text(name: str) -> str:
        return str(values.get(name) or inputs[name].default or "")

    namespace, context = text("twisterlab_namespace"), text("twisterlab_context")
    kubeconfig = text("twisterlab_kubeconfig")
    if not context and not kubeconfig and text("twisterlab_cluster") == "local":
        local = values.get("twisterlab_local_cluster")
        cluster = f"local {(local.get('name') if isinstance(local, Mapping) else None) or 'twisterlab'}"
    else:
        cluster = f"{os.path.realpath(Path(kubeconfig).expanduser()) if kubeconfig else ''} {context}"
    return _inputs.Host(cluster, namespace, text("twisterlab_domain") or f"{namespace}.local")


def _plain(value: Any) -> Any:
    """Return a copy without the tags and lazy containers of ansible-core."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value
