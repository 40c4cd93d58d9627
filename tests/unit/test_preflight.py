# SPDX-License-Identifier: GPL-3.0-or-later
"""Before a release: every refusal is one sentence that says what to do."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes
import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _kube, _preflight, _rights
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused, Unreachable
from kube_fake import NAMESPACE, FakeCluster, manifest, namespace, node

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]


class Asked(FakeCluster):
    """A cluster that also answers questions about ourselves."""

    def __init__(self, rules: list[dict[str, Any]] | None = None, minor: str = "37", incomplete: bool = False) -> None:
        super().__init__()
        self.granted, self.minor, self.incomplete = EVERYTHING if rules is None else rules, minor, incomplete
        self.also: set[tuple[str, str, str]] = set()
        self.asked: list[tuple[str, str]] = []
        self.put(node("n1", **{"kubernetes.io/os": "linux"}))
        self.put({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {
            "name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}, None)  # fmt: skip

    def version(self, timeout: tuple[float, float]) -> dict[str, Any]:
        return {"major": "1", "minor": self.minor, "gitVersion": f"v1.{self.minor}.0"}

    def rules(self, where: str) -> dict[str, Any]:
        return {"resourceRules": self.granted, "incomplete": self.incomplete}

    def allowed(self, where: str | None, group: str, resource: str, verb: str, name: str = "") -> bool:
        self.asked.append((resource, name))
        return (group, resource, verb) in self.also


def check(cluster: Asked, storage: str = "", volumes: bool = True, **selector: str) -> _preflight.Findings:
    return _preflight.Preflight(cluster, NAMESPACE, storage, volumes, selector).run()


def test_all_is_well() -> None:
    found = check(Asked())
    assert (found.namespace_state, found.version, found.skipped, found.warnings) == ("absent", "v1.37.0", [], [])
    cluster = Asked()
    cluster.put(namespace())
    assert check(cluster).namespace_state == "ours"


def test_versions() -> None:
    with pytest.raises(Refused, match=r"runs Kubernetes v1.33.0, and 1.34 is the oldest that is supported: upgrade"):
        check(Asked(minor="33"))
    assert check(Asked(minor="34")).warnings == []
    assert check(Asked(minor="37+")).warnings == []
    assert "1.37 is the newest" in check(Asked(minor="38")).warnings[0]
    assert "not one that this collection knows" in check(Asked(minor="x")).warnings[0]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            namespace(ours=False),
            "exists and was not made by twisterlab.platform: set twisterlab_namespace to another name",
        ),
        ({**namespace(), "status": {"phase": "Terminating"}}, "is being deleted: wait until it is gone"),
    ],
)
def test_namespaces(found: dict[str, Any], sentence: str) -> None:
    cluster = Asked()
    cluster.put(found)
    with pytest.raises(Refused, match=sentence):
        check(cluster)


def test_a_lent_namespace_and_one_that_may_not_be_read() -> None:
    cluster = Asked()
    cluster.put(namespace(ours=False, **{"twisterlab.io/managed": "true"}))
    assert check(cluster).namespace_state == "lent"
    cluster.errors["get Namespace"] = ApiError(403, "Forbidden", "no")
    found = check(cluster)
    assert (found.namespace_state, found.skipped) == (
        "unknown",
        ["whose the namespace is: no permission to read namespaces"],
    )


def test_a_namespace_of_kubernetes() -> None:
    with pytest.raises(Refused, match="belongs to Kubernetes itself"):
        _preflight.Preflight(Asked(), "kube-system", "", False, {}).run()


RELEASE = _rights.needed(_rights.RELEASE)


def test_the_rights_to_make_roles() -> None:
    cluster = Asked(_rights.rules(RELEASE))
    cluster.put(namespace())
    given: tuple[Any, ...] = (cluster, NAMESPACE, "", True, {})
    _preflight.Preflight(*given).run()
    with pytest.raises(Refused, match="may not do in namespace .* roles"):
        _preflight.Preflight(*given, roles=True).run()
    cluster.granted = _rights.rules(_rights.needed(_rights.RELEASE, _rights.ROLES))
    _preflight.Preflight(*given, roles=True).run()


def slices(*addresses: str, port: int = 6443) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "endpoints": [{"addresses": list(addresses)}],
        "ports": [{"port": port}],
    }


def test_policies_that_would_shut_the_api_server_off() -> None:
    cluster = Asked()

    def run(**policies: Any) -> _preflight.Findings:
        return _preflight.Preflight(cluster, NAMESPACE, "", True, {}, policies=policies).run()

    given: dict[str, Any] = {"ranges": ["10.0.0.0/8", "fc00::/7"], "ports": [443, 6443]}
    cluster.put(slices("10.1.2.3", "fd00::7"), "default")
    run(**given)
    cluster.put(slices("203.0.113.7"), "default")
    with pytest.raises(Refused, match=r"address 203.0.113.7 is in none of .*cluster_cidrs: \[203.0.113.7/32"):
        run(**given)
    # Nobody asks it.
    run(ranges=[], ports=[443])
    cluster.put(slices("10.1.2.3", port=16443), "default")
    with pytest.raises(Refused, match=r"port 16443, which is none of .*api_server_ports: \[16443\]"):
        run(**given)
    cluster.errors["list EndpointSlice"] = ApiError(403, "Forbidden", "no", "list")
    assert "no permission to list its endpointslices" in run(**given).skipped[0]
    cluster.granted = _rights.rules(_rights.needed(_rights.RELEASE))
    cluster.put(namespace())
    with pytest.raises(Refused, match="networkpolicies.networking.k8s.io"):
        run(**given)


def test_cluster_roles_are_made_or_were_made_by_an_administrator() -> None:
    cluster = Asked()
    cluster.put(namespace())
    given: tuple[Any, ...] = (cluster, NAMESPACE, "", True, {})
    wanted: dict[str, Any] = {"roles": True, "cluster_roles": ["prometheus", "kube-state-metrics"]}
    cluster.also = {(_rights.RBAC, "clusterroles", "create")}
    with pytest.raises(
        Refused,
        match="may not make ClusterRoles.*shop-prometheus or shop-kube-state-metrics: let .* run playbooks/bootstrap.yml, or write .*cluster_metrics: false.*nodes: false",
    ):
        _preflight.Preflight(*given, **wanted).run()
    for tier in ("prometheus", "kube-state-metrics"):
        for kind in ("ClusterRole", "ClusterRoleBinding"):
            cluster.put(manifest(kind, f"shop-{tier}", tier), None)
    _preflight.Preflight(*given, **wanted).run()
    cluster.errors["get ClusterRole/shop-prometheus"] = ApiError(403, "Forbidden", "no")
    with pytest.raises(Refused, match="see none of the name shop-prometheus: let"):
        _preflight.Preflight(*given, **wanted).run()
    cluster.also.add((_rights.RBAC, "clusterrolebindings", "create"))
    _preflight.Preflight(*given, **wanted).run()


def test_rights() -> None:
    cluster = Asked(_rights.rules(RELEASE))
    cluster.put(namespace())
    check(cluster)
    poor = Asked(_rights.rules([right for right in RELEASE if right.resource != "leases"]))
    poor.put(namespace())
    with pytest.raises(
        Refused,
        match=r"\(get/update/create leases.coordination.k8s.io\): ask the cluster's administrator to run playbooks/bootstrap.yml",
    ) as caught:
        check(poor)
    assert str(caught.value).startswith("These credentials may not do in namespace shop what a release needs")
    # A right on one object is asked for by its name.
    assert sorted(poor.asked) == [("leases", ""), *[("leases", "twisterlab-release")] * 2]


def test_a_webhook_is_asked_about_each_missing_right() -> None:
    cluster = Asked([], incomplete=True)
    cluster.put(namespace())
    cluster.also = {(right.group, right.resource, verb) for right in RELEASE for verb in right.verbs}
    check(cluster)
    cluster.also.discard(("", "pods/log", "get"))
    with pytest.raises(Refused, match=r"\(get pods/log\)"):
        check(cluster)


def test_an_absent_namespace_needs_the_right_to_make_it() -> None:
    with pytest.raises(Refused, match=r"create/patch namespaces"):
        check(Asked(_rights.rules(RELEASE)))


def test_storage_classes() -> None:
    with pytest.raises(Refused, match=r"The storage class fast does not exist in this cluster \(it has: standard\)"):
        check(Asked(), "fast")
    check(Asked(), "fast", volumes=False)
    none = Asked()
    del none.store[("StorageClass", "", "standard")]
    with pytest.raises(Refused, match="no default storage class .it has none: install a provisioner"):
        check(none)
    # Volumes that are bound already need no class.
    none.put(namespace())
    none.put(manifest("PersistentVolumeClaim", "data", "postgres", status={"phase": "Bound"}))
    check(none)
    none.errors["list StorageClass"] = ApiError(403, "Forbidden", "no")
    assert check(none).skipped == ["storage classes: no permission to list them"]


def test_storage_classes_of_single_tiers() -> None:
    def ask(cluster: Asked, everybodys: str = "", **own: str) -> None:
        _preflight.Preflight(cluster, NAMESPACE, everybodys, True, {}, storage_classes=own).run()

    ask(Asked(), postgres="standard", redis="")
    with pytest.raises(
        Refused, match=r"class fast does not .*: write twisterlab_redis: \{storage_class: <one that does>\}"
    ):
        ask(Asked(), postgres="standard", redis="fast")
    with pytest.raises(Refused, match="class fast does not .*: set twisterlab_storage_class to one that does"):
        ask(Asked(), "fast", postgres="standard", redis="")
    # Where every volume names its class, no default one is needed.
    cluster = Asked()
    cluster.store[("StorageClass", "", "standard")]["metadata"]["annotations"] = {}
    ask(cluster, postgres="standard", redis="standard")
    with pytest.raises(Refused, match="no default storage class"):
        ask(cluster, postgres="standard", redis="")


def test_a_deploy_names_the_class_of_each_tier_that_has_a_volume(tmp_path: Path) -> None:
    deploy = yaml.safe_load((ROOT / "playbooks" / "deploy.yml").read_text(encoding="utf-8"))[-1]
    names = ("__deploy_volumes", "__deploy_storage_classes")
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {name: deploy["vars"][name] for name in names}
        | {"twisterlab_postgres": {"storage_class": "fast"}, "twisterlab_backup_enabled": False},
        "roles": ["twisterlab.platform.twisterlab"],
        "tasks": [{"ansible.builtin.debug": {"msg": "found={{ __deploy_storage_classes | to_json }}"}}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    said = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml")],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    others = {"redis": "", "alertmanager": "", "prometheus": "", "grafana": ""}
    found = said.stdout.replace("\\", "").partition("found=")[2].partition("}")[0]
    assert json.loads(found + "}") == {"postgres": "fast", **others}


@pytest.mark.parametrize("playbook", ["update", "rollback", "rotate_secrets"])
def test_what_makes_no_volume_asks_for_no_storage_class(playbook: str) -> None:
    """A stack without volumes is deployed where there is no default class, and is to be updated there too."""
    plays = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))
    asked = [
        task["twisterlab.platform.preflight"]
        for task in plays[-1]["pre_tasks"]
        if "twisterlab.platform.preflight" in task
    ]
    assert [one["volumes"] for one in asked] == [False]


def test_nodes() -> None:
    with pytest.raises(
        Refused, match=r"labels gpu=yes of twisterlab_node_selector: label one with 'kubectl label node n1 gpu=yes'"
    ):
        check(Asked(), gpu="yes")
    cluster = Asked()
    cluster.store[("Node", "", "n1")]["spec"]["unschedulable"] = True
    with pytest.raises(Refused, match="cordoned: run 'kubectl uncordon n1'"):
        check(cluster)
    cluster.store[("Node", "", "n1")]["status"]["conditions"][0]["status"] = "Unknown"
    with pytest.raises(Refused, match=r"No node of the cluster is ready \(n1\)"):
        check(cluster)
    cluster.put(node("n2"))
    assert check(cluster).warnings == ["These nodes are not ready: n1."]
    cluster.errors["list Node"] = ApiError(403, "Forbidden", "no")
    assert check(cluster).skipped == ["nodes: no permission to list them"]


# -- where the cluster comes from -------------------------------------------------------------------------------------


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", *_kube.ENVIRONMENT.values()):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    # What one test loads would otherwise be the next one's default.
    kubernetes.client.Configuration.set_default(None)
    path = tmp_path / "config"
    contexts = [{"name": "kind-shop", "context": {"cluster": "c", "user": "u"}}]
    cluster = {"server": "https://127.0.0.1:1"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "kind-shop",
        "contexts": contexts,
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def context(**params: Any) -> str:
    return _preflight.describe_context(_kube.settings(params))


def test_context_and_its_mistakes(kubeconfig: Path, tmp_path: Path) -> None:
    assert context(kubeconfig=str(kubeconfig)) == "kind-shop"
    assert context(kubeconfig="~/config") == "kind-shop"
    assert context(host="https://x", api_key="t") == "none (the server is given)"
    with pytest.raises(
        Refused,
        match=r"The context kind-shoq is not in the kubeconfig .*did you mean kind-shop\? It has: kind-shop; set twisterlab_context",
    ):
        context(kubeconfig=str(kubeconfig), context="kind-shoq")
    with pytest.raises(Refused, match=r"The kubeconfig /nowhere does not exist: set twisterlab_kubeconfig"):
        context(kubeconfig="/nowhere")
    for text, sentence in (("a: [", "is no YAML"), ("", "is empty"), ("a: b", "has no current context")):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(Refused, match=sentence):
            context(kubeconfig=str(tmp_path / "bad"))


def test_nothing_given_is_refused_unless_current_is_meant(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(Refused, match="No cluster is given: set twisterlab_kubeconfig"):
        context()
    with pytest.raises(Refused, match="No cluster is given"):
        context(cluster="local")
    assert context(cluster="current") == "kind-shop"
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("K8S_AUTH_KUBECONFIG", str(kubeconfig))
    assert context() == "kind-shop"


def test_kubectl_is_told_as_a_person_types_it(kubeconfig: Path) -> None:
    params = {"kubeconfig": "/a b/config", "context": "c"}
    assert _kube.kubectl(params, "shop") == "kubectl --kubeconfig '/a b/config' --context c -n shop"
    assert _kube.kubectl({"host": "https://x"}, "shop") == "kubectl -n shop"


def test_the_secrets_of_a_kubeconfig_are_hidden_and_its_path_is_not() -> None:
    config = {
        "users": [{"name": "u", "user": {"token": "sesame", "client-key-data": "key"}}],
        "clusters": [{"name": "c"}],
    }
    assert _kube.secret_texts(config) == {"sesame", "key"}
    assert _kube.secret_texts("/path") == set()
    assert _kube.argument_spec()["kubeconfig"]["no_log"] is False
    assert _kube.argument_spec()["api_key"]["no_log"] is True


def test_a_server_that_refuses_or_never_answers(kubeconfig: Path) -> None:
    refused = _kube.Cluster({"kubeconfig": str(kubeconfig)}, attempts=1)
    with pytest.raises(
        Unreachable,
        match=r"The cluster https://127.0.0.1:1 cannot be reached \(\[Errno 111\] Connection refused\): start it",
    ):
        refused.version((1.0, 1.0))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        cluster = _kube.Cluster({"host": f"http://127.0.0.1:{port}", "api_key": "t"}, attempts=1)
        with pytest.raises(Unreachable, match="cannot be reached"):
            cluster.version((0.2, 0.2))


def test_answers_of_a_server(kubeconfig: Path) -> None:
    """One round trip over a real socket: headers, the server's time, an error with its causes."""
    status = {
        "kind": "Status",
        "reason": "Conflict",
        "message": "conflicts",
        "details": {"causes": [{"field": ".spec", "message": "m"}]},
    }
    replies = [(200, {"gitVersion": "v1.37.0"}), (409, status), (404, {"message": "gone"}), (503, {}), (200, {"ok": 1})]
    seen: list[str] = []

    def serve(server: socket.socket) -> None:
        for code, body in replies:
            connection, _address = server.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                seen.append(request.decode())
                payload = json.dumps(body).encode()
                head = f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 09:00:00 GMT\r\nConnection: close\r\n"
                connection.sendall(head.encode() + f"Content-Length: {len(payload)}\r\n\r\n".encode() + payload)

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        cluster = _kube.Cluster({"host": f"http://127.0.0.1:{server.getsockname()[1]}", "api_key": "sesame"})
        assert cluster.version((1.0, 2.0)) == {"gitVersion": "v1.37.0"}
        assert abs(cluster.now() - NOW) < timedelta(minutes=1)
        with pytest.raises(ApiError) as caught:
            cluster.apply(
                {**manifest("ConfigMap", "c", "api"), "metadata": {"name": "c", "namespace": "shop"}}, dry_run=True
            )
        assert (caught.value.status, caught.value.causes[0]["field"]) == (409, ".spec")
        assert cluster.get(_kube.kinds.POD, "p", "shop") is None
        # Busy: asked again.
        assert cluster.request("get", "/x") == {"ok": 1}
        thread.join()
    assert "authorization: bearer sesame" in seen[0].lower()
    assert "PATCH /api/v1/namespaces/shop/configmaps/c?" in seen[1]
    assert "dryRun=All" in seen[1]
    assert "application/apply-patch+yaml" in seen[1]
    assert cluster.calls == 5


