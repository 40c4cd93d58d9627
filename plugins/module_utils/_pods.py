# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts of pod manifests that are data: environment, probes, annotations, keys of the Secret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from . import _secrets

SECRET = _secrets.SECRET_NAME
#: The file that holds `requirepass` alone.
REDIS_AUTH = "/etc/twisterlab/auth.conf"


def without_empty(value: Any) -> Any:
    """Return ``value`` without empty texts, nulls and what is empty without them, at every depth."""
    if isinstance(value, Mapping):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", {}, [])}
    if isinstance(value, (list, tuple)):
        return [without_empty(item) for item in value]
    return value


def named(name: str) -> dict[str, str]:
    """Return a reference to an object of the same namespace."""
    return {"name": name}


def container_env(
    env: Mapping[str, Any],
    defaults: Mapping[str, Any] | None = None,
    secret: Mapping[str, str | None] | None = None,
    secret_defaults: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Return the ``env`` list of a container, by name.

    ``env`` and ``secret`` (name: key of the Secret) are the user's and win over the defaults, each also over the
    other's; a null removes a name.
    """
    secret = secret or {}
    public = {name: value for name, value in (defaults or {}).items() if name not in secret} | dict(env)
    keys = {name: key for name, key in (secret_defaults or {}).items() if name not in env} | dict(secret)
    items: list[dict[str, Any]] = []
    for name, value in public.items():
        if value is not None:
            items.append({"name": name, "value": _env_text(value)})
    for name, key in keys.items():
        if key is not None:
            items.append({"name": name, "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}})
    return sorted(items, key=lambda item: str(item["name"]))


def _env_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def secret_keys(env: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the keys of the Secret that an ``env`` list refers to, each once, sorted."""
    references = (item.get("valueFrom", {}).get("secretKeyRef", {}) for item in env)
    return sorted({reference["key"] for reference in references if reference.get("name") == SECRET})


def secret_declarations(keys: Iterable[str], known: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the declarations of the keys and of those they are derived from; an unknown key must be supplied."""
    wanted: dict[str, dict[str, Any]] = {}
    queue = list(keys)
    while queue:
        key = queue.pop()
        if key in wanted:
            continue
        declaration = dict(known.get(key, {"supplied": True}))
        wanted[key] = {"name": key} | declaration
        queue += _secrets.references(declaration.get("derived") or declaration.get("initial") or "", key)
    return [wanted[key] for key in sorted(wanted)]


def probe(workload: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return a probe's handler: a connection, or the path under the key ``path`` of the workload's inputs."""
    if workload["probe_type"] == "tcp":
        return {"tcpSocket": {"port": "http"}}
    return {"httpGet": {"path": workload[path], "port": "http", "scheme": "HTTP"}}


def scrape_annotations(path: str, port: int) -> dict[str, str]:
    """Return the annotations by which Prometheus finds a pod's metrics; none for an empty path."""
    if not path:
        return {}
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": path}


def peer_urls(ports: Mapping[str, int], enabled: Mapping[str, bool], besides: str) -> dict[str, str]:
    """Return ``{mcp-<agent>: URL}`` of every enabled agent but one."""
    peers = [name for name in ports if enabled[name] and name != besides]
    return {f"mcp-{name}": f"http://mcp-{name}:{ports[name]}" for name in peers}


def redis_conf(directives: Mapping[str, Any]) -> str:
    """Return the template of redis.conf: the directives, and where the password is, which changes without a restart."""
    lines = ["# Made by twisterlab.platform from twisterlab_redis.", f"include {REDIS_AUTH}"]
    for name, value in directives.items():
        if value is None:
            continue
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        if re.search(r"[\r\n]", f"{name}{text}"):
            raise ValueError(f"twisterlab_redis.config.{name}: a directive is one line.")
        lines.append(f"{name} {text}".replace("{", "{{").replace("}", "}}"))
    return "\n".join(lines) + "\n"
