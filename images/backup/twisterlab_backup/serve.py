# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that lives: receives WAL and answers /metrics, /healthz and /readyz."""

from __future__ import annotations

import contextlib
import http.server
import signal
import socket
import threading
from typing import Any

import psycopg

from . import live, metrics
from .errors import Fault, say
from .receiver import Receiver
from .settings import Settings


class _Server(http.server.ThreadingHTTPServer):
    """Listens on IPv6 and IPv4, or on IPv4 where there is no IPv6."""

    daemon_threads = True
    settings: Settings
    receiver: Receiver

    def __init__(self, port: int) -> None:
        """Bind the port."""
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        dual = family == socket.AF_INET6
        self.socket = socket.create_server(("::" if dual else "", port), family=family, dualstack_ipv6=dual)
        self.server_address = self.socket.getsockname()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server
    timeout = 30

    def do_GET(self) -> None:
        """Answer one of the three paths."""
        settings, receiver = self.server.settings, self.server.receiver
        if self.path == "/metrics":
            self._say(200, metrics.text(settings), "text/plain; version=0.0.4; charset=utf-8")
        elif self.path == "/healthz":
            self._say(200, "ok\n")
        elif self.path == "/readyz":
            ready = receiver.streaming or not settings.wal
            self._say(200 if ready else 503, "ok\n" if ready else f"{receiver.why}\n")
        else:
            self._say(404, "there are /metrics, /healthz and /readyz\n")

    def _say(self, code: int, text: str, kind: str = "text/plain; charset=utf-8") -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Log no request: probes ask every few seconds."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    receiver = Receiver(settings)
    server = _Server(settings.port)
    server.settings, server.receiver = settings, receiver
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    work = [server.serve_forever]
    if settings.wal:
        work.append(receiver.receive)
        if settings.remote:
            work.append(receiver.upload)
    else:
        work.append(lambda: _without_slot(settings, ended))
    threads = [threading.Thread(target=each, daemon=True) for each in work]
    for thread in threads:
        thread.start()
    say(f"listening on port {settings.port}" + ("" if settings.wal else "; WAL is off"))
    ended.wait()
    receiver.stop()
    server.shutdown()
    for thread in threads:
        thread.join(25)


def _without_slot(settings: Settings, ended: threading.Event) -> None:
    """Where WAL was switched off: a slot that nobody reads would fill the server's disk."""
    while not ended.is_set():
        with contextlib.suppress(Fault, psycopg.Error), live.connect(settings.database) as connection:
            if live.drop_slot(connection):
                say("WAL is off: removed the slot of the receiver")
            return
        ended.wait(10)
