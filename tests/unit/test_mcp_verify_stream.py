# SPDX-License-Identifier: GPL-3.0-or-later
"""The transports without kubectl and the reading of the trace, against a small API server whose exec and port-forward are real streams."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_launch as launch
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_trace as trace
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._kube import Cluster
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_server import Server
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_stream import Exec, Target, run, target
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_wire import Ended
from ansible_collections.twisterlab.platform.plugins.module_utils._reach import pods

FIXTURES = Path(__file__).parent / "fixtures"


def _load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, FIXTURES / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


mcp_stub, api_stub = _load("mcp_stub"), _load("api_stub")
SPACE = "/api/v1/namespaces/twisterlab"
APPS = "/apis/apps/v1/namespaces/twisterlab"
SCRIPT = "/app/agents/mcp/mcp_server_continue_sync.py"
COMMAND = (
    "kubectl", "exec", "-i", "-n", "twisterlab", "deployment/twisterlab-api", "-c", "api", "--",
    "env", "PYTHONPATH=/app", "API_URL=http://twisterlab-api:8000", "python", "-u", SCRIPT,
)  # fmt: skip
TOKEN = "t0p-secret-token"


def objects() -> dict[str, Any]:
    agent = {"name": "orchestrator", "ports": [{"name": "http", "containerPort": 8080}]}
    selector = {"matchLabels": {"app.kubernetes.io/name": "x"}}
    return {
        f"{SPACE}/pods": {"items": [api_stub.pod("old", ready=False), api_stub.pod("one", containers=[agent])]},
        f"{SPACE}/pods/one": api_stub.pod("one"),
        f"{SPACE}/services/postgres": {"spec": {"selector": {"app.kubernetes.io/name": "x"}}},
        f"{APPS}/deployments/twisterlab-api": {"spec": {"selector": selector}},
        f"{APPS}/deployments/mcp-orchestrator": {
            "spec": {
                "template": {
                    "spec": {"containers": [{"env": [{"name": "AGENTS", "value": '{"monitoring": "http://mcp-monitoring:8082"}'}]}]}
                }
            }
        },
        f"{APPS}/deployments": {"items": [{"metadata": {"name": "twisterlab-api"}, "status": {"readyReplicas": 2}}]},
        f"{APPS}/statefulsets": {"items": [{"metadata": {"name": "postgres"}, "status": {}}]},
        f"{SPACE}/services": {"items": [{"metadata": {"name": "mcp-monitoring"}}]},
        f"{SPACE}/services/mcp-orchestrator": {
            "spec": {"selector": {"a": "b"}, "ports": [{"port": 8080, "targetPort": "http"}]}
        },
        f"{SPACE}/secrets/twisterlab-secrets": {"data": {"mcp_token": base64.b64encode(TOKEN.encode()).decode()}},
    }  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "tickets"


def programs(store: Path, mode: str) -> Any:
    """What runs in the stub's containers: our server, or psql."""

    def give(argv: Sequence[str]) -> Sequence[str]:
        if argv[0] == "sh":
            assert argv[3] == "psql" and "--no-psqlrc" in argv[2]
            row = mcp_stub.ticket(store, api_stub.query_number(argv))
            return [sys.executable, "-c", "import sys; print(sys.argv[1])", json.dumps(row) if row else ""]
        if SCRIPT in argv:
            return ["env", f"STUB_TICKETS={store}", sys.executable, str(FIXTURES / "mcp_stub.py"), mode]
        return argv

    return give


def cluster(url: str) -> Cluster:
    return Cluster({"host": url, "api_key": "x"})


def launcher(url: str, **options: Any) -> launch.Launcher:
    settings: dict[str, Any] = {"values": {}, "hide": str, **options}
    return launch.Launcher(lambda: cluster(url), "twisterlab", "api", 10.0, **settings)


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_a_server_in_a_container_passes(store: Path, era: str) -> None:
    with api_stub.ApiStub(objects(), programs(store, "honest")) as api:
        steps = launcher(api.url).verify(Server("twisterlab-mcp", COMMAND), era)
    assert {step.step: step.evidence for step in steps if step.state != "ok"} == {}
    found = {step.step: step.evidence for step in steps}
    assert "read back from Postgres" in found["call"]
    assert found["end of input"] == "it ended with code 0"
    assert api.calls == ["exec one api", "exec one -", "exec one -"]


