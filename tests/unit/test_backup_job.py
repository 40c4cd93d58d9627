# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of backups: what is asked of the program, whose a job is, what a run finds after one that was killed, what a failure says."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.action import backup_job as action
from ansible_collections.twisterlab.platform.plugins.module_utils import _backup_job as jobs
from ansible_collections.twisterlab.platform.plugins.module_utils import _objects as objects
from ansible_collections.twisterlab.platform.plugins.module_utils import _plan
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import PlatformError, Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._judge import Judge, Snapshot
from ansible_collections.twisterlab.platform.plugins.modules import backup_job as module
from kube_fake import NAMESPACE, START, FakeCluster, labels, manifest, namespace, workload

WHO = "ann@build1"


def given(command: str, **rest: Any) -> dict[str, Any]:
    return {"command": command, "snapshot": "", "time": "", "parts": [], "replace": False, **rest}


def words(command: str, **rest: Any) -> list[str]:
    return jobs.words(given(command, **rest), WHO, START)


def stack() -> FakeCluster:
    cluster = FakeCluster()
    cluster.put(namespace())
    cluster.put(workload("Deployment", "backup", "backup"))
    pod = {
        "metadata": {"labels": {**labels("backup"), jobs.LABEL: "run"}},
        "spec": {"containers": [{"name": "backup", "args": ["run", "--reason", "schedule"], "env": []}]},
    }
    template = {
        "metadata": {"labels": {**labels("backup"), jobs.LABEL: "run"}},
        "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": 172800, "template": pod},
    }
    cluster.put(manifest("CronJob", "backup", "backup", spec={"schedule": "15 2 * * *", "jobTemplate": template}))
    return cluster


def job_of(cluster: FakeCluster, name: str) -> dict[str, Any]:
    return cluster.store[("Job", NAMESPACE, name)]


def end(cluster: FakeCluster, name: str, kind: str = "Complete", **more: Any) -> None:
    job = job_of(cluster, name)
    # The fake writes no times of its own.
    stamp = f"{cluster.now():%Y-%m-%dT%H:%M:%SZ}"
    job["metadata"].setdefault("creationTimestamp", stamp)
    job["status"] = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": stamp, **more}]}


def pod_of(cluster: FakeCluster, job: str, state: dict[str, Any] | None, **status: Any) -> None:
    states = [{"name": "backup", "state": state}] if state is not None else []
    metadata = {"name": f"{job}-x", "labels": {**labels("backup"), "job-name": job, jobs.LABEL: "run"}}
    status = {"containerStatuses": states, **status}
    cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})


def look(cluster: FakeCluster, name: str, cursor: str = "", last: str = "", elapsed: float = 0.0) -> jobs.Look:
    return jobs.look(
        cluster, NAMESPACE, name, cursor, last, elapsed, lambda text: text.replace("hunter2", "<redacted>")
    )


def test_what_is_asked_of_the_program() -> None:
    assert words("run") == ["run", "--reason", "on demand by ann@build1"]
    assert words("drill", snapshot="latest") == ["drill"]
    assert words("drill", snapshot="3f1c9a2e") == ["drill", "--snapshot", "3f1c9a2e"]
    assert words("list") == ["list"]
    assert words("restore", snapshot="latest", parts=["postgres", "redis"], replace=True) == [
        "restore", "--snapshot", "latest", "--parts", "postgres,redis", "--replace",
    ]  # fmt: skip
    assert words("restore", time="2026-11-23T08:00:00Z") == ["restore", "--time", "2026-11-23T08:00:00Z"]


