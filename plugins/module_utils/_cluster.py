# SPDX-License-Identifier: GPL-3.0-or-later
"""The local cluster: what it is called, what it consists of, how it is made, looked at and removed."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _docker as docker
from ansible_collections.twisterlab.platform.plugins.module_utils._kubeconfig import authority
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import (
    INTERVAL,
    BuildError,
    Say,
    output,
    run,
    seconds,
)

LOADED = "docker.io/twisterlab"
RECORD = "twisterlab-local-cluster"
FIELD_MANAGER = "twisterlab-local-cluster"
_KUBECTL = ("kubectl", "--kubeconfig=/etc/kubernetes/admin.conf")
#: Nodes are looked for in Docker, so kind makes them there, whatever the user's environment says.
_PROVIDER = {"KIND_EXPERIMENTAL_PROVIDER": "docker"}
_READY_TIMEOUT = 180.0
REGISTRY_TIMEOUT = 3.0


@dataclass(frozen=True)
class Settings:
    """What a user says about the local cluster (`twisterlab_local_cluster`)."""

    name: str
    listen_address: str
    http_port: int
    https_port: int
    image_source: str
    node_image: str

    def configuration(self) -> str:
        """The kind configuration."""
        ports = [
            {"containerPort": inside, "hostPort": outside, "listenAddress": self.listen_address, "protocol": "TCP"}
            for inside, outside in ((80, self.http_port), (443, self.https_port))
        ]
        document = {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "name": self.name,
            "networking": {"apiServerAddress": "127.0.0.1"},
            # Hosts with cgroup v1 are still about; the kubelet refuses them unless told otherwise.
            "kubeadmConfigPatches": ["kind: KubeletConfiguration\nfailCgroupV1: false\n"],
            "nodes": [{"role": "control-plane", "extraPortMappings": ports}],
        }
        return yaml.safe_dump(document, sort_keys=False)


@dataclass(frozen=True)
class State:
    """What is there of a local cluster.

    Attributes:
        status: `absent`, `stopped`, `unfinished` or `ready`.
        record: what was recorded in the cluster at its creation; empty unless it is finished.
        nodes: its containers.
        known: whether the kubeconfig in the cache is this cluster's.
    """

    status: str
    record: Mapping[str, str]
    nodes: Sequence[str]
    known: bool = False


class LocalCluster:
    """One kind cluster with its own kubeconfig in the cache."""

    def __init__(self, settings: Settings, cache: Path, say: Say) -> None:
        """Name a cluster; nothing is done yet."""
        self.settings = settings
        self.cache = cache
        self.folder = cache / "clusters" / settings.name
        self.kubeconfig = self.folder / "kubeconfig"
        self.marker = self.folder / "creating"
        self.variables = self.folder / "vars.yml"
        self.log = cache / "logs" / f"cluster-{settings.name}.log"
        self.say = say

    # -- looking

    def look(self, addons: str) -> State:
        """What is there; addons is the hash of what should be installed in it.

        Raises:
            BuildError: Docker does not answer, or a cluster of this name was made by somebody else.
        """
        names = docker.nodes(self.settings.name, running=False)
        if not names:
            return State("absent", {}, [])
        record = self.record(names[0])
        if self.marker.exists() and not record:
            if not self._begun(names[0]):
                self._refuse(names)
            return State("unfinished", {}, names)
        # A cluster with a record is whole: what was begun here was another one.
        self.marker.unlink(missing_ok=True)
        known = self._known(names[0])
        if not known and not record:
            self._refuse(names)
        running = docker.nodes(self.settings.name)
        if len(running) < len(names):
            return State("stopped", {}, names)
        complete = bool(record) and record.get("addons") == addons and known
        return State("ready" if complete else "unfinished", record, running, known)

    def record(self, node: str) -> dict[str, str]:
        """What the cluster says of itself; empty when it says nothing."""
        try:
            found = json.loads(
                self.kubectl(node, "--namespace=kube-system", "get", "configmap", RECORD, "--output=json", timeout=15)
            )
        except (BuildError, ValueError):
            return {}
        return {str(key): str(value) for key, value in (found.get("data") or {}).items()}

    def recorded_source(self) -> str:
        """The image source of a cluster that is there, running or not; empty when there is none or it is not known."""
        names = docker.nodes(self.settings.name, running=False)
        running = docker.nodes(self.settings.name)
        if running and (found := self.record(running[0]).get("image_source", "")):
            return found
        if names and not self.marker.exists() and self.variables.exists():
            return str(
                (yaml.safe_load(self.variables.read_text(encoding="utf-8")) or {}).get("twisterlab_image_source", "")
            )
        return ""

    @staticmethod
    def kubectl(node: str, *arguments: str, stdin: str | None = None, timeout: float = 60.0) -> str:
        """Run the node's own kubectl as its administrator."""
        interactive = ("--interactive",) if stdin is not None else ()
        return docker.docker("exec", *interactive, node, *_KUBECTL, *arguments, stdin=stdin, timeout=timeout)

    def _refuse(self, names: Sequence[str]) -> None:
        """Leave a cluster alone that the cache does not know and that does not say itself, as one would whose cache was emptied, that it was made here."""
        try:
            self.kubectl(names[0], "get", "--raw=/readyz", timeout=15)
        except BuildError as error:
            raise BuildError(
                f"A kind cluster named {self.settings.name} exists, does not answer, and the cache does not know it: start it "
                f"(docker start {' '.join(names)}) and run again when it can say whether it was made here, or set "
                "twisterlab_local_cluster.name to another name."
            ) from error
        raise BuildError(
            f"A kind cluster named {self.settings.name} exists and was not made here: "
            "set twisterlab_local_cluster.name to another name, or delete it."
        )

    def _begun(self, node: str) -> bool:
        """Whether this node is the one that an interrupted run began."""
        image = docker.docker("inspect", "--format", "{{.Config.Image}}", node).strip()
        # A digest says it alone: versions of kind and Docker differ in whether a tag stays before it.
        return image.rpartition("@")[2] == self.marker.read_text(encoding="utf-8").rpartition("@")[2]

    def _known(self, node: str) -> bool:
        """Whether the kubeconfig in the cache, which outlives a cluster that was removed by other means, is this one's."""
        if not self.kubeconfig.exists():
            return False
        try:
            # A tar archive, also of a stopped node.
            found = docker.docker("cp", f"{node}:/etc/kubernetes/pki/ca.crt", "-")
            certificate = authority(self.kubeconfig.read_text(encoding="utf-8"))
            return bool(certificate) and base64.b64decode(certificate).decode("ascii").strip() in found
        except (BuildError, ValueError):
            return False

    def write_variables(self, source: str, registry: str) -> None:
        """Keep what later roles have to know of this cluster as a file of variables.

        Upstream's images and images built here are told apart by a registry in the name; where the user has none, the
        built ones are loaded into the nodes under a name of that form.
        """
        text = "---\n# Written from what the cluster has recorded; changes here are lost.\n"
        found = {"twisterlab_image_source": source}
        if source == "registry" and not registry:
            found["twisterlab_registry"] = LOADED
        text += yaml.safe_dump(found)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.variables.exists() or self.variables.read_text(encoding="utf-8") != text:
            temporary = self.folder / ".vars.yml"
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.variables)

    # -- making

    def create(self, kind: Path, image: str) -> None:
        """Make the cluster; what an interrupted run left of it is removed first.

        Raises:
            BuildError: it did not become ready; the node's last words are in the log.
        """
        self.remove_nodes()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        self.marker.write_text(image, encoding="utf-8")
        self.log.unlink(missing_ok=True)
        configuration = self.folder / "kind.yaml"
        configuration.write_text(self.settings.configuration(), encoding="utf-8")
        temporary = self.folder / "kubeconfig.new"
        temporary.unlink(missing_ok=True)
        start = time.monotonic()
        self.say(f"cluster {self.settings.name}: starting a node from {image}")
        command = [
            str(kind),
            "create",
            "cluster",
            "--name",
            self.settings.name,
            "--config",
            str(configuration),
            "--image",
            image,
            "--kubeconfig",
            str(temporary),
        ]
        try:
            run(
                [*command, "--retain", "--wait", f"{_READY_TIMEOUT:.0f}s"],
                env=_PROVIDER,
                log=self.log,
                say=self.say,
                label=f"cluster {self.settings.name}: kind create cluster",
                detail=self._step,
            )
        except BuildError:
            self._last_words()
            self.remove_nodes()
            raise
        if "Timed out waiting for Ready" in self.log.read_text(encoding="utf-8", errors="replace"):
            self._last_words()
            raise BuildError(
                f"The node of the local cluster {self.settings.name} did not become Ready within "
                f"{_READY_TIMEOUT:.0f} s; the log is {self.log}."
            )
        temporary.chmod(0o600)
        temporary.replace(self.kubeconfig)
        self.marker.unlink()
        self.say(f"cluster {self.settings.name}: node Ready after {seconds(start)}")

    def _step(self) -> str:
        """What kind is doing, from its log."""
        try:
            lines = [
                line.strip()
                for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()
                if "•" in line or "✓" in line
            ]
        except OSError:
            return ""
        return lines[-1].strip(" •✓.").encode("ascii", "ignore").decode().strip() if lines else ""

    def _last_words(self) -> None:
        """Keep what a node that failed has to say."""
        with contextlib.suppress(BuildError), self.log.open("a", encoding="utf-8") as log:
            for name in docker.nodes(self.settings.name, running=False):
                for command in (
                    ("logs", "--tail", "50", name),
                    ("exec", name, "journalctl", "--no-pager", "--lines=100", "--unit=kubelet"),
                ):
                    with contextlib.suppress(BuildError):
                        log.write(f"\n--- docker {' '.join(command)}\n{docker.docker(*command)}")

    def start(self, names: Sequence[str]) -> None:
        """Start a cluster that was stopped, and wait for its API."""
        begin = time.monotonic()
        self.say(f"cluster {self.settings.name}: starting its stopped node")
        docker.docker("start", *names, timeout=120)
        self._until(
            lambda: self.kubectl(names[0], "get", "--raw=/readyz", timeout=10).strip() == "ok",
            "its API does not answer",
        )
        self.say(f"cluster {self.settings.name}: started after {seconds(begin)}")

    def finish(self, node: str, manifests: Sequence[str], record: Mapping[str, str]) -> None:
        """Install what every local cluster has, wait for it, and write the record that says the cluster is whole."""
        begin = time.monotonic()
        if not self._known(node):
            self._restore_kubeconfig()
        self.say(f"cluster {self.settings.name}: installing metrics-server and the ingress controller")
        self._until(lambda: self._applied(node, manifests), "the add-ons cannot be applied")
        for namespace, name in workloads(manifests):
            waiting = functools.partial(self._available, node, namespace, name)
            self._until(waiting, f"{namespace}/{name} is not available")
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": RECORD,
                "namespace": "kube-system",
                "labels": {"app.kubernetes.io/managed-by": "twisterlab.platform"},
            },
            "data": dict(record),
        }
        self._apply(node, json.dumps(document))
        self.say(f"cluster {self.settings.name}: add-ons ready after {seconds(begin)}")

    def _apply(self, node: str, text: str) -> None:
        self.kubectl(
            node,
            "apply",
            "--server-side",
            "--force-conflicts",
            f"--field-manager={FIELD_MANAGER}",
            "--filename=-",
            stdin=text,
        )

    def _applied(self, node: str, manifests: Sequence[str]) -> bool:
        self._apply(node, "\n---\n".join(manifests))
        return True

    def _available(self, node: str, namespace: str, name: str) -> bool:
        numbers = ("status.availableReplicas", "status.updatedReplicas", "spec.replicas", "status.observedGeneration")
        path = "/".join(f"{{.{number}}}" for number in (*numbers, "metadata.generation"))
        words = self.kubectl(
            node, f"--namespace={namespace}", "get", "deployment", name, f"--output=jsonpath={path}", timeout=15
        ).split("/")
        available, updated, wanted, seen, generation = (int(word or 0) for word in words)
        return available >= wanted > 0 and updated >= wanted and seen >= generation

    def _until(self, condition: Any, sentence: str) -> None:
        """Wait until a condition holds; errors count as not yet."""
        begin = shown = time.monotonic()
        last = ""
        while True:
            try:
                if condition():
                    return
            except (BuildError, ValueError) as error:
                last = f" ({error})"
            if time.monotonic() - begin > _READY_TIMEOUT:
                raise BuildError(
                    f"The local cluster {self.settings.name} is not ready after {_READY_TIMEOUT:.0f} s: "
                    f"{sentence}{last}."
                )
            if time.monotonic() - shown >= INTERVAL:
                shown = time.monotonic()
                self.say(f"cluster {self.settings.name}: waiting, {sentence} yet, {seconds(begin)}")
            time.sleep(0.5)

    def _restore_kubeconfig(self) -> None:
        kind = self.cache / "bin" / "kind"
        text = output([str(kind), "get", "kubeconfig", "--name", self.settings.name], timeout=60, env=_PROVIDER)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.folder / "kubeconfig.new"
        temporary.touch(mode=0o600)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.kubeconfig)

    # -- removing

    def remove_nodes(self) -> bool:
        """Remove the containers and their volumes; whether there were any."""
        names = docker.nodes(self.settings.name, running=False)
        if names:
            docker.docker("rm", "--force", "--volumes", *names, timeout=300)
        return bool(names)

    def remove(self) -> bool:
        """Remove the cluster and its folder in the cache; whether there was anything.

        Raises:
            BuildError: a cluster of this name was made by somebody else.
        """
        self.look("")
        removed = self.remove_nodes()
        if self.folder.is_dir():
            shutil.rmtree(self.folder)
            removed = True
        return removed


