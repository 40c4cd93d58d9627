# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.mcp_config."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mcp_config
short_description: Write MCP servers into the files of MCP clients
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Puts entries for MCP servers into the configuration files of MCP clients, each in the client's own dialect, or takes them out again. What is not ours stays
    byte for byte - order, comments, trailing commas, indentation and line breaks. Other keys in an entry of ours, such as C(disabled), stay too.
  - All files are read and checked before the first is written. A file that cannot be parsed, holds something else where our entry belongs, leads out of
    O(home) or cannot be read ends the task with one sentence, and none is written.
  - A file that is changed is copied first, to its name with the time and C(~) behind it, and replaced in one step. It keeps its mode and owner; a new file, and
    one in which a secret stands by value, is its owner's alone.
  - With O(state=absent) a file that the module made is removed, and one that was there gets its former bytes back, as far as nobody changed it meanwhile.
    Folders stay.
options:
  clients:
    description:
      - The clients; V(all) is every one of them.
      - V(continue) writes one block a server below C(.continue/mcpServers), which Continue reads beside its C(config.yaml); V(continue_json) writes a JSON block
        there, and V(continue_legacy) Continue's old C(config.json). One of the three is enough.
      - V(windsurf) is Devin Desktop's file, or that of Windsurf where only its old folder exists.
    type: list
    elements: str
    choices:
      - all
      - continue
      - continue_json
      - continue_legacy
      - claude_code
      - claude_desktop
      - vscode
      - cursor
      - zed
      - windsurf
      - cline
      - codex
      - gemini
    default: [continue]
  servers:
    description: The servers. With O(state=absent) their names are enough.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the entry, of letters, digits, hyphens and underscores.
        type: str
        required: true
      command:
        description: Program and arguments of a server that speaks over its standard input and output.
        type: list
        elements: str
        default: []
      env:
        description: Environment of the program. A secret stands in it as C(${NAME}).
        type: dict
        default: {}
      url:
        description: Address of a server that speaks streamable HTTP.
        type: str
        default: ''
      headers:
        description: HTTP headers. A secret stands in them as C(${NAME}).
        type: dict
        default: {}
  home:
    description: The folder that stands for the user's home. The default is that of the user who runs the task. It need not exist.
    type: path
  os:
    description: Operating system whose places apply; V(auto) is that of the host.
    type: str
    choices: [auto, linux, macos, windows]
    default: auto
  project:
    description: A project's folder. Where a client reads a file of its own there, that one is written instead of the user's.
    type: path
    default: ''
  state:
    description: Put the entries in or take them out.
    type: str
    choices: [present, absent]
    default: present
  inline_secrets:
    description: Write the values of O(secrets) into the files instead of references to them in the client's own way.
    type: bool
    default: false
  secrets:
    description: Values of the secrets that the servers refer to, by name. Used only with O(inline_secrets=true).
    type: dict
    default: {}
extends_documentation_fragment:
  - twisterlab.platform.attributes
requirements:
  - python >= 3.11
  - PyYAML >= 5.1
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
  action:
    support: none
"""

EXAMPLES = r"""
- name: Write the file of Continue
  twisterlab.platform.mcp_config:
    servers:
      - name: twisterlab-mcp
        command:
          - kubectl
          - exec
          - -i
          - --namespace=twisterlab
          - deployment/twisterlab-api
          - --container=api
          - --
          - python
          - -u
          - /app/agents/mcp/mcp_server_continue_sync.py

- name: Write the files of all clients below a folder, for a server over HTTP
  twisterlab.platform.mcp_config:
    clients: [all]
    home: "{{ playbook_dir }}/build/clients"
    servers:
      - name: twisterlab-orchestrator
        url: https://twisterlab.local/mcp
        headers:
          Authorization: Bearer ${TWISTERLAB_MCP_TOKEN}

- name: Take it out again
  twisterlab.platform.mcp_config:
    clients: [all]
    home: "{{ playbook_dir }}/build/clients"
    state: absent
    servers:
      - name: twisterlab-orchestrator
"""

RETURN = r"""
msg:
  description: What was done, in one line, or what is wrong and what to do.
  returned: always
  type: str
  sample: "2 files: 1 created, 1 unchanged; skipped: claude_desktop twisterlab-orchestrator"
files:
  description: The files, one entry each.
  returned: success
  type: list
  elements: dict
  sample:
    - client: cursor
      path: /home/ada/.cursor/mcp.json
      changed: true
      action: updated
      backup: /home/ada/.cursor/mcp.json.20261124T160000~
      skipped: []
    - client: claude_desktop
      path: /home/ada/.config/Claude/claude_desktop_config.json
      changed: false
      action: absent
      backup: ''
      skipped:
        - server: twisterlab-orchestrator
          reason: "Claude Desktop takes servers over HTTP only in its settings: add the address under Settings > Connectors."
