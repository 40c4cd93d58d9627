# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each client's file: all of it is planned and checked before the first is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _mcp_edit, _mcp_edit_files
from ._errors import Refused
from ._mcp_clients import CLIENTS, Client
from ._mcp_dialects import Unsaid, check, client_for, entry, managed, secret_name, targets
from ._mcp_edit import Malformed, Spot
from ._mcp_edit_files import Found
from ._mcp_server import Server

_INPUT = re.compile(r"\$\{input:([A-Za-z_][A-Za-z0-9_]*)\}")
_NO_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # often the line break at the end of a file that holds a token
_DESCRIPTION = "Secret %s of the TwisterLab MCP servers"


@dataclass
class Plan:
    """One file and what becomes of it.

    Attributes:
        client: name of the client.
        path: where the client looks for the file.
        found: the file as it was read.
        text: the text that it shall have, None for no file.
        secret: a secret's value stands in the new text.
        skipped: (server, reason) of servers that the client's file cannot say.
        ours: the file held nothing but these entries, and none is written anew, so that no copy is worth keeping.
        backup: a copy was made there.
        before, after: our entries, hidden values left out, for a diff.
    """

    client: str
    path: Path
    found: Found
    text: str | None
    secret: bool = False
    skipped: list[tuple[str, str]] = field(default_factory=list)
    backup: Path | None = None
    ours: bool = False
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    @property
    def mode(self) -> int:
        """Permission bits of the file when this is done: as they were, but for its owner alone where a secret stands in it."""
        if self.found.text is None:
            return _mcp_edit_files.NEW_MODE
        return self.found.mode & 0o600 if self.secret else self.found.mode

    @property
    def changed(self) -> bool:
        """Whether anything is to be done."""
        return self.text != self.found.text or (self.text is not None and self.mode != self.found.mode)

    @property
    def action(self) -> str:
        """`created`, `updated`, `removed`, `unchanged` or `absent`."""
        if self.text is None:
            return "absent" if self.found.text is None else "removed"
        if self.found.text is None:
            return "created"
        return "updated" if self.changed else "unchanged"


@dataclass(frozen=True)
class Order:
    """What is asked for.

    Attributes:
        clients: names; `all` has been resolved.
        servers: the entries.
        home: folder of the user; need not exist.
        os_name: `linux`, `macos` or `windows`.
        project: folder of a project, empty for the user's files.
        present: put the entries in, or take them out.
        secrets: values to stand in the files; None for references.
    """

    clients: tuple[str, ...]
    servers: tuple[Server, ...]
    home: Path
    os_name: str
    project: str = ""
    present: bool = True
    secrets: Mapping[str, str] | None = None

    @property
    def roots(self) -> tuple[Path, ...]:
        """The folders that no file may lie outside of."""
        return (self.home.resolve(), *((Path(self.project).resolve(),) if self.project else ()))


