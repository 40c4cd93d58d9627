# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deploy may do: the one list from which the deploy Role, preflight's questions and docs/security.md are made.

A right stands here because a line of this collection uses it, or because a Role of our own pods holds it: the API
server lets nobody make a Role that may do more than its maker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from . import _kinds as kinds
from . import _lease, _sealed, _secrets
from . import _objects as objects
from ._objects import Object

#: Why a right is needed: to release and judge, to make the tiers' Roles, for kinds of single tiers, to look without need, to verify, to destroy.
RELEASE, ROLES, TIERS, LOOK, VERIFY, DESTROY = "release", "roles", "tiers", "look", "verify", "destroy"
RBAC = "rbac.authorization.k8s.io"
#: Component of everything that playbooks/bootstrap.yml makes for the deployer.
COMPONENT = "bootstrap"
ACCOUNT = "twisterlab-deployer"
#: The tiers that have a ClusterRole of their own, named `<namespace>-<tier>`.
CLUSTER_TIERS = ("kube-state-metrics", "prometheus")


@dataclass(frozen=True)
class Right:
    """Some verbs on one resource of the namespace.

    Attributes:
        group: API group; empty for the core group.
        resource: plural, with `/subresource` where it is one.
        verbs: what is done.
        part: when it is needed.
        why: for people.
        names: the only objects that it is about; empty for all. Nobody can be allowed to create by name.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]
    part: str
    why: str
    names: tuple[str, ...] = ()


_WRITE = ("get", "list", "create", "patch", "delete")
_SECRET, _SEALED, _LEASE = (_secrets.SECRET_NAME,), _sealed.NAMES, (_lease.LEASE_NAME,)

RIGHTS: tuple[Right, ...] = (
    Right("", "configmaps", _WRITE, RELEASE, "configuration; the records of the last ten releases"),
    Right("", "services", _WRITE, RELEASE, "addresses of the tiers"),
    Right("", "serviceaccounts", _WRITE, RELEASE, "an account for each tier's pods"),
    Right("", "persistentvolumeclaims", ("get", "list", "create", "patch"), RELEASE, "volumes; never removed by a release"),
    Right("", "secrets", ("get", "update"), RELEASE, "the stack's own Secret", _SECRET),
    Right("", "secrets", ("create",), RELEASE, "the first deploy makes it"),
    Right("", "pods", ("get", "list", "create", "delete"), RELEASE, "judging; a throw-away pod tries a new image; a stuck pod is removed"),
    Right("", "pods/log", ("get",), RELEASE, "the last lines of what is broken"),
    Right("", "events", ("list",), RELEASE, "why something does not start"),
    Right("apps", "deployments", _WRITE, RELEASE, "workloads"),
    Right("apps", "statefulsets", _WRITE, RELEASE, "workloads"),
    Right("apps", "replicasets", ("list",), RELEASE, "whose a pod is"),
    Right("autoscaling", "horizontalpodautoscalers", _WRITE, RELEASE, "the API's autoscaler"),
    Right("policy", "poddisruptionbudgets", _WRITE, RELEASE, "how many pods a drained node may take at once"),
    Right("coordination.k8s.io", "leases", ("get", "update"), RELEASE, "who releases, and no other Lease", _LEASE),
    Right("coordination.k8s.io", "leases", ("create",), RELEASE, "the first deploy makes it"),
    Right(RBAC, "roles", _WRITE, ROLES, "what Prometheus, kube-state-metrics and the backup may read"),
    Right(RBAC, "rolebindings", _WRITE, ROLES, "the same"),
    Right("", "pods", ("watch",), ROLES, "held by Prometheus and kube-state-metrics, so their maker must hold it"),
    Right("", "persistentvolumeclaims", ("watch",), ROLES, "held by kube-state-metrics"),
    Right("apps", "deployments", ("watch",), ROLES, "held by kube-state-metrics"),
    Right("apps", "statefulsets", ("watch",), ROLES, "held by kube-state-metrics"),
    Right("autoscaling", "horizontalpodautoscalers", ("watch",), ROLES, "held by kube-state-metrics"),
    Right("batch", "jobs", ("list", "watch"), ROLES, "held by kube-state-metrics"),
    Right("batch", "cronjobs", ("list", "watch"), ROLES, "held by kube-state-metrics"),
    Right("batch", "jobs", _WRITE, TIERS, "jobs of tiers; a backup or a restore that is asked for"),
    Right("batch", "cronjobs", _WRITE, TIERS, "scheduled jobs of tiers"),
    Right("", "secrets", ("get", "update"), TIERS, "certificates and passwords of the edge; held by the nightly renewal, and by the backup", _SEALED),
    Right("cert-manager.io", "certificates", _WRITE, TIERS, "certificates, where cert-manager makes them"),
    Right("cert-manager.io", "issuers", _WRITE, TIERS, "the same"),
    Right("postgresql.cnpg.io", "clusters", ("get", "list", "create", "patch"), TIERS, "Postgres, where CloudNativePG runs it; never removed by a release"),
    Right("networking.k8s.io", "networkpolicies", _WRITE, TIERS, "who may talk to whom"),
    Right("networking.k8s.io", "ingresses", _WRITE, TIERS, "public names"),
    Right("gateway.networking.k8s.io", "gateways", _WRITE, TIERS, "public names, where the Gateway API publishes them"),
    Right("gateway.networking.k8s.io", "httproutes", _WRITE, TIERS, "the same"),
    Right("", "namespaces", ("get",), LOOK, "whether the namespace is ours; this one only, and no right to change it"),
    Right("", "pods/exec", ("get", "create"), VERIFY, "MCP over stdio; Postgres is asked for a ticket's row, and told of a new password, as Redis is"),
    Right("", "pods", ("patch",), VERIFY, "the kubelet brings a new password into a running pod at once"),
    Right("", "pods/portforward", ("get", "create"), VERIFY, "Prometheus, Alertmanager, Grafana and the MCP servers are asked"),
    Right("", "services/proxy", ("get",), VERIFY, "a ticket is read through the API where Postgres is elsewhere", ("twisterlab-api:http",)),
    Right("", "persistentvolumeclaims", ("delete",), DESTROY, "a confirmed purge"),
    Right("postgresql.cnpg.io", "clusters", ("delete",), DESTROY, "the same"),
    Right("", "secrets", ("delete",), DESTROY, "a confirmed purge", (*_SECRET, *_SEALED)),
    Right("coordination.k8s.io", "leases", ("delete",), DESTROY, "a purge ends its own hold", _LEASE),
)  # fmt: skip

#: What a namespace that does not exist asks for beside; bootstrap makes it, so the Role need not.
MAKE_NAMESPACE = Right("", "namespaces", ("create", "patch"), RELEASE, "the namespace")


def needed(*parts: str) -> tuple[Right, ...]:
    """The rights of some parts."""
    return tuple(right for right in RIGHTS if right.part in parts)


def rules(rights: Iterable[Right] = RIGHTS) -> list[Object]:
    """The rights as rules of a Role: one a group, a set of verbs and of names, so that people can read it."""
    verbs: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for right in rights:
        known = verbs.setdefault((right.group, right.resource, right.names), [])
        known += [verb for verb in right.verbs if verb not in known]
    merged: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, resource, names), known in verbs.items():
        merged.setdefault((group, tuple(sorted(known)), names), []).append(resource)
    found = []
    for (group, known_verbs, names), resources in sorted(merged.items()):
        rule: Object = {"apiGroups": [group], "resources": sorted(resources), "verbs": list(known_verbs)}
        if names:
            rule["resourceNames"] = list(names)
        found.append(rule)
    return found


def grants(rule: Object, group: str, resource: str, verb: str, names: tuple[str, ...] = ()) -> bool:
    """Whether one rule allows a verb on a resource: on all of its objects, or on the named ones.

    Args:
        rule: of a Role, or one of the `resourceRules` of a SelfSubjectRulesReview.
        group, resource, verb: what is asked for.
        names: the objects it is about; empty for all.
    """
    only = set(rule.get("resourceNames") or [])
    if only and not (names and set(names) <= only):
        return False
    plural, _, sub = resource.partition("/")
    listed = rule.get("resources") or []
    covered = "*" in listed or resource in listed or (bool(sub) and (f"*/{sub}" in listed or f"{plural}/*" in listed))
    return (
        covered
        and bool({"*", group} & set(rule.get("apiGroups") or []))
        and bool({"*", verb} & set(rule.get("verbs") or []))
    )


def missing(held: list[Object], wanted: Iterable[Right]) -> list[tuple[str, str, str, str]]:
    """The (group, resource, verb, name) that no rule grants; the name is empty where all objects are meant.

    Args:
        held: the rules that are held.
        wanted: what is needed.
    """
    return [
        (right.group, right.resource, verb, name)
        for right in wanted
        for verb in right.verbs
        for name in right.names or ("",)
        if not any(grants(rule, right.group, right.resource, verb, (name,) if name else ()) for rule in held)
    ]


def cluster_name(namespace: str, tier: str) -> str:
    """The name of a tier's ClusterRole and its binding: cluster-scoped, so it carries the namespace."""
    return f"{namespace}-{tier}"


