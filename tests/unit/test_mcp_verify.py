# SPDX-License-Identifier: GPL-3.0-or-later
"""The verifier against real processes and HTTP servers, honest and lying ones; only the reading of the trace is a stand-in."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_expect as expect
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_http import Http
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_trace import Row
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_verify import ERAS, Step, Verification
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_wire import Process

STUB = Path(__file__).parent / "fixtures" / "mcp_stub.py"
_SPEC = importlib.util.spec_from_file_location("mcp_stub", STUB)
assert _SPEC and _SPEC.loader
stub = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(stub)
BOTH = ("modern", "legacy")
TOKEN = "t0p-secret-token"


class Facts:
    """The stand-in for the cluster: the file of tickets that the stub really writes, and two agents."""

    def __init__(self, store: Path) -> None:
        self.store = store

    def ticket(self, number: int) -> Row:
        return Row("Postgres", stub.ticket(self.store, number))

    def agents(self, deployment: str) -> dict[str, str] | None:
        assert deployment == "mcp-orchestrator"
        return {"monitoring": "http://mcp-monitoring:8082"}

    def missing_services(self, urls: dict[str, str]) -> list[str]:
        return [name for name in urls if name != "monitoring"]

    def ready(self) -> dict[str, int]:
        return {"postgres": 1, "redis": 0}


def hide(text: str) -> str:
    return text.replace("hunter2-secret", "***")


def verify(tmp_path: Path, mode: str, era: str, seconds: float = 10.0) -> dict[str, Step]:
    """The steps of a stub over stdio."""
    store = tmp_path / "tickets"
    started = Verification(
        "twisterlab-mcp",
        "stdio",
        era,
        expect.STDIO,
        lambda: Process([sys.executable, str(STUB), mode], {"STUB_TICKETS": str(store)}),
        lambda: Facts(store),
        seconds,
        hide,
    )
    return {step.step: step for step in started.run()}


def failures(steps: dict[str, Step]) -> dict[str, str]:
    return {name: step.evidence for name, step in steps.items() if step.state == "failed"}


@pytest.mark.parametrize("era", ERAS)
def test_an_honest_server_passes_in_every_revision(tmp_path: Path, era: str) -> None:
    steps = verify(tmp_path, "honest", era)
    assert failures(steps) == {}
    assert [step.step for step in steps.values() if step.state == "skipped"] == []
    wanted = ["start", "handshake", "identity", "tools", "call", "clean up", "wrong arguments"]
    wanted += ["unknown revision"] if era == "modern" else []
    assert list(steps) == [*wanted, "end of input", "stdout", "schema"]
    assert steps["handshake"].evidence == "twisterlab-mcp-continue 2.1.0"
    assert steps["tools"].evidence == "8 tools"
    assert "read back from Postgres" in steps["call"].evidence
    assert steps["end of input"].evidence == "it ended with code 0"
    assert f"revision {ERAS[era]}" in steps["schema"].evidence
    assert all(0 <= step.seconds < 10 for step in steps.values())


#: mode: the only step that fails, what its sentence says.
BAD = {
    "lies": ("call", r"twisterlab-mcp says that it stored ticket \d+, but Postgres has no such row: the server reports success that did not happen"),
    "other": ("call", r"in Postgres that ticket has another text: the server reports success that did not happen"),
    "chatty": ("stdout", r"a line to stdout that is no JSON-RPC message: 'INFO connecting with password \*\*\*'"),
    "bad_tool": ("tools", r"input schema of twisterlab_mcp_list_autonomous_agents is no valid JSON Schema: \$\.properties\.x\.type"),
    "invalid": ("schema", r"\$\.result\.tools\[1\]: 'inputSchema' is a required property \(ListToolsResult, revision 20\d\d-\d\d-\d\d\)"),
    "careless": ("wrong arguments", r"classify_ticket without its arguments is reported as a success"),
    "stranger": ("identity", r"it is somebody-else 1\.0\.0, expected is twisterlab-mcp-continue 2\.1\.0"),
    "poor": ("tools", r"tools/list lacks create_backup"),
    "failing": ("call", r"classify_ticket says that it failed: the API cannot be reached: connection refused"),
    "wrong_id": ("handshake", r"was asked with id 1, the answer carries id 1001"),
    "dies": ("call", r"the server ended with code 3; its last words: Traceback: out of memory"),
    "huge": ("call", r"a line of .* MiB"),
    "silent": ("handshake", r"was not answered within 1 s"),
    "endless": ("end of input", r"still runs 1 s after the end of its input"),
}  # fmt: skip


def test_a_flood_ends_with_the_time_limit(tmp_path: Path) -> None:
    found = failures(verify(tmp_path, "flood", "modern", 1.0))
    assert list(found) == ["handshake", "stdout"]
    assert found["handshake"].startswith("server/discover was not answered within 1 s")


@pytest.mark.parametrize("era", BOTH)
@pytest.mark.parametrize("mode", BAD)
def test_each_fault_is_said_once_and_in_the_right_place(tmp_path: Path, mode: str, era: str) -> None:
    step, sentence = BAD[mode]
    steps = verify(tmp_path, mode, era, 1.0 if mode in ("silent", "endless") else 10.0)
    found = failures(steps)
    if mode == "invalid":
        # A tool without an input schema fails in both: as a tool and as a message.
        assert "no JSON schema" in found.pop("tools")
    assert list(found) == [step]
    assert re.search(sentence, found[step]), found[step]
    assert "hunter2" not in repr(steps)


def test_null_for_a_notification_is_impure(tmp_path: Path) -> None:
    found = failures(verify(tmp_path, "null", "legacy"))
    assert found == {"stdout": "the server writes a line to stdout that is no JSON-RPC message: 'null'"}


def test_a_legacy_server_passes_as_one(tmp_path: Path) -> None:
    assert failures(verify(tmp_path, "legacy", "legacy")) == {}


def test_a_legacy_server_that_is_asked_for_the_modern_era_falls_back(tmp_path: Path) -> None:
    found = failures(verify(tmp_path, "legacy", "modern"))
    assert list(found) == ["handshake"]
    assert "answered with -32601 Method not found" in found["handshake"]
    assert "does speak the legacy one (twisterlab-mcp-continue 2.1.0, revision 2025-11-25)" in found["handshake"]


def test_messages_are_judged_by_the_revision_agreed_on(tmp_path: Path) -> None:
    steps = verify(tmp_path, "old", "legacy")
    assert failures(steps) == {}
    assert "revision 2024-11-05" in steps["handshake"].evidence
    assert "revision 2024-11-05" in steps["schema"].evidence


def test_a_server_may_ask_the_client(tmp_path: Path) -> None:
    assert failures(verify(tmp_path, "asks", "legacy")) == {}


def test_a_revision_that_does_not_exist_must_be_refused(tmp_path: Path) -> None:
    found = failures(verify(tmp_path, "unlimited", "modern"))
    assert list(found) == ["unknown revision"]
    assert "answered with a result instead of -32022" in found["unknown revision"]


def test_nothing_is_left_running() -> None:
    # Closing must reach what the server itself has started.
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    process = Process([sys.executable, "-c", script], {})
    child = int(process.receive(10))
    os.kill(child, 0)
    process.close()
    for _turn in range(50):
        if not Path(f"/proc/{child}").exists() or "\nState:\tZ" in Path(f"/proc/{child}/status").read_text():
            return
        time.sleep(0.05)
    pytest.fail("the child still runs")


def test_a_command_that_cannot_be_started(tmp_path: Path) -> None:
    started = Verification(
        "x", "stdio", "legacy", expect.UNKNOWN, lambda: Process(["./no-such-program"], {}), None, 1.0
    )
    steps = started.run()
    assert (steps[0].step, steps[0].state) == ("start", "failed")
    assert "the command ./no-such-program cannot be started" in steps[0].evidence
    assert {step.state for step in steps[1:]} == {"skipped"}


def test_without_a_trace_the_call_is_skipped_not_passed(tmp_path: Path) -> None:
    started = Verification(
        "twisterlab-mcp", "stdio", "modern", expect.STDIO,
        lambda: Process([sys.executable, str(STUB), "lies"], {}), None, 5.0,
    )  # fmt: skip
    assert {step.step: step.state for step in started.run()}["call"] == "skipped"


def test_the_server_speaks_stdout_before_and_after_its_death() -> None:
    """What a server writes after the end of its input counts too."""
    script = "import sys; sys.stdin.read(); print('good'); print('bye', end='')"
    process = Process([sys.executable, "-c", script], {})
    told, lines = process.end(5.0)
    process.close()
    assert (told, lines) == ("it ended with code 0", [b"good", b"bye"])


# -- HTTP -----------------------------------------------------------------------------------------------------------


@contextmanager
def serving(mode: str, **options: Any) -> Iterator[str]:
    server = stub.serve(stub.Stub(mode, agents={"monitoring": "http://mcp-monitoring:8082"}), **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/mcp"
    finally:
        server.shutdown()
        server.server_close()


def over_http(url: str, era: str, tmp_path: Path, seconds: float = 5.0) -> dict[str, Step]:
    started = Verification(
        "twisterlab-orchestrator",
        "http",
        era,
        expect.ORCHESTRATOR,
        lambda: Http(url, {"Authorization": f"Bearer {TOKEN}"}, seconds),
        lambda: Facts(tmp_path),
        seconds,
        guarded=True,
    )
    return {step.step: step for step in started.run()}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("sse", [False, True])
def test_an_honest_http_server_passes(tmp_path: Path, era: str, sse: bool) -> None:
    with serving("honest", token=TOKEN, sse=sse) as url:
        steps = over_http(url, era, tmp_path)
    assert failures(steps) == {}
    assert steps["call"].evidence == "agents monitoring, as configured"
    assert steps["strangers"].evidence == "401 without the token, 403 from a foreign origin"
    assert "end of input" not in steps
    assert TOKEN not in repr(steps)


def test_a_session_is_kept_and_ended(tmp_path: Path) -> None:
    with serving("legacy", token=TOKEN, session=True) as url:
        steps = over_http(url, "legacy", tmp_path)
    # The stranger without a token is refused before the session is looked at.
    assert failures(steps) == {}


def no_step(url: str, tmp_path: Path) -> dict[str, Step]:
    return over_http(url, "modern", tmp_path, 1.0)


HTTP_BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "lies": ({"token": TOKEN}, "call", "list_agents names invented, monitoring, configured are monitoring"),
    "gullible": (
        {"token": TOKEN},
        "strangers",
        "from the foreign origin https://stranger.example was answered with HTTP 200",
    ),
    "honest": ({"token": ""}, "strangers", "a request without the token was answered with HTTP 200 instead of 401"),
    "silent": ({"token": TOKEN}, "handshake", "did not answer within 1 s"),
    "legacy": ({"token": TOKEN}, "handshake", "ask with eras: [legacy]"),
}


@pytest.mark.parametrize("mode", HTTP_BAD)
def test_faults_over_http(tmp_path: Path, mode: str) -> None:
    options, step, sentence = HTTP_BAD[mode]
    with serving(mode, **options) as url:
        found = failures(no_step(url, tmp_path))
    assert list(found) == [step]
    assert sentence in found[step]


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with serving("honest") as url:
        pass
    found = failures(no_step(url, tmp_path))
    assert list(found) == ["handshake"]
    assert "the server cannot be reached" in found["handshake"]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot here\n", "HTTP 404: not here"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "HTTP 302 and no body"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {}", "ended without the answer"),
        (b"no http at all", "cannot be reached"),
    ],
)  # fmt: skip
def test_answers_that_are_none(tmp_path: Path, raw: bytes, sentence: str) -> None:
    found = raw_server(lambda: raw, lambda url: failures(no_step(url, tmp_path)))
    assert list(found) == ["handshake"]
    assert sentence in found["handshake"]


def test_an_endless_body_is_cut(tmp_path: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    found = raw_server(lambda: head + b"x" * (5 * 1024 * 1024), lambda url: failures(no_step(url, tmp_path)))
    assert "more than 4 MiB in one message" in found["handshake"]


def raw_server(answer: Callable[[], bytes], use: Callable[[str], dict[str, str]]) -> dict[str, str]:
    """Use a server that answers every connection with the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def work() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(0.2)
                    try:
                        # The whole request, or closing would reset the connection.
                        while connection.recv(65536):
                            continue
                    except TimeoutError:
                        pass
                    try:
                        connection.sendall(answer())
                    except OSError:
                        continue

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        begun = time.monotonic()
        found = use(f"http://127.0.0.1:{listener.getsockname()[1]}/mcp")
        assert time.monotonic() - begun < 5
    return found