def resolve_clients(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each once, in the table's order; `all` is every client."""
    wanted = set(names)
    return tuple(name for name in CLIENTS if name in wanted or "all" in wanted)


def validate(order: Order) -> None:
    """Refuse an order that cannot be carried out whatever the files hold.

    Raises:
        Refused: a server is not usable.
    """
    names = [server.name for server in order.servers]
    for server in order.servers:
        if names.count(server.name) > 1:
            raise Refused(f"The server {server.name} is given more than once; give each a name of its own.")
        check(server, named_only=not order.present)
        for name in Server(server.name, headers=server.headers).references:
            if _NO_HEADER.search((order.secrets or {}).get(name, "")):
                raise Refused(
                    f"The secret {name}, for a header of the server {server.name}, has a line break or a control character; "
                    "take it out."
                )


def make(order: Order) -> list[Plan]:
    """Plan every file.

    Raises:
        Refused: one of them cannot be changed safely; the sentence names it.
    """
    validate(order)
    plans: list[Plan] = []
    for name in order.clients:
        try:
            row = client_for(name, order.home, order.os_name, order.project)
            files = list(_files(row, order))
        except PermissionError as error:
            raise Refused(f"{error.filename} cannot be read ({error.strerror}); mend its permissions.") from None
        plans += [_plan(row, path, servers, order) for path, servers in files]
    return plans


def _files(row: Client, order: Order) -> Iterator[tuple[Path, tuple[Server, ...]]]:
    """Each file with the servers that belong into it."""
    paths: dict[Path, list[Server]] = {}
    for server in order.servers:
        for path in targets(row, order.home, order.os_name, order.project, server.name):
            paths.setdefault(path, []).append(server)
    for path, servers in paths.items():
        yield path, tuple(servers)


def _spot(row: Client, name: str) -> Spot:
    preamble = (("name", name), ("version", "1.0.0"), ("schema", "v1")) if row.single else ()
    if row.name == "continue_legacy":
        return Spot(row.format, row.place, listed=True, name_of=_transport_name)
    return Spot(row.format, row.place, row.listed, preamble=preamble)


def _transport_name(item: Any) -> str:
    inner = item.get("transport") if isinstance(item, dict) else None
    return str(inner.get("name", "")) if isinstance(inner, dict) else ""


def _plan(row: Client, path: Path, servers: tuple[Server, ...], order: Order) -> Plan:
    found = _mcp_edit_files.read(path, order.roots)
    plan = Plan(row.name, path, found, found.text)
    try:
        _edit(row, plan, servers, order)
    except Malformed as error:
        kind = {"json": "JSON", "jsonc": "JSON", "yaml": "YAML", "toml": "TOML"}[row.format]
        raise Refused(f"{path} is no {kind} that {row.title} reads: {error}; mend it or move it away.") from None
    except Refused as error:
        raise Refused(f"{path} cannot be edited safely: {error}; mend it or move it away.") from None
    if plan.changed:
        _mcp_edit_files.check_writable(found.path)
    return plan


def _edit(row: Client, plan: Plan, servers: tuple[Server, ...], order: Order) -> None:
    bare = _without(row, servers, plan.text)
    plan.ours = bare is None
    if not order.present:
        for server in servers:
            old = _mcp_edit.get(_spot(row, server.name), plan.text, server.name)
            if old is not None:
                plan.before[server.name] = _hidden(old, server)
        plan.text = bare
        return
    for server in servers:
        spot = _spot(row, server.name)
        old = _mcp_edit.get(spot, plan.text, server.name)
        try:
            new = entry(row, server, order.secrets)
            shown = entry(row, server) if order.secrets is None else _shown(row, server)
        except Unsaid as reason:
            plan.skipped.append((server.name, str(reason)))
            continue
        _check_single(row, spot, plan.text, server.name)
        merged = _merge(old, new)
        plan.secret = plan.secret or (order.secrets is not None and bool(server.references))
        if merged != old:
            plan.text = _mcp_edit.put(spot, plan.text, server.name, merged)
            plan.after[server.name] = _hidden(_merge(old, shown), server)
            if old is not None:
                plan.before[server.name] = _hidden(old, server)
                plan.ours = False  # what it said may have been a person's
    if row.name == "vscode" and plan.text is not None:
        plan.text = _declare(row, plan.text, [server.name for server in servers])


def _without(row: Client, servers: tuple[Server, ...], text: str | None) -> str | None:
    """The text without our entries; taken out in the opposite order, so that each step undoes its own."""
    if row.name == "vscode" and text is not None:
        text = _undeclare(row, text, frozenset(server.name for server in servers))
    for server in reversed(servers):
        text = _mcp_edit.drop(_spot(row, server.name), text, server.name)
    return text


def _check_single(row: Client, spot: Spot, text: str | None, name: str) -> None:
    """One server a file: Continue reads no block that holds two."""
    if not row.single or text is None:
        return
    items = _mcp_edit.parse(row.format, text)
    items = items.get(spot.place[0]) if isinstance(items, dict) else None
    if isinstance(items, list) and any(spot.name_of(item) != name for item in items):
        raise Refused(f"it holds another server than {name}, and {row.title} reads one server a file")


def _merge(old: Any, new: dict[str, Any]) -> dict[str, Any]:
    """The new entry, with the keys of the old one that are the user's own (disabled, autoApprove, timeout, ...)."""
    if not isinstance(old, dict):
        return new
    merged: dict[str, Any] = {}
    for key, value in old.items():
        if key in new:
            inner = key in ("transport", "requestOptions") and isinstance(new[key], dict)
            merged[key] = _merge(value, new[key]) if inner else new[key]
        elif not managed(key):
            merged[key] = value
    return {**merged, **{key: value for key, value in new.items() if key not in merged}}


def _input_id(item: Any) -> str:
    return str(item.get("id", "")) if isinstance(item, dict) else ""


# VS Code asks for a secret by name; the name is declared once in the file.
_INPUTS = Spot("jsonc", ("inputs",), listed=True, name_of=_input_id)


def _declare(row: Client, text: str, names: list[str]) -> str:
    """The text with each secret declared that these entries refer to, and without those of ours that nothing refers to."""
    servers = _mcp_edit.parse(row.format, text).get(row.place[0], {})
    for name in dict.fromkeys(_INPUT.findall(json.dumps([servers.get(name) for name in names]))):
        if _mcp_edit.get(_INPUTS, text, name) is None:
            text = _mcp_edit.put(_INPUTS, text, name, _input(name))
    return _undeclare(row, text, frozenset())


def _undeclare(row: Client, text: str, leaving: frozenset[str]) -> str:
    """The text without our declarations that nothing refers to once the entries of these names have left."""
    content = _mcp_edit.parse(row.format, text)
    declared = content.get("inputs") if isinstance(content, dict) else None
    if not isinstance(declared, list):
        return text
    rest = {key: value for key, value in content.items() if key != "inputs"}
    servers = rest.get(row.place[0])
    if isinstance(servers, dict):
        rest[row.place[0]] = {key: value for key, value in servers.items() if key not in leaving}
    used = set(_INPUT.findall(json.dumps(rest)))
    for item in reversed(declared):
        name = _input_id(item)
        if name and name not in used and item == _input(name):
            text = _mcp_edit.drop(_INPUTS, text, name) or ""
    return text


def _input(name: str) -> dict[str, Any]:
    return {"type": "promptString", "id": name, "description": _DESCRIPTION % name, "password": True}


def _shown(row: Client, server: Server) -> dict[str, Any]:
    """The entry as it is shown where secrets stand in the file by value."""
    return entry(row, server, {name: f"(the value of {name})" for name in server.references})


def _hidden(value: Any, server: Server) -> Any:
    """An entry to be shown: a text that is not the given server's own stays hidden, it may be anybody's secret."""
    known = {server.name, server.url, *server.command, "stdio", "http", "streamable-http", "streamableHttp"}
    known |= {*server.references, *server.env.values(), *server.headers.values()}
    own = [re.escape(text) for name in server.references for text in (f"(the value of {name})",)]
    values = [*server.env.values(), *server.headers.values()]

    def show(item: Any, numbers: bool = True) -> Any:
        if isinstance(item, dict):
            # A number may be a secret too, but not the timeout that a person set beside what we write.
            return {key: show(inner, numbers and not (managed(key) or secret_name(key))) for key, inner in item.items()}
        if isinstance(item, list):
            return [show(inner, numbers) for inner in item]
        if not numbers and type(item) in (int, float) and str(item) not in known:
            return "(hidden)"
        if not isinstance(item, str) or item in known or _same(item, values):
            return item
        if own and re.search("|".join(own), item):
            return item
        return "(hidden)"

    return show(value)


def _same(text: str, values: list[str]) -> bool:
    """Whether the text is one of the values with its references spelled as some client does."""
    plain = re.sub(
        r"\$\{\{\s*secrets\.(\w+)\s*\}\}|\$\{(?:env:|input:)?(\w+)\}", lambda m: "${%s}" % (m[1] or m[2]), text
    )
    return plain in values


def carry_out(plans: list[Plan]) -> None:
    """Write what was planned: a backup first where a file holds more than our own.

    Raises:
        Refused: a file changed meanwhile or cannot be written; the sentence says which were written before.
    """
    done: list[str] = []
    for plan in plans:
        if not plan.changed:
            continue
        try:
            if plan.found.text is not None and not plan.ours:
                plan.backup = _mcp_edit_files.back_up(plan.found)
            if plan.text is None:
                _mcp_edit_files.remove(plan.found)
            else:
                _mcp_edit_files.write(plan.found, plan.text, plan.mode)
        except Refused as error:
            raise Refused(f"{error} Written before: {', '.join(done) or 'nothing'}.") from None
        done.append(str(plan.path))
