# SPDX-License-Identifier: GPL-3.0-or-later
"""The four objects of the Kubernetes API that a backup holds, read with the pod's own token."""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

from .errors import Fault
from .settings import Settings

RECORDS = "twisterlab.io/record=true"
SECRETS = ("twisterlab-secrets", "twisterlab-ca", "twisterlab-tls")
#: Without this one nothing can be decrypted or logged in to; the others are there or not, as the deployment says.
NEEDED = "twisterlab-secrets"


def _get(settings: Settings, path: str) -> dict[str, Any] | None:
    """One GET; None for 404."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    account = settings.service_account
    try:
        token = (account / "token").read_text(encoding="utf-8").strip()
        context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    except OSError as error:
        raise Fault(
            "The parts records and secrets need the pod's token, which is not there: mount it or leave them out of BACKUP_PARTS."
        ) from error
    if not host or not settings.namespace:
        raise Fault("KUBERNETES_SERVICE_HOST or BACKUP_NAMESPACE is not set: the parts records and secrets need both.")
    place = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(  # noqa: S310 - always https
        f"https://{place}:{port}/api/v1/namespaces/{quote(settings.namespace)}/{path}",
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        hint = " (its Role must let this ServiceAccount read it)" if error.code == 403 else ""
        raise Fault(f"The Kubernetes API answered {error.code} for {path.split('?')[0]}{hint}.") from error
    except (OSError, ValueError) as error:
        raise Fault(f"The Kubernetes API cannot be asked for {path.split('?')[0]}: {error}.") from error


def _kept(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    """What is needed to make an object anew."""
    meta = obj.get("metadata") or {}
    body = {name: obj[name] for name in ("type", "data", "binaryData", "immutable") if name in obj}
    names = ("name", "labels", "annotations")
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {name: meta[name] for name in names if name in meta},
        **body,
    }


def records(settings: Settings) -> list[dict[str, Any]]:
    """The release records.

    Raises:
        Fault: the API refused.
    """
    found = _get(settings, f"configmaps?labelSelector={quote(RECORDS)}") or {}
    return [_kept(item, "ConfigMap") for item in found.get("items") or []]


def secrets(settings: Settings) -> list[dict[str, Any]]:
    """The Secrets that are there.

    Raises:
        Fault: the API refused, or twisterlab-secrets is not there.
    """
    found = [(name, _get(settings, f"secrets/{name}")) for name in SECRETS]
    there = [_kept(obj, "Secret") for _, obj in found if obj]
    if NEEDED not in [obj["metadata"]["name"] for obj in there]:
        raise Fault(f"The Secret {NEEDED} is not in the namespace {settings.namespace}: deploy first.")
    return there
