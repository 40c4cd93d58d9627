# SPDX-License-Identifier: GPL-3.0-or-later
"""The dialects: the text for every client, read back to the same servers; places per operating system; what cannot be said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_dialects, _mcp_edit_plan
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_clients import CLIENTS, WINDSURF_OLD
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_server import Server
from ansible_collections.twisterlab.platform.plugins.modules import mcp_config

STDIO = Server("tw-mcp", ("kubectl", "exec", "-i"), {"KUBECONFIG": "/k c"})
HTTP = Server("tw-http", url="https://t.local/mcp", headers={"Authorization": "Bearer ${TOKEN}"})

# Per client and file below the home, on Linux.
GOLDEN = {
    ("continue", ".continue/mcpServers/tw-mcp.yaml"): """\
# Written by the Ansible module twisterlab.platform.mcp_config.
name: tw-mcp
version: "1.0.0"
schema: v1
mcpServers:
  - name: tw-mcp
    type: stdio
    command: kubectl
    args:
      - exec
      - "-i"
    env:
      KUBECONFIG: "/k c"
""",
    ("continue", ".continue/mcpServers/tw-http.yaml"): """\
# Written by the Ansible module twisterlab.platform.mcp_config.
name: tw-http
version: "1.0.0"
schema: v1
mcpServers:
  - name: tw-http
    type: streamable-http
    url: "https://t.local/mcp"
    requestOptions:
      headers:
        Authorization: "Bearer ${{ secrets.TOKEN }}"
""",
    ("continue_json", ".continue/mcpServers/twisterlab.json"): """\
{
  "mcpServers": {
    "tw-mcp": {
      "type": "stdio",
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    }
  }
}
""",
    ("continue_legacy", ".continue/config.json"): """\
{
  "experimental": {
    "modelContextProtocolServers": [
      {
        "transport": {
          "type": "stdio",
          "name": "tw-mcp",
          "command": "kubectl",
          "args": [
            "exec",
            "-i"
          ],
          "env": {
            "KUBECONFIG": "/k c"
          }
        }
      }
    ]
  }
}
""",
    ("claude_code", ".claude.json"): """\
{
  "mcpServers": {
    "tw-mcp": {
      "type": "stdio",
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    },
    "tw-http": {
      "type": "http",
      "url": "https://t.local/mcp",
      "headers": {
        "Authorization": "Bearer ${TOKEN}"
      }
    }
  }
}
""",
    ("claude_desktop", ".config/Claude/claude_desktop_config.json"): """\
{
  "mcpServers": {
    "tw-mcp": {
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    }
  }
}
""",
    ("vscode", ".config/Code/User/mcp.json"): """\
{
  "servers": {
    "tw-mcp": {
      "type": "stdio",
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    },
    "tw-http": {
      "type": "http",
      "url": "https://t.local/mcp",
      "headers": {
        "Authorization": "Bearer ${input:TOKEN}"
      }
    }
  },
  "inputs": [
    {
      "type": "promptString",
      "id": "TOKEN",
      "description": "Secret TOKEN of the TwisterLab MCP servers",
      "password": true
    }
  ]
}
""",
    ("cursor", ".cursor/mcp.json"): """\
{
  "mcpServers": {
    "tw-mcp": {
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    },
    "tw-http": {
      "url": "https://t.local/mcp",
      "headers": {
        "Authorization": "Bearer ${env:TOKEN}"
      }
    }
  }
}
""",
    ("zed", ".config/zed/settings.json"): """\
{
  "context_servers": {
    "tw-mcp": {
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    }
  }
}
""",
    ("windsurf", ".config/devin/mcp_config.json"): """\
{
  "mcpServers": {
    "tw-mcp": {
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    },
    "tw-http": {
      "url": "https://t.local/mcp",
      "transport": "http",
      "headers": {
        "Authorization": "Bearer ${env:TOKEN}"
      }
    }
  }
}
""",
    ("cline", ".config/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"): """\
{
  "mcpServers": {
    "tw-mcp": {
      "type": "stdio",
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    },
    "tw-http": {
      "type": "streamableHttp",
      "url": "https://t.local/mcp",
      "headers": {
        "Authorization": "Bearer ${env:TOKEN}"
      }
    }
  }
}
""",
    ("codex", ".codex/config.toml"): """\
[mcp_servers.tw-mcp]
command = "kubectl"
args = ["exec", "-i"]
env = { KUBECONFIG = "/k c" }

