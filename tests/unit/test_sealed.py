# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets beside `twisterlab-secrets`: filled from it, or a certificate; written once, never shown, removed by a purge only."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _certificates as certificates
from ansible_collections.twisterlab.platform.plugins.module_utils import _destroy, _sealed, _secrets
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kube_fake import NAMESPACE, FakeCluster, manifest, namespace
from test_release import ME, Run

AUTH: dict[str, Any] = {"name": "twisterlab-prometheus-auth", "data": {"auth": "admin:{password:htpasswd}\n"}}
CERTIFICATE: dict[str, Any] = {
    "name": "twisterlab-tls",
    "certificate": {
        "authority": "twisterlab-ca",
        "domain": "lab.local",
        "hosts": ["api.lab.local"],
        "days": 90,
        "renew_percent": 33,
    },
}
TITLES = ["Secret/twisterlab-ca", "Secret/twisterlab-tls", "Secret/twisterlab-prometheus-auth"]


def edge(*sealed: dict[str, Any]) -> list[Component]:
    keys = [{"name": "password", "generated": {"length": 32}}]
    component = Component("ingress", [manifest("ConfigMap", "conf", "ingress", data={"a": "1"})], keys)
    component.sealed = list(sealed)
    return [Component("base", [namespace()]), component]


def values(run: Run, name: str) -> dict[str, str]:
    return _secrets.decode(run.live("Secret", name)["data"])


def test_they_are_made_on_the_first_release_and_the_second_writes_nothing() -> None:
    run = Run()
    answer = run(edge(CERTIFICATE, AUTH))
    assert [title for title in answer.progress.created if title in TITLES] == TITLES
    assert run.live("Secret", "twisterlab-tls")["type"] == "kubernetes.io/tls"
    assert values(run, "twisterlab-tls")["ca.crt"] == values(run, "twisterlab-ca")["tls.crt"]
    assert answer.authorities == {"twisterlab-ca": values(run, "twisterlab-ca")["tls.crt"]}
    # htpasswd -s makes the same of "password".
    assert _secrets.expand("{p:htpasswd}", {"p": "password"}) == "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="
    run.finish()
    answer = run(edge(CERTIFICATE, AUTH))
    assert not answer.progress.touched
    assert not [call for call in run.cluster.writes() if "Secret" in call]


def test_a_certificate_is_renewed_on_a_release_and_the_reason_is_told() -> None:
    run = Run()
    run(edge(CERTIFICATE))
    before = values(run, "twisterlab-tls"), values(run, "twisterlab-ca")
    run.cluster.clock.seconds += timedelta(days=70).total_seconds()
    answer = run(edge(CERTIFICATE))
    assert answer.progress.changed == ["Secret/twisterlab-tls"]
    assert any("22% of its lifetime was left" in sentence for sentence in answer.warnings)
    assert values(run, "twisterlab-ca") == before[1]
    assert values(run, "twisterlab-tls")["tls.key"] != before[0]["tls.key"]


def test_who_fills_it_next_finds_no_authority_of_ours() -> None:
    former = {"name": "twisterlab-tls", "former": "twisterlab-ca"}
    run = Run()
    assert "Secret/twisterlab-tls" not in run(edge(former)).progress.created
    run(edge(CERTIFICATE))
    before = values(run, "twisterlab-tls")
    answer = run(edge(former))
    assert answer.progress.changed == ["Secret/twisterlab-tls"]
    assert values(run, "twisterlab-tls") == {key: before[key] for key in ("tls.crt", "tls.key")}
    # One that the new owner wrote stays.
    secret = run.live("Secret", "twisterlab-tls")
    secret["data"] = _secrets.encode({**values(run, "twisterlab-tls"), "ca.crt": "theirs"})
    run.cluster.put(secret)
    run(edge(former))
    assert values(run, "twisterlab-tls")["ca.crt"] == "theirs"


def test_another_password_changes_what_is_filled_from_it() -> None:
    run = Run()
    run(edge(AUTH))
    answer = run(edge(AUTH), supplied={"password": "another one"})
    assert "Secret/twisterlab-prometheus-auth" in answer.progress.changed
    wanted = _secrets.expand("admin:{p:htpasswd}\n", {"p": "another one"})
    assert values(run, "twisterlab-prometheus-auth") == {"auth": wanted}


def test_check_mode_tells_and_writes_nothing() -> None:
    run = Run()
    answer = run(edge(CERTIFICATE, AUTH), check_mode=True)
    assert [title for title in answer.progress.created if title in TITLES] == TITLES
    assert not run.cluster.writes()


def test_no_value_is_in_differences_warnings_or_records() -> None:
    run = Run()
    answers = [run(edge(CERTIFICATE, AUTH))]
    run.cluster.clock.seconds += timedelta(days=70).total_seconds()
    answers.append(run(edge(CERTIFICATE, AUTH)))
    shown = str([(answer.diff, answer.warnings, vars(answer.progress)) for answer in answers])
    records = str([obj for (kind, _ns, _name), obj in run.cluster.store.items() if kind == "ConfigMap"])
    for name in ("twisterlab-ca", "twisterlab-tls", "twisterlab-prometheus-auth"):
        for key, value in values(run, name).items():
            if key not in ("tls.crt", "ca.crt"):
                for form in (value, base64.b64encode(value.encode()).decode()):
                    assert form not in shown
                    assert form not in records


