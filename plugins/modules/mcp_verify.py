# SPDX-License-Identifier: GPL-3.0-or-later
"""Module twisterlab.platform.mcp_verify; the action plugin of the same name repeats it and shows a line a step."""

from __future__ import annotations

DOCUMENTATION = r"""
module: mcp_verify
short_description: Launch MCP servers exactly as a client's file says, and prove that they do what they say
version_added: 0.1.0
author:
  - The twisterlab.platform founders
description:
  - Reads a client's file back, starts each server of ours in it (or reaches it over HTTP) and holds the conversation that a client of each era holds.
    Checked are the handshake, name and version, the list of tools and their schemas, a call whose trace is read back without asking the server, a call that must
    fail and must say so, the purity of stdout, the end with its input, and every message against the protocol's JSON schema of the revision spoken.
  - A server that reports a success which did not happen fails with a sentence that says so.
  - The trace is a ticket. Its row is read from Postgres inside the pod behind the Service C(postgres) or, where the database is outside the cluster, through the API. The ticket's
    text starts with C(verify mcp), and the ticket is resolved at the end.
  - A reference to a secret such as C(${TWISTERLAB_MCP_TOKEN}) gets its value from the environment of the module or from the Secret C(twisterlab-secrets).
options:
  namespace:
    description: Namespace of the stack.
    type: str
    default: twisterlab
  client:
    description: Whose file is read. V(all), with O(home), is every client's there, each distinct server once.
    type: str
    choices: [all, continue, continue_json, continue_legacy, claude_code, claude_desktop, vscode, cursor, zed, windsurf, cline, codex, gemini]
    default: continue
  path:
    description: The client's file.
    type: path
  home:
    description: Instead of O(path), the folder that stands for the user's home; the client's own files below it are read.
    type: path
  server:
    description: Instead of a file, one server as its entry would be.
    type: dict
    suboptions:
      name:
        description: Name of the entry.
        type: str
        required: true
      command:
        description: Program and arguments, for stdio.
        type: list
        elements: str
        default: []
      env:
        description: Variables of the program.
        type: dict
        default: {}
      url:
        description: Address, for streamable HTTP.
        type: str
        default: ''
      headers:
        description: HTTP headers.
        type: dict
        default: {}
  os:
    description: Operating system whose places apply below O(home); V(auto) is that of the host.
    type: str
    choices: [auto, linux, macos, windows]
    default: auto
  project:
    description: A project's folder. Where a client reads a file of its own there, that one is read instead of the user's.
    type: path
    default: ''
  names:
    description:
      - The entries to verify. Empty means each whose name starts with C(twisterlab).
      - One that the client's file cannot hold is shown as skipped, with the reason; any other that is missing is a failure.
    type: list
    elements: str
    default: []
  via:
    description:
      - V(file) starts what the file says on this machine, and uses the URL as it is.
      - V(api) needs neither kubectl nor an ingress. It takes pod, container and program from the entry's C(kubectl exec) and runs them over the
        Kubernetes API's exec stream; HTTP goes through a port-forward to the Service that the first label of the URL's host names.
    type: str
    choices: [file, api]
    default: file
  service:
    description: C(name:port) of the Service behind an HTTP entry, where its URL does not say it. Only with O(via=api).
    type: str
    default: ''
  eras:
    description: Whose conversation is held. V(modern) is revision 2026-07-28, V(legacy) is 2025-11-25; an older revision stands for itself.
    type: list
    elements: str
    choices: [modern, legacy, '2024-11-05', '2025-03-26', '2025-06-18']
    default: [modern, legacy]
  trace:
    description: Whether to call the tool that leaves a trace, and to read the trace back. Never in check mode.
    type: bool
    default: true
  timeout:
    description: Seconds that one step may take.
    type: float
    default: 30
  ca_file:
    description: File of the authorities to trust beside those of the system, for HTTPS.
    type: path
  probe:
    description: Only ask whether O(target) has our stdio server; nothing fails when it has not.
    type: bool
    default: false
  target:
    description: Pod or workload to probe.
    type: str
    default: deployment/twisterlab-api
  container:
    description: Container to probe.
    type: str
    default: api
  conclude:
    description: Whether a failed step fails the task. With V(false) only RV(checks) says so. Read by the action plugin.
    type: bool
    default: true
  turn:
    description: Which pair of server and era to verify, counted from 0; -1 for all. Set by the action plugin.
    type: int
    default: -1
extends_documentation_fragment:
  - twisterlab.platform.cluster
  - twisterlab.platform.attributes
  - kubernetes.core.k8s_auth_options
requirements:
  - jsonschema >= 4.20
attributes:
  check_mode:
    description: Launches and questions the servers, but calls nothing that leaves a trace.
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
  action:
    support: full
"""

EXAMPLES = r"""
- name: Prove what the Continue file says
  twisterlab.platform.mcp_verify:
    client: continue
    home: "{{ lookup('ansible.builtin.env', 'HOME') }}"

- name: The same without kubectl, as AWX does it
  twisterlab.platform.mcp_verify:
    client: continue
    home: "{{ lookup('ansible.builtin.env', 'HOME') }}"
    names: [twisterlab-mcp]
    via: api

- name: A server that stands in no file
  twisterlab.platform.mcp_verify:
    server:
      name: twisterlab-orchestrator
      url: http://mcp-orchestrator:8080/mcp
      headers:
        Authorization: Bearer ${TWISTERLAB_MCP_TOKEN}
    via: api
    eras: [modern]
"""