# -- credentials that are not accepted --------------------------------------------------------------------------------


def jwt(ends: datetime) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": ends.timestamp()}).encode()).decode().rstrip("=")
    return f"x.{claims}.y"


def certificate(path: Path, ends: datetime) -> Path:
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ann")])
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    )
    made = builder.not_valid_before(ends - timedelta(days=1)).not_valid_after(ends).sign(key, hashes.SHA256())
    from cryptography.hazmat.primitives.serialization import Encoding

    path.write_bytes(made.public_bytes(Encoding.PEM))
    return path


def denied(**configuration: Any) -> str:
    return _preflight.denied_sentence("https://x", {"kubeconfig": "/k"}, SimpleNamespace(**configuration), NOW)


def test_an_expired_token_is_named() -> None:
    token = {"authorization": f"Bearer {jwt(NOW - timedelta(hours=1))}"}
    assert denied(api_key=token, cert_file=None) == (
        "The credentials in the kubeconfig /k expired on 2026-11-23 08:00 UTC, so https://x refuses them (401): fetch a new kubeconfig or token, "
        "or let an administrator run playbooks/bootstrap.yml again."
    )
    named = {"BearerToken": token["authorization"]}
    assert denied(api_key=named, cert_file=None) == denied(api_key=token, cert_file=None)
    fresh = {"authorization": f"Bearer {jwt(NOW + timedelta(hours=1))}"}
    assert "does not accept the credentials in the kubeconfig /k (401)" in denied(api_key=fresh, cert_file=None)
    assert "does not accept" in denied(api_key={}, cert_file="/nowhere")
    assert "given by K8S_AUTH_*" in _preflight.denied_sentence("s", {"kubeconfig": None}, SimpleNamespace(), NOW)


