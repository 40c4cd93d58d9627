# SPDX-License-Identifier: GPL-3.0-or-later
"""From a server to a client's entry and back, and which files a client reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import _mcp_edit
from ._errors import Refused
from ._mcp_clients import CLIENTS, WINDSURF_FOLDER, WINDSURF_OLD, Client
from ._mcp_server import Server, resolve

__all__ = ["CLIENTS", "Unsaid", "check", "client_for", "entry", "files", "managed", "read", "targets"]

# What every client accepts as a name: Codex starts nothing else, and file names are made of it.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"(PASSWORD|PASSWD|TOKEN|SECRET|KEY|AUTHORIZATION|COOKIE)$", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_BEARER = re.compile(r"Bearer \$\{([A-Za-z_][A-Za-z0-9_]*)\}")

# Keys that an entry of ours may carry; whatever else stands in it (disabled, autoApprove, timeout, ...) is the user's.
_MANAGED = frozenset(
    {
        "name", "type", "command", "args", "env", "url", "headers", "requestOptions", "transport", "serverUrl", "httpUrl",
        "http_headers", "env_http_headers", "bearer_token_env_var", "env_vars",
    }
)  # fmt: skip


class Unsaid(Exception):
    """The client's file cannot say this server; the text is the reason, one sentence."""


def secret_name(name: str) -> bool:
    """Whether what a variable or header of this name holds is taken for a secret."""
    return bool(_SECRET.search(name))


def managed(key: str) -> bool:
    """Whether a key of an entry is ours to write."""
    return key in _MANAGED


def check(server: Server, named_only: bool = False) -> None:
    """Refuse a server that no client could start; with `named_only`, one whose entry could have no such name.

    Raises:
        Refused: the name, the command, the address or a value is not usable; the sentence names it.
    """
    if not _NAME.fullmatch(server.name):
        raise Refused(
            f"{server.name!r} is no name for an MCP server: use 1 to 64 letters, digits, hyphens and underscores."
        )
    if named_only:
        return
    if bool(server.command) == bool(server.url):
        raise Refused(f"The server {server.name} needs either a command or an url, and not both.")
    if server.url and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", server.url):
        raise Refused(f"The url of the server {server.name} is no http or https address.")
    if server.url and (server.env or re.search(r"://[^/]*@", server.url)):
        raise Refused(
            f"The server {server.name} is reached over HTTP: it takes no env and no password in its url, put secrets into headers."
        )
    if server.command and server.headers:
        raise Refused(f"The server {server.name} is started by a command: it takes no headers.")
    if server.command and not server.command[0].strip():
        raise Refused(f"The command of the server {server.name} starts with an empty word.")
    for text in (
        *server.command,
        server.url,
        *server.env,
        *server.env.values(),
        *server.headers,
        *server.headers.values(),
    ):
        if _UNPRINTABLE.search(text):
            raise Refused(
                f"The server {server.name} has a value with a line break or a control character; take it out."
            )
    for text in (*server.command, server.url):
        if _REFERENCE.search(text):
            raise Refused(
                f"The server {server.name} refers to a secret in its command or url, where others can read it; "
                "refer to secrets in env or headers only."
            )
    for key in server.env:
        if not _VARIABLE.fullmatch(key):
            raise Refused(f"{key!r} in env of the server {server.name} is no name of an environment variable.")
    for key in server.headers:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", key):
            raise Refused(f"{key!r} in headers of the server {server.name} is no name of an HTTP header.")

    for key, value in (*server.env.items(), *server.headers.items()):
        if secret_name(key) and value and not _REFERENCE.search(value):
            raise Refused(
                f"{key} of the server {server.name} looks like a secret: write ${{NAME}} there and give its value in secrets."
            )


def _row(client: str) -> Client:
    row = CLIENTS.get(client)
    if row is None:
        raise Refused(f"{client!r} is no client that this collection knows: use one of {', '.join(CLIENTS)}.")
    return row


