# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository: restic, for a folder and for any S3-compatible store. Its password and keys come from the environment."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import programs, state
from .errors import Fault, say
from .settings import Settings

HOST = "twisterlab"
#: Up to this size every byte is read by every check.
READ_ALL_BYTES = 5 * 1024**3
#: A shared hold of this lock keeps others from taking away restic's own locks.
USERS = "lock-repository"
USERS_SECONDS = 600.0
#: restic itself tries for a quarter of an hour.
OPEN_SECONDS = 120.0


@dataclass(frozen=True)
class Snapshot:
    """One snapshot.

    Attributes:
        id: eight characters.
        kind: `logical`, `base` or `wal`.
        time: when it was made, UTC, as `2026-11-26T18:00:00Z`.
        tags: `name-value` words beside the kind.
    """

    id: str
    kind: str
    time: str
    tags: dict[str, str]
    paths: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """What it holds, bytes."""
        return int(self.tags.get("bytes", "0"))


def _restic(*arguments: str, what: str) -> str:
    return programs.run("restic", "--quiet", *arguments, what=what)


def alone(settings: Settings) -> contextlib.AbstractContextManager[None]:
    """Keep the receiver's uploads out: restic does not wait for another's lock, and forgetting takes an exclusive one.

    Raises:
        Fault: an upload has gone on for all the time.
    """
    return state.locked(settings.state, USERS, seconds=USERS_SECONDS)


def _is_made(settings: Settings) -> bool:
    """Whether there is one: a folder shows it; of a store it is kept in mind, as restic asks an empty one for a quarter of an hour."""
    if settings.remote:
        return state.read(settings.state, "address").get("repository") == settings.repository
    return (Path(settings.repository) / "config").is_file()


def prepare(settings: Settings, *, make: bool = False) -> None:
    """Open the repository, make it if there is none, and take away locks that killed processes left.

    The caller holds the lock of the state, so nobody but `serve` uses the repository, and that holds a lock of its own.

    Args:
        settings: the settings.
        make: whether a repository that is not there is made.

    Raises:
        Fault: it cannot be reached, is not there or its password is another one.
    """
    with alone(settings):
        if make and not _is_made(settings):
            if not settings.remote:
                Path(settings.repository).mkdir(parents=True, exist_ok=True)
            code, _, errors = programs.attempt("restic", "--quiet", "init", seconds=OPEN_SECONDS)
            if code and "already" not in errors:
                raise Fault(f"A new repository cannot be made: {programs.last_words(errors)}.")
            state.write(settings.state, "address", {"repository": settings.repository})
            say("the repository was there" if code else "made a new repository")
        code, _, errors = programs.attempt("restic", "--quiet", "unlock", "--remove-all", seconds=OPEN_SECONDS)
    if code and ("wrong password" in errors or "no key found" in errors):
        raise Fault(
            "The repository has another password: put the one it was made with into backup_repository_password."
        )
    if code:
        raise Fault(f"The repository cannot be opened: {programs.last_words(errors) or 'restic said nothing'}.")


def save(kind: str, folder: Path, tags: dict[str, str]) -> Snapshot:
    """Save a folder as one snapshot.

    Raises:
        Fault: restic failed.
    """
    words = [kind, *(f"{name}-{value}" for name, value in tags.items())]
    output = programs.run(
        *("restic", "--quiet", "--json", "backup", "--host", HOST),
        *(part for word in words for part in ("--tag", word)),
        folder.name,
        # relative: the snapshot holds the folder alone, not those above it, whose owners are others
        folder=folder.parent,
        what=f"The snapshot ({kind}) cannot be written to the repository",
    )
    for line in reversed(output.splitlines()):
        found = json.loads(line) if line.startswith("{") else {}
        if found.get("message_type") == "summary":
            name = str(found["snapshot_id"])[:8]
            return Snapshot(name, kind, state.stamp(state.now()), dict(tags), (str(folder),))
    raise Fault(f"The snapshot ({kind}) was written, and restic did not say its id: run the backup again.")


def snapshots() -> list[Snapshot]:
    """Every snapshot of ours, oldest first.

    Raises:
        Fault: the repository cannot be read.
    """
    found: list[Snapshot] = []
    listed: list[dict[str, Any]] = json.loads(
        _restic("--json", "--no-lock", "snapshots", "--host", HOST, what="The snapshots cannot be listed") or "[]"
    )
    for item in listed or []:
        words = [str(word) for word in item.get("tags") or []]
        kind = next((word for word in words if word in ("logical", "base", "wal")), "")
        if kind:
            tags = dict(word.split("-", 1) for word in words if "-" in word)
            when = state.stamp(state.moment(_seconds(str(item["time"]))))
            found.append(Snapshot(str(item["id"])[:8], kind, when, tags, tuple(item.get("paths") or ())))
    return sorted(found, key=lambda each: each.time)


def _seconds(text: str) -> str:
    """An RFC 3339 time with at most six digits after the second: Go writes nine."""
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = tail[: len(tail) - len(tail.lstrip("0123456789"))]
    return f"{head}.{digits[:6]}{tail[len(digits) :]}"


