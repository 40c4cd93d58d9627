# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/module_utils/_mcp_schemas/ anew from the package that ships the protocol's JSON schemas: `python scripts/mcp_schemas.py`.

The official conformance suite carries the schemas of four revisions as data inside its one JavaScript file. `npm` fetches it (pinned, checked
by npm's integrity hash), `node` reads the data. The first revision, 2024-11-05, is in no package: it is 2025-03-26 without what that added.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = "@modelcontextprotocol/conformance"
VERSION = "0.2.0-alpha.12"
INTEGRITY = "sha512-eXtZFgmtZiU5SsvXty+RGXGnyIqEVm3GLU/HZmg1wMjtKOocPZZgD9HQKd30oJhio5UB0wFJmsc6r8u48Q+EYA=="
TARGET = Path(__file__).resolve().parents[1] / "plugins" / "module_utils" / "_mcp_schemas"
REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
# Finds every object literal that begins with $schema and prints them as one JSON list; literals of data only, evaluated without any global.
READER = r"""
const fs = require('node:fs'), vm = require('node:vm');
const text = fs.readFileSync(process.argv[1], 'utf8'), found = [];
function end(at) {
  for (let depth = 0; ; at++) {
    const c = text[at];
    if (c === '`' || c === '"' || c === "'") { for (at++; text[at] !== c; at++) if (text[at] === '\\') at++; }
    else if (c === '{') depth++;
    else if (c === '}' && --depth === 0) return at + 1;
  }
}
for (const match of text.matchAll(/[\w$]+=(?=\{\$schema:`)/g)) {
  const from = match.index + match[0].length;
  found.push(vm.runInNewContext('(' + text.slice(from, end(from)) + ')'));
}
process.stdout.write(JSON.stringify(found));
"""
HEADER = """\
# SPDX-License-Identifier: GPL-3.0-or-later
\"\"\"JSON schema of the Model Context Protocol's revision {revision}: data of that project (see LICENSE and README.md beside this file).

Written by scripts/mcp_schemas.py; changes here are lost.
\"\"\"

TEXT = r\"\"\"{text}\"\"\"
"""


def fetch(folder: Path) -> Path:
    """Unpack the package; returns its folder.

    Raises:
        SystemExit: it is not the package that was looked at.
    """
    told = subprocess.run(
        ["npm", "pack", "--json", "--pack-destination", str(folder), f"{PACKAGE}@{VERSION}"],
        check=True,
        capture_output=True,
        text=True,
    )
    package = json.loads(told.stdout)
    package = package[0] if isinstance(package, list) else next(iter(package.values()))
    if package["integrity"] != INTEGRITY:
        sys.exit(
            f"{PACKAGE} {VERSION} is {package['integrity']}, not {INTEGRITY}: look at it before you change the constant."
        )
    with tarfile.open(folder / package["filename"]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def without_prose(value: Any) -> Any:
    """The same schema without descriptions; a property called `description` is a schema, not a text, and stays."""
    if isinstance(value, list):
        return [without_prose(item) for item in value]
    if isinstance(value, dict):
        return {
            name: without_prose(item)
            for name, item in value.items()
            if not (name == "description" and isinstance(item, str))
        }
    return value


def first_revision(schema: dict[str, Any]) -> dict[str, Any]:
    """2024-11-05 out of 2025-03-26: without batches, audio, annotations of tools, completions and the message of progress."""
    definitions = json.loads(json.dumps(schema["definitions"]))
    for name in ("JSONRPCBatchRequest", "JSONRPCBatchResponse", "AudioContent", "ToolAnnotations"):
        del definitions[name]
    del definitions["Tool"]["properties"]["annotations"]
    del definitions["ServerCapabilities"]["properties"]["completions"]
    del definitions["ProgressNotification"]["properties"]["params"]["properties"]["message"]
    gone = [
        {"$ref": f"#/definitions/{name}"} for name in ("JSONRPCBatchRequest", "JSONRPCBatchResponse", "AudioContent")
    ]

    def prune(value: Any) -> Any:
        if isinstance(value, list):
            return [prune(item) for item in value if item not in gone]
        return {name: prune(item) for name, item in value.items()} if isinstance(value, dict) else value

    return {"$schema": schema["$schema"], "definitions": prune(definitions)}


def main() -> None:
    """Fetch, read, write."""
    with tempfile.TemporaryDirectory() as name:
        package = fetch(Path(name))
        done = subprocess.run(
            ["node", "-e", READER, str(package / "dist" / "index.js")], check=True, capture_output=True, text=True
        )
        licence = (package / "LICENSE").read_text(encoding="utf-8")
    schemas = dict(zip(REVISIONS, (without_prose(schema) for schema in json.loads(done.stdout)), strict=True))
    schemas["2024-11-05"] = first_revision(schemas["2025-03-26"])
    TARGET.mkdir(exist_ok=True)
    (TARGET / "LICENSE").write_text(licence, encoding="utf-8")
    for revision, schema in sorted(schemas.items()):
        text = json.dumps(schema, separators=(",", ":"), sort_keys=True)
        # Each definition on a line of its own: a later change can be read.
        text = text.replace('},"', '},\n"')
        path = TARGET / f"_{revision.replace('-', '_')}.py"
        path.write_text(HEADER.format(revision=revision, text=text), encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
