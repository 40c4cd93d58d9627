# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.cluster_images: have the images where the cluster finds them."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _docker as docker
from ansible_collections.twisterlab.platform.plugins.module_utils import _host, _images
from ansible_collections.twisterlab.platform.plugins.module_utils._api import each
from ansible_collections.twisterlab.platform.plugins.module_utils._build import Builder
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError, lock, run, seconds
from ansible_collections.twisterlab.platform.plugins.module_utils._recipe import Recipes
from ansible_collections.twisterlab.platform.plugins.plugin_utils.reporting import ReportingAction, cache_folder

SPACE_GIB = 5.0


class ActionModule(ReportingAction):
    """Load into the local cluster's nodes, or push to the registry of another cluster."""

    ARGUMENTS = {
        "names": {"type": "list", "elements": "str", "required": True},
        "source": {"type": "str", "required": True, "choices": list(_images.SOURCES)},
        "overrides": {"type": "dict", "default": {}},
        "registry": {"type": "str", "default": ""},
        "mirror": {"type": "str", "default": ""},
        "local_cluster": {"type": "str", "default": ""},
        "cache_dir": {"type": "path", "default": ""},
    }

    def work(self, arguments: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """See the module's documentation for the result."""
        names: list[str] = arguments["names"]
        source, overrides, registry, cluster = (
            arguments[key] for key in ("source", "overrides", "registry", "local_cluster")
        )
        references = {name: _images.resolve(name, source, overrides, registry, arguments["mirror"]) for name in names}
        contexts = {name: context for name in names if (context := _images.entry(name).context)}
        ours = {
            references[name]: context
            for name, context in contexts.items()
            if not overrides.get(name) and references[name] == _images.built_reference(name, registry)
        }
        if not cluster and ours and not registry:
            raise BuildError(
                "A cluster that is not local cannot use images built here: set twisterlab_registry, or "
                "twisterlab_images and twisterlab_image_source=registry."
            )
        self._bases = (
            {context: _images.entry(name).base or "" for name, context in contexts.items()}
            if source == "registry"
            else {}
        )
        cache = cache_folder(arguments["cache_dir"])
        given = [references[name] for name in names if overrides.get(name)]
        done = self._load(cache, cluster, ours, given, check) if cluster else self._push(cache, ours, check)
        verb = "load" if cluster else "push"
        words = (
            f"{'would ' + verb if check else verb + 'ed'} {', '.join(done)}"
            if done
            else "every image is where it is used"
        )
        if check and done:
            self.say(words)
        return {"changed": bool(done), "msg": words, "images": references, "moved": done}

    # -- the local cluster

    def _load(self, cache: Path, cluster: str, ours: dict[str, str], given: list[str], check: bool) -> list[str]:
        """Bring every image into every node, those of one node in one stream; returns what was missing."""
        if not ours and not given:
            return []
        nodes = docker.nodes(cluster)
        if not nodes:
            if check:
                return sorted(ours)
            raise BuildError(
                f"The local cluster {cluster} does not run: make it with `ansible-playbook "
                f"playbooks/local_cluster.yml`."
            )
        here = docker.images_present(given) if given else set()
        missing = {node: self._absent([*ours, *sorted(here)], node) for node in nodes}
        wanted = list(dict.fromkeys(reference for absent in missing.values() for reference in absent))
        if not wanted or check:
            return wanted
        self._build(cache, {reference: ours[reference] for reference in wanted if reference in ours})
        for node, absent in missing.items():
            if absent:
                start = time.monotonic()
                self.say(f"loading {len(absent)} images into {node}: {', '.join(absent)}")
                log = cache / "logs" / f"load-{node}.log"
                with lock(
                    cache / "locks" / f"load-{node}.lock", holder=self.holder, say=self.say, what=f"images of {node}"
                ):
                    left = self._absent(absent, node)
                    if left:
                        docker.pipe_images(left, node, log=log, say=self.say, label=f"loading images into {node}")
                self.say(f"images loaded after {seconds(start)}")
        return wanted

    @staticmethod
    def _absent(references: list[str], node: str) -> list[str]:
        have = docker.images_on_node(node)
        return [reference for reference in dict.fromkeys(references) if docker.full(reference) not in have]

    # -- another cluster

    def _push(self, cache: Path, ours: dict[str, str], check: bool) -> list[str]:
        """Push what was not pushed from here before, or is in the registry no more; returns that."""
        marks = {
            reference: cache / "pushed" / hashlib.sha256(reference.encode()).hexdigest()[:24] for reference in ours
        }
        marked = [reference for reference in ours if marks[reference].exists()]
        # A registry that does not tell is believed to have what it was given.
        kept = [one for one, there in zip(marked, each(marked, docker.in_registry), strict=True) if there is not False]
        wanted = [reference for reference in ours if reference not in kept]
        if not wanted or check:
            return wanted
        if docker.info() is None:
            raise BuildError(
                "Docker does not answer, and images have to be built and pushed: start it, or set "
                "twisterlab_images to images that exist."
            )
        self._build(cache, {reference: ours[reference] for reference in wanted})
        for reference in wanted:
            self.say(f"pushing {reference}")
            run(
                [docker.program() or "docker", "push", reference],
                log=cache / "logs" / "push.log",
                say=self.say,
                label=f"pushing {reference}",
            )
            marks[reference].parent.mkdir(parents=True, exist_ok=True)
            marks[reference].write_text(reference, encoding="utf-8")
        return wanted

    # -- building

    def _build(self, cache: Path, ours: dict[str, str]) -> None:
        """Build what the daemon lacks, and give it the names it is used under."""
        if not ours:
            return
        _host.check_cache(cache)
        builder = Builder(
            Recipes(), cache, self.say, self.holder, {name: base for name, base in self._bases.items() if base}
        )
        missing = builder.missing(list(dict.fromkeys(ours.values())))
        if missing:
            _host.check_space(cache, SPACE_GIB, "Building images from packages")
            if any(builder.needs_rootfs(name) for name in missing):
                _host.ensure_programs(
                    {"mmdebstrap": ["mmdebstrap"]}, cache, self.say, "Root file systems are made by mmdebstrap"
                )
        for reference, context in ours.items():
            builder.build(context)
            if docker.full(builder.recipes.reference(context)) != docker.full(reference):
                docker.docker("tag", builder.recipes.reference(context), reference)
