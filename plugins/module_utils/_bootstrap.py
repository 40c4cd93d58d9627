# SPDX-License-Identifier: GPL-3.0-or-later
"""What an administrator does once, so that a deploy needs a Role of its namespace and no more.

The namespace and every cluster-scoped object that the tiers staged, then the deployer's account with its rights
(`_rights`), then a kubeconfig with a token that ends by itself. What is as it should be is not written again.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from . import _compare as compare
from . import _kinds as kinds
from . import _kubeconfig, _namespace, _plan, _rights
from . import _objects as objects
from ._api import attempt
from ._errors import ApiError, PlatformError, Refused
from ._kinds import Kind
from ._objects import Object
from ._plan import CREATE, SAME, Step
from ._stage import Component

#: What only an administrator of the cluster may write.
OUTSIDE = (kinds.NAMESPACE, kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING)
LISTED = [kinds.ACCOUNT, kinds.ROLE, kinds.ROLE_BINDING, kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING]


@dataclass
class Answer:
    """What was (or would be) done.

    Attributes:
        created, changed, deleted: titles of objects.
        diff: differences.
        uid: of the deployer's account; empty while there is none.
    """

    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    uid: str = ""

    @property
    def touched(self) -> bool:
        """Whether the cluster is (or would be) another."""
        return bool(self.created or self.changed or self.deleted)


class Bootstrap:
    """One namespace made ready.

    Args:
        api: the cluster, with an administrator's rights.
        namespace: which.
        staged: what the tiers staged; the cluster-scoped objects in it count.
        check_mode: only say what would be done.
    """

    def __init__(self, api: Any, namespace: str, staged: list[Component], check_mode: bool) -> None:
        self._api, self._namespace, self._check = api, namespace, check_mode
        self._components = {item.component for item in staged} | {_rights.COMPONENT}
        self._staged = [obj for item in staged for obj in item.objects if not self._kind(obj).namespaced]
        self._answer = Answer()

    def run(self) -> Answer:
        """Make it so.

        Raises:
            Refused: the namespace or an object of that name is somebody else's, or a right is lacking.
        """
        self._require_administrator()
        found = self._api.get(kinds.NAMESPACE, self._namespace)
        state = _namespace.state(found, self._namespace)
        desired = _plan.placed([*self._staged, *_rights.manifests(self._namespace)], self._namespace, self._api)
        if state == _namespace.LENT:
            desired = [obj for obj in desired if obj["kind"] != "Namespace"]
        fresh = found is None
        if fresh and self._check:
            self._note_all(_plan.offline(desired, self._api))
            return self._answer
        if fresh:
            desired = self._make_namespace(desired)
        live = _plan.inventory(self._api, self._namespace, desired, LISTED)
        if found is not None and state == _namespace.OWN:
            live.live[objects.key(found)] = found
        steps = _plan.make(self._api, desired, live, fresh)
        left = [step for step in steps if step.left]
        if left:
            raise Refused(left[0].left)
        gone, _kept = _plan.superfluous(live, desired, self._components)
        # A tier's own Role belongs to the release.
        gone = [obj for obj in gone if not self._kind(obj).namespaced]
        if self._check:
            self._note_all(steps)
        else:
            self._apply(steps)
        self._remove(gone)
        account = self._api.get(kinds.ACCOUNT, _rights.ACCOUNT, self._namespace)
        self._answer.uid = str(objects.meta(account or {}).get("uid") or "")
        return self._answer

    def _require_administrator(self) -> None:
        denied = [
            f"{verb} {kind.plural}"
            for kind in OUTSIDE
            for verb in ("create", "patch")
            if not self._api.allowed(None, kind.group, kind.plural, verb)
        ]
        if denied:
            raise Refused(
                f"These credentials may not {', '.join(denied)}, and a bootstrap makes such objects: give the kubeconfig of an administrator "
                "of the cluster in twisterlab_kubeconfig."
            )

    def _make_namespace(self, desired: list[Object]) -> list[Object]:
        mine = next((obj for obj in desired if obj["kind"] == "Namespace"), None)
        if mine is None:
            raise Refused(
                f"The namespace {self._namespace} does not exist, and this run does not stage it: run playbooks/bootstrap.yml without --tags."
            )
        self._note(Step(mine, kinds.NAMESPACE, action=CREATE), self._api.apply(mine))
        return [obj for obj in desired if obj is not mine]

    def _apply(self, steps: list[Step]) -> None:
        """Apply in the order of kinds; objects of one order at once."""
        todo = [step for step in steps if step.apply]
        for order in sorted({step.kind.order for step in todo}):
            problems = []
            for step, result, error in attempt([step for step in todo if step.kind.order == order], self._apply_one):
                if error:
                    problems.append(f"{objects.title(step.desired)}: {error}")
                elif result is not None:
                    self._note(step, result)
            if problems:
                raise PlatformError("; ".join(problems))

    def _apply_one(self, step: Step) -> Object:
        # Fields that somebody else had set are ours again, as with a release.
        result: Object = self._api.apply(step.desired, force=bool(step.taken))
        if step.live is not None and compare.same(step.live, result):
            step.action = SAME
        return result

    def _remove(self, gone: list[Object]) -> None:
        """Remove what a tier no longer needs."""
        for obj in sorted(gone, key=lambda item: -self._kind(item).order):
            kind = self._kind(obj)
            uid = str(objects.meta(obj).get("uid", ""))
            if self._api.delete(kind, objects.name(obj), uid=uid, dry_run=self._check):
                self._answer.deleted.append(objects.title(obj))
                self._answer.diff.append(compare.difference(obj, None, str))

    def _kind(self, obj: Object) -> Kind:
        found: Kind = self._api.kind(obj["apiVersion"], obj["kind"])
        return found

    def _note_all(self, steps: list[Step]) -> None:
        for step in steps:
            self._note(step, step.result if step.result is not None else step.desired)

    def _note(self, step: Step, after: Object) -> None:
        if step.action == SAME:
            return
        listed = self._answer.created if step.action == CREATE else self._answer.changed
        listed.append(objects.title(step.desired))
        self._answer.diff.append(compare.difference(step.live, after, str))


def place(configuration: Any) -> _kubeconfig.Place:
    """The cluster as these credentials reach it.

    Args:
        configuration: of the client of Kubernetes.
    """
    rest: dict[str, Any] = {}
    if not getattr(configuration, "verify_ssl", True):
        rest["insecure-skip-tls-verify"] = True
    elif getattr(configuration, "ssl_ca_cert", None):
        rest["certificate-authority-data"] = base64.b64encode(Path(configuration.ssl_ca_cert).read_bytes()).decode()
    # A proxy is how this machine gets there, and not written down.
    if getattr(configuration, "tls_server_name", None):
        rest["tls-server-name"] = str(configuration.tls_server_name)
    return _kubeconfig.Place(str(configuration.host), rest)


def renewed(
    api: Any, text: str | None, wanted: _kubeconfig.Wanted, now: datetime
) -> tuple[str | None, datetime | None]:
    """The kubeconfig's new text, None where the old one stays, and when its token ends.

    Args:
        api: the cluster.
        text: what the file holds; None when there is none.
        wanted: what it must be for.
        now: the server's time.

    Raises:
        PlatformError: no token is given.
    """
    ends = _kubeconfig.good_until(text, wanted, now) if text is not None else None
    if ends is not None:
        return None, ends
    try:
        given = api.token(wanted.namespace, wanted.account, int(wanted.hours * 3600))
    except ApiError as error:
        raise PlatformError(
            f"The cluster gives no token to ServiceAccount/{wanted.account} of namespace {wanted.namespace}: {error.message}"
        ) from error
    return _kubeconfig.made(wanted, str(given["token"])), _time(str(given.get("expirationTimestamp") or ""))


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