@pytest.mark.parametrize(
    ("command", "rest", "told"),
    [
        ("restore", {}, "needs either a snapshot or a second: write -e restore_snapshot=latest"),
        ("restore", {"snapshot": "latest", "time": "2026-11-23T08:00:00Z"}, "needs either a snapshot or a second"),
        ("restore", {"time": "yesterday"}, "restore_time is 'yesterday', which is no second of UTC"),
        ("restore", {"time": "2026-13-23T08:00:00Z"}, "no second of UTC"),
        ("restore", {"time": "2026-11-23T09:00:01Z"}, "is in the future, for it is 2026-11-23T09:00:00Z"),
        ("restore", {"snapshot": "--help"}, "The snapshot '--help' is none"),
        ("restore", {"snapshot": "latest", "parts": ["grafana"]}, "restore_parts has 'grafana'"),
        ("drill", {"snapshot": "; rm"}, "The snapshot '; rm' is none"),
    ],
)
def test_a_mistake_is_one_sentence(command: str, rest: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match="^[^\n]+$") as error:
        words(command, **rest)
    assert told in str(error.value)


def test_a_job_is_like_the_cronjob_and_no_part_of_a_release() -> None:
    cluster = stack()
    begun = jobs.begin(cluster, NAMESPACE, words("run"))
    assert begun == jobs.Begun("backup-20261123t090000z", False)
    job = job_of(cluster, begun.job)
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == words("run")
    assert job["spec"]["backoffLimit"] == 0
    assert objects.owner(job)["kind"] == "Deployment"
    assert objects.labels(job)[jobs.LABEL] == "run"
    # A release neither removes nor judges it, whatever becomes of it.
    end(cluster, begun.job, "Failed")
    gone, kept = _plan.superfluous(_plan.Inventory({objects.key(job): job}), [], {"backup"})
    assert (gone, kept) == ([], [])
    assert Judge(0.0, {}).judge(Snapshot({"Job": [job_of(cluster, begun.job)]}), 0.0) == []
    # Nor does it change what the next one is made from.
    cron = cluster.store[("CronJob", NAMESPACE, "backup")]
    assert cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"][-1] == "schedule"


def test_a_listing_is_forgotten_soon_and_a_drill_has_its_label() -> None:
    cluster = stack()
    listing = job_of(cluster, jobs.begin(cluster, NAMESPACE, words("list")).job)
    assert listing["spec"]["ttlSecondsAfterFinished"] == 600
    drill = job_of(cluster, jobs.begin(cluster, NAMESPACE, words("drill")).job)
    assert drill["spec"]["ttlSecondsAfterFinished"] == 172800
    assert objects.labels(drill["spec"]["template"])[jobs.LABEL] == "drill"


def test_a_backup_that_runs_is_followed_whoever_began_it_and_one_that_ended_is_not() -> None:
    cluster = stack()
    first = jobs.begin(cluster, NAMESPACE, words("run"))
    cluster.clock.sleep(5)
    other = jobs.words(given("run"), "bob@laptop", START)
    assert jobs.begin(cluster, NAMESPACE, other) == jobs.Begun(first.job, True)
    end(cluster, first.job)
    assert jobs.begin(cluster, NAMESPACE, other) == jobs.Begun("backup-20261123t090005z", False)


def test_a_restore_is_found_by_its_words_also_when_it_ended_and_nobody_was_told() -> None:
    cluster = stack()
    asked = words("restore", snapshot="latest", replace=True)
    first = jobs.begin(cluster, NAMESPACE, asked)
    cluster.clock.sleep(5)
    assert jobs.begin(cluster, NAMESPACE, asked) == jobs.Begun(first.job, True)
    with pytest.raises(Refused, match=f"Another restore, Job/{first.job}, is under way"):
        jobs.begin(cluster, NAMESPACE, words("restore", time="2026-11-23T08:00:00Z"))
    end(cluster, first.job)
    assert jobs.begin(cluster, NAMESPACE, asked) == jobs.Begun(first.job, True)
    jobs.tell(cluster, NAMESPACE, first.job)
    # The same words tomorrow are another restore.
    assert jobs.begin(cluster, NAMESPACE, asked) == jobs.Begun("restore-20261123t090005z", False)


