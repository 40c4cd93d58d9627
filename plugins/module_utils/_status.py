# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in a namespace, at one moment, as plain data: one round of parallel reads, then pure functions."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from . import _backup_job, _health, _sealed
from . import _kinds as kinds
from . import _objects as objects
from ._api import Api, each, known
from ._errors import ApiError
from ._judge import READY, WAITING, Judge, Snapshot, event_time, overall, ready_instances
from ._lease import moment_of
from ._objects import Object, meta
from ._record import SELECTOR, Records, newest, number_of, summary_of

ABSENT = "absent"
#: Component of everything that makes backups.
BACKUP = "backup"
#: How far back warnings are told.
RECENT = timedelta(hours=1)
#: A backup of yesterday, with some hours for its own time; the alert BackupTooOld says the same.
BACKUP_AGE = timedelta(hours=26)
#: A certificate is renewed at a third of its lifetime, so one with less than this share was forgotten.
CERTIFICATE_SHARE = 0.2
WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet", "Cluster")
#: The volume that the backups are on stays when nothing makes them any more.
BACKUP_VOLUME = "PersistentVolumeClaim/backup-data"

#: What the receiver of the backups knows, by the names of its metrics; it stays when the jobs are gone. Empty when it cannot be asked.
Ask = Callable[[], Mapping[str, float]]
#: Days left, whole lifetime in days and the names of a certificate in PEM; None when it cannot be read.
Read = Callable[[str, datetime], tuple[float, float, list[str]] | None]
#: Why a certificate is not told of, which is no fault of the stack.
UNSEEN = ("no permission", "the Python package cryptography is not here")


def collect(api: Api, namespace: str, read: Read | None, ask: Ask) -> dict[str, Any]:
    """Everything that the screen and the JSON show.

    Args:
        api: the cluster.
        namespace: where.
        read: reads a certificate; None where nothing here can.
        ask: asks the receiver of the backups.

    Raises:
        ApiError: what every role may list cannot be listed.
        Unreachable: the API server does not answer.
    """
    unseen: list[str] = []
    rest: dict[str, Callable[[], Any]] = {
        "events": lambda: known(api, kinds.EVENT, namespace, "", unseen=unseen),
        "records": lambda: newest_record(api, namespace, unseen),
        "cron_jobs": lambda: known(api, kinds.CRON_JOB, namespace, objects.OURS_SELECTOR, unseen=unseen),
        "tls": lambda: _certificates(api, namespace, unseen),
    }
    # `read` of the judge makes eight requests at once; the others go beside them.
    tasks: list[tuple[str, Callable[[], Any]]] = [("snapshot", lambda: _health.read(api, namespace)), *rest.items()]
    found = dict(each(tasks, lambda task: (task[0], task[1]())))
    snapshot: Snapshot = found["snapshot"]
    snapshot.events = found["events"]
    snapshot.found[kinds.CRON_JOB.name] = found["cron_jobs"]
    snapshot.unseen += unseen
    now = api.now()
    checks = Judge(0.0, {}).judge(snapshot, 0.0)
    release = found["records"]
    since = _volume_since(found["cron_jobs"], ours(snapshot, kinds.CLAIM.name))
    saved = backups(found["cron_jobs"], ours(snapshot, "Job"), {}, now, since)
    if saved and not (saved["newest"] and saved["drilled"]):
        # The jobs go with a destroy and the backups stay. Only then: asking takes longer than all the rest.
        saved = backups(found["cron_jobs"], ours(snapshot, "Job"), ask(), now, since)
    data: dict[str, Any] = {
        "namespace": namespace,
        "taken": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "tiers": tiers(snapshot),
        "autoscalers": [autoscaler(item) for item in ours(snapshot, "HorizontalPodAutoscaler")],
        "release": release,
        "certificates": certificates(found["tls"], now, read),
        "backups": saved or _no_backups(snapshot),
        "events": warnings(snapshot.events, now),
        "ready": sum(1 for check in checks if check.state == READY),
        "objects": len(checks),
        "waiting": sum(1 for check in checks if check.state == WAITING),
        "unseen": sorted(set(snapshot.unseen)),
    }
    data["wrong"] = wrong(data, [asdict(check) for check in checks], snapshot)
    data["state"] = ABSENT if not checks and not release else overall(checks)
    if data["state"] == READY and data["wrong"]:
        data["state"] = "degraded"
    return data


def newest_record(api: Api, namespace: str, unseen: list[str] | None = None) -> dict[str, Any]:
    """The summary of the last release; empty when there was none or, which `unseen` then says, it may not be read."""
    found = newest(known(api, kinds.CONFIG_MAP, namespace, SELECTOR, metadata_only=True, unseen=unseen))
    return summary_of(Records(api, namespace).read(number_of(found)) or {}) if found else {}


