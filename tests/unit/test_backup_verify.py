# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks of `verify --tags backup`: what is good, what is wrong and why, what was never made."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _backup_job as jobs
from ansible_collections.twisterlab.platform.plugins.module_utils import _backup_verify as backup
from ansible_collections.twisterlab.platform.plugins.module_utils._checks import FAILED, OK, SKIPPED, Check
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Silent
from ansible_collections.twisterlab.platform.plugins.module_utils._record import Records, Summary
from ansible_collections.twisterlab.platform.plugins.module_utils._stage import Component
from ansible_collections.twisterlab.platform.plugins.module_utils._web import Answer
from ansible_collections.twisterlab.platform.plugins.modules import backup_verify
from kube_fake import NAMESPACE, START, FakeCluster, labels, manifest, namespace

HOURS = 3600.0
PAGE = """# HELP twisterlab_backup_last_success_timestamp_seconds When.
# TYPE twisterlab_backup_last_success_timestamp_seconds gauge
twisterlab_backup_last_success_timestamp_seconds 1.5e9
twisterlab_backup_snapshots{kind="base"} 2
twisterlab_backup_snapshots{kind="logical"} 9
twisterlab_backup_wal_lag_bytes NaN-no
process_cpu_seconds_total 4
"""


def metrics(**changed: float | None) -> dict[str, float]:
    now = START.timestamp()
    found: dict[str, float | None] = {
        "last_success_timestamp_seconds": now - 7 * HOURS,
        "last_run_timestamp_seconds": now - 7 * HOURS,
        "last_run_success": 1.0,
        "last_duration_seconds": 41.0,
        "size_bytes": 2.0 * 2**20,
        "repository_bytes": 9.0 * 2**20,
        "drill_last_timestamp_seconds": now - 7 * HOURS,
        "drill_success": 1.0,
        "wal_streaming": 1.0,
        "wal_lag_bytes": 0.0,
        "wal_last_received_timestamp_seconds": now - 5,
        "snapshots/logical": 9.0,
        "snapshots/base": 3.0,
        **changed,
    }
    return {name: value for name, value in found.items() if value is not None}


def seen(
    told: dict[str, Any] | None = None,
    failed: str = "",
    age: float = 90.0,
    settings: dict[str, str] | None = None,
    **changed: Any,
) -> backup.Seen:
    cron = manifest("CronJob", "backup", "backup", spec={"schedule": "15 2 * * *"})
    cron["metadata"]["creationTimestamp"] = f"{START - timedelta(hours=age):%Y-%m-%dT%H:%M:%SZ}"
    claim = changed.pop("claim", {"status": {"phase": "Bound", "capacity": {"storage": "16Gi"}}})
    return backup.Seen(
        metrics(**changed),
        {
            "BACKUP_WAL": "true",
            "RESTIC_REPOSITORY": "/backup/repository",
            "BACKUP_KEEP": "daily=7,last=3,monthly=6,weekly=4",
            **(settings or {}),
        },
        cron,
        claim,
        told or {},
        failed,
        START,
    )


def judged(given: backup.Seen) -> dict[str, Check]:
    return {check.name: check for check in backup.judge(given)}


def test_the_page_is_read() -> None:
    assert backup.parse(PAGE) == {
        "last_success_timestamp_seconds": 1.5e9,
        "snapshots/base": 2.0,
        "snapshots/logical": 9.0,
    }


def test_all_is_well_with_its_figures() -> None:
    checks = judged(seen(told={"drill": {"ok": True, "tables": 5, "rows": 77}}))
    assert tuple(checks) == backup.NAMES
    assert {check.state for check in checks.values()} == {OK}
    assert checks["newest backup"].evidence == "2026-11-23T02:00:00Z, 7.0 hours ago, 2Mi in 41 s, schedule 15 2 * * *"
    assert checks["restore drill"].evidence.endswith("7.0 hours ago, 5 tables with 77 rows compared")
    assert checks["receiver of the log"].evidence.startswith("it streams")
    assert checks["repository"].evidence == "/backup/repository on the volume backup-data of 16Gi, 9Mi"
    assert checks["retention"].evidence == "3 base, 9 logical; kept are daily=7,last=3,monthly=6,weekly=4"


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("newest backup", {"last_success_timestamp_seconds": START.timestamp() - 27 * HOURS}, "27 hours old, more than 26"),
        ("newest backup", {"last_run_success": 0.0, "failed": "No space left."}, "failed: No space left."),
        ("newest backup", {"last_success_timestamp_seconds": 0.0}, "there never was a good one"),
        ("newest backup", {"last_success_timestamp_seconds": 0.0, "last_run_timestamp_seconds": 0.0}, "there never was one"),
        ("restore drill", {"drill_success": 0.0, "told": {"drill": {"ok": False, "why": "pack 1a differs"}}}, "may be worth nothing: pack 1a differs"),
        ("restore drill", {"drill_last_timestamp_seconds": START.timestamp() - 30 * HOURS}, "30 hours old"),
        ("receiver of the log", {"wal_streaming": 0.0}, "it does not stream"),
        ("receiver of the log", {"wal_streaming": None}, "it does not stream"),
        ("repository", {"claim": None}, "the volume claim backup-data is not there"),
        ("repository", {"claim": {"status": {"phase": "Pending"}}}, "the volume claim backup-data is Pending"),
        ("retention", {"snapshots/logical": 21.0}, "21 backups are there"),
    ],
)  # fmt: skip
def test_each_fault_is_named(name: str, changed: dict[str, Any], told: str) -> None:
    checks = judged(seen(**changed))
    assert checks[name].state == FAILED
    assert told in checks[name].evidence
    assert [check.name for check in checks.values() if check.state == FAILED] == [name]


