# SPDX-License-Identifier: GPL-3.0-or-later
"""The local cluster's decisions, against a Docker that is a table of answers."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.action import local_cluster
from ansible_collections.twisterlab.platform.plugins.module_utils import _cluster, _host
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = _cluster.Settings("exp", "127.0.0.1", 8080, 8443, "auto", "kindest/node:v1")


AUTHORITY = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KUBECONFIG = yaml.safe_dump(
    {
        "current-context": "kind-exp",
        "contexts": [{"name": "kind-exp", "context": {"cluster": "kind-exp"}}],
        "clusters": [
            {
                "name": "kind-exp",
                "cluster": {"certificate-authority-data": base64.b64encode(AUTHORITY.encode()).decode()},
            }
        ],
    }
)


class Docker:
    """Answers like docker's command line."""

    def __init__(
        self,
        running: list[str],
        stopped: list[str],
        record: dict[str, str] | None,
        authority: str = AUTHORITY,
        image: str = SETTINGS.node_image,
    ) -> None:
        self.running, self.stopped, self.record = running, stopped, record
        self.authority, self.image = authority, image
        self.silent = False
        self.calls: list[tuple[str, ...]] = []

    def __call__(self, *arguments: str, timeout: float = 60, stdin: str | None = None) -> str:
        self.calls.append(arguments)
        if arguments[0] == "ps":
            return "\n".join(self.running + (self.stopped if "--all" in arguments else []))
        if arguments[0] == "exec" and self.silent:
            raise BuildError("refused")
        if arguments[0] == "exec" and "configmap" in arguments:
            if self.record is None:
                raise BuildError("not found")
            return json.dumps({"data": self.record})
        if arguments[0] == "cp":
            return f"ca.crt\0000644\0{self.authority}\0"
        if arguments[0] == "inspect":
            return f"{self.image}\n"
        return ""


Maker = Callable[..., _cluster.LocalCluster]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Maker:
    """A cluster around a pretended Docker."""

    def maker(
        docker: Docker, *, ours: bool = True, creating: bool = False, kubeconfig: bool = True
    ) -> _cluster.LocalCluster:
        monkeypatch.setattr(_cluster.docker, "docker", docker)
        cluster = _cluster.LocalCluster(SETTINGS, tmp_path, lambda line: None)
        if ours:
            cluster.folder.mkdir(parents=True)
            if creating:
                cluster.marker.write_text(SETTINGS.node_image, encoding="utf-8")
            if kubeconfig:
                cluster.kubeconfig.write_text(KUBECONFIG, encoding="utf-8")
        return cluster

    return maker


NODE = "exp-control-plane"


@pytest.mark.parametrize(
    ("docker", "options", "status"),
    [
        (Docker([], [], None), {"ours": False}, "absent"),
        (Docker([NODE], [], {"addons": "a", "image_source": "built"}), {}, "ready"),
        (Docker([NODE], [], {"addons": "b", "image_source": "built"}), {}, "unfinished"),
        (Docker([NODE], [], {"addons": "a", "image_source": "built"}), {"kubeconfig": False}, "unfinished"),
        (Docker([NODE], [], None), {}, "unfinished"),
        (Docker([NODE], [], None), {"creating": True}, "unfinished"),
        (Docker([], [NODE], None), {"creating": True}, "unfinished"),
        (Docker([], [NODE], {"addons": "a"}), {}, "stopped"),
    ],
)
def test_what_is_there(make: Maker, docker: Docker, options: dict[str, bool], status: str) -> None:
    assert make(docker, **options).look("a").status == status


@pytest.mark.parametrize(
    ("docker", "options"),
    [
        (Docker([NODE], [], None), {"ours": False}),
        # What is left in the cache of a cluster that is gone, or of one that was never made, says nothing of another one.
        (Docker([NODE], [], None, authority="another"), {}),
        (Docker([NODE], [], None), {"kubeconfig": False}),
        (Docker([NODE], [], None, image="kindest/node:theirs"), {"creating": True}),
    ],
)
def test_somebody_elses_cluster_is_not_touched(make: Maker, docker: Docker, options: dict[str, bool]) -> None:
    cluster = make(docker, **options)
    with pytest.raises(BuildError, match="was not made here"):
        cluster.look("a")
    with pytest.raises(BuildError, match="was not made here"):
        cluster.remove()
    assert not any(call[0] == "rm" for call in docker.calls)


