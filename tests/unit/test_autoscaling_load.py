# SPDX-License-Identifier: GPL-3.0-or-later
"""The load itself, against a server of this machine."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _autoscaling_load


class Server(http.server.ThreadingHTTPServer):
    """Answers, and counts requests and connections; every `failing`-th answer is a 503, every `rude`-th connection ends unannounced."""

    daemon_threads = True
    failing = rude = 0

    def __init__(self) -> None:
        self.asked = self.connected = 0
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/health?x=1"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connected += 1

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked += 1
            number = self.server.asked
        self.send_response(503 if self.server.failing and number % self.server.failing == 0 else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
        # Closed without having been said: what an idle connection meets when a server stops.
        self.close_connection = bool(self.server.rude and number % self.server.rude == 0)

    def log_message(self, *_words: Any) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def run(
    server: Server, rate: float, connections: int, seconds: float, stop: float | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Run it as the pod does; its lines and the exit code."""
    script = Path(_autoscaling_load.__file__).read_text(encoding="utf-8")
    command = [sys.executable, "-c", script, server.url, str(rate), str(connections), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        if stop is not None:
            time.sleep(stop)
            process.send_signal(signal.SIGTERM)
        out, _err = process.communicate(timeout=30)
    return [json.loads(text) for text in out.splitlines()], process.returncode


def test_a_steady_rate_and_a_line_a_second(server: Server) -> None:
    lines, code = run(server, 50, 4, 3.2)
    assert code == 0
    seconds, last = lines[:-1], lines[-1]
    # A busy machine may be late and do less, but never does more.
    assert 2 <= len(seconds) <= 3
    assert all(0 < item["requests"] <= 65 and item["failed"] == 0 for item in seconds), seconds
    assert last["end"] is True and last["requests"] == server.asked
    assert 0 < last["p50_ms"] <= last["p95_ms"]
    # Kept alive, and yet renewed: more connections than workers, far fewer than requests.
    assert 4 < server.connected < 20


def test_failures_are_counted_and_the_first_is_told(server: Server) -> None:
    server.failing = 10
    lines, _code = run(server, 100, 4, 1.2)
    assert lines[-1]["failed"] == server.asked // 10
    assert lines[-1]["error"] == "HTTP 503"


def test_a_connection_that_was_closed_while_idle_is_no_failure(server: Server) -> None:
    server.rude = 5
    lines, _code = run(server, 100, 2, 1.5)
    assert lines[-1]["failed"] == 0, lines[-1]
    # Several connections were closed, however slow the machine is.
    assert lines[-1]["requests"] > 20


def test_it_begins_once_the_network_lets_it_out() -> None:
    """A new pod is refused everything until the network plugin knows it; that is no failed request."""
    with socket.create_server(("127.0.0.1", 0)) as shut:
        address = shut.getsockname()
    assert not _autoscaling_load.admitted(f"http://127.0.0.1:{address[1]}/", 0.3)
    opened: list[socket.socket] = []
    timer = threading.Timer(0.5, lambda: opened.append(socket.create_server(address)))
    timer.start()
    begun = time.monotonic()
    assert _autoscaling_load.admitted(f"http://127.0.0.1:{address[1]}/", 10)
    assert 0.4 < time.monotonic() - begun < 5
    timer.join()
    opened[0].close()


def test_nobody_there_is_a_failure(server: Server) -> None:
    client = _autoscaling_load.Client("http://127.0.0.1:1/")
    assert client.ask().startswith("ConnectionRefusedError")


def test_told_to_stop_it_says_its_last_words_and_stays_a_moment(server: Server) -> None:
    begun = time.monotonic()
    lines, code = run(server, 0, 2, 60, stop=1.5)
    assert code == 0
    assert lines[-1]["end"] is True and lines[-1]["failed"] == 0
    assert _autoscaling_load.LINGER <= time.monotonic() - begun < 20
