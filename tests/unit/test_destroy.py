# SPDX-License-Identifier: GPL-3.0-or-later
"""Removing: what goes, what stays, and what is never touched."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _destroy, _lease
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import (
    ApiError,
    LeaseLost,
    PlatformError,
    Refused,
)
from kube_fake import NAMESPACE, FakeCluster, labels, manifest, namespace, workload

ME = _lease.holder_of("ann", "here", 12, "local", "777")


def full(own: bool = True) -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(namespace() if own else namespace(ours=False))
    for obj in (
        workload("Deployment", "web", "api"),
        workload("StatefulSet", "db", "postgres"),
        manifest("Service", "web", "api"),
        manifest("ConfigMap", "conf", "base"),
        manifest("PersistentVolumeClaim", "data", "postgres"),
        manifest("Secret", "twisterlab-secrets", "base", data={}),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}},
    ):
        cluster.put(obj)
    record = manifest("ConfigMap", "twisterlab-release-1", "release")
    record["metadata"]["labels"]["twisterlab.io/record"] = "true"
    cluster.put(record)
    mine = manifest("ClusterRole", "shop-reader", "api")
    theirs = manifest("ClusterRole", "other-reader", "api")
    theirs["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"
    cluster.put(mine, None)
    cluster.put(theirs, None)
    return cluster


def run(cluster: FakeCluster, purge: bool = False, check_mode: bool = False, seconds: float = 10) -> _destroy.Removal:
    cluster.calls.clear()
    work = _destroy.Destroy(
        cluster, cluster.clock, NAMESPACE, ME, purge, check_mode, dead=lambda identity, which: False
    )
    return work.run(seconds)


def names(cluster: FakeCluster) -> list[str]:
    return sorted(f"{kind}/{name}" for kind, _namespace, name in cluster.store)


def test_workloads_go_and_data_stays() -> None:
    cluster = full()
    removal = run(cluster)
    assert sorted(removal.deleted) == [
        "ClusterRole/shop-reader",
        "ConfigMap/conf",
        "Deployment/web",
        "Service/web",
        "StatefulSet/db",
    ]
    assert [title for title, _why in removal.kept] == [
        "Namespace/shop",
        "PersistentVolumeClaim/data",
        "Secret/twisterlab-secrets",
        "ConfigMap/twisterlab-release-1",
    ]
    assert "ConfigMap/foreign" in names(cluster)
    assert "ClusterRole/other-reader" in names(cluster)
    text = _destroy.text(removal, NAMESPACE, False)
    assert text.startswith(
        "5 objects removed from namespace shop; kept: Namespace/shop, PersistentVolumeClaim/data, Secret/twisterlab-secrets, 1 release record ("
    )
    assert "-e twisterlab_purge=true -e twisterlab_destroy_confirm=shop" in text


def test_a_second_run_writes_nothing() -> None:
    cluster = full()
    run(cluster)
    removal = run(cluster)
    assert removal.deleted == []
    assert cluster.writes() == []
    assert _destroy.text(removal, NAMESPACE, False).startswith("nothing to remove from namespace shop; kept:")


def test_check_mode_removes_nothing() -> None:
    cluster = full()
    before = names(cluster)
    removal = run(cluster, purge=True, check_mode=True)
    assert len(removal.deleted) == 8
    assert names(cluster) == before
    assert cluster.writes() == []
    assert "would be removed" in _destroy.text(removal, NAMESPACE, True)
    # What it says is what the real run does.
    real = run(cluster, purge=True)
    assert (sorted(removal.deleted), removal.kept) == (sorted(real.deleted), real.kept)


def test_an_absent_namespace_is_nothing_to_do() -> None:
    removal = run(FakeCluster(), purge=True)
    assert removal.absent
    assert "does not exist" in _destroy.text(removal, NAMESPACE, False)


def test_purge_spares_a_namespace_with_things_of_others() -> None:
    cluster = full()
    removal = run(cluster, purge=True)
    assert removal.kept == [("Namespace/shop", "objects of others are in it: ConfigMap/foreign")]
    assert names(cluster) == [
        "ClusterRole/other-reader", "ConfigMap/foreign", "ConfigMap/kube-root-ca.crt", "Namespace/shop", "ServiceAccount/default",
    ]  # fmt: skip
    assert run(cluster, purge=True).deleted == []


def test_purge_removes_our_own_namespace() -> None:
    cluster = full()
    del cluster.store[("ConfigMap", NAMESPACE, "foreign")]
    removal = run(cluster, purge=True)
    assert removal.deleted[-1] == "Namespace/shop"
    assert names(cluster) == ["ClusterRole/other-reader"]
    assert run(cluster, purge=True).absent


def test_a_namespace_of_others_is_never_deleted() -> None:
    cluster = full(own=False)
    removal = run(cluster, purge=True)
    assert ("Namespace/shop", "it was not made by twisterlab.platform") in removal.kept
    assert "Namespace/shop" in names(cluster)


def test_nothing_is_written_into_a_namespace_where_nothing_is_ours() -> None:
    cluster = FakeCluster()
    cluster.put(namespace(ours=False))
    assert run(cluster).deleted == []
    assert cluster.writes() == []


def test_marked_objects_stay_until_they_are_purged() -> None:
    cluster = full()
    marked = manifest("ConfigMap", "marked", "base")
    marked["metadata"]["annotations"] = {"twisterlab.io/keep": "true"}
    cluster.put(marked)
    removal = run(cluster)
    assert ("ConfigMap/marked", "it is marked twisterlab.io/keep") in removal.kept
    assert "ConfigMap/marked" in run(cluster, purge=True).deleted


def lone_pod(cluster: FakeCluster) -> None:
    owner = [{"controller": True, "uid": "somebody"}]
    cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web-x", "labels": labels("api"), "ownerReferences": owner},
        }
    )


def test_it_waits_until_the_pods_are_gone() -> None:
    cluster = full()
    lone_pod(cluster)
    removal = run(cluster, seconds=5)
    assert (removal.waiting, removal.left) == (True, ["Pod/web-x"])
    cluster.clock.at(cluster.clock.time() + 3, lambda: cluster.store.pop(("Pod", NAMESPACE, "web-x")) and None)
    removal = run(cluster, seconds=5)
    assert not removal.waiting
    assert cluster.store[("Lease", NAMESPACE, "twisterlab-release")]["spec"]["holderIdentity"] == ""


def test_what_outlives_its_killed_playbook_deletes_nothing_more() -> None:
    cluster = full()
    killed: list[str] = []

    def kill(verb: str, obj: dict[str, Any]) -> None:
        if verb == "delete":
            killed.append(objects.title(obj))

    cluster.before_write = kill
    work = _destroy.Destroy(
        cluster, cluster.clock, NAMESPACE, ME, True, False, dead=lambda identity, which: bool(killed)
    )
    with pytest.raises(LeaseLost, match="was killed"):
        work.run(10)
    # Those that are deleted at once are under way.
    assert sorted(killed) == ["Deployment/web", "StatefulSet/db"]
    assert {"Service/web", "PersistentVolumeClaim/data"} <= set(names(cluster))


def test_nobody_destroys_under_a_release() -> None:
    cluster = full()
    _lease.Lease(cluster, NAMESPACE, _lease.holder_of("bob", "there", 1, "local")).acquire()
    with pytest.raises(Refused, match="held by bob@there"):
        run(cluster)
    assert "Deployment/web" in names(cluster)


def test_a_refused_deletion_is_told_and_the_hold_ends() -> None:
    cluster = full()
    cluster.errors["delete StatefulSet/db"] = ApiError(403, "Forbidden", "you may not", "delete StatefulSet/db")
    with pytest.raises(PlatformError, match="Not everything could be deleted: StatefulSet/db: .*you may not"):
        run(cluster)
    assert cluster.store[("Lease", NAMESPACE, "twisterlab-release")]["spec"]["holderIdentity"] == ""


@pytest.mark.parametrize(
    ("purge", "confirmation", "fine"),
    [(False, "", True), (True, "shop", True), (True, "", False), (True, "Shop", False)],
)
def test_confirmation(purge: bool, confirmation: str, fine: bool) -> None:
    def ask() -> Any:
        return _destroy.confirm(purge, confirmation, "shop")

    if fine:
        ask()
    else:
        with pytest.raises(Refused, match="repeat with -e twisterlab_destroy_confirm=shop"):
            ask()