def client_for(client: str, home: Path, os_name: str, project: str = "") -> Client:
    """The row that applies below this home: Windsurf's old dialect where only its old folder exists.

    Raises:
        Refused: no such client.
    """
    row = _row(client)
    if client == "windsurf" and not project:
        new = Path(row.user[os_name][0]).parent
        if (home / WINDSURF_FOLDER).is_dir() and not (home / new).is_dir():
            return WINDSURF_OLD
    return row


def _patterns(row: Client, home: Path, os_name: str, project: str) -> Iterator[tuple[Path, str]]:
    if os_name not in ("linux", "macos", "windows"):
        raise Refused(f"{os_name!r} is no operating system here: use linux, macos or windows.")
    if project and row.project:
        yield Path(project), row.project
        return
    for index, pattern in enumerate(row.user[os_name]):
        # Cline's command line has a file of its own, wanted only where that is in use.
        if row.name == "cline" and index and not (home / ".cline").is_dir():
            continue
        yield home, pattern


def targets(row: Client, home: Path, os_name: str, project: str, name: str) -> list[Path]:
    """The files in which the entry of one server belongs; they need not exist. A glob gives those that do."""
    found: list[Path] = []
    for root, pattern in _patterns(row, home, os_name, project):
        named = pattern.replace("@name", name)
        if "*" in named:
            # The part up to the glob's folder must exist (an installed package), the file itself need not.
            folder, _, rest = named.partition("*")
            tail = rest.split("/", 1)
            found += [path / tail[1] for path in sorted(root.glob(f"{folder}*{tail[0]}")) if path.is_dir()]
        else:
            found.append(root / named)
    return found


def files(client: str, home: Path, os_name: str, project: str = "") -> list[Path]:
    """The files that the client reads below this home: where one file a server is the rule, those that exist.

    Args:
        client: one of `CLIENTS`.
        home: the user's folder.
        os_name: `linux`, `macos` or `windows`.
        project: a project's folder; where the client has a file of its own there, that one instead.

    Raises:
        Refused: no such client or operating system.
    """
    row = client_for(client, home, os_name, project)
    if not row.single:
        return targets(row, home, os_name, project, "")
    return [
        path
        for root, pattern in _patterns(row, home, os_name, project)
        for path in sorted(root.glob(pattern.replace("@name", "*")))
    ]