def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    path = certificate(tmp_path / "c.pem", NOW - timedelta(days=2))
    assert "expired on 2026-11-21 09:00 UTC" in denied(api_key={}, cert_file=str(path))


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed", "is not trusted"),
        ("hostname '10.0.0.1' doesn't match 'kubernetes'", "is for another name"),
        ("tlsv1 alert certificate expired", "certificate of these credentials has expired"),
        ("timed out", "cannot be reached"),
    ],
)
def test_reach_sentences(cause: str, sentence: str) -> None:
    assert sentence in _kube.reach_sentence("https://x", cause)


CLASS = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "edge"}}
GATEWAY = manifest("Gateway", "public", "x", spec={"listeners": [{"name": "http"}, {"name": "websecure"}]})


def routed(cluster: Asked, **gateway: Any) -> _preflight.Findings:
    wanted = {"class_name": "", "name": "", "namespace": "", "sections": ["http", "https"], **gateway}
    return _preflight.Preflight(cluster, NAMESPACE, "", False, {}, gateway=wanted).run()


def test_a_cluster_without_the_gateway_api_is_refused() -> None:
    cluster = Asked()
    cluster.errors["list HTTPRoute"] = ApiError(404, "NotFound", "no such kind", "list httproutes")
    with pytest.raises(
        Refused, match=r"does not serve gateway.networking.k8s.io/v1: install the standard channel of the Gateway API"
    ):
        routed(cluster, class_name="edge")


