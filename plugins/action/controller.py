# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.controller: have an automation controller hold what the folder awx says, by its own collection's modules."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible.utils.display import Display
from ansible_collections.twisterlab.platform.plugins.module_utils import _controller, _specs, _surveys

ARGUMENTS = {
    "host": {"type": "str", "required": True},
    "token": {"type": "str", "required": True, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "api_path": {"type": "str", "default": ""},
    "collection": {"type": "str", "default": "", "choices": ["", *_controller.COLLECTIONS]},
    "organization": {"type": "str", "required": True},
    "project_url": {"type": "str", "required": True},
    "project_branch": {"type": "str", "default": ""},
    "inventory_path": {"type": "str", "default": "inventories/production"},
    "image": {"type": "str", "default": ""},
    "credentials": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "update_secrets": {"type": "bool", "default": False, "no_log": False},
    "notifications": {"type": "list", "elements": "dict", "default": [], "no_log": True},
    "data": {"type": "path", "default": ""},
    "prune": {"type": "bool", "default": False},
}
FILES = (
    "access",
    "project",
    "credential_types",
    "job_templates",
    "surveys",
    "workflows",
    "schedules",
    "notifications",
)
#: Modules read the path of the API from here.
API_PATH = "CONTROLLER_OPTIONAL_API_URLPATTERN_PREFIX"


class ActionModule(ActionBase):
    """Call one module an object, and say what each changed."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """See the module's documentation for the result."""
        self._vars = task_vars or {}
        super().run(tmp, self._vars)
        _validation, self._given = self.validate_argument_spec(argument_spec=ARGUMENTS)
        given = self._given
        for name in ("host", "token", "project_url"):
            if not given[name]:
                raise AnsibleActionFail(_controller.MISSING[name])
        self._collection = self._installed(given["collection"])
        settings = _controller.Settings(
            organization=given["organization"],
            project_url=given["project_url"],
            project_branch=given["project_branch"],
            inventory_path=given["inventory_path"],
            image=given["image"],
            credentials=tuple(given["credentials"]),
            update_secrets=given["update_secrets"],
            notifications=tuple(given["notifications"]),
        )
        try:
            data = self._data()
            wanted = _controller.things(data, settings, _surveys.playbooks(_specs.collection_root()))
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from None
        # The lookup reads it from this process, which is a fork of its own; the modules are told as well.
        os.environ[API_PATH] = self._api
        changed = [thing.title for thing in wanted if self._apply(thing)]
        surplus = self._surplus(data, wanted, settings)
        removed = [thing.title for thing in surplus if given["prune"] and self._apply(thing, "removed")]
        kept = [] if given["prune"] else [thing.title for thing in surplus]
        for title in kept:
            self._say(f"kept, though no longer in the data: {title} (remove it with -e awx_prune=true)")
        told = f"{len(wanted)} objects, {len(changed)} {self._planned('changed')}, {len(removed)} {self._planned('removed')}"
        return {
            "changed": bool(changed or removed),
            "msg": f"{told}, {len(kept)} kept though no longer in the data",
            "changed_objects": changed,
            "removed_objects": removed,
            "kept_objects": kept,
        }

    @property
    def _api(self) -> str:
        """The path of the API without its version, as the modules want it."""
        default = "/api" if self._collection == "awx.awx" else "/api/controller"
        return f"/{(self._given['api_path'] or default).strip('/').removesuffix('/v2')}/"

    def _planned(self, word: str) -> str:
        return f"would be {word}" if self._task.check_mode else word

    def _say(self, text: str) -> None:
        Display().display(f"[{self._given['host']}] {text}")

    def _data(self) -> dict[str, Any]:
        """The files of the folder in one dict; a folder of the user's own may replace some of them."""
        root, own = _specs.collection_root(), self._given["data"]
        found: dict[str, Any] = {}
        for name in FILES:
            place = own if own and os.path.isfile(os.path.join(own, f"{name}.yml")) else str(root / "awx")  # noqa: PTH113, PTH118
            found |= self._loader.load_from_file(os.path.join(place, f"{name}.yml"), cache="none") or {}  # noqa: PTH118
        return found

    def _installed(self, wanted: str) -> str:
        """The collection that is used."""
        for name in [wanted] if wanted else _controller.COLLECTIONS:
            with contextlib.suppress(ModuleNotFoundError):
                if importlib.util.find_spec(f"ansible_collections.{name}"):
                    return name
        raise AnsibleActionFail(_controller.no_collection(wanted))

    def _apply(self, thing: _controller.Thing, word: str = "changed") -> bool:
        """Call the module of one object; returns whether it changed something."""
        given = self._given
        # In the arguments, never in the environment: that would stand in the command line of the module.
        access = {
            "controller_host": given["host"],
            "controller_oauthtoken": given["token"],
            "validate_certs": given["validate_certs"],
        }
        before = self._task.environment
        self._task.environment = [*(before or []), {API_PATH: self._api}]
        try:
            result = self._execute_module(
                module_name=f"{self._collection}.{thing.kind}",
                module_args={**access, **thing.arguments},
                task_vars=self._vars,
            )
        finally:
            self._task.environment = before
        if result.get("failed"):
            text = str(result.get("msg") or result.get("module_stderr") or "no reason was given")
            # What it belongs to would be made by this run, too.
            if self._task.check_mode and "expected 1" in text:
                self._say(f"would be {word}: {thing.title}")
                return True
            sentence = _controller.meaning(text, given["host"], f"{self._api}v2/")
            raise AnsibleActionFail(sentence or f"The {thing.title} is not as it should be: {' '.join(text.split())}")
        if result.get("changed"):
            self._say(f"{self._planned(word)}: {thing.title}")
        return bool(result.get("changed"))

    def _surplus(
        self, data: Mapping[str, Any], wanted: list[_controller.Thing], settings: _controller.Settings
    ) -> list[_controller.Thing]:
        """What is ours there and no longer in the data."""
        found = {name: self._list(name) for name in (*_controller.LISTS.values(), f"{_controller.NODE}s")}
        kept = {thing.name for thing in wanted if thing.kind == "workflow_job_template"}
        nodes = [
            thing
            for key, spec in data["workflows"].items()
            if spec["name"] in kept
            for thing in _controller.surplus_nodes(key, data, found[f"{_controller.NODE}s"], settings)
        ]
        return nodes + _controller.surplus(wanted, found, settings)

    def _list(self, name: str) -> list[Mapping[str, Any]]:
        lookup = lookup_loader.get(f"{self._collection}.controller_api", loader=self._loader, templar=self._templar)
        try:
            return list(
                lookup.run(
                    [name],
                    variables=self._vars,
                    host=self._given["host"],
                    oauth_token=self._given["token"],
                    verify_ssl=self._given["validate_certs"],
                    query_params={"page_size": 200},
                    return_objects=True,
                    return_all=True,
                )
            )
        except AnsibleError as error:
            text = str(error)
            raise AnsibleActionFail(_controller.meaning(text, self._given["host"], f"{self._api}v2/") or text) from None
