# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules for single values, found by the input's name (``*_port``, ``*.size`` ...), and those between values."""

from __future__ import annotations

import contextlib
import difflib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from . import _components, _edges, _logs, _past, _quantity, _stage
from ._errors import Refused
from ._specs import Option

APPLICATIONS = ("api", "mcp_orchestrator", "mcp_monitoring")
AGENTS = ("twisterlab_mcp_orchestrator", "twisterlab_mcp_monitoring")
RESERVED = ("default", "kube-system", "kube-public", "kube-node-lease")
# Keys of the Secret that the tiers declare themselves.
SECRET_KEYS = (
    "alertmanager_conf",
    "backup_postgres_password",
    "backup_repository_password",
    "database_url",
    "database_url_asyncpg",
    "grafana_admin_password",
    "grafana_secret_key",
    "jwt_secret_key",
    "mcp_token",
    "postgres_exporter_password",
    "postgres_password",
    "prometheus_password",
    "redis_conf",
    "redis_password",
    "redis_url",
)

# Endings for which nobody can prove to the public that a name is his.
PRIVATE_ENDINGS = (
    "local",
    "localhost",
    "internal",
    "lan",
    "home",
    "test",
    "example",
    "invalid",
    "arpa",
    "onion",
    "corp",
)

# What a backup may hold.
BACKUP_PARTS = ("postgres", "redis", "grafana", "records", "secrets")

# Scrape configurations that Prometheus has in any case.
JOBS = ("pods", "kube-state-metrics", "kubelet", "cadvisor")

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_ANNOTATION = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_CREDENTIALS = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REGISTRY_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]+)?"
_REGISTRY = re.compile(rf"{_REGISTRY_HOST}(?:/{_COMPONENT})*")
_IMAGE = re.compile(
    rf"(?:{_REGISTRY_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*(?P<tag>:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?P<digest>@sha256:[0-9a-f]{{64}})?"
)
_REDIS_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}
_REDIS_SIZE = re.compile(r"([0-9]+)(b|k|kb|m|mb|g|gb)?", re.IGNORECASE)


def _dns_name(value: str) -> bool:
    return len(value) <= 253 and all(_DNS_LABEL.fullmatch(part) for part in value.split("."))


def _namespace(path: str, value: str) -> Iterator[str]:
    if not _DNS_LABEL.fullmatch(value):
        yield (
            f"{path} is {value!r}, which cannot be a namespace; "
            "write at most 63 lower-case letters, digits and '-', with a letter or digit at both ends."
        )
    elif value in RESERVED or value.startswith("kube-"):
        yield f"{path} is {value}, which belongs to the cluster; write a name of your own, for example twisterlab."


def _domain(path: str, value: str) -> Iterator[str]:
    if not _dns_name(value):
        yield f"{path} is {value!r}, which is no domain; write lower-case labels, for example twisterlab.example."


def _host(path: str, value: str) -> Iterator[str]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        if not _dns_name(value):
            yield (
                f"{path} is {value!r}, which is no host name; "
                "write only the name or address, without scheme and port, for example db.example."
            )


def _address(path: str, value: str) -> Iterator[str]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        yield f"{path} is {value!r}, which is no address; write for example 127.0.0.1, or 0.0.0.0 for all of this machine."


def _cluster_name(path: str, value: str) -> Iterator[str]:
    if not _DNS_LABEL.fullmatch(value):
        yield f"{path} is {value!r}, which cannot name a cluster; write lower-case letters, digits and '-'."


def _optional_host(path: str, value: str) -> Iterator[str]:
    if value:
        yield from _host(path, value)


def _web_address(path: str, value: str) -> Iterator[str]:
    if not re.fullmatch(r"https?://[^\s{}\"']+", value):
        yield f"{path} is {value!r}; write an address with its scheme, for example https://wiki.example/runbooks."


def _targets(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(name)) or name in JOBS:
            yield (
                f"{path}.{name} cannot name a job; write letters, digits, '-', '_' and '.', "
                f"and none of {', '.join(JOBS)}."
            )
        elif item is not None and not re.fullmatch(r"[^\s/@{}\"']+:[0-9]{1,5}", str(item)):
            yield f"{path}.{name} is {item!r}; write host:port without scheme and path, for example {name}.example:9100."


def _optional_name(path: str, value: str) -> Iterator[str]:
    if value:
        yield from _name(path, value)


