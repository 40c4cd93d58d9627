# SPDX-License-Identifier: GPL-3.0-or-later
"""The nightly renewal of the edge's certificate: whatever the inputs, it is in time."""

from __future__ import annotations

import base64
import importlib.util
import sys
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _certificates, _specs

START = datetime(2026, 11, 27, 12, tzinfo=UTC)
HOST = "api.lab.local"


@pytest.fixture
def renew(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The program, beside the library as in its pod."""
    monkeypatch.setitem(sys.modules, "_certificates", _certificates)
    spec = importlib.util.spec_from_file_location("renew", _specs.collection_root() / "roles/ingress/files/renew.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def secret(pair: _certificates.Pair) -> dict[str, Any]:
    values = {"tls.crt": pair.certificate, "tls.key": pair.key}
    return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}}


@pytest.mark.parametrize(("days", "percent"), [(90, 33), (90, 5), (14, 5), (7, 33), (5, 5)])
def test_a_certificate_never_ends_between_two_nights(
    days: int, percent: int, renew: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _certificates.keep("lab.local", [HOST], START, days=days)
    stored = {"twisterlab-ca": secret(made.authority), "twisterlab-tls": secret(made.leaf)}
    clock = START

    class Secrets:
        """Those of the cluster."""

        def __init__(self, _namespace: str) -> None:
            """Nothing to reach."""

        def read(self, name: str) -> dict[str, Any]:
            return stored[name]

        def write(self, found: dict[str, Any], values: dict[str, str]) -> None:
            found["data"] = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}

    class Clock:
        """The time of this test."""

        @staticmethod
        def now(_zone: object) -> datetime:
            return clock

    monkeypatch.setattr(renew, "Secrets", Secrets)
    monkeypatch.setattr(renew, "datetime", Clock)
    given = {
        "namespace": "lab", "authority": "twisterlab-ca", "served": "twisterlab-tls", "domain": "lab.local",
        "hosts": [HOST], "days": days, "renew_percent": percent,
    }  # fmt: skip
    nights = [datetime(2026, 11, 28, 3, 17, tzinfo=UTC) + timedelta(days=night) for night in range(2 * days + 2)]
    for clock in nights:
        assert _certificates.left(renew.pair(stored["twisterlab-tls"]).certificate, clock) > 0, clock
        renew.main(given)


@pytest.mark.parametrize(("days", "percent", "expected"), [(90, 33, 33), (90, 5, 5), (14, 5, 29), (5, 33, 80)])
def test_when_it_is_time(days: int, percent: int, expected: int, renew: ModuleType) -> None:
    assert renew.renew_percent(days, percent) == expected
