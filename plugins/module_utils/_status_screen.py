# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of a stack on one screen: the data of `_status` in, lines out. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ._judge import READY, brief
from ._objects import sentence_list
from ._status import ABSENT, BACKUP

#: Width at which reasons and messages are cut; the JSON has them whole.
WIDTH = 150
#: How many warnings and faults a screen has room for.
LINES = 8
WORDS = {
    READY: "healthy",
    "degraded": "running, but not as it should be",
    "waiting": "not ready yet",
    "broken": "broken",
    ABSENT: "nothing of ours is there",
}
_IMAGE_WORDS = ("image", "Image", "ErrImage", "pull")


def screen(data: Mapping[str, Any], playbooks: Collection[str], kubectl: str) -> list[str]:
    """The lines.

    Args:
        data: what `_status.collect` found.
        playbooks: names of the playbooks that can be run next, without `.yml`.
        kubectl: how a person reaches the namespace.
    """
    state = f"{data['ready']} of {data['objects']} objects ready, " if data["objects"] else ""
    # After a destroy volumes and records stay, which is no stack that runs.
    still = data["state"] == "degraded" and not any(tier["ready"] for tier in data["tiers"])
    word = "nothing of ours runs" if still else WORDS[data["state"]]
    lines = [f"Namespace {data['namespace']}: {word} ({state}{data['taken']})"]
    if data["tiers"]:
        lines += ["", *table(list(_tier_rows(data["tiers"])))]
    lines += ["", *_facts(data)]
    if data["wrong"]:
        lines += ["", "Wrong:", *_cut((f"  {fault(item)}" for item in data["wrong"]), len(data["wrong"]), "faults")]
    lines += ["", "Next:", *(f"  {command}" for command in next_steps(data, playbooks, kubectl))]
    return lines


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns, the last one as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]