def manifests(namespace: str) -> list[Object]:
    """The deployer's account, its Role, and the right to see (not to change) the tiers' ClusterRoles by name."""
    wide = cluster_name(namespace, "deployer")
    names = [cluster_name(namespace, tier) for tier in CLUSTER_TIERS]
    look = {
        "apiGroups": [RBAC],
        "resources": ["clusterrolebindings", "clusterroles"],
        "verbs": ["get"],
        "resourceNames": names,
    }
    return [
        {**_head(kinds.ACCOUNT, ACCOUNT, namespace), "automountServiceAccountToken": False},
        {**_head(kinds.ROLE, ACCOUNT, namespace), "rules": rules()},
        {**_head(kinds.ROLE_BINDING, ACCOUNT, namespace), **_bound(kinds.ROLE, ACCOUNT, namespace)},
        {**_head(kinds.CLUSTER_ROLE, wide, namespace), "rules": [look]},
        {**_head(kinds.CLUSTER_ROLE_BINDING, wide, namespace), **_bound(kinds.CLUSTER_ROLE, wide, namespace)},
    ]


def _head(kind: kinds.Kind, name: str, namespace: str) -> Object:
    labels = {
        **objects.OURS,
        objects.NAME: ACCOUNT,
        objects.INSTANCE: namespace,
        objects.COMPONENT: COMPONENT,
    }
    metadata: Object = {"name": name, "labels": labels}
    if kind.namespaced:
        metadata["namespace"] = namespace
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata}


def _bound(kind: kinds.Kind, name: str, namespace: str) -> Object:
    return {
        "roleRef": {"apiGroup": RBAC, "kind": kind.name, "name": name},
        "subjects": [{"kind": kinds.ACCOUNT.name, "name": ACCOUNT, "namespace": namespace}],
    }


def table() -> Iterator[str]:
    """The rights as lines of a Markdown table."""
    yield "| group | resource | verbs | only | for | why |"
    yield "|---|---|---|---|---|---|"
    for right in RIGHTS:
        only = ", ".join(f"`{name}`" for name in right.names)
        cells = right.group or "core", f"`{right.resource}`", ", ".join(right.verbs), only, right.part, right.why
        yield f"| {' | '.join(cells)} |".replace("|  |", "| |")
