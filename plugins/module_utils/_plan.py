# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release would do, asked of the server by dry runs before anything is touched.

Every desired object is applied server-side with `dryRun=All`; what the server would make of it is compared with what
is there. So schema errors, admission refusals and immutable fields are known before the first write, and a release
that changes nothing writes nothing.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

from . import _compare as compare
from . import _kinds as kinds
from . import _objects as objects
from . import _secrets
from ._api import MANAGER, Api, attempt, each
from ._errors import ApiError, Refused
from ._kinds import Kind
from ._objects import Object

CREATE, CHANGE, SAME = "create", "change", "same"


@dataclass
class Step:
    """One desired object.

    Attributes:
        desired: what is applied.
        kind: its kind.
        live: what is there; None when it is not.
        result: what the server would make of it; None when it could not be asked.
        action: create, change or same.
        apply: whether it must be applied, if only to own its fields.
        taken: fields that somebody else had set and that are ours again.
        remake: whether it must be deleted first, because its kind cannot be changed.
        left: why it stays as it is, though it is not what is wanted; empty where that is not so.
    """

    desired: Object
    kind: Kind
    live: Object | None = None
    result: Object | None = None
    action: str = SAME
    apply: bool = False
    taken: list[str] = field(default_factory=list)
    remake: bool = False
    left: str = ""


@dataclass
class Inventory:
    """What of ours is in the cluster, by key, and which kinds could not be listed."""

    live: dict[tuple[str, str, str], Object] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)

    def of(self, obj: Object) -> Object | None:
        """The live object of a desired one."""
        return self.live.get(objects.key(obj))


#: What to do where the server does not know the kinds of an API.
_BRINGS = {
    "cert-manager.io/v1": "install cert-manager, or choose another twisterlab_tls_mode",
    kinds.CLUSTER.api_version: "install the operator CloudNativePG, or write twisterlab_postgres: {mode: single}",
}
#: Where Postgres has its data, by its mode; a release has one of them.
_DATA = {kinds.CLAIM.name: "postgres-data", kinds.CLUSTER.name: objects.CLUSTER}


def inventory(api: Api, namespace: str, desired: list[Object], listed: list[Kind] | None = None) -> Inventory:
    """One LIST a kind, in parallel: the kinds of the release and those that a prune looks at.

    Cluster-scoped objects count only when their instance label is this namespace. Who may not list those of a kind
    is asked about each by name later.
    """
    wanted = {kind.name: kind for kind in (kinds.listed_kinds() if listed is None else listed)}
    needed = set()
    for obj in desired:
        kind = api.kind(obj["apiVersion"], obj["kind"])
        needed.add(kind.name)
        if kind is not kinds.NAMESPACE:
            wanted[kind.name] = kind
    found = Inventory()
    for kind, items, error in attempt(wanted.values(), lambda kind: _list(api, kind, namespace)):
        if isinstance(error, ApiError) and (
            (error.status in (403, 404) and kind.name not in needed) or (error.status == 403 and not kind.namespaced)
        ):
            found.unseen.append(kind.name)
        elif isinstance(error, ApiError) and error.status == 404:
            raise Refused(
                f"This cluster has no kind {kind.name} of {kind.api_version}: "
                f"{_BRINGS.get(kind.api_version, 'install the operator that brings it, or leave the object out')}."
            )
        elif error:
            raise error
        for item in items or []:
            if not kind.namespaced and objects.labels(item).get(objects.INSTANCE) != namespace:
                continue
            if objects.RECORD not in objects.labels(item):
                found.live[objects.key(item)] = item
    return found


def _list(api: Api, kind: Kind, namespace: str) -> list[Object]:
    # Without the records: each holds a whole release.
    selector = f"{objects.OURS_SELECTOR},!{objects.RECORD}" if kind is kinds.CONFIG_MAP else objects.OURS_SELECTOR
    return api.list(kind, namespace if kind.namespaced else None, labels=selector)


