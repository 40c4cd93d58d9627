# SPDX-License-Identifier: MIT
"""Settings of the services, read once from the environment."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import ConfigurationError
from .mcp_settings import McpSettings, read_mcp

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_POSTGRES_SCHEMES = ("postgresql", "postgres")


@dataclass(frozen=True)
class Peer:
    """A neighbour service: its name, base URL and health path."""

    name: str
    url: str
    health_path: str = "/health"


@dataclass(frozen=True)
class Settings:
    """What one service needs to know; times are in seconds."""

    component: str
    host: str
    port: int
    environment: str
    log_level: str
    instance: str
    postgres: dict[str, Any] | None
    redis: dict[str, Any] | None
    api_url: str
    peers: tuple[Peer, ...]
    rate_limit_per_minute: int
    cache_ttl: int
    db_pool_max: int
    graceful_timeout: int
    lame_duck: int
    heartbeat_interval: int
    agent_timeout: int
    check_interval: int
    forwarded_allow_ips: str
    mcp: McpSettings


class _Reader:
    """Read typed values from an environment; ``NAME_FILE`` names a file that holds the value."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def text(self, name: str, default: str = "") -> str:
        value = self._environ.get(name, "")
        path = self._environ.get(f"{name}_FILE", "")
        if not value and path:
            try:
                value = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(f"{name}_FILE: {path} cannot be read: {error}") from None
        return value or default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        raw = self.text(name, str(default))
        try:
            value = int(raw)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ConfigurationError(f"{name} must be a whole number from {low} to {high}, not {raw[:40]!r}.")
        return value


def _split_url(name: str, url: str, schemes: tuple[str, ...]) -> tuple[Any, dict[str, str]]:
    """Split a DSN into its parts; refuse one whose password is not percent-encoded (it would change the host)."""
    example = f"{schemes[0]}://user:password@host:port/name"
    advice = f"{name} cannot be parsed: write {example} with user and password percent-encoded."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigurationError(advice) from None
    if parts.scheme.partition("+")[0] not in schemes or not parts.hostname:
        raise ConfigurationError(advice)
    if "@" in parts.path or "@" in parts.netloc.rpartition("@")[0] or parts.fragment:
        raise ConfigurationError(advice)
    basic = {
        "host": parts.hostname,
        "port": port,
        "user": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
    }
    basic["name"] = unquote(parts.path.lstrip("/"))
    return basic, dict(parse_qsl(parts.query))


def postgres_parameters(read: _Reader) -> dict[str, Any] | None:
    """Return libpq parameters from DATABASE_URL or POSTGRES_*; None when neither is set."""
    url = read.text("DATABASE_URL")
    if url:
        basic, options = _split_url("DATABASE_URL", url, _POSTGRES_SCHEMES)
        if "ssl" in options:  # the asyncpg spelling
            options["sslmode"] = options.pop("ssl")
    elif read.text("POSTGRES_HOST"):
        basic, options = {"host": read.text("POSTGRES_HOST"), "port": read.integer("POSTGRES_PORT", 5432, 1, 65535)}, {}
        basic |= {"user": read.text("POSTGRES_USER", "twisterlab"), "password": read.text("POSTGRES_PASSWORD")}
        basic["name"] = read.text("POSTGRES_DB", "twisterlab")
    else:
        return None
    parameters = {
        "host": basic["host"],
        "port": basic["port"] or 5432,
        "user": basic["user"],
        "password": basic["password"],
    }
    return {**options, **parameters, "dbname": basic["name"] or basic["user"]}


def redis_parameters(read: _Reader) -> dict[str, Any] | None:
    """Return client parameters from REDIS_URL or REDIS_*; None when neither is set."""
    url = read.text("REDIS_URL")
    if url:
        basic, _options = _split_url("REDIS_URL", url, ("redis", "rediss"))
        database = basic["name"] or "0"
        if not database.isdigit():
            raise ConfigurationError(
                "REDIS_URL must end with a database number, for example redis://:password@redis:6379/0."
            )
        return {
            "host": basic["host"],
            "port": basic["port"] or 6379,
            "username": basic["user"] or None,
            "password": basic["password"] or None,
            "db": int(database),
            "ssl": url.startswith("rediss://"),
        }
    if not read.text("REDIS_HOST"):
        return None
    return {
        "host": read.text("REDIS_HOST"),
        "port": read.integer("REDIS_PORT", 6379, 1, 65535),
        "username": None,
        "password": read.text("REDIS_PASSWORD") or None,
        "db": read.integer("REDIS_DB", 0, 0, 15),
        "ssl": False,
    }


