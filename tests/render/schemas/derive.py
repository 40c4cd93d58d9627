#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the schemas of the Gateway API's kinds that are rendered, without their descriptions.

Argument: the folder `config/crd/standard` of the Go module sigs.k8s.io/gateway-api, of the version below.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

VERSION = "v1.4.0"
TARGET = Path(__file__).with_name(f"gateway-api-{VERSION}.json")
FILES = ("gateways", "httproutes")
#: What a validator of JSON does not read: texts for people, and rules that only the server evaluates.
LEFT_OUT = ("description", "default")


def strict(schema: Any) -> Any:
    """A schema that admits no unknown key."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, item in schema.items():
        if key == "properties":
            # Their names are no keywords.
            found[key] = {name: strict(child) for name, child in item.items()}
        elif key not in LEFT_OUT and not key.startswith("x-kubernetes-"):
            found[key] = strict(item)
    if found.get("properties") and "additionalProperties" not in found:
        found["additionalProperties"] = False
    return found


def main(folder: Path) -> None:
    """Derive."""
    schemas = {}
    for name in FILES:
        crd = yaml.safe_load((folder / f"gateway.networking.k8s.io_{name}.yaml").read_text(encoding="utf-8"))
        (version,) = [item for item in crd["spec"]["versions"] if item["name"] == "v1"]
        schema = strict(version["schema"]["openAPIV3Schema"])
        # The definition leaves what every object has to the server.
        schema["properties"]["metadata"] = {"type": "object"}
        schemas[crd["spec"]["names"]["kind"]] = schema
    TARGET.write_text(json.dumps(schemas, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