def test_a_lie_in_a_container_is_found(store: Path) -> None:
    with api_stub.ApiStub(objects(), programs(store, "lies")) as api:
        steps = launcher(api.url).verify(Server("twisterlab-mcp", COMMAND), "modern")
    failed = [step for step in steps if step.state == "failed"]
    assert [step.step for step in failed] == ["call"]
    assert "but Postgres has no such row: the server reports success that did not happen" in failed[0].evidence


def test_the_end_of_a_program_is_said(store: Path) -> None:
    with api_stub.ApiStub(objects(), programs(store, "dies")) as api:
        steps = launcher(api.url).verify(Server("twisterlab-mcp", COMMAND), "modern")
    failed = [step for step in steps if step.state == "failed"]
    assert [step.step for step in failed] == ["call"]
    assert "exit status 3; its last words: Traceback: out of memory" in failed[0].evidence


def test_ten_megabytes_over_the_stream(store: Path) -> None:
    with api_stub.ApiStub(objects(), programs(store, "huge")) as api:
        steps = launcher(api.url).verify(Server("twisterlab-mcp", COMMAND), "modern")
    assert [(step.step, "MiB" in step.evidence) for step in steps if step.state == "failed"] == [("call", True)]


def test_an_old_api_server_cannot_close_stdin(store: Path) -> None:
    with api_stub.ApiStub(objects(), programs(store, "honest"), protocol="v4.channel.k8s.io") as api:
        steps = launcher(api.url).verify(Server("twisterlab-mcp", COMMAND), "modern")
    assert {step.step: step.state for step in steps if step.state != "ok"} == {"end of input": "skipped"}


def test_a_program_that_is_not_there(store: Path) -> None:
    broken = lambda argv: [sys.executable, "-c", "import sys; sys.exit('no such file')"]  # noqa: E731
    with api_stub.ApiStub(objects(), broken) as api:
        wire = Exec(cluster(api.url), Target("twisterlab", "one", "", ("x",)), 5)
        with pytest.raises(Ended, match="ended: command terminated with non-zero exit code: exit status 1"):
            wire.receive(5)
        assert wire.words() == "no such file"
        wire.close()


def test_a_line_that_came_along_is_not_waited_for() -> None:
    """Two frames that are there already: the second must not wait for a third."""
    script = "import time; print('a', flush=True); time.sleep(0.3); print('b', flush=True); time.sleep(8)"
    with api_stub.ApiStub(objects()) as api:
        wire = Exec(cluster(api.url), Target("twisterlab", "one", "", (sys.executable, "-c", script)), 5)
        time.sleep(1.5)
        begun = time.monotonic()
        assert [wire.receive(5), wire.receive(5)] == [b"a", b"b"]
        assert time.monotonic() - begun < 2
        wire.close()


def test_run_gives_output_and_verdict() -> None:
    with api_stub.ApiStub(objects()) as api:
        where = Target("twisterlab", "one", "", (sys.executable, "-c", "print('a'); print('b', end='')"))
        assert run(cluster(api.url), where, 10) == (True, "a\nb", "")
        where = Target("twisterlab", "one", "", (sys.executable, "-c", "import sys; sys.exit('bad')"))
        assert run(cluster(api.url), where, 10) == (False, "", "bad")


def test_no_connection_is_an_error_in_time() -> None:
    late = pytest.raises(PlatformError, match="exec in pod one was not connected within 1 s")
    with api_stub.ApiStub(objects(), deaf=True) as api, late:
        Exec(cluster(api.url), Target("twisterlab", "one", "", ("x",)), 1)


def test_a_flood_through_the_stream_ends_with_the_time_limit(store: Path) -> None:
    with api_stub.ApiStub(objects(), programs(store, "flood")) as api:
        patient = launch.Launcher(lambda: cluster(api.url), "twisterlab", "api", 3.0, {}, str)
        steps = patient.verify(Server("twisterlab-mcp", COMMAND), "modern")
    assert [step.step for step in steps if step.state == "failed"] == ["handshake", "stdout"]
    assert sum(step.seconds for step in steps) < 10


