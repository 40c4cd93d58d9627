# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to the Services: which command, which port of this machine, and that nothing stays open."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _components, _forward
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._forward import Way
from kube_fake import manifest

# Listens as kubectl does, where the words of a port-forward say.
KUBECTL = f"""#!{sys.executable}
import socket, sys, time
assert sys.argv[1:4] == ["--kubeconfig", "a b", "port-forward"], sys.argv
address, service, ports = sys.argv[4:]
if service == "service/broken":
    sys.exit("error: no pods are ready")
server = socket.create_server((address.partition("=")[2], int(ports.partition(":")[0])))
time.sleep(0.3 if service == "service/short" else 60)
"""


def service(name: str, component: str, *ports: int, **spec: Any) -> dict[str, Any]:
    return manifest("Service", name, component, spec={"ports": [{"port": port} for port in ports], **spec})


def free() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def kubectl(tmp_path: Path) -> list[str]:
    program = tmp_path / "kubectl"
    program.write_text(KUBECTL, encoding="utf-8")
    program.chmod(0o755)
    return [str(program), "--kubeconfig", "a b"]


def test_every_service_has_a_command_and_no_two_share_a_port() -> None:
    found = _forward.ways(
        [
            service("twisterlab-api", "api", 8000),
            service("kube-state-metrics", "kube-state-metrics", 8080),
            service("mcp-orchestrator", "mcp-orchestrator", 8080),
            service("postgres", "postgres", 5432),
            service("postgres-headless", "postgres", 5432, clusterIP="None"),
            service("web", "grafana", 80),
        ],
        _components.COMPONENTS,
    )
    assert [(way.service, way.local, way.port) for way in found] == [
        ("twisterlab-api", 8000, 8000),
        ("web", 10080, 80),
        ("kube-state-metrics", 8080, 8080),
        ("mcp-orchestrator", 18080, 8080),
        ("postgres", 5432, 5432),
    ]
    told = [way.data("kubectl --kubeconfig 'a b' -n shop") for way in found]
    assert (
        told[0]["command"]
        == "kubectl --kubeconfig 'a b' -n shop port-forward --address=127.0.0.1 service/twisterlab-api 8000:8000"
    )
    assert [item["address"] for item in told[::4]] == ["http://127.0.0.1:8000/docs", "127.0.0.1:5432"]
    assert f"  {told[0]['command']}    http://127.0.0.1:8000/docs" in _forward.screen("shop", told)


def test_only_the_tier_that_is_asked_for() -> None:
    services = [service("twisterlab-api", "api", 8000), service("postgres", "postgres", 5432)]
    assert [way.service for way in _forward.ways(services, ("postgres",))] == ["postgres"]
    assert "there is no Service of ours" in _forward.screen("shop", [])[0]


def test_ports_are_open_inside_the_block_and_closed_after_it(kubectl: list[str]) -> None:
    found = [Way("one", "api", 1, free()), Way("two", "api", 2, free())]
    with _forward.opened(kubectl, found) as running:
        assert all(_forward._listens(way.local) for way in found)
        begun = time.monotonic()
        assert _forward.hold(running, 0.5, lambda: False) == []
        assert time.monotonic() - begun >= 0.5
        assert _forward.hold(running, 60, lambda: True) == []
    assert not any(_forward._listens(way.local) for way in found)
    assert all(process.poll() is not None for _way, process in running)


def test_an_error_inside_closes_them_too(kubectl: list[str]) -> None:
    way = Way("one", "api", 1, free())
    with pytest.raises(KeyError), _forward.opened(kubectl, [way]):
        raise KeyError
    assert not _forward._listens(way.local)


def test_one_that_ends_by_itself_is_named(kubectl: list[str]) -> None:
    with _forward.opened(kubectl, [Way("short", "api", 1, free())]) as running:
        assert _forward.hold(running, 20, lambda: False) == ["short"]


def test_one_that_cannot_be_opened_is_told_with_what_kubectl_said(kubectl: list[str]) -> None:
    good = Way("one", "api", 1, free())
    with pytest.raises(Refused, match="port-forward to broken ended: error: no pods are ready"):
        _forward.opened(kubectl, [good, Way("broken", "api", 2, free())]).__enter__()
    assert not _forward._listens(good.local)


def test_a_port_in_use_is_told_before_anything_starts(kubectl: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        way = Way("one", "api", 1, int(taken.getsockname()[1]))
        with pytest.raises(Refused, match=f"Port {way.local} of this machine is in use"):
            _forward.opened(kubectl, [way]).__enter__()


def test_without_kubectl_it_says_where_to_have_it() -> None:
    with pytest.raises(Refused, match="no kubectl on PATH"):
        _forward.opened(["/nowhere/kubectl"], [Way("one", "api", 1, 2)]).__enter__()
