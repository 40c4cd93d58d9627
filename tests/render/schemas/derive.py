#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the schemas of kinds that are rendered and are not the API's own, without their descriptions.

Arguments: a name of SOURCES, and the folder of the definitions in the Go module of that version.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

#: The definitions by the name of the file that is written.
SOURCES = {
    # config/crd/standard of sigs.k8s.io/gateway-api
    "gateway-api-v1.4.0": ("gateway.networking.k8s.io_gateways", "gateway.networking.k8s.io_httproutes"),
    # config/crd/bases of github.com/cloudnative-pg/cloudnative-pg
    "cloudnative-pg-v1.30.0": ("postgresql.cnpg.io_clusters",),
}
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


def main(name: str, folder: Path) -> None:
    """Derive."""
    schemas = {}
    for file in SOURCES[name]:
        crd = yaml.safe_load((folder / f"{file}.yaml").read_text(encoding="utf-8"))
        (version,) = [item for item in crd["spec"]["versions"] if item["name"] == "v1"]
        schema = strict(version["schema"]["openAPIV3Schema"])
        # The definition leaves what every object has to the server.
        schema["properties"]["metadata"] = {"type": "object"}
        schemas[crd["spec"]["names"]["kind"]] = schema
    target = Path(__file__).with_name(f"{name}.json")
    target.write_text(json.dumps(schemas, separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