def test_a_cluster_of_an_emptied_cache_says_itself_that_it_is_ours(make: Maker) -> None:
    cluster = make(Docker([NODE], [], {"addons": "a", "image_source": "built"}), ours=False)
    assert cluster.look("a").status == "unfinished"
    assert cluster.remove() is True


@pytest.mark.parametrize("docker", [Docker([], [NODE], None), Docker([NODE], [], None)])
def test_a_cluster_that_is_not_up_is_not_called_somebody_elses(make: Maker, docker: Docker) -> None:
    docker.silent = True
    cluster = make(docker, ours=False)
    with pytest.raises(BuildError, match=f"does not answer, and the cache .*docker start {NODE}"):
        cluster.look("a")


def test_a_whole_cluster_is_not_taken_for_one_that_was_begun(make: Maker) -> None:
    cluster = make(Docker([NODE], [], {"addons": "a", "image_source": "built"}), creating=True)
    assert cluster.look("a").status == "ready"
    assert not cluster.marker.exists()


def test_a_cluster_that_was_begun_is_known_by_its_images_digest(make: Maker) -> None:
    cluster = make(Docker([NODE], [], None, image="kindest/node@sha256:1234"), creating=True)
    cluster.marker.write_text("kindest/node:v1@sha256:1234", encoding="utf-8")
    assert cluster.look("a").status == "unfinished"


def test_a_kubeconfig_of_a_cluster_that_is_gone_is_not_used(make: Maker) -> None:
    cluster = make(Docker([NODE], [], {"addons": "a", "image_source": "built"}, authority="another"))
    assert cluster.look("a") == _cluster.State(
        "unfinished", {"addons": "a", "image_source": "built"}, [NODE], known=False
    )


