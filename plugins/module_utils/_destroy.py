# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing what a release made: the workloads always, data and namespace only when that is confirmed.

Only objects with our labels are touched. What stays is named, so that nobody wonders where his data is.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from . import _kinds as kinds
from . import _lease, _namespace, _plan, _record, _rights, _sealed, _secrets
from . import _objects as objects
from ._api import Api, Clock, attempt, each
from ._errors import ApiError, PlatformError, Refused
from ._kinds import Kind
from ._objects import Object, meta

POLL_SECONDS = 1.0
DATA = "the next deploy finds its data in it"
RIGHTS = "made by playbooks/bootstrap.yml; the next deploy needs it"
UNSEEN = "these credentials may not see them; whoever ran playbooks/bootstrap.yml can remove them with destroy.yml"
FORBIDDEN = "these credentials may not delete it; whoever ran playbooks/bootstrap.yml can, with the same command"
#: The pods of our Cluster, which do not carry our labels.
_INSTANCES = ",".join(f"{key}={value}" for key, value in objects.INSTANCES.items())
_GONE = ((kinds.CLAIM, objects.OURS_SELECTOR), (kinds.POD, _INSTANCES), (kinds.CLAIM, _INSTANCES))
# What Kubernetes itself puts into every namespace, or derives from other objects.
DERIVED_KINDS = ("Event", "Endpoints", "EndpointSlice", "ReplicaSet", "ControllerRevision", "PodMetrics", "Lease")
SYSTEM_OBJECTS = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}


@dataclass
class Removal:
    """What was (or would be) removed and what stays.

    Attributes:
        absent: the namespace does not exist.
        deleted: titles.
        kept: pairs of a title and why it stays.
        left: pods that were still there when the time was up.
        waiting: whether the call should be repeated to go on waiting.
    """

    absent: bool = False
    deleted: list[str] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    waiting: bool = False
    namespace_deleted: bool = False


def confirm(purge: bool, confirmation: str, namespace: str) -> None:
    """Refuse a purge that does not name its namespace.

    Raises:
        Refused: with what to write.
    """
    if purge and confirmation != namespace:
        raise Refused(
            f"A purge deletes the volumes and secrets of namespace {namespace} for ever: "
            f"repeat with -e twisterlab_destroy_confirm={namespace} if that is meant (it is {confirmation!r} now)."
        )


