# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entries of clients' files are verified: what is missing is a failure, what a file cannot hold is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_edit_plan
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_entries as entries
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_launch as launch
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_server import Server
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_wire import Process

STDIO = Server("twisterlab-mcp", ("kubectl", "exec"))
HTTP = Server(
    "twisterlab-orchestrator",
    url="http://127.0.0.1:8080/mcp",
    headers={"Authorization": "Bearer ${TWISTERLAB_MCP_TOKEN}"},
)
BOTH = [STDIO.name, HTTP.name]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home in which every client has both servers, as far as its file can hold them."""
    clients = _mcp_edit_plan.resolve_clients(["all"])
    order = _mcp_edit_plan.Order(clients, (STDIO, HTTP), tmp_path, "linux")
    _mcp_edit_plan.carry_out(_mcp_edit_plan.make(order))
    return tmp_path


def everybody(home: Path) -> tuple[list[Server], str]:
    servers, told = entries.of_everybody(str(home), BOTH, "linux")
    return servers, "\n".join(told)


def test_named_ones_or_ours() -> None:
    servers = [STDIO, Server("other", ("x",)), Server("twisterlab-y", ("x",))]
    assert [server.name for server in entries.chosen("cursor", servers, [], "It")[0]] == [
        "twisterlab-mcp",
        "twisterlab-y",
    ]
    assert [server.name for server in entries.chosen("cursor", servers, ["other"], "It")[0]] == ["other"]
    with pytest.raises(
        Refused, match="It has no entry gone that can be read; .*: twisterlab-mcp, other, twisterlab-y; write"
    ):
        entries.chosen("cursor", servers, ["gone"], "It")
    with pytest.raises(Refused, match="It has no entry whose name starts with twisterlab; its entries are: other"):
        entries.chosen("cursor", servers[1:2], [], "It")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        Refused, match="There is no file of cursor at .*mcp.json: write it with playbooks/mcp_config.yml"
    ):
        entries.of_one("cursor", "", str(tmp_path), [], "linux")
    with pytest.raises(Refused, match="There is no client's file below .*: write them"):
        everybody(tmp_path)


def test_a_file_that_cannot_be_parsed(tmp_path: Path) -> None:
    path = tmp_path / "mcp.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(Refused, match=f"The file {path} cannot be read"):
        entries.of_one("cursor", str(path), "", [])


def test_everybody_says_the_same_and_what_a_file_cannot_hold_is_told(home: Path) -> None:
    servers, told = everybody(home)
    assert servers == [STDIO, HTTP]
    (stdio,) = [line for line in told.splitlines() if line.startswith("mcp twisterlab-mcp (stdio)")]
    assert all(client in stdio for client in entries.CLIENTS)
    for client in ("claude_desktop", "zed", "continue_legacy"):
        assert f"mcp twisterlab-orchestrator: skipped in the file of {client}: " in told


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (".cursor/mcp.json", {"mcpServers": {}}),
        (".gemini/settings.json", {"mcpServers": {"twisterlab-mcp": {"command": "kubectl", "args": "exec"}}}),
    ],
)
def test_one_client_without_the_entry_is_a_failure(home: Path, file: str, content: object) -> None:
    (home / file).write_text(json.dumps(content))
    with pytest.raises(Refused, match="has no entry twisterlab-mcp that can be read; .* -e mcp_config_client="):
        everybody(home)


def test_another_command_is_another_server(home: Path) -> None:
    path = home / ".cursor/mcp.json"
    path.write_text(path.read_text().replace('"exec"', '"run"'))
    assert [server.command for server in everybody(home)[0] if server.command] == [
        ("kubectl", "exec"),
        ("kubectl", "run"),
    ]


def test_a_project_of_another_system(tmp_path: Path) -> None:
    order = _mcp_edit_plan.Order(("vscode",), (STDIO,), tmp_path, "windows", str(tmp_path / "p"))
    _mcp_edit_plan.carry_out(_mcp_edit_plan.make(order))
    assert entries.of_one("vscode", "", str(tmp_path), [STDIO.name], "windows", str(tmp_path / "p")) == ([STDIO], [])


def test_a_secret_by_value_in_a_variable_is_hidden() -> None:
    server = Server("x", ("y",), env={"API_KEY": "abcdefgh", "MODE": "ordinary"})
    assert launch.hider(launch.confidential([server], []))("abcdefgh ordinary") == "*** ordinary"


def test_a_program_does_not_see_the_cluster_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "K8S_AUTH_HOST", "OTHER"):
        monkeypatch.setenv(name, "x")
    code = "import os; print(sorted({'KUBECONFIG', 'K8S_AUTH_HOST', 'OTHER'} & set(os.environ)))"
    process = Process([sys.executable, "-c", code], {})
    try:
        assert process.receive(10) == b"['OTHER']"
    finally:
        process.close()