def test_a_restore_that_ended_long_ago_is_no_news_and_the_same_words_are_another_one() -> None:
    cluster = stack()
    asked = words("restore", snapshot="latest", replace=True)
    untold = jobs.begin(cluster, NAMESPACE, asked)
    end(cluster, untold.job)
    cluster.clock.sleep(jobs.NEWS.total_seconds() + 1)
    second = jobs.begin(cluster, NAMESPACE, asked)
    assert second == jobs.Begun("restore-20261123t091501z", False)
    # The first one is not news again because a later one was told.
    end(cluster, second.job)
    jobs.tell(cluster, NAMESPACE, second.job)
    cluster.clock.sleep(1)
    assert jobs.begin(cluster, NAMESPACE, asked) == jobs.Begun("restore-20261123t091502z", False)


def test_after_a_restore_the_exporter_makes_its_role_anew() -> None:
    cluster = stack()
    for name, tier in (("postgres-exporter", "postgres"), ("redis-exporter", "redis")):
        metadata = {"name": f"{name}-x", "labels": {**labels(tier), objects.NAME: name}}
        cluster.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata})
    jobs.renew_exporter(cluster, NAMESPACE)
    assert [name for kind, _, name in cluster.store if kind == "Pod"] == ["redis-exporter-x"]


def test_without_backups_it_is_refused() -> None:
    cluster = FakeCluster()
    cluster.put(namespace())
    with pytest.raises(Refused, match="has no backups: run deploy.yml with twisterlab_backup_enabled: true first"):
        jobs.begin(cluster, NAMESPACE, words("run"))


