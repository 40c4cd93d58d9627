# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of the alert route that verify makes, against a real Alertmanager: what arrives, what does not, who is not meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from alerts import Server, serve
from ansible_collections.twisterlab.platform.plugins.module_utils import _monitoring as monitoring
from conftest import free_port
from test_config import receiver

__all__ = ["receiver"]


def verdicts(server: Server, seconds: float) -> dict[str, str]:
    found = monitoring.route(server, server.metrics, seconds, "lab")
    return {check.name: check.state for check in found}


def test_what_every_receiver_took_has_arrived(receiver: Any, start: Any, tmp_path: Path) -> None:
    port, got = receiver
    urls = {f"alertmanager_{name}_url": f"http://127.0.0.1:{port}/{name}" for name in ("webhook", "slack", "heartbeat")}
    server = serve(start, tmp_path, {"webhook": True, "slack": True, "heartbeat": True}, **urls)
    assert verdicts(server, 30) == {"alert route webhook": "ok", "alert route slack": "ok"}
    assert {path for path, body in got if monitoring.ALERT in json.dumps(body)} == {"/webhook", "/slack"}


@pytest.mark.parametrize("given", [{"webhook": True}, {"webhook": True, "heartbeat": True}])
def test_a_receiver_that_nobody_answers_at_took_nothing(
    given: dict[str, Any], receiver: Any, start: Any, tmp_path: Path
) -> None:
    port, _got = receiver
    urls = {
        "alertmanager_webhook_url": f"http://127.0.0.1:{free_port()}/",
        "alertmanager_heartbeat_url": f"http://127.0.0.1:{port}/",
    }
    assert verdicts(serve(start, tmp_path, given, **urls), 5) == {"alert route webhook": "failed"}


def test_without_a_receiver_there_is_nothing_to_prove(start: Any, tmp_path: Path) -> None:
    assert verdicts(serve(start, tmp_path, {}), 5) == {"alert route": "skipped"}
