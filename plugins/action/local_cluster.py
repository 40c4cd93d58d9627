# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.local_cluster: look at, prepare, make and remove the local cluster."""

from __future__ import annotations

import datetime
import os
import shutil
from pathlib import Path
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _docker as docker
from ansible_collections.twisterlab.platform.plugins.module_utils import _host
from ansible_collections.twisterlab.platform.plugins.module_utils._build import Builder
from ansible_collections.twisterlab.platform.plugins.module_utils._cluster import (
    LocalCluster,
    Settings,
    addons_hash,
    publish_program,
    registry_answers,
)
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError, lock, output
from ansible_collections.twisterlab.platform.plugins.module_utils._recipe import Recipes
from ansible_collections.twisterlab.platform.plugins.plugin_utils.reporting import ReportingAction, cache_folder

ROLE = Path(__file__).resolve().parents[2] / "roles" / "local_cluster"
#: GiB of free space that a cluster's node and its volumes need.
SPACE_GIB = 5.0
#: The oldest kind whose stock node images and configuration are those used here.
KIND_OLDEST = (0, 30)


class ActionModule(ReportingAction):
    """One small step per `state`, so that each is a task of its own."""

    ARGUMENTS = {
        "state": {"type": "str", "required": True, "choices": ["info", "docker", "source", "present", "absent"]},
        "name": {"type": "str", "default": "twisterlab"},
        "listen_address": {"type": "str", "default": "127.0.0.1"},
        "http_port": {"type": "int", "default": 80},
        "https_port": {"type": "int", "default": 443},
        "image_source": {"type": "str", "default": "auto", "choices": ["auto", "registry", "built"]},
        "node_image": {"type": "str", "default": ""},
        "registry": {"type": "str", "default": ""},
        "cache_dir": {"type": "path", "default": ""},
        "manifests": {"type": "dict", "default": {}},
    }

    def work(self, arguments: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """See the module's documentation for the result."""
        cache = cache_folder(arguments["cache_dir"])
        names = ("name", "listen_address", "http_port", "https_port", "image_source", "node_image")
        cluster = LocalCluster(Settings(**{name: arguments[name] for name in names}), cache, self.say)
        self._registry: str = arguments["registry"]
        state: str = arguments["state"]
        if state == "info":
            if not check:
                _host.check_cache(cache)
            return self._info(cluster, arguments["manifests"])
        if state == "docker":
            return self._docker(cluster, check)
        if state == "source":
            return self._source(cluster)
        if state == "absent":
            return self._absent(cluster, check)
        return self._present(cluster, arguments["manifests"], check)

    # -- looking

    def _info(self, cluster: LocalCluster, manifests: dict[str, list[str]]) -> dict[str, Any]:
        if docker.info() is None:
            return self._result(
                cluster,
                "absent",
                "",
                changed=False,
                msg=f"there is no local cluster {cluster.settings.name}, and Docker does not answer",
            )
        found = cluster.look("")
        source = found.record.get("image_source", "")
        status = found.status
        if (
            source
            and status == "unfinished"
            and found.record.get("addons") == addons_hash(manifests.get(source, []))
            and found.known
        ):
            status = "ready"
        return self._result(
            cluster, status, source, changed=False, msg=f"the local cluster {cluster.settings.name} is {status}"
        )

    def _result(self, cluster: LocalCluster, status: str, source: str, *, changed: bool, msg: str) -> dict[str, Any]:
        if status == "ready":
            cluster.write_variables(source, self._registry)
        return {
            "changed": changed,
            "msg": msg,
            "status": status,
            "image_source": source,
            "kubeconfig": str(cluster.kubeconfig),
            "vars_file": str(cluster.variables),
            "name": cluster.settings.name,
        }

    # -- preparing

    def _docker(self, cluster: LocalCluster, check: bool) -> dict[str, Any]:
        if check:
            return {"changed": docker.info() is None, "msg": "Docker would be started"}
        cache = cluster.cache
        with lock(cache / "locks" / "docker.lock", holder=self.holder, say=self.say, what="Docker"):
            changed = _host.ensure_docker(cache, ROLE / "files" / "runc-without-missing-capabilities", self.say)
        if cluster.look("").status == "absent":
            self._refuse_early(cluster)
        return {"changed": changed, "msg": "Docker answers"}

    @staticmethod
    def _refuse_early(cluster: LocalCluster) -> None:
        """Refuse what would fail at the end of a long build: ports and room."""
        settings = cluster.settings
        answered = docker.info() or {}
        rootless = any("rootless" in str(option) for option in answered.get("SecurityOptions") or [])
        ports = {"http_port": settings.http_port, "https_port": settings.https_port}
        _host.check_ports(settings.listen_address, ports, rootless)
        _host.check_space(Path(str(answered.get("DockerRootDir") or cluster.cache)), SPACE_GIB, "A local cluster")

    def _source(self, cluster: LocalCluster) -> dict[str, Any]:
        settings = cluster.settings
        recorded = cluster.recorded_source()
        if not recorded and settings.image_source != "auto":
            return {
                "changed": False,
                "image_source": settings.image_source,
                "msg": f"images are {settings.image_source}, as twisterlab_local_cluster.image_source says",
            }
        if recorded:
            if settings.image_source not in ("auto", recorded):
                self.say(
                    f"cluster {settings.name} was made with {recorded} images and keeps them: "
                    f"for {settings.image_source} ones remove it (playbooks/local_cluster.yml) and make it anew"
                )
            return {"changed": False, "image_source": recorded, "msg": f"the cluster was made with {recorded} images"}
        source = "registry" if registry_answers(settings.node_image) else "built"
        self.say(
            "a registry answers: upstream images are used"
            if source == "registry"
            else "no registry answers within 3 s: images are built from packages"
        )
        return {"changed": False, "image_source": source, "msg": f"images: {source}"}

    # -- making

    def _present(self, cluster: LocalCluster, manifests: dict[str, list[str]], check: bool) -> dict[str, Any]:
        settings = cluster.settings
        source = settings.image_source
        if check:
            found = cluster.look("") if docker.info() is not None else None
            verb = {"absent": "create", "stopped": "start"}.get(found.status if found else "absent", "finish")
            self.say(f"would {verb} local cluster {settings.name}")
            return self._result(
                cluster, "absent", source, changed=True, msg=f"would {verb} local cluster {settings.name}"
            )
        wanted = list(manifests.get(source, []))
        recipes = Recipes()
        builder = Builder(recipes, cluster.cache, self.say, self.holder)
        with lock(
            cluster.cache / "locks" / f"cluster-{settings.name}.lock",
            holder=self.holder,
            say=self.say,
            what=f"cluster {settings.name}",
        ):
            found = cluster.look(addons_hash(wanted))
            if found.status == "ready":
                return self._result(
                    cluster, "ready", source, changed=False, msg=f"the local cluster {settings.name} is there"
                )
            kind = self._kind(cluster.cache, builder)
            image = settings.node_image if source == "registry" else recipes.reference("node")
            if found.status == "stopped":
                cluster.start(found.nodes)
                found = cluster.look(addons_hash(wanted))
            if found.status == "absent" or cluster.marker.exists():
                cluster.remove_nodes()
                self._refuse_early(cluster)
                cluster.create(kind, image)
            node = docker.nodes(settings.name)[0]
            if source == "built":
                self._edge(builder, node, cluster)
            self._kubectl(cluster, node)
            record = {
                "image_source": source,
                "node_image": image,
                "addons": addons_hash(wanted),
                "created": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            if found.status != "ready":
                cluster.finish(node, wanted, record)
        return self._result(cluster, "ready", source, changed=True, msg=f"the local cluster {settings.name} is ready")

    @staticmethod
    def _edge(builder: Builder, node: str, cluster: LocalCluster) -> None:
        """Load the ingress controller's image; the node image holds everything else."""
        builder.build("traefik")
        reference = builder.recipes.reference("traefik")
        if docker.full(reference) not in docker.images_on_node(node):
            docker.pipe_images(
                [reference], node, log=cluster.log, say=builder.say, label="loading the ingress controller's image"
            )

    def _kind(self, cache: Path, builder: Builder) -> Path:
        """A kind of a fitting version at its stable place: the host's, or one compiled from its module."""
        target = cache / "bin" / "kind"
        on_path = shutil.which(
            "kind",
            path=os.pathsep.join(
                part for part in os.environ.get("PATH", "").split(os.pathsep) if part != str(target.parent)
            ),
        )
        if not builder.folder("kind", "go").is_dir() and on_path and _kind_version(on_path) >= KIND_OLDEST:
            publish_program(Path(on_path), target)
        else:
            builder.part("kind", "go")
            publish_program(builder.folder("kind", "go") / "kind", target)
        return target

    @staticmethod
    def _kubectl(cluster: LocalCluster, node: str) -> None:
        """The node's own kubectl, which is of the cluster's version, at its stable place."""
        target = cluster.cache / "bin" / "kubectl"
        inside = docker.docker("exec", node, "sha256sum", "/usr/bin/kubectl").split()[0]
        stamp = cluster.cache / "bin" / ".kubectl.sha256"
        if target.exists() and stamp.exists() and stamp.read_text(encoding="ascii").strip() == inside:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".kubectl-{os.getpid()}")
        docker.docker("cp", f"{node}:/usr/bin/kubectl", str(temporary), timeout=120)
        temporary.chmod(0o755)
        temporary.replace(target)
        stamp.write_text(inside, encoding="ascii")

    # -- removing

    def _absent(self, cluster: LocalCluster, check: bool) -> dict[str, Any]:
        name = cluster.settings.name
        if docker.info() is None:
            if cluster.folder.is_dir():
                raise BuildError(
                    f"Docker does not answer, so the local cluster {name} cannot be removed: start Docker and run again."
                )
            return self._result(
                cluster,
                "absent",
                "",
                changed=False,
                msg=f"Docker does not answer, so there is no local cluster {name} to remove",
            )
        there = bool(docker.nodes(name, running=False)) or cluster.folder.is_dir()
        if check or not there:
            return self._result(
                cluster,
                "absent",
                "",
                changed=there,
                msg=f"would remove the local cluster {name}" if there else f"there is no local cluster {name}",
            )
        with lock(
            cluster.cache / "locks" / f"cluster-{name}.lock", holder=self.holder, say=self.say, what=f"cluster {name}"
        ):
            changed = cluster.remove()
        return self._result(
            cluster,
            "absent",
            "",
            changed=changed,
            msg=f"the local cluster {name} and its volumes are removed; images and caches are kept",
        )


def _kind_version(program: str) -> tuple[int, int]:
    """Major and minor version of a kind program; (0, 0) when it does not run."""
    try:
        words = output([program, "version", "--quiet"], timeout=20).strip().lstrip("v").split(".")
        return int(words[0]), int(words[1])
    except (BuildError, ValueError, IndexError):
        return (0, 0)
