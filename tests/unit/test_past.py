# SPDX-License-Identifier: GPL-3.0-or-later
"""Which release is gone back to, and what of it: numbers, components, volumes and images."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils import _past
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records, number_of
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from test_release import Run, staged


def released() -> Run:
    """Three releases: healthy, healthy, failed; each with another image of the API."""
    run = Run()
    for image, status in (("web:1", "healthy"), ("web:2", "healthy"), ("web:3", "failed")):
        run(staged(image=image))
        run.finish(status)
    return run


def stage(run: Run, release: str, *names: str, image: str = "") -> tuple[int, dict[str, Component]]:
    record, found = _past.past(Records(run.cluster, "shop"), release, list(names), image, "shop")
    return number_of(record), {item.component: item for item in found}


@pytest.mark.parametrize(
    ("release", "number", "image"),
    [("newest", 3, "web:3"), ("healthy", 2, "web:2"), ("previous", 2, "web:2"), ("1", 1, "web:1")],
)
def test_which_release(release: str, number: int, image: str) -> None:
    found, components = stage(released(), release)
    assert found == number
    assert _past.image_of(components["api"]) == image
    assert set(components) == {"base", "postgres", "api"}


def test_previous_of_a_healthy_one_is_the_healthy_one_before() -> None:
    run = released()
    run(staged(image="web:4"))
    run.finish()
    assert stage(run, "previous")[0] == 2


@pytest.mark.parametrize(
    ("release", "names", "sentence"),
    [
        ("9", [], "There is no release 9 on record in namespace shop; write one of 1, 2, 3."),
        ("last", [], "'last' names no release; write a number of playbooks/history.yml, or previous."),
        ("1", ["web"], "Release 1 has no component web; write one of api, base, mcp, postgres."),
    ],
)
def test_what_is_not_there_is_refused(release: str, names: list[str], sentence: str) -> None:
    with pytest.raises(Refused) as refused:
        stage(released(), release, *names)
    assert str(refused.value) == sentence


def test_without_an_earlier_healthy_release_there_is_nothing_to_go_back_to() -> None:
    run = Run()
    with pytest.raises(Refused, match="has no release on record: run deploy.yml first"):
        stage(run, "previous")
    run(staged())
    run.finish()
    with pytest.raises(Refused, match="has no earlier healthy release on record"):
        stage(run, "previous")


def test_a_rollback_makes_the_old_release_true_again_and_prunes_what_came_after() -> None:
    run = Run()
    run(staged(image="web:1"))
    run.finish()
    run(staged(image="web:2", extra=True))
    run.finish()
    number, components = stage(run, "previous")
    run(list(components.values()), action=f"rollback to release {number}")
    assert objects.images(objects.pod_spec(run.live("Deployment", "web"))) == ["web:1"]
    assert ("ConfigMap", "shop", "extra") not in run.cluster.store
    assert run.records()[-1] == (3, "applied")


def test_volumes_stay_as_they_are() -> None:
    run = Run()
    for size in ("1Gi", "2Gi"):
        parts = staged()
        parts[1].objects[0]["spec"] = {"resources": {"requests": {"storage": size}}}
        run(parts)
        run.finish()
    _number, components = stage(run, "1")
    (claim,) = [obj for obj in components["postgres"].objects if obj["kind"] == "PersistentVolumeClaim"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"


def test_another_image_changes_every_container_of_the_program_and_its_version() -> None:
    run = Run()
    parts = staged(image="team/web:1")
    web = parts[2].objects[0]
    template = web["spec"]["template"]
    template["spec"]["initContainers"] = [{"name": "first", "image": "team/web:1"}]
    template["spec"]["containers"].append({"name": "side", "image": "side:1"})
    for part in (web, template):
        part["metadata"].setdefault("labels", {})["app.kubernetes.io/version"] = "1"
    run(parts)
    run.finish()
    _number, components = stage(run, "healthy", "api", image="team/web:1.4.2")
    changed = components["api"].objects[0]
    assert objects.images(objects.pod_spec(changed)) == ["team/web:1.4.2", "side:1"]
    assert {objects.labels(part)["app.kubernetes.io/version"] for part in (changed, changed["spec"]["template"])} == {
        "1.4.2"
    }
    with pytest.raises(Refused, match="The component base has no pods"):
        stage(run, "healthy", "base", image="x:1")


def test_both_agents_have_one_name() -> None:
    found = [Component("mcp-monitoring"), Component("mcp-orchestrator"), Component("api")]
    assert [item.component for item in _past.select(found, ["mcp"], 1)] == ["mcp-orchestrator", "mcp-monitoring"]


def test_a_run_that_was_cut_off_before_its_record_is_recorded_by_the_next() -> None:
    run = Run()
    run(staged(image="web:1"))
    run.finish()
    record = run.cluster.create
    cut: Any = RuntimeError("killed")

    def killed(obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        if obj["kind"] == "ConfigMap" and "release" in obj["metadata"]["name"]:
            raise cut
        return record(obj, dry_run)

    run.cluster.create = killed  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        run(staged(image="web:2"))
    run.cluster.create = record  # type: ignore[method-assign]
    answer = run(staged(image="web:2"))
    assert not answer.progress.touched
    assert run.records() == [(1, "healthy"), (2, "applied")]
    assert run(staged(image="web:2")).release == 2
    assert run.records() == [(1, "healthy"), (2, "applied")]
