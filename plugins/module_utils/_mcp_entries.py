# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the entries in clients' files are to be verified, and which a client's file cannot hold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ._errors import PlatformError, Refused
from ._mcp_clients import CLIENTS
from ._mcp_dialects import Unsaid, entry, files, read
from ._mcp_expect import expected
from ._mcp_server import Server

#: The entries that are ours begin so.
OURS = "twisterlab"


def operating_system(given: str = "auto", platform: str = sys.platform) -> str:
    """A name in the table of clients, `linux`, `macos` or `windows`; `auto` is this machine's."""
    return given if given != "auto" else {"darwin": "macos", "win32": "windows"}.get(platform, "linux")


def from_files(client: str, paths: Sequence[Path], home: str = "") -> list[Server]:
    """The servers of a client's files.

    Raises:
        Refused: no file is there, or one cannot be read.
    """
    found: list[Server] = []
    present = [path for path in paths if path.is_file()]
    if not present:
        place = f"at {' or '.join(map(str, paths))}" if paths else f"below {home}"
        raise Refused(f"There is no file of {client} {place}: write it with playbooks/mcp_config.yml.")
    for path in present:
        try:
            found += read(client, path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"The file {path} cannot be read: {error}.") from error
        except PlatformError as error:
            raise Refused(f"The file {path} cannot be read: {error}") from error
    return found


def paths_of(client: str, path: str, home: str, os_name: str = "auto", project: str = "") -> list[Path]:
    """Where a client's servers stand: the file given, or the client's own files below a home or project folder."""
    if path:
        return [Path(path).expanduser()]
    return files(client, Path(home).expanduser(), operating_system(os_name), project)


def unsayable(client: str, name: str) -> str:
    """Why the file of a client cannot hold one of our entries by reference; empty when it can."""
    server = Server(name, ("kubectl",))
    if expected(name).deployment:
        server = Server(name, url="http://host/mcp", headers={"Authorization": "Bearer ${TOKEN}"})
    try:
        entry(CLIENTS[client], server)
    except Unsaid as reason:
        return str(reason)
    return ""


def chosen(client: str, servers: Sequence[Server], names: Sequence[str], where: str) -> tuple[list[Server], list[str]]:
    """The servers to verify, those named or all of ours; and a line for each that the client's file cannot hold.

    Raises:
        Refused: one that should be there is not, or none is ours.
    """
    present = list(dict.fromkeys(server.name for server in servers))
    known = ", ".join(present) or "none"
    advice = f"its entries are: {known}; write it with playbooks/mcp_config.yml -e mcp_config_client={client}"
    left_out = []
    for name in names:
        if name in present:
            continue
        reason = unsayable(client, name)
        if not reason:
            raise Refused(f"{where} has no entry {name} that can be read; {advice}.")
        left_out.append(f"mcp {name}: skipped in the file of {client}: {reason}")
    found = [server for server in servers if (server.name in names if names else server.name.startswith(OURS))]
    if not found and not left_out:
        raise Refused(f"{where} has no entry whose name starts with {OURS}; {advice}.")
    return found, left_out


def of_one(
    client: str, path: str, home: str, names: Sequence[str], os_name: str = "auto", project: str = ""
) -> tuple[list[Server], list[str]]:
    """The servers in one client's files, and lines about those left out; see `chosen` and `from_files`."""
    paths = paths_of(client, path, home, os_name, project)
    servers = from_files(client, paths, home)
    return chosen(client, servers, names, f"The file of {client} ({', '.join(map(str, paths))})")


def of_everybody(
    home: str, names: Sequence[str], os_name: str = "auto", project: str = ""
) -> tuple[list[Server], list[str]]:
    """The same for every client that has a file: each distinct server once, and a line that names whose files say it.

    Raises:
        Refused: no client has a file, one cannot be read, or lacks an entry that it can hold.
    """
    found: list[tuple[Server, list[str]]] = []
    told: list[str] = []
    present = [
        client for client in CLIENTS if any(path.is_file() for path in paths_of(client, "", home, os_name, project))
    ]
    if not present:
        raise Refused(f"There is no client's file below {home}: write them with playbooks/mcp_config.yml.")
    for client in present:
        servers, left_out = of_one(client, "", home, names, os_name, project)
        told += left_out
        for server in servers:
            clients = next((clients for known, clients in found if known == server), None)
            if clients is None:
                found.append((server, [client]))
            else:
                clients.append(client)
    told += [f"mcp {server.name} ({server.transport}): said by the files of {', '.join(who)}" for server, who in found]
    return [server for server, _ in found], told
