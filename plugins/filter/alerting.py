# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the monitoring tiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _alerting


class FilterModule:
    """Alertmanager's configuration, Prometheus' retention."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"alertmanager_conf": _alerting.alertmanager_conf, "retention_size": _alerting.retention_size}
