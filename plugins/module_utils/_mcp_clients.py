# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients' dialects as data: which file, where our entries stand in it, how an entry and a secret's reference are spelled.

In an entry's spelling `@command`, `@args`, `@env`, `@url`, `@headers` and `@name` stand for the server's fields; an empty
field leaves its key out. `*` in a path is a glob, `@name` the server's name (one file a server).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_STDIO = {"command": "@command", "args": "@args", "env": "@env"}
_BOTH = frozenset({"env", "headers"})


@dataclass(frozen=True)
class Client:
    """One row of the table.

    Attributes:
        name: the name that a user gives.
        title: the name in sentences.
        format: `json` (strict), `jsonc`, `yaml` or `toml`.
        user: per operating system (`linux`, `macos`, `windows`) the files below the home folder.
        project: the file below a project's folder; empty where the client has none.
        place: keys from the document's root to the container of entries.
        listed: the container is a list of entries that carry their name, not a map of names.
        single: the file holds exactly one entry.
        stdio: spelling of an entry that starts a command.
        http: spelling of an entry with an address; empty where the file cannot say it.
        http_reason: one sentence, why not.
        reference: spelling of a secret's reference, `%s` being its name; empty where there is none.
        reference_in: the fields in which the client resolves it.
        source: where this is documented.
    """

    name: str
    title: str
    format: str
    user: Mapping[str, tuple[str, ...]]
    place: tuple[str, ...]
    stdio: Mapping[str, Any]
    source: str
    http: Mapping[str, Any] = field(default_factory=dict)
    http_reason: str = ""
    project: str = ""
    listed: bool = False
    single: bool = False
    reference: str = ""
    reference_in: frozenset[str] = _BOTH


