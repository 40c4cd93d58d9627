# SPDX-License-Identifier: GPL-3.0-or-later
"""Going back to a recorded release, or on from it with another image. Pure functions over what the records hold."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from . import _components
from . import _kinds as kinds
from . import _objects as objects
from ._errors import Refused
from ._labels import image_version
from ._objects import Object
from ._record import Records, newest, number_of, status_of
from ._stage import Component

PREVIOUS, HEALTHY, NEWEST = "previous", "healthy", "newest"
VERSION = "app.kubernetes.io/version"
#: The one word for several components that have an image and a history of their own.
GROUPS = {"mcp": _components.GROUPS["mcp"]}


def choose(found: list[Object], wanted: str, namespace: str) -> int:
    """The number of the release that is meant.

    Args:
        found: every record's metadata.
        wanted: a number; `newest`; `healthy`, the newest that was; or `previous`, the healthy one before what runs now.
        namespace: for messages.

    Raises:
        Refused: there is no such release.
    """
    last = newest(found)
    if last is None:
        raise Refused(f"Namespace {namespace} has no release on record: run deploy.yml first.")
    if wanted == NEWEST:
        return number_of(last)
    if wanted.isdigit():
        if int(wanted) in {number_of(item) for item in found}:
            return int(wanted)
        raise Refused(
            f"There is no release {wanted} on record in namespace {namespace}; write one of "
            f"{objects.sentence_list([str(number) for number in sorted(map(number_of, found))], 20)}."
        )
    if wanted not in (PREVIOUS, HEALTHY):
        raise Refused(f"{wanted!r} names no release; write a number of playbooks/history.yml, or {PREVIOUS}.")
    healthy = [item for item in found if status_of(item) == "healthy"]
    # A failed release runs now, wholly or in part: the last healthy one is what was before it.
    if wanted == PREVIOUS and status_of(last) == "healthy":
        healthy.remove(last)
    best = newest(healthy)
    if best is None:
        raise Refused(
            f"Namespace {namespace} has no {'earlier ' if wanted == PREVIOUS else ''}healthy release on record, so there is nothing to go back to."
        )
    return number_of(best)


def select(found: list[Component], names: Iterable[str], number: int) -> list[Component]:
    """The components of these names; all of them for no name.

    Raises:
        Refused: the release holds none of that name.
    """
    wanted = list(dict.fromkeys(name for given in names for name in GROUPS.get(given, (given,))))
    if not wanted:
        return found
    by_name = {item.component: item for item in found}
    for name in wanted:
        if name not in by_name:
            raise Refused(
                f"Release {number} has no component {name}; write one of {', '.join(sorted([*by_name, *GROUPS]))}."
            )
    return [by_name[name] for name in wanted]


def keep_volumes(past: list[Component], present: list[Component]) -> list[Component]:
    """The same with the volume claims of today: a volume neither shrinks nor changes its class."""
    claims = {objects.name(obj): obj for item in present for obj in item.objects if obj.get("kind") == kinds.CLAIM.name}
    storage = [
        obj["spec"]["storage"] for item in present for obj in item.objects if obj.get("kind") == kinds.CLUSTER.name
    ]
    result = []
    for item in past:
        mine = [
            claims.get(objects.name(obj), obj) if obj.get("kind") == kinds.CLAIM.name else obj for obj in item.objects
        ]
        mine = [
            {**obj, "spec": {**obj["spec"], "storage": storage[0]}}
            if storage and obj.get("kind") == kinds.CLUSTER.name
            else obj
            for obj in mine
        ]
        result.append(Component(item.component, mine, item.secrets, item.needs, item.sealed))
    return result


def image_of(item: Component) -> str:
    """The image that a component's own program runs in; empty where it has no pods."""
    for obj in item.objects:
        if obj.get("kind") == kinds.CLUSTER.name:
            return str(obj["spec"]["imageName"])
    workloads = [obj for obj in item.objects if objects.template(obj) is not None]
    # A tier's exporter is a workload beside it.
    own = [obj for obj in workloads if objects.name(obj) in (item.component, f"twisterlab-{item.component}")]
    for obj in own or workloads:
        for container in objects.pod_spec(obj).get("containers") or []:
            return str(container.get("image", ""))
    return ""


def with_image(item: Component, image: str) -> Component:
    """A component with another image in every container that ran the one of its own program.

    Raises:
        Refused: it has no pods.
    """
    before = image_of(item)
    if not before:
        raise Refused(f"The component {item.component} has no pods, so it has no image to update.")
    changed = copy.deepcopy(item)
    old, new = image_version(before), image_version(image)
    for obj in changed.objects:
        touched = [found for found in objects.containers(objects.pod_spec(obj)) if found.get("image") == before]
        for container in touched:
            container["image"] = image
        if obj.get("kind") == kinds.CLUSTER.name:
            obj["spec"]["imageName"] = image
            touched = [obj]
        for part in [obj, objects.template(obj) or {}] if touched else []:
            labels = objects.labels(part)
            if labels.get(VERSION) == old:
                labels[VERSION] = new
    return changed


def past(records: Records, wanted: str, names: list[str], image: str, namespace: str) -> tuple[Object, list[Component]]:
    """What to stage: the components of a release, perhaps with another image.

    Returns:
        The record, and its components.

    Raises:
        Refused: there is no such release, component or image.
    """
    found = records.all()
    number = choose(found, wanted, namespace)
    record = records.read(number)
    components = records.components(record)
    if record is None or not components:
        raise Refused(f"What release {number} of namespace {namespace} held cannot be read: choose another release.")
    last = number_of(newest(found) or {})
    present = components if last == number else records.components(records.read(last))
    chosen = keep_volumes(select(components, names, number), present)
    return record, [with_image(item, image) for item in chosen] if image else chosen
