# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a name of the catalogue stands for."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.twisterlab.platform.plugins.action import cluster_images
from ansible_collections.twisterlab.platform.plugins.filter.image import image, image_available
from ansible_collections.twisterlab.platform.plugins.module_utils import _docker, _images
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError

BUILT = re.compile(r"^twisterlab/[a-z-]+:[0-9.]+-[0-9a-f]{12}$")


@pytest.mark.parametrize("name", [name for name, entry in sorted(_images.catalogue().items()) if entry.context])
def test_every_built_image_has_a_tag_of_its_inputs(name: str) -> None:
    assert BUILT.match(image(name, source="built"))


@pytest.mark.parametrize("name", [name for name, entry in _images.catalogue().items() if entry.registry])
def test_every_upstream_image_is_pinned(name: str) -> None:
    reference = image(name)
    assert _images.check_reference(name, reference) == reference
    assert not reference.endswith(":latest")


def test_api_and_mcp_are_one_image() -> None:
    assert image("api", source="built") == image("mcp", source="built")


def test_the_users_reference_wins() -> None:
    assert image("api", source="built", overrides={"api": "ghcr.io/me/api:1"}) == "ghcr.io/me/api:1"
    assert image("redis", source="built", overrides={"api": "ghcr.io/me/api:1"}).startswith("twisterlab/redis:")


def test_what_nothing_builds_can_be_had_from_a_registry_or_from_the_user() -> None:
    assert image_available("grafana")
    assert not image_available("grafana", source="built", registry="registry.example")
    assert image_available("grafana", source="built", overrides={"grafana": "registry.example/grafana:1"})
    assert image_available("redis", source="built")


def test_a_registry_is_part_of_the_name() -> None:
    pushed = image("api", registry="registry.example:5000/team/")
    assert pushed.startswith("registry.example:5000/team/app:")
    assert image("postgres", registry="registry.example/team").startswith("docker.io/library/postgres:")
    assert image("postgres", source="built", registry="registry.example/team").startswith(
        "registry.example/team/postgres:"
    )


def test_a_mirror_takes_the_place_of_the_registry() -> None:
    assert image("postgres", mirror="mirror.example/hub").startswith("mirror.example/hub/library/postgres:")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "postgre"}, "did you mean postgres"),
        ({"name": "zzz"}, "write one of"),
        ({"name": "grafana", "source": "built"}, "cannot be built here: set twisterlab_images.grafana"),
        ({"name": "api"}, "set twisterlab_images.api to yours, or twisterlab_registry"),
        ({"name": "api", "source": "pulled"}, "write registry or built"),
        ({"name": "api", "overrides": {"api": "Not A Reference"}}, "not an image reference"),
        ({"name": "api", "overrides": {"api": "ghcr.io/me/api"}}, "without a tag: write ghcr.io/me/api:<version>"),
    ],
)
def test_refusals_say_the_fix(arguments: dict[str, object], sentence: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(sentence)):
        image(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reference",
    [
        "localhost/none:1",
        "a:1",
        "a.example:5000/b/c_d:v1.2",
        f"ghcr.io/x/y@sha256:{'0' * 64}",
        f"x/y:1@sha256:{'a' * 64}",
    ],
)
def test_references_that_are_references(reference: str) -> None:
    assert _images.check_reference("api", reference) == reference


@pytest.mark.parametrize("reference", ["", "UPPER/x:1", "a b:1", "a:", "http://a/b:1", "a/b:1@sha256:12"])
def test_references_that_are_none(reference: str) -> None:
    with pytest.raises(_images.BuildError, match="is not an image reference"):
        _images.check_reference("api", reference)


@pytest.mark.parametrize(
    ("reference", "whole"),
    [
        ("twisterlab/app:1", "docker.io/twisterlab/app:1"),
        ("redis:8", "docker.io/library/redis:8"),
        ("ghcr.io/me/api:1", "ghcr.io/me/api:1"),
        ("localhost/x:1", "localhost/x:1"),
        ("host:5000/x:1", "host:5000/x:1"),
    ],
)
def test_names_as_containerd_lists_them(reference: str, whole: str) -> None:
    assert _docker.full(reference) == whole


SAVE_THAT_LINGERS = """#!/bin/sh
case "$1" in
save) echo "no space left" >&2; trap 'exit 143' TERM; head -c 300000 /dev/zero; sleep 0.3 & wait $!; exit "${SAVE_ENDS_WITH:-0}" ;;
exec) head -c 1000 >/dev/null; exit "${IMPORT_ENDS_WITH:-0}" ;;
esac
"""


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({}, ""),
        ({"SAVE_ENDS_WITH": "3"}, "docker save ended with 3; the log is .*: no space left"),
        ({"IMPORT_ENDS_WITH": "1"}, "loading .*no space left"),
    ],
)
def test_an_import_that_ends_before_the_save_is_no_failure(
    environment: dict[str, str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    program.write_text(SAVE_THAT_LINGERS, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(_docker, "program", lambda: str(program))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def load() -> None:
        _docker.pipe_images(["a:1"], "node", log=tmp_path / "log", say=lambda _line: None, label="loading")

    if not sentence:
        load()
        return
    with pytest.raises(BuildError, match=sentence):
        load()


@contextlib.contextmanager
def registry(status: dict[str, int]) -> Iterator[str]:
    """A registry without TLS that answers with the status of a path; yields its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(status.get(self.path, 404))
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False), (401, None), (500, None)])
def test_a_registry_is_asked(status: int, there: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(*_arguments: str, **_options: object) -> str:
        raise BuildError("docker manifest inspect ended with 1: no such manifest: asked over TLS alone")

    monkeypatch.setattr(_docker, "docker", client)
    with registry({"/v2/team/app/manifests/1": status}) as host:
        assert _docker.in_registry(f"{host}/team/app:1") is there


@pytest.mark.parametrize(
    ("words", "there"), [("", True), ("no such manifest: docker.io/me/app:1", False), ("i/o timeout", None)]
)
def test_dockers_client_asks_a_registry_that_wants_credentials(
    words: str, there: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def client(*_arguments: str, **_options: object) -> str:
        if words:
            raise BuildError(words)
        return "{}"

    monkeypatch.setattr(_docker, "docker", client)
    monkeypatch.setattr(_docker, "_status", lambda address, _timeout: 401 if address.startswith("https:") else 0)
    assert _docker.in_registry("me/app:1") is there
    assert _docker.in_registry("registry.example/me/app:1") is there


@pytest.mark.parametrize(("there", "pushed"), [(True, []), (None, []), (False, ["r.example/app:1"])])
def test_an_image_that_left_the_registry_is_pushed_again(
    there: bool | None, pushed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    monkeypatch.setattr(cluster_images.docker, "info", lambda: {})
    monkeypatch.setattr(cluster_images.docker, "in_registry", lambda _reference: False)
    monkeypatch.setattr(cluster_images, "run", lambda argv, **_options: ran.append(argv[-1]))
    monkeypatch.setattr(cluster_images.ActionModule, "_build", lambda *_arguments: None)
    monkeypatch.setattr(cluster_images.ActionModule, "say", lambda *_arguments: None)
    action = object.__new__(cluster_images.ActionModule)
    assert action._push(tmp_path, {"r.example/app:1": "app"}, False) == ["r.example/app:1"]
    monkeypatch.setattr(cluster_images.docker, "in_registry", lambda _reference: there)
    assert action._push(tmp_path, {"r.example/app:1": "app"}, False) == pushed
    assert ran == ["r.example/app:1", *pushed]
