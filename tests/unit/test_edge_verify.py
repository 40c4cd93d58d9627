# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of the edge against a real TLS server on loopback: what is as it should be, and each fault by its name."""

from __future__ import annotations

import base64
import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _certificates as certificates
from ansible_collections.twisterlab.platform.plugins.module_utils import _edge, _sealed
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records, Summary
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from ansible_collections.twisterlab.platform.plugins.modules import edge_verify
from kube_fake import NAMESPACE, FakeCluster, manifest, namespace

DOMAIN = "lab.local"
SITES = [
    _edge.Site("api.lab.local", "twisterlab-api"),
    _edge.Site("mcp-orchestrator.lab.local", "mcp-orchestrator"),
    _edge.Site("prometheus.lab.local", "prometheus"),
]
ACCOUNT = ("admin", "right")
LIMIT = 1


class Controller(http.server.BaseHTTPRequestHandler):
    """An ingress controller that does everything as it should, but for its fault."""

    fault = ""
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, **headers: str) -> None:
        """Send an empty answer."""
        self.send_response(status)
        if self.fault != "no HSTS":
            self.send_header("Strict-Transport-Security", "max-age=31536000")
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        """Lead plain HTTP away, ask for the password, know the names."""
        host = self.headers["Host"].partition(":")[0]
        if not isinstance(self.connection, ssl.SSLSocket):
            status = 302 if self.fault == "another redirection" else 308
            self.answer(200 if self.fault == "plain HTTP" else status, Location=f"https://{host}{self.path}")
        elif host not in {site.host for site in SITES}:
            self.answer(200 if self.fault == "every name" else 404)
        elif host.startswith("prometheus.") and not self.known():
            self.answer(401)
        else:
            self.answer(502 if self.fault == "server away" else 200)

    def known(self) -> bool:
        """Whether the password is the right one."""
        if self.fault == "no password":
            return True
        wanted = base64.b64encode(":".join(ACCOUNT).encode()).decode()
        return self.fault != "refuses everybody" and self.headers.get("Authorization") == f"Basic {wanted}"

    def do_POST(self) -> None:
        """Refuse what is too large, and whoever has no token."""
        length = int(self.headers["Content-Length"])
        if length > LIMIT * _edge.MEGABYTE and self.fault != "no limit":
            kind = "application/json" if self.fault == "the application's limit" else "text/html"
            self.answer(413, **{"Content-Type": kind})
            # As real ones linger: closed over what was not read, the connection would be reset and the answer lost.
            self.rfile.read(length)
            return
        if length == 2 and self.fault != "answers":
            self.connection.settimeout(60 if self.fault == "waits" else 1)
        if length != 2 or self.fault != "answers":
            self.rfile.read(length)
        self.answer(401 if self.headers["Host"].startswith("mcp-") else 200)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """A server whose handshakes may fail."""

    daemon_threads = True

    def handle_error(self, *_arguments: Any) -> None:
        """Say nothing of clients that are refused."""


@contextmanager
def edge(folder: Path, fault: str = "") -> Iterator[_edge.Door]:
    """A controller with a fault, and the way to it."""
    now = datetime.now(UTC) - timedelta(days=400 if fault == "expired" else 0)
    hosts = [site.host for site in SITES if fault != "another name" or "api" not in site.host]
    kept = certificates.keep(DOMAIN, hosts, now)
    (folder / "pair.pem").write_text(kept.leaf.certificate + kept.leaf.key, encoding="utf-8")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "pair.pem")
    if fault == "old TLS":
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    handler = type("Handler", (Controller,), {"fault": fault})
    servers = [Server(("127.0.0.1", 0), handler), Server(("127.0.0.1", 0), handler)]
    servers[1].socket = context.wrap_socket(servers[1].socket, server_side=True)
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    signer = certificates.keep(DOMAIN, hosts, now) if fault == "another authority" else kept
    try:
        yield _edge.Door(
            "127.0.0.1", servers[0].server_port, servers[1].server_port, signer.authority.certificate, 20.0
        )
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize(("fault", "state"), [("", "ok"), ("waits", "failed"), ("answers", "failed")])
def test_a_request_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, state: str) -> None:
    monkeypatch.setattr(_edge, "GRACE", 0)
    with edge(tmp_path, fault) as door:
        found = {check.name: check for check in _edge.verify(door, SITES, ACCOUNT, LIMIT, 2)}["unfinished request"]
    assert found.state == state, found.evidence
    assert found.evidence.startswith("a request that d")


def verdicts(door: _edge.Door) -> dict[str, tuple[str, str]]:
    return {check.name: (check.state, check.evidence) for check in _edge.verify(door, SITES, ACCOUNT, LIMIT)}


def test_an_edge_as_it_should_be(tmp_path: Path) -> None:
    with edge(tmp_path) as door:
        found = verdicts(door)
    assert {state for state, _evidence in found.values()} == {"ok"}, found
    assert len(found) == 10
    assert "100% of its lifetime left; GET /health answers 200" in found["https api.lab.local"][1]


