# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe's program, against sockets of this machine."""

from __future__ import annotations

import errno
import inspect
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _network_probe as probe

CONF = "search shop.svc.test.local svc.test.local test.local\nnameserver 127.0.0.1\nnameserver 192.0.2.1\noptions ndots:5\n"


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def shut() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def run(*targets: list[Any], settle: float = 0.0, seconds: float = 0.3, **rest: Any) -> dict[str, Any]:
    return probe.probe({"targets": list(targets), "seconds": seconds, "settle": settle}, CONF, **rest)


def test_open_and_shut_are_told_apart(listening: int, shut: int) -> None:
    found = run(["tcp", "127.0.0.1", listening, True], ["tcp", "127.0.0.1", shut, False])
    assert found["rounds"] == 1
    assert found["settled"] is not None
    assert found["results"][0] > 0
    assert found["results"][1] == probe.REFUSED


def test_silence_ends_with_the_time_and_does_not_hold_up_the_others(listening: int) -> None:
    # A server whose queue is full lets a connection wait, as a plugin does that drops.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _turn in range(4)]
        for item in waiting:
            item.setblocking(False)
            item.connect_ex(address)
        found = run(["tcp", *address, False], ["tcp", "127.0.0.1", listening, True])
        for item in waiting:
            item.close()
    assert found["results"] == [probe.SILENT, found["results"][1]]
    assert 0 < found["results"][1] < 200


def test_it_tries_again_until_everything_is_as_wanted(shut: int) -> None:
    servers: list[socket.socket] = []

    def open_it(_seconds: float) -> None:
        if not servers:
            servers.append(socket.create_server(("127.0.0.1", shut)))

    found = run(["tcp", "127.0.0.1", shut, True], settle=5, pause=open_it)
    servers[0].close()
    assert found["rounds"] == 2
    assert found["settled"] is not None


def test_a_round_that_cannot_be_the_proof_ends_at_once_and_the_last_one_is_whole(shut: int) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _turn in range(4)]
        for item in waiting:
            item.setblocking(False)
            item.connect_ex(address)
        # One is shut and should be open, so nothing is gained by waiting for the silent one.
        targets: list[Any] = [["tcp", "127.0.0.1", shut, True], ["tcp", *address, False]]
        begun = time.monotonic()
        found = run(*targets, settle=0.3, seconds=1.0, pause=lambda _seconds: time.sleep(0.1))
        took = time.monotonic() - begun
        for item in waiting:
            item.close()
    assert found["rounds"] > 2
    assert 1.0 < took < 2.0
    assert found["results"] == [probe.REFUSED, probe.SILENT]


def test_what_never_settles_is_told_with_the_last_round(listening: int) -> None:
    found = run(["tcp", "127.0.0.1", listening, False])
    assert found["settled"] is None
    assert found["results"][0] > 0


def test_a_question_for_the_name_server() -> None:
    asked: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def answer() -> None:
            question, who = server.recvfrom(512)
            asked.append(question)
            server.sendto(question, who)

        thread = threading.Thread(target=answer)
        thread.start()
        # No host: the name server of resolv.conf.
        found = run(["dns", "", server.getsockname()[1], True])
        thread.join()
        assert found["results"][0] > 0
        assert b"\x0akubernetes\x07default\x03svc\x04test\x05local\x00" in asked[0]
    assert run(["dns", "127.0.0.1", server_of_nobody(), False])["results"] == [probe.REFUSED]


def server_of_nobody() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CONF, ("127.0.0.1", "kubernetes.default.svc.test.local")),
        ("nameserver 10.0.0.10\n", ("10.0.0.10", "kubernetes.default.svc.cluster.local")),
        ("", ("127.0.0.1", "kubernetes.default.svc.cluster.local")),
    ],
)
def test_resolv_conf(text: str, expected: tuple[str, str]) -> None:
    assert probe.resolver(text) == expected


def test_codes() -> None:
    assert probe.code(errno.ETIMEDOUT) == probe.SILENT
    assert probe.code(errno.EHOSTUNREACH) == probe.REFUSED
    assert probe.code(errno.ENOBUFS) == probe.OTHER


def test_the_environment_says_where_the_api_server_is(listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(listening))
    assert run(["tcp", "$KUBERNETES_SERVICE_HOST", 443, True])["results"][0] > 0


def test_it_runs_as_a_text_alone_and_leaves_its_answer(listening: int, tmp_path: Any) -> None:
    """As in the pod: isolated, without site packages, nothing but its own text."""
    words, conf = tmp_path / "words", tmp_path / "resolv.conf"
    conf.write_text(CONF)
    text = inspect.getsource(probe).replace(probe.WORDS, str(words)).replace(probe.RESOLVER, str(conf))
    task = {"targets": [["tcp", "127.0.0.1", listening, True]], "seconds": 1, "settle": 0}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", text, json.dumps(task)], text=True, capture_output=True, check=True
    )
    assert json.loads(words.read_text()) == json.loads(done.stdout)
    assert len(words.read_text()) < 4096
