# SPDX-License-Identifier: GPL-3.0-or-later
"""What in the cluster is not as the last release left it: the field, whose it is now, and since when.

Two questions an object. A dry run of its apply says which of our fields are another or gone. The managed fields say
which fields somebody else added, who and when; an apply would never touch those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from . import _compare as compare
from . import _kinds as kinds
from . import _objects as objects
from . import _plan
from ._api import MANAGER, Api, attempt
from ._errors import ApiError, Refused
from ._objects import Object
from ._record import Records, newest, number_of
from ._stage import looks_secret

ADDED, CHANGED, REMOVED, MISSING, SURPLUS = "added", "changed", "removed", "missing", "surplus"
#: Kubernetes' own controllers and cert-manager write into objects of ours; that is their work.
CONTROLLERS = re.compile(r"kube-|kubelet$|cloud-controller-manager|cert-manager|cainjector|twisterlab")
#: Notes that a person's `kubectl rollout restart` and controllers leave.
NOTES = ("kubectl.kubernetes.io/restartedAt", "deployment.kubernetes.io/revision")
#: What tells the items of a list apart, as the API server merges them.
KEYS = ("name", "containerPort", "mountPath", "port", "ip", "key", "type", "topologyKey")
LONGEST = 80
#: Made while somebody works, and of no release.
PASSING = ("Job", "Pod")

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Difference:
    """One field, or a whole object.

    Attributes:
        object: such as `Deployment/twisterlab-api`.
        field: such as `spec.template.spec.containers[api].env[X]`; empty for a whole object.
        what: added, changed, removed, missing (an object that is not there) or surplus (one of no release).
        owner: who manages the field now; empty when nobody does.
        since: when the owner last wrote (RFC 3339).
        live: its value; empty when it is gone.
        wanted: what the release holds; empty for an addition.
    """

    object: str
    field: str
    what: str
    owner: str = ""
    since: str = ""
    live: str = ""
    wanted: str = ""

    def data(self) -> dict[str, str]:
        """As a task's result."""
        return asdict(self)

    def line(self) -> str:
        """For a person."""
        where = f"{self.object} {self.field}".strip()
        by = f" by {self.owner}" + (f" at {self.since}" if self.since else "") if self.owner else ""
        if self.what == ADDED:
            return f"{where}: {self.live} was added{by}"
        if self.what == CHANGED:
            return f"{where}: is {self.live} instead of {self.wanted}, changed{by}"
        if self.what == REMOVED:
            return f"{where}: {self.wanted} was removed"
        return f"{where}: is not there" if self.what == MISSING else f"{where}: belongs to no release"


@dataclass
class Found:
    """What a look came to.

    Attributes:
        release: its number.
        differences: in the order of objects.
        objects: how many were compared.
        unseen: what could not be compared, and why.
    """

    release: int
    differences: list[Difference]
    objects: int
    unseen: list[str]


# -- paths -----------------------------------------------------------------------------------------------------------


def identity(items: list[Any]) -> str:
    """The key by which the items of a list are told apart; empty when only their places do."""
    if not items or not all(isinstance(item, dict) for item in items):
        return ""
    for key in KEYS:
        names = [json.dumps(item.get(key)) for item in items if key in item]
        if len(names) == len(items) == len(set(names)):
            return key
    return ""


def field_name(path: tuple[str, ...]) -> str:
    """Steps as people write them."""
    text = ""
    for step in path:
        if step.startswith("["):
            text += step
        elif "." in step or "/" in step:
            text += f"['{step}']"
        else:
            text += f".{step}" if text else step
    return text