@pytest.mark.parametrize(
    ("info", "mode", "sentence"),
    [
        (True, "honest", "deployment/twisterlab-api has twisterlab-mcp-continue 2.1.0"),
        (True, "legacy", "deployment/twisterlab-api has twisterlab-mcp-continue 2.1.0"),
        (True, "stranger", "deployment/twisterlab-api has somebody-else 1.0.0 instead of twisterlab-mcp-continue 2.1.0"),
        (False, "no such mode", "deployment/twisterlab-api does not answer as an MCP server: .*last words: usage"),
    ],
)  # fmt: skip
def test_probe(store: Path, info: bool, mode: str, sentence: str) -> None:

    with api_stub.ApiStub(objects(), programs(store, mode)) as api:
        found, told = launch.server_info(cluster(api.url), "twisterlab", "deployment/twisterlab-api", "api", 10)
    assert bool(found) is info
    assert re.match(sentence, told), told


# -- HTTP through a port-forward --------------------------------------------------------------------------------------


@pytest.fixture
def orchestrator() -> Iterator[int]:
    agents = {"monitoring": "http://mcp-monitoring:8082"}
    server = mcp_stub.serve(mcp_stub.Stub("honest", agents=agents), token=TOKEN)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_http_through_a_port_forward(orchestrator: int, era: str) -> None:
    url = "http://mcp-orchestrator.twisterlab.svc.cluster.local:8080/mcp"
    server = Server("twisterlab-orchestrator", url=url, headers={"Authorization": "Bearer ${TWISTERLAB_MCP_TOKEN}"})
    with api_stub.ApiStub(objects(), ports={8080: orchestrator}) as api:
        values = launch.secrets(server.references, {}, lambda: cluster(api.url), "twisterlab")
        steps = launcher(api.url, values=values, hide=launch.hider(values.values())).verify(server, era)
    assert {step.step: step.evidence for step in steps if step.state != "ok"} == {}
    assert "agents monitoring, as configured" in [step.evidence for step in steps]
    assert set(api.calls) == {"forward one 8080"}
    assert TOKEN not in repr(steps)


def test_a_service_that_is_not_there() -> None:
    server = Server("twisterlab-x", url="http://nobody:8080/mcp")
    with api_stub.ApiStub(objects()) as api:
        steps = launcher(api.url).verify(server, "modern")
    assert (steps[0].state, steps[0].evidence) == ("failed", "Service nobody does not exist in namespace twisterlab")


# -- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (COMMAND, Target("twisterlab", "deployment/twisterlab-api", "api", COMMAND[9:])),
        (("/usr/bin/kubectl", "--kubeconfig", "/a b", "--context=c", "exec", "-i", "pod/x", "--", "cat"), Target("here", "pod/x", "", ("cat",))),
        (("kubectl", "-n", "n", "exec", "--stdin=true", "--container=c", "x", "--", "a", "--", "b"), Target("n", "x", "c", ("a", "--", "b"))),
        (("kubectl", "exec", "-it", "--namespace=n", "x", "--", "cat"), Target("n", "x", "", ("cat",))),
    ],
)  # fmt: skip
def test_kubectl_exec_is_read_as_kubectl_reads_it(words: Sequence[str], expected: Target) -> None:
    assert target(words, "here") == expected


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("kubectl", "exec", "x", "--", "cat"), "closes the server's stdin at once: write `exec -i`"),
        (("kubectl", "exec", "-i", "--stdin=false", "x", "--", "cat"), "write `exec -i`"),
        (("python", "server.py"), "is not of the form `kubectl exec -i"),
        (("kubectl", "exec", "-i", "x", "cat"), "is not of the form `kubectl exec -i"),
        (("kubectl", "exec", "-i", "--", "cat"), "must name one pod or workload"),
        (("kubectl", "exec", "-i", "x", "y", "--", "cat"), "must name one pod or workload"),
        (("kubectl", "exec", "-i", "x", "--"), "must name one pod or workload"),
    ],
)  # fmt: skip
def test_commands_that_are_no_kubectl_exec(words: Sequence[str], sentence: str) -> None:
    with pytest.raises(Refused) as caught:
        target(words, "here")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("deployment/nobody", "deployment/nobody does not exist in namespace twisterlab"),
        ("nobody", "nobody in namespace twisterlab has no ready pod"),
        ("job/x", "pods of the kind job cannot be found here"),
    ],
)
def test_targets_without_a_pod(name: str, sentence: str) -> None:
    with api_stub.ApiStub(objects()) as api, pytest.raises(Refused) as caught:
        pods(cluster(api.url), "twisterlab", name)
    assert sentence in str(caught.value)


