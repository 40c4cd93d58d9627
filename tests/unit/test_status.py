# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a stack: what is read, what counts as wrong, what the screen says, and which command comes next."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _certificates, _secrets, _status
from ansible_collections.twisterlab.platform.plugins.module_utils import _status_screen as screen
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import ApiError, Unreachable
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records, Summary
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from kube_fake import NAMESPACE, START, FakeCluster, labels, manifest, namespace, workload

KUBECTL = "kubectl --kubeconfig /somewhere -n shop"
PLAYBOOKS = {"deploy", "status", "logs", "verify"}
CRASH = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "startedAt": "2026-11-23T08:59:00Z"}},
    "restartCount": 4,
}


def deployment(cluster: FakeCluster, state: dict[str, Any] | None = None, image: str = "registry/api:1") -> None:
    """The API: a Deployment, its ReplicaSet and a pod."""
    good = state is None
    obj = workload("Deployment", "twisterlab-api", "api", image=image, replicas=1)
    obj["metadata"].update(uid="api", generation=1, annotations={"deployment.kubernetes.io/revision": "1"})
    obj["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    if good:
        obj["status"].update(readyReplicas=1, availableReplicas=1)
    cluster.put(obj)
    old = manifest("ReplicaSet", "twisterlab-api-1", "api")
    old["metadata"].update(
        uid="rs",
        ownerReferences=[{"controller": True, "uid": "api"}],
        annotations={"deployment.kubernetes.io/revision": "1"},
    )
    cluster.put({**old, "spec": {"template": obj["spec"]["template"]}})
    container = {
        "name": "main",
        "image": image,
        "ready": good,
        "restartCount": 0,
        "state": {"running": {}},
        **(state or {}),
    }
    cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "twisterlab-api-1-x",
                "labels": labels("api", "twisterlab-api"),
                "ownerReferences": [{"controller": True, "uid": "rs"}],
            },
            "spec": {"containers": [{"name": "main", "image": image}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": str(good)}, {"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [container],
            },
        }
    )


def autoscaler(cluster: FakeCluster, cpu: int | None = 12) -> None:
    def metric(part: str, value: int | None) -> dict[str, Any]:
        return {"type": "Resource", "resource": {"name": "cpu", part: {"averageUtilization": value}}}

    obj = manifest("HorizontalPodAutoscaler", "twisterlab-api-hpa", "api")
    obj["spec"] = {
        "minReplicas": 1,
        "maxReplicas": 10,
        "metrics": [metric("target", 70)],
        "scaleTargetRef": {"kind": "Deployment", "name": "twisterlab-api"},
    }
    obj["status"] = {
        "currentReplicas": 1,
        "desiredReplicas": 1,
        "conditions": [{"type": "ScalingActive", "status": "True"}],
    }
    obj["status"]["currentMetrics"] = [metric("current", cpu)] if cpu is not None else []
    cluster.put(obj)


def released(cluster: FakeCluster, status: str = "healthy", reason: str = "", image: str = "registry/api:1") -> int:
    """One release of the API."""
    records = Records(cluster, NAMESPACE)
    obj = workload("Deployment", "twisterlab-api", "api", image=image)
    summary = Summary(0, "applied", "ann@build", "2026-11-23T08:58:00Z", ["api"], changed=["Deployment/twisterlab-api"])
    number = records.write(summary, [Component("api", [obj], {})])
    records.conclude(number, status, reason)
    return number


def certificate(cluster: FakeCluster, age: timedelta = timedelta(0)) -> None:
    """The edge's certificate of 90 days."""
    cluster.put(manifest("Ingress", "twisterlab-ingress", "ingress", spec={"tls": [{"secretName": "twisterlab-tls"}]}))
    kept = _certificates.keep("shop.local", ["api.shop.local"], START - age)
    for name, pair in (("twisterlab-tls", kept.leaf), ("twisterlab-ca", kept.authority)):
        data = {"tls.crt": base64.b64encode(pair.certificate.encode()).decode()}
        cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data})


def healthy() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(namespace())
    deployment(cluster)
    autoscaler(cluster)
    released(cluster)
    certificate(cluster)
    return cluster


def look(cluster: FakeCluster, receiver: dict[str, float] | None = None) -> dict[str, Any]:
    return _status.collect(cluster, NAMESPACE, _certificates.lifetime, lambda: receiver or {})


