# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfig files as data: whose cluster one is for, one made for an account's token, and whether that is still good. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

#: Name of what we note in a kubeconfig of ours.
EXTENSION = "twisterlab.platform"


@dataclass(frozen=True)
class Place:
    """A cluster as a kubeconfig writes it.

    Attributes:
        server: its address.
        rest: the other keys of the entry, such as its authority.
    """

    server: str
    rest: Mapping[str, Any]


@dataclass(frozen=True)
class Wanted:
    """What a kubeconfig must be for.

    Attributes:
        place: the cluster.
        namespace: the context's.
        account: the account's name.
        uid: the account's; one that was made anew has another, and its former tokens are void.
        hours: how long a token is asked for.
    """

    place: Place
    namespace: str
    account: str
    uid: str
    hours: float


def claims(token: str) -> dict[str, Any]:
    """What a JWT says of itself; empty when it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        found = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def made(wanted: Wanted, token: str) -> str:
    """The kubeconfig's text."""
    name = f"{wanted.account}@{wanted.namespace}"
    whole = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": _cluster(wanted.place)}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": wanted.namespace}},
        ],
        "users": [{"name": name, "user": {"token": token}}],
        "extensions": [{"name": EXTENSION, "extension": {"tokenHours": wanted.hours}}],
    }
    return str(yaml.safe_dump(whole, sort_keys=False, default_flow_style=False, width=4096))


def good_until(text: str, wanted: Wanted, now: datetime) -> datetime | None:
    """When the token of a kubeconfig of ours ends; None when a new one is due.

    It is due when the file is for something else, when another life was asked for, or when half of its life is over.
    """
    config = loaded(text)
    cluster, user = entry(config, "cluster"), entry(config, "user")
    noted = [item.get("extension") for item in config.get("extensions") or [] if item.get("name") == EXTENSION]
    said = claims(str(user.get("token") or ""))
    account = (said.get("kubernetes.io") or {}).get("serviceaccount") or {}
    if (
        cluster != _cluster(wanted.place)
        or noted != [{"tokenHours": wanted.hours}]
        or account != {"name": wanted.account, "uid": wanted.uid}
    ):
        return None
    try:
        begins, ends = (datetime.fromtimestamp(float(said[name]), UTC) for name in ("iat", "exp"))
    except (KeyError, TypeError, ValueError):
        return None
    return ends if ends - now > (ends - begins) / 2 else None


def is_ours(text: str) -> bool:
    """Whether a file may be written over: one that we made, or an empty one."""
    noted = [item.get("name") for item in loaded(text).get("extensions") or [] if isinstance(item, dict)]
    return EXTENSION in noted or not text.strip()


def authority(text: str, context: str = "") -> str:
    """The certificate authority, as the file writes it, of the cluster that a kubeconfig leads to; empty when it names none.

    Two files lead to one cluster when this is the same: a cluster has an authority of its own.
    """
    return str(entry(loaded(text), "cluster", context).get("certificate-authority-data") or "")


def entry(config: Mapping[str, Any], what: str, context: str = "") -> dict[str, Any]:
    """The `cluster` or the `user` of a context, the current one when none is named; empty when there is none."""
    chosen = _named(config, "context", context or str(config.get("current-context") or ""))
    return _named(config, what, str(chosen.get(what) or ""))


def _named(config: Mapping[str, Any], what: str, name: str) -> dict[str, Any]:
    for item in config.get(f"{what}s") or []:
        if isinstance(item, dict) and item.get("name") == name:
            return dict(item.get(what) or {})
    return {}


def _cluster(place: Place) -> dict[str, Any]:
    return {"server": place.server, **place.rest}


def loaded(text: str) -> dict[str, Any]:
    """A kubeconfig as data; empty when it is none."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}
