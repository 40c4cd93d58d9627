# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.build_component: make one folder of images/ on the controller, showing how it goes."""

from __future__ import annotations

import threading
import time
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _host
from ansible_collections.twisterlab.platform.plugins.module_utils._build import Builder
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError, seconds
from ansible_collections.twisterlab.platform.plugins.module_utils._recipe import Recipes
from ansible_collections.twisterlab.platform.plugins.plugin_utils.reporting import ReportingAction, cache_folder

#: GiB of free space below which nothing is begun; docs/offline.md says what takes it.
SPACE_GIB = 15.0


class ActionModule(ReportingAction):
    """Make one recipe; alongside, what only waits for the network."""

    ARGUMENTS = {
        "component": {"type": "str", "required": True},
        "cache_dir": {"type": "path", "default": ""},
        "alongside": {"type": "list", "elements": "str", "default": []},
    }

    def work(self, arguments: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """See the module's documentation for the result."""
        component: str = arguments["component"]
        cache = cache_folder(arguments["cache_dir"])
        builder = Builder(Recipes(), cache, self.say, self.holder)
        image = builder.recipes.reference(component) if "image" in builder.recipes.get(component).data else ""
        told = {"component": component, "image": image}
        missing = builder.missing([component])
        if not missing:
            return {"changed": False, "msg": f"{component} is there", **told}
        if check:
            return {"changed": True, "msg": f"would make {component}", **told}
        _host.check_cache(cache)
        _host.check_space(cache, SPACE_GIB, "Building images from packages")
        _host.ensure_programs(
            {"mmdebstrap": ["mmdebstrap"]}, cache, self.say, "Root file systems are made by mmdebstrap"
        )
        start = time.monotonic()
        threads = [
            threading.Thread(
                target=self._quietly, args=(Builder(Recipes(), cache, self.say, self.holder), name), daemon=True
            )
            for name in arguments["alongside"]
        ]
        for thread in threads:
            thread.start()
        changed = builder.build(component)
        for thread in threads:
            thread.join()
        return {"changed": changed, "msg": f"{component} made in {seconds(start)}", **told}

    def _quietly(self, builder: Builder, name: str) -> None:
        """Make a root file system ahead of its turn; if that fails its own task says why."""
        try:
            if builder.recipes.get(name).part("rootfs"):
                builder.part(name, "rootfs")
        except BuildError as error:
            self.say(f"{name}: put off ({error})")
