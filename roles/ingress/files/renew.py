# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every night in the cluster: renews the certificate of the edge when it is time, as a deploy does.

Argument: the certificate as the role `ingress` declares it, with `namespace` and `served` (the name of its Secret), as JSON.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import _certificates as certificates

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
#: How often the API server is asked, each time a second later.
TURNS = 8
#: It runs once a night, and the alert comes after three that failed: this many nights before the end at the latest.
NIGHTS = 4


class Secrets:
    """The Secrets of one namespace, with the account of this pod."""

    def __init__(self, namespace: str) -> None:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
        self._root = f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/namespaces/{namespace}/secrets"
        self._tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def _ask(self, method: str, name: str, body: Any = None) -> dict[str, Any]:
        token = (ACCOUNT / "token").read_text(encoding="utf-8")
        request = urllib.request.Request(  # noqa: S310 - the API server
            f"{self._root}/{name}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        for turn in range(TURNS):
            try:
                with urllib.request.urlopen(request, timeout=30, context=self._tls) as answer:  # noqa: S310
                    found: dict[str, Any] = json.loads(answer.read())
                    return found
            except urllib.error.HTTPError:
                raise
            except OSError as error:
                # The network lets a new pod out a moment after it began.
                told = error
                time.sleep(turn)
        raise SystemExit(f"the API server does not answer: {told}")

    def read(self, name: str) -> dict[str, Any]:
        """One Secret."""
        return self._ask("GET", name)

    def write(self, secret: dict[str, Any], values: dict[str, str]) -> None:
        """Replace its values; somebody who wrote it since it was read makes this fail."""
        secret["data"] = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self._ask("PUT", secret["metadata"]["name"], secret)


def pair(secret: dict[str, Any]) -> certificates.Pair:
    """What a Secret holds."""
    data = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
    return certificates.Pair(data["tls.crt"], data["tls.key"])


def renew_percent(days: int, given: int) -> int:
    """The share of its lifetime at which a certificate is renewed: what is given, unless that is less than the nights it takes."""
    return max(given, min(100, -(-100 * NIGHTS // days)))


def main(given: dict[str, Any]) -> str:
    """Renew if it is time; say what was done."""
    secrets = Secrets(given["namespace"])
    authority, served = secrets.read(given["authority"]), secrets.read(given["served"])
    now = datetime.now(UTC)
    signer = pair(authority)
    kept = certificates.keep(
        given["domain"],
        given["hosts"],
        now,
        signer,
        pair(served),
        int(given["days"]),
        renew_percent(int(given["days"]), int(given["renew_percent"])),
    )
    if kept.authority != signer:
        # Whoever trusts the old one must be told of the new one, so a person makes it.
        raise SystemExit(f"{kept.made[0]}; deploy again, which makes another authority")
    if not kept.made:
        return f"kept: {certificates.left(kept.leaf.certificate, now):.0%} of its lifetime is left"
    values = {"tls.crt": kept.leaf.certificate, "tls.key": kept.leaf.key, "ca.crt": kept.authority.certificate}
    secrets.write(served, values)
    return f"made anew: {'; '.join(kept.made)}"


if __name__ == "__main__":
    try:
        print(main(json.loads(sys.argv[1])))
    except urllib.error.HTTPError as error:
        sys.exit(f"the API server answered {error.code} {error.reason} to {error.url}")