def test_a_secret_of_somebody_else_is_not_taken() -> None:
    run = Run()
    run(edge())
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "twisterlab-tls"}, "data": {}}
    run.cluster.put(theirs)
    with pytest.raises(Refused, match="Secret/twisterlab-tls exists in namespace shop and is not ours"):
        run(edge(CERTIFICATE))


def test_a_secret_that_must_be_there() -> None:
    existing = {"name": "mine", "existing": ["tls.crt", "tls.key"]}
    run = Run()
    with pytest.raises(
        Refused,
        match=r"Secret/mine of namespace shop does not exist: make it with 'kubectl -n shop create secret tls mine",
    ):
        run(edge(existing))
    assert not run.cluster.writes()
    run(edge())
    secret: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mine"},
        "data": {"tls.crt": ""},
    }
    run.cluster.put(secret)
    with pytest.raises(Refused, match=r"has no tls\.key"):
        run(edge(existing))
    secret["data"]["tls.key"] = ""
    run.cluster.put(secret)
    run(edge(existing))
    assert run.live("Secret", "mine")["data"] == {"tls.crt": "", "tls.key": ""}


def test_destroy_keeps_them_and_purge_removes_them() -> None:
    run = Run()
    run(edge(CERTIFICATE, AUTH))

    def destroy(purge: bool) -> _destroy.Removal:
        return _destroy.Destroy(
            run.cluster, run.cluster.clock, NAMESPACE, ME, purge, False, dead=lambda identity, running: False
        ).run(10)

    kept = [title for title, _why in destroy(False).kept]
    assert set(TITLES) <= set(kept)
    assert set(TITLES) <= set(destroy(True).deleted)


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "other", "data": {"a": "{password}"}},
        {"name": "twisterlab-tls"},
        {"name": "twisterlab-tls", "data": {"a": "b"}, "existing": ["a"]},
        {"name": "twisterlab-tls", "certificate": {"domain": "lab.local"}},
        {"name": "", "existing": ["a"]},
        {"name": "twisterlab-tls", "former": "other"},
        {"name": "twisterlab-prometheus-auth", "data": {"auth": "{password:unknown}"}},
    ],
)
def test_what_is_no_declaration_is_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        _sealed.check([declared])


def test_the_fake_is_not_needed_for_good_ones() -> None:
    _sealed.check([CERTIFICATE, AUTH, {"name": "mine", "existing": ["tls.crt"]}])
    assert _sealed.decide(FakeCluster(), NAMESPACE, [], {}, FakeCluster().now()).writes == []


def own_authority(expired: bool = False, locked: bool = False, name: str = "local") -> dict[str, str]:
    """An authority as a company has it, for all names below one."""
    now = datetime.now(UTC) - timedelta(days=20 if expired else 0)
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Company")])
    made = (
        certificates._builder(called, called, key, now, 10 if expired else 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(name)], None), critical=True)
        .sign(key, hashes.SHA256())
    )
    lock = serialization.BestAvailableEncryption(b"word") if locked else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
    return {"tls.crt": made.public_bytes(serialization.Encoding.PEM).decode(), "tls.key": private.decode()}


def given(run: Run, held: dict[str, str]) -> None:
    secret = manifest("Secret", "twisterlab-ca", "ingress", data=_secrets.encode(held))
    run.cluster.put({**secret, "type": "kubernetes.io/tls"})


def test_an_authority_of_ones_own_signs_below_its_name_and_stays() -> None:
    run = Run()
    run(edge())
    held = own_authority()
    given(run, held)
    run(edge(CERTIFICATE))
    assert values(run, "twisterlab-ca") == held
    assert values(run, "twisterlab-tls")["ca.crt"] == held["tls.crt"]


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (own_authority(expired=True), "it has expired"),
        (own_authority(locked=True), "it could not be read"),
        (own_authority(name="company.example"), "it is for company.example"),
        ({"tls.key": own_authority()["tls.key"]}, "there was none"),
    ],
)
def test_an_authority_of_ones_own_is_never_written_over(held: dict[str, str], why: str) -> None:
    run = Run()
    run(edge())
    given(run, held)
    with pytest.raises(Refused, match=f"holds an authority that was not made here and cannot be used \\({why}"):
        run(edge(CERTIFICATE))
    assert values(run, "twisterlab-ca") == held


@pytest.mark.parametrize("domain", ["lab.local", f"{'long.' * 12}lab.local"])
def test_an_authority_made_here_is_made_anew_for_another_domain(domain: str) -> None:
    run = Run()
    run(edge({**CERTIFICATE, "certificate": {**CERTIFICATE["certificate"], "domain": domain, "hosts": [domain]}}))
    before = values(run, "twisterlab-ca")
    other = {**CERTIFICATE["certificate"], "domain": f"x.{domain}", "hosts": [f"x.{domain}"]}
    run(edge({**CERTIFICATE, "certificate": other}))
    assert values(run, "twisterlab-ca") != before
