# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of the alert route that verify makes, against a real Alertmanager: what arrives, what does not, who is not meant."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _monitoring as monitoring
from conftest import alertmanager, fetch, free_port, until
from test_config import alertmanager_yml, receiver

__all__ = ["receiver"]


class Server:
    """Alertmanager on a loopback port, as verify asks it through a port-forward."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def json(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        return json.loads(fetch(f"{self.address}{path}?{urlencode(fields or {})}", body) or "null")

    def metrics(self) -> str:
        return fetch(f"{self.address}/metrics")


def run(start: Any, folder: Path, given: dict[str, Any], **urls: str) -> Server:
    given = {"group_wait_seconds": 1, "group_interval_seconds": 1, **given}
    (folder / "alertmanager.yml").write_text(alertmanager_yml(given, **urls), encoding="utf-8")
    port = free_port()
    start(
        *alertmanager(),
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        # As the tier is started.
        "--enable-feature=receiver-name-in-metrics",
    )
    server = Server(port)
    until(lambda: fetch(f"{server.address}/-/ready"), what="alertmanager is ready")
    return server


def verdicts(server: Server, seconds: float) -> dict[str, str]:
    found = monitoring.route(server, server.metrics, seconds, "lab")
    return {check.name: check.state for check in found}


def test_what_every_receiver_took_has_arrived(receiver: Any, start: Any, tmp_path: Path) -> None:
    port, got = receiver
    urls = {f"alertmanager_{name}_url": f"http://127.0.0.1:{port}/{name}" for name in ("webhook", "slack", "heartbeat")}
    server = run(start, tmp_path, {"webhook": True, "slack": True, "heartbeat": True}, **urls)
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
    assert verdicts(run(start, tmp_path, given, **urls), 5) == {"alert route webhook": "failed"}


def test_without_a_receiver_there_is_nothing_to_prove(start: Any, tmp_path: Path) -> None:
    assert verdicts(run(start, tmp_path, {}), 5) == {"alert route": "skipped"}