def placed(found: list[Object], namespace: str, api: Api) -> list[Object]:
    """Copies of the objects in their namespace.

    Raises:
        Refused: an object names another namespace.
    """
    result = []
    for original in found:
        obj = copy.deepcopy(original)
        kind = api.kind(obj["apiVersion"], obj["kind"])
        own = objects.meta(obj).get("namespace")
        if kind is kinds.NAMESPACE and objects.name(obj) != namespace:
            raise Refused(
                f"Namespace/{objects.name(obj)} is staged for a release to {namespace}: stage only the namespace twisterlab_namespace."
            )
        if kind.namespaced and own not in (None, namespace):
            raise Refused(
                f"{objects.title(obj)} is written for namespace {own}, and this release goes to {namespace}: use twisterlab_namespace in its template."
            )
        if kind.namespaced:
            obj["metadata"]["namespace"] = namespace
        result.append(obj)
    return result


def add_checksums(
    found: list[Object], live: Inventory, values: dict[str, str], secret: str = _secrets.SECRET_NAME
) -> None:
    """Annotate pod templates with digests of the Secret's keys and ConfigMaps they refer to, so that a change rolls them.

    A ConfigMap that is not staged in this run counts with what is in the cluster: a partial run must not roll pods.
    One that is named in the template's annotation `twisterlab.io/reloads` is read anew by the running pod and left out, and so
    is a key of the Secret in `twisterlab.io/reloads-keys`: a server is told of a new password without a restart.
    """
    configs = {objects.name(obj): obj for obj in live.live.values() if obj.get("kind") == "ConfigMap"}
    configs.update({objects.name(obj): obj for obj in found if obj["kind"] == "ConfigMap"})
    for obj in found:
        template = objects.template(obj)
        if template is None or obj["kind"] == "Pod":
            continue
        spec = template.get("spec") or {}
        notes = {}
        given = objects.meta(template).get("annotations") or {}
        keys = objects.secret_keys(spec, secret) - set(str(given.get(objects.RELOADS_KEYS) or "").split(","))
        if keys:
            notes[f"checksum/secret-{secret}"] = _secrets.checksum(values, keys)
        reloaded = str(given.get(objects.RELOADS) or "").split(",")
        for name in objects.config_names(spec):
            if name in configs and name not in reloaded:
                notes[f"checksum/config-{name}"] = _secrets.config_checksum(configs[name])
        if notes:
            metadata = template.setdefault("metadata", {})
            metadata["annotations"] = {**(metadata.get("annotations") or {}), **notes}


def check_references(found: list[Object], values: dict[str, str], secret: str = _secrets.SECRET_NAME) -> None:
    """Refuse pods that refer to a key the Secret will not have: they could never start.

    Raises:
        Refused: naming the workload and the key.
    """
    for obj in found:
        for key in sorted(
            objects.secret_keys(objects.pod_spec(obj), secret, required=True) - {objects.ALL_KEYS} - set(values)
        ):
            raise Refused(
                f"{objects.title(obj)} refers to the key {key} of Secret {secret}, which nobody makes: "
                f"supply it with twisterlab_secrets: {{{key}: <value>}}, or remove it from the secret_env of {objects.variable_of(objects.component(obj))}."
            )


def check_data(found: list[Object], live: Inventory, namespace: str) -> None:
    """Refuse another mode of Postgres while the data is where the former mode has it: the database would be empty.

    Raises:
        Refused: with the way to migrate.
    """
    titles = [f"{kind}/{name}" for kind, name in _DATA.items()]
    wanted = {objects.title(obj) for obj in found} & set(titles)
    former = {objects.title(obj) for obj in live.live.values()} & set(titles) - wanted
    for title in sorted(former) if wanted else []:
        workload = "statefulset/postgres " if title == titles[0] else ""
        raise Refused(
            f"The data of Postgres is in {title}, which is not used in this twisterlab_postgres.mode, so the database would be empty: write the former mode, or "
            f"migrate, by playbooks/backup.yml, 'kubectl -n {namespace} delete {workload}{title.lower()}', this again and playbooks/restore.yml (docs/backup.md)."
        )


def check_major(found: list[Object], live: Inventory) -> None:
    """Refuse another major version for a Cluster: its operator would convert the data in place, to what backups of today are not restored into.

    Raises:
        Refused: with the way to another version.
    """
    for obj in found:
        if obj.get("kind") != kinds.CLUSTER.name:
            continue
        image = str(obj["spec"]["imageName"])
        told = ((live.of(obj) or {}).get("status") or {}).get("pgDataImageInfo") or {}
        match, present = re.search(r":(\d+)[^/:]*(@[^/]*)?$", image), told.get("majorVersion")
        if match and present and int(match[1]) != int(present):
            raise Refused(
                f"{objects.title(obj)} has data of Postgres {present}, and {image} is {match[1]}: write an image of {present}, or go on as for another mode, "
                "by a backup, a new Cluster and a restore (docs/backup.md)."
            )