def _everywhere(*paths: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(("linux", "macos", "windows"), paths)


def _code_user(file: str, *others: str) -> dict[str, tuple[str, ...]]:
    """Paths below VS Code's user folder."""
    return {
        "linux": (f".config/Code/User/{file}", *others),
        "macos": (f"Library/Application Support/Code/User/{file}", *others),
        "windows": (f"AppData/Roaming/Code/User/{file}", *others),
    }


_ROWS = (
    Client(
        # A block of its own, not config.yaml: Continue reads it beside config.yaml and hub assistants, it cannot shadow a
        # config.json (a new config.yaml would: yaml wins), and it may hold one server only (blockSchema: length 1).
        name="continue",
        title="Continue",
        format="yaml",
        user=_everywhere(".continue/mcpServers/@name.yaml"),
        project=".continue/mcpServers/@name.yaml",
        place=("mcpServers",),
        listed=True,
        single=True,
        stdio={"name": "@name", "type": "stdio", **_STDIO},
        http={
            "name": "@name",
            "type": "streamable-http",
            "url": "@url",
            "requestOptions": {"headers": "@headers"},
        },
        reference="${{ secrets.%s }}",
        source=(
            "continuedev/continue packages/config-yaml/src/schemas/index.ts (blockSchema), schemas/mcp/index.ts; "
            "core/config/yaml/loadYaml.ts (blocks of ~/.continue and of the workspace), LocalPlatformClient.ts (secrets: "
            "~/.continue/.env, the workspace's .env, the environment)"
        ),
    ),
    Client(
        name="continue_json",
        title="Continue (JSON block)",
        format="jsonc",
        user=_everywhere(".continue/mcpServers/twisterlab.json"),
        project=".continue/mcpServers/twisterlab.json",
        place=("mcpServers",),
        stdio={"type": "stdio", **_STDIO},
        http={"type": "http", "url": "@url", "headers": "@headers"},
        reference="${%s}",
        reference_in=frozenset({"env"}),  # convertJson.ts converts env and copies headers as they are
        source="continuedev/continue core/context/mcp/json/loadJsonMcpConfigs.ts, packages/config-yaml/src/schemas/mcp/convertJson.ts",
    ),
    Client(
        name="continue_legacy",
        title="Continue (config.json)",
        format="jsonc",
        user=_everywhere(".continue/config.json"),
        place=("experimental", "modelContextProtocolServers"),
        listed=True,
        stdio={"transport": {"type": "stdio", "name": "@name", **_STDIO}},
        http_reason="Continue's config.json starts commands only: take the client continue for servers over HTTP.",
        source="continuedev/continue core/config/load.ts (a top-level mcpServers is ignored; `name` comes from the transport)",
    ),
    Client(
        name="claude_code",
        title="Claude Code",
        format="json",
        user=_everywhere(".claude.json"),
        project=".mcp.json",
        place=("mcpServers",),
        stdio={"type": "stdio", **_STDIO},
        http={"type": "http", "url": "@url", "headers": "@headers"},
        reference="${%s}",
        source="code.claude.com/docs/en/mcp (scopes, environment variable expansion)",
    ),
    Client(
        name="claude_desktop",
        title="Claude Desktop",
        format="json",
        user={
            "linux": (".config/Claude/claude_desktop_config.json",),
            "macos": ("Library/Application Support/Claude/claude_desktop_config.json",),
            "windows": (
                "AppData/Roaming/Claude/claude_desktop_config.json",
                "AppData/Local/Packages/Claude_*/LocalCache/Roaming/Claude/claude_desktop_config.json",
            ),
        },
        place=("mcpServers",),
        stdio=_STDIO,
        http_reason="Claude Desktop takes servers over HTTP only in its settings: add the address under Settings > Connectors.",
        source="anthropics/claude-code#26073, hannesill/m4#54 (MSIX path), webflow/mcp-server#73 (no address in the file)",
    ),
    Client(
        name="vscode",
        title="VS Code",
        format="jsonc",
        user=_code_user("mcp.json"),
        project=".vscode/mcp.json",
        place=("servers",),
        stdio={"type": "stdio", **_STDIO},
        http={"type": "http", "url": "@url", "headers": "@headers"},
        reference="${input:%s}",  # ${env:...} is not resolved in headers: microsoft/vscode#336232
        source="code.visualstudio.com/docs/copilot/reference/mcp-configuration",
    ),
    Client(
        name="cursor",
        title="Cursor",
        format="jsonc",
        user=_everywhere(".cursor/mcp.json"),
        project=".cursor/mcp.json",
        place=("mcpServers",),
        stdio=_STDIO,
        http={"url": "@url", "headers": "@headers"},
        reference="${env:%s}",
        source="cursor.com/docs/mcp (config interpolation)",
    ),
    Client(
        name="zed",
        title="Zed",
        format="jsonc",
        user={
            "linux": (".config/zed/settings.json",),
            "macos": (".config/zed/settings.json",),
            "windows": ("AppData/Roaming/Zed/settings.json",),
        },
        project=".zed/settings.json",
        place=("context_servers",),
        stdio=_STDIO,
        http={"url": "@url", "headers": "@headers"},
        source="zed.dev/docs/ai/mcp, zed.dev/docs/configuring-zed; zed-industries/zed#60459 (no reference is resolved)",
    ),
    Client(
        name="windsurf",
        title="Windsurf (Devin Desktop)",
        format="jsonc",
        user={
            "linux": (".config/devin/mcp_config.json",),
            "macos": (".config/devin/mcp_config.json",),
            "windows": ("AppData/Roaming/devin/mcp_config.json",),
        },
        project=".devin/mcp_config.json",
        place=("mcpServers",),
        stdio=_STDIO,
        http={"url": "@url", "transport": "http", "headers": "@headers"},
        reference="${env:%s}",
        source="docs.devin.ai/cli/extensibility/mcp/configuration; awslabs/aidlc-workflows#996 (references)",
    ),
    Client(
        name="cline",
        title="Cline",
        format="json",
        user=_code_user(
            "globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json",
            ".cline/data/settings/cline_mcp_settings.json",
        ),
        place=("mcpServers",),
        stdio={"type": "stdio", **_STDIO},
        http={"type": "streamableHttp", "url": "@url", "headers": "@headers"},  # an address without a type is SSE
        reference="${env:%s}",
        source="cline/cline apps/vscode/src/services/mcp/schemas.ts, McpHub.ts (expandEnvironmentVariables)",
    ),
    Client(
        name="codex",
        title="Codex",
        format="toml",
        user=_everywhere(".codex/config.toml"),
        project=".codex/config.toml",
        place=("mcp_servers",),
        stdio=_STDIO,
        http={"url": "@url", "http_headers": "@headers"},
        reference="%s",  # by name in env_vars, env_http_headers and bearer_token_env_var
        source="openai/codex codex-rs/config/src/mcp_types.rs (RawMcpServerConfig); openai/codex#28654 (names)",
    ),
    Client(
        name="gemini",
        title="Gemini CLI",
        format="jsonc",
        user=_everywhere(".gemini/settings.json"),
        project=".gemini/settings.json",
        place=("mcpServers",),
        stdio=_STDIO,
        http={"httpUrl": "@url", "headers": "@headers"},
        reference="${%s}",
        source="google-gemini/gemini-cli docs/tools/mcp-server.md",
    ),
)

# Windsurf before it became Devin Desktop in June 2026: another folder and another key for the address.
WINDSURF_FOLDER = ".codeium/windsurf"
WINDSURF_OLD = Client(
    name="windsurf",
    title="Windsurf",
    format="jsonc",
    user=_everywhere(f"{WINDSURF_FOLDER}/mcp_config.json"),
    place=("mcpServers",),
    stdio=_STDIO,
    http={"serverUrl": "@url", "headers": "@headers"},
    reference="${env:%s}",
    source="docs.browserless.io/mcp/clients/windsurf, userjot.com/docs/mcp-windsurf",
)

CLIENTS: dict[str, Client] = {row.name: row for row in _ROWS}
