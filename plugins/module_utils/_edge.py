# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge as somebody outside meets it: names, certificates, redirection, limits, passwords. Nothing is believed that was not tried."""

from __future__ import annotations

import base64
import contextlib
import http.client
import secrets
import socket
import ssl
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from ._checks import FAILED, SKIPPED, Check, judged
from ._errors import PlatformError
from ._web import Answer

TAG = "edge"
HSTS = "strict-transport-security"
MEGABYTE = 2**20
#: Seconds over its time limit that a controller may take to close.
GRACE = 10


class Failed(PlatformError):
    """The edge does not do what it must."""


class Unmeasured(PlatformError):
    """It cannot be told from here."""


@dataclass(frozen=True)
class Door:
    """Where the edge listens.

    Attributes:
        address: of the ingress controller.
        http_port: of plain HTTP.
        https_port: of HTTPS.
        authority: PEM of who signs; empty for the machine's own trust.
        seconds: time limit of one request.
    """

    address: str
    http_port: int
    https_port: int
    authority: str
    seconds: float

    def context(self, verified: bool = True) -> ssl.SSLContext:
        """How a client of today speaks."""
        context = ssl.create_default_context(cadata=self.authority or None)
        if not verified:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    @contextlib.contextmanager
    def tls(self, host: str, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
        """A connection to a name, wherever that name leads."""
        with (
            socket.create_connection((self.address, self.https_port), timeout=self.seconds) as plain,
            context.wrap_socket(plain, server_hostname=host) as sealed,
        ):
            yield sealed

    def ask(
        self,
        host: str,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        verified: bool = True,
    ) -> Answer:
        """One request over HTTPS."""
        with self.tls(host, self.context(verified)) as sealed:
            return self._exchange(sealed, host, self.https_port, 443, method, path, body, headers)

    def ask_plain(self, host: str, path: str) -> Answer:
        """One request over HTTP."""
        with socket.create_connection((self.address, self.http_port), timeout=self.seconds) as plain:
            return self._exchange(plain, host, self.http_port, 80, "GET", path, None, None)

    def _exchange(
        self,
        connected: socket.socket,
        host: str,
        port: int,
        default: int,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = connected
        # As a client of the well-known port names it, so that a mapped port of a test is no other name.
        given = {"Host": host if port == default else f"{host}:{port}", **(headers or {})}
        # A server that refuses a large body answers before it has read it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, given)
        found = connection.getresponse()
        text = found.read(4096).decode("utf-8", "replace")
        return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, text)


@dataclass(frozen=True)
class Site:
    """One public name.

    Attributes:
        host: the name.
        service: where it leads.
        redirect: status by which plain HTTP is led to HTTPS.
    """

    host: str
    service: str
    redirect: int = 308


#: What a name answers to somebody who knows nothing: method, path and status, by the Service it leads to.
STRANGERS: Mapping[str, tuple[str, str, int]] = {
    "twisterlab-api": ("GET", "/health", 200),
    "grafana": ("GET", "/api/health", 200),
    "prometheus": ("GET", "/api/v1/query?query=up", 401),
    "mcp-orchestrator": ("POST", "/mcp", 401),
    "mcp-monitoring": ("POST", "/mcp", 401),
}


def verify(
    door: Door, sites: list[Site], account: tuple[str, str], body_megabytes: int, patience: int = 0
) -> list[Check]:
    """Every check of the edge.

    Args:
        door: the edge.
        sites: the public names.
        account: name and password of Prometheus' name.
        body_megabytes: the size above which a request is refused; 0 where nobody tells the controller.
        patience: seconds after which a request that does not end is ended; 0 when that is not measured.
    """
    found = []
    for site in sites:
        found.append(_check(f"https {site.host}", partial(_https, door, site)))
        found.append(_check(f"http {site.host}", partial(_redirect, door, site)))
        if site.service == "prometheus":
            found.append(_check(f"password {site.host}", partial(_password, door, site, account)))
    if sites:
        first = sites[0].host
        limited = next((site.host for site in sites if site.service == "twisterlab-api"), first)
        found.append(_check("unknown name", partial(_unknown, door, first)))
        found.append(_check("old TLS", partial(_old, door, first)))
        found.append(_check("large request", partial(_large, door, limited, body_megabytes)))
        if patience:
            found.append(_check("unfinished request", partial(_unfinished, door, limited, patience)))
    return found


def _check(name: str, step: Callable[[], str]) -> Check:
    begun = time.monotonic()
    problem, evidence = "", ""
    try:
        evidence = step()
    except Unmeasured as error:
        return Check(name, SKIPPED, str(error), time.monotonic() - begun, TAG)
    except PlatformError as error:
        problem = str(error)
    except ssl.SSLCertVerificationError as error:
        problem = f"its certificate is not accepted: {error.verify_message}"
    except (OSError, http.client.HTTPException) as error:
        problem = f"no answer: {error or type(error).__name__}"
    return judged(name, problem, evidence, time.monotonic() - begun, TAG)


def _https(door: Door, site: Site) -> str:
    with door.tls(site.host, door.context()) as sealed:
        version = sealed.version()
        certificate: dict[str, Any] = sealed.getpeercert() or {}
    method, path, status = STRANGERS.get(site.service, ("GET", "/", 0))
    answer = door.ask(
        site.host, path, method, b"{}" if method == "POST" else None, {"Content-Type": "application/json"}
    )
    if status and answer.status != status:
        raise Failed(
            f"{method} {path} is answered with {answer.status} instead of {status}: {answer.text[:120].strip()}"
        )
    if HSTS not in answer.headers:
        raise Failed("it does not tell browsers to stay with HTTPS (Strict-Transport-Security)")
    issuer = dict(pair for part in certificate.get("issuer", ()) for pair in part).get("commonName", "?")
    return f"{version}, certificate of {issuer}, {_left(certificate):.0%} of its lifetime left; {method} {path} answers {answer.status}"


def _left(certificate: Mapping[str, Any]) -> float:
    start, end = (ssl.cert_time_to_seconds(str(certificate[name])) for name in ("notBefore", "notAfter"))
    return (end - datetime.now(UTC).timestamp()) / (end - start)


def _redirect(door: Door, site: Site) -> str:
    _method, path, _status = STRANGERS.get(site.service, ("GET", "/", 0))
    answer = door.ask_plain(site.host, path)
    to = answer.headers.get("location", "")
    if answer.status != site.redirect or not to.startswith(f"https://{site.host}"):
        raise Failed(
            f"plain HTTP is answered with {answer.status} {to or 'and no Location'} instead of {site.redirect} to https://{site.host}"
        )
    return f"{answer.status} to {to}"


def _password(door: Door, site: Site, account: tuple[str, str]) -> str:
    def status(name: str, password: str) -> int:
        token = base64.b64encode(f"{name}:{password}".encode()).decode()
        return door.ask(site.host, "/-/healthy", headers={"Authorization": f"Basic {token}"}).status

    wrong = status(account[0], secrets.token_hex(8))
    right = status(*account)
    if (wrong, right) != (401, 200):
        raise Failed(f"a wrong password gets {wrong} instead of 401, prometheus_password gets {right} instead of 200")
    return f"{account[0]} is let in with prometheus_password, refused with another one"


def _unknown(door: Door, known: str) -> str:
    host = f"unknown-{secrets.token_hex(4)}.{known.partition('.')[2]}"
    answer = door.ask(host, "/", verified=False)
    if answer.status != 404:
        raise Failed(f"{host} is answered with {answer.status} instead of 404")
    return f"{host} is answered with 404"


def _old(door: Door, host: str) -> str:
    context = door.context(verified=False)
    try:
        # What is offered here is what must be refused there; Python's advice against it is not for us.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    except (ValueError, ssl.SSLError) as error:
        raise Unmeasured("this machine cannot speak TLS 1.1") from error
    try:
        with door.tls(host, context) as sealed:
            raise Failed(f"{sealed.version()} is accepted")
    except ssl.SSLError as error:
        if error.reason and "ALERT" not in error.reason and "EOF" not in error.reason:
            raise Unmeasured(f"this machine cannot speak TLS 1.1 ({error.reason})") from error
        return f"TLS 1.1 is refused ({error.reason or 'connection closed'})"
    except ConnectionResetError:
        return "TLS 1.1 is refused (connection closed)"


def _large(door: Door, host: str, megabytes: int) -> str:
    if not megabytes:
        raise Unmeasured("the Gateway API has no limit on the size of a request; the controller has its own")
    answer = door.ask(
        host, "/", "POST", bytes(megabytes * MEGABYTE + MEGABYTE), {"Content-Type": "application/octet-stream"}
    )
    if answer.status == 413 and "json" in answer.headers.get("content-type", ""):
        # A controller says so in words of its own; this is how the applications do.
        raise Failed(f"a request of {megabytes + 1} MB was refused by the application, so the controller let it pass")
    if answer.status != 413:
        raise Failed(
            f"a request of {megabytes + 1} MB is answered with {answer.status} instead of 413: the controller does not read the limit"
        )
    return f"a request of {megabytes + 1} MB is refused with 413"


def _unfinished(door: Door, host: str, patience: int) -> str:
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\nContent-Length: 2\r\n\r\n"
    with door.tls(host, door.context()) as sealed:
        sealed.sendall(head.encode() + b"x")
        begun = time.monotonic()
        sealed.settimeout(patience + GRACE)
        try:
            told = sealed.recv(4096)
        except TimeoutError:
            raise Failed(
                f"a request that does not end is still waited for after {patience + GRACE} s: the controller has no such time limit"
            ) from None
        except OSError:
            told = b""
        lasted = time.monotonic() - begun
    status = told.split(b" ", 2)[1].decode("ascii", "replace") if told.startswith(b"HTTP/") else ""
    if status and status[0] not in "45":
        raise Failed(f"a request that did not end is answered with {status} after {lasted:.0f} s")
    return f"a request that does not end is {f'answered with {status}' if status else 'closed'} after {lasted:.0f} s"


def unreachable(sentence: str) -> list[Check]:
    """The one check of an edge that cannot be found."""
    return [Check("address", FAILED, sentence, 0.0, TAG)]