def _name(path: str, value: str) -> Iterator[str]:
    if not _dns_name(value):
        yield f"{path} is {value!r}, which cannot name an object; write lower-case letters, digits, '-' and '.'."


def _names(path: str, value: list[str]) -> Iterator[str]:
    for item in value:
        yield from _optional_name(path, item)


def _quantity_rule(path: str, value: str) -> Iterator[str]:
    if value == "":
        return
    example = "250m" if path.endswith(".cpu") else "256Mi"
    try:
        amount = _quantity.parse(value)
    except Refused:
        yield f"{path} is {value!r}, which is no quantity; write for example {example}."
        return
    if amount < 0:
        yield f"{path} is {value}, below zero; write for example {example}."
    elif not path.endswith(".cpu") and value.endswith("m"):
        yield f"{path} is {value}, which means thousandths of a byte; write {value[:-1]}Mi."


def _size(path: str, value: str) -> Iterator[str]:
    try:
        amount = _quantity.parse(value)
    except Refused:
        yield f"{path} is {value!r}, which is no quantity; write for example 8Gi."
        return
    if amount < 2**20:
        yield f"{path} is {value}, less than a mebibyte; write for example 8Gi."


def _redis_memory(path: str, value: str) -> Iterator[str]:
    if redis_bytes(value) is None:
        yield f"{path} is {value!r}, which redis.conf does not understand; write for example 128mb or 1gb."


def redis_bytes(value: str) -> int | None:
    """Return the bytes of a size as redis.conf writes it (``128mb`` is 128 times 1024 times 1024), or None."""
    match = _REDIS_SIZE.fullmatch(value)
    return int(match.group(1)) * _REDIS_UNITS[(match.group(2) or "").lower()] if match else None


def _between(low: int, high: int) -> Callable[[str, int], Iterator[str]]:
    def rule(path: str, value: int) -> Iterator[str]:
        if not low <= value <= high:
            yield f"{path} is {value}; write a number from {low} to {high}."

    return rule


def _path(path: str, value: str) -> Iterator[str]:
    if value and (not value.startswith("/") or re.search(r"\s", value)):
        yield f"{path} is {value!r}, which is no path; write it with a leading slash, for example /health."


def _identifier(path: str, value: str) -> Iterator[str]:
    if not _IDENTIFIER.fullmatch(value):
        yield f"{path} is {value!r}; write at most 63 lower-case letters, digits and '_', the first a letter or '_'."


def image_reference(path: str, value: str) -> Iterator[str]:
    """Refuse what is no image reference, and one that does not say which version."""
    if value == "" and path.endswith(".image"):
        return
    match = _IMAGE.fullmatch(value)
    if not match:
        yield (
            f"{path} is {value!r}, which is no image reference; "
            "write registry/name:tag, for example registry.example/team/api:1.4.2."
        )
    elif not match["digest"] and match["tag"] in (None, ":latest"):
        name = value.removesuffix(":latest")
        yield (
            f"{path} is {value}, which names no version and changes by itself; "
            f"write a tag or a digest, for example {name}:1.4.2."
        )


def _registry(path: str, value: str) -> Iterator[str]:
    if value and not _REGISTRY.fullmatch(value):
        yield (
            f"{path} is {value!r}; write host[:port]/folder without scheme, tag and final slash, "
            "for example registry.example/twisterlab."
        )


def _optional_image(path: str, value: str) -> Iterator[str]:
    if value:
        yield from image_reference(path, value)


def _schedule(path: str, value: str) -> Iterator[str]:
    if not re.fullmatch(r"@(hourly|daily|weekly)|[\d*/,-]+( [\w*/,-]+){4}", value):
        yield f"{path} is {value!r}, which is no schedule; write the five fields of cron, for example 15 2 * * *."


def _timezone(path: str, value: str) -> Iterator[str]:
    if value and not re.fullmatch(r"[A-Za-z]+(?:[_+-][A-Za-z0-9]+|/[A-Za-z0-9]+)*", value):
        yield f"{path} is {value!r}, which is no time zone; write for example Europe/Berlin."


def _parts(path: str, value: list[str]) -> Iterator[str]:
    wrong = [item for item in value if item not in BACKUP_PARTS]
    if wrong or not value:
        yield f"{path} has {wrong[0] if wrong else 'nothing'!r}; write some of {', '.join(BACKUP_PARTS)}."


def _store(path: str, value: str) -> Iterator[str]:
    if value and not re.fullmatch(r"https?://[^\s/{}\"'@]+/[^\s{}\"'@]+", value):
        yield f"{path} is {value!r}; write the server, the bucket and a prefix, for example https://s3.example.org/bucket/twisterlab."