def leaves(before: Any, after: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two values differ: the smallest parts, each with both values; None where a part is missing."""
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from leaves(before.get(key), after.get(key), (*path, str(key)))
        return
    if isinstance(before, list) and isinstance(after, list):
        key = identity(before or after)
        if key and key == identity(after or before):
            one = {str(item[key]): item for item in before}
            other = {str(item[key]): item for item in after}
            for name in dict.fromkeys([*one, *other]):
                yield from leaves(one.get(name), other.get(name), (*path, f"[{name}]"))
            return
    yield path, before, after


# -- managed fields --------------------------------------------------------------------------------------------------


def _merge(one: Any, other: Any) -> Any:
    return {key: _merge(one.get(key, {}), other.get(key, {})) for key in {**one, **other}}


def _follow(value: Any, step: str) -> Path:
    """The place in a live value of one step of managed fields; empty when it is not there."""
    kind, _, text = step.partition(":")
    if kind == "f" and isinstance(value, dict) and text in value:
        return (text,)
    if isinstance(value, list):
        for index, item in enumerate(value):
            if kind == "k" and isinstance(item, dict) and json.loads(text).items() <= item.items():
                return (index,)
            if kind == "v" and json.loads(text) == item:
                return (index,)
    return ()


def _only(tree: Any, ours: Any, value: Any, path: Path = ()) -> Iterator[Path]:
    """Places of fields that a tree of managed fields has and ours has not, as whole as they were added."""
    for step, child in tree.items():
        if step == ".":
            continue
        place = _follow(value, step)
        if not place:
            continue
        inner = value[place[0]]
        if step in ours:
            yield from _only(child, ours[step], inner, (*path, *place))
        elif not child or "." in child:
            yield (*path, *place)
        else:
            yield from _only(child, {}, inner, (*path, *place))


def owners(live: Object) -> Iterator[tuple[str, str, Any]]:
    """Manager, time and fields of everybody but us and the controllers."""
    for entry in objects.meta(live).get("managedFields") or []:
        if not entry.get("subresource") and not CONTROLLERS.match(str(entry.get("manager", ""))):
            yield str(entry.get("manager", "")), str(entry.get("time", "")), entry.get("fieldsV1") or {}


def _ours(live: Object) -> Any:
    found: Any = {}
    for entry in objects.meta(live).get("managedFields") or []:
        if str(entry.get("manager", "")).startswith(MANAGER):
            found = _merge(found, entry.get("fieldsV1") or {})
    return found


def names_of(live: Any, path: Path) -> tuple[str, ...]:
    """A place with the items of lists by their names."""
    found: list[str] = []
    value = live
    for step in path:
        if isinstance(step, int):
            key = identity(value)
            found.append(f"[{value[step][key]}]" if key else f"[{step}]")
        else:
            found.append(step)
        value = value[step]
    return tuple(found)


def at(value: Any, path: tuple[str, ...]) -> Any:
    """The part of a value at a named place; None when it is not there."""
    for step in path:
        if isinstance(value, list):
            key = identity(value)
            wanted = step[1:-1]
            value = next((item for item in value if key and str(item[key]) == wanted), None)
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def additions(live: Object, wanted: Object) -> Iterator[tuple[Path, str, str]]:
    """Places of fields that somebody else added and the release does not know, with who and when."""
    ours = _ours(live)
    for manager, time, tree in owners(live):
        for path in _only(tree, ours, live):
            named = names_of(live, path)
            if at(wanted, named) is None and not any(step in NOTES for step in named):
                yield path, manager, time


def owner_of(live: Object, named: tuple[str, ...]) -> tuple[str, str]:
    """Who else manages a field, and since when; empty when nobody does."""
    for manager, time, tree in owners(live):
        for path in _only(tree, {}, live):
            found = names_of(live, path)
            if found[: len(named)] == named or named[: len(found)] == found:
                return manager, time
    return "", ""


# -- looking ---------------------------------------------------------------------------------------------------------


def shown(named: tuple[str, ...], value: Any, redact: Callable[[str], str]) -> str:
    """A value on one line, without what may be a secret."""
    if value is None:
        return ""
    item = named[-1].strip("[]") if named else ""
    variable = next((step.strip("[]") for step in reversed(named) if step.startswith("[")), item)
    if "env" in named and looks_secret(variable, value if isinstance(value, str) else None):
        return "(hidden)"
    if isinstance(value, dict) and "value" in value and looks_secret(str(value.get("name", "")), str(value["value"])):
        return "(hidden)"
    text = redact(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def compared(
    live: Object, result: Object, added: Iterable[tuple[Path, str, str]], redact: Callable[[str], str]
) -> list[Difference]:
    """The differences of one object.

    Args:
        live: as it is.
        result: what an apply of what the release holds would make of it.
        added: what `additions` found.
        redact: hides secrets.
    """
    title = objects.title(live)
    found = []
    for named, before, after in leaves(compare.normalise(live), compare.normalise(result)):
        if any(step in NOTES for step in named):
            continue
        # What an apply would take away is a field of ours that no record holds, as after a run that was cut off.
        what = REMOVED if before is None else ADDED if after is None else CHANGED
        owner, since = owner_of(live, named) if what == CHANGED else (MANAGER if what == ADDED else "", "")
        found.append(
            Difference(
                title, field_name(named), what, owner, since, shown(named, before, redact), shown(named, after, redact)
            )
        )
    for path, manager, time in added:
        named = names_of(live, path)
        found.append(Difference(title, field_name(named), ADDED, manager, time, shown(named, at(live, named), redact)))
    return found


class Drift:
    """Looks at one namespace, and mends.

    Args:
        api: the cluster.
        namespace: of the stack.
        redact: hides secrets.
    """

    def __init__(self, api: Api, namespace: str, redact: Callable[[str], str]) -> None:
        self._api, self._namespace, self._redact = api, namespace, redact
        self._additions: list[tuple[Object, Path]] = []

    def look(self) -> Found:
        """Compare everything with the last release.

        Raises:
            Refused: there is none, it cannot be read, or nothing of it may be compared.
        """
        records = Records(self._api, self._namespace)
        last = newest(records.all())
        if last is None:
            raise Refused(
                f"Namespace {self._namespace} has no release on record, so nothing can differ from it: run deploy.yml first."
            )
        number = number_of(last)
        components = records.components(records.read(number))
        if not components:
            raise Refused(
                f"What release {number} of namespace {self._namespace} held cannot be read, so nothing was compared: run deploy.yml, which records a new one."
            )
        desired = [obj for item in components for obj in item.objects]
        live = _plan.inventory(self._api, self._namespace, desired)
        found = Found(number, [], 0, [])
        for obj, differences, error in attempt(desired, lambda obj: self._one(obj, live.of(obj), live.unseen)):
            if isinstance(error, ApiError) and error.status == 403:
                found.unseen.append(f"{objects.title(obj)}: no permission")
            elif error:
                raise error
            else:
                found.objects += 1
                found.differences += differences or []
        if found.unseen and not found.objects:
            raise Refused(
                f"None of the {len(found.unseen)} objects of release {number} could be compared, the first is {found.unseen[0]}: "
                "a comparison is a dry run of an apply, so use the deployer's kubeconfig (playbooks/bootstrap.yml)."
            )
        wanted = {objects.key(obj) for obj in desired}
        # What an administrator's bootstrap made is of no tier.
        tiers = {item.component for item in components}
        for key, obj in sorted(live.live.items()):
            kept = objects.is_kept(obj) or objects.owner(obj) or obj.get("kind") in PASSING
            kind = kinds.find(obj["apiVersion"], obj["kind"])
            if key not in wanted and objects.component(obj) in tiers and not kept and (kind is None or kind.prunable):
                found.differences.append(Difference(objects.title(obj), "", SURPLUS))
        return found

    def _one(self, desired: Object, live: Object | None, unseen: list[str]) -> list[Difference]:
        kind = self._api.kind(desired["apiVersion"], desired["kind"])
        if live is None and (kind is kinds.NAMESPACE or kind.name in unseen):
            live = self._api.get(kind, objects.name(desired), self._namespace if kind.namespaced else None)
        if live is None:
            return [Difference(objects.title(desired), "", MISSING)]
        if kind is kinds.NAMESPACE and not objects.is_ours(live):
            # Lent to us: used as it is.
            return []
        result = self._api.apply(desired, dry_run=True, force=True)
        added = list(additions(live, desired))
        self._additions += [(live, path) for path, _manager, _time in added]
        return compared(live, result, added, self._redact)

    def remove_additions(self) -> list[str]:
        """Take out what others added beside the release; the rest is mended by applying the release again.

        Returns:
            Titles of the objects that were changed.
        """
        by_object: dict[tuple[str, str, str], tuple[Object, list[Path]]] = {}
        for live, path in self._additions:
            by_object.setdefault(objects.key(live), (live, []))[1].append(path)
        for live, paths in by_object.values():
            # From the end, so that the places of the others stay.
            ordered = sorted(paths, key=_order, reverse=True)
            self._api.remove(live, [[str(step) for step in path] for path in ordered])
        return [objects.title(live) for live, _paths in by_object.values()]


def _order(path: Path) -> tuple[tuple[int, str], ...]:
    return tuple((step, "") if isinstance(step, int) else (0, step) for step in path)


def summary(found: Found) -> str:
    """One line."""
    number = len(found.differences)
    rest = f", {len(found.unseen)} could not be compared" if found.unseen else ""
    if not number:
        return f"{found.objects} objects are as release {found.release} left them{rest}"
    touched = len({item.object for item in found.differences})
    return f"{number} difference{'s' if number > 1 else ''} from release {found.release} in {touched} of {found.objects} objects{rest}"
