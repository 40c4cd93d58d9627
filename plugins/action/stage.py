# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.stage: render a tier's templates into the run's private folder. Never talks to a cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible_collections.twisterlab.platform.plugins.module_utils import _sealed, _secrets, _stage
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError

#: Templates that several roles share, for names that the calling role does not have.
SHARED = Path(__file__).resolve().parents[2] / "roles" / "twisterlab" / "templates"
#: The names of what roles derive (vars/main.yml).
DERIVED = re.compile(r"\b__[a-z]\w*")
ARGUMENTS = {
    "component": {"type": "str", "required": True},
    "enabled": {"type": "bool", "default": True},
    "templates": {"type": "list", "elements": "str", "default": []},
    "values": {"type": "dict", "default": {}},
    # Declarations name keys, they hold no values.
    "secrets": {"type": "list", "elements": "dict", "default": [], "no_log": False},
    "sealed": {"type": "list", "elements": "dict", "default": [], "no_log": False},
    "needs": {"type": "list", "elements": "str", "default": []},
    "dest": {"type": "path"},
}


class ActionModule(ActionBase):
    """Render, check and write one component's stage."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render the templates of the calling role; see the module's documentation for the result."""
        task_vars = task_vars or {}
        super().run(tmp, task_vars)
        _validation, arguments = self.validate_argument_spec(argument_spec=ARGUMENTS)
        # The tags that ansible-core puts on values must not reach a file: plain data from here on.
        plain = json.loads(json.dumps({name: arguments[name] for name in ARGUMENTS}, default=str))
        try:
            return self._stage(plain, task_vars)
        except PlatformError as error:
            raise AnsibleActionFail(str(error)) from error

    def _stage(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        component, enabled, dest = arguments["component"], arguments["enabled"], arguments["dest"]
        variables = {**task_vars, **arguments["values"]}
        self._settled: set[str] = set()
        rendered = [(name, self._render(name, variables)) for name in arguments["templates"]] if enabled else []
        declarations = arguments["secrets"] if enabled else []
        sealed = arguments["sealed"] if enabled else []
        _secrets.parse(declarations)
        _sealed.check(sealed)
        folder = _stage.folder_of(C.DEFAULT_LOCAL_TMP, str(task_vars.get("inventory_hostname", "localhost")))
        others = _stage.read(folder) if not dest else []
        staged = _stage.build(component, rendered, declarations, arguments["needs"] if enabled else [], others, sealed)
        result = {
            "changed": False,
            "component": component,
            "enabled": enabled,
            "objects": [f"{obj['kind']}/{obj['metadata']['name']}" for obj in staged.objects],
            "msg": f"{component}: {len(staged.objects)} objects" + ("" if enabled else " (disabled)"),
        }
        if dest:
            path = Path(self._loader.path_dwim(dest))
            result["changed"] = _stage.export(path, staged, dry_run=bool(self._task.check_mode))
            result["dest"] = str(path / component)
        else:
            _stage.write(folder, staged)
        return result

    def _find(self, name: str) -> str:
        """The calling role's own template or, where it has none of that name, the shared one."""
        try:
            return str(self._find_needle("templates", name))
        except AnsibleError:
            if not (SHARED / name).is_file():
                raise
            return str(SHARED / name)

    def _settle(self, text: str, variables: dict[str, Any]) -> None:
        """Put the values of derived variables into the place of their expressions: Ansible compiles an expression each time that it is used."""
        for name in sorted(set(DERIVED.findall(text))):
            expression = variables.get(name)
            inside = expression if isinstance(expression, str) else json.dumps(expression, default=str)
            if expression is None or "{" not in inside or name in self._settled:
                continue
            self._settled.add(name)
            self._settle(inside, variables)
            try:
                templar = self._templar.copy_with_new_env(available_variables=variables)
                variables[name] = templar.template(expression)
            except AnsibleError:
                # A branch that is not taken may use it; one that is says what is wrong.
                continue

    def _render(self, name: str, task_vars: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            source = self._find(name)
            text = trust_as_template(self._loader.get_text_file_contents(source))
        except AnsibleError as error:
            raise AnsibleActionFail(f"Template {name} cannot be read: {error}") from error
        self._settle(text, task_vars)
        search_path = []
        for part in [*task_vars.get("ansible_search_path", []), self._loader.get_basedir(), str(Path(source).parent)]:
            search_path += [str(Path(part) / "templates"), str(part)]
        templar = self._templar.copy_with_new_env(searchpath=search_path, available_variables=task_vars)
        try:
            found = templar.template(
                text, escape_backslashes=False, overrides={"trim_blocks": True, "lstrip_blocks": True}
            )
        except AnsibleError as error:
            raise AnsibleActionFail(f"Template {name} cannot be rendered: {error}") from error
        if isinstance(found, (dict, list)):
            found = json.dumps(found, default=str)
        return _stage.parse(str(found or ""), name)