[mcp_servers.tw-http]
url = "https://t.local/mcp"
bearer_token_env_var = "TOKEN"
""",
    ("gemini", ".gemini/settings.json"): """\
{
  "mcpServers": {
    "tw-mcp": {
      "command": "kubectl",
      "args": [
        "exec",
        "-i"
      ],
      "env": {
        "KUBECONFIG": "/k c"
      }
    },
    "tw-http": {
      "httpUrl": "https://t.local/mcp",
      "headers": {
        "Authorization": "Bearer ${TOKEN}"
      }
    }
  }
}
""",
}


def plans(home: Path, **more: Any) -> list[_mcp_edit_plan.Plan]:
    values: dict[str, Any] = {"clients": tuple(CLIENTS), "servers": (STDIO, HTTP), "os_name": "linux", **more}
    return _mcp_edit_plan.make(_mcp_edit_plan.Order(home=home, **values))


def test_the_text_of_every_client(tmp_path: Path) -> None:
    made = {(plan.client, str(plan.path.relative_to(tmp_path))): plan.text for plan in plans(tmp_path)}
    assert made == GOLDEN
    assert {client for client, _ in made} == set(CLIENTS)


@pytest.mark.parametrize(("client", "name"), list(GOLDEN))
def test_every_text_reads_back_to_the_servers_and_leaves_no_trace(tmp_path: Path, client: str, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(GOLDEN[client, name])
    expected = [server for server in (STDIO, HTTP) if f'"{server.name}"' in path.read_text() or f".{server.name}]" in path.read_text()
                or f"name: {server.name}" in path.read_text()]  # fmt: skip
    assert expected
    assert _mcp_dialects.read(client, path.read_text()) == expected
    assert path in _mcp_dialects.files(client, tmp_path, "linux")
    absent = [plan for plan in plans(tmp_path, clients=(client,), present=False) if plan.path == path]
    assert [(plan.text, plan.action) for plan in absent] == [(None, "removed")]
    present = [plan for plan in plans(tmp_path, clients=(client,)) if plan.path == path]
    assert [plan.action for plan in present] == ["unchanged"]


def test_the_module_offers_every_client_of_the_table() -> None:
    assert list(CLIENTS) == mcp_config.CLIENTS
    assert all(row.source and set(row.user) == {"linux", "macos", "windows"} for row in CLIENTS.values())
    assert all(bool(row.http) != bool(row.http_reason) for row in CLIENTS.values())


MAC, WIN = "Library/Application Support", "AppData/Roaming"
PLACES = [
    ("claude_code", "macos", [".claude.json"]),
    ("claude_desktop", "macos", [f"{MAC}/Claude/claude_desktop_config.json"]),
    ("claude_desktop", "windows", [f"{WIN}/Claude/claude_desktop_config.json"]),
    ("vscode", "linux", [".config/Code/User/mcp.json"]),
    ("vscode", "macos", [f"{MAC}/Code/User/mcp.json"]),
    ("vscode", "windows", [f"{WIN}/Code/User/mcp.json"]),
    ("zed", "macos", [".config/zed/settings.json"]),
    ("zed", "windows", [f"{WIN}/Zed/settings.json"]),
    ("windsurf", "macos", [".config/devin/mcp_config.json"]),
    ("windsurf", "windows", [f"{WIN}/devin/mcp_config.json"]),
    ("cline", "macos", [f"{MAC}/Code/User/globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"]),
    ("codex", "windows", [".codex/config.toml"]),
    ("gemini", "windows", [".gemini/settings.json"]),
    ("cursor", "windows", [".cursor/mcp.json"]),
    ("continue_json", "windows", [".continue/mcpServers/twisterlab.json"]),
    ("continue_legacy", "macos", [".continue/config.json"]),
    ("continue", "linux", []),
]


@pytest.mark.parametrize(("client", "os_name", "paths"), PLACES)
def test_places(tmp_path: Path, client: str, os_name: str, paths: list[str]) -> None:
    assert _mcp_dialects.files(client, tmp_path, os_name) == [tmp_path / path for path in paths]


def test_both_files_of_an_installed_claude_package(tmp_path: Path) -> None:
    package = tmp_path / "AppData/Local/Packages/Claude_pzs8sxrjxfjjc/LocalCache/Roaming/Claude"
    package.mkdir(parents=True)
    found = _mcp_dialects.files("claude_desktop", tmp_path, "windows")
    assert found == [
        tmp_path / "AppData/Roaming/Claude/claude_desktop_config.json",
        package / "claude_desktop_config.json",
    ]
    assert [plan.action for plan in plans(tmp_path, clients=("claude_desktop",), os_name="windows")] == ["created"] * 2


def test_the_old_windsurf_only_where_the_new_one_is_not(tmp_path: Path) -> None:
    (tmp_path / ".codeium/windsurf").mkdir(parents=True)
    old = _mcp_dialects.files("windsurf", tmp_path, "linux")
    assert old == [tmp_path / ".codeium/windsurf/mcp_config.json"]
    text = plans(tmp_path, clients=("windsurf",))[0].text or ""
    assert '"serverUrl": "https://t.local/mcp"' in text
    assert _mcp_dialects.read("windsurf", text) == [STDIO, HTTP]
    (tmp_path / ".config/devin").mkdir(parents=True)
    assert _mcp_dialects.files("windsurf", tmp_path, "linux") == [tmp_path / ".config/devin/mcp_config.json"]


def test_the_file_of_clines_command_line_where_it_is_in_use(tmp_path: Path) -> None:
    (tmp_path / ".cline").mkdir()
    assert _mcp_dialects.files("cline", tmp_path, "linux")[1:] == [
        tmp_path / ".cline/data/settings/cline_mcp_settings.json"
    ]


PROJECT = {
    "continue": [], "continue_json": [".continue/mcpServers/twisterlab.json"], "claude_code": [".mcp.json"],
    "vscode": [".vscode/mcp.json"], "cursor": [".cursor/mcp.json"], "zed": [".zed/settings.json"],
    "windsurf": [".devin/mcp_config.json"], "codex": [".codex/config.toml"], "gemini": [".gemini/settings.json"],
}  # fmt: skip


@pytest.mark.parametrize("client", list(CLIENTS))
def test_files_of_a_project(tmp_path: Path, client: str) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    found = _mcp_dialects.files(client, home, "linux", str(project))
    if client in PROJECT:
        assert found == [project / path for path in PROJECT[client]]
    else:
        assert found == _mcp_dialects.files(client, home, "linux")


def test_one_file_a_server_is_found_again(tmp_path: Path) -> None:
    folder = tmp_path / ".continue/mcpServers"
    folder.mkdir(parents=True)
    for name in ("b.yaml", "a.yaml", "c.json"):
        (folder / name).write_text("")
    assert _mcp_dialects.files("continue", tmp_path, "linux") == [folder / "a.yaml", folder / "b.yaml"]


UNSAID = [
    ("claude_desktop", HTTP, "Settings > Connectors"),
    ("continue_legacy", HTTP, "starts commands only"),
    ("continue_json", HTTP, "cannot take the secret TOKEN of tw-http by reference"),
    ("zed", HTTP, "cannot take the secret TOKEN of tw-http by reference"),
    ("zed", Server("s", ("c",), {"A": "${TOKEN}"}), "cannot take the secret TOKEN of s by reference"),
    ("claude_desktop", Server("s", ("c",), {"A": "${TOKEN}"}), "cannot take the secret TOKEN of s by reference"),
    ("codex", Server("s", ("c",), {"A": "${TOKEN}"}), "cannot take the secret TOKEN of s by reference"),
    ("codex", Server("s", url="https://h", headers={"X-Key": "k ${TOKEN}"}), "cannot take the secret TOKEN"),
]


@pytest.mark.parametrize(("client", "server", "sentence"), UNSAID)
def test_what_a_client_cannot_say(client: str, server: Server, sentence: str) -> None:
    with pytest.raises(_mcp_dialects.Unsaid, match=sentence.replace("(", "\\(")):
        _mcp_dialects.entry(CLIENTS[client], server)
    if server.url and CLIENTS[client].http:
        assert "v-a-l" in str(_mcp_dialects.entry(CLIENTS[client], server, {"TOKEN": "v-a-l"}))


def test_codex_names_what_it_passes_on() -> None:
    server = Server("s", ("c",), {"TOKEN": "${TOKEN}", "A": "b"})
    assert _mcp_dialects.entry(CLIENTS["codex"], server) == {
        "command": "c", "args": [], "env": {"A": "b"}, "env_vars": ["TOKEN"],
    }  # fmt: skip
    http = Server("s", url="https://h", headers={"X-A": "${A}", "X-B": "b"})
    assert _mcp_dialects.entry(CLIENTS["codex"], http) == {
        "url": "https://h", "http_headers": {"X-B": "b"}, "env_http_headers": {"X-A": "A"},
    }  # fmt: skip


READ = [
    ("claude_code", '{"mcpServers": {"a": {"command": "c"}}}', [Server("a", ("c",))]),
    ("claude_code", '{"mcpServers": {"a": {"type": "sse", "url": "http://h"}, "b": 1, "c": {}, "d": {"command": ["c"]}}}', []),
    ("claude_code", "{}", []),
    ("claude_code", "", []),
    ("vscode", '{"mcpServers": {"a": {"command": "c"}}}', []),
    ("vscode", '{"servers": {"a": {"url": "http://h", "headers": {"A": "Bearer ${input:X}"}, },}} // c',
     [Server("a", url="http://h", headers={"A": "Bearer ${X}"})]),
    ("cline", '{"mcpServers": {"a": {"url": "http://h"}}}', []),
    ("cline", '{"mcpServers": {"a": {"transport": {"type": "streamableHttp", "url": "http://h"}}}}', [Server("a", url="http://h")]),
    ("cline", '{"mcpServers": {"a": {"command": "c", "env": {"A": "${env:B}", "N": 1}}}}', [Server("a", ("c",), {"A": "${B}", "N": "1"})]),
    ("gemini", '{"mcpServers": {"a": {"url": "http://sse"}, "b": {"httpUrl": "http://h", "headers": {"A": "$B-${C}"}}}}',
     [Server("b", url="http://h", headers={"A": "${B}-${C}"})]),
    ("continue", "mcpServers:\n- {name: a, url: http://h, requestOptions: {headers: {A: '${{secrets.B}}'}}}\n- b\n",
     [Server("a", url="http://h", headers={"A": "${B}"})]),
    ("continue", "mcpServers:\n", []),
    ("continue_legacy", '{"mcpServers": {"a": {"command": "c"}}}', []),
    ("continue_legacy", '{"experimental": {"modelContextProtocolServers": [{"name": "a", "transport": {"type": "stdio", "command": "c"}}]}}',
     [Server("a", ("c",))]),
    ("codex", '[mcp_servers.a]\ncommand = "c"\nenv_vars = ["A"]\n[mcp_servers.a.env]\nB = "c"\n', [Server("a", ("c",), {"B": "c", "A": "${A}"})]),
    ("codex", '[mcp_servers.a]\nurl = "http://h"\nenv_http_headers = { A = "B" }\n', [Server("a", url="http://h", headers={"A": "${B}"})]),
    ("windsurf", '{"mcpServers": {"a": {"serverUrl": "http://h"}}}', [Server("a", url="http://h")]),
]  # fmt: skip


@pytest.mark.parametrize(("client", "text", "servers"), READ)
def test_reading_what_people_write(client: str, text: str, servers: list[Server]) -> None:
    assert _mcp_dialects.read(client, text) == servers


def test_reading_no_file_of_a_client() -> None:
    with pytest.raises(_mcp_edit_plan.Malformed, match="line 1"):
        _mcp_dialects.read("cursor", "{")
    with pytest.raises(Refused, match="'emacs' is no client that this collection knows: use one of continue, "):
        _mcp_dialects.read("emacs", "{}")
    with pytest.raises(Refused, match="'plan9' is no operating system here"):
        _mcp_dialects.files("cursor", Path("/h"), "plan9")


INVALID = [
    (
        Server("a b", ("c",)),
        "'a b' is no name for an MCP server: use 1 to 64 letters, digits, hyphens and underscores.",
    ),
    (Server("../x", ("c",)), "is no name for an MCP server"),
    (Server("a" * 65, ("c",)), "is no name for an MCP server"),
    (Server("a"), "needs either a command or an url"),
    (Server("a", ("c",), url="http://h"), "needs either a command or an url"),
    (Server("a", url="ftp://h"), "is no http or https address"),
    (Server("a", url="http://u:p@h/"), "no password in its url"),
    (Server("a", url="http://h", env={"A": "b"}), "takes no env"),
    (Server("a", ("c",), headers={"A": "b"}), "takes no headers"),
    (Server("a", (" ", "c")), "starts with an empty word"),
    (Server("a", ("c", "x\ny")), "a line break or a control character"),
    (Server("a", ("c",), {"A": "\u2028"}), "a line break or a control character"),
    (Server("a", ("c", "${TOKEN}")), "refers to a secret in its command or url"),
    (Server("a", url="http://h/${TOKEN}"), "refers to a secret in its command or url"),
    (Server("a", ("c",), {"A-B": "c"}), "'A-B' in env of the server a is no name of an environment variable."),
    (
        Server("a", url="http://h", headers={"A B": "c"}),
        "'A B' in headers of the server a is no name of an HTTP header.",
    ),
    (
        Server("a", url="http://h", headers={"Authorization": "Bearer x"}),
        "Authorization of the server a looks like a secret",
    ),
    (Server("a", ("c",), {"DB_PASSWORD": "x"}), "DB_PASSWORD of the server a looks like a secret"),
]


@pytest.mark.parametrize(("server", "sentence"), INVALID)
def test_servers_that_no_client_could_use(server: Server, sentence: str) -> None:
    with pytest.raises(Refused) as error:
        _mcp_dialects.check(server)
    assert sentence in str(error.value)
    assert "Bearer x" not in str(error.value)


def test_the_old_windsurf_is_a_dialect_like_the_others() -> None:
    assert WINDSURF_OLD.place == CLIENTS["windsurf"].place
