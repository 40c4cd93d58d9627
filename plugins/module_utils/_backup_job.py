# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup, drill, restore or list: a Job made from the CronJob `backup`, found again by a run after the one that was killed."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from . import _kinds as kinds
from . import _objects as objects
from . import _throwaway
from ._errors import ApiError, PlatformError, Refused
from ._lease import moment_of
from ._logs import Logs, Source, stamped
from ._objects import Object, meta

#: Name of the CronJob, of the Deployment whose volume a job shares, and of the container.
NAME = "backup"
RUN, DRILL, RESTORE, LIST = "run", "drill", "restore", "list"
COMMANDS = (RUN, DRILL, RESTORE, LIST)
#: Label of a Job and its pod: the command.
LABEL = "twisterlab.io/backup"
#: Label of a Job: what it was asked for, so that the same words find it again.
WORDS = "twisterlab.io/backup-words"
#: Annotation of a Job whose end somebody was told.
TOLD = "twisterlab.io/backup-told"
#: A pod that has not started by then never does.
START_SECONDS = 120.0
#: How long the end of a restore that nobody was told is news; later the same words mean another one.
NEWS = timedelta(minutes=15)
RUNNING, COMPLETE, FAILED = "running", "complete", "failed"
PARTS = ("postgres", "redis")
#: The program's options, as they are inputs of a playbook.
_INPUTS = {
    "--replace": "-e restore_replace=true",
    "--snapshot": "-e restore_snapshot",
    "--time": "-e restore_time",
    "`twisterlab-backup list`": "playbooks/restore.yml -e restore_list=true",
    "`twisterlab-backup run`": "playbooks/backup.yml",
}
_TITLES = {RUN: NAME, DRILL: DRILL, RESTORE: RESTORE, LIST: LIST}
_SECOND = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")
_SNAPSHOT = re.compile(r"latest|[0-9a-f]{4,64}")


def settings_of(cron: Object) -> dict[str, str]:
    """The environment of the program, without what comes from the Secret."""
    containers = objects.pod_spec(cron).get("containers") or [{}]
    return {str(item.get("name")): str(item["value"]) for item in containers[0].get("env") or [] if "value" in item}


@dataclass(frozen=True)
class Begun:
    """A Job that runs or ran.

    Attributes:
        job: its name.
        found: whether an earlier run began it.
    """

    job: str
    found: bool


@dataclass
class Look:
    """What one look at a Job brought.

    Attributes:
        state: running, complete or failed.
        lines: what the program said since the look before.
        cursor: the time of the last line, for the next look.
        last: the last line that says something.
        why: why it failed, or for what it waits.
    """

    state: str
    lines: list[str] = field(default_factory=list)
    cursor: str = ""
    last: str = ""
    why: str = ""


def words(params: Mapping[str, Any], who: str, now: datetime) -> list[str]:
    """The program's arguments.

    Args:
        params: command, snapshot, time, parts, replace.
        who: asks for it.
        now: the server's time.

    Raises:
        Refused: they do not name one thing to do.
    """
    command, snapshot, time = str(params["command"]), str(params["snapshot"]), str(params["time"])
    if snapshot and not _SNAPSHOT.fullmatch(snapshot):
        raise Refused(
            f"The snapshot {snapshot!r} is none: write latest, or an id that playbooks/restore.yml -e restore_list=true lists."
        )
    if command == RUN:
        return [RUN, "--reason", f"on demand by {who}"]
    if command == DRILL:
        return [DRILL, *(["--snapshot", snapshot] if snapshot not in ("", "latest") else [])]
    if command == LIST:
        return [LIST]
    if bool(snapshot) == bool(time):
        raise Refused(
            "A restore needs either a snapshot or a second: write -e restore_snapshot=latest or -e restore_time=2026-11-26T18:00:00Z; "
            "-e restore_list=true lists what there is."
        )
    moment = moment_of(time) if _SECOND.fullmatch(time) else None
    if time and moment is None:
        raise Refused(f"restore_time is {time!r}, which is no second of UTC: write for example 2026-11-26T18:00:00Z.")
    if moment and moment > now:
        raise Refused(
            f"restore_time {time} is in the future, for it is {now:%Y-%m-%dT%H:%M:%SZ}: write an earlier one."
        )
    parts = [str(part) for part in params["parts"]]
    for part in parts:
        if part not in PARTS:
            raise Refused(
                f"restore_parts has {part!r}, which is not restored by a playbook: write some of {', '.join(PARTS)} (docs/backup.md has the way of the others)."
            )
    found = [RESTORE, *(["--snapshot", snapshot] if snapshot else ["--time", time])]
    found += ["--parts", ",".join(parts)] if parts else []
    return found + (["--replace"] if params["replace"] else [])


