# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster and a clock for tests: enough of server-side apply to plan, apply, prune and judge without a server."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused

START = datetime(2026, 11, 23, 9, 0, 0, tzinfo=UTC)
NAMESPACE = "shop"


class FakeClock:
    """Time that passes only when somebody sleeps; things can be made to happen then."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.plans: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.seconds

    def at(self, seconds: float, what: Callable[[], None]) -> None:
        self.plans.append((seconds, what))

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        due = [plan for plan in self.plans if plan[0] <= self.seconds]
        self.plans = [plan for plan in self.plans if plan[0] > self.seconds]
        for _when, what in due:
            what()


class FakeCluster:
    """Objects by kind, namespace and name; every call is remembered as `verb Kind/name`."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.store: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.applied: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        self.calls: list[str] = []
        self.conflicts: dict[str, list[dict[str, Any]]] = {}
        self.errors: dict[str, Exception] = {}
        self.logs: dict[tuple[str, bool], str] = {}
        self.serial = 100
        self.before_write: Callable[[str, dict[str, Any]], None] = lambda verb, obj: None

    # -- what tests put in ----------------------------------------------------------------------------------------

    def put(self, obj: dict[str, Any], namespace: str | None = NAMESPACE) -> dict[str, Any]:
        """Store an object as it is."""
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        kind = self.kind(obj["apiVersion"], obj["kind"])
        if kind.namespaced and namespace:
            metadata.setdefault("namespace", namespace)
        self.serial += 1
        metadata.setdefault("uid", f"uid-{self.serial}")
        metadata["resourceVersion"] = str(self.serial)
        self.store[self._key(kind, metadata.get("namespace"), metadata["name"])] = obj
        return obj

    def writes(self) -> list[str]:
        """The calls that were not reads and no dry runs."""
        return [
            call
            for call in self.calls
            if call.split()[0] in ("apply", "create", "replace", "merge", "remove", "delete")
        ]

    # -- the Api protocol -----------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock.time())

    def kind(self, api_version: str, name: str) -> _kinds.Kind:
        found = _kinds.find(api_version, name)
        if found is None:
            raise Refused(f"no kind {name}")
        return found

    def get(self, kind: _kinds.Kind, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        self._call(f"get {kind.name}/{name}")
        return copy.deepcopy(self.store.get(self._key(kind, namespace, name)))

    def list(
        self,
        kind: _kinds.Kind,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> list[dict[str, Any]]:
        self._call(f"list {kind.name}")
        found = []
        for (kind_name, where, _name), obj in self.store.items():
            if kind_name == kind.name and (namespace is None or where == namespace) and _matches(obj, labels):
                item = copy.deepcopy(obj)
                found.append({key: item[key] for key in ("apiVersion", "kind", "metadata")} if metadata_only else item)
        return found

    def apply(
        self, obj: dict[str, Any], dry_run: bool = False, force: bool = False, manager: str = "twisterlab"
    ) -> dict[str, Any]:
        title = objects.title(obj)
        self._call(f"{'dry ' if dry_run else ''}apply {title}")
        kind = self.kind(obj["apiVersion"], obj["kind"])
        namespace = obj["metadata"].get("namespace")
        self._require_namespace(kind, namespace)
        if title in self.conflicts and not force:
            raise ApiError(409, "Conflict", "Apply failed with conflicts", f"apply {title}", self.conflicts[title])
        if not dry_run:
            self.before_write("apply", obj)
            self.conflicts.pop(title, None)
        key = self._key(kind, namespace, obj["metadata"]["name"])
        live = self.store.get(key)
        result = _without(copy.deepcopy(live or {}), self.applied.get((*key, manager), {}), obj)
        for applied, wanted in self.applied.items():
            # A field stays as long as one manager applies it.
            if applied[:3] == key and applied[3] != manager:
                result = _merge(result, wanted)
        result = _merge(result, obj)
        if kind is _kinds.DEPLOYMENT:
            result["spec"].setdefault("replicas", 1)
            result["spec"].setdefault("progressDeadlineSeconds", 600)
        metadata = result["metadata"]
        entries = [item for item in metadata.get("managedFields", []) if item["manager"] != manager]
        stamp = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        entries.append({"manager": manager, "operation": "Apply", "fieldsV1": _fields(obj), "time": stamp})
        metadata["managedFields"] = entries
        metadata.setdefault("uid", f"uid-{self.serial + 1}")
        if dry_run:
            return copy.deepcopy(result)
        self.applied[(*key, manager)] = copy.deepcopy(obj)
        self.serial += 1
        metadata["resourceVersion"] = str(self.serial)
        self.store[key] = result
        return copy.deepcopy(result)

    def create(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        self._call(f"{'dry ' if dry_run else ''}create {objects.title(obj)}")
        kind = self.kind(obj["apiVersion"], obj["kind"])
        namespace = obj["metadata"].get("namespace")
        self._require_namespace(kind, namespace)
        if not dry_run:
            self.before_write("create", obj)
        if self._key(kind, namespace, obj["metadata"]["name"]) in self.store:
            raise ApiError(409, "AlreadyExists", "already exists", "create")
        return copy.deepcopy(obj if dry_run else self.put(obj, namespace))

    def replace(self, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        self._call(f"{'dry ' if dry_run else ''}replace {objects.title(obj)}")
        kind = self.kind(obj["apiVersion"], obj["kind"])
        if not dry_run:
            self.before_write("replace", obj)
        live = self.store.get(self._key(kind, obj["metadata"].get("namespace"), obj["metadata"]["name"]))
        if live is None:
            raise ApiError(404, "NotFound", "not found", "replace")
        wanted = obj["metadata"].get("resourceVersion")
        if wanted and wanted != live["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified", "replace")
        obj = copy.deepcopy(obj)
        obj["metadata"]["uid"] = live["metadata"]["uid"]
        return copy.deepcopy(obj if dry_run else self.put(obj, obj["metadata"].get("namespace")))

    def merge(self, kind: _kinds.Kind, name: str, namespace: str | None, patch: dict[str, Any]) -> dict[str, Any]:
        self._call(f"merge {kind.name}/{name}")
        live = self.store[self._key(kind, namespace, name)]
        return copy.deepcopy(self.put(_merge(live, patch), namespace))

    def remove(self, obj: dict[str, Any], places: list[list[str]]) -> dict[str, Any]:
        self._call(f"remove {objects.title(obj)}")
        kind = self.kind(obj["apiVersion"], obj["kind"])
        live = self.store[self._key(kind, obj["metadata"].get("namespace"), obj["metadata"]["name"])]
        if live["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified", "remove")
        for place in places:
            value: Any = live
            for step in place[:-1]:
                value = value[int(step)] if isinstance(value, list) else value[step]
            del value[int(place[-1]) if isinstance(value, list) else place[-1]]
        return copy.deepcopy(self.put(live, obj["metadata"].get("namespace")))

    def delete(
        self,
        kind: _kinds.Kind,
        name: str,
        namespace: str | None = None,
        uid: str = "",
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> bool:
        self._call(f"{'dry ' if dry_run else ''}delete {kind.name}/{name}")
        key = self._key(kind, namespace, name)
        live = self.store.get(key)
        if live is None or (uid and live["metadata"]["uid"] != uid):
            return False
        if not dry_run:
            self.before_write("delete", live)
            self.store.pop(key, None)
            if kind is _kinds.NAMESPACE:
                for other in [item for item in self.store if item[1] == name]:
                    del self.store[other]
            owned = live["metadata"]["uid"]
            for other, obj in list(self.store.items()):
                if objects.owner(obj).get("uid") == owned:
                    self.store.pop(other, None)
        return True

    def log(self, namespace: str, pod: str, container: str, lines: int, previous: bool) -> str | None:
        self._call(f"log {pod}")
        return self.logs.get((pod, previous))

    def log_text(self, namespace: str, pod: str, container: str, query: Sequence[tuple[str, str]]) -> str:
        asked = dict(query)
        self._call(
            f"log {pod}/{container} {' '.join(f'{name}={value}' for name, value in query if name != 'container')}"
        )
        text = self.logs.get((f"{pod}/{container}", asked.get("previous") == "true"))
        if text is None:
            raise ApiError(400, "BadRequest", f'container "{container}" in pod "{pod}" is waiting to start', "log")
        lines = [line for line in text.splitlines() if line >= asked.get("sinceTime", "").rstrip("Z")]
        shown = "\n".join(lines[-int(asked.get("tailLines", "9999")) :]) + "\n"
        return shown.encode()[: int(asked.get("limitBytes", "9999999"))].decode()

    def namespaced_kinds(self) -> list[_kinds.Kind]:
        return [kind for kind in _kinds.TABLE if kind.namespaced]

    # -- inside ---------------------------------------------------------------------------------------------------

    def _call(self, call: str) -> None:
        self.calls.append(call)
        for pattern, error in self.errors.items():
            if call.startswith(pattern):
                raise error

    def _require_namespace(self, kind: _kinds.Kind, namespace: str | None) -> None:
        if kind.namespaced and ("Namespace", "", str(namespace)) not in self.store:
            raise ApiError(404, "NotFound", f'namespaces "{namespace}" not found', "write")

    @staticmethod
    def _key(kind: _kinds.Kind, namespace: str | None, name: str) -> tuple[str, str, str]:
        return (kind.name, (namespace or "") if kind.namespaced else "", name)


def _matches(obj: dict[str, Any], selector: str) -> bool:
    found = objects.labels(obj)
    for part in [part for part in selector.split(",") if part]:
        if part.startswith("!"):
            if part[1:] in found:
                return False
        elif found.get(part.partition("=")[0]) != part.partition("=")[2]:
            return False
    return True


def _named(value: Any) -> dict[str, Any] | None:
    """The items of a list that is merged by name; None for anything else."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        return {item["name"]: item for item in value}
    return None


def _merge(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {**base, **{key: _merge(base.get(key), value) for key, value in over.items()}}
    one, other = _named(base), _named(over)
    if one is not None and other is not None:
        return list({**one, **{name: _merge(one.get(name), item) for name, item in other.items()}}.values())
    return copy.deepcopy(over)


def _without(live: dict[str, Any], before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The live object without what this manager applied before and does not want any more."""
    for key in list(before):
        if key not in wanted:
            live.pop(key, None)
        elif isinstance(before[key], dict) and isinstance(wanted[key], dict) and isinstance(live.get(key), dict):
            _without(live[key], before[key], wanted[key])
        else:
            one, other, present = _named(before[key]), _named(wanted[key]), _named(live.get(key))
            if one is not None and other is not None and present is not None:
                live[key] = list(_without(present, one, other).values())
    return live


def _fields(obj: Any) -> Any:
    if isinstance(obj, dict):
        return {f"f:{key}": _fields(value) for key, value in obj.items()}
    named = _named(obj)
    if named is not None:
        return {f'k:{{"name":{json.dumps(name)}}}': {".": {}, **_fields(item)} for name, item in named.items()}
    return {}


# -- manifests ------------------------------------------------------------------------------------------------------


def labels(component: str, name: str = "", namespace: str = NAMESPACE) -> dict[str, str]:
    """Our labels."""
    return {
        **objects.OURS,
        objects.COMPONENT: component,
        objects.NAME: name or component,
        objects.INSTANCE: namespace,
    }


def manifest(kind: str, name: str, component: str, **rest: Any) -> dict[str, Any]:
    """An object of ours, without a namespace of its own."""
    version = next(item.api_version for item in _kinds.TABLE if item.name == kind)
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, "labels": labels(component, name)},
        **rest,
    }


def workload(
    kind: str, name: str, component: str, image: str = "pause:1", needs: str = "", **spec: Any
) -> dict[str, Any]:
    """A workload of one container `main`."""
    pod = {"containers": [{"name": "main", "image": image, **spec.pop("container", {})}], **spec.pop("pod", {})}
    obj = manifest(kind, name, component)
    if needs:
        obj["metadata"]["annotations"] = {objects.NEEDS: needs}
    obj["spec"] = {
        "selector": {"matchLabels": {objects.NAME: name}},
        "template": {"metadata": {"labels": labels(component, name)}, "spec": pod},
        **spec,
    }
    return obj


def namespace(name: str = NAMESPACE, ours: bool = True, **own: str) -> dict[str, Any]:
    """The Namespace, ours or another's."""
    found = {**(labels("base", name, name) if ours else {}), **own}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": found}}


def node(name: str = "node", cpu: str = "2", memory: str = "4Gi", **node_labels: str) -> dict[str, Any]:
    """A ready node."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": node_labels},
        "spec": {},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "allocatable": {"cpu": cpu, "memory": memory, "ephemeral-storage": "20Gi", "pods": "110"},
        },
    }