def told(cluster: FakeCluster, playbooks: set[str] = PLAYBOOKS, receiver: dict[str, float] | None = None) -> str:
    return "\n".join(screen.screen(look(cluster, receiver), playbooks, KUBECTL))


def test_a_healthy_stack_on_one_screen() -> None:
    text = told(healthy())
    for line in (
        "Namespace shop: healthy (2 of 2 objects ready, 2026-11-23T09:00:00Z)",
        "TIER  WORKLOAD                   READY  RESTARTS  IMAGE",
        "api   Deployment/twisterlab-api  1/1    0         registry/api:1",
        "Autoscaler    twisterlab-api-hpa: 1 replicas, 1 to 10; cpu 12 % of 70 %",
        "Release       1, healthy, 2026-11-23T09:00:00Z, by ann@build: changed Deployment/twisterlab-api",
        "Certificate   twisterlab-tls: 90 of 90 days left (api.shop.local)",
        "Certificate   twisterlab-ca: 3650 of 3650 days left",
        "Backups       none",
        "Warnings      none in the last hour",
        "Next:\n  ansible-playbook playbooks/verify.yml",
    ):
        assert line in text, line
    assert "Wrong" not in text
    assert len(text.splitlines()) < 24, "one screen"


def test_looking_changes_nothing() -> None:
    cluster = healthy()
    cluster.calls.clear()
    look(cluster)
    assert cluster.writes() == []


def test_a_crash_is_named_with_its_pod_and_the_logs_come_next() -> None:
    cluster = healthy()
    deployment(cluster, CRASH)
    data = look(cluster)
    assert data["state"] == "broken"
    text = told(cluster)
    assert "Deployment/twisterlab-api is broken: CrashLoopBackOff" in text
    assert "[pod twisterlab-api-1-x]" in text
    assert "api   Deployment/twisterlab-api  0/1    4" in text
    assert text.split("Next:\n")[1].startswith("  ansible-playbook playbooks/logs.yml -e twisterlab_component=api")


def test_an_image_that_is_not_found_has_no_log_to_read() -> None:
    cluster = healthy()
    deployment(cluster, {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}, "localhost/none:1")
    text = told(cluster)
    assert "ErrImagePull: not found" in text
    assert f"{KUBECTL} describe pod twisterlab-api-1-x" in text
    assert "logs.yml" not in text


def test_a_failed_release_is_wrong_though_all_is_ready_and_rollback_is_named_where_there_is_one() -> None:
    cluster = healthy()
    released(cluster, "failed", "Broken in namespace shop after 12 s:\n- Deployment/x is broken: ErrImagePull\n- more")
    data = look(cluster)
    assert (data["state"], data["release"]["number"]) == ("degraded", 2)
    assert "release 2: failed: Deployment/x is broken: ErrImagePull" in told(cluster)
    assert "rollback" not in told(cluster)
    assert "  ansible-playbook playbooks/rollback.yml" in told(cluster, PLAYBOOKS | {"rollback"})


def test_a_workload_of_the_release_that_is_gone_is_named() -> None:
    cluster = healthy()
    cluster.store.pop(("Deployment", NAMESPACE, "twisterlab-api"))
    text = told(cluster)
    assert "Deployment/twisterlab-api: release 1 has it, and it is not in the namespace" in text
    assert "  ansible-playbook deploy.yml" in text


def test_a_cluster_and_a_schedule_of_the_release_that_are_gone_are_named() -> None:
    cluster = healthy()
    postgres = manifest("Cluster", "postgres-cluster", "postgres", spec={"imageName": "registry/postgres:17.6"})
    pods = {"spec": {"containers": [{"name": "backup", "image": "registry/backup:1"}]}}
    cron = manifest("CronJob", "backup", "backup", spec={"jobTemplate": {"spec": {"template": pods}}})
    found = [Component("postgres", [postgres], {}), Component("backup", [cron], {})]
    number = Records(cluster, NAMESPACE).write(Summary(0, "applied", "ann@build", "", ["postgres"]), found)
    Records(cluster, NAMESPACE).conclude(number, "healthy")
    cluster.put(manifest("PersistentVolumeClaim", "backup-data", "backup", status={"phase": "Bound"}))
    text = told(cluster)
    assert look(cluster)["state"] == "degraded"
    for title in ("Cluster/postgres-cluster", "CronJob/backup"):
        assert f"  {title}: release 2 has it, and it is not in the namespace" in text
    assert "Backups       nothing makes them; those that were made are on the volume backup-data" in text
    # Who may not look knows nothing of it.
    forbidden = ApiError(403, "Forbidden", "no", "x")
    cluster.errors = {"list Cluster": forbidden, "list CronJob": forbidden}
    assert "it is not in the namespace" not in told(cluster)