def mark(arguments: Sequence[str]) -> str:
    """What tells a request from others, as a label. Who asks for a backup does not matter."""
    chosen = [arguments[0]] if arguments[0] == RUN else list(arguments)
    return hashlib.sha256("\0".join(chosen).encode()).hexdigest()[:12]


def begin(api: Logs, namespace: str, arguments: Sequence[str], dry_run: bool = False) -> Begun:
    """Find the Job of an earlier run that asked for the same, or make one; a dry run answers with no name instead.

    Raises:
        Refused: there are no backups here, or another restore is under way.
    """
    cron, receiver = api.get(kinds.CRON_JOB, NAME, namespace), api.get(kinds.DEPLOYMENT, NAME, namespace)
    if cron is None or receiver is None:
        raise Refused(
            f"Namespace {namespace} has no backups: run deploy.yml with twisterlab_backup_enabled: true first."
        )
    command, words_of = str(arguments[0]), mark(arguments)
    jobs = sorted(
        api.list(kinds.JOB, namespace, labels=f"{objects.OURS_SELECTOR},{LABEL}={command}"),
        key=lambda job: str(meta(job).get("creationTimestamp") or ""),
        reverse=True,
    )
    same = [job for job in jobs if command == RUN or objects.labels(job).get(WORDS) == words_of]
    # The end of the last one is news only for a restore: a backup is simply made anew.
    news = [job for job in same[:1] if command == RESTORE and _is_news(job, api.now())]
    for job in [*(job for job in same if ended(job) == RUNNING), *news]:
        return Begun(objects.name(job), True)
    other = next((job for job in jobs if ended(job) == RUNNING), None)
    if command == RESTORE and other is not None:
        raise Refused(
            f"Another restore, Job/{objects.name(other)}, is under way in namespace {namespace}: wait until it ends, and run again."
        )
    if dry_run:
        return Begun("", False)
    stamp = f"{api.now():%Y%m%dt%H%M%Sz}"
    name = f"{_TITLES[command]}-{stamp}"
    try:
        api.create(manifest(cron, receiver, name, arguments))
    except ApiError as error:
        if error.status != 409:
            raise
    return Begun(name, False)


def manifest(cron: Object, receiver: Object, name: str, arguments: Sequence[str]) -> Object:
    """The Job.

    Args:
        cron: the CronJob that it is like.
        receiver: the Deployment that it goes with. The CronJob itself would count it as one of its own, and as a backup.
        name: of the Job.
        arguments: of the program.
    """
    template = copy.deepcopy((cron.get("spec") or {}).get("jobTemplate") or {})
    spec = template["spec"]
    labels = {**objects.labels(template), LABEL: str(arguments[0])}
    pod = spec["template"]
    pod["metadata"] = {**(pod.get("metadata") or {}), "labels": {**objects.labels(pod), LABEL: str(arguments[0])}}
    container = pod["spec"]["containers"][0]
    container["args"] = list(arguments)
    if arguments[0] == LIST:
        # It is read at once.
        spec["ttlSecondsAfterFinished"] = 600
    owner = {
        "apiVersion": kinds.DEPLOYMENT.api_version,
        "kind": kinds.DEPLOYMENT.name,
        "name": objects.name(receiver),
        "uid": meta(receiver).get("uid"),
        "controller": True,
    }
    return {
        "apiVersion": kinds.JOB.api_version,
        "kind": kinds.JOB.name,
        "metadata": {
            "name": name,
            "namespace": meta(cron).get("namespace"),
            "labels": {**labels, WORDS: mark(arguments)},
            "ownerReferences": [owner],
        },
        "spec": spec,
    }


