# SPDX-License-Identifier: GPL-3.0-or-later
"""The deploy Role is enough, proven by doing everything under it, and no more."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import (
    _bootstrap,
    _destroy,
    _health,
    _judge,
    _kinds,
    _rights,
    _smoke,
)
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from kube_fake import NAMESPACE, FakeCluster, labels, manifest, namespace
from test_release import ME, Run, staged

#: What the fake's calls ask of the API server.
VERBS = {"get": "get", "list": "list", "create": "create", "replace": "update", "merge": "patch", "delete": "delete"}
BY_NAME = {kind.name: kind for kind in _kinds.TABLE}
ADMINISTRATOR = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


class Guarded(FakeCluster):
    """A cluster that allows what rules allow, as RBAC does: those of the namespace, and those of the whole cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.wide = ADMINISTRATOR
        self.used: set[tuple[str, str, str]] = set()

    def become_deployer(self) -> None:
        """From now on only the rights that bootstrap put into the cluster."""
        self.inside = self.store[("Role", NAMESPACE, _rights.ACCOUNT)]["rules"]
        self.wide = self.store[("ClusterRole", "", "shop-deployer")]["rules"]

    def _call(self, call: str) -> None:
        words = call.removeprefix("dry ").split()
        kind_name, _, name = words[1].partition("/")
        if words[0] == "log":
            self._require("", "pods/log", "get", True)
        else:
            kind = BY_NAME[kind_name]
            inside = kind.namespaced or kind is _kinds.NAMESPACE
            if words[0] == "apply":
                # Who applies what is not there creates it too.
                there = (kind.name, NAMESPACE if kind.namespaced else "", name) in self.store
                verbs = ["patch"] if there else ["patch", "create"]
            else:
                verbs = [VERBS[words[0]]]
            for verb in verbs:
                self._require(kind.group, kind.plural, verb, inside, "" if verb in ("create", "list") else name)
        super()._call(call)

    def allowed(self, where: str | None, group: str, resource: str, verb: str, name: str = "") -> bool:
        return any(_rights.grants(rule, group, resource, verb, (name,) if name else ()) for rule in self.wide)

    def _require(self, group: str, resource: str, verb: str, inside: bool, name: str = "") -> None:
        held = [*self.wide, *(self.inside if inside else [])]
        self.used.add((group, resource, verb))
        if not any(_rights.grants(rule, group, resource, verb, (name,) if name else ()) for rule in held):
            raise ApiError(403, "Forbidden", f'cannot {verb} resource "{resource}" {name}', f"{verb} {resource}")


def tiers(rules: list[dict[str, Any]] | None = None) -> list[Component]:
    """A stack with what Prometheus needs outside the namespace."""
    wide = manifest("ClusterRole", "shop-prometheus", "prometheus", rules=rules or [{"verbs": ["list"]}])
    bound = manifest("ClusterRoleBinding", "shop-prometheus", "prometheus", roleRef={"name": "shop-prometheus"})
    own = [manifest(kind, "prometheus", "prometheus") for kind in ("ServiceAccount", "Role", "RoleBinding")]
    return [*staged(), Component("prometheus", [*own, wide, bound])]


def bootstrapped(parts: list[Component] | None = None) -> Run:
    run = Run()
    node = run.cluster.store
    run.cluster = Guarded()
    run.cluster.store.update(node)
    _bootstrap.Bootstrap(run.cluster, NAMESPACE, parts or tiers(), False).run()
    run.cluster.become_deployer()
    return run


def destroy(cluster: FakeCluster, purge: bool = False) -> _destroy.Removal:
    work = _destroy.Destroy(cluster, cluster.clock, NAMESPACE, ME, purge, False, dead=lambda identity, which: False)
    return work.run(5)


