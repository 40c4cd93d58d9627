# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases that are recorded: order, what changed, why one failed."""

from __future__ import annotations

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _history
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records, Summary
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from kube_fake import NAMESPACE, FakeCluster, namespace, workload


def recorded() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(namespace())
    records = Records(cluster, NAMESPACE)
    for image, user, created, changed in (
        ("registry/api:1", "ann@build", ["Deployment/twisterlab-api", "Service/twisterlab-api"], []),
        ("registry/api:2", "bob@laptop", [], ["Deployment/twisterlab-api"]),
    ):
        obj = workload("Deployment", "twisterlab-api", "api", image=image)
        summary = Summary(0, "applied", user, "2026-11-23T08:59:18Z", ["api"], created=created, changed=changed)
        records.write(summary, [Component("api", [obj], {})])
    records.conclude(1, "healthy")
    records.conclude(2, "failed", "Broken in namespace shop:\n- Deployment/twisterlab-api is broken: ErrImagePull")
    return cluster


def test_the_newest_first_with_when_who_what_and_why() -> None:
    releases = _history.with_seconds(_history.collect(recorded(), NAMESPACE))
    assert [(item["number"], item["status"], item["seconds"]) for item in releases] == [
        (2, "failed", 42.0),
        (1, "healthy", 42.0),
    ]
    assert releases[0]["images_changed"] == {"Deployment/twisterlab-api/main": ["registry/api:1", "registry/api:2"]}
    assert releases[1]["images_changed"] == {}
    lines = _history.screen(NAMESPACE, releases)
    assert lines == [
        "Namespace shop: 2 releases recorded",
        "",
        "RELEASE  STARTED               TOOK  STATUS   BY          COMPONENTS  WHAT CHANGED",
        "2        2026-11-23T08:59:18Z  42 s  failed   bob@laptop  api         changed Deployment/twisterlab-api",
        "    Deployment/twisterlab-api/main: registry/api:1 -> registry/api:2",
        "    failed: Broken in namespace shop:",
        "    failed: - Deployment/twisterlab-api is broken: ErrImagePull",
        "1        2026-11-23T08:59:18Z  42 s  healthy  ann@build   api         created Deployment/twisterlab-api, Service/twisterlab-api",
    ]


def test_one_whose_content_cannot_be_read_is_listed_all_the_same() -> None:
    cluster = recorded()
    cluster.store[("ConfigMap", NAMESPACE, "twisterlab-release-2")]["data"]["release.json"] = "{"
    releases = _history.with_seconds(_history.collect(cluster, NAMESPACE))
    assert (releases[0]["number"], releases[0]["status"]) == (2, "failed")
    text = "\n".join(_history.screen(NAMESPACE, releases))
    assert "failed   ?" in text
    assert "not known, its record cannot be read" in text
    assert "nothing changed" not in text


def test_none_says_how_to_make_one() -> None:
    assert _history.screen(NAMESPACE, []) == [
        "Namespace shop: no release is recorded; ansible-playbook deploy.yml makes the first."
    ]


def test_who_may_not_list_them_is_told() -> None:
    cluster = recorded()
    cluster.errors = {"list ConfigMap": ApiError(403, "Forbidden", "configmaps is forbidden", "list configmaps")}
    with pytest.raises(ApiError, match="configmaps is forbidden"):
        _history.collect(cluster, NAMESPACE)