def test_nothing_there_is_no_healthy_stack() -> None:
    cluster = FakeCluster()
    data = look(cluster)
    assert data["state"] == "absent"
    lines = screen.screen(data, PLAYBOOKS, KUBECTL)
    assert lines[0] == "Namespace shop: nothing of ours is there (2026-11-23T09:00:00Z)"
    assert lines[-1] == "  ansible-playbook deploy.yml"


@pytest.mark.parametrize(("days", "state"), [(70, "ready"), (80, "degraded"), (100, "degraded")])
def test_a_certificate_that_nobody_renewed_is_wrong(days: int, state: str) -> None:
    cluster = healthy()
    certificate(cluster, timedelta(days=days))
    data = look(cluster)
    assert data["state"] == state
    assert data["certificates"][0]["days_left"] == pytest.approx(90 - days, abs=0.1)


def test_what_may_not_be_read_is_said_and_is_no_fault() -> None:
    cluster = healthy()
    forbidden = ApiError(403, "Forbidden", "no", "x")
    cluster.errors = {f"get Secret/{name}": forbidden for name in ("twisterlab-tls", "twisterlab-ca")}
    cluster.errors |= {"list CronJob": forbidden, "list Event": forbidden}
    data = look(cluster)
    assert data["state"] == "ready"
    assert "twisterlab-tls: no permission" in told(cluster)
    assert "Backups       not known, as CronJobs may not be listed" in told(cluster)
    assert "Warnings      not known, as Events may not be listed" in told(cluster)
    cluster.errors |= {f"list {kind}": forbidden for kind in ("Ingress", "ConfigMap", "HorizontalPodAutoscaler")}
    assert look(cluster)["unseen"] == ["ConfigMap", "CronJob", "Event", "HorizontalPodAutoscaler", "Ingress"]
    for line in (
        "Autoscaler    not known, as HorizontalPodAutoscalers may not be listed",
        "Release       not known, as ConfigMaps may not be listed",
        "Certificate   not known, as Ingresses may not be listed",
    ):
        assert line in told(cluster)
    assert _status.collect(cluster, NAMESPACE, None, dict)["state"] == "ready"


def test_a_server_that_does_not_answer_is_an_error() -> None:
    cluster = healthy()
    cluster.errors = {"list Event": Unreachable("no answer")}
    with pytest.raises(Unreachable, match="no answer"):
        look(cluster)


def test_backups_are_told_of_and_an_old_or_a_failed_one_is_wrong() -> None:
    cluster = healthy()

    def job(name: str, command: str, begun: str, kind: str = "Complete", completed: str = "") -> None:
        status = {"conditions": [{"type": kind, "status": "True"}]} | (
            {"completionTime": completed} if completed else {}
        )
        obj = manifest("Job", name, "backup", status=status)
        owner = {"kind": "Deployment", "name": "backup", "uid": "x", "controller": True}
        obj["metadata"] |= {"creationTimestamp": begun, "ownerReferences": [owner]}
        obj["metadata"]["labels"] |= {"twisterlab.io/backup": command}
        cluster.put(obj)

    last = {"lastSuccessfulTime": "2026-11-22T03:00:00Z"}
    cluster.put(manifest("CronJob", "backup", "backup", spec={"schedule": "0 3 * * *"}, status=last))
    assert "Backups       newest 2026-11-22T03:00:00Z (30 hours ago), drilled 2026-11-22T03:00:00Z" in told(cluster)
    assert "backup: the newest is 30 hours old" in told(cluster)
    assert told(cluster).endswith(f"Next:\n  {KUBECTL} get cronjobs,jobs")
    assert told(cluster, PLAYBOOKS | {"backup"}).endswith("Next:\n  ansible-playbook playbooks/backup.yml")
    # One that somebody asked for counts, a restore does not.
    job("backup-1", "run", "2026-11-23T03:00:00Z", completed="2026-11-23T03:01:00Z")
    job("drill-1", "drill", "2026-11-23T05:00:00Z", completed="2026-11-23T05:01:00Z")
    job("restore-1", "restore", "2026-11-23T06:00:00Z", "Failed")
    assert (
        "Backups       newest 2026-11-23T03:01:00Z (6 hours ago), drilled 2026-11-23T05:01:00Z (4 hours ago), schedule 0 3 * * *"
        in told(cluster)
    )
    assert look(cluster)["state"] == "ready"
    job("drill-2", "drill", "2026-11-23T07:00:00Z", "Failed")
    assert "Job/drill-2: the last backup or drill failed; verify --tags backup says why" in told(cluster)
    assert look(cluster)["state"] == "degraded"


