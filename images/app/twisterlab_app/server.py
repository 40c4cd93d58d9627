# SPDX-License-Identifier: MIT
"""Run one service in one process until SIGTERM or SIGINT, then send its clients away and finish what is in flight."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator

import uvicorn
from fastapi import FastAPI

from . import logs, settings
from .errors import ConfigurationError
from .redaction import Redactor

log = logging.getLogger("twisterlab.server")


class _Server(uvicorn.Server):
    """uvicorn's server, ending with exit code 0 after a clean stop instead of raising the signal again.

    Args:
        config: uvicorn's.
        lame_duck: seconds that it serves on after the first signal, closing each connection with its next answer.
    """

    def __init__(self, config: uvicorn.Config, lame_duck: float) -> None:
        super().__init__(config)
        self._lame_duck = lame_duck
        self._leaving = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop gracefully at the first signal, at once at the second."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, signal.Signals(number).name)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # everything is closed: a late second signal changes nothing

    def _stop(self, name: str) -> None:
        self.force_exit = self._leaving
        if self._leaving or not self._lame_duck:
            self.should_exit = True
        else:
            # A proxy that keeps connections would send the next request on one that is closed at that moment, and must not repeat a POST.
            self.config.encoded_headers = [*self.config.encoded_headers, (b"connection", b"close")]
            asyncio.get_running_loop().call_later(self._lame_duck, setattr, self, "should_exit", True)
        self._leaving = True
        log.info("stopping", extra={"signal": name, "in_flight": len(self.server_state.tasks)})


def _socket(host: str, port: int) -> socket.socket:
    """Bind the listening socket; ``::`` listens on IPv4 too."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=host == "::")
    # Connections inherit it. asyncio sets it only on sockets that name their protocol, which these do not: without it the body of
    # an answer waits for the client's delayed acknowledgement of its head, 40 ms on every kept-alive connection.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def run(component: str, default_port: int, build: Callable[[settings.Settings, Redactor], FastAPI]) -> int:
    """Serve the application that ``build`` returns; return the exit code (2: a setting is wrong)."""
    redact = Redactor(os.environ)
    logs.configure(component, "info", redact)
    try:
        configuration = settings.load(component, default_port, os.environ)
        logs.configure(component, configuration.log_level, redact)
        app = build(configuration, redact)
        listening = _socket(configuration.host, configuration.port)
    except ConfigurationError as error:
        log.critical(str(error))
        return 2
    except OSError as error:
        log.critical(f"cannot listen on port {configuration.port}: {error}")
        return 2
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
            loop="asyncio",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=configuration.forwarded_allow_ips,
            timeout_graceful_shutdown=configuration.graceful_timeout,
            timeout_keep_alive=75,
        ),
        configuration.lame_duck,
    )
    log.info("starting", extra={"port": configuration.port, "environment": configuration.environment})
    asyncio.run(server.serve(sockets=[listening]))
    log.info("stopped")
    return 0 if server.started else 1


def main(component: str, default_port: int, build: Callable[[settings.Settings, Redactor], FastAPI]) -> None:
    """Run and exit."""
    sys.exit(run(component, default_port, build))