"""

import os
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_edit_files, _mcp_edit_plan
except ImportError as error:  # PyYAML on the host
    if error.name != "yaml":
        raise
    YAML_MISSING = True
else:
    YAML_MISSING = False
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_server import OPTIONS, of_options, texts

SYSTEMS = {"Linux": "linux", "Darwin": "macos", "Windows": "windows"}
CLIENTS = [
    "continue", "continue_json", "continue_legacy", "claude_code", "claude_desktop", "vscode", "cursor", "zed", "windsurf",
    "cline", "codex", "gemini",
]  # fmt: skip


def argument_spec() -> dict[str, Any]:
    """The module's options."""
    return {
        "clients": {"type": "list", "elements": "str", "choices": ["all", *CLIENTS], "default": ["continue"]},
        "servers": {"type": "list", "elements": "dict", "required": True, "options": OPTIONS},
        "home": {"type": "path"},
        "os": {"type": "str", "choices": ["auto", "linux", "macos", "windows"], "default": "auto"},
        "project": {"type": "path", "default": ""},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "inline_secrets": {"type": "bool", "default": False},
        "secrets": {"type": "dict", "default": {}, "no_log": True},
    }


def home_of(given: str | None) -> Path:
    """The folder that stands for the user's home; symlinks are followed later."""
    try:
        return Path(os.path.abspath(given or Path.home()))  # noqa: PTH100
    except RuntimeError:
        raise Refused("Whoever runs this has no home folder here; set mcp_config_home (the option home).") from None


def order(params: dict[str, Any]) -> _mcp_edit_plan.Order:
    """What the options ask for."""
    return _mcp_edit_plan.Order(
        clients=_mcp_edit_plan.resolve_clients(params["clients"]),
        servers=tuple(map(of_options, params["servers"])),
        home=home_of(params["home"]),
        os_name=SYSTEMS.get(platform.system(), "linux") if params["os"] == "auto" else params["os"],
        project=os.path.abspath(params["project"]) if params["project"] else "",  # noqa: PTH100
        present=params["state"] == "present",
        secrets=texts(params["secrets"]) if params["inline_secrets"] else None,
    )


def summary(plans: list[_mcp_edit_plan.Plan]) -> str:
    """One line for a person."""
    counts = Counter(plan.action for plan in plans)
    told = ", ".join(
        f"{counts[word]} {word}" for word in ("created", "updated", "removed", "unchanged", "absent") if counts[word]
    )
    skipped = list(dict.fromkeys(f"{plan.client} {server}" for plan in plans for server, _ in plan.skipped))
    files = f"{len(plans)} file{'' if len(plans) == 1 else 's'}"
    return f"{files}: {told or 'nothing to do'}" + (f"; skipped: {', '.join(skipped)}" if skipped else "")


def continue_reads_no_blocks(wanted: _mcp_edit_plan.Order) -> bool:
    """Whether the block that was written is one that Continue does not read, and no other of its files was asked for."""
    folder = wanted.home / ".continue"
    alone = "continue" in wanted.clients and not {"continue_json", "continue_legacy"} & set(wanted.clients)
    return alone and (folder / "config.json").is_file() and not (folder / "config.yaml").is_file()


def difference(plan: _mcp_edit_plan.Plan) -> dict[str, str]:
    """Our entries before and after, as `--diff` shows them."""
    import yaml

    def shown(entries: dict[str, Any]) -> str:
        return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True, width=1000) if entries else ""

    return {
        "before": shown(plan.before),
        "after": shown(plan.after),
        "before_header": f"{plan.path} (entries of ours)",
        "after_header": f"{plan.path} (entries of ours)",
    }


def main() -> None:
    """Plan, then write."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    if YAML_MISSING:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    try:
        wanted = order(module.params)
        _mcp_edit_plan.validate(wanted)
        if not module.check_mode and wanted.present:
            _mcp_edit_files.make_folder(wanted.home)
        with _mcp_edit_files.alone(wanted.roots):
            plans = _mcp_edit_plan.make(wanted)
            if not module.check_mode:
                _mcp_edit_plan.carry_out(plans)
    except PlatformError as error:
        module.fail_json(msg=str(error))
    if wanted.present and continue_reads_no_blocks(wanted):
        module.warn(
            f"{wanted.home / '.continue/config.json'} is in use without a config.yaml, where Continue reads no YAML blocks: "
            "give the client continue_json too, or let Continue make a config.yaml."
        )
    module.exit_json(
        changed=any(plan.changed for plan in plans),
        msg=summary(plans),
        files=[
            {
                "client": plan.client,
                "path": str(plan.path),
                "changed": plan.changed,
                "action": plan.action,
                "backup": str(plan.backup or ""),
                "skipped": [{"server": server, "reason": reason} for server, reason in plan.skipped],
            }
            for plan in plans
        ],
        diff=[difference(plan) for plan in plans if plan.changed],
    )


if __name__ == "__main__":
    main()