class Destroy:
    """The removal from one namespace.

    Args:
        api: the cluster.
        clock: the time.
        namespace: where.
        holder: who destroys; it takes the lease like a release.
        purge: whether volumes, secrets, records and the namespace go too.
        check_mode: only say what would go.
    """

    def __init__(
        self,
        api: Api,
        clock: Clock,
        namespace: str,
        holder: _lease.Holder,
        purge: bool,
        check_mode: bool,
        dead: Any = _lease.is_dead,
    ) -> None:
        self._api, self._clock, self._namespace, self._purge, self._check = api, clock, namespace, purge, check_mode
        self._lease = _lease.Lease(api, namespace, holder, dead)
        self._result = Removal()

    def run(self, seconds: float) -> Removal:
        """Delete, and wait at most that long for the pods; `waiting` says that another call goes on.

        Raises:
            Refused: somebody is releasing to the namespace.
        """
        deadline = self._clock.time() + seconds
        found = self._namespace_object()
        if found and meta(found).get("deletionTimestamp"):
            self._await_namespace(deadline)
            return self._result
        if found is None:
            self._result.absent = True
            return self._result
        # A second run has nothing to do and so writes nothing, not even the hold.
        if self._check or not self._anything():
            self._remove(found, deadline)
            if not self._check and not self._result.waiting and not self._result.namespace_deleted:
                # The last pods may have gone between two calls of one run, which holds it still.
                self._lease.end()
            return self._result
        self._lease.acquire()
        self._lease.keep()
        try:
            self._remove(found, deadline)
        except PlatformError:
            with contextlib.suppress(PlatformError):
                self._lease.end()
            raise
        finally:
            self._lease.stop()
        if not self._result.waiting and not self._result.namespace_deleted:
            self._end()
        return self._result

    def _anything(self) -> bool:
        live = _plan.inventory(self._api, self._namespace, [])
        rights = self._rights(live)
        rest = [obj for obj in live.live.values() if obj not in rights]
        if any(self._kind(obj).prunable and not objects.is_kept(obj) for obj in rest) or self._awake(live):
            return True
        for labels in (objects.OURS_SELECTOR, _INSTANCES):
            if self._api.list(kinds.POD, self._namespace, labels=labels, metadata_only=True):
                return True
        return self._purge and bool(self._data(live) or self._may_take(rights))

    def _end(self) -> None:
        if self._purge:
            self._api.delete(kinds.LEASE, _lease.LEASE_NAME, self._namespace)
        else:
            self._lease.end()

    def _namespace_object(self) -> Object | None:
        try:
            found = self._api.get(kinds.NAMESPACE, self._namespace)
        except ApiError as error:
            if error.status == 403:
                return {}
            raise
        if found is None or meta(found).get("deletionTimestamp"):
            return found
        if not objects.is_ours(found):
            try:
                _namespace.state(found, self._namespace)
            except Refused:
                # Not ours and not lent: then nothing in it carries our labels, or it does and is ours to remove.
                self._result.kept.append((f"Namespace/{self._namespace}", "it was not made by twisterlab.platform"))
        return found

    def _remove(self, namespace: Object, deadline: float) -> None:
        live = _plan.inventory(self._api, self._namespace, [])
        pods = self._api.list(kinds.POD, self._namespace, labels=objects.OURS_SELECTOR, metadata_only=True)
        rights = self._rights(live)
        gone = [
            obj for obj in live.live.values() if obj not in rights and not objects.owner(obj) and self._is_workload(obj)
        ]
        gone += [pod for pod in pods if not objects.owner(pod)]
        if self._purge and self._may_take(rights):
            gone += rights
        else:
            self._result.kept += [(objects.title(obj), RIGHTS) for obj in rights]
        if kinds.CLUSTER_ROLE.name in live.unseen:
            self._result.kept.append((f"ClusterRoles of namespace {self._namespace}", UNSEEN))
        self._delete(gone)
        self._put_to_sleep(live)
        if not self._await_pods(deadline):
            return
        data = self._data(live)
        if not self._purge:
            if data and namespace and objects.is_ours(namespace):
                self._result.kept.append((f"Namespace/{self._namespace}", DATA))
            self._result.kept += [(objects.title(obj), DATA) for obj in data]
            return
        self._delete(data)
        if not all(self._await_gone(kind, deadline, labels) for kind, labels in _GONE):
            return
        self._remove_namespace(namespace, deadline)

    @staticmethod
    def _rights(live: _plan.Inventory) -> list[Object]:
        """What bootstrap made, by which perhaps this very run may do what it does."""
        return [obj for obj in live.live.values() if objects.component(obj) == _rights.COMPONENT]

    def _may_take(self, rights: list[Object]) -> bool:
        """Who sees those of the whole cluster is its administrator; anybody else would take his own rights away."""
        return any(not self._kind(obj).namespaced for obj in rights)

    def _is_workload(self, obj: Object) -> bool:
        if objects.is_kept(obj) and not self._purge:
            self._result.kept.append((objects.title(obj), f"it is marked {objects.KEEP}"))
            return False
        return self._kind(obj).prunable

    @staticmethod
    def _awake(live: _plan.Inventory) -> list[Object]:
        """The Clusters of CloudNativePG that run."""
        clusters = [obj for obj in live.live.values() if obj.get("kind") == kinds.CLUSTER.name]
        return [obj for obj in clusters if objects.notes(obj).get(objects.HIBERNATION) != "on"]

    def _put_to_sleep(self, live: _plan.Inventory) -> None:
        """End the pods of what would take its volumes with it; its operator does it."""
        for obj in self._awake(live):
            patch = {"metadata": {"annotations": {objects.HIBERNATION: "on"}}}
            if not self._check and not self._purge:
                self._lease.check()
                self._api.merge(kinds.CLUSTER, objects.name(obj), self._namespace, patch)

    def _data(self, live: _plan.Inventory) -> list[Object]:
        """Volumes' claims, Clusters with theirs, the Secrets and the release records."""
        kept = (kinds.CLAIM.name, kinds.CLUSTER.name)
        found = [obj for obj in live.live.values() if obj.get("kind") in kept]
        for name in (_secrets.SECRET_NAME, *_sealed.NAMES):
            secret = self._api.get(kinds.SECRET, name, self._namespace)
            if secret is not None and objects.is_ours(secret):
                found.append({**secret, "data": {}})
        found += _record.Records(self._api, self._namespace).all()
        return found

    def _delete(self, found: list[Object]) -> None:
        """Delete in the inverse order of applying."""
        by_order: dict[int, list[Object]] = {}
        for obj in found:
            if not meta(obj).get("deletionTimestamp"):
                by_order.setdefault(-self._kind(obj).order, []).append(obj)
        for order in sorted(by_order):
            self._lease.check()
            problems = []
            for obj, deleted, error in attempt(by_order[order], self._delete_one):
                if error:
                    problems.append(f"{objects.title(obj)}: {error}")
                elif deleted:
                    self._result.deleted.append(objects.title(obj))
            if problems:
                raise PlatformError("Not everything could be deleted: " + "; ".join(problems))

    def _delete_one(self, obj: Object) -> bool:
        kind = self._kind(obj)
        namespace = self._namespace if kind.namespaced else None
        return self._api.delete(
            kind, objects.name(obj), namespace, uid=str(meta(obj).get("uid", "")), dry_run=self._check
        )

    def _kind(self, obj: Object) -> Kind:
        return self._api.kind(obj["apiVersion"], obj["kind"])

    def _await_pods(self, deadline: float) -> bool:
        if not self._await_gone(kinds.POD, deadline):
            return False
        # In a purge they go with their Cluster, later.
        if self._purge or self._await_gone(kinds.POD, deadline, _INSTANCES):
            return True
        cluster = self._api.get(kinds.CLUSTER, objects.CLUSTER, self._namespace) or {}
        for condition in (cluster.get("status") or {}).get("conditions") or []:
            # Its operator puts only a healthy one to sleep.
            if condition.get("type") == objects.HIBERNATION and condition.get("reason") == "WaitingForHealthy":
                self._result.left.append(f"{objects.title(cluster)}: {condition.get('message')}")
        return False

    def _await_gone(self, kind: Kind, deadline: float, labels: str = objects.OURS_SELECTOR) -> bool:
        """Wait until nothing of a kind with these labels is left; False when the time of this call is up."""
        while not self._check:
            found = self._api.list(kind, self._namespace, labels=labels, metadata_only=True)
            self._result.left = [objects.title(obj) for obj in found]
            if not found:
                return True
            if self._clock.time() >= deadline:
                self._result.waiting = True
                return False
            self._clock.sleep(POLL_SECONDS)
        return True

    def _remove_namespace(self, namespace: Object, deadline: float) -> None:
        title = f"Namespace/{self._namespace}"
        if not namespace or not objects.is_ours(namespace):
            if not any(name == title for name, _why in self._result.kept):
                self._result.kept.append((title, "it was not made by twisterlab.platform"))
            return
        uid = str(meta(namespace).get("uid", ""))
        try:
            self._api.delete(kinds.NAMESPACE, self._namespace, uid=uid, dry_run=True)
        except ApiError as error:
            if error.status != 403:
                raise
            self._result.kept.append((title, FORBIDDEN))
            return
        foreign = self._foreign()
        if foreign:
            self._result.kept.append((title, f"objects of others are in it: {objects.sentence_list(foreign)}"))
            return
        if self._check:
            self._result.deleted.append(title)
            return
        self._lease.check()
        self._lease.stop()
        if self._api.delete(kinds.NAMESPACE, self._namespace, uid=uid):
            self._result.deleted.append(title)
        self._result.namespace_deleted = True
        self._await_namespace(deadline)

    def _await_namespace(self, deadline: float) -> None:
        while not self._check and self._api.get(kinds.NAMESPACE, self._namespace) is not None:
            if self._clock.time() >= deadline:
                self._result.left = [f"Namespace/{self._namespace}"]
                self._result.waiting = True
                return
            self._clock.sleep(POLL_SECONDS)
        self._result.left = []

    def _foreign(self) -> list[str]:
        """Titles of what is in the namespace and neither ours nor Kubernetes' own."""

        def one(kind: Kind) -> list[Object]:
            try:
                return self._api.list(kind, self._namespace, metadata_only=True)
            except ApiError as error:
                if error.status in (403, 404, 405):
                    return []
                raise

        found = []
        for items in each(self._api.namespaced_kinds(), one):  # type: ignore[attr-defined]
            for obj in items:
                if (
                    objects.is_ours(obj)
                    or objects.owner(obj)
                    or obj["kind"] in DERIVED_KINDS
                    or (obj["kind"], objects.name(obj)) in SYSTEM_OBJECTS
                ):
                    continue
                found.append(objects.title(obj))
        return sorted(found)


