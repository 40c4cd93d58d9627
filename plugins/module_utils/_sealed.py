# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets beside `twisterlab-secrets`, for those who take a Secret of their own form: an ingress controller above all.

A stage declares them without values: `{name, data: {key: format}}` is filled from the keys of `twisterlab-secrets`,
`{name, certificate: {...}}` holds a certificate of a private authority, which has a Secret of its own,
`{name, former: authority}` held one and is filled by somebody else now, and `{name, existing: [key]}` is somebody
else's that must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from . import _kinds as kinds
from . import _objects as objects
from . import _secrets
from ._api import Api
from ._errors import ApiError, Refused
from ._objects import Object

CERTIFICATE, KEY, AUTHORITY = "tls.crt", "tls.key", "ca.crt"
TLS = "kubernetes.io/tls"
#: What a release may have made; destroy keeps them and purge removes them.
NAMES = ("twisterlab-ca", "twisterlab-tls", "twisterlab-prometheus-auth")
_CERTIFICATE_WORDS = {"authority", "domain", "hosts", "days", "renew_percent"}


@dataclass
class Write:
    """One Secret that must be written.

    Attributes:
        name: its name.
        component: the component it belongs to.
        live: what is there; None when it is not.
        values: its data, in clear.
        type: its type.
        why: what is new, for people.
    """

    name: str
    component: str
    live: Object | None
    values: dict[str, str]
    type: str = "Opaque"
    why: str = ""


@dataclass
class Sealed:
    """What the declared Secrets come to.

    Attributes:
        writes: those that must be written.
        authorities: public certificate of each private authority, by the name of its Secret.
    """

    writes: list[Write] = field(default_factory=list)
    authorities: dict[str, str] = field(default_factory=dict)


def check(declared: list[dict[str, Any]]) -> None:
    """Refuse a malformed declaration.

    Raises:
        Refused: with the forms that exist.
    """
    for item in declared:
        name = str(item.get("name", ""))
        kinds_of = set(item) - {"name"}
        certificate = item.get("certificate")
        good = kinds_of == {"data"} and isinstance(item["data"], dict)
        good = good or (
            kinds_of == {"certificate"} and isinstance(certificate, dict) and set(certificate) == _CERTIFICATE_WORDS
        )
        good = good or (kinds_of == {"former"} and item["former"] in NAMES)
        if not (name in NAMES and good) and not (
            name and kinds_of == {"existing"} and isinstance(item["existing"], list)
        ):
            raise Refused(
                f"The sealed Secret {name!r} must be one of {', '.join(NAMES)}, with data: {{key: <format>}}, "
                f"certificate: {{{', '.join(sorted(_CERTIFICATE_WORDS))}}} or former: <authority>, "
                "or of any name with existing: [<key>]."
            )
        for key, text in (item.get("data") or {}).items():
            _secrets.references(str(text), f"{name}/{key}")


def decide(
    api: Api,
    namespace: str,
    declared: list[tuple[str, dict[str, Any]]],
    values: Mapping[str, str],
    now: datetime,
    exists: bool = True,
) -> Sealed:
    """Read what is there and decide what must be.

    Args:
        api: the cluster.
        namespace: where.
        declared: pairs of a component and a declaration.
        values: the keys of `twisterlab-secrets`, in clear.
        now: the cluster's time.
        exists: False when the namespace does not exist, so there is nothing to read.

    Raises:
        Refused: a Secret of that name is somebody else's, or one that must be there is not.
    """
    found = Sealed()

    def live(name: str) -> Object | None:
        secret = api.get(kinds.SECRET, name, namespace) if exists else None
        if secret is not None and not objects.is_ours(secret):
            raise Refused(
                f"Secret/{name} exists in namespace {namespace} and is not ours: rename it, or hand it over with 'kubectl -n {namespace} label secret {name} "
                f"{' '.join(f'{key}={value}' for key, value in objects.OURS.items())}'."
            )
        return secret

    for component, item in declared:
        if "existing" in item:
            try:
                secret = api.get(kinds.SECRET, item["name"], namespace) if exists else None
            except ApiError as error:
                if error.status != 403:
                    raise
                # A deployer need not see it; the controller does.
                continue
            _demand(secret, item["name"], item["existing"], namespace)
        elif "former" in item:
            secret = live(item["name"])
            values_there = _secrets.decode((secret or {}).get("data"))
            authority = _secrets.decode((live(item["former"]) or {}).get("data")).get(CERTIFICATE)
            # Who fills it now may have no authority to name, and would leave ours beside a certificate that is not of it.
            if authority and values_there.pop(AUTHORITY, None) == authority:
                found.writes.append(Write(item["name"], component, secret, values_there, TLS))
        elif "data" in item:
            wanted = {key: _secrets.expand(str(text), dict(values)) for key, text in item["data"].items()}
            secret = live(item["name"])
            if secret is None or _secrets.decode(secret.get("data")) != wanted:
                found.writes.append(Write(item["name"], component, secret, wanted))
        else:
            _certificate(found, component, item["name"], item["certificate"], live, now)
    return found