def _tier_rows(tiers: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    yield ["TIER", "WORKLOAD", "READY", "RESTARTS", "IMAGE"]
    for tier in tiers:
        cells = [tier["component"], tier["workload"], f"{tier['ready']}/{tier['wanted']}", str(tier["restarts"])]
        # Containers of one image are one line.
        for image in dict.fromkeys(tier["images"].values()):
            yield [*cells, image]
            cells = [""] * len(cells)


def _facts(data: Mapping[str, Any]) -> Iterator[str]:
    def unknown(*names: str) -> str:
        """What stands in the place of none where nobody may look."""
        found = [name for name in names if name in data["unseen"]]
        return f"not known, as {found[0]}{'e' if found[0] == 'Ingress' else ''}s may not be listed" if found else ""

    for item in data["autoscalers"]:
        yield f"Autoscaler    {autoscaler(item)}"
    if unknown("HorizontalPodAutoscaler"):
        yield f"Autoscaler    {unknown('HorizontalPodAutoscaler')}"
    yield f"Release       {unknown('ConfigMap') or release(data['release'])}"
    for item in data["certificates"] or [{}]:
        yield f"Certificate   {certificate(item) if item else unknown('Ingress', 'Gateway') or certificate(item)}"
    yield f"Backups       {backups(data['backups'])}"
    events = data["events"]
    number = f"{len(events) or 'none'} in the last hour"
    yield f"Warnings      {unknown('Event') or number}"
    told = (
        f"  {item['last'][11:19]} {item['object']} {item['reason']}{_times(item)}: {brief(item['message'], WIDTH)}"
        for item in events
    )
    yield from _cut(told, len(events), "warnings")


def _cut(lines: Iterator[str], number: int, what: str) -> Iterator[str]:
    for _turn, line in zip(range(LINES), lines, strict=False):
        yield line
    if number > LINES:
        yield f"  and {number - LINES} more {what}"


def _times(item: Mapping[str, Any]) -> str:
    return f" ({item['count']} times)" if item["count"] > 1 else ""


def autoscaler(item: Mapping[str, Any]) -> str:
    """One autoscaler in a line."""
    figures = ", ".join(
        f"{metric['name']} {metric['current'] or 'unknown'} of {metric['target']}" for metric in item["metrics"]
    )
    wanted = f", {item['wanted']} wanted" if item["wanted"] != item["current"] else ""
    return (
        f"{item['name']}: {item['current']} replicas{wanted}, {item['min']} to {item['max']}; {figures or 'no metrics'}"
    )


def release(item: Mapping[str, Any]) -> str:
    """One release in a line."""
    if not item:
        return "none is recorded"
    state = "applied, not judged yet" if item.get("status") == "applied" else str(item.get("status"))
    when = str(item.get("ended") or item.get("started"))
    return f"{item.get('number')}, {state}, {when}, by {item.get('user')}: {changes(item)}"


def changes(item: Mapping[str, Any], limit: int = 4) -> str:
    """What a release did, in words."""
    words = [
        f"{word} {sentence_list(list(item[name]), limit)}"
        for name, word in (("created", "created"), ("changed", "changed"), ("deleted", "removed"))
        if item.get(name)
    ]
    return "; ".join(words) or "nothing changed"


def certificate(item: Mapping[str, Any]) -> str:
    """One certificate in a line."""
    if not item:
        return "none is served"
    if item.get("problem"):
        return f"{item['secret']}: {item['problem']}"
    names = f" ({sentence_list(list(item['names']), 6)})" if item["names"] else ""
    return f"{item['secret']}: {item['days_left']:.0f} of {item['days']:.0f} days left{names}"


def backups(item: Mapping[str, Any]) -> str:
    """The backups in a line."""
    if not item:
        return "none"
    if item.get("problem"):
        return str(item["problem"])
    nothing = ("none yet", "never") if item["asked"] else ("not known, as the receiver cannot be asked", "not known")
    newest = f"{item['newest']} ({item['newest_hours']:.0f} hours ago)" if item["newest"] else nothing[0]
    drilled = f"{item['drilled']} ({item['drilled_hours']:.0f} hours ago)" if item["drilled"] else nothing[1]
    drilled = "failed" if item["failed"] and not item["drilled"] else drilled
    told = f"newest {newest}, drilled {drilled}" + (f", schedule {item['schedule']}" if item.get("schedule") else "")
    return told + (", which is suspended" if item.get("suspended") else "")


def fault(item: Mapping[str, Any]) -> str:
    """One thing that is wrong, in a line."""
    pod = f" [pod {item['pod']}]" if item["pod"] and item["pod"] not in item["title"] else ""
    state = "" if item["state"] == "wrong" else f" is {item['state']}"
    return f"{item['title']}{state}: {brief(item['reason'], WIDTH)}{pod}"


def next_steps(data: Mapping[str, Any], playbooks: Collection[str], kubectl: str) -> list[str]:
    """The commands to run next, the most telling one first; never empty."""
    if data["state"] == ABSENT:
        return ["ansible-playbook deploy.yml"]
    if not data["wrong"]:
        return ["ansible-playbook playbooks/verify.yml"]
    found: list[str] = []
    for item in data["wrong"][:LINES]:
        found += _look(item, playbooks, kubectl)
    if data["release"].get("status") == "failed" and "rollback" in playbooks:
        found.append("ansible-playbook playbooks/rollback.yml")
    if any(item["state"] == "wrong" and item["component"] != BACKUP for item in data["wrong"]):
        found.append("ansible-playbook deploy.yml")
    return list(dict.fromkeys(found))[:4]


def _look(item: Mapping[str, Any], playbooks: Collection[str], kubectl: str) -> Iterator[str]:
    """How to look closer at one fault; what a deploy mends needs no look."""
    if item["state"] == "wrong":
        if item["component"] == BACKUP:
            yield "ansible-playbook playbooks/backup.yml" if "backup" in playbooks else f"{kubectl} get cronjobs,jobs"
        return
    pulls = any(word in item["reason"] for word in _IMAGE_WORDS)
    if item["component"] and item["pod"] and not pulls:
        yield f"ansible-playbook playbooks/logs.yml -e twisterlab_component={item['component']}"
    elif item["pod"]:
        yield f"{kubectl} describe pod {item['pod']}"
    else:
        kind, _, name = item["title"].partition("/")
        yield f"{kubectl} describe {kind.lower()} {name}" if name else f"{kubectl} get pods"