def test_kind_makes_its_nodes_where_they_are_looked_for(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = tmp_path / "kind"
    kind.write_text('#!/bin/sh\necho "$KIND_EXPERIMENTAL_PROVIDER" >"${0%/*}/provider"\nexit 1\n', encoding="utf-8")
    kind.chmod(0o755)
    monkeypatch.setenv("KIND_EXPERIMENTAL_PROVIDER", "podman")
    with pytest.raises(BuildError, match="kind create cluster failed"):
        make(Docker([], [], None)).create(kind, "image")
    assert (tmp_path / "provider").read_text(encoding="utf-8") == "docker\n"


def test_removing_twice(make: Maker) -> None:
    docker = Docker([NODE], [], None)
    cluster = make(docker)
    assert cluster.remove() is True
    assert ("rm", "--force", "--volumes", NODE) in docker.calls
    docker.running = []
    assert cluster.remove() is False


def test_a_stopped_cluster_keeps_its_image_source(make: Maker) -> None:
    cluster = make(Docker([], [NODE], None))
    cluster.write_variables("built", "")
    assert cluster.recorded_source() == "built"
    assert yaml.safe_load(cluster.variables.read_text(encoding="utf-8")) == {"twisterlab_image_source": "built"}


@pytest.mark.parametrize("playbook", ["deploy", "bootstrap", "rotate_secrets"])
def test_a_check_run_does_not_ask_a_cluster_that_the_real_run_would_make_again(playbook: str, tmp_path: Path) -> None:
    """Its kubeconfig is still there: somebody removed or stopped the node by other means."""
    folder = tmp_path / "clusters" / "twisterlab"
    folder.mkdir(parents=True)
    user: dict[str, object] = {"name": "kind-twisterlab", "user": {"token": "none"}}
    cluster = {"name": "kind-twisterlab", "cluster": {"server": "https://127.0.0.1:1"}}
    context = {"name": "kind-twisterlab", "context": {"cluster": "kind-twisterlab", "user": "kind-twisterlab"}}
    config = {"current-context": "kind-twisterlab", "clusters": [cluster], "users": [user], "contexts": [context]}
    (folder / "kubeconfig").write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}), encoding="utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("K8S_AUTH_", "ANSIBLE_"))}
    said = subprocess.run(
        ["ansible-playbook", "-i", "inventories/local", f"playbooks/{playbook}.yml", "--check"],
        cwd=ROOT,
        env={
            **clean,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "TWISTERLAB_CACHE_DIR": str(tmp_path),
            "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
        },
        text=True,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert said.returncode == 0, said.stdout + said.stderr
    assert "would create local cluster twisterlab" in said.stdout


@pytest.mark.parametrize(
    ("source", "registry", "given"), [("registry", "", True), ("registry", "r.example/x", False), ("built", "", False)]
)
def test_built_images_have_a_name_beside_upstreams(make: Maker, source: str, registry: str, given: bool) -> None:
    cluster = make(Docker([], [], None))
    cluster.write_variables(source, registry)
    assert ("twisterlab_registry" in yaml.safe_load(cluster.variables.read_text(encoding="utf-8"))) is given


def test_the_configuration_publishes_the_ports() -> None:
    document = yaml.safe_load(SETTINGS.configuration())
    assert document["name"] == "exp"
    assert document["nodes"][0]["extraPortMappings"] == [
        {"containerPort": 80, "hostPort": 8080, "listenAddress": "127.0.0.1", "protocol": "TCP"},
        {"containerPort": 443, "hostPort": 8443, "listenAddress": "127.0.0.1", "protocol": "TCP"},
    ]


def test_the_deployments_that_are_waited_for() -> None:
    text = "---\nkind: Deployment\nmetadata: {name: a, namespace: n}\n---\nkind: Service\nmetadata: {name: b, namespace: n}\n---\n"
    assert _cluster.workloads([text]) == [("n", "a")]


def test_the_hash_of_the_add_ons_follows_their_text() -> None:
    assert _cluster.addons_hash(["a", "b"]) == _cluster.addons_hash(["a", "b"])
    assert _cluster.addons_hash(["a", "b"]) != _cluster.addons_hash(["ab"])


def test_a_program_is_published_once(tmp_path: Path) -> None:
    source = tmp_path / "kind"
    source.write_text("1", encoding="utf-8")
    target = tmp_path / "bin" / "kind"
    assert _cluster.publish_program(source, target) is True
    assert _cluster.publish_program(source, target) is False
    assert target.stat().st_mode & 0o777 == 0o755


def test_missing_capabilities() -> None:
    assert _host.missing_capabilities("CapBnd:\t000001fffeffffff\n", 40) == [24]
    assert _host.missing_capabilities("CapBnd:\t000001ffffffffff\n", 40) == []
    assert _host.missing_capabilities("", 40) == []


def test_daemon_settings_are_merged() -> None:
    text = _host.daemon_settings('{"log-driver": "local", "runtimes": {"x": {"path": "/x"}}}', "/shim")
    assert text is not None
    assert json.loads(text) == {
        "log-driver": "local",
        "runtimes": {"x": {"path": "/x"}, "twisterlab": {"path": "/shim"}},
        "default-runtime": "twisterlab",
    }
    assert _host.daemon_settings(text, "/shim") is None
    with pytest.raises(BuildError, match="is not JSON"):
        _host.daemon_settings("{", "/shim")


def test_a_port_in_use_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host.docker, "docker", lambda *arguments, **options: "")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            BuildError,
            match=f"Port {port} of 127.0.0.1 is in use by another program.*twisterlab_local_cluster.http_port",
        ):
            _host.check_ports("127.0.0.1", {"http_port": port}, rootless=False)


def test_a_low_port_is_refused_for_a_rootless_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host, "_lowest_unprivileged", lambda: 1024)
    with pytest.raises(
        BuildError, match="rootless Docker cannot publish port 80: set twisterlab_local_cluster.http_port to 1024"
    ):
        _host.check_ports("127.0.0.1", {"http_port": 80}, rootless=True)


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(BuildError, match="not an address of this machine"):
        _host.check_ports("192.0.2.1", {"http_port": 0}, rootless=False)


def test_no_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="needs 1e.09 GiB of free space"):
        _host.check_space(tmp_path / "not" / "there", 1e9, "A test")


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BuildError, match="cannot be written.*set twisterlab_cache_dir"):
        _host.check_cache(tmp_path / "file" / "cache")


@pytest.mark.parametrize(
    ("text", "family"),
    [("ID=debian\n", True), ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True), ("ID=fedora\n", False)],
)
def test_the_debian_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, family: bool) -> None:
    monkeypatch.setattr(_host.shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "os-release").write_text(text, encoding="utf-8")
    assert _host.is_debian_family(tmp_path / "os-release") is family


