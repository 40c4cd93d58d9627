# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks for every value of the stack's Secrets in everything else: other objects, logs of pods, texts given as files.

Arguments: kubeconfig, namespace, files. Prints where a key's value was found, never the value; ends with 1 then.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

SHORTEST = 8
#: What is public by its nature: certificates, and names of roles of Postgres.
PUBLIC = ("tls.crt", "ca.crt", "postgres_login", "postgres_login_previous")


def kubectl(*arguments: str) -> str:
    """What kubectl prints."""
    return subprocess.run(["kubectl", *ACCESS, *arguments], text=True, capture_output=True, check=True).stdout


def forms(value: str) -> set[str]:
    """A value as it may stand in a text."""
    plain = {value, quote(value, safe=""), base64.b64encode(value.encode()).decode(), json.dumps(value)[1:-1]}
    # A long text, such as a key or a configuration, is there when one of its lines is.
    lines = {line.strip() for line in value.splitlines()} if "\n" in value else set()
    return {form for form in plain | lines if len(form) >= SHORTEST and not form.startswith("-----")}


def secrets() -> dict[str, set[str]]:
    """Every secret value by its Secret and key."""
    found = {}
    for item in json.loads(kubectl("get", "secrets", "--output=json"))["items"]:
        for key, value in (item.get("data") or {}).items():
            if key not in PUBLIC:
                found[f"{item['metadata']['name']}/{key}"] = forms(base64.b64decode(value).decode("utf-8", "replace"))
    return found


def log(pod: str) -> str | None:
    """Everything a pod wrote; None when an ended roll-out took it away since it was listed."""
    for turn in range(10):
        try:
            return kubectl("logs", pod, "--all-containers", "--tail=-1")
        except subprocess.CalledProcessError as error:
            if "not found" in error.stderr:
                return None
            # A container that is between two starts has a log in a moment.
            told = error.stderr
            time.sleep(turn)
    sys.exit(f"{pod}: {told}")


def places(files: list[str]) -> Iterator[tuple[str, str]]:
    """Everything that is no Secret, by where it is."""
    for name in files:
        yield name, Path(name).read_text(encoding="utf-8")
    kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    for kind in sorted(set(kinds) - {"secrets"}):
        yield kind, kubectl("get", kind, "--output=json", "--show-managed-fields")
    for pod in kubectl("get", "pods", "--output=name", "--field-selector=status.phase!=Pending").split():
        text = log(pod)
        if text is not None:
            yield f"log of {pod}", text


if __name__ == "__main__":
    ACCESS = [f"--kubeconfig={sys.argv[1]}", f"--namespace={sys.argv[2]}"]
    values, looked, hits = secrets(), 0, []
    for where, text in places(sys.argv[3:]):
        looked += 1
        hits += [f"{key} in {where}" for key, shapes in values.items() if any(shape in text for shape in shapes)]
    print("\n".join(hits) or f"{len(values)} values in none of {looked} places")
    sys.exit(bool(hits))
