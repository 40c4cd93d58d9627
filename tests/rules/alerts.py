# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Alertmanager on a loopback port, with the configuration that release would write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from ansible_collections.twisterlab.platform.plugins.module_utils import _alerting, _secrets, _specs
from conftest import alertmanager, fetch, free_port, until

INPUT = _specs.load_inputs(_specs.collection_root())["twisterlab_alertmanager"]


def alertmanager_yml(given: Mapping[str, Any], **secrets: str) -> str:
    """Return the configuration as release writes it."""
    text = _alerting.alertmanager_conf(_specs.merge(INPUT, given), {"namespace": "lab", "domain": "lab.example"})
    return _secrets.expand(text, secrets)


class Server:
    """Alertmanager, asked as verify asks it through a port-forward."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def json(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer."""
        return json.loads(fetch(f"{self.address}{path}?{urlencode(fields or {})}", body) or "null")

    def metrics(self) -> str:
        """Its metrics, as text."""
        return fetch(f"{self.address}/metrics")


def serve(start: Any, folder: Path, given: Mapping[str, Any], trusted: Path | None = None, **secrets: str) -> Server:
    """Start it, quick to send; `trusted` is a certificate that it trusts beside the machine's."""
    quick = {"group_wait_seconds": 1, "group_interval_seconds": 1}
    (folder / "alertmanager.yml").write_text(alertmanager_yml({**quick, **given}, **secrets), encoding="utf-8")
    port = free_port()
    start(
        "env",
        *([f"SSL_CERT_FILE={trusted}"] if trusted else []),
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