def test_a_suspended_schedule_is_a_fault() -> None:
    given = seen()
    given.cron["spec"]["suspend"] = True
    assert "is suspended" in judged(given)["newest backup"].evidence


def test_what_was_never_made_is_skipped_for_a_day() -> None:
    never = {"last_success_timestamp_seconds": 0.0, "last_run_timestamp_seconds": 0.0, "drill_success": None}
    checks = judged(seen(age=2.0, **never, **{"snapshots/logical": None, "snapshots/base": None}))
    assert [check.state for check in checks.values()] == [SKIPPED, SKIPPED, OK, OK, SKIPPED]
    assert "playbooks/backup.yml makes one now" in checks["newest backup"].evidence


def test_without_the_log_and_in_a_bucket() -> None:
    checks = judged(seen(settings={"BACKUP_WAL": "false", "RESTIC_REPOSITORY": "s3:https://s3.example.org/lab/x"}))
    assert checks["receiver of the log"].state == SKIPPED
    assert checks["repository"].evidence == "s3:https://s3.example.org/lab/x, 9Mi"


def test_the_newest_failure_is_told_unless_a_good_one_followed() -> None:
    def pod(when: str, code: int, command: str = "run", phase: str = "Failed") -> dict[str, Any]:
        over = {"exitCode": code, "message": f"line\nbecause of {when}\n"}
        metadata = {"creationTimestamp": when, "labels": {**labels("backup"), jobs.LABEL: command}}
        states = [{"name": "backup", "state": {"terminated": over}}]
        return {"metadata": metadata, "status": {"phase": phase, "containerStatuses": states}}

    failed = [pod("2026-11-23T02:00:00Z", 1), pod("2026-11-22T02:00:00Z", 1), pod("2026-11-23T05:00:00Z", 1, "restore")]
    assert backup.last_failure(failed) == "because of 2026-11-23T02:00:00Z"
    assert backup.last_failure([*failed, pod("2026-11-23T03:00:00Z", 0, "drill", "Succeeded")]) == ""
    assert backup.last_failure([]) == ""


def test_the_settings_are_those_of_the_cronjob() -> None:
    env = [{"name": "BACKUP_WAL", "value": "true"}, {"name": "PGPASSWORD", "valueFrom": {"secretKeyRef": {}}}]
    template = {"spec": {"template": {"spec": {"containers": [{"name": "backup", "env": env}]}}}}
    assert jobs.settings_of(manifest("CronJob", "backup", "backup", spec={"jobTemplate": template})) == {
        "BACKUP_WAL": "true"
    }


def looked(cluster: FakeCluster) -> dict[str, tuple[str, str]]:
    found = backup_verify.look(cluster, NAMESPACE, 1.0)  # type: ignore[arg-type]
    return {check.name: (check.state, check.evidence) for check in found}


def test_a_schedule_that_somebody_removed_is_not_switched_off() -> None:
    cluster = FakeCluster()
    cluster.put(namespace())
    assert {state for state, _told in looked(cluster).values()} == {SKIPPED}
    cron = manifest("CronJob", "backup", "backup")
    Records(cluster, NAMESPACE).write(Summary(0, "applied", "ann", "", ["backup"]), [Component("backup", [cron], {})])
    state, told = looked(cluster)["newest backup"]
    assert (state, told.partition(";")[0]) == (FAILED, "release 1 has CronJob/backup, and the namespace has not")
    Records(cluster, NAMESPACE).write(Summary(0, "applied", "ann", "", ["backup"]), [Component("backup", [], {})])
    assert looked(cluster)["newest backup"][0] == SKIPPED


def test_a_receiver_that_cannot_be_asked_leaves_nothing_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_given: object) -> None:
        raise Silent("backup did not answer")

    monkeypatch.setattr(backup_verify._web, "Web", silent)
    cluster = FakeCluster()
    cluster.put(manifest("CronJob", "backup", "backup"))
    found = looked(cluster)
    assert tuple(sorted(found)) == tuple(sorted(backup.NAMES))
    assert {name for name, (state, _told) in found.items() if state == FAILED} == {backup.RECEIVER}


def test_what_the_receiver_answers_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    class Web:
        """A receiver whose last drill failed."""

        def __init__(self, *_given: object) -> None:
            """Nothing to reach."""

        def ask(self, path: str) -> Answer:
            return Answer(200, {}, "twisterlab_backup_drill_success 0\n" if path == "/metrics" else "{}")

    monkeypatch.setattr(backup_verify._web, "Web", Web)
    cluster = FakeCluster()
    cluster.put(manifest("CronJob", "backup", "backup"))
    assert set(looked(cluster)) == set(backup.NAMES)
    state, told = looked(cluster)["restore drill"]
    assert (state, "may be worth nothing" in told) == (FAILED, True)
