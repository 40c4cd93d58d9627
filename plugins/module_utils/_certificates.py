# SPDX-License-Identifier: GPL-3.0-or-later
"""A private certificate authority and the certificate it signs: kept while they fit, made anew when they do not.

Pure, and of `cryptography` alone: the CronJob that renews between deploys runs this very file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
#: A certificate is refused while a clock of the cluster is behind the one that made it.
BACKDATED = timedelta(hours=1)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Kept:
    """What must stand in the cluster.

    Attributes:
        authority: signs; it may only for its domain, so that trusting it gives nobody another name.
        leaf: is served.
        made: what is new and why, empty when everything was kept.
    """

    authority: Pair
    leaf: Pair
    made: tuple[str, ...] = ()


def keep(
    domain: str,
    hosts: Sequence[str],
    now: datetime,
    authority: Pair | None = None,
    leaf: Pair | None = None,
    days: int = 90,
    renew_percent: int = 33,
) -> Kept:
    """Keep what fits, make the rest.

    Args:
        domain: the authority may sign for it and for names below it.
        hosts: names of the certificate.
        now: the time, with its zone.
        authority: what is there.
        leaf: what is there.
        days: lifetime of the certificate.
        renew_percent: it is renewed when this share of its lifetime, in percent, is left.
    """
    made = []
    why = _authority_misfit(authority, domain, now)
    if authority is None or why:
        authority, leaf = _new_authority(domain, now), None
        made.append(f"authority: {why}")
    why = _leaf_misfit(leaf, authority, hosts, now, renew_percent)
    if leaf is None or why:
        leaf = _new_leaf(authority, hosts, now, days)
        made.append(f"certificate: {why}")
    return Kept(authority, leaf, tuple(made))


def left(certificate: str, now: datetime) -> float:
    """The share of a certificate's lifetime that is left, from 0 to 1."""
    read = x509.load_pem_x509_certificate(certificate.encode())
    whole = (read.not_valid_after_utc - read.not_valid_before_utc).total_seconds()
    return max(0.0, min(1.0, (read.not_valid_after_utc - now).total_seconds() / whole))


def lifetime(certificate: str, now: datetime) -> tuple[float, float, list[str]] | None:
    """Days left (less than 0 when it has expired), days in all, and names of a certificate; None when it cannot be read."""
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )
    except x509.ExtensionNotFound:
        names = []
    except ValueError:
        return None
    day = timedelta(days=1)
    end = read.not_valid_after_utc
    return (end - now) / day, (end - read.not_valid_before_utc) / day, list(names)


def made_here(certificate: str) -> bool:
    """Whether an authority is one that `keep` made, which may make another in its place; one of the user's own is never given up."""
    try:
        read = x509.load_pem_x509_certificate(certificate.encode())
        names = _domains(read) or []
        called = str(read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    except (ValueError, IndexError):
        return False
    return len(names) == 1 and called.startswith(_called(names[0])[:64])


def _called(domain: str) -> str:
    return f"{domain} private CA "


def _domains(authority: x509.Certificate) -> list[str] | None:
    """For what it may sign; None where it has no limits."""
    try:
        allowed = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    except x509.ExtensionNotFound:
        return None
    return [str(item.value) for item in allowed if isinstance(item, x509.DNSName)]


def _authority_misfit(pair: Pair | None, domain: str, now: datetime) -> str:
    """Why an authority cannot be used; empty when it can."""
    if pair is None:
        return "there was none"
    read = _read(pair)
    if read is None:
        return "it could not be read"
    if left(pair.certificate, now) <= 0:
        return "it has expired"
    names = _domains(read)
    # One of the user's own may sign for whatever it likes, or for all below a parent's name.
    if names is None or domain in names:
        return ""
    wide = not made_here(pair.certificate) and any(domain.endswith(f".{name.lstrip('.')}") for name in names)
    return "" if wide else f"it is for {', '.join(names)}"


def _leaf_misfit(pair: Pair | None, authority: Pair, hosts: Sequence[str], now: datetime, renew_percent: int) -> str:
    """Why a certificate cannot be served; empty when it can."""
    if pair is None:
        return "there was none"
    read = _read(pair)
    if read is None:
        return "it could not be read"
    share = left(pair.certificate, now)
    if share * 100 <= renew_percent:
        return f"{share:.0%} of its lifetime was left"
    try:
        read.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate.encode()))
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        )
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        return f"it is not of this authority ({type(error).__name__})"
    return "" if set(names) == set(hosts) else f"it was for {', '.join(names)}"


def _read(pair: Pair) -> x509.Certificate | None:
    """The certificate, if both can be read and belong together."""
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        key = serialization.load_pem_private_key(pair.key.encode(), None)
    except (ValueError, TypeError):
        return None
    kind = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return certificate if certificate.public_key().public_bytes(*kind) == key.public_key().public_bytes(*kind) else None


def _new_authority(domain: str, now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{_called(domain)}{now:%Y-%m-%d}"[:64])])
    made = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.NameConstraints([x509.DNSName(domain)], None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(made, key)


def _new_leaf(authority: Pair, hosts: Sequence[str], now: datetime, days: int) -> Pair:
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = serialization.load_pem_private_key(authority.key.encode(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])])
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    made = (
        _builder(name, issuer.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    )
    return _pair(made, key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC).replace(microsecond=0) - BACKDATED
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode())