def make(api: Api, desired: list[Object], live: Inventory, fresh: bool) -> list[Step]:
    """Ask the server what each object would become.

    Args:
        api: the cluster.
        desired: placed objects with their checksums.
        live: what is there.
        fresh: the namespace was made by this very run, so nothing foreign can be in it.

    Raises:
        Refused: the server would not take an object, or one of that name is not ours.
    """
    steps = [Step(obj, api.kind(obj["apiVersion"], obj["kind"]), live.of(obj)) for obj in desired]
    if not fresh:
        each([step for step in steps if step.live is None], lambda step: _refuse_foreign(api, step))
    problems = [
        f"{objects.title(step.desired)}: {error}"
        for step, _none, error in attempt(steps, lambda step: _ask(api, step))
        if error
    ]
    if problems:
        raise Refused("The cluster refuses " + "; ".join(problems))
    return steps


def offline(desired: list[Object], api: Api) -> list[Step]:
    """The plan for a namespace that does not exist: everything would be created, and the server cannot be asked."""
    return [Step(obj, api.kind(obj["apiVersion"], obj["kind"]), action=CREATE, apply=True) for obj in desired]


def _refuse_foreign(api: Api, step: Step) -> None:
    if step.kind is kinds.NAMESPACE:
        return
    namespace = step.desired["metadata"].get("namespace")
    try:
        found = api.get(step.kind, objects.name(step.desired), namespace)
    except ApiError as error:
        if error.status != 403 or step.kind.namespaced:
            raise
        # The dry run tells what to do about it.
        return
    if found is None:
        return
    if objects.is_ours(found) and objects.labels(found).get(objects.INSTANCE) == objects.labels(step.desired).get(
        objects.INSTANCE
    ):
        step.live = found
        return
    where = f" in namespace {namespace}" if namespace else ""
    labels = " ".join(
        f"{key}={value}"
        for key, value in {
            **objects.OURS,
            objects.INSTANCE: objects.labels(step.desired).get(objects.INSTANCE, ""),
        }.items()
    )
    raise Refused(
        f"{objects.title(step.desired)} exists{where} and is not ours: remove or rename it, or hand it over with "
        f"'kubectl{' -n ' + namespace if namespace else ''} label {step.kind.name.lower()} {objects.name(step.desired)} {labels} --overwrite'."
    )


def _ask(api: Api, step: Step) -> None:
    try:
        step.result = api.apply(step.desired, dry_run=True)
    except ApiError as error:
        if error.status == 409 and error.causes:
            step.taken = [_conflict(cause) for cause in error.causes]
            step.result = api.apply(step.desired, dry_run=True, force=True)
        elif step.kind.name == "Job" and error.status == 422 and step.live is not None:
            step.remake = True
        elif error.status == 403 and not step.kind.namespaced:
            _leave(step, error)
            return
        elif error.status == 404 and step.kind.name in ("RoleBinding", "ClusterRoleBinding"):
            # Its role comes with this release.
            step.result = None
        elif "dry run" in error.message.lower() or "dry-run" in error.message.lower():
            # A webhook that cannot be asked: the real apply will tell.
            step.result = None
        else:
            raise Refused(sentence(error, step)) from error
    _decide(step)


def _leave(step: Step, error: ApiError) -> None:
    """What is cluster-scoped and may not be written stays as an administrator made it.

    Raises:
        Refused: it is not there.
    """
    title = objects.title(step.desired)
    if step.live is None:
        raise Refused(
            f"{' '.join(error.message.split())}; let the cluster's administrator make it with playbooks/bootstrap.yml"
        ) from error
    step.result = step.live
    # Labels of a role may be those of another version; those of a namespace have effects.
    wanted = {key: value for key, value in step.desired.items() if key != "metadata" or step.kind is kinds.NAMESPACE}
    if not compare.covers(step.live, wanted):
        step.left = (
            f"{title} is not what this release wants and these credentials may not change it, so it stays as it is: "
            "let the cluster's administrator run playbooks/bootstrap.yml again."
        )