def _demand(secret: Object | None, name: str, keys: list[str], namespace: str) -> None:
    missing = [key for key in keys if key not in ((secret or {}).get("data") or {})]
    if missing:
        raise Refused(
            f"Secret/{name} of namespace {namespace} {'does not exist' if secret is None else f'has no {missing[0]}'}: make it with "
            f"'kubectl -n {namespace} create secret tls {name} --cert=<file> --key=<file>' (deploy --tags base makes the namespace), or choose another twisterlab_tls_mode."
        )


def _certificate(found: Sealed, component: str, name: str, given: Mapping[str, Any], live: Any, now: datetime) -> None:
    # Only a stack with a private authority needs the library.
    from . import _certificates as certificates

    signer, served = live(given["authority"]), live(name)
    kept = certificates.keep(
        str(given["domain"]),
        [str(host) for host in given["hosts"]],
        now,
        _pair(signer),
        _pair(served),
        int(given["days"]),
        int(given["renew_percent"]),
    )
    held = _secrets.decode((signer or {}).get("data"))
    there = held.get(CERTIFICATE, "")
    # Its key may stand nowhere else.
    if any(held.values()) and there != kept.authority.certificate and not certificates.made_here(there):
        raise Refused(
            f"Secret/{given['authority']} holds an authority that was not made here and cannot be used ({kept.made[0].partition(': ')[2]}): put one there "
            f"that may sign for {given['domain']}, with its key unencrypted, or keep a copy and delete the Secret, and one is made."
        )
    found.authorities[given["authority"]] = kept.authority.certificate
    wanted = {
        given["authority"]: (signer, {CERTIFICATE: kept.authority.certificate, KEY: kept.authority.key}),
        name: (
            served,
            {CERTIFICATE: kept.leaf.certificate, KEY: kept.leaf.key, AUTHORITY: kept.authority.certificate},
        ),
    }
    for each, (secret, values) in wanted.items():
        if secret is None or _secrets.decode(secret.get("data")) != values:
            found.writes.append(Write(each, component, secret, values, TLS, "; ".join(kept.made)))


def _pair(secret: Object | None) -> Any:
    from . import _certificates as certificates

    values = _secrets.decode((secret or {}).get("data"))
    if CERTIFICATE not in values or KEY not in values:
        return None
    return certificates.Pair(values[CERTIFICATE], values[KEY])


def write(api: Api, namespace: str, item: Write) -> None:
    """Write one; somebody who wrote it since it was read makes this fail with a conflict."""
    metadata: Object = {
        "name": item.name,
        "namespace": namespace,
        "labels": {
            **objects.labels(item.live or {}),
            **objects.OURS,
            objects.NAME: item.name,
            objects.INSTANCE: namespace,
            objects.COMPONENT: item.component,
        },
    }
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": item.type,
        "data": _secrets.encode(item.values),
    }
    if item.live is None:
        api.create(body)
        return
    if objects.notes(item.live):
        metadata["annotations"] = objects.notes(item.live)
    metadata["resourceVersion"] = objects.meta(item.live)["resourceVersion"]
    api.replace(body)


def served_by(found: list[Object]) -> str:
    """The Secret of the certificate, as the first Ingress or Gateway names it; empty where none of ours does."""
    for item in found:
        for listener in item["spec"].get("listeners") or []:
            for reference in (listener.get("tls") or {}).get("certificateRefs") or []:
                return str(reference["name"])
        for entry in item["spec"].get("tls") or []:
            return str(entry.get("secretName", ""))
    return ""