RETURN = r"""
msg:
  description: A summary or, with a failure, a sentence for everything that is wrong.
  returned: always
  type: str
  sample: "twisterlab-mcp (stdio, modern): call: twisterlab-mcp says that it stored ticket 42, but Postgres has no such row: the server reports success that did not happen"
steps:
  description: Everything that was looked at.
  returned: unless O(probe)
  type: list
  elements: dict
  sample:
    - server: twisterlab-mcp
      transport: stdio
      era: modern
      step: handshake
      state: ok
      seconds: 0.41
      evidence: twisterlab-mcp-continue 2.1.0
checks:
  description: The steps in the shape that every verification has.
  returned: with O(conclude=false)
  type: list
  elements: dict
  sample:
    - name: "twisterlab-mcp (stdio, modern): handshake"
      tag: mcp
      state: ok
      seconds: 0.41
      evidence: twisterlab-mcp-continue 2.1.0
server_info:
  description: What the probed target says of itself; empty when it has no such server, RV(msg) says why.
  returned: with O(probe)
  type: dict
  sample: {name: twisterlab-mcp-continue, version: 2.1.0}
ours:
  description: Whether that is our stdio server in its present version.
  returned: with O(probe)
  type: bool
  sample: true
"""

import functools
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.twisterlab.platform.plugins.module_utils import _kube, _mcp_entries, _mcp_launch, _mcp_schema
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_clients import CLIENTS
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_server import OPTIONS, Server, of_options
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_verify import FAILED

# A header may hold a secret by value.
GIVEN = {**OPTIONS, "headers": {**OPTIONS["headers"], "no_log": True}}


def servers(params: dict[str, Any]) -> tuple[list[Server], list[str]]:
    """The servers to verify, and what there is to say about them."""
    given = params["server"]
    if given:
        return [of_options(given)], []
    rest = (params["names"], params["os"], params["project"] or "")
    if params["client"] != "all":
        return _mcp_entries.of_one(params["client"], params["path"] or "", params["home"] or "", *rest)
    if not params["home"]:
        raise Refused("client: all needs home, the folder below which every client has its file.")
    return _mcp_entries.of_everybody(params["home"], *rest)


def main() -> None:
    """Verify, or probe."""
    module = AnsibleModule(
        argument_spec=_kube.argument_spec(
            namespace={"type": "str", "default": "twisterlab"},
            client={"type": "str", "choices": ["all", *CLIENTS], "default": "continue"},
            path={"type": "path"},
            home={"type": "path"},
            server={"type": "dict", "options": GIVEN},
            os={"type": "str", "choices": ["auto", "linux", "macos", "windows"], "default": "auto"},
            project={"type": "path", "default": ""},
            names={"type": "list", "elements": "str", "default": []},
            via={"type": "str", "choices": ["file", "api"], "default": "file"},
            service={"type": "str", "default": ""},
            eras={
                "type": "list",
                "elements": "str",
                "choices": ["modern", "legacy", *_mcp_schema.REVISIONS[:-2]],
                "default": ["modern", "legacy"],
            },
            trace={"type": "bool", "default": True},
            timeout={"type": "float", "default": 30.0},
            ca_file={"type": "path"},
            probe={"type": "bool", "default": False},
            target={"type": "str", "default": "deployment/twisterlab-api"},
            container={"type": "str", "default": "api"},
            conclude={"type": "bool", "default": True},
            turn={"type": "int", "default": -1},
        ),
        mutually_exclusive=[("path", "home", "server")],
        required_if=[("probe", False, ("path", "home", "server"), True)],
        supports_check_mode=True,
    )
    if _kube.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=_kube.IMPORT_ERROR)
    if _mcp_schema.IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("jsonschema"), exception=_mcp_schema.IMPORT_ERROR)
    _kube.hide(module)
    params = module.params
    cluster = functools.cache(lambda: _kube.Cluster(params))
    namespace = params["namespace"]
    try:
        if params["probe"]:
            info, told = _mcp_launch.server_info(
                cluster(), namespace, params["target"], params["container"], params["timeout"]
            )
            module.exit_json(changed=False, server_info=info or {}, ours=_mcp_launch.ours(info), msg=told)
        if not params["eras"]:
            raise Refused("eras is empty, so nothing would be verified; leave it out, or name modern or legacy.")
        found, told = servers(params)
        names = list(dict.fromkeys(name for server in found for name in server.references))
        values = _mcp_launch.secrets(names, os.environ, cluster, namespace)
        hidden = _mcp_launch.confidential(found, values.values())
        module.no_log_values.update(hidden)
        launcher = _mcp_launch.Launcher(
            cluster,
            namespace,
            params["via"],
            params["timeout"],
            values,
            _mcp_launch.hider(hidden),
            params["service"],
            str(Path(params["ca_file"]).expanduser()) if params["ca_file"] else "",
            params["trace"] and not module.check_mode,
        )
        pairs = [(server, era) for server in found for era in params["eras"]]
        turns = pairs if params["turn"] < 0 else pairs[params["turn"] : params["turn"] + 1]
        steps = [step for server, era in turns for step in launcher.verify(server, era)]
    except PlatformError as error:
        module.fail_json(msg=str(error), steps=[])
    result = {
        "msg": _mcp_launch.report(steps),
        "steps": [step.data() for step in steps],
        "lines": [*(told if params["turn"] <= 0 else []), *_mcp_launch.lines(steps)],
        "pairs": len(pairs),
    }
    if any(step.state == FAILED for step in steps):
        module.fail_json(changed=False, **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