def entry(row: Client, server: Server, secrets: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A server in the client's spelling; with `secrets` their values stand in it, else references.

    Raises:
        Unsaid: the client's file cannot say it.
        Refused: a secret has no value in `secrets`.
    """
    if server.url and not row.http:
        raise Unsaid(row.http_reason)
    if row.format == "toml":
        return _codex(row, server, secrets)
    fields: dict[str, Any] = {
        "@name": server.name,
        "@command": server.command[0] if server.command else "",
        "@args": list(server.command[1:]),
        "@env": _values(row, "env", server.env, server.name, secrets),
        "@url": server.url,
        "@headers": _values(row, "headers", server.headers, server.name, secrets),
    }
    return _fill(row.http if server.url else row.stdio, fields)


def _fill(spelling: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in spelling.items():
        filled = _fill(value, fields) if isinstance(value, Mapping) else fields.get(value, value)
        # `args` stays even when it is empty: some clients ask for it.
        if filled not in ("", {}) and not (filled == [] and value != "@args"):
            result[key] = filled
    return result


def _unreferable(row: Client, name: str, value: str) -> Unsaid:
    secret = (_REFERENCE.findall(value) or ["?"])[0]
    return Unsaid(
        f"{row.title} cannot take the secret {secret} of {name} by reference: use another client, or inline_secrets: true."
    )


def _values(
    row: Client, where: str, values: Mapping[str, str], name: str, secrets: Mapping[str, str] | None
) -> dict[str, str]:
    result = {}
    for key, value in values.items():
        if secrets is not None:
            result[key] = resolve(value, secrets)
        elif _REFERENCE.search(value) and not (row.reference and where in row.reference_in):
            raise _unreferable(row, name, value)
        else:
            result[key] = _REFERENCE.sub(lambda match: row.reference % match.group(1), value)
    return result


def _codex(row: Client, server: Server, secrets: Mapping[str, str] | None) -> dict[str, Any]:
    """Codex names the variables that it passes on; a reference in the middle of a value cannot be said."""
    plain: dict[str, str] = {}
    named: dict[str, str] = {}
    result: dict[str, Any] = {}
    for key, value in (server.headers if server.url else server.env).items():
        bearer = _BEARER.fullmatch(value)
        whole = _REFERENCE.fullmatch(value)
        if secrets is not None or not _REFERENCE.search(value):
            plain[key] = resolve(value, secrets or {})
        elif server.url and bearer and key.lower() == "authorization":
            result["bearer_token_env_var"] = bearer.group(1)
        elif whole and (server.url or whole.group(1) == key):
            named[key] = whole.group(1)
        else:
            raise _unreferable(row, server.name, value)
    if server.url:
        body: dict[str, Any] = {"url": server.url, **result, "http_headers": plain, "env_http_headers": named}
    else:
        body = {"command": server.command[0], "args": list(server.command[1:]), "env": plain, "env_vars": list(named)}
    return {key: value for key, value in body.items() if value or key == "args"}


def read(client: str, text: str) -> list[Server]:
    """The servers that a client's file names, references as `${NAME}`; entries that cannot be understood are left out.

    Raises:
        Refused: no such client, or the text cannot be parsed.
    """
    row = _row(client)
    found: Any = _mcp_edit.parse(row.format, text)
    for key in row.place:
        found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, dict):
        pairs = [(str(name), body) for name, body in found.items()]
    elif isinstance(found, list):
        pairs = [(_name_in(body), body) for body in found]
    else:
        return []
    servers = (_server(row, name, body) for name, body in pairs if name and isinstance(body, dict))
    return [server for server in servers if server is not None]


def _name_in(body: Any) -> str:
    inner = body.get("transport") if isinstance(body, dict) else None
    for source in (body, inner):
        if isinstance(source, dict) and isinstance(source.get("name"), str):
            return str(source["name"])
    return ""


def _server(row: Client, name: str, body: dict[str, Any]) -> Server | None:
    inner = body.get("transport")
    body = {**body, **inner} if isinstance(inner, dict) else body
    command, args = body.get("command"), body.get("args") or []
    if isinstance(command, str) and command:
        if not isinstance(args, list) or not all(isinstance(word, str) for word in args):
            return None
        passed = {key: f"${{{key}}}" for key in body.get("env_vars") or [] if isinstance(key, str)}
        return Server(name, (command, *args), {**_texts(row, body.get("env")), **passed})
    kind = body.get("type") or (inner if isinstance(inner, str) else "")
    if kind == "sse" or (row.name == "cline" and not kind):
        return None
    url = body.get("httpUrl") if row.name == "gemini" else body.get("url") or body.get("serverUrl")
    if not isinstance(url, str) or not url:
        return None
    options = body.get("requestOptions")
    headers = _texts(row, body.get("headers") or body.get("http_headers"))
    headers |= _texts(row, options.get("headers")) if isinstance(options, dict) else {}
    headers |= {key: f"${{{value}}}" for key, value in _texts(row, body.get("env_http_headers")).items()}
    if isinstance(body.get("bearer_token_env_var"), str):
        headers["Authorization"] = f"Bearer ${{{body['bearer_token_env_var']}}}"
    return Server(name, url=url, headers=headers)


def _reference(row: Client) -> re.Pattern[str]:
    """The client's spelling of a reference, whose name is the group `name`."""
    name = r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)"
    if row.name == "gemini":
        return re.compile(r"\$(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|" + name + ")")
    before, found, after = row.reference.partition("%s")
    if not (found and before):
        return re.compile(r"(?!)" + name)
    # Blanks inside the braces are a matter of taste.
    before, after = (re.escape(text).replace(r"\ ", r"\s*") for text in (before, after))
    return re.compile(before + name + after)


def _texts(row: Client, values: Any) -> dict[str, str]:
    """Values as text, with references as `${NAME}`."""
    if not isinstance(values, dict):
        return {}

    def plain(match: re.Match[str]) -> str:
        groups = match.groupdict()
        return f"${{{groups['name'] or groups.get('braced')}}}"

    pattern = _reference(row)
    return {str(key): pattern.sub(plain, str(value)) for key, value in values.items()}
