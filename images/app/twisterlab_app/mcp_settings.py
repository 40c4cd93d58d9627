# SPDX-License-Identifier: MIT
"""Settings of the MCP servers; settings.load reads them with the others."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from .errors import ConfigurationError

_TOKEN = re.compile(r"[\x21-\x7e]+")  # what a header can carry behind "Bearer "


@dataclass(frozen=True)
class McpSettings:
    """What the MCP servers may do and whom they serve; ``tool_timeout`` is in seconds."""

    token: str = field(repr=False)
    token_previous: str = field(repr=False)
    allowed_origins: frozenset[str]
    tool_timeout: int
    commands: frozenset[tuple[str, ...]]
    monitoring_url: str
    prometheus_url: str
    webui_urls: frozenset[str]
    webui_api_key: str = field(repr=False)


def http_url(name: str, text: str) -> str:
    """Return a base URL without its last slash, or "" for ""; raise ConfigurationError."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.query and not parts.fragment
        good = good and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if text and not good:
        raise ConfigurationError(f"{name} must look like http://host:port.")
    return text.rstrip("/")


def parse_commands(text: str) -> frozenset[tuple[str, ...]]:
    """Read MCP_COMMANDS: a JSON list of command lines ("uptime -p") or of their words (["uptime", "-p"])."""
    if not text.strip():
        return frozenset()
    advice = 'MCP_COMMANDS must be a JSON list of command lines or of lists of words, for example ["uptime -p"].'
    try:
        entries = json.loads(text)
        if not isinstance(entries, list):
            raise ValueError
        words = [tuple(shlex.split(entry)) if isinstance(entry, str) else tuple(entry) for entry in entries]
    except (ValueError, TypeError):
        raise ConfigurationError(advice) from None
    if not all(line and all(isinstance(word, str) and "\0" not in word for word in line) for line in words):
        raise ConfigurationError(advice)
    return frozenset(words)


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def read_mcp(text: Callable[..., str], integer: Callable[[str, int, int, int], int]) -> McpSettings:
    """Read the settings through the two readers of settings.load; raise ConfigurationError."""
    token, previous, key = text("MCP_TOKEN"), text("MCP_TOKEN_PREVIOUS"), text("WEBUI_API_KEY")
    for name, value in (("MCP_TOKEN", token), ("MCP_TOKEN_PREVIOUS", previous), ("WEBUI_API_KEY", key)):
        if value and not _TOKEN.fullmatch(value):
            raise ConfigurationError(f"{name} must be one word of printable ASCII characters: a header carries it.")
    return McpSettings(
        token=token,
        token_previous=previous,
        allowed_origins=frozenset(_list(text("MCP_ALLOWED_ORIGINS"))),
        tool_timeout=integer("MCP_TOOL_TIMEOUT_SECONDS", 20, 1, 300),
        commands=parse_commands(text("MCP_COMMANDS")),
        monitoring_url=http_url("MONITORING_URL", text("MONITORING_URL")),
        prometheus_url=http_url("PROMETHEUS_URL", text("PROMETHEUS_URL")),
        webui_urls=frozenset(http_url("WEBUI_URLS", url) for url in _list(text("WEBUI_URLS"))),
        webui_api_key=key,
    )