def _release(path: str, value: str) -> Iterator[str]:
    if value not in (_past.PREVIOUS, _past.HEALTHY, _past.NEWEST) and not value.isdigit():
        yield f"{path} is {value!r}, which names no release; write a number of playbooks/history.yml, or previous."


def _images(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, reference in value.items():
        yield from image_reference(f"{path}.{name}", str(reference or ""))


def _texts(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if not isinstance(item, str):
            yield f"{path}.{name} must be a text, not {item!r}; write it in quotes."


def _annotations(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if not _ANNOTATION.fullmatch(str(name)):
            yield f"{path}.{name} cannot name an annotation; write for example nginx.ingress.kubernetes.io/limit-rps."
        elif item is not None and not isinstance(item, str):
            yield f"{path}.{name} must be a text, not {item!r}; write it in quotes."


def _account(path: str, value: str) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", value):
        yield f"{path} is {value!r}, which cannot be an account; write letters, digits, '.', '_', '@' and '-'."


def _optional_mail(path: str, value: str) -> Iterator[str]:
    if value and not re.fullmatch(r"[^\s@{}\"']+@[^\s@{}\"']+\.[^\s@{}\"']+", value):
        yield f"{path} is {value!r}, which is no address; write for example you@example.org."


def _optional_certificates(path: str, value: str) -> Iterator[str]:
    blocks = re.findall(r"-----BEGIN ([A-Z ]+)-----[A-Za-z0-9+/=\s]+-----END \1-----", value)
    if value and set(blocks) != {"CERTIFICATE"}:
        # What was given may be a key, so it is not repeated.
        yield f"{path} must hold certificates as PEM and nothing else; write for example {{{{ lookup('file', 'authority.crt') }}}}."


def _labels(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    yield from _texts(path, {name: item for name, item in value.items() if item is not None})


def _env(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    tier = path.rpartition(".")[0]
    for name, item in value.items():
        if not _ENV_NAME.fullmatch(str(name)):
            better = re.sub("[^A-Za-z0-9_]", "_", str(name)).upper()
            yield f"{path}.{name} cannot name a variable; write letters, digits and '_', for example {better}."
        elif isinstance(item, (dict, list, tuple)):
            yield f"{path}.{name} must be a text, not a {type(item).__name__}; write its JSON in quotes."
        elif item is not None and (_stage.looks_secret(str(name), str(item)) or _CREDENTIALS.search(str(item))):
            key = str(name).lower()
            yield (
                f"{path}.{name} looks like a secret, and {path} is public; "
                f"write {tier}: {{secret_env: {{{name}: {key}}}}} and give {key} in twisterlab_secrets, from a vault."
            )


def _agents(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    tier = path.rpartition(".")[0]
    for name, item in value.items():
        if item is not None and _CREDENTIALS.search(str(item)):
            yield (
                f"{path}.{name} holds a password, and {path} is public; "
                f"write {tier}: {{secret_env: {{AGENTS: agents}}}} and give agents, the JSON of all its peers, in twisterlab_secrets, from a vault."
            )


def _secret_env(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if not _ENV_NAME.fullmatch(str(name)):
            yield f"{path}.{name} cannot be the name of a variable; write letters, digits and '_'."
        elif item is not None and not isinstance(item, str):
            yield f"{path}.{name} must name a key of twisterlab-secrets; write for example {name}: {str(name).lower()}."


def _secrets(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if not _SECRET_KEY.fullmatch(str(name)):
            yield f"{path} has the key {str(name)!r}; write letters, digits, '.', '_' and '-'."
        elif not isinstance(item, str):
            yield f"{path}.{name} must be a text; write it in quotes."
        elif not item:
            yield f"{path}.{name} is empty; give its value, or leave the key out."


def _postgres_config(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if not re.fullmatch(r"[a-z_][a-z0-9_.]*", str(name)) or isinstance(item, (dict, list, tuple)):
            yield f"{path}.{name} is no setting of Postgres; write for example max_connections: 200."


def _redis_config(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    for name, item in value.items():
        if str(name) in ("requirepass", "masterauth", "user"):
            yield f"{path}.{name} would be a second password; give redis_password in twisterlab_secrets instead."
        elif isinstance(item, (dict, list, tuple)) or re.search(r"\s", f"{name}") or re.search(r"[\r\n]", str(item)):
            yield f"{path}.{name} is no directive of redis.conf; write for example maxclients: 1000."


def _parameters(path: str, value: str) -> Iterator[str]:
    if value and not re.fullmatch(r"[A-Za-z_]+=[^&\s{}]*(&[A-Za-z_]+=[^&\s{}]*)*", value):
        yield f"{path} is {value!r}; write name=value pairs joined by '&', for example sslmode=require."


def _ranges(path: str, value: list[str]) -> Iterator[str]:
    for item in value:
        yield from _range(path, item)


def _range(path: str, value: str) -> Iterator[str]:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        try:
            meant = str(ipaddress.ip_network(value, strict=False))
        except ValueError:
            meant = "10.0.0.0/8"
        yield f"{path} has {value!r}, which is no address range; write for example {meant}."
        return
    if "/" not in value:
        yield f"{path} has {value!r}, an address without the length of its range; write {ipaddress.ip_network(value)}."


def _ports(path: str, value: list[int]) -> Iterator[str]:
    for item in value:
        yield from _between(1, 65535)(path, item)


def _namespaces(path: str, value: list[str]) -> Iterator[str]:
    for item in value:
        yield from _any_namespace(path, item)


def _any_namespace(path: str, value: str) -> Iterator[str]:
    if not _DNS_LABEL.fullmatch(value):
        yield f"{path} has {value!r}, which cannot be a namespace; write lower-case letters, digits and '-'."


def _optional_namespace(path: str, value: str) -> Iterator[str]:
    if value:
        yield from _any_namespace(path, value)


def _declared(path: str, value: Mapping[str, Any]) -> Iterator[str]:
    """Destinations (`egress`) or callers (`ingress`) that a user adds, by tier."""
    for tier, items in value.items():
        if tier not in _edges.TIER_NAMES:
            known = {**_edges.TIER_OF, **{name: name for name in _edges.TIER_NAMES}}
            near = difflib.get_close_matches(str(tier).replace("_", "-"), known, n=1)
            wanted = known[near[0]] if near else f"one of {', '.join(_edges.TIER_NAMES)}"
            yield f"{path} has no tier {str(tier)!r}; write {wanted}."
        elif items is not None and not isinstance(items, (list, tuple)):
            yield f"{path}.{tier} must be a list; write for example {tier}: [{_EXAMPLE[path.endswith('egress')]}]."
        else:
            for index, item in enumerate(items or []):
                yield from _one_declared(f"{path}.{tier}[{index}]", item, path.endswith("egress"))


#: How a declared destination (True) or caller (False) is written.
_EXAMPLE = {True: "{cidr: 192.0.2.7/32, port: 443}", False: "{namespace: tools}"}


def _one_declared(path: str, item: Any, egress: bool) -> Iterator[str]:
    keys = ("cidr", "namespace", "pod_labels", *(("tier", "port") if egress else ()))
    if not isinstance(item, Mapping):
        yield f"{path} must be a dict; write for example {_EXAMPLE[egress]}."
        return
    for key in item:
        if key not in keys:
            yield f"{path} has no key {str(key)!r}; its keys are {', '.join(keys)}."
    given = [key for key in ("cidr", "tier") if item.get(key)]
    given += ["namespace and pod_labels"] if item.get("namespace") or item.get("pod_labels") else []
    if len(given) != 1:
        one = "cidr, tier, or namespace and pod_labels" if egress else "cidr, or namespace and pod_labels"
        has = " and ".join(given) or "none of them"
        yield f"{path} must say who by one of {one}, and has {has}; write for example {_EXAMPLE[egress]}."
        return
    if item.get("cidr"):
        yield from _range(f"{path}.cidr", str(item["cidr"]))
    if item.get("namespace"):
        yield from _any_namespace(f"{path}.namespace", str(item["namespace"]))
    if item.get("tier") and item["tier"] not in _edges.TIER_NAMES:
        yield f"{path}.tier is {item['tier']!r}; write one of {', '.join(_edges.TIER_NAMES)}."
    labels = item.get("pod_labels") or {}
    if not isinstance(labels, Mapping):
        yield f"{path}.pod_labels must be a dict; write for example pod_labels: {{app: proxy}}."
    else:
        yield from _texts(f"{path}.pod_labels", labels)
    if not egress or item.get("tier"):
        return
    port = str(item.get("port", ""))
    if not port.isdigit() or not 1 <= int(port) <= 65535:
        yield f"{path}.port is {item.get('port')!r}; write the number of the port, for example 443."


def _understood(by: Callable[[str], object]) -> Callable[[str, Any], Iterator[str]]:
    """A rule of what the module that gets the value says of it."""

    def rule(_path: str, item: Any) -> Iterator[str]:
        try:
            by(str(item))
        except Refused as error:
            yield str(error)

    return rule


# The first pattern that matches the whole path decides.
_RULES: tuple[tuple[re.Pattern[str], Callable[[str, Any], Iterator[str]]], ...] = tuple(
    (re.compile(pattern), rule)
    for pattern, rule in (
        (r"twisterlab_namespace", _namespace),
        (r"twisterlab_domain", _domain),
        (r"twisterlab_component", _understood(_components.chosen)),
        (r"twisterlab_logs_since", _understood(_logs.span)),
        (r"twisterlab_logs_lines", _between(1, 100000)),
        # 0 is a meaning of its own.
        (r"twisterlab_(logs_follow|forward)_seconds", _between(0, 86400)),
        (r"twisterlab_local_cluster\.name", _cluster_name),
        (r"twisterlab_local_cluster\.listen_address", _address),
        (r"twisterlab_local_cluster\.node_image", image_reference),
        (r"twisterlab_images", _images),
        (r"twisterlab_image", _optional_image),
        (r"rollback_release", _release),
        (r"twisterlab_secrets", _secrets),
        (r"twisterlab_registry(_mirror)?", _registry),
        (r"twisterlab_image_pull_secrets", _names),
        (r"twisterlab_postgres\.(database|user)", _identifier),
        (r"twisterlab_postgres\.config", _postgres_config),
        (r"twisterlab_postgres\.instances", _between(1, 9)),
        (r"twisterlab_postgres\.instance_uid", _between(0, 2**31 - 1)),
        (r"twisterlab_postgres\.operator_namespace", _any_namespace),
        (r"twisterlab_redis\.config", _redis_config),
        (r"twisterlab_redis\.maxmemory", _redis_memory),
        (r".*\.(requests|limits)\.[^.]+", _quantity_rule),
        (r".*\.size|twisterlab_backup\.work_size", _size),
        (r"twisterlab_backup\.schedule", _schedule),
        (r"twisterlab_backup\.timezone", _timezone),
        (r"twisterlab_backup\.parts", _parts),
        (r"twisterlab_backup\.store\.s3_url", _store),
        (r"twisterlab_backup\.keep\..*", _between(0, 1000)),
        (r".*\.host", _host),
        (r".*\.url_parameters", _parameters),
        (r".*\.image", image_reference),
        (r".*\.env", _env),
        (r".*\.secret_env", _secret_env),
        (r"twisterlab_mcp_(orchestrator|monitoring)\.agents", _agents),
        (r"twisterlab_network_policies\.(egress|ingress)", _declared),
        (r"twisterlab_network_policies\..*_namespaces", _namespaces),
        (r"twisterlab_network_policies\..*_namespace", _any_namespace),
        (r".*_cidrs", _ranges),
        (r".*_ports", _ports),
        (r".*_pod_labels", _labels),
        (r"(.*\.)pod_annotations|twisterlab_node_selector", _texts),
        (r"twisterlab_ingress\.(prometheus_)?annotations", _annotations),
        (r"twisterlab_ingress\.(class_name|issuer|tls_secret)", _optional_name),
        (r"twisterlab_ingress\.gateway\.namespace", _optional_namespace),
        (r"twisterlab_ingress\.gateway\.(class_name|name)", _optional_name),
        (r"twisterlab_ingress\.gateway\..*_section", _name),
        (r"twisterlab_ingress\.gateway\..*_port", _between(1, 65535)),
        (r"twisterlab_ingress\.prometheus_user", _account),
        # It is renewed at night, and an alert needs three nights to come.
        (r"twisterlab_ingress\.certificate_days", _between(5, 3650)),
        (r"twisterlab_ingress\.renew_percent", _between(5, 90)),
        (r"twisterlab_ingress\.body_megabytes", _between(1, 10240)),
        (r"twisterlab_ingress\.acme_email", _optional_mail),
        (r"twisterlab_ingress\.acme_server", _web_address),
        (r"twisterlab_ingress\.acme_authority", _optional_certificates),
        (r".*storage_class", _optional_name),
        (r".*_path", _path),
        (r".*[._](port)", _between(1, 65535)),
        (r".*(replicas|replicas_min|replicas_max)", _between(1, 1000)),
        (r".*_percent", _between(1, 1000)),
        (r".*pre_stop_seconds", _between(0, 300)),
        # The largest window that an autoscaler accepts.
        (r".*scale_down_seconds", _between(0, 3600)),
        (r".*(_seconds|_timeout|_grace)", _between(1, 86400)),
        (r".*_days", _between(1, 3650)),
        (r".*_hours", _between(1, 720)),
        (r".*_host", _optional_host),
        (r".*(runbooks|prometheus)_url", _web_address),
        (r"twisterlab_prometheus\.targets", _targets),
    )
)

#: What is there before ours is made: a role cannot be made again, and in a database that is there nothing is made.
_CLUSTER_NAMES = {
    "user": ("postgres", "streaming_replica", "cloudnativepg"),
    "database": ("postgres", "template0", "template1"),
}

# Keys that people look for in the wrong place.
_ELSEWHERE = {
    "image": "write twisterlab_images: {{{tier}: registry/name:tag}}",
    "enabled": "write {path}_enabled: false",
    "password": "write twisterlab_secrets: {{{tier}_password: …}}, from a vault",
    "replicas": "write replicas_min and replicas_max",
    "replicas_min": "write replicas, which is the smallest number when autoscale is true",
    "namespace": "write twisterlab_namespace",
}


def elsewhere(path: str, key: str) -> str:
    """Say where a key belongs that is often written into a tier's dict; empty when it is just unknown."""
    if "." in path or (key == "password" and path not in ("twisterlab_postgres", "twisterlab_redis")):
        return ""
    if key == "replicas" and path != "twisterlab_api":
        return ""
    if key == "replicas_min" and path not in AGENTS:
        return ""
    return _ELSEWHERE.get(key, "").format(path=path, tier=path.removeprefix("twisterlab_").replace("_", "-"))


def value(path: str, option: Option, converted: Any) -> Iterator[str]:
    """Yield what is wrong with one value of the right type."""
    for pattern, rule in _RULES:
        if pattern.fullmatch(path):
            yield from rule(path, converted)
            return


def relations(merged: Mapping[str, Any], images: tuple[str, ...]) -> Iterator[str]:
    """Yield what is wrong between values that are each right; ``merged`` holds every input over its defaults."""
    yield from _catalogue(merged, images)
    for name, tier in merged.items():
        if isinstance(tier, Mapping):
            yield from _resources(name, tier)
            yield from _both_environments(name, tier, merged.get("twisterlab_secrets") or {})
            yield from _probes(name, tier)
    yield from _replicas("twisterlab_api", "replicas_min", merged.get("twisterlab_api") or {})
    for agent in AGENTS:
        if (merged.get(agent) or {}).get("autoscale"):
            yield from _replicas(agent, "replicas", merged[agent])
    yield from _redis_limit(merged.get("twisterlab_redis") or {})
    yield from _cluster_names(merged)
    yield from _backup(merged.get("twisterlab_backup") or {})
    yield from _mail(merged.get("twisterlab_alertmanager") or {})
    if merged.get("twisterlab_ingress_enabled", True) and merged.get("twisterlab_ingress"):
        yield from _edge(merged)
    for tier, default in (("postgres", ("postgres", 5432)), ("redis", ("redis", 6379))):
        yield from _external(tier, default, merged)


def _catalogue(merged: Mapping[str, Any], images: tuple[str, ...]) -> Iterator[str]:
    for name in merged.get("twisterlab_images") or {}:
        if images and name not in images:
            near = difflib.get_close_matches(str(name), images, n=1)
            wanted = near[0] if near else f"one of {', '.join(images)}"
            yield f"twisterlab_images has the name {str(name)!r}, which is not in the catalogue; write {wanted}."


def _cluster_names(merged: Mapping[str, Any]) -> Iterator[str]:
    tier = merged.get("twisterlab_postgres") or {}
    if tier.get("mode") != "cloudnativepg" or not merged.get("twisterlab_postgres_enabled", True):
        return
    for key, taken in _CLUSTER_NAMES.items():
        if tier[key] in taken:
            yield (
                f"twisterlab_postgres.{key} is {tier[key]!r}, which a Cluster of CloudNativePG has for itself; "
                "write another name, for example twisterlab."
            )


def _resources(path: str, tier: Mapping[str, Any]) -> Iterator[str]:
    for name, item in tier.items():
        if not isinstance(item, Mapping) or "requests" not in item or "limits" not in item:
            continue
        for unit, limit in item["limits"].items():
            request = item["requests"].get(unit)
            if request and limit and _quantity.parse(request) > _quantity.parse(limit):
                yield (
                    f"{path}.{name}.requests.{unit} ({request}) is more than {path}.{name}.limits.{unit} ({limit}); "
                    "raise the limit or lower the request."
                )


def _both_environments(path: str, tier: Mapping[str, Any], secrets: Mapping[str, Any]) -> Iterator[str]:
    env, secret_env = tier.get("env") or {}, tier.get("secret_env") or {}
    for name in sorted(set(env) & set(secret_env)):
        yield f"{path} has {name} in env and in secret_env; leave one of them out."
    for name, key in secret_env.items():
        if key is None or key in SECRET_KEYS or key in secrets:
            continue
        near = difflib.get_close_matches(str(key), [*SECRET_KEYS, *secrets], n=1)
        yield (
            f"{path}.secret_env.{name} names the key {key!r}, which is neither built in nor in twisterlab_secrets; "
            + (f"write {near[0]}, or " if near else "")
            + f"give {key} in twisterlab_secrets, from a vault."
        )


def _probes(path: str, tier: Mapping[str, Any]) -> Iterator[str]:
    if tier.get("probe_type") != "http":
        return
    for name in ("startup_path", "readiness_path", "liveness_path"):
        if not tier.get(name):
            yield f"{path}.{name} is empty while probe_type is http; write a path such as /health, or probe_type: tcp."


def _replicas(name: str, least: str, tier: Mapping[str, Any]) -> Iterator[str]:
    """What an autoscaler cannot work with; `least` is the key of the smallest number of pods."""
    if not tier:
        return
    if tier[least] > tier["replicas_max"]:
        yield (
            f"{name}.{least} ({tier[least]}) is more than {name}.replicas_max ({tier['replicas_max']}); "
            "raise the maximum or lower the minimum."
        )
    for unit in ("cpu", "memory"):
        if not tier["resources"]["requests"][unit]:
            yield (
                f"{name}.resources.requests.{unit} is empty, and the autoscaler measures against it; write a quantity."
            )


def _redis_limit(redis: Mapping[str, Any]) -> Iterator[str]:
    limit = redis["resources"]["limits"]["memory"] if redis else ""
    wanted = Decimal(redis_bytes(redis["maxmemory"]) or 0) * 3 / 2 if redis else Decimal(0)
    if limit and wanted > _quantity.parse(limit):
        yield (
            f"twisterlab_redis.maxmemory ({redis['maxmemory']}) does not fit "
            f"twisterlab_redis.resources.limits.memory ({limit}), as saving needs half as much again; "
            f"write at least {_quantity.show_bytes(wanted)} as the limit, or less maxmemory."
        )


def _backup(backup: Mapping[str, Any]) -> Iterator[str]:
    if backup and not any(backup["keep"].values()):
        yield "twisterlab_backup.keep keeps nothing, so every backup would be removed; write for example keep: {last: 3}."
    limit = backup["resources"]["limits"]["ephemeral-storage"] if backup else ""
    if limit and _quantity.parse(backup["work_size"]) > _quantity.parse(limit):
        yield (
            f"twisterlab_backup.work_size ({backup['work_size']}) is more than the job may use of the node's disk "
            f"({limit}); write a larger twisterlab_backup: {{resources: {{limits: {{ephemeral-storage: …}}}}}}."
        )


def _mail(alertmanager: Mapping[str, Any]) -> Iterator[str]:
    if alertmanager and alertmanager["email_to"] and not alertmanager["smtp_host"]:
        yield (
            "twisterlab_alertmanager.email_to needs a server to send mail; "
            "write twisterlab_alertmanager: {smtp_host: …}, or leave email_to out."
        )
    if alertmanager and alertmanager["smtp_user"] and not alertmanager["smtp_tls"]:
        yield (
            "twisterlab_alertmanager.smtp_tls: false would send the password of smtp_user over the network in clear; "
            "leave smtp_tls out, or leave smtp_user out for a server that takes mail without an account."
        )


def _edge(merged: Mapping[str, Any]) -> Iterator[str]:
    """What no certificate can be had for, and a name that nobody would ask a password for."""
    ingress, mode, domain = merged["twisterlab_ingress"], merged["twisterlab_tls_mode"], merged["twisterlab_domain"]
    domain = domain or f"{merged['twisterlab_namespace']}.local"
    if mode == "cert_manager" and (why := _not_public(domain)):
        yield (
            f"twisterlab_tls_mode is cert_manager, and no public authority signs for {domain}, {why}; "
            "write a domain of yours in twisterlab_domain, or twisterlab_tls_mode: private_ca."
        )
    if mode == "cert_manager" and not ingress["issuer"] and not ingress["acme_email"]:
        yield (
            "twisterlab_tls_mode is cert_manager without an issuer; write twisterlab_ingress: {acme_email: you@example.org} for one that is made, "
            "or {issuer: <name>} for one that exists."
        )
    if mode == "existing_secret" and not ingress["tls_secret"]:
        yield (
            "twisterlab_tls_mode is existing_secret; write the name of the Secret in twisterlab_ingress: {tls_secret: …}."
        )
    if mode != "existing_secret" and ingress["tls_secret"]:
        yield (
            f"twisterlab_ingress.tls_secret is given while twisterlab_tls_mode is {mode}; "
            "write twisterlab_tls_mode: existing_secret, or leave tls_secret out."
        )
    yield from _gateway(ingress)
    if (
        ingress["kind"] == "ingress"
        and ingress["annotation_style"] == "none"
        and ingress["prometheus"]
        and not ingress["prometheus_annotations"]
    ):
        yield (
            "twisterlab_ingress.annotation_style is none, so nobody would ask a password before Prometheus; write prometheus: false, "
            "or what your controller takes in prometheus_annotations."
        )


def _gateway(ingress: Mapping[str, Any]) -> Iterator[str]:
    """Which Gateway, and what only Ingresses take."""
    given = ingress["gateway"]
    if ingress["kind"] == "ingress":
        named = [key for key in ("class_name", "name", "namespace") if given[key]]
        if named:
            yield (
                f"twisterlab_ingress.gateway.{named[0]} is given while twisterlab_ingress.kind is ingress; "
                "write kind: gateway, or leave gateway out."
            )
        return
    if not given["class_name"] and not given["name"]:
        yield (
            "twisterlab_ingress.kind is gateway without a Gateway; write gateway: {class_name: <a GatewayClass>} for one that is made, "
            "or {name: <name>} for one that exists."
        )
    if given["class_name"] and given["name"]:
        yield (
            "twisterlab_ingress.gateway has both class_name, for a Gateway that is made, and name, for one that exists; "
            "leave one of them out."
        )
    if given["namespace"] and not given["name"]:
        yield (
            "twisterlab_ingress.gateway.namespace is for a Gateway that exists, and one that is made stands in twisterlab_namespace; "
            "write gateway: {name: <name>}, or leave namespace out."
        )
    if given["http_section"] == given["https_section"]:
        yield (
            f"twisterlab_ingress.gateway has {given['http_section']} for both http_section and https_section, so HTTP would lead to itself; "
            "write the names of two listeners."
        )
    if given["http_port"] == given["https_port"] and not given["name"]:
        yield (
            f"twisterlab_ingress.gateway has {given['http_port']} for both http_port and https_port; "
            "write the ports of two listeners."
        )
    for key in ("annotations", "prometheus_annotations"):
        if ingress[key]:
            yield (
                f"twisterlab_ingress.{key} is given while twisterlab_ingress.kind is gateway, and no controller reads it from a route; "
                f"leave {key} out, or write kind: ingress."
            )


def _not_public(domain: str) -> str:
    """Why a public authority signs for no name of a domain; empty when it may."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(domain)
        return "an address"
    last = domain.rpartition(".")[2]
    if last in PRIVATE_ENDINGS:
        return f"as .{last} is for private names"
    return "" if "." in domain else "as it has no dot"


def _external(tier: str, ours: tuple[str, int], merged: Mapping[str, Any]) -> Iterator[str]:
    config = merged.get(f"twisterlab_{tier}")
    if not config:
        return
    here = (config["host"], config["port"]) == ours
    if merged.get(f"twisterlab_{tier}_enabled", True):
        if not here:
            yield (
                f"twisterlab_{tier} names the server {config['host']}:{config['port']} while the tier runs here; "
                f"write twisterlab_{tier}_enabled: false, or leave host and port out."
            )
    elif config["host"] == ours[0] and any(merged.get(f"twisterlab_{user}_enabled") for user in APPLICATIONS):
        yield (
            f"twisterlab_{tier}_enabled is false, so the applications need a server of yours; "
            f"write twisterlab_{tier}: {{host: …}}."
        )
