# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that make the parts of manifests which are data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.twisterlab.platform.plugins.module_utils import _pods, _specs


def inputs(value: Any, name: str) -> Any:
    """Return the user's dict over the defaults of the input ``name``, every key in its declared type."""
    option = _specs.load_inputs(_specs.collection_root()).get(name)
    if option is None:
        raise AnsibleFilterError(f"No role declares the input {name!r}.")
    try:
        return _specs.merge(option, value)
    except _specs.InputError as error:
        raise AnsibleFilterError(f"{name}: a value {error}; twisterlab.platform.check_inputs says which.") from error


class FilterModule:
    """Inputs, environment, probes, secrets."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "inputs": inputs,
            "container_env": _pods.container_env,
            "named": _pods.named,
            "peer_urls": _pods.peer_urls,
            "probe": _pods.probe,
            "redis_conf": _pods.redis_conf,
            "scrape_annotations": _pods.scrape_annotations,
            "secret_declarations": _pods.secret_declarations,
            "secret_keys": _pods.secret_keys,
            "without_empty": _pods.without_empty,
        }
