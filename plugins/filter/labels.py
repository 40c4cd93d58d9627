# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters that make labels and selectors from the one label map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _labels


class FilterModule:
    """Labels and selectors."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {
            "labels": _labels.labels,
            "pod_labels": _labels.pod_labels,
            "selector": _labels.selector,
            "serving_selector": _labels.serving_selector,
            "image_version": _labels.image_version,
        }
