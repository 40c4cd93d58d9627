# SPDX-License-Identifier: GPL-3.0-or-later
"""Run as a pod: keeps what is posted to it and shows it."""

from __future__ import annotations

import http.server
import json
from typing import Any

GOT: list[Any] = []


class Receiver(http.server.BaseHTTPRequestHandler):
    """POST adds, GET shows."""

    def do_POST(self) -> None:
        """Take one notification."""
        GOT.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        """Show what came."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(GOT).encode())


http.server.ThreadingHTTPServer(("", 8090), Receiver).serve_forever()