def text(removal: Removal, namespace: str, check_mode: bool) -> str:
    """What was done and what stays, for people."""
    if removal.absent:
        return f"namespace {namespace} does not exist; there is nothing to remove"
    done = "would be removed" if check_mode else "removed"
    number = len(removal.deleted)
    head = (
        f"{number} {'object' if number == 1 else 'objects'} {done} from namespace {namespace}"
        if number
        else f"nothing to remove from namespace {namespace}"
    )
    by_reason: dict[str, list[str]] = {}
    for title, why in removal.kept:
        by_reason.setdefault(why, []).append(title)
    parts = [f"{_titles(titles)} ({_why(why, namespace)})" for why, titles in by_reason.items()]
    return f"{head}; kept: {'; '.join(parts)}" if parts else f"{head}; nothing is kept"


def _titles(titles: list[str]) -> str:
    """The titles, the release records only counted."""
    records = [title for title in titles if title.startswith(f"ConfigMap/{_record.PREFIX}")]
    shown = [title for title in titles if title not in records]
    if records:
        shown.append("1 release record" if len(records) == 1 else f"{len(records)} release records")
    return ", ".join(shown)


def _why(why: str, namespace: str) -> str:
    if why != DATA:
        return why
    return f"{why}; -e twisterlab_purge=true -e twisterlab_destroy_confirm={namespace} removes it for ever"