@pytest.mark.parametrize("backups", [True, False])
def test_a_check_run_looks_makes_nothing_and_is_refused_where_the_real_one_is(
    backups: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = stack()
    if not backups:
        del cluster.store[("CronJob", NAMESPACE, "backup")]
    told: dict[str, Any] = {}

    def ended(**result: Any) -> None:
        told.update(result)
        raise SystemExit

    params = {**given("run"), "namespace": NAMESPACE, "holder": {"identity": WHO, "run": "1"}}
    given_module = SimpleNamespace(params=params, check_mode=True, exit_json=ended, fail_json=ended)
    monkeypatch.setattr(module, "AnsibleModule", lambda **_: given_module)
    monkeypatch.setattr(module._kube, "Cluster", lambda _: cluster)
    monkeypatch.setattr(module._kube, "hide", lambda _: None)
    monkeypatch.setattr(module._logs, "hider", lambda *_: None)
    with pytest.raises(SystemExit):
        module.main()
    if backups:
        # The action shows the line.
        assert told["lines"] == [told["msg"]] == [f"would run twisterlab-backup run --reason on demand by {WHO}"]
        jobs.begin(cluster, NAMESPACE, words("run"))
        with pytest.raises(SystemExit):
            module.main()
        assert told["msg"].startswith("would go on with Job/backup-")
    else:
        assert "has no backups" in told["msg"]
    assert len([key for key in cluster.store if key[0] == "Job"]) == int(backups)


def test_lines_come_once_and_the_end_is_told() -> None:
    cluster = stack()
    name = jobs.begin(cluster, NAMESPACE, words("run")).job
    assert look(cluster, name) == jobs.Look("running")
    pod_of(cluster, name, {"running": {}})
    log = "2026-11-23T09:00:01.000000001Z dumping hunter2\n2026-11-23T09:00:01.000000002Z drill\n"
    cluster.logs = {(f"{name}-x/backup", False): log}
    first = look(cluster, name)
    assert first.lines == ["dumping <redacted>", "drill"]
    assert first.state == "running"
    cluster.logs[(f"{name}-x/backup", False)] += "2026-11-23T09:00:01.000000003Z good\n"
    end(cluster, name)
    second = look(cluster, name, first.cursor, first.last)
    assert (second.state, second.lines, second.last) == ("complete", ["good"], "good")
    assert look(cluster, name, second.cursor, second.last).lines == []


def test_a_failure_says_the_last_sentence_of_the_program() -> None:
    cluster = stack()
    name = jobs.begin(cluster, NAMESPACE, words("run")).job
    over = {"exitCode": 1, "reason": "Error", "message": "drill\nThe table tickets differs: hunter2.\n"}
    pod_of(cluster, name, {"terminated": over}, phase="Failed")
    end(cluster, name, "Failed", reason="BackoffLimitExceeded", message="x")
    assert look(cluster, name).why == "The table tickets differs: <redacted>."
    # Options of the program are not the person's.
    pod_of(cluster, name, {"terminated": {**over, "message": "not empty: add --replace to go on."}}, phase="Failed")
    assert look(cluster, name).why == "not empty: add -e restore_replace=true to go on."
    # Of one whose time was up the pod is gone.
    cluster.store.pop(("Pod", NAMESPACE, f"{name}-x"))
    end(cluster, name, "Failed", reason="DeadlineExceeded", message="Job was active longer than specified deadline")
    assert look(cluster, name).why == "DeadlineExceeded: Job was active longer than specified deadline"


def test_a_pod_that_cannot_start_is_named_and_its_job_removed() -> None:
    cluster = stack()
    name = jobs.begin(cluster, NAMESPACE, words("run")).job
    condition = {"type": "PodScheduled", "reason": "Unschedulable", "message": "0/1 nodes are available"}
    pod_of(cluster, name, None, conditions=[condition])
    assert look(cluster, name).why == "finds no node: 0/1 nodes are available"
    with pytest.raises(PlatformError, match="did not start within 120 s: it finds no node: 0/1 nodes"):
        look(cluster, name, elapsed=121)
    with pytest.raises(PlatformError, match="is gone, somebody removed it"):
        look(cluster, name)


class Action(action.ActionModule):
    """The action with a module that answers what a test gives it."""

    def __init__(self, answers: list[dict[str, Any]]) -> None:
        self.answers, self.asked, self.said = answers, [], []

    def own_arguments(self) -> dict[str, Any]:
        return {"namespace": NAMESPACE}

    def holder(self, task_vars: dict[str, Any]) -> dict[str, str]:
        return {"identity": WHO, "run": "x"}

    def call(self, name: str, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(arguments)
        return self.answers.pop(0)

    def say(self, task_vars: dict[str, Any], text: str) -> None:
        self.said.append(text)


def test_the_action_shows_each_line_once_and_hands_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action.ClusterAction, "run", lambda *_: {})
    answers: list[dict[str, Any]] = [
        {"state": "running", "job": "backup-1", "found": True, "lines": ["one"], "cursor": "c1", "last": "one"},
        {
            "state": "complete",
            "job": "backup-1",
            "found": False,
            "lines": ["two"],
            "cursor": "c2",
            "msg": "two",
            "changed": True,
        },
    ]
    made = Action(answers)
    assert made.run(None, {}) == {"state": "complete", "job": "backup-1", "found": True, "msg": "two", "changed": True}
    assert made.said == ["Job/backup-1 was begun before; going on with it", "one", "two"]
    assert (made.asked[0]["job"], made.asked[1]["job"], made.asked[1]["cursor"]) == ("", "backup-1", "c1")


def test_the_action_ends_with_the_reason_or_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(action.ClusterAction, "run", lambda *_: {})
    failed = Action([{"state": "failed", "job": "backup-1", "lines": [], "failed": True, "msg": "Job/backup-1: full"}])
    assert failed.run(None, {})["msg"] == "Job/backup-1: full"
    slow = Action([{"state": "running", "job": "backup-1", "lines": []}] * 2)
    slow.own_arguments = lambda: {"timeout": 0.000001}  # type: ignore[method-assign]
    assert "still runs after" in slow.run(None, {})["msg"]