def pick(name: str, kinds: tuple[str, ...] = ("logical",)) -> Snapshot:
    """The snapshot a user names: `latest` or an id.

    Raises:
        Fault: there is none.
    """
    found = [each for each in snapshots() if each.kind in kinds]
    if not found:
        raise Fault("The repository holds no backup: run `twisterlab-backup run` first.")
    if name == "latest":
        return found[-1]
    for each in found:
        if len(name) >= 6 and (each.id.startswith(name[:8])):
            return each
    raise Fault(f"There is no snapshot {name!r}: take an id that `twisterlab-backup list` shows, or latest.")


def restore(snapshot: Snapshot, target: Path) -> Path:
    """Restore a snapshot below a folder and return where its content is.

    Raises:
        Fault: it cannot be read whole.
    """
    target.mkdir(parents=True, exist_ok=True)
    # Without a lock: what is read is not forgotten meanwhile, and an upload must not end it.
    _restic(
        *("--no-lock", "restore", snapshot.id, "--target", str(target)),
        what=f"The snapshot {snapshot.id} cannot be restored from the repository",
    )
    inside = target / Path(snapshot.paths[0]).name
    if not inside.is_dir():
        raise Fault(f"The snapshot {snapshot.id} does not hold {snapshot.paths[0]}: it is no backup of this program.")
    return inside


def size() -> int:
    """Bytes the repository takes.

    Raises:
        Fault: it cannot be read.
    """
    found = json.loads(
        _restic("--json", "--no-lock", "stats", "--mode", "raw-data", what="The repository's size cannot be read")
    )
    return int(found["total_size"])


def check(settings: Settings, bytes_stored: int) -> None:
    """Check the repository; every byte of it when it is small or the settings say so.

    Raises:
        Fault: something in it is damaged.
    """
    everything = settings.check_data or bytes_stored < READ_ALL_BYTES
    with alone(settings):
        code, output, errors = programs.attempt("restic", "--quiet", "check", *(("--read-data",) if everything else ()))
    if code:
        lines = [line for line in (output + "\n" + errors).splitlines() if line.strip()]
        telling = [
            line for line in lines if any(word in line.lower() for word in ("pack ", "blob", "hash", "ciphertext"))
        ]
        raise Fault(f"The repository is damaged: {programs.last_words(chr(10).join(telling or lines))}.")
    say(f"checked the repository{', every byte of it' if everything else ''}")


def thin_out(settings: Settings, systems: set[str]) -> list[Snapshot]:
    """Forget what retention does not keep, and WAL of servers of which no base is left.

    Args:
        settings: the settings.
        systems: servers whose WAL stays whether or not a base of theirs is left.

    Returns:
        The snapshots that are left, oldest first.

    Raises:
        Fault: restic failed.
    """
    # a base costs all the WAL since: what stands for weeks and months is the logical copy alone
    short = {name: number for name, number in settings.keep.items() if name in ("last", "hourly", "daily") and number}
    kinds = {"logical": settings.keep, "base": short or {"last": 1}}
    # newest first: the last backup that a drill has proven stays, however many unproven ones came after it
    drills = state.read(settings.state, "drills")
    with alone(settings):
        found = [each for each in reversed(snapshots()) if drills.get(each.id, {}).get("ok")]
        for kind, keep in kinds.items():
            proven = next((each.id for each in found if each.kind == kind), "")
            words = [word for name, number in keep.items() if number for word in (f"--keep-{name}", str(number))]
            _forget(kind, words, proven)
        kept = snapshots()
        if settings.remote:
            systems = systems | {each.tags.get("system", "") for each in kept if each.kind == "base"}
            stale = [each for each in kept if each.kind == "wal" and each.tags.get("system") not in systems]
            if stale:
                names = [each.id for each in stale]
                _restic("forget", *names, what="The WAL of a server of which no base is left cannot be forgotten")
            kept = [each for each in kept if each not in stale]
            # every upload of WAL has forgotten an older one
            _restic("prune", what="The repository cannot be pruned")
    return kept


def _forget(kind: str, words: list[str], proven: str) -> None:
    """Forget the snapshots of a kind that a policy does not keep, but for one."""
    what = f"The old snapshots ({kind}) cannot be forgotten"
    policy = ("--host", HOST, "--tag", kind, "--group-by", "host", *words)
    said = _restic("--json", "forget", "--dry-run", *policy, what=what).splitlines()
    groups: list[dict[str, Any]] = json.loads(next((line for line in said if line.startswith("[")), "[]"))
    names = [str(item["id"])[:8] for group in groups for item in group.get("remove") or []]
    names = [name for name in names if name != proven]
    if names:
        _restic("forget", *names, "--prune", what=what)


def keep_newest_wal(system: str) -> None:
    """Forget all but the two newest snapshots of a server's WAL: each holds all the segments that are needed.

    Raises:
        Fault: restic failed.
    """
    _restic(
        *("forget", "--host", HOST, "--tag", f"wal,system-{system}", "--group-by", "host", "--keep-last", "2"),
        what="The old snapshots of the WAL cannot be forgotten",
    )