def workloads(manifests: Sequence[str]) -> list[tuple[str, str]]:
    """Namespace and name of the Deployments in some manifests."""
    found = [
        document
        for text in manifests
        for document in yaml.safe_load_all(text)
        if document and document.get("kind") == "Deployment"
    ]
    return [(document["metadata"]["namespace"], document["metadata"]["name"]) for document in found]


def addons_hash(manifests: Sequence[str]) -> str:
    """What the record compares: changes with any byte of the manifests."""
    return hashlib.sha256("\0".join(manifests).encode()).hexdigest()[:16]


def registry_answers(reference: str) -> bool:
    """Whether the registry of this image answers with it within three seconds."""
    try:
        docker.docker("manifest", "inspect", reference, timeout=REGISTRY_TIMEOUT)
    except BuildError:
        return False
    return True


def publish_program(source: Path, target: Path) -> bool:
    """Put a program at a stable path, in one step; False when it is there already."""
    try:
        same = target.exists() and (
            source.samefile(target)
            or (source.stat().st_size, int(source.stat().st_mtime))
            == (target.stat().st_size, int(target.stat().st_mtime))
        )
    except OSError:
        same = False
    if same:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}-{os.getpid()}")
    shutil.copy2(source, temporary)
    temporary.chmod(0o755)
    temporary.replace(target)
    return True
