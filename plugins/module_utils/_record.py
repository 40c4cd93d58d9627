# SPDX-License-Identifier: GPL-3.0-or-later
"""Release records: one ConfigMap a release, with what was rendered, what ran and how it ended. Never a secret.

`twisterlab-release-<n>` holds `release.json` (the summary) and `objects.json.gz` (objects, secret declarations and
needs of every component), so that plan, history, drift and rollback have something to compare with.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from . import _kinds as kinds
from . import _objects as objects
from ._api import Api, each
from ._errors import ApiError
from ._objects import Object
from ._stage import Component

PREFIX = "twisterlab-release-"
KEPT = 10
STATUS = "twisterlab.io/release-status"
NUMBER = "twisterlab.io/release-number"
SELECTOR = f"{objects.RECORD}=true"
SUMMARY_KEY = "release.json"
OBJECTS_KEY = "objects.json.gz"


@dataclass
class Summary:
    """What a person wants to know of a release.

    Attributes:
        number: counts up by one a namespace.
        status: `applied` (not judged yet), `healthy` or `failed`.
        user: who released, as `user@host`.
        started: server's time, UTC.
        components: the components staged in that run.
        images: of the whole stack, by `Kind/name/container`; filled in by `Records.write`.
        created, changed, deleted: titles of objects.
        reason: why it failed.
        ended: server's time, UTC.
        version: of the collection.
        action: what it was for, such as `deploy` or `rollback to release 5`.
    """

    number: int
    status: str
    user: str
    started: str
    components: list[str]
    images: dict[str, str] = field(default_factory=dict)
    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    reason: str = ""
    ended: str = ""
    version: str = ""
    action: str = "deploy"


def images_of(found: list[Object]) -> dict[str, str]:
    """Every container's image, by `Kind/name/container`; of a Cluster that of its servers."""
    images = {
        f"{objects.title(obj)}/{item.get('name')}": str(item.get("image"))
        for obj in found
        for item in objects.containers(objects.pod_spec(obj))
    }
    clusters = [obj for obj in found if obj.get("kind") == kinds.CLUSTER.name]
    return images | {f"{objects.title(obj)}/postgres": str(obj["spec"]["imageName"]) for obj in clusters}


def pack(components: list[Component]) -> str:
    """Components as a ConfigMap's binary value; the same input gives the same bytes."""
    data = json.dumps([asdict(item) for item in components], sort_keys=True, separators=(",", ":")).encode()
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()


def unpack(value: str) -> list[Component]:
    """The inverse of `pack`."""
    return [Component(**item) for item in json.loads(gzip.decompress(base64.b64decode(value)))]


def manifest(namespace: str, summary: Summary, components: list[Component]) -> Object:
    """The ConfigMap of one release."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{PREFIX}{summary.number}",
            "namespace": namespace,
            "labels": {
                **objects.OURS,
                objects.NAME: "twisterlab-release",
                objects.INSTANCE: namespace,
                objects.COMPONENT: "release",
                objects.RECORD: "true",
                NUMBER: str(summary.number),
                STATUS: summary.status,
            },
        },
        "data": {SUMMARY_KEY: json.dumps(asdict(summary), sort_keys=True, indent=1)},
        "binaryData": {OBJECTS_KEY: pack(components)},
    }


def number_of(record: Object) -> int:
    """A record's number; 0 for something that is none."""
    text = objects.labels(record).get(NUMBER, "")
    return int(text) if text.isdigit() else 0


def status_of(record: Object) -> str:
    """A record's status."""
    return objects.labels(record).get(STATUS, "")


def newest(found: list[Object]) -> Object | None:
    """The record with the highest number."""
    return max(found, key=number_of, default=None)


def summary_of(record: Object) -> dict[str, Any]:
    """The summary as data; empty when it cannot be read."""
    try:
        return json.loads((record.get("data") or {}).get(SUMMARY_KEY, "{}"))
    except ValueError:
        return {}


def merged(previous: list[Component], staged: list[Component]) -> list[Component]:
    """What is released now: this run's components over those of the release before."""
    by_name = {item.component: item for item in previous}
    by_name.update({item.component: item for item in staged})
    return [by_name[name] for name in sorted(by_name)]


def lost(api: Api, namespace: str, wanted: Collection[str], there: Iterable[Object]) -> str:
    """The objects of some kinds that the newest release has and that are not there, in a sentence; empty when none is, or nobody can tell."""
    records = Records(api, namespace)
    try:
        last = newest(records.all())
        held = records.components(records.read(number_of(last))) if last else []
    except ApiError as error:
        if error.status != 403:
            raise
        return ""
    known = {objects.title(obj) for obj in there}
    titles = [objects.title(obj) for item in held for obj in item.objects if obj.get("kind") in wanted]
    gone = [title for title in titles if title not in known]
    if not gone or last is None:
        return ""
    return f"release {number_of(last)} has {objects.sentence_list(gone)}, and the namespace has not; ansible-playbook deploy.yml"


class Records:
    """The records of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace

    def all(self) -> list[Object]:
        """Every record's metadata, without what it holds."""
        return self._api.list(kinds.CONFIG_MAP, self._namespace, labels=SELECTOR, metadata_only=True)

    def read(self, number: int) -> Object | None:
        """One record with what it holds."""
        return self._api.get(kinds.CONFIG_MAP, f"{PREFIX}{number}", self._namespace)

    def components(self, record: Object | None) -> list[Component]:
        """The components that a record holds; empty when it cannot be read."""
        value = ((record or {}).get("binaryData") or {}).get(OBJECTS_KEY, "")
        try:
            return unpack(value) if value else []
        except (OSError, ValueError, TypeError):
            return []

    def write(self, summary: Summary, staged: list[Component]) -> int:
        """Write a new record over the newest one and remove the oldest beyond ten.

        Returns:
            Its number.
        """
        for _turn in range(4):
            found = self.all()
            last = newest(found)
            before = self.components(self.read(number_of(last))) if last else []
            summary.number = (number_of(last) if last else 0) + 1
            whole = merged(before, staged)
            summary.images = images_of([obj for item in whole for obj in item.objects])
            try:
                self._api.create(manifest(self._namespace, summary, whole))
            except ApiError as error:
                if error.status == 409:
                    continue
                raise
            old = sorted(found, key=number_of)[: max(0, len(found) + 1 - KEPT)]
            # The last release that was healthy is what a rollback goes back to.
            healthy = newest([item for item in found if status_of(item) == "healthy"])
            each(
                [item for item in old if item is not healthy],
                lambda item: self._api.delete(kinds.CONFIG_MAP, objects.name(item), self._namespace),
            )
            return summary.number
        return 0

    def conclude(self, number: int, status: str, reason: str = "") -> None:
        """Write how a release ended; a record that is gone is let go."""
        record = self.read(number)
        if record is None:
            return
        summary = summary_of(record)
        summary.update(status=status, reason=reason, ended=self._api.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
        patch = {
            "metadata": {"labels": {STATUS: status}},
            "data": {SUMMARY_KEY: json.dumps(summary, sort_keys=True, indent=1)},
        }
        self._api.merge(kinds.CONFIG_MAP, f"{PREFIX}{number}", self._namespace, patch)

    def last_healthy(self, before: int = 0) -> dict[str, Any]:
        """The summary of the newest healthy release (older than `before`, when given); empty when there is none."""
        found = [
            item for item in self.all() if status_of(item) == "healthy" and (not before or number_of(item) < before)
        ]
        last = newest(found)
        return summary_of(self.read(number_of(last)) or {}) if last else {}
