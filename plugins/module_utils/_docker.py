# SPDX-License-Identifier: GPL-3.0-or-later
"""The few things asked of Docker's command line."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils._progress import (
    BuildError,
    Say,
    output,
    run,
    tail,
)

#: The classic builder: it needs no plugin, and works without a network and without pulling.
CLASSIC = {"DOCKER_BUILDKIT": "0"}


def program() -> str | None:
    """The path of the docker command; None where there is none."""
    return shutil.which("docker") or next(
        (path for path in ("/usr/bin/docker", "/usr/local/bin/docker") if os.access(path, os.X_OK)), None
    )


def docker(*arguments: str, timeout: float = 60.0, stdin: str | None = None) -> str:
    """Standard output of one docker command.

    Raises:
        BuildError: Docker is missing, does not answer, or refuses.
    """
    return output([program() or "docker", *arguments], timeout=timeout, stdin=stdin)


def info(timeout: float = 10.0) -> dict[str, Any] | None:
    """What the daemon says about itself; None when it does not answer."""
    try:
        found = json.loads(docker("info", "--format", "{{json .}}", timeout=timeout))
    except (BuildError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("ServerVersion") else None


def images_present(references: Sequence[str]) -> set[str]:
    """Which of these references the daemon has."""
    listed = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    have = {full(name) for name in listed}
    return {reference for reference in references if full(reference) in have}


def full(reference: str) -> str:
    """The reference with its registry and namespace written out, as containerd lists it."""
    first, _, rest = reference.partition("/")
    if not rest:
        return f"docker.io/library/{reference}"
    if "." in first or ":" in first or first == "localhost":
        return reference
    return f"docker.io/{reference}"


def in_registry(reference: str, timeout: float = 5.0) -> bool | None:
    """Whether its registry has an image that is named with a tag; None when that cannot be learnt."""
    host, _, rest = full(reference).partition("/")
    path, _, tag = rest.rpartition(":")
    for scheme in () if host == "docker.io" else ("https", "http"):
        status = _status(f"{scheme}://{host}/v2/{path}/manifests/{tag}", timeout)
        if status in (200, 404):
            return status == 200
        if status and scheme == "http":
            # Docker's client would ask over TLS alone, and call a manifest missing that is there.
            return None
        if status:
            break
    try:
        docker("manifest", "inspect", reference, timeout=timeout)
    except BuildError as error:
        return False if re.search("no such manifest|manifest unknown|name unknown", str(error)) else None
    return True


def _status(address: str, timeout: float) -> int:
    """The HTTP status of an address, asked without credentials; 0 when nobody answers."""
    kinds = ("docker.distribution.manifest.v2", "oci.image.manifest.v1", "oci.image.index.v1")
    accepted = ", ".join(f"application/vnd.{kind}+json" for kind in kinds)
    request = urllib.request.Request(address, method="HEAD", headers={"Accept": accepted})  # noqa: S310 (http or https, as written above)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, http.client.HTTPException, ValueError):
        return 0


def nodes(cluster: str, *, running: bool = True) -> list[str]:
    """The containers that are the nodes of a kind cluster, the control plane first."""
    arguments = [
        "ps",
        *([] if running else ["--all"]),
        "--filter",
        f"label=io.x-k8s.kind.cluster={cluster}",
        "--format",
        "{{.Names}}",
    ]
    return sorted(docker(*arguments).split(), key=lambda name: ("control-plane" not in name, name))


def images_on_node(node: str) -> set[str]:
    """The references that a node's containerd knows."""
    return set(docker("exec", node, "ctr", "--namespace=k8s.io", "images", "list", "--quiet").split())


def pipe_images(references: Sequence[str], node: str, *options: str, log: Path, say: Say, label: str) -> None:
    """Copy images from the daemon into a node's containerd, all in one stream (shared layers travel once).

    Raises:
        BuildError: one end failed.
    """
    command = program() or "docker"
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("ab") as words,
        subprocess.Popen([command, "save", *references], stdout=subprocess.PIPE, stderr=words) as source,
    ):
        if source.stdout is None:
            raise BuildError(f"{label}: docker save gives no output.")
        path = Path(f"/dev/fd/{source.stdout.fileno()}")
        try:
            run(
                [
                    command,
                    "exec",
                    "--interactive",
                    node,
                    "ctr",
                    "--namespace=k8s.io",
                    "images",
                    "import",
                    *options,
                    "-",
                ],
                log=log,
                say=say,
                label=label,
                stdin=path,
            )
        except BaseException:
            source.terminate()
            raise
        # The import ends with the archive, a little before the one who writes it: told to stop then, it would count as failed.
        while source.stdout.read(2**20):
            pass
    if source.returncode:
        raise BuildError(f"{label}: docker save ended with {source.returncode}; the log is {log}: {tail(log)}")