def _certificates(api: Api, namespace: str, unseen: list[str]) -> dict[str, str]:
    """PEM, or why there is none, of the certificate that the edge serves and of our authority, by Secret."""
    forbidden: list[str] = []
    served = _sealed.served_by(known(api, kinds.INGRESS, namespace, objects.OURS_SELECTOR, unseen=forbidden))
    served = served or _sealed.served_by(known(api, kinds.GATEWAY, namespace, objects.OURS_SELECTOR, unseen=forbidden))
    # Most stacks have one of the two, and their roles no right to the other.
    unseen += forbidden if not served else []
    names = [served] if served else []
    # The authority is ours where the certificate is.
    names += ["twisterlab-ca"] if served in _sealed.NAMES else []
    return dict(each(names, lambda name: (name, _pem(api, namespace, name))))


def _pem(api: Api, namespace: str, name: str) -> str:
    try:
        found = api.get(kinds.SECRET, name, namespace)
    except ApiError as error:
        if error.status != 403:
            raise
        return UNSEEN[0]
    value = ((found or {}).get("data") or {}).get(_sealed.CERTIFICATE, "")
    return base64.b64decode(value).decode("utf-8", "replace") if value else "not there"


def ours(snapshot: Snapshot, kind: str) -> list[Object]:
    """The stack's objects of a kind, by name."""
    return sorted((obj for obj in snapshot.of(kind) if objects.is_ours(obj)), key=objects.title)


def pods_of(snapshot: Snapshot, workload: Object) -> list[Object]:
    """The pods of a workload, through its ReplicaSets where it has them."""
    owners = {str(meta(workload).get("uid"))}
    owners |= {
        str(meta(item).get("uid")) for item in snapshot.of("ReplicaSet") if objects.owner(item).get("uid") in owners
    }
    return [pod for pod in snapshot.of("Pod") if objects.owner(pod).get("uid") in owners]


def pod_spec(snapshot: Snapshot, workload: Object) -> Object:
    """What a workload's pods are; a Cluster does not say it itself, so of its oldest one, but for the image."""
    if workload.get("kind") != "Cluster":
        return objects.pod_spec(workload)
    image = (workload.get("spec") or {}).get("imageName")
    pods = sorted(pods_of(snapshot, workload), key=lambda pod: str(meta(pod).get("creationTimestamp")))
    found = [
        item
        for item in ((pods[0].get("spec") or {}).get("containers") or [] if pods else [])
        if item["name"] == "postgres"
    ]
    return {"containers": [{**item, "image": image} for item in found or [{"name": "postgres"}]]}


