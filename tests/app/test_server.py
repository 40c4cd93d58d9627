# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's sockets, without anything behind them."""

from __future__ import annotations

import socket
import sys

import pytest
from conftest import APP

sys.path.insert(0, str(APP))
from twisterlab_app import server


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_answers_do_not_wait_for_the_clients_acknowledgement(host: str) -> None:
    """Head and body are two packets; held back, the second costs 40 ms on every kept-alive connection."""
    try:
        listening = server._socket(host, 0)
    except OSError as error:
        pytest.skip(f"this machine cannot listen on {host}: {error}")
    with listening, socket.create_connection(("127.0.0.1", listening.getsockname()[1]), timeout=5):
        connection, _peer = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
