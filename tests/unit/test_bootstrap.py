# SPDX-License-Identifier: GPL-3.0-or-later
"""What an administrator does once: idempotent, never in somebody else's namespace, with a token that ends."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _bootstrap, _kubeconfig
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, PlatformError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from ansible_collections.twisterlab.platform.plugins.modules import bootstrap
from kube_fake import NAMESPACE, FakeCluster, manifest, namespace

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PLACE = _kubeconfig.Place("https://api.example:6443", {"certificate-authority-data": "Q0E="})
WANTED = _kubeconfig.Wanted(PLACE, NAMESPACE, "twisterlab-deployer", "uid-1", 24.0)
ALL = [
    "Namespace/shop",
    "ServiceAccount/twisterlab-deployer",
    "Role/twisterlab-deployer",
    "RoleBinding/twisterlab-deployer",
    "ClusterRole/shop-prometheus",
    "ClusterRoleBinding/shop-prometheus",
    "ClusterRole/shop-deployer",
    "ClusterRoleBinding/shop-deployer",
]


class Administrated(FakeCluster):
    """A cluster that also answers what its administrator may do."""

    denied: frozenset[tuple[str, str]] | set[tuple[str, str]] = frozenset()

    def allowed(self, where: str | None, group: str, resource: str, verb: str, name: str = "") -> bool:
        return where is None and (resource, verb) not in self.denied


def tiers(wide: bool = True) -> list[Component]:
    inside = manifest("Role", "prometheus", "prometheus")
    outside = [manifest(kind, "shop-prometheus", "prometheus") for kind in ("ClusterRole", "ClusterRoleBinding")]
    return [
        Component("base", [namespace(), manifest("ConfigMap", "conf", "base")]),
        Component("prometheus", [inside, *(outside if wide else [])]),
    ]


def run(cluster: FakeCluster, wide: bool = True, check_mode: bool = False) -> _bootstrap.Answer:
    cluster.calls.clear()
    return _bootstrap.Bootstrap(cluster, NAMESPACE, tiers(wide), check_mode).run()


def test_once_and_again() -> None:
    cluster = Administrated()
    planned = run(cluster, check_mode=True)
    assert sorted(planned.created) == sorted(ALL)
    assert cluster.writes() == []
    done = run(cluster)
    assert sorted(done.created) == sorted(ALL)
    assert done.uid
    # What belongs to the release is not made here.
    assert ("ConfigMap", NAMESPACE, "conf") not in cluster.store
    assert ("Role", NAMESPACE, "prometheus") not in cluster.store
    again = run(cluster)
    assert not again.touched
    assert cluster.writes() == []
    assert again.uid == done.uid
    assert again.diff == []


def test_what_no_tier_needs_any_more_goes() -> None:
    cluster = Administrated()
    run(cluster)
    cluster.put(manifest("Role", "prometheus", "prometheus"))
    assert run(cluster, wide=False, check_mode=True).deleted == [
        "ClusterRoleBinding/shop-prometheus",
        "ClusterRole/shop-prometheus",
    ]
    done = run(cluster, wide=False)
    assert done.deleted == ["ClusterRoleBinding/shop-prometheus", "ClusterRole/shop-prometheus"]
    assert ("Role", NAMESPACE, "prometheus") in cluster.store
    assert not run(cluster, wide=False).touched


def test_a_namespace_of_others_is_refused_and_a_lent_one_is_not_relabelled() -> None:
    cluster = Administrated()
    cluster.put(namespace(ours=False))
    with pytest.raises(Refused, match="exists and was not made by twisterlab.platform: set twisterlab_namespace"):
        run(cluster)
    assert cluster.writes() == []
    cluster.put(namespace(ours=False, **{"twisterlab.io/managed": "true"}))
    done = run(cluster)
    assert sorted(done.created) == sorted(ALL[1:])
    assert "apply Namespace/shop" not in cluster.calls


def test_without_the_rights_it_is_refused_before_anything_is_touched() -> None:
    cluster = Administrated()
    cluster.denied = {("clusterroles", "patch"), ("namespaces", "create")}
    with pytest.raises(
        Refused, match="may not create namespaces, patch clusterroles, .* kubeconfig of an administrator of the cluster"
    ):
        run(cluster)
    assert cluster.calls == []


def test_a_webhook_that_forbids_is_told() -> None:
    cluster = Administrated()
    run(cluster)
    cluster.errors = {"dry apply ClusterRole/": ApiError(403, "Forbidden", "denied by policy")}
    assert not run(cluster).touched
    cluster.store[("ClusterRole", "", "shop-deployer")]["rules"] = []
    with pytest.raises(Refused, match="ClusterRole/shop-deployer is not what this release wants"):
        run(cluster)


def test_without_base_there_is_no_namespace_to_make() -> None:
    with pytest.raises(Refused, match="does not exist, and this run does not stage it"):
        _bootstrap.Bootstrap(Administrated(), NAMESPACE, tiers()[1:], False).run()


# -- the kubeconfig ---------------------------------------------------------------------------------------------------


def jwt(begins: datetime, ends: datetime, uid: str = "uid-1") -> str:
    said = {
        "iat": begins.timestamp(),
        "exp": ends.timestamp(),
        "kubernetes.io": {"serviceaccount": {"name": "twisterlab-deployer", "uid": uid}},
    }
    return f"x.{base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip('=')}.y"


class Issuer:
    """Gives tokens that live as long as they are asked for."""

    def __init__(self, error: ApiError | None = None) -> None:
        self.asked: list[tuple[str, str, int]] = []
        self.error = error

    def token(self, where: str, account: str, seconds: int) -> dict[str, Any]:
        self.asked.append((where, account, seconds))
        if self.error:
            raise self.error
        ends = NOW + timedelta(seconds=seconds)
        return {"token": jwt(NOW, ends), "expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}


def test_a_kubeconfig_is_made_and_kept_for_half_of_its_life() -> None:
    issuer = Issuer()
    text, ends = _bootstrap.renewed(issuer, None, WANTED, NOW)
    assert ends == NOW + timedelta(hours=24)
    assert issuer.asked == [(NAMESPACE, "twisterlab-deployer", 86400)]
    assert text is not None
    config = yaml.safe_load(text)
    assert config["contexts"][0]["context"]["namespace"] == NAMESPACE
    assert config["clusters"][0]["cluster"] == {
        "server": "https://api.example:6443",
        "certificate-authority-data": "Q0E=",
    }
    assert _bootstrap.renewed(issuer, text, WANTED, NOW + timedelta(hours=11)) == (None, ends)
    assert len(issuer.asked) == 1
    assert _bootstrap.renewed(issuer, text, WANTED, NOW + timedelta(hours=13))[0] is not None


@pytest.mark.parametrize(
    "other",
    [
        _kubeconfig.Wanted(PLACE, NAMESPACE, "twisterlab-deployer", "uid-2", 24.0),
        _kubeconfig.Wanted(PLACE, NAMESPACE, "twisterlab-deployer", "uid-1", 8.0),
        _kubeconfig.Wanted(
            _kubeconfig.Place("https://other", PLACE.rest), NAMESPACE, "twisterlab-deployer", "uid-1", 24.0
        ),
    ],
)
def test_a_new_one_is_due_when_something_else_is_wanted(other: _kubeconfig.Wanted) -> None:
    text, _ends = _bootstrap.renewed(Issuer(), None, WANTED, NOW)
    assert text is not None
    assert _kubeconfig.good_until(text, WANTED, NOW) is not None
    assert _kubeconfig.good_until(text, other, NOW) is None


@pytest.mark.parametrize("text", ["", "a: [", "- a", "kind: Config", "users: [{name: x, user: {token: a.b.c}}]"])
def test_a_file_that_is_something_else_is_replaced(text: str) -> None:
    assert _kubeconfig.good_until(text, WANTED, NOW) is None
    assert _kubeconfig.authority(text) == ""


def test_no_token() -> None:
    issuer = Issuer(ApiError(403, "Forbidden", "cannot create resource serviceaccounts/token"))
    with pytest.raises(
        PlatformError, match="gives no token to ServiceAccount/twisterlab-deployer of namespace shop: cannot"
    ):
        _bootstrap.renewed(issuer, None, WANTED, NOW)


def test_the_authority_of_a_context() -> None:
    config = {
        "current-context": "a",
        "contexts": [{"name": name, "context": {"cluster": name}} for name in ("a", "b")],
        "clusters": [{"name": name, "cluster": {"certificate-authority-data": name * 3}} for name in ("a", "b")],
    }
    text = yaml.safe_dump(config)
    assert (_kubeconfig.authority(text), _kubeconfig.authority(text, "b"), _kubeconfig.authority(text, "c")) == (
        "aaa",
        "bbb",
        "",
    )


def test_the_place_is_that_of_the_credentials(tmp_path: Any) -> None:
    (tmp_path / "ca").write_bytes(b"CA")
    found = _bootstrap.place(SimpleNamespace(host="https://x", verify_ssl=True, ssl_ca_cert=str(tmp_path / "ca")))
    assert found == _kubeconfig.Place("https://x", {"certificate-authority-data": "Q0E="})
    named = SimpleNamespace(host="https://x", verify_ssl=False, ssl_ca_cert=None, tls_server_name="y")
    assert _bootstrap.place(named).rest == {"insecure-skip-tls-verify": True, "tls-server-name": "y"}


def test_a_kubeconfig_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "config"
    bootstrap.check_dest(path)
    for mine in ("", _kubeconfig.made(WANTED, "a.b.c")):
        path.write_text(mine, encoding="utf-8")
        bootstrap.check_dest(path)
    for theirs in ("apiVersion: v1\nkind: Config\nusers: [{name: admin, user: {token: t}}]\n", "notes\n"):
        path.write_text(theirs, encoding="utf-8")
        with pytest.raises(Refused, match="was not made by playbooks/bootstrap.yml and would be written over"):
            bootstrap.check_dest(path)
        assert path.read_text(encoding="utf-8") == theirs