def ended(job: Object) -> str:
    """Whether a Job runs, is complete or failed."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return COMPLETE if condition["type"] == "Complete" else FAILED
    return RUNNING


def _is_news(job: Object, now: datetime) -> bool:
    """Whether a Job ended a short while ago, and nobody was told: its playbook was killed, and this is the same again."""
    moments = [moment_of(item.get("lastTransitionTime")) for item in (job.get("status") or {}).get("conditions") or []]
    over = max((moment for moment in moments if moment), default=moment_of(meta(job).get("creationTimestamp")))
    return not objects.notes(job).get(TOLD) and over is not None and now - over < NEWS


def look(
    api: Logs, namespace: str, name: str, cursor: str, last: str, elapsed: float, hide: Callable[[str], str]
) -> Look:
    """Look at a Job once.

    Args:
        api: the cluster.
        namespace, name: which.
        cursor, last: what the look before answered.
        elapsed: seconds that it has been looked at.
        hide: makes a text harmless.

    Raises:
        PlatformError: it is gone, or its pod cannot start (it is then removed, so that it does not start when nobody looks).
    """
    # Before the log: of a Job that has ended the log is whole.
    job = api.get(kinds.JOB, name, namespace)
    if job is None:
        raise PlatformError(f"Job/{name} is gone, somebody removed it: run the same command again.")
    pod = next(iter(api.list(kinds.POD, namespace, labels=f"job-name={name}")), None)
    found = Look(ended(job), cursor=cursor, last=last)
    if pod is not None and _started(pod):
        source = Source(objects.name(pod), NAME)
        query = [("container", NAME), ("timestamps", "true")] + ([("sinceTime", f"{cursor[:19]}Z")] if cursor else [])
        try:
            text = api.log_text(namespace, source.pod, NAME, query)
        except ApiError as error:
            if error.status not in (400, 404):
                raise
            text = ""
        new = [line for line in stamped(text, source) if line.time > cursor]
        found.lines = [hide(line.text) for line in new]
        found.cursor = new[-1].time if new else cursor
        found.last = next((line for line in reversed(found.lines) if line.strip()), last)
    elif found.state == RUNNING:
        found.why = _throwaway.trouble(pod) if pod is not None else ""
        if elapsed > START_SECONDS:
            api.delete(kinds.JOB, name, namespace)
            raise PlatformError(
                f"The pod of Job/{name} did not start within {START_SECONDS:.0f} s: it {found.why or 'waits for its volumes'}; "
                "playbooks/status.yml shows what else is wrong."
            )
    if found.state == FAILED:
        found.why = hide(_why(job, pod)) or found.last or "it left no word"
        for option, given in _INPUTS.items():
            found.why = found.why.replace(option, given)
    return found


def renew_exporter(api: Logs, namespace: str) -> None:
    """Replace the pod of Postgres' exporter, which makes its role when it starts: a server on a new volume has none."""
    for pod in api.list(kinds.POD, namespace, labels=f"{objects.OURS_SELECTOR},{objects.NAME}=postgres-exporter"):
        api.delete(kinds.POD, objects.name(pod), namespace)


def tell(api: Logs, namespace: str, name: str) -> None:
    """Remember that its end was told, so that the same words are a new request."""
    note = f"{api.now():%Y-%m-%dT%H:%M:%SZ}"
    api.merge(kinds.JOB, name, namespace, {"metadata": {"annotations": {TOLD: note}}})


def _started(pod: Object) -> bool:
    states = (pod.get("status") or {}).get("containerStatuses") or []
    return any("waiting" not in (state.get("state") or {"waiting": {}}) for state in states)


def message_of(pod: Object) -> str:
    """The last line that the program of a pod ended with; empty for one that runs or ended well."""
    for state in (pod.get("status") or {}).get("containerStatuses") or []:
        over = (state.get("state") or {}).get("terminated") or {}
        if over.get("exitCode"):
            lines = [line for line in str(over.get("message") or "").splitlines() if line.strip()]
            if lines:
                return lines[-1].strip()
            return f"{over.get('reason', 'Error')}, exit code {over['exitCode']}"
    return ""


def _why(job: Object, pod: Object | None) -> str:
    told = message_of(pod) if pod is not None else ""
    if told:
        return told
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "Failed" and condition.get("reason") != "BackoffLimitExceeded":
            return f"{condition.get('reason')}: {condition.get('message')}"
    return ""