def test_gateway_classes() -> None:
    cluster = Asked()
    with pytest.raises(Refused, match=r"class edge does not exist in this cluster \(it has none: install a controller"):
        routed(cluster, class_name="edge")
    cluster.put(CLASS, None)
    assert routed(cluster, class_name="edge").skipped == []
    with pytest.raises(Refused, match=r"class other does not exist in this cluster \(it has: edge\)"):
        routed(cluster, class_name="other")


def test_a_gateway_that_exists() -> None:
    cluster = Asked()
    with pytest.raises(Refused, match=f"Gateway/public of namespace {NAMESPACE} does not exist: make it"):
        routed(cluster, name="public")
    cluster.put(GATEWAY, "other")
    with pytest.raises(Refused, match=r"namespace other has no listener https \(it has: http, websecure\)"):
        routed(cluster, name="public", namespace="other")
    found = routed(cluster, name="public", namespace="other", sections=["http", "websecure"])
    assert found.skipped == []


@pytest.mark.parametrize(
    ("call", "gateway", "skipped"),
    [
        ("list HTTPRoute", {"class_name": "edge"}, "whether the Gateway API is there: no permission"),
        ("list GatewayClass", {"class_name": "edge"}, "gateway classes: no permission to list them"),
        ("get Gateway/public", {"name": "public"}, "Gateway public: no permission to read gateways"),
    ],
)
def test_what_of_the_gateway_api_may_not_be_read_is_said(call: str, gateway: dict[str, Any], skipped: str) -> None:
    cluster = Asked()
    cluster.errors[call] = ApiError(403, "Forbidden", "no", call)
    assert skipped in routed(cluster, **gateway).skipped[0]


def test_routes_need_rights_of_their_own() -> None:
    names = {"gateways", "httproutes"}
    granted = [rule for rule in _rights.rules() if not names & set(rule["resources"])]
    cluster = Asked(granted)
    cluster.put(namespace())
    with pytest.raises(Refused, match=r"gateways\.gateway\.networking\.k8s\.io.*httproutes"):
        routed(cluster, class_name="edge")
    # Nobody makes a Gateway that is named.
    cluster.put(manifest("Gateway", "public", "x", spec={"listeners": []}))
    cluster.granted = [*granted, {"apiGroups": ["*"], "resources": ["httproutes"], "verbs": ["*"]}]
    routed(cluster, name="public", sections=[])
    with pytest.raises(Refused, match=r"gateways\.gateway\.networking\.k8s\.io"):
        routed(cluster, class_name="edge")
    cluster.granted = granted
    # Who makes Ingresses does not need them.
    cluster.put({**CLASS, "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass"}, None)
    _preflight.Preflight(cluster, NAMESPACE, "", False, {}, ingress_class="edge").run()
