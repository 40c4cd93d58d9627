# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs from the last release: ours that is another or gone, what others added, and what is no drift."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _drift
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Refused
from kube_fake import manifest
from test_release import Run, staged

SET = "2026-11-26T10:00:00Z"
ENV_X = {
    "f:spec": {
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"main"}': {"f:env": {'k:{"name":"X"}': {".": {}, "f:name": {}, "f:value": {}}}}
                }
            }
        }
    }
}


def managed(manager: str, fields: Any, **more: Any) -> dict[str, Any]:
    return {"manager": manager, "operation": "Update", "time": SET, "fieldsV1": fields, **more}


def deployed() -> Run:
    run = Run()
    run(staged())
    run.finish()
    return run


def container(run: Run) -> Any:
    return run.live("Deployment", "web")["spec"]["template"]["spec"]["containers"][0]


def by(run: Run, manager: str, fields: Any, **more: Any) -> None:
    """Somebody wrote the Deployment."""
    metadata = run.live("Deployment", "web")["metadata"]
    metadata.setdefault("managedFields", []).append(managed(manager, fields, **more))


def drift(run: Run, redact: Any = lambda text: text) -> _drift.Drift:
    return _drift.Drift(run.cluster, "shop", redact)


def found(run: Run) -> list[dict[str, str]]:
    return [item.data() for item in drift(run).look().differences]


def add_x(run: Run, name: str = "X", value: str = "1") -> None:
    container(run)["env"].append({"name": name, "value": value})
    by(run, "kubectl-set", ENV_X if name == "X" else renamed(name))


def renamed(name: str) -> Any:
    inner = ENV_X["f:spec"]["f:template"]["f:spec"]["f:containers"]['k:{"name":"main"}']["f:env"]
    env = {f'k:{{"name":"{name}"}}': inner['k:{"name":"X"}']}
    return {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"main"}': {"f:env": env}}}}}}


def test_nothing_differs_after_a_release() -> None:
    run = deployed()
    look = drift(run).look()
    assert look.differences == []
    assert _drift.summary(look) == f"{look.objects} objects are as release 1 left them"
    assert look.objects == 5


def test_a_variable_that_was_added_is_named_with_its_owner_and_taken_out() -> None:
    run = deployed()
    name = container(run)["name"]
    assert name == "main"
    add_x(run)
    one = drift(run)
    (item,) = one.look().differences
    assert (item.object, item.field, item.what, item.owner, item.since) == (
        "Deployment/web",
        "spec.template.spec.containers[main].env[X]",
        "added",
        "kubectl-set",
        SET,
    )
    assert one.remove_additions() == ["Deployment/web"]
    assert [variable["name"] for variable in container(run)["env"]] == ["P"]


def test_a_changed_value_says_what_it_is_and_what_it_was() -> None:
    run = deployed()
    container(run)["image"] = "web:hacked"
    by(
        run,
        "kubectl-edit",
        {"f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"main"}': {"f:image": {}}}}}}},
    )
    (item,) = drift(run).look().differences
    assert item.line() == (
        "Deployment/web spec.template.spec.containers[main].image: is web:hacked instead of web:1, "
        f"changed by kubectl-edit at {SET}"
    )


def test_a_removed_field_and_a_missing_object() -> None:
    run = deployed()
    del container(run)["env"]
    del run.cluster.store[("ConfigMap", "shop", "conf")]
    assert {(item["object"], item["field"], item["what"]) for item in found(run)} == {
        ("Deployment/web", "spec.template.spec.containers[main].env", "removed"),
        ("ConfigMap/conf", "", "missing"),
    }


def test_an_object_of_no_release_is_named() -> None:
    run = deployed()
    run(staged(extra=True))
    run.finish()
    extra = run.live("ConfigMap", "extra")
    run(staged())
    run.finish()
    run.cluster.put(extra)
    run.cluster.put(manifest("ConfigMap", "deployer", "bootstrap"))
    assert [(item["object"], item["what"]) for item in found(run)] == [("ConfigMap/extra", "surplus")]


@pytest.mark.parametrize(
    ("manager", "fields", "more"),
    [
        ("kube-controller-manager", ENV_X, {}),
        ("cert-manager-certificates-issuing", ENV_X, {}),
        ("kubectl", {"f:spec": {"f:replicas": {}}}, {"subresource": "scale"}),
    ],
)
def test_what_controllers_write_is_no_drift(manager: str, fields: Any, more: Any) -> None:
    run = deployed()
    container(run)["env"].append({"name": "X", "value": "1"})
    by(run, manager, fields, **more)
    assert found(run) == []


def test_a_restart_by_hand_is_no_drift() -> None:
    run = deployed()
    notes = run.live("Deployment", "web")["spec"]["template"]["metadata"].setdefault("annotations", {})
    notes["kubectl.kubernetes.io/restartedAt"] = SET
    note = {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}
    by(run, "kubectl-rollout", {"f:spec": {"f:template": {"f:metadata": note}}})
    assert found(run) == []


@pytest.mark.parametrize(
    ("name", "shown"), [("API_TOKEN", "(hidden)"), ("GREETING", '{"name": "GREETING", "value": "***"}')]
)
def test_no_secret_is_shown(name: str, shown: str) -> None:
    run = deployed()
    add_x(run, name, "hunter2hunter2")
    look = drift(run, lambda text: text.replace("hunter2hunter2", "***")).look()
    assert [item.live for item in look.differences] == [shown]


def test_what_may_not_be_seen_is_told() -> None:
    run = deployed()
    run.cluster.errors["dry apply Deployment/web"] = ApiError(403, "Forbidden", "forbidden", "apply")
    assert drift(run).look().unseen == ["Deployment/web: no permission"]


def test_without_a_record_it_says_what_to_run() -> None:
    with pytest.raises(Refused, match="has no release on record, so nothing can differ from it"):
        drift(Run()).look()


def test_a_record_that_cannot_be_read_is_no_release_without_differences() -> None:
    run = deployed()
    container(run)["image"] = "web:hacked"
    run.live("ConfigMap", "twisterlab-release-1")["binaryData"] = {"objects.json.gz": "AAAA"}
    with pytest.raises(Refused, match="What release 1 of namespace shop held cannot be read, so nothing was compared"):
        drift(run).look()


def test_who_may_compare_nothing_is_refused_and_who_may_not_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    run = deployed()
    forbidden = ApiError(403, "Forbidden", "no", "apply")
    apply = run.cluster.apply

    def some(obj: dict[str, Any], **more: Any) -> Any:
        if obj["kind"] == "Deployment":
            raise forbidden
        return apply(obj, **more)

    monkeypatch.setattr(run.cluster, "apply", some)
    assert _drift.summary(drift(run).look()) == "4 objects are as release 1 left them, 1 could not be compared"

    def none(obj: dict[str, Any], **more: Any) -> Any:
        raise forbidden

    monkeypatch.setattr(run.cluster, "apply", none)
    with pytest.raises(Refused, match="None of the 5 objects of release 1 could be compared, the first is "):
        drift(run).look()