def _peer(name: str, value: object) -> Peer:
    """Build one peer from ``url`` or ``{"url": ..., "health_path": ...}``."""
    url, health_path = value, "/health"
    if isinstance(value, dict):
        unknown = set(value) - {"name", "url", "health_path"}
        if unknown:
            raise ConfigurationError(
                f"AGENTS: {name} has the unknown key {sorted(unknown)[0]!r}: use url and health_path."
            )
        url, health_path = value.get("url"), value.get("health_path", "/health")
    if (
        not name
        or not isinstance(url, str)
        or urlsplit(url).scheme not in ("http", "https")
        or not urlsplit(url).hostname
    ):
        raise ConfigurationError(f"AGENTS: the url of {name!r} must look like http://host:port.")
    if not isinstance(health_path, str) or not health_path.startswith("/"):
        raise ConfigurationError(f"AGENTS: the health_path of {name!r} must start with '/'.")
    return Peer(name, url.rstrip("/"), health_path)


def parse_peers(text: str) -> tuple[Peer, ...]:
    """Read AGENTS: JSON ``{name: url}`` or ``{name: {url, health_path}}``, a JSON list, or ``name=url,name=url``."""
    text = text.strip()
    if not text:
        return ()
    pairs: list[tuple[str, object]]
    if text[0] in "{[":
        try:
            data = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"AGENTS is not valid JSON: {error}.") from None
        if isinstance(data, list):
            pairs = [(str(item.get("name", "")), item) for item in data if isinstance(item, dict)]
        else:
            pairs = list(data.items())
    else:
        entries = (entry.partition("=") for entry in text.split(",") if entry.strip())
        pairs = [(name.strip(), url.strip()) for name, _equals, url in entries]
    peers = tuple(_peer(name, value) for name, value in pairs)
    if len({peer.name for peer in peers}) != len(peers):
        raise ConfigurationError("AGENTS names one peer twice.")
    return peers


def load(component: str, default_port: int, environ: Mapping[str, str]) -> Settings:
    """Return the settings of one component; raise ConfigurationError with the sentence that says what to write."""
    read = _Reader(environ)
    log_level = read.text("LOG_LEVEL", "info").lower()
    if log_level not in LOG_LEVELS:
        raise ConfigurationError(f"LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, not {log_level[:40]!r}.")
    return Settings(
        component=component,
        host=read.text("HOST", "0.0.0.0"),  # noqa: S104  a pod is reached by its address
        port=read.integer("PORT", default_port, 1, 65535),
        environment=read.text("ENVIRONMENT", "production"),
        log_level=log_level,
        instance=read.text("HOSTNAME", socket.gethostname()),
        postgres=postgres_parameters(read),
        redis=redis_parameters(read),
        api_url=read.text("API_URL").rstrip("/"),
        peers=parse_peers(read.text("AGENTS")),
        rate_limit_per_minute=read.integer("RATE_LIMIT_PER_MINUTE", 0, 0, 1_000_000),
        cache_ttl=read.integer("CACHE_TTL_SECONDS", 60, 1, 86_400),
        db_pool_max=read.integer("DB_POOL_MAX", 5, 1, 100),
        graceful_timeout=read.integer("GRACEFUL_TIMEOUT_SECONDS", 20, 1, 3600),
        lame_duck=read.integer("LAME_DUCK_SECONDS", 0, 0, 60),
        heartbeat_interval=read.integer("HEARTBEAT_INTERVAL_SECONDS", 20, 1, 3600),
        agent_timeout=read.integer("AGENT_TIMEOUT_SECONDS", 60, 2, 86_400),
        check_interval=read.integer("CHECK_INTERVAL_SECONDS", 15, 1, 3600),
        forwarded_allow_ips=read.text("FORWARDED_ALLOW_IPS", "127.0.0.1"),
        mcp=read_mcp(read.text, read.integer),
    )