@pytest.mark.parametrize(
    ("fault", "name", "sentence"),
    [
        ("no HSTS", "https api.lab.local", "Strict-Transport-Security"),
        ("server away", "https api.lab.local", "answered with 502 instead of 200"),
        ("another authority", "https api.lab.local", "its certificate is not accepted"),
        ("another name", "https api.lab.local", "its certificate is not accepted: Hostname mismatch"),
        ("expired", "https api.lab.local", "its certificate is not accepted: certificate has expired"),
        ("plain HTTP", "http api.lab.local", "answered with 200"),
        ("another redirection", "http api.lab.local", "answered with 302"),
        ("no password", "https prometheus.lab.local", "answered with 200 instead of 401"),
        ("no password", "password prometheus.lab.local", "a wrong password gets 200 instead of 401"),
        ("refuses everybody", "password prometheus.lab.local", "prometheus_password gets 401 instead of 200"),
        ("every name", "unknown name", "answered with 200 instead of 404"),
        ("old TLS", "old TLS", "TLSv1.1 is accepted"),
        ("no limit", "large request", "answered with 200 instead of 413"),
        ("the application's limit", "large request", "refused by the application, so the controller let it pass"),
    ],
)
def test_each_fault_is_named(fault: str, name: str, sentence: str, tmp_path: Path) -> None:
    with edge(tmp_path, fault) as door:
        state, evidence = verdicts(door)[name]
    assert state == "failed"
    assert sentence in evidence


def test_an_edge_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    authority = certificates.keep(DOMAIN, ["api.lab.local"], datetime.now(UTC)).authority.certificate
    found = verdicts(_edge.Door("127.0.0.1", port, port, authority, 2.0))
    assert {state for state, _evidence in found.values()} == {"failed"}
    assert all("no answer" in evidence for _state, evidence in found.values())


def test_no_names_no_checks() -> None:
    assert _edge.verify(_edge.Door("127.0.0.1", 1, 1, "", 1.0), [], ACCOUNT, LIMIT) == []


def test_routes_are_asked_as_ingresses_are_but_for_what_they_do_not_say(tmp_path: Path) -> None:
    route = {
        "spec": {"hostnames": ["api.lab.local"], "rules": [{"backendRefs": [{"name": "twisterlab-api", "port": 8000}]}]}
    }
    leads_away = {"spec": {"hostnames": ["api.lab.local"], "rules": [{"filters": [{"type": "RequestRedirect"}]}]}}
    assert edge_verify.routed([route, leads_away]) == [_edge.Site("api.lab.local", "twisterlab-api", 301)]
    with edge(tmp_path) as door:
        checks = {check.name: check for check in _edge.verify(door, edge_verify.routed([route]), ACCOUNT, 0)}
    # This controller answers with 308, which a route does not.
    assert "answered with 308" in checks["http api.lab.local"].evidence
    assert checks["large request"].state == "skipped"


def test_the_address_and_the_certificate_of_a_gateway() -> None:
    reference = {"kind": "Secret", "name": "twisterlab-tls"}
    gateway = {
        "kind": "Gateway",
        "metadata": {"name": "twisterlab-gateway"},
        "spec": {"listeners": [{"name": "http"}, {"name": "https", "tls": {"certificateRefs": [reference]}}]},
    }
    assert _sealed.served_by([gateway]) == "twisterlab-tls"
    assert _sealed.served_by([]) == ""
    with pytest.raises(Refused, match="No controller has taken the Gateway/twisterlab-gateway"):
        edge_verify.published([gateway])
    assert edge_verify.published([{**gateway, "status": {"addresses": [{"value": "192.0.2.7"}]}}]) == "192.0.2.7"


def test_a_stack_without_prometheus_hides_no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty text among what must be hidden hides everything, also the seconds of a check."""
    cluster = FakeCluster()
    rules = [{"host": "api.shop.local", "http": {"paths": [{"backend": {"service": {"name": "twisterlab-api"}}}]}}]
    cluster.put(manifest("Ingress", "twisterlab-ingress", "ingress", spec={"rules": rules}))
    monkeypatch.setattr(edge_verify._kube, "Cluster", lambda _params: cluster)
    monkeypatch.setattr(edge_verify._edge, "verify", lambda *_: [])
    params = {
        "namespace": NAMESPACE,
        "address": "127.0.0.1",
        "http_port": 80,
        "https_port": 443,
        "authority_file": None,
        "timeout": 1.0,
    }
    params |= {"body_megabytes": 1, "timeout_seconds": 0, "prometheus_user": "admin"}
    module = SimpleNamespace(params=params, no_log_values=set())
    edge_verify.look(module)
    assert module.no_log_values == set()
    # A name of the release that is gone is no edge that is switched off.
    cluster.put(namespace())
    staged = [manifest("Ingress", name, "ingress") for name in ("twisterlab-ingress", "twisterlab-grafana")]
    Records(cluster, NAMESPACE).write(Summary(0, "applied", "ann", "", ["ingress"]), [Component("ingress", staged, {})])
    (check,) = edge_verify.look(module)
    assert (check.name, check.state) == ("names", "failed")
    assert check.evidence.startswith("release 1 has Ingress/twisterlab-grafana, and the namespace has not")
    ingress = cluster.store.pop(("Ingress", NAMESPACE, "twisterlab-ingress"))
    assert [item.state for item in edge_verify.look(module)] == ["failed"]
    Records(cluster, NAMESPACE).write(Summary(0, "applied", "ann", "", ["ingress"]), [Component("ingress", [], {})])
    assert [item.state for item in edge_verify.look(module)] == ["skipped"]
    cluster.put(ingress)
    data = {"prometheus_password": base64.b64encode(b"a-password").decode()}
    cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "twisterlab-secrets"}, "data": data})
    edge_verify.look(module)
    assert "a-password" in module.no_log_values
