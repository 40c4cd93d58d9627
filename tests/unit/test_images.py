# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a name of the catalogue stands for."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.twisterlab.platform.plugins.filter.image import image
from ansible_collections.twisterlab.platform.plugins.module_utils import _docker, _images

BUILT = re.compile(r"^twisterlab/[a-z-]+:[0-9.]+-[0-9a-f]{12}$")


@pytest.mark.parametrize("name", sorted(_images.catalogue()))
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