def tiers(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Every workload: its tier, replicas, images and restarts."""
    found = []
    for kind in WORKLOADS:
        for obj in ours(snapshot, kind):
            spec, status = obj.get("spec") or {}, obj.get("status") or {}
            wanted, ready = spec.get("replicas", 1), status.get("readyReplicas")
            if kind == "DaemonSet":
                wanted, ready = status.get("desiredNumberScheduled"), status.get("numberReady")
            elif kind == "Cluster":
                wanted, ready = spec.get("instances"), ready_instances(obj, pods_of(snapshot, obj))
            states = [
                state
                for pod in pods_of(snapshot, obj)
                for state in (pod.get("status") or {}).get("containerStatuses") or []
            ]
            found.append(
                {
                    "component": objects.component(obj),
                    "workload": objects.title(obj),
                    "ready": int(ready or 0),
                    "wanted": int(wanted or 0),
                    "restarts": sum(int(state.get("restartCount") or 0) for state in states),
                    "images": _images(pod_spec(snapshot, obj)),
                }
            )
    return sorted(found, key=lambda item: (item["component"], item["workload"]))


def _images(spec: Object) -> dict[str, str]:
    """Images by container, those that only prepare last."""
    groups = (spec.get("containers") or [], spec.get("initContainers") or [])
    return {str(item.get("name")): str(item.get("image")) for group in groups for item in group}


def autoscaler(obj: Object) -> dict[str, Any]:
    """One autoscaler with what it sees."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    seen = {_metric(item): _figure(item, "current") for item in status.get("currentMetrics") or []}
    target = spec.get("scaleTargetRef") or {}
    return {
        "name": objects.name(obj),
        "component": objects.component(obj),
        "target": f"{target.get('kind')}/{target.get('name')}",
        "current": int(status.get("currentReplicas") or 0),
        "wanted": int(status.get("desiredReplicas") or 0),
        "min": int(spec.get("minReplicas") or 1),
        "max": int(spec.get("maxReplicas") or 0),
        "metrics": [
            {"name": _metric(item), "current": seen.get(_metric(item), ""), "target": _figure(item, "target")}
            for item in spec.get("metrics") or []
        ],
    }


def _body(item: Object) -> Object:
    kind = str(item.get("type") or "")
    return item.get(kind[:1].lower() + kind[1:]) or {}


def _metric(item: Object) -> str:
    body = _body(item)
    return str(body.get("name") or (body.get("metric") or {}).get("name") or item.get("type"))


def _figure(item: Object, part: str) -> str:
    figure = _body(item).get(part) or {}
    if figure.get("averageUtilization") is not None:
        return f"{figure['averageUtilization']} %"
    return str(figure.get("averageValue") or figure.get("value") or "")


def certificates(found: Mapping[str, str], now: datetime, read: Read | None) -> list[dict[str, Any]]:
    """Days left of each certificate's lifetime; `problem` where it cannot be said."""
    told: list[dict[str, Any]] = []
    for name, text in found.items():
        if not text.startswith("-----"):
            told.append({"secret": name, "problem": text})
            continue
        if read is None:
            told.append({"secret": name, "problem": UNSEEN[1]})
            continue
        known = read(text, now)
        if known is None:
            told.append({"secret": name, "problem": "it cannot be read"})
            continue
        days, whole, names = known
        told.append({"secret": name, "days_left": round(days, 1), "days": round(whole, 1), "names": names})
    return told


def backups(
    cron_jobs: Iterable[Object], jobs: Iterable[Object], receiver: Mapping[str, float], now: datetime, since: str = ""
) -> dict[str, Any]:
    """When there was a good backup, when one was last restored for proof, and which try failed since; empty without the tier.

    Args:
        cron_jobs: of the stack.
        jobs: of the stack; a backup that somebody asked for is one of them, and every backup is drilled.
        receiver: its metrics.
        now: the server's time.
        since: when the volume that holds them was made; what a job made before went with the volume before.
    """
    cron = _schedule(cron_jobs)
    if cron is None:
        return {}
    last = str((cron.get("status") or {}).get("lastSuccessfulTime") or "")
    last = last if last >= since else ""
    drill, drilled = receiver.get("drill_success"), _stamp(receiver.get("drill_last_timestamp_seconds"))
    told: dict[str, Any] = {
        "newest": max(last, _stamp(receiver.get("last_success_timestamp_seconds"))),
        "drilled": max(last, drilled if drill else ""),
        "schedule": str((cron.get("spec") or {}).get("schedule") or ""),
        "asked": bool(receiver),
        "suspended": bool((cron.get("spec") or {}).get("suspend")),
    }
    made = moment_of(str(meta(cron).get("creationTimestamp") or "")) or now
    told["schedule_hours"] = round((now - made).total_seconds() / 3600, 1)
    failed: list[tuple[str, str, str]] = []
    for obj in jobs:
        command, status = objects.labels(obj).get(_backup_job.LABEL), obj.get("status") or {}
        if command not in (_backup_job.RUN, _backup_job.DRILL):
            continue
        state = _backup_job.ended(obj)
        if state == _backup_job.COMPLETE:
            when = str(status.get("completionTime") or "")
            when = when if when >= since else ""
            told["drilled"] = max(told["drilled"], when)
            told["newest"] = max(told["newest"], when if command == _backup_job.RUN else "")
        elif state == _backup_job.FAILED:
            failed.append((str(meta(obj).get("creationTimestamp") or ""), objects.title(obj), command))
    if drill == 0:
        failed.append((drilled, "the backups", _backup_job.DRILL))
    if receiver.get("last_run_success") == 0 and receiver.get("last_run_timestamp_seconds"):
        failed.append((_stamp(receiver.get("last_run_timestamp_seconds")), "the backups", _backup_job.RUN))
    for part in ("newest", "drilled"):
        if told[part]:
            told[f"{part}_hours"] = round((now - _moment(told[part])).total_seconds() / 3600, 1)
    # A drill of an older backup does not make good the backup that failed.
    good = {_backup_job.RUN: told["newest"], _backup_job.DRILL: told["drilled"]}
    told["failed"] = next((title for when, title, command in sorted(failed, reverse=True) if when > good[command]), "")
    return told


def _no_backups(snapshot: Snapshot) -> dict[str, Any]:
    """Why there is no schedule, where there may be backups all the same."""
    if kinds.CRON_JOB.name in snapshot.unseen:
        return {"newest": "", "failed": "", "problem": "not known, as CronJobs may not be listed"}
    if BACKUP_VOLUME in {objects.title(obj) for obj in ours(snapshot, kinds.CLAIM.name)}:
        problem = "nothing makes them; those that were made are on the volume backup-data"
        return {"newest": "", "failed": "", "problem": problem}
    return {}


def _stamp(seconds: float | None) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else ""


def warnings(events: Iterable[Object], now: datetime) -> list[dict[str, Any]]:
    """The warnings of the last hour, newest first, the same one once."""
    told: dict[tuple[str, str, str], dict[str, Any]] = {}
    for event in events:
        when = event_time(event)
        if event.get("type") != "Warning" or not when or now - _moment(when) > RECENT:
            continue
        about = event.get("involvedObject") or {}
        key = (f"{about.get('kind')}/{about.get('name')}", str(event.get("reason")), str(event.get("message")))
        count = int((event.get("series") or {}).get("count") or event.get("count") or 1)
        before = told.get(key)
        told[key] = {
            "object": key[0],
            "reason": key[1],
            "message": " ".join(key[2].split()),
            "last": max(when, before["last"] if before else ""),
            "count": count + (before["count"] if before else 0),
        }
    return sorted(told.values(), key=lambda item: item["last"], reverse=True)


def _moment(text: str) -> datetime:
    return moment_of(text) or datetime.fromtimestamp(0, UTC)


def _schedule(cron_jobs: Iterable[Object]) -> Object | None:
    return next((obj for obj in cron_jobs if objects.component(obj) == BACKUP), None)


def _volume_since(cron_jobs: Iterable[Object], claims: Iterable[Object]) -> str:
    """When the volume that holds the repository was made; empty for one that is elsewhere."""
    if not _backup_job.settings_of(_schedule(cron_jobs) or {}).get("RESTIC_REPOSITORY", "").startswith("/"):
        return ""
    found = (claim for claim in claims if objects.name(claim) == "backup-data")
    return max((str(meta(claim).get("creationTimestamp") or "") for claim in found), default="")


def wrong(data: Mapping[str, Any], checks: Iterable[Mapping[str, Any]], snapshot: Snapshot) -> list[dict[str, Any]]:
    """Everything that is not as it should be, worst first: the judge's verdicts, then what it does not look at."""
    found = [
        {name: check[name] for name in ("title", "component", "state", "reason", "pod", "container", "crashed")}
        for check in checks
        if check["state"] != READY
    ]
    release = data["release"]
    wanted = {*WORKLOADS, kinds.CRON_JOB.name} - set(snapshot.unseen)
    there = {objects.title(obj) for kind in wanted for obj in snapshot.of(kind)}
    titles = {title.rpartition("/")[0] for title in release.get("images") or {}}
    for title in sorted(titles - there):
        if title.partition("/")[0] in wanted:
            found.append(_item(title, f"release {release['number']} has it, and it is not in the namespace"))
    if release.get("status") == "failed":
        found.append(_item(f"release {release['number']}", f"failed: {cause(release)}"))
    for item in data["certificates"]:
        if item.get("days") and item["days_left"] < item["days"] * CERTIFICATE_SHARE:
            sentence = f"{item['days_left']:.0f} of {item['days']:.0f} days are left, it was not renewed"
            found.append(_item(f"Secret/{item['secret']}", sentence, "ingress"))
        elif item.get("problem") and item["problem"] not in UNSEEN:
            found.append(_item(f"Secret/{item['secret']}", f"the certificate: {item['problem']}", "ingress"))
    saved = data["backups"]
    if saved and saved["newest"] and saved["newest_hours"] > BACKUP_AGE.total_seconds() / 3600:
        found.append(_item("backup", f"the newest is {saved['newest_hours']:.0f} hours old", BACKUP))
    if saved and saved["failed"]:
        found.append(_item(saved["failed"], "the last backup or drill failed; verify --tags backup says why", BACKUP))
    if saved.get("suspended"):
        found.append(_item("CronJob/backup", "it is suspended, so no backup is made: set suspend to false", BACKUP))
    elif saved.get("asked") and not saved["newest"] and saved["schedule_hours"] > BACKUP_AGE.total_seconds() / 3600:
        sentence = f"there never was a good one, and the schedule is {saved['schedule_hours']:.0f} hours old"
        found.append(_item("backup", sentence, BACKUP))
    return found


def cause(release: Mapping[str, Any]) -> str:
    """The first cause that a failed release was recorded with; its first line only says where and when."""
    lines = str(release.get("reason") or "").strip().splitlines()
    told = next((line.removeprefix("- ") for line in lines if line.startswith("- ")), "")
    return told or (lines[0] if lines else "no reason is recorded")


def _item(title: str, reason: str, component: str = "") -> dict[str, Any]:
    return {
        "title": title,
        "component": component,
        "state": "wrong",
        "reason": reason,
        "pod": "",
        "container": "",
        "crashed": False,
    }


def redacted(value: Any, hide: Callable[[str], str]) -> Any:
    """The same data with every text made harmless."""
    if isinstance(value, str):
        return hide(value)
    if isinstance(value, dict):
        return {name: redacted(item, hide) for name, item in value.items()}
    return [redacted(item, hide) for item in value] if isinstance(value, list) else value