def test_everything_is_done_with_the_role_alone() -> None:
    run = bootstrapped()
    answer = run(tiers())
    assert "Role/prometheus" in answer.progress.created
    assert not [title for title in answer.progress.created if title.startswith(("Namespace/", "Cluster"))]
    assert answer.progress.changed == []
    run.finish()
    again = run(tiers())
    assert not again.progress.touched
    assert not [text for text in again.warnings if "stays as it is" in text]
    changed = run([*staged(image="web:2", conf="2", extra=True), tiers()[-1]])
    assert {"ConfigMap/extra", "ConfigMap/conf"} & {*changed.progress.created, *changed.progress.changed}
    pruned = run(tiers())
    assert pruned.progress.deleted == ["ConfigMap/extra"]
    judge = _judge.Judge(10.0, {})
    _health.Watch(run.cluster, run.cluster.clock, NAMESPACE, [], judge, 0, 60).look()
    removal = destroy(run.cluster)
    assert "Deployment/web" in removal.deleted
    assert "Role/prometheus" in removal.deleted


def test_every_verb_of_the_role_is_used_or_held_for_somebody() -> None:
    """What this test cannot see is named here, so that no right stands in the list for nothing."""
    run = bootstrapped()
    run(tiers())
    run([*staged(extra=True), tiers()[-1]])
    run.step([*staged(db_image="db:2"), tiers()[-1]])
    _smoke.remove_all(run.cluster, NAMESPACE)
    run(tiers(), supplied={"password": "another"})
    run.finish()
    assert isinstance(run.cluster, Guarded)
    _health.read(run.cluster, NAMESPACE)
    _health.read_events(run.cluster, NAMESPACE)
    _health.add_logs(run.cluster, NAMESPACE, [_judge.Check("Pod/p", "api", "broken", "r", pod="p", container="c")])
    destroy(run.cluster, purge=True)
    kinds_of_tiers = {
        "services",
        "horizontalpodautoscalers",
        "poddisruptionbudgets",
        "jobs",
        "cronjobs",
        "networkpolicies",
        "ingresses",
    }
    unused = {
        (right.resource, verb)
        for right in _rights.RIGHTS
        for verb in right.verbs
        if (right.group, right.resource, verb) not in run.cluster.used
        and right.part not in (_rights.VERIFY, _rights.TIERS)
        and right.resource not in kinds_of_tiers
        and verb != "watch"
    }
    # It is verify that reads one pod; this stack has no Cluster of CloudNativePG.
    assert unused == {("pods", "get"), ("clusters", "delete")}


def test_the_deployer_reads_no_other_secret_and_changes_nothing_outside() -> None:
    run = bootstrapped()
    cluster = run.cluster
    for call in (
        lambda: cluster.get(_kinds.SECRET, "other", NAMESPACE),
        lambda: cluster.list(_kinds.SECRET, NAMESPACE),
        lambda: cluster.list(_kinds.NODE),
        lambda: cluster.list(_kinds.CLUSTER_ROLE),
        lambda: cluster.delete(_kinds.NAMESPACE, NAMESPACE),
        lambda: cluster.apply(namespace()),
        lambda: cluster.apply(manifest("ClusterRole", "shop-prometheus", "prometheus")),
        lambda: cluster.apply(manifest("ClusterRole", "shop-deployer", "bootstrap")),
    ):
        with pytest.raises(ApiError, match="Forbidden"):
            call()
    assert cluster.get(_kinds.SECRET, "twisterlab-secrets", NAMESPACE) is None
    assert cluster.get(_kinds.CLUSTER_ROLE, "shop-prometheus") is not None


def test_what_an_administrator_made_and_is_another_now_is_told_and_left() -> None:
    run = bootstrapped()
    answer = run(tiers(rules=[{"verbs": ["list", "watch"]}]))
    told = [text for part in run.answers for text in part.warnings if "stays as it is" in text]
    assert told[0] == (
        "ClusterRole/shop-prometheus is not what this release wants and these credentials may not change it, so it stays as it is: "
        "let the cluster's administrator run playbooks/bootstrap.yml again."
    )
    assert answer.progress.created
    # Labels of another version have no effect.
    other = tiers()
    other[-1].objects[-1]["metadata"]["labels"]["app.kubernetes.io/version"] = "9"
    run(other)
    assert not [text for part in run.answers for text in part.warnings if "stays as it is" in text]