def _decide(step: Step) -> None:
    if step.live is None:
        step.action, step.apply = CREATE, True
    elif step.remake or step.result is None or not compare.same(step.live, step.result):
        step.action, step.apply = CHANGE, True
    else:
        owned = compare.owned_fields(step.live, MANAGER)
        step.apply = owned != compare.owned_fields(step.result, MANAGER)


def _conflict(cause: dict[str, Any]) -> str:
    return f"{str(cause.get('field', '')).lstrip('.')} ({cause.get('message', '')})"


def sentence(error: ApiError, step: Step) -> str:
    """What the server does not like about an object, and what to do about it."""
    message = " ".join(error.message.split())
    title, name = step.kind.name.lower(), objects.name(step.desired)
    namespace = step.desired["metadata"].get("namespace")
    where = f" -n {namespace}" if namespace else ""
    if error.status == 422 and step.kind is kinds.CLAIM and "less than" in message:
        return f"{message}; a volume cannot shrink: ask for at least its present size, or restore a backup into a smaller one"
    if error.status == 422 and step.kind is kinds.CLAIM and "immutable" in message:
        return f"{message}; a volume keeps its class and mode: write the former value, or back its data up, delete it and restore into the new one"
    if error.status == 422 and ("immutable" in message or "updates to" in message):
        return (
            f"{message}; it cannot be changed in place: delete it with 'kubectl{where} delete {title} {name}' and deploy again"
            + (" (its volumes stay)" if step.kind is kinds.STATEFUL_SET else "")
        )
    if error.status == 403:
        return f"{message}; ask the cluster's administrator for this right"
    return message


def public_names(obj: Object) -> list[str]:
    """The host names of an Ingress or an HTTPRoute; of none for another object."""
    spec = obj.get("spec") or {}
    if obj.get("kind") == kinds.HTTP_ROUTE.name:
        return [str(name) for name in spec.get("hostnames") or []]
    if obj.get("kind") == kinds.INGRESS.name:
        return [str(rule["host"]) for rule in spec.get("rules") or [] if rule.get("host")]
    return []


def ingress_conflicts(api: Api, steps: list[Step], namespace: str) -> list[str]:
    """Refuse a host name that an Ingress or an HTTPRoute of another namespace serves already.

    Returns:
        A sentence when that could not be checked.

    Raises:
        Refused: with the host and its owner.
    """
    wanted = {
        name: step
        for step in steps
        if step.kind in (kinds.INGRESS, kinds.HTTP_ROUTE) and step.action != SAME
        for name in public_names(step.desired)
    }
    if not wanted:
        return []
    unseen = []
    for kind in (kinds.INGRESS, kinds.HTTP_ROUTE):
        try:
            found = api.list(kind)
        except ApiError as error:
            # Where the Gateway API is not installed, nobody has a route.
            if kind is kinds.INGRESS or error.status != 404:
                unseen.append(f"{kind.name}{'e' if kind is kinds.INGRESS else ''}s")
            continue
        for item in found:
            other = objects.meta(item).get("namespace")
            for host in public_names(item):
                if other != namespace and host in wanted:
                    raise Refused(
                        f"The host {host} of {objects.title(wanted[host].desired)} belongs to {objects.title(item)} of namespace {other}: "
                        "set twisterlab_domain to another domain."
                    )
    if not unseen:
        return []
    return [
        f"Whether another namespace serves a public name of this release was not checked: no permission to list {' and '.join(unseen)} of all namespaces."
    ]


def superfluous(live: Inventory, desired: list[Object], components: set[str]) -> tuple[list[Object], list[Object]]:
    """What is ours, belongs to a staged component and is rendered no longer.

    Returns:
        What a prune deletes, and what is protected and stays.
    """
    wanted = {objects.key(obj) for obj in desired}
    gone: list[Object] = []
    kept: list[Object] = []
    for key, obj in sorted(live.live.items()):
        if key in wanted or objects.component(obj) not in components or objects.owner(obj):
            continue
        kind = kinds.find(obj["apiVersion"], obj["kind"])
        protected = objects.is_kept(obj) or (kind is not None and not kind.prunable)
        (kept if protected else gone).append(obj)
    return gone, kept
