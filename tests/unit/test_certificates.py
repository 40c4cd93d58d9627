# SPDX-License-Identifier: GPL-3.0-or-later
"""The private authority and its certificate: kept while they fit, made anew when not, accepted by a real TLS client."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _certificates as certificates
from ansible_collections.twisterlab.platform.plugins.module_utils._certificates import Kept, keep

DOMAIN = "lab.local"
HOSTS = ["api.lab.local", "grafana.lab.local"]
NOW = datetime.now(UTC)


def first(now: datetime = NOW) -> Kept:
    return keep(DOMAIN, HOSTS, now)


def again(kept: Kept, now: datetime = NOW, domain: str = DOMAIN, hosts: list[str] = HOSTS) -> Kept:
    return keep(domain, hosts, now, kept.authority, kept.leaf)


def greeted(kept: Kept, trusted: str, host: str, folder: Path) -> str:
    """Serve the certificate and greet the name as a client that trusts one authority; the error, or nothing."""
    (folder / "chain.pem").write_text(kept.leaf.certificate + kept.leaf.key, encoding="utf-8")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "chain.pem")
    near, far = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(far, server_side=True).close()
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ssl.create_default_context(cadata=trusted).wrap_socket(near, server_hostname=host).close()
    except ssl.SSLError as error:
        return str(error)
    finally:
        near.close()
        thread.join(10)
    return ""


def test_a_client_that_trusts_the_authority_accepts_every_name_and_no_other(tmp_path: Path) -> None:
    kept = first()
    for host in HOSTS:
        assert greeted(kept, kept.authority.certificate, host, tmp_path) == ""
    assert "match" in greeted(kept, kept.authority.certificate, "other.lab.local", tmp_path)
    assert "verify failed" in greeted(kept, first().authority.certificate, HOSTS[0], tmp_path)


def test_the_authority_is_good_for_its_domain_only(tmp_path: Path) -> None:
    authority = first().authority
    stolen = certificates._new_leaf(authority, ["bank.example"], NOW, 90)
    assert "permitted subtree violation" in greeted(
        Kept(authority, stolen), authority.certificate, "bank.example", tmp_path
    )


def test_what_fits_is_kept() -> None:
    kept = first()
    assert kept.made
    assert again(kept) == replace(kept, made=())


@pytest.mark.parametrize(("days", "renewed"), [(0, False), (59, False), (61, True), (89, True), (400, True)])
def test_it_is_renewed_when_a_third_of_its_lifetime_is_left(days: int, renewed: bool) -> None:
    kept = first()
    later = again(kept, NOW + timedelta(days=days))
    assert (later.leaf != kept.leaf) is renewed
    assert later.authority == kept.authority
    assert bool(later.made) is renewed


def test_other_names_need_another_certificate_of_the_same_authority() -> None:
    kept = first()
    later = again(kept, hosts=[*HOSTS, "prometheus.lab.local"])
    assert later.authority == kept.authority
    assert later.made == ("certificate: it was for api.lab.local, grafana.lab.local",)


def test_another_domain_needs_another_authority() -> None:
    kept = first()
    later = again(kept, domain="home.local", hosts=["api.home.local"])
    assert later.authority != kept.authority
    assert later.made == ("authority: it is for lab.local", "certificate: there was none")


@pytest.mark.parametrize("part", ["certificate", "key"])
@pytest.mark.parametrize("which", ["authority", "leaf"])
def test_what_cannot_be_read_or_does_not_belong_together_is_made_anew(part: str, which: str) -> None:
    kept = first()
    for wrong in ("garbage", getattr(getattr(first(), which), part)):
        broken = replace(kept, **{which: replace(getattr(kept, which), **{part: wrong})})
        later = again(broken)
        assert getattr(later, which) != getattr(broken, which)
        assert (later.authority == kept.authority) is (which == "leaf")


def test_an_authority_of_ones_own_without_limits_signs() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company")])
    made = (
        certificates._builder(name, name, key, NOW, 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    own = certificates._pair(made, key)
    kept = keep(DOMAIN, HOSTS, NOW, own)
    assert kept.authority == own
    assert kept.made == ("certificate: there was none",)


def test_a_leaf_of_another_authority_is_not_kept() -> None:
    kept, other = first(), first()
    later = keep(DOMAIN, HOSTS, NOW, kept.authority, other.leaf)
    assert later.authority == kept.authority
    assert later.leaf != other.leaf


def test_the_share_that_is_left() -> None:
    kept = first()
    assert certificates.left(kept.leaf.certificate, NOW) == pytest.approx(1, abs=0.01)
    assert certificates.left(kept.leaf.certificate, NOW + timedelta(days=45)) == pytest.approx(0.5, abs=0.01)
    assert certificates.left(kept.leaf.certificate, NOW + timedelta(days=900)) == 0