def test_packages_are_asked_for_where_they_cannot_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_host, "is_debian_family", lambda: False)
    with pytest.raises(BuildError, match="install docker.io and run again"):
        _host.install_packages(["docker.io"], tmp_path, lambda line: None, "There is no Docker")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine without Docker, whose root may install it; returns what is done to it."""
    done: list[str] = []
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(_host.docker, "info", lambda: None)
    monkeypatch.setattr(_host.docker, "program", lambda: None)
    monkeypatch.setattr(_host.shutil, "which", lambda _name: None)
    monkeypatch.setattr(_host.os, "geteuid", lambda: 0)
    monkeypatch.setattr(_host, "_daemon_lacks", list)
    monkeypatch.setattr(_host, "install_packages", lambda names, *_rest: done.extend(names))
    monkeypatch.setattr(_host, "_start", lambda *_rest: done.append("start"))
    return done


@pytest.mark.parametrize(
    ("client", "installed"), [("/usr/bin/docker", ["docker.io"]), (None, ["docker.io", "docker-cli"])]
)
def test_docker_comes_with_its_client(
    bare: list[str], client: str | None, installed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_host.Path, "exists", lambda _path: False)
    monkeypatch.setattr(_host.docker, "program", lambda: client)
    assert _host.ensure_docker(tmp_path, tmp_path, lambda line: None) is True
    assert bare == [*installed, "start"]


@pytest.mark.parametrize(
    ("address", "done"),
    [
        ("tcp://build.example:2376", []),
        ("unix:///run/user/1000/docker.sock", []),
        ("unix:///run/docker.sock", ["start"]),
    ],
)
def test_no_daemon_is_started_in_the_place_of_another(
    bare: list[str], address: str, done: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    monkeypatch.setattr(_host.shutil, "which", lambda name: f"/usr/bin/{name}")
    if done:
        _host.ensure_docker(tmp_path, tmp_path, lambda line: None)
    else:
        with pytest.raises(BuildError, match=f"DOCKER_HOST={address} does not answer"):
            _host.ensure_docker(tmp_path, tmp_path, lambda line: None)
    assert bare == done


def test_the_users_settings_of_docker_outlive_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"log-driver": "local"}', encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.setattr(_host, "_DAEMON_FILE", file)
    write = Path.write_text

    def full(path: Path, text: str, **options: str) -> int:
        write(path, "", **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        _host._write_settings("{}")
    assert file.read_text(encoding="utf-8") == '{"log-driver": "local"}'
    monkeypatch.setattr(Path, "write_text", write)
    _host._write_settings("{}")
    assert (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777) == ("{}", 0o600)
    assert list(tmp_path.iterdir()) == [file]


def test_a_process_that_got_a_killed_daemons_number_is_not_taken_for_it(tmp_path: Path) -> None:
    file = tmp_path / "docker.pid"
    file.write_text(str(os.getpid()), encoding="ascii")
    assert _host._daemon_pid(file) == ""


def action(monkeypatch: pytest.MonkeyPatch, *, docker: bool = True) -> local_cluster.ActionModule:
    """The action, on a machine whose Docker answers or not."""
    monkeypatch.setattr(_host.docker, "info", lambda: {} if docker else None)
    monkeypatch.setattr(local_cluster.ActionModule, "say", lambda _self, _line: None)
    return object.__new__(local_cluster.ActionModule)


def test_a_cluster_that_docker_cannot_show_is_not_called_removed(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make(Docker([], [], None))
    with pytest.raises(BuildError, match="Docker does not answer, so the local cluster exp cannot be removed"):
        action(monkeypatch, docker=False)._absent(cluster, False)
    cluster.kubeconfig.unlink()
    cluster.folder.rmdir()
    assert action(monkeypatch, docker=False)._absent(cluster, False)["changed"] is False


def test_the_image_source_stays_until_the_cluster_is_deleted(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = make(Docker([], [NODE], None))
    cluster.settings = dataclasses.replace(SETTINGS, image_source="registry")
    assert action(monkeypatch)._source(cluster)["image_source"] == "registry"
    cluster.write_variables("built", "")
    assert action(monkeypatch)._source(cluster)["image_source"] == "built"


@pytest.mark.parametrize(
    ("docker", "words"),
    [
        (Docker([], [], None), "would create"),
        (Docker([], [NODE], None), "would start"),
        (Docker([NODE], [], None), "would finish"),
    ],
)
def test_a_check_says_what_a_run_would_do(
    make: Maker, docker: Docker, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert action(monkeypatch)._present(make(docker), {}, True)["msg"] == f"{words} local cluster exp"