def test_backups_that_were_never_made_are_no_fault() -> None:
    cluster = healthy()
    cluster.put(manifest("CronJob", "backup", "backup"))
    never = {"last_success_timestamp_seconds": 0.0, "wal_streaming": 1.0}
    assert "Backups       newest none yet, drilled never" in told(cluster, receiver=never)
    assert "Backups       newest not known, as the receiver cannot be asked, drilled not known" in told(cluster)


def test_backups_whose_jobs_are_gone_are_known_by_the_receiver() -> None:
    cluster = healthy()
    cluster.put(manifest("CronJob", "backup", "backup"))
    made = {
        "last_success_timestamp_seconds": datetime(2026, 11, 23, 3, tzinfo=UTC).timestamp(),
        "drill_last_timestamp_seconds": datetime(2026, 11, 23, 4, tzinfo=UTC).timestamp(),
    }
    assert "newest 2026-11-23T03:00:00Z (6 hours ago), drilled 2026-11-23T04:00:00Z (5 hours ago)" in told(
        cluster, receiver=made | {"drill_success": 1.0}
    )
    assert look(cluster, made | {"drill_success": 1.0})["state"] == "ready"
    damaged = made | {"drill_success": 0.0}
    assert "drilled failed" in told(cluster, receiver=damaged)
    assert "the backups: the last backup or drill failed; verify --tags backup says why" in told(
        cluster, receiver=damaged
    )
    assert look(cluster, damaged)["state"] == "degraded"


def schedule(cluster: FakeCluster, repository: str = "/backup/repository", **more: Any) -> None:
    """A CronJob of weeks ago, with a good backup of six hours ago."""
    env = [{"name": "RESTIC_REPOSITORY", "value": repository}]
    template = {"spec": {"template": {"spec": {"containers": [{"name": "backup", "env": env}]}}}}
    status = more.pop("status", {"lastSuccessfulTime": "2026-11-23T03:00:00Z"})
    cron = manifest("CronJob", "backup", "backup", status=status)
    cron["spec"] = {"schedule": "0 3 * * *", "jobTemplate": template, **more}
    cron["metadata"]["creationTimestamp"] = "2026-11-01T00:00:00Z"
    cluster.put(cron)


def test_a_suspended_schedule_makes_no_backups() -> None:
    cluster = healthy()
    schedule(cluster)
    assert look(cluster)["state"] == "ready"
    schedule(cluster, suspend=True)
    assert look(cluster)["state"] == "degraded"
    assert "schedule 0 3 * * *, which is suspended" in told(cluster)
    assert "CronJob/backup: it is suspended, so no backup is made" in told(cluster)


def test_backups_that_were_never_made_for_weeks_are_a_fault() -> None:
    cluster = healthy()
    schedule(cluster, status={})
    never = {"last_success_timestamp_seconds": 0.0, "last_run_timestamp_seconds": 0.0, "last_run_success": 0.0}
    assert "backup: there never was a good one, and the schedule is 537 hours old" in told(cluster, receiver=never)
    # Nobody knows, so nobody says so.
    assert look(cluster)["state"] == "ready"


def test_a_backup_that_failed_is_not_made_good_by_a_drill_of_the_one_before() -> None:
    cluster = healthy()
    schedule(cluster)
    for name, command, kind, when in (("b", "run", "Failed", "07"), ("d", "drill", "Complete", "08")):
        status = {"conditions": [{"type": kind, "status": "True"}], "completionTime": f"2026-11-23T{when}:01:00Z"}
        obj = manifest("Job", name, "backup", status=status)
        owner = {"kind": "Deployment", "name": "backup", "uid": "x", "controller": True}
        obj["metadata"] |= {"creationTimestamp": f"2026-11-23T{when}:00:00Z", "ownerReferences": [owner]}
        obj["metadata"]["labels"] |= {"twisterlab.io/backup": command}
        cluster.put(obj)
    assert look(cluster)["backups"]["failed"] == "Job/b"
    # The receiver knows it where the jobs are gone.
    cluster = healthy()
    schedule(cluster, status={})
    hours = {name: datetime(2026, 11, 23, hour, tzinfo=UTC).timestamp() for name, hour in (("good", 3), ("tried", 7))}
    known = {"last_success_timestamp_seconds": hours["good"], "last_run_timestamp_seconds": hours["tried"]}
    known |= {"drill_success": 1.0, "drill_last_timestamp_seconds": hours["good"], "last_run_success": 0.0}
    assert look(cluster, known)["backups"]["failed"] == "the backups"
    assert look(cluster, known | {"last_run_success": 1.0})["backups"]["failed"] == ""


