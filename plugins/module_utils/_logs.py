# SPDX-License-Identifier: GPL-3.0-or-later
"""The logs of several pods as one, by time, with everything hidden that nobody may see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from . import _kinds as kinds
from . import _objects as objects
from . import _sealed, _secrets
from ._api import Api, attempt
from ._errors import ApiError, Refused
from ._lease import moment_of
from ._objects import Object

#: More of one container's log is not read at once; the oldest of it comes first, so the newest is missing.
LIMIT_BYTES = 8 * 2**20
#: A container that ended so recently is told of, also when it runs again.
RECENT = timedelta(minutes=10)
HIDDEN = "<redacted>"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+)([smhd])")
_STAMP = re.compile(r"^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d+))?Z? ?")
#: What looks like a credential, whosever it is.
_TOKENS = (
    (
        re.compile(r"(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer|token)\s+)[^\s\"',]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"(\bbearer\s+)(?:(?=\S*\d)[\w.~+/-]{8,}|[\w.~+/-]{20,})=*", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), HIDDEN),
)


class Logs(Api, Protocol):
    """A cluster that gives logs with their times."""

    def log_text(self, namespace: str, pod: str, container: str, query: Sequence[tuple[str, str]]) -> str:
        """A log as it is; `ApiError` says why there is none."""


@dataclass(frozen=True)
class Source:
    """One run of one container.

    Attributes:
        pod, container: which.
        previous: whether it is the run that ended.
    """

    pod: str
    container: str
    previous: bool = False

    @property
    def key(self) -> str:
        """What tells it from others."""
        return f"{self.pod}/{self.container}"


@dataclass(frozen=True, order=True)
class Line:
    """One line: its time in a form that sorts, whose it is, its text."""

    time: str
    source: str
    text: str


@dataclass
class Found:
    """What one look brought.

    Attributes:
        lines: by time.
        notes: what must be said beside them, such as why there is no log.
        cursors: the time of the last line of each container, for the next look.
    """

    lines: list[Line]
    notes: list[str]
    cursors: dict[str, str]


def span(text: str) -> int:
    """Seconds of `90s`, `15m`, `2h`, `1d` or sums of these (`1h30m`); 0 for an empty text.

    Raises:
        Refused: it is none.
    """
    if not text:
        return 0
    if text.isdigit() or not re.fullmatch(rf"(?:{_SPAN.pattern})+", text):
        raise Refused(f"twisterlab_logs_since is {text!r}; write a time with its unit, for example 90s, 15m, 2h or 1d.")
    return sum(int(number) * _UNITS[unit] for number, unit in _SPAN.findall(text))


def stamped(text: str, source: Source) -> list[Line]:
    """The lines of a log that was asked for with timestamps; what has none belongs to the line before it."""
    name = f"{source.pod} {source.container}{' (before it ended)' if source.previous else ''}"
    found: list[Line] = []
    last = ""
    for raw in text.splitlines():
        match = _STAMP.match(raw)
        if match:
            last = f"{match[1]}.{(match[2] or '').ljust(9, '0')}"
        found.append(Line(last, name, raw[match.end() :] if match else raw))
    return found


def whole(text: str) -> tuple[str, bool]:
    """The whole lines of a log, and whether it was cut: half a line would show half a secret, which nothing hides."""
    cut = len(text.encode()) >= LIMIT_BYTES
    return (text[: text.rfind("\n") + 1] if cut else text), cut


def merged(parts: Iterable[Sequence[Line]]) -> list[Line]:
    """All of them by time; what one container says at one time stays in its order."""
    return sorted((line for part in parts for line in part), key=lambda line: line.time)


def shown(line: Line) -> str:
    """A line for people, to the millisecond."""
    return f"{line.time[:23]}Z {line.source} | {line.text}"


def pods(api: Api, namespace: str, components: Sequence[str]) -> list[Object]:
    """The pods of some tiers."""

    def chosen(pod: Object) -> bool:
        # The instances of a Cluster carry the operator's labels.
        if objects.is_instance(pod):
            return "postgres" in components
        return objects.is_ours(pod) and objects.component(pod) in components

    return [pod for pod in api.list(kinds.POD, namespace) if chosen(pod)]


def sources(found: Iterable[Object], now: datetime) -> tuple[list[Source], list[str]]:
    """Whose logs are read: every container that has run, and the run before of one that crashed; and what is to be said of these."""
    chosen, notes = [], []
    for pod in sorted(found, key=objects.name):
        status = pod.get("status") or {}
        for state in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            source = Source(objects.name(pod), str(state.get("name")))
            waiting = (state.get("state") or {}).get("waiting") or {}
            ended = (state.get("lastState") or {}).get("terminated") or {}
            if ended and (not state.get("ready") or now - (moment_of(ended.get("finishedAt")) or now) < RECENT):
                chosen.append(Source(source.pod, source.container, previous=True))
                notes.append(
                    f"{source.key} ended with exit code {ended.get('exitCode')} ({ended.get('reason')}) at {ended.get('finishedAt')}, "
                    f"restarts: {state.get('restartCount')}"
                )
            if waiting and not ended:
                message = " ".join(str(waiting.get("message") or "").split())
                notes.append(f"{source.key} has not run: {waiting.get('reason')}{f', {message}' if message else ''}")
            elif not waiting:
                chosen.append(source)
    return chosen, notes


def look(
    api: Logs,
    namespace: str,
    components: Sequence[str],
    lines: int,
    since: int,
    cursors: Mapping[str, str],
    hide: Callable[[str], str],
) -> Found:
    """Read once.

    Args:
        api: the cluster.
        namespace: where.
        components: whose logs.
        lines: how many of each container at most.
        since: only those of so many last seconds; 0 for all.
        cursors: what was read before; then only what is newer, and no run that ended.
        hide: makes a text harmless.
    """
    chosen, notes = sources(pods(api, namespace, components), api.now())
    if cursors:
        chosen, notes = [source for source in chosen if not source.previous], []

    def one(source: Source) -> list[Line]:
        query = [("container", source.container), ("timestamps", "true"), ("limitBytes", str(LIMIT_BYTES))]
        query += [("previous", "true")] if source.previous else []
        last = cursors.get(source.key, "")
        if last:
            # To the second; what was read of that second is left out below.
            query.append(("sinceTime", f"{last[:19]}Z"))
        elif not cursors:
            query.append(("tailLines", str(lines)))
            query += [("sinceSeconds", str(since))] if since else []
        text, cut = whole(api.log_text(namespace, source.pod, source.container, query))
        if cut and not cursors:
            notes.append(
                f"{source.key} said more than {LIMIT_BYTES // 2**20} MiB in its last {lines} lines and the newest are missing; "
                "ask for fewer (twisterlab_logs_lines)."
            )
        return [line for line in stamped(text, source) if line.time > last]

    parts: list[list[Line]] = []
    after = dict(cursors)
    for source, part, error in attempt(chosen, one):
        if isinstance(error, ApiError):
            # A pod that went since it was listed has nothing to say.
            if error.status != 404 and not source.previous and not cursors:
                notes.append(f"{source.key} has no log: {error.message}")
            continue
        if error is not None:
            raise error
        parts.append(part or [])
        if part and not source.previous:
            after[source.key] = max(line.time for line in part)
    told = [Line(line.time, line.source, hide(line.text)) for line in merged(parts)]
    return Found(told, [hide(note) for note in notes], after)


def hider(api: Api, namespace: str) -> Callable[[str], str]:
    """Hides every value of the stack's Secrets, and what looks like a credential.

    Raises:
        Refused: the Secret may not be read, so nobody could hide what is in it.
    """
    values: list[str] = []
    for name in (_secrets.SECRET_NAME, *_sealed.NAMES):
        try:
            found = api.get(kinds.SECRET, name, namespace)
        except ApiError as error:
            if error.status == 403 and name in _sealed.NAMES:
                continue
            raise Refused(
                f"The values of Secret/{name} could not be hidden in the logs, since it cannot be read ({error.message}); "
                "use the deployer's kubeconfig (playbooks/bootstrap.yml), or kubectl logs."
            ) from error
        held = _secrets.decode((found or {}).get("data"))
        if name in _sealed.NAMES:
            held = {key: value for key, value in held.items() if key not in (_sealed.CERTIFICATE, _sealed.AUTHORITY)}
        values += _secrets.confidential(held)
    # A key over several lines is logged line by line.
    values += [line for value in values if "\n" in value for line in value.splitlines() if not line.startswith("-----")]
    known = _secrets.redactor(values)

    def hide(text: str) -> str:
        text = known(text)
        for pattern, instead in _TOKENS:
            text = pattern.sub(instead, text)
        return text

    return hide


def data(found: Found) -> dict[str, Any]:
    """As plain data, for a module's result."""
    return {"lines": [shown(line) for line in found.lines], "notes": found.notes, "cursors": found.cursors}