def test_the_trace_without_a_database_in_the_cluster() -> None:
    there = objects()
    del there[f"{SPACE}/services/postgres"]
    there[f"{SPACE}/services/twisterlab-api:http/proxy/api/v1/tickets/7"] = {"id": 7, "title": "t"}
    missing = {"kind": "Status", "code": 404, "message": "there is no ticket 8", "reason": "NotFound"}
    there[f"{SPACE}/services/twisterlab-api:http/proxy/api/v1/tickets/8"] = missing
    with api_stub.ApiStub(there) as api:
        evidence = trace.Evidence(cluster(api.url), "twisterlab", 5)
        assert evidence.ticket(7) == trace.Row("the API (there is no service/postgres)", {"id": 7, "title": "t"})
        assert evidence.ticket(8).fields is None
        with pytest.raises(PlatformError, match="read ticket 9 through the API"):
            evidence.ticket(9)


def test_a_database_that_cannot_be_asked_is_no_proof(store: Path) -> None:
    down = lambda argv: [sys.executable, "-c", "import sys; sys.exit('connection refused')"]  # noqa: E731
    with api_stub.ApiStub(objects(), down) as api:
        evidence = trace.Evidence(cluster(api.url), "twisterlab", 5)
        with pytest.raises(PlatformError, match="Postgres cannot be asked for ticket 7: connection refused"):
            evidence.ticket(7)


def test_what_the_cluster_says_of_agents() -> None:
    with api_stub.ApiStub(objects()) as api:
        evidence = trace.Evidence(cluster(api.url), "twisterlab", 5)
        assert evidence.agents("mcp-orchestrator") == {"monitoring": "http://mcp-monitoring:8082"}
        assert evidence.agents("nobody") is None
        urls = {
            "a": "http://mcp-monitoring:8082",
            "b": "http://gone.twisterlab.svc:1",
            "c": "https://elsewhere.example/",
        }
        assert evidence.missing_services(urls) == ["b"]
        assert evidence.ready() == {"twisterlab-api": 2, "postgres": 0}


def test_secrets_come_from_the_environment_first() -> None:
    with api_stub.ApiStub(objects()) as api:
        there = lambda: cluster(api.url)  # noqa: E731
        found = launch.secrets(["TWISTERLAB_MCP_TOKEN"], {"TWISTERLAB_MCP_TOKEN": "mine"}, there, "twisterlab")
        assert found == {"TWISTERLAB_MCP_TOKEN": "mine"}
        assert launch.secrets(["TWISTERLAB_MCP_TOKEN"], {}, there, "twisterlab") == {"TWISTERLAB_MCP_TOKEN": TOKEN}
        with pytest.raises(Refused, match="nor the key other of Secret twisterlab-secrets in namespace twisterlab"):
            launch.secrets(["OTHER"], {}, there, "twisterlab")


def test_a_token_that_a_person_inlined_is_hidden() -> None:
    server = Server("x", url="http://x/mcp", headers={"authorization": "Bearer abcdefgh"})
    assert launch.hider(launch.confidential([server], []))("got abcdefgh and Bearer abcdefgh") == "got *** and ***"


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("http://mcp-orchestrator.twisterlab.svc:8080/mcp", "", ("mcp-orchestrator", 8080)),
        ("https://mcp-orchestrator.example/mcp", "", ("mcp-orchestrator", 443)),
        ("https://lab.example/mcp", "mcp-monitoring:8082", ("mcp-monitoring", 8082)),
    ],
)
def test_service_of_a_url(url: str, given: str, expected: tuple[str, int]) -> None:
    assert launch.service_of(url, given) == expected