def test_without_the_cluster_roles_the_release_is_refused_before_anything_is_touched() -> None:
    run = bootstrapped(staged())
    with pytest.raises(Refused, match="let the cluster's administrator make it with playbooks/bootstrap.yml"):
        run(tiers())
    assert ("Role", NAMESPACE, "prometheus") not in run.cluster.store


def test_destroy_and_purge_with_the_role_alone() -> None:
    run = bootstrapped()
    run(tiers())
    removal = destroy(run.cluster)
    kept = dict(removal.kept)
    assert kept["Role/twisterlab-deployer"] == _destroy.RIGHTS
    assert kept["ClusterRoles of namespace shop"] == _destroy.UNSEEN
    removal = destroy(run.cluster, purge=True)
    assert {"PersistentVolumeClaim/data", "Secret/twisterlab-secrets"} <= set(removal.deleted)
    assert dict(removal.kept)["Namespace/shop"] == _destroy.FORBIDDEN
    assert ("RoleBinding", NAMESPACE, _rights.ACCOUNT) in run.cluster.store
    text = _destroy.text(removal, NAMESPACE, False)
    assert "Namespace/shop (these credentials may not delete it; whoever ran playbooks/bootstrap.yml can" in text
    # Once more: nothing is left to do, so nothing is written.
    run.cluster.calls.clear()
    assert destroy(run.cluster, purge=True).deleted == []
    assert run.cluster.writes() == []


def test_an_administrator_purges_the_rights_too() -> None:
    run = bootstrapped()
    run(tiers())
    assert isinstance(run.cluster, Guarded)
    run.cluster.inside = run.cluster.wide = ADMINISTRATOR
    assert ("Role", NAMESPACE, _rights.ACCOUNT) in run.cluster.store
    assert ("Role/twisterlab-deployer", _destroy.RIGHTS) in destroy(run.cluster).kept
    destroy(run.cluster, purge=True)
    assert [key for key in run.cluster.store if key[0] != "Node"] == []


def test_an_administrators_own_deploy_leaves_the_rights_alone() -> None:
    run = bootstrapped()
    assert isinstance(run.cluster, Guarded)
    run.cluster.inside = run.cluster.wide = ADMINISTRATOR
    answer = run(tiers())
    assert answer.progress.deleted == []
    assert ("Role", NAMESPACE, _rights.ACCOUNT) in run.cluster.store


@pytest.mark.parametrize(
    ("rule", "names", "granted"),
    [
        ({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, (), True),
        ({"apiGroups": [""], "resources": ["pods/*"], "verbs": ["get"]}, (), True),
        ({"apiGroups": [""], "resources": ["*/log"], "verbs": ["get"]}, (), True),
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, (), False),
        ({"apiGroups": ["apps"], "resources": ["pods/log"], "verbs": ["get"]}, (), False),
        ({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["list"]}, (), False),
        ({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": ["one"]}, (), False),
        ({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": ["one"]}, ("one",), True),
        ({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": ["one"]}, ("two",), False),
        ({"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}, ("one",), True),
    ],
)
def test_grants(rule: dict[str, Any], names: tuple[str, ...], granted: bool) -> None:
    assert _rights.grants(rule, "", "pods/log", "get", names) is granted


def test_the_rules_say_what_the_list_says() -> None:
    assert _rights.missing(_rights.rules(), _rights.RIGHTS) == []
    assert not any("*" in part for rule in _rights.rules() for part in rule.values())
    for obj in _rights.manifests(NAMESPACE):
        assert objects.labels(obj) == {**labels("bootstrap", "twisterlab-deployer")}
        assert objects.meta(obj).get("namespace") in (None, NAMESPACE)
        assert "namespace" in objects.meta(obj) or objects.name(obj) == "shop-deployer"
