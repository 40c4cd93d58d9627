# SPDX-License-Identifier: GPL-3.0-or-later
"""The one Secret in the cluster: read, decided, written so that two writers never lose each other's values."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from . import _kinds as kinds
from . import _objects as objects
from . import _rotation, _secrets
from ._api import Api
from ._errors import ApiError, PlatformError, Refused
from ._objects import Object
from ._secrets import Declaration, Resolution

#: With which data is encrypted: what was written with the one in use cannot be read with another.
OPENS = {"backup_repository_password": "every backup", "grafana_secret_key": "what Grafana's database encrypts"}


@dataclass
class Vault:
    """One Secret's state before and after.

    Attributes:
        live: the Secret as it was read; None when it did not exist.
        resolution: what it must hold.
        warnings: what the reader should know of supplied values.
    """

    live: Object | None
    resolution: Resolution
    warnings: list[str] = field(default_factory=list)

    @property
    def before(self) -> dict[str, str]:
        """The values it held, in clear."""
        return _secrets.decode((self.live or {}).get("data"))

    @property
    def changed(self) -> bool:
        """Whether it must be written."""
        return self.live is None or bool(self.resolution.created or self.resolution.changed)


def decide(
    api: Api, namespace: str, declarations: list[Declaration], supplied: dict[str, str], exists: bool = True
) -> Vault:
    """Read the Secret and decide its values.

    Args:
        api: the cluster.
        namespace: where.
        declarations: of all staged components.
        supplied: the user's values.
        exists: False when the namespace does not exist, so there is nothing to read.

    Raises:
        Refused: a value is missing, or the Secret is somebody else's.
    """
    live = api.get(kinds.SECRET, _secrets.SECRET_NAME, namespace) if exists else None
    if live is not None and not objects.is_ours(live):
        raise Refused(
            f"Secret/{_secrets.SECRET_NAME} exists in namespace {namespace} and is not ours: rename it, or hand it over with 'kubectl -n {namespace} label secret "
            f"{_secrets.SECRET_NAME} {' '.join(f'{key}={value}' for key, value in objects.OURS.items())}'."
        )
    before = _secrets.decode((live or {}).get("data"))
    # Those that wait get their new value by the rotation, each in its turn.
    later = {key for key in _rotation.waiting(live) if supplied.get(key) not in (None, "", before.get(key))}
    supplied = {key: value for key, value in supplied.items() if key not in later}
    resolution = _secrets.resolve(declarations, before, supplied, _secrets.random_text(secrets.choice))
    vault = Vault(live, resolution)
    vault.warnings += [
        f"The supplied value of {key} waits for its turn in a rotation: playbooks/rotate_secrets.yml goes on with it."
        for key in sorted(later)
    ]
    own = {item.name for item in declarations if item.generated}
    for key in resolution.changed:
        if supplied.get(key) and key in OPENS.keys() & own:
            raise Refused(
                f"The supplied value of {key} is not the one in use, which alone opens {OPENS[key]}: supply the one in use. If it must be another, "
                f"keep the present one outside the cluster, remove {key} with 'kubectl -n {namespace} edit secret {_secrets.SECRET_NAME}', and run again."
            )
        if supplied.get(key) and key in _rotation.KEPT & own:
            raise Refused(
                f"The supplied value of {key} is not the one in use, and a server keeps that in its own data: "
                "run playbooks/rotate_secrets.yml with the same inventory, which tells the server too."
            )
        if supplied.get(key) and any(item.name == key for item in declarations):
            vault.warnings.append(
                f"The supplied value of {key} is not the one in use: pods that refer to it are restarted; "
                "a server that keeps a password in its own data must be told too."
            )
    return vault


def write(
    api: Api,
    namespace: str,
    vault: Vault,
    declarations: list[Declaration],
    supplied: dict[str, str],
    dry_run: bool = False,
) -> Vault:
    """Write the Secret; when somebody else wrote it meanwhile, decide again from what he wrote.

    Returns:
        What was written; its generated values may be another run's.
    """
    for _turn in range(5):
        if not vault.changed:
            return vault
        body = manifest(namespace, vault)
        try:
            if vault.live is None:
                api.create(body, dry_run=dry_run)
            else:
                api.replace(body, dry_run=dry_run)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            vault = decide(api, namespace, declarations, supplied)
            continue
        return vault
    raise PlatformError(
        f"Secret/{_secrets.SECRET_NAME} in namespace {namespace} is being written by somebody else all the time: find out who, and run again."
    )


def manifest(namespace: str, vault: Vault) -> Object:
    """The Secret to write; keys that are no text and labels of others stay as they are."""
    live = vault.live or {}
    values = _secrets.encode(
        {key: value for key, value in vault.resolution.values.items() if vault.before.get(key) != value}
    )
    metadata: Object = {
        "name": _secrets.SECRET_NAME,
        "namespace": namespace,
        "labels": {
            **objects.labels(live),
            **objects.OURS,
            objects.NAME: _secrets.SECRET_NAME,
            objects.INSTANCE: namespace,
            objects.COMPONENT: "base",
        },
    }
    if objects.notes(live):
        metadata["annotations"] = objects.notes(live)
    if objects.meta(live).get("resourceVersion"):
        metadata["resourceVersion"] = objects.meta(live)["resourceVersion"]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": live.get("type", "Opaque"),
        "data": {**(live.get("data") or {}), **values},
    }
