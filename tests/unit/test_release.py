# SPDX-License-Identifier: GPL-3.0-or-later
"""The release from the first look to the record, against a fake cluster."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _kinds, _lease, _record, _release, _secrets
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import (
    ApiError,
    LeaseLost,
    PlatformError,
    Refused,
)
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from kube_fake import NAMESPACE, FakeCluster, manifest, namespace, node, workload

ME = _lease.holder_of("ann", "here", 12, "local", "777")
PASSWORD = {"name": "password", "generated": {"length": 32}}
ENV = {"env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "twisterlab-secrets", "key": "password"}}}]}


def staged(image: str = "web:1", db_image: str = "db:1", extra: bool = False, conf: str = "1") -> list[Component]:
    config = {"envFrom": [{"configMapRef": {"name": "conf"}}], **ENV}
    return [
        Component("base", [namespace(), manifest("ConfigMap", "conf", "base", data={"a": conf})]),
        Component(
            "postgres",
            [
                manifest("PersistentVolumeClaim", "data", "postgres", spec={"resources": {}}),
                workload("StatefulSet", "db", "postgres", db_image, container=ENV, replicas=1),
            ],
            [PASSWORD],
        ),
        Component(
            "api",
            [
                workload("Deployment", "web", "api", image, needs="postgres", container=config),
                *([manifest("ConfigMap", "extra", "api")] if extra else []),
            ],
            [PASSWORD],
            ["postgres"],
        ),
    ]


class Run:
    """A cluster and the run of a release to its end."""

    def __init__(self, **options: Any) -> None:
        self.cluster = FakeCluster()
        self.cluster.put(node())
        self.options = {"namespace": NAMESPACE, "supplied": {}, "diff": True, **options}
        self.said: list[str] = []
        self.answers: list[_release.Answer] = []

    def step(
        self, parts: list[Component], progress: _release.Progress | None = None, **options: Any
    ) -> _release.Answer:
        found = _release.Options(**{**self.options, **options})
        release = _release.Release(
            self.cluster,
            self.cluster.clock,
            ME,
            copy.deepcopy(parts),
            found,
            progress,
            dead=lambda identity, run: False,
        )
        return release.run()

    def __call__(self, parts: list[Component], **options: Any) -> _release.Answer:
        self.cluster.calls.clear()
        self.said, self.answers = [], []
        progress: _release.Progress | None = None
        for _turn in range(20):
            answer = self.step(parts, progress, **options)
            self.answers.append(answer)
            self.said.append(answer.say)
            progress = answer.progress
            progress.waiting = []
            if not answer.next:
                return answer
        raise AssertionError("the release does not end")

    def live(self, kind: str, name: str) -> dict[str, Any]:
        return self.cluster.store[(kind, NAMESPACE, name)]

    def records(self) -> list[tuple[int, str]]:
        found = _record.Records(self.cluster, NAMESPACE).all()
        return sorted((_record.number_of(item), _record.status_of(item)) for item in found)

    def finish(self, status: str = "healthy") -> None:
        """What the health check does afterwards."""
        _record.Records(self.cluster, NAMESPACE).conclude(max(self.records())[0], status)

    def held_by(self) -> str:
        return str(self.live("Lease", "twisterlab-release")["spec"]["holderIdentity"])


def test_first_release() -> None:
    run = Run()
    answer = run(staged())
    created = [
        "Namespace/shop",
        "Secret/twisterlab-secrets",
        "ConfigMap/conf",
        "PersistentVolumeClaim/data",
        "StatefulSet/db",
        "Deployment/web",
    ]
    assert answer.progress.created == created
    assert answer.progress.changed == []
    assert run.said[0] == "postgres changed; waiting for them before the rest"
    assert run.records() == [(1, "applied")]
    assert answer.release == 1
    assert run.held_by() == ""
    # The data tier was applied, and given up to the caller, before the API.
    assert run.answers[0].progress.waiting == []
    calls = [call for call in run.cluster.writes() if call.startswith("apply")]
    assert calls.index("apply StatefulSet/db") < calls.index("apply Deployment/web")
    assert len(run.live("Secret", "twisterlab-secrets")["data"]) == 2


def test_a_second_release_writes_nothing_but_its_hold() -> None:
    run = Run()
    run(staged())
    run.finish()
    answer = run(staged())
    assert not answer.progress.touched
    assert answer.diff == []
    assert answer.release == 0
    assert [call for call in run.cluster.writes() if "Lease" not in call] == []
    assert len(run.answers) == 1
    assert run.records() == [(1, "healthy")]


def test_a_release_that_was_never_judged_is_judged_by_the_next_run() -> None:
    run = Run()
    run(staged())
    answer = run(staged())
    assert answer.release == 1
    assert not answer.progress.touched


def test_change_prune_and_keep() -> None:
    run = Run()
    run(staged(extra=True))
    run.cluster.put(
        manifest("ConfigMap", "kept", "api")
        | {
            "metadata": {
                **manifest("ConfigMap", "kept", "api")["metadata"],
                "annotations": {"twisterlab.io/keep": "true"},
            }
        }
    )
    run.cluster.put(manifest("PersistentVolumeClaim", "old", "api"))
    run.cluster.put(manifest("ConfigMap", "others", "grafana"))
    answer = run(staged(image="web:2"))
    assert answer.progress.changed == ["Deployment/web"]
    assert answer.progress.deleted == ["ConfigMap/extra"]
    assert answer.progress.kept == ["ConfigMap/kept", "PersistentVolumeClaim/old"]
    # It was announced before it happened.
    assert run.said == ["no longer rendered, removed next: ConfigMap/extra", ""]
    assert "apply Deployment/web" in run.cluster.calls
    assert ("ConfigMap", NAMESPACE, "others") in run.cluster.store
    assert run.records() == [(1, "applied"), (2, "applied")]


def test_a_partial_release_leaves_the_others_alone() -> None:
    run = Run()
    run(staged())
    before = run.live("StatefulSet", "db")["metadata"]["resourceVersion"]
    checksum = run.live("Deployment", "web")["spec"]["template"]["metadata"]["annotations"]
    answer = run(staged()[2:])
    assert not answer.progress.touched
    # The ConfigMap is not staged, and its checksum stays all the same.
    assert run.live("Deployment", "web")["spec"]["template"]["metadata"]["annotations"] == checksum
    assert "checksum/config-conf" in checksum
    assert run.live("StatefulSet", "db")["metadata"]["resourceVersion"] == before
    run(staged(image="web:2")[2:])
    record = _record.Records(run.cluster, NAMESPACE).read(2)
    components = _record.Records(run.cluster, NAMESPACE).components(record)
    assert [item.component for item in components] == ["api", "base", "postgres"]


def test_a_configuration_that_the_pod_reads_anew_does_not_roll_it() -> None:
    run = Run()
    parts = staged()
    note = {"twisterlab.io/reloads": "other,conf"}
    parts[2].objects[0]["spec"]["template"]["metadata"]["annotations"] = dict(note)
    run(parts)
    notes = run.live("Deployment", "web")["spec"]["template"]["metadata"]["annotations"]
    assert "checksum/config-conf" not in notes
    assert "checksum/secret-twisterlab-secrets" in notes
    parts = staged(conf="2")
    parts[2].objects[0]["spec"]["template"]["metadata"]["annotations"] = dict(note)
    assert run(parts).progress.changed == ["ConfigMap/conf"]
    # Without the annotation it is rolled.
    assert run(staged(conf="3")).progress.changed == ["ConfigMap/conf", "Deployment/web"]


def test_a_disabled_tier_is_removed_but_for_its_volume() -> None:
    run = Run()
    run(staged())
    parts = staged()
    parts[1] = Component("postgres")
    answer = run(parts)
    assert answer.progress.deleted == ["StatefulSet/db"]
    assert answer.progress.kept == ["PersistentVolumeClaim/data"]


def test_nothing_staged_never_means_to_remove_everything() -> None:
    run = Run()
    run(staged())
    with pytest.raises(Refused, match="Nothing is staged"):
        run([])
    assert ("Deployment", NAMESPACE, "web") in run.cluster.store


def test_check_mode_on_an_empty_cluster() -> None:
    run = Run(check_mode=True)
    answer = run(staged())
    assert answer.progress.created[0] == "Namespace/shop"
    assert len(answer.progress.created) == 6
    assert "Secret/twisterlab-secrets" in answer.progress.created
    assert run.cluster.writes() == []
    assert len(answer.diff) == 6


def test_check_mode_tells_what_the_real_run_does() -> None:
    run = Run()
    run(staged(extra=True))
    answer = run(staged(image="web:2", conf="2"), check_mode=True)
    assert sorted(answer.progress.changed) == ["ConfigMap/conf", "Deployment/web"]
    assert answer.progress.deleted == ["ConfigMap/extra"]
    assert run.cluster.writes() == []
    real = run(staged(image="web:2", conf="2"))
    assert sorted(real.progress.changed) == sorted(answer.progress.changed)
    assert real.progress.deleted == answer.progress.deleted


def test_rotating_a_key_rolls_the_pods_that_use_it_and_shows_no_value() -> None:
    run = Run()
    run(staged())
    before = run.live("Deployment", "web")["spec"]["template"]["metadata"]["annotations"]
    answer = run(staged(), supplied={"password": "hunter2 hunter2"})
    assert sorted(answer.progress.changed) == ["Deployment/web", "Secret/twisterlab-secrets", "StatefulSet/db"]
    after = run.live("Deployment", "web")["spec"]["template"]["metadata"]["annotations"]
    key = "checksum/secret-twisterlab-secrets"
    assert before[key] != after[key]
    shown = str([item.diff for item in run.answers]) + str([item.progress for item in run.answers])
    assert "hunter2" not in shown
    assert "hunter2" not in str(_record.Records(run.cluster, NAMESPACE).read(2))
    assert _secrets.decode(run.live("Secret", "twisterlab-secrets")["data"])["password"] == "hunter2 hunter2"


def test_a_value_that_strayed_into_a_manifest_is_hidden_in_the_diff() -> None:
    run = Run()
    parts = staged()
    parts[0].objects[1]["data"]["b"] = "hunter2 hunter2"
    run(parts, supplied={"password": "hunter2 hunter2"})
    assert "hunter2" not in str([item.diff for item in run.answers])


def test_a_key_that_nobody_makes_is_refused_before_anything_is_touched() -> None:
    run = Run()
    parts = staged()
    parts[1].secrets, parts[2].secrets = [], []
    with pytest.raises(
        Refused, match=r"StatefulSet/db refers to the key password .* supply it with twisterlab_secrets"
    ):
        run(parts)
    assert run.cluster.writes() == []


def test_what_the_server_refuses_is_refused_before_anything_is_touched() -> None:
    run = Run()
    run(staged())
    run.cluster.errors["dry apply Deployment/web"] = ApiError(
        422, "Invalid", "spec.selector: field is immutable", "apply"
    )
    run.cluster.calls.clear()
    with pytest.raises(
        Refused,
        match=r"Deployment/web: .*immutable; it cannot be changed in place: delete it with 'kubectl -n shop delete deployment web'",
    ):
        run.step(staged(conf="2"))
    assert [call for call in run.cluster.writes() if "Lease" not in call] == []
    assert run.held_by() == ""


def test_a_release_that_does_not_fit_makes_no_namespace() -> None:
    run = Run()
    parts = staged()
    parts[2].objects[0]["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "3"}}
    with pytest.raises(Refused, match="does not fit: A pod of Deployment/web asks for cpu 3"):
        run(parts)
    assert run.cluster.writes() == []
    run(parts, sizing="warn")
    assert "asks for cpu 3" in run.answers[0].warnings[0]
    quiet = Run(sizing="off")
    quiet(parts)
    assert [answer.warnings for answer in quiet.answers] == [[], []]


def test_sizing_without_the_right_is_skipped_and_said() -> None:
    run = Run()
    run.cluster.errors["list Node"] = ApiError(403, "Forbidden", "no")
    run(staged())
    assert any("was not checked: no permission" in text for answer in run.answers for text in answer.warnings)


def test_a_kind_that_the_cluster_does_not_know_is_refused_before_anything_is_applied() -> None:
    run = Run()
    run.cluster.errors["list Issuer"] = ApiError(404, "NotFound", "404 page not found", "list issuers")
    run(staged())
    before = run.cluster.writes()
    with pytest.raises(
        Refused,
        match=r"no kind Issuer of cert-manager.io/v1: install cert-manager, or choose another twisterlab_tls_mode\.",
    ):
        run([*staged(), Component("ingress", [manifest("Issuer", "acme", "ingress")])])
    assert not [call for call in run.cluster.writes()[len(before) :] if "Lease" not in call]


def test_a_failure_in_the_middle_is_recorded_and_the_hold_ends() -> None:
    run = Run()
    run.cluster.errors["apply Deployment/web"] = ApiError(500, "InternalError", "etcd is away", "apply")
    with pytest.raises(PlatformError, match="Deployment/web: etcd is away"):
        run(staged())
    assert run.records() == [(1, "failed")]
    assert run.held_by() == ""
    del run.cluster.errors["apply Deployment/web"]
    run(staged())
    assert run.records() == [(1, "failed"), (2, "applied")]


def test_giving_up_records_the_reason_without_secrets() -> None:
    run = Run()
    first = run.step(staged())
    assert first.next == "rest"
    release = _release.Release(
        run.cluster, run.cluster.clock, ME, staged(), _release.Options(**run.options), first.progress
    )
    release.give_up("Postgres is broken")
    record = _record.Records(run.cluster, NAMESPACE).read(1) or {}
    assert _record.summary_of(record)["reason"] == "Postgres is broken"
    assert run.held_by() == ""


def test_the_second_operator_is_refused() -> None:
    run = Run()
    run(staged())
    other = _lease.Lease(run.cluster, NAMESPACE, _lease.holder_of("bob", "there", 1, "local"))
    other.acquire()
    with pytest.raises(Refused, match="held by bob@there pid=1"):
        run(staged(image="web:2"))
    assert run.live("Deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"
    assert run.held_by() == "bob@there pid=1"


@pytest.mark.parametrize("ended", [True, False])
def test_a_run_that_slept_does_not_undo_what_another_one_released_meanwhile(ended: bool) -> None:
    run = Run()
    first = run.step(staged(image="web:old"))
    assert first.next == "rest"
    # The machine of this run sleeps; the hold ends by itself.
    run.cluster.clock.sleep(100)
    bob = _lease.holder_of("bob", "there", 1, "local")
    other = _lease.Lease(run.cluster, NAMESPACE, bob)
    assert other.acquire() == "take"
    if ended:
        other.end()
    writes = len(run.cluster.writes())
    with pytest.raises(LeaseLost, match="This run lost its hold on the release while it was at work"):
        run.step(staged(image="web:old"), first.progress)
    # Nor is it recorded over the other one's release.
    options = _release.Options(**run.options)
    _release.Release(run.cluster, run.cluster.clock, ME, staged(), options, first.progress).give_up("It took too long.")
    assert len(run.cluster.writes()) == writes
    assert run.records() == []


def test_a_run_that_loses_its_hold_in_the_middle_records_nothing_over_the_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run()
    run(staged())
    run.finish()

    def check(self: _lease.Lease) -> None:
        if "apply ConfigMap/conf" in run.cluster.writes():
            raise LeaseLost("This run lost its hold.")

    monkeypatch.setattr(_lease.Lease, "check", check)
    with pytest.raises(LeaseLost):
        run(staged(conf="2", image="web:2"))
    assert run.records() == [(1, "healthy")]


def test_the_hold_may_be_left_to_the_health_check() -> None:
    run = Run(keep_lease=True)
    run(staged())
    assert run.held_by() == ME.identity


def test_fields_of_others_are_taken_back_and_named() -> None:
    run = Run()
    run(staged())
    live = run.live("Deployment", "web")
    live["spec"]["template"]["spec"]["containers"][0]["image"] = "web:hacked"
    run.cluster.conflicts["Deployment/web"] = [
        {"field": ".spec.template.spec.containers", "message": 'conflict with "kubectl-edit"'}
    ]
    answer = run(staged())
    assert answer.progress.taken == ['Deployment/web: spec.template.spec.containers (conflict with "kubectl-edit")']
    assert run.live("Deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "web:1"


def test_somebody_elses_object_of_that_name_is_not_taken() -> None:
    run = Run()
    run.cluster.put(namespace())
    run.cluster.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {}})
    with pytest.raises(Refused, match=r"Deployment/web exists in namespace shop and is not ours: remove or rename it"):
        run(staged())


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (namespace(ours=False), "was not made by twisterlab.platform"),
        ({**namespace(), "status": {"phase": "Terminating"}}, "is being deleted"),
    ],
)
def test_namespaces_that_are_refused(found: dict[str, Any], sentence: str) -> None:
    run = Run()
    run.cluster.put(found)
    with pytest.raises(Refused, match=sentence):
        run(staged())
    with pytest.raises(Refused, match=sentence):
        run(staged(), check_mode=True)


def test_a_namespace_that_was_lent_is_used_as_it_is() -> None:
    run = Run()
    run.cluster.put(namespace(ours=False, **{"twisterlab.io/managed": "true"}))
    answer = run(staged())
    assert "Namespace/shop" not in [*answer.progress.created, *answer.progress.changed]
    assert "app.kubernetes.io/part-of" not in run.cluster.store[("Namespace", "", NAMESPACE)]["metadata"]["labels"]


def test_a_partial_run_without_its_namespace_is_refused() -> None:
    with pytest.raises(Refused, match=r"does not exist, and this run does not stage it"):
        Run()(staged()[2:])


def test_objects_for_another_namespace_are_refused() -> None:
    parts = staged()
    parts[0].objects[1]["metadata"]["namespace"] = "elsewhere"
    with pytest.raises(Refused, match="is written for namespace elsewhere"):
        Run()(parts)


def test_replicas_are_handed_over_to_an_autoscaler() -> None:
    run = Run()
    parts = staged()
    parts[2].objects[0]["spec"]["replicas"] = 4
    run(parts, sizing="off")
    run(staged(), sizing="off")
    assert run.live("Deployment", "web")["spec"]["replicas"] == 4


@pytest.mark.parametrize("last_word", [False, True])
def test_replicas_are_taken_back_from_an_autoscaler_that_goes(last_word: bool) -> None:
    run = Run()
    parts = staged()
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    parts[2].objects.append(
        manifest(
            "HorizontalPodAutoscaler",
            "web-hpa",
            "api",
            spec={"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 4},
        )
    )
    run(parts, sizing="off")
    run.live("Deployment", "web")["spec"]["replicas"] = 4
    fixed = staged()
    fixed[2].objects[0]["spec"]["replicas"] = 1

    def scale(verb: str, obj: dict[str, Any]) -> None:
        # The autoscaler sets its own number in the moment before it is deleted.
        if last_word and verb == "delete" and obj["kind"] == "HorizontalPodAutoscaler":
            run.live("Deployment", "web")["spec"]["replicas"] = 4

    run.cluster.before_write = scale
    answer = run(fixed, sizing="off")
    assert answer.progress.deleted == ["HorizontalPodAutoscaler/web-hpa"]
    assert answer.progress.changed == ["Deployment/web"]
    assert run.live("Deployment", "web")["spec"]["replicas"] == 1
    assert run(fixed, sizing="off").progress.changed == []


def stuck_pod(run: Run, ready: str) -> None:
    run.cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "db-0",
                "ownerReferences": [{"controller": True, "uid": run.live("StatefulSet", "db")["metadata"]["uid"]}],
            },
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }
    )


@pytest.mark.parametrize(("ready", "restarted"), [("False", ["Pod/db-0"]), ("True", [])])
def test_the_broken_pod_of_an_ordered_stateful_set_is_removed(ready: str, restarted: list[str]) -> None:
    run = Run()
    run(staged())
    stuck_pod(run, ready)
    parts = staged()
    parts[1].objects[1]["spec"]["template"]["spec"]["containers"][0]["args"] = ["mended"]
    assert run(parts).progress.restarted == restarted


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("begun", [False, True])
def test_an_ingress_host_of_another_namespace_is_refused(begun: bool, check_mode: bool) -> None:
    run = Run()
    if begun:
        run(staged())
    rule = {"rules": [{"host": "api.shop.local"}]}
    run.cluster.put(manifest("Ingress", "theirs", "x", spec=rule), "elsewhere")
    parts = staged()
    parts[2].objects.append(manifest("Ingress", "mine", "api", spec=rule))
    with pytest.raises(
        Refused, match="host api.shop.local of Ingress/mine belongs to Ingress/theirs of namespace elsewhere"
    ):
        run(parts, check_mode=check_mode)
    # A run that began holds its lease and records that it failed.
    assert [call for call in run.cluster.writes() if check_mode or not begun or "Ingress" in call] == []


def test_a_routes_host_of_another_namespace_is_refused() -> None:
    run = Run()
    route = {"hostnames": ["api.shop.local"]}
    run.cluster.put(manifest("HTTPRoute", "theirs", "x", spec=route), "elsewhere")
    parts = staged()
    parts[2].objects.append(manifest("Ingress", "mine", "api", spec={"rules": [{"host": "api.shop.local"}]}))
    with pytest.raises(
        Refused, match="host api.shop.local of Ingress/mine belongs to HTTPRoute/theirs of namespace elsewhere"
    ):
        run(parts)
    assert run.cluster.writes() == []


def test_without_the_gateway_api_there_are_no_routes_to_look_at() -> None:
    run = Run()
    parts = staged()
    parts[2].objects.append(manifest("Ingress", "mine", "api", spec={"rules": [{"host": "api.shop.local"}]}))
    run.cluster.errors["list HTTPRoute"] = ApiError(404, "NotFound", "no such kind", "list")
    assert run(parts).warnings == []


def test_a_job_is_made_anew() -> None:
    run = Run()
    parts = [*staged(), Component("migrate", [workload("Job", "migrate", "migrate", "m:1")])]
    run(parts)
    run.cluster.errors["dry apply Job/migrate"] = ApiError(422, "Invalid", "field is immutable", "apply")
    parts[3].objects[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "m:2"
    assert run(parts).progress.changed == ["Job/migrate"]
    assert run.live("Job", "migrate")["spec"]["template"]["spec"]["containers"][0]["image"] == "m:2"


class TestSmoke:
    """A new image of a tier that stops before it starts."""

    def pods(self, run: Run) -> list[dict[str, Any]]:
        return [obj for (kind, _ns, name), obj in run.cluster.store.items() if kind == "Pod" and "smoke" in name]

    def state(self, run: Run, state: dict[str, Any], phase: str = "Running") -> None:
        for pod in self.pods(run):
            pod["status"] = {
                "phase": phase,
                "conditions": [{"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [{"name": "main", "image": "x", "restartCount": 0, "state": state}],
            }

    def test_good(self) -> None:
        run = Run()
        run(staged())
        run.cluster.clock.at(2, lambda: self.state(run, {"running": {"startedAt": "2026-11-23T09:00:01Z"}}))
        answer = run(staged(db_image="db:2"))
        assert answer.progress.changed == ["StatefulSet/db"]
        assert run.said[0] == "starting db:2 in a throw-away pod first"
        assert self.pods(run) == []

    def test_the_pod_shares_nothing_with_the_tier(self) -> None:
        run = Run()
        parts = staged()
        spec = parts[1].objects[1]["spec"]["template"]["spec"]
        spec.update(nodeSelector={"a": "b"}, imagePullSecrets=[{"name": "pull"}], securityContext={"runAsUser": 1})
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
        spec["containers"][0].update(
            readinessProbe={}, livenessProbe={}, startupProbe={}, lifecycle={}, resources={"requests": {"cpu": "2"}}
        )
        run(parts, sizing="off")
        spec["containers"][0]["image"] = "db:2"
        run.step(parts, sizing="off")
        (pod,) = self.pods(run)
        made = pod["spec"]
        assert made["volumes"] == [{"name": "data", "emptyDir": {}}]
        assert made["nodeSelector"] == {"a": "b"}
        assert made["imagePullSecrets"] == [{"name": "pull"}]
        assert made["restartPolicy"] == "Never"
        assert made["securityContext"] == {"runAsUser": 1}
        assert set(made["containers"][0]) == {"name", "image", "env", "resources"}
        assert made["containers"][0]["resources"]["requests"]["cpu"] == "1m"
        selector = parts[1].objects[1]["spec"]["selector"]["matchLabels"]
        assert not selector.items() <= pod["metadata"]["labels"].items()

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            ({"waiting": {"reason": "ErrImagePull", "message": "db:2: not found"}}, "ErrImagePull: db:2: not found"),
            ({"waiting": {"reason": "CreateContainerConfigError", "message": "no"}}, "CreateContainerConfigError"),
            ({"terminated": {"exitCode": 3}}, "the new image ends with exit code 3 .image db:2."),
        ],
    )
    def test_bad(self, state: dict[str, Any], reason: str) -> None:
        run = Run()
        run(staged())
        run.cluster.clock.at(1, lambda: self.state(run, state, "Pending"))
        before = run.live("StatefulSet", "db")
        with pytest.raises(Refused, match=f"does not start, so nothing was changed.*{reason}"):
            run(staged(db_image="db:2", conf="2"))
        assert run.live("StatefulSet", "db") == before
        assert run.live("ConfigMap", "conf")["data"] == {"a": "1"}
        assert self.pods(run) == []
        assert run.held_by() == ""
        assert run.records() == [(1, "applied")]

    def test_a_long_download_is_told_and_ends(self) -> None:
        run = Run(smoke_timeout=30)
        run(staged())
        with pytest.raises(Refused, match="does not start"):
            run(staged(db_image="db:2"))
        assert sum("starting" in text for text in run.said) >= 3
        assert run.cluster.clock.time() < 45

    def test_nothing_to_try(self) -> None:
        run = Run()
        run(staged())
        run(staged(image="web:2"))
        assert not any("smoke" in call for call in run.cluster.calls)
        assert run(staged(db_image="db:2"), check_mode=True).say == "would first start db:2 in a throw-away pod"
        # An update tries what replaces its pods one by one, too.
        answer = run(staged(image="web:3"), check_mode=True, contract=True)
        assert answer.say == "would first start web:3 in a throw-away pod"


def test_records_keep_ten_and_the_last_healthy_one() -> None:
    run = Run()
    run(staged())
    run.finish()
    for number in range(2, 14):
        run(staged(image=f"web:{number}"))
    numbers = [number for number, _status in run.records()]
    assert numbers == [1, *range(4, 14)]
    record = _record.Records(run.cluster, NAMESPACE).read(13) or {}
    summary = _record.summary_of(record)
    assert summary["images"] == {"StatefulSet/db/main": "db:1", "Deployment/web/main": "web:13"}
    assert summary["user"] == "ann@here"
    assert summary["changed"] == ["Deployment/web"]
    assert _record.Records(run.cluster, NAMESPACE).last_healthy()["number"] == 1


def test_progress_survives_between_two_processes() -> None:
    progress = _release.Progress(phase="rest", created=["a"], memory={"k": 1.5}, fresh=True)
    packed = _release.pack(progress, "rest")
    assert _release.unpack(packed) == (progress, "rest")
    # A secret value as short as a word of ours must not break the next step when it is masked.
    assert "rest" not in packed


def test_record_packing_is_stable() -> None:
    parts = staged()
    assert _record.pack(parts) == _record.pack(copy.deepcopy(parts))
    assert _record.unpack(_record.pack(parts)) == parts


def test_kinds_are_addressed() -> None:
    assert _kinds.DEPLOYMENT.path("n", "d") == "/apis/apps/v1/namespaces/n/deployments/d"
    assert _kinds.POD.path("n", "p", "log") == "/api/v1/namespaces/n/pods/p/log"
    assert _kinds.NODE.path() == "/api/v1/nodes"
    assert _kinds.NAMESPACE.path(None, "n") == "/api/v1/namespaces/n"


@pytest.mark.parametrize("key", ["backup_repository_password", "grafana_secret_key"])
def test_a_key_that_opens_data_is_not_lost_to_a_supplied_value(key: str) -> None:
    run = Run()
    parts = [*staged(), Component("backup", [], [{"name": key, "generated": {"length": 48}}])]
    run(parts)
    before = run.live("Secret", "twisterlab-secrets")["data"][key]
    with pytest.raises(Refused, match=f"The supplied value of {key} is not the one in use, which alone opens"):
        run(parts, supplied={key: "another one of the user"})
    assert run.live("Secret", "twisterlab-secrets")["data"][key] == before
    del run.live("Secret", "twisterlab-secrets")["data"][key]
    run(parts, supplied={key: "another one of the user"})
    assert "another one" in _secrets.decode(run.live("Secret", "twisterlab-secrets")["data"])[key]


def test_a_run_of_one_tier_does_not_call_a_failed_release_of_all_healthy() -> None:
    run = Run()
    run(staged())
    run.finish("failed")
    only = [item for item in staged() if item.component == "postgres"]
    answer = run(only)
    assert (answer.release, answer.running) == (0, 1)
    assert run(staged()).release == 1
