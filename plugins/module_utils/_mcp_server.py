# SPDX-License-Identifier: GPL-3.0-or-later
"""One MCP server as a client starts it: what the generator writes, what the verifier reads back and launches.

A secret never stands in it by value: `${NAME}` refers to one by name. Each client's dialect spells that its own way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._errors import Refused

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

#: The options of a module that describe one server; their documentation stands in the modules.
OPTIONS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "default": []},
    "env": {"type": "dict", "default": {}},
    "url": {"type": "str", "default": ""},
    "headers": {"type": "dict", "default": {}},
}


@dataclass(frozen=True)
class Server:
    """What one entry of a client's file says.

    Attributes:
        name: key of the entry, such as `twisterlab-mcp`.
        command: program and arguments; empty for a server over HTTP.
        env: environment of the program, beside the client's own.
        url: address of a streamable HTTP server; empty for stdio.
        headers: HTTP headers, such as `{"Authorization": "Bearer ${TWISTERLAB_MCP_TOKEN}"}`.
    """

    name: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def transport(self) -> str:
        """`stdio` or `http`."""
        return "http" if self.url else "stdio"

    @property
    def references(self) -> tuple[str, ...]:
        """The names of the secrets that env and headers refer to, each once, in order."""
        values = [*self.env.values(), *self.headers.values()]
        return tuple(dict.fromkeys(name for value in values for name in _REFERENCE.findall(value)))


def texts(values: Mapping[Any, Any]) -> dict[str, str]:
    """Values as a process, a request or a file takes them, since YAML gives numbers and yes/no values."""
    return {
        str(key): json.dumps(value) if isinstance(value, bool) else "" if value is None else str(value)
        for key, value in values.items()
    }


def of_options(given: Mapping[str, Any]) -> Server:
    """The server that a module's OPTIONS describe."""
    return Server(given["name"], tuple(given["command"]), texts(given["env"]), given["url"], texts(given["headers"]))


def resolve(text: str, secrets: Mapping[str, str]) -> str:
    """Put the secrets' values in the place of their references.

    Raises:
        Refused: a reference has no value; the sentence names it.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in secrets:
            raise Refused(f"The secret {name} has no value here; set the environment variable {name} and try again.")
        return secrets[name]

    return _REFERENCE.sub(value, text)
