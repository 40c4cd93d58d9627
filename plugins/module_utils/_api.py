# SPDX-License-Identifier: GPL-3.0-or-later
"""What the release path needs of a cluster and of time; the real ones are in `_kube`, tests pass fakes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol, TypeVar

from ._errors import ApiError
from ._kinds import Kind
from ._objects import Object

MANAGER = "twisterlab"
WORKERS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


class Clock(Protocol):
    """Time, so that tests need not wait."""

    def time(self) -> float:
        """Seconds of a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""


class Api(Protocol):
    """The API server. Every method raises `ApiError` for an answer outside 2xx, and `Unreachable` without an answer."""

    def kind(self, api_version: str, name: str) -> Kind:
        """Look a kind up; raises `Refused` when the cluster has none of that name."""

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None when it does not exist."""

    def list(
        self, kind: Kind, namespace: str | None = None, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Object]:
        """The objects of a kind."""

    def apply(self, obj: Object, dry_run: bool = False, force: bool = False, manager: str = MANAGER) -> Object:
        """Server-side apply; answers the resulting object."""

    def create(self, obj: Object, dry_run: bool = False) -> Object:
        """Create; a 409 says that it exists."""

    def replace(self, obj: Object, dry_run: bool = False) -> Object:
        """Replace; guarded by `metadata.resourceVersion`."""

    def merge(self, kind: Kind, name: str, namespace: str | None, patch: Object) -> Object:
        """Merge patch."""

    def remove(self, obj: Object, places: Iterable[Sequence[str]]) -> Object:
        """Take parts out of an object, in this order; guarded by its `metadata.resourceVersion`."""

    def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        uid: str = "",
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> bool:
        """Delete; False when it was not there (or is another one than `uid`)."""

    def log(self, namespace: str, pod: str, container: str, lines: int, previous: bool) -> str | None:
        """The last log lines, or None when there are none."""

    def now(self) -> datetime:
        """The server's time in UTC, so that two operators' clocks need not agree."""


def known(
    api: Api, kind: Kind, namespace: str, labels: str, metadata_only: bool = False, unseen: list[str] | None = None
) -> list[Object]:
    """The objects of a kind; none where the kind is unknown or may not be listed, whose name `unseen` then gets."""
    try:
        return api.list(kind, namespace, labels=labels, metadata_only=metadata_only)
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        if error.status == 403 and unseen is not None:
            unseen.append(kind.name)
        return []


def each(items: Iterable[Item], work: Callable[[Item], Result], workers: int = WORKERS) -> list[Result]:
    """Do the work for all items, at most `workers` at once, answers in the items' order.

    Every item is tried; afterwards the first error, if any, is raised.
    """
    todo = list(items)
    if len(todo) < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(max_workers=min(workers, len(todo))) as pool:
        futures = [pool.submit(work, item) for item in todo]
    return [future.result() for future in futures]


def attempt(
    items: Iterable[Item], work: Callable[[Item], Result]
) -> list[tuple[Item, Result | None, Exception | None]]:
    """Like `each`, but with every item's own error beside it."""

    def one(item: Item) -> tuple[Item, Result | None, Exception | None]:
        try:
            return (item, work(item), None)
        except Exception as error:  # handed to the caller, who decides
            return (item, None, error)

    return each(items, one)


def metadata_of(obj: Any) -> Object:
    """The metadata of any object as a dictionary."""
    return obj.get("metadata") or {} if isinstance(obj, dict) else {}
