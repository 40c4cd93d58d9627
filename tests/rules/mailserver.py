# SPDX-License-Identifier: GPL-3.0-or-later
"""A mail server on a loopback port (aiosmtpd, the asyncio successor of the standard library's smtpd), with the ways in which real ones refuse."""

from __future__ import annotations

import contextlib
import email
import email.message
import email.policy
import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from conftest import free_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class Mailbox:
    """What arrived, and what a server says to a recipient or to mail of a kind.

    Attributes:
        got: the messages, oldest first, with their recipients.
        refuses: what is answered to every recipient instead of taking it; empty takes all.
        greylists: how many recipients are put off before one is taken.
    """

    def __init__(self, refuses: str = "", greylists: int = 0) -> None:
        self.got: list[tuple[list[str], email.message.EmailMessage]] = []
        self.refuses = refuses
        self.greylists = greylists

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        """Take a recipient, or not."""
        if self.refuses:
            return self.refuses
        if self.greylists:
            self.greylists -= 1
            return "451 4.7.1 Greylisted, come back"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Take a message."""
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.got.append((list(envelope.rcpt_tos), message))  # type: ignore[arg-type]
        return "250 OK"


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 that signs itself; its file and that of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "mail.pem", folder / "mail.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files[1].write_bytes(private)
    return files


@contextlib.contextmanager
def listening(
    mailbox: Mailbox, tls: tuple[Path, Path] | None = None, account: tuple[str, str] = ("", "")
) -> Iterator[int]:
    """Serve a mailbox; the port. With `tls` mail is taken after STARTTLS only, with `account` from that one only."""
    given: dict[str, Any] = {}
    if tls:
        given["tls_context"] = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        given["tls_context"].load_cert_chain(*tls)
        given["require_starttls"] = True
    if account[0]:

        def known(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
            return AuthResult(success=(data.login.decode(), data.password.decode()) == account)

        # Its LOGIN asks in words of its own, which Alertmanager does not know.
        given |= {"authenticator": known, "auth_required": True, "auth_exclude_mechanism": ["LOGIN"]}
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), **given)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()