@pytest.mark.parametrize(
    ("repository", "shown"),
    [("/backup/repository", "newest none yet, drilled never"), ("s3:https://s3.x/y", "newest 2026-11-23T03:00:00Z")],
)
def test_backups_of_a_volume_that_was_lost_are_none(repository: str, shown: str) -> None:
    cluster = healthy()
    schedule(cluster, repository)
    claim = manifest("PersistentVolumeClaim", "backup-data", "backup", status={"phase": "Bound"})
    claim["metadata"]["creationTimestamp"] = "2026-11-23T08:00:00Z"
    cluster.put(claim)
    assert f"Backups       {shown}" in told(cluster, receiver={"last_success_timestamp_seconds": 0.0})


def test_warnings_of_the_last_hour_newest_first_and_the_same_once() -> None:
    cluster = healthy()
    for number, (minute, kind, reason) in enumerate(
        [
            (50, "Warning", "Unhealthy"),
            (55, "Warning", "Unhealthy"),
            (58, "Warning", "BackOff"),
            (59, "Normal", "Pulled"),
        ]
    ):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"e{number}"},
            "type": kind,
            "reason": reason,
        }
        about = {"involvedObject": {"kind": "Pod", "name": "p"}, "message": "a  b", "count": 2}
        cluster.put({**event, **about, "lastTimestamp": f"2026-11-23T08:{minute}:00Z"})
    old = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "old"}, "type": "Warning", "reason": "Old"}
    cluster.put({**old, "involvedObject": {}, "lastTimestamp": "2026-11-23T07:59:00Z"})
    found = look(cluster)["events"]
    assert [(item["reason"], item["count"], item["message"]) for item in found] == [
        ("BackOff", 2, "a b"),
        ("Unhealthy", 4, "a b"),
    ]
    assert "Warnings      2 in the last hour\n  08:58:00 Pod/p BackOff (2 times): a b\n" in told(cluster)


def test_what_a_destroy_left_does_not_run() -> None:
    cluster = healthy()
    left = ("ConfigMap", "Secret", "Namespace")
    cluster.store = {key: obj for key, obj in cluster.store.items() if key[0] in left}
    cluster.put(manifest("PersistentVolumeClaim", "redis-data", "redis", status={"phase": "Bound"}))
    text = told(cluster)
    assert text.startswith("Namespace shop: nothing of ours runs (1 of 1 objects ready, ")
    assert text.endswith("Next:\n  ansible-playbook deploy.yml")


def test_many_faults_fit_the_screen() -> None:
    cluster = healthy()
    for number in range(20):
        cluster.put(manifest("PersistentVolumeClaim", f"data-{number:02}", "postgres", status={"phase": "Lost"}))
    text = told(cluster)
    assert "  and 12 more faults" in text
    assert f"  {KUBECTL} describe persistentvolumeclaim data-00" in text
    assert len(text.split("Next:\n")[1].splitlines()) <= 4


def test_a_metric_without_a_figure_is_unknown() -> None:
    cluster = healthy()
    autoscaler(cluster, None)
    assert "cpu unknown of 70 %" in told(cluster)


def test_every_text_is_made_harmless() -> None:
    hide = _secrets.redactor(["topsecret"])
    data = {"a": ["x topsecret", {"b": "topsecret", "c": 1}], "d": None}
    assert _status.redacted(data, hide) == {"a": ["x <redacted>", {"b": "<redacted>", "c": 1}], "d": None}


def test_the_lifetime_of_a_certificate() -> None:
    kept = _certificates.keep("shop.local", ["api.shop.local"], START)
    days, whole, names = _certificates.lifetime(kept.leaf.certificate, START + timedelta(days=1)) or (0.0, 0.0, [])
    assert (days, whole, names) == (pytest.approx(89 - 1 / 24), 90.0, ["api.shop.local"])
    assert _certificates.lifetime("-----BEGIN nothing", datetime.now(UTC)) is None
