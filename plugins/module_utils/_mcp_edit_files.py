# SPDX-License-Identifier: GPL-3.0-or-later
"""Client files on disk: read with every doubt refused, backed up, replaced in one step, one run at a time."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ._errors import Refused

_LARGEST = 32 * 1024 * 1024
NEW_MODE = 0o600  # such files hold tokens sooner or later


@dataclass(frozen=True)
class Found:
    """A file as it was read.

    Attributes:
        path: where it really lies, symlinks followed.
        text: its content, None if there is none.
        mode: permission bits, 0 if there is none.
    """

    path: Path
    text: str | None
    mode: int


def read(path: Path, roots: tuple[Path, ...]) -> Found:
    """Read a client's file.

    Args:
        path: where the client looks.
        roots: resolved folders; the file must lie in one of them when its symlinks are followed.

    Raises:
        Refused: it leads elsewhere, is no file, is too large, cannot be read or is not UTF-8.
    """
    circle = Refused(f"{path} is a symlink that leads in a circle; put a file in its place.")
    try:
        real = path.resolve()
    except (OSError, RuntimeError):  # up to Python 3.12
        raise circle from None
    if not any(real.is_relative_to(root) for root in roots):
        raise Refused(
            f"{path} leads out of {roots[0]} (to {real}); put a file in its place, or give the home it belongs to."
        )
    try:
        about = real.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Found(real, None, 0)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise circle from None
        raise Refused(f"{path} cannot be read ({error.strerror}); mend its permissions.") from None
    if not stat.S_ISREG(about.st_mode):
        raise Refused(f"{path} is no file; move it away.")
    if about.st_size > _LARGEST:
        raise Refused(
            f"{path} is larger than {_LARGEST // 1024 // 1024} MiB and no client's configuration; move it away."
        )
    try:
        text = real.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from None
    except OSError as error:
        raise Refused(f"{path} cannot be read ({error.strerror}); mend its permissions.") from None
    return Found(real, text, stat.S_IMODE(about.st_mode))


def check_writable(path: Path) -> None:
    """Refuse a place where no file could be put, before anything is written.

    Raises:
        Refused: a parent is no folder, or may not be written.
    """
    for folder in path.parents:
        if folder.is_dir():
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
                raise Refused(f"{folder} may not be written; mend its permissions.")
            return
        if folder.exists() or folder.is_symlink():
            raise Refused(f"{folder} is no folder; move it away.")


def back_up(found: Found) -> Path:
    """Copy the file as it was read beside itself, with its mode and owner; the copy's name ends with the time and `~`.

    Raises:
        Refused: it cannot be copied.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    for count in range(1000):
        copy = found.path.with_name(f"{found.path.name}.{stamp}{f'-{count}' if count else ''}~")
        try:
            descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        except OSError as error:
            raise _uncopied(found, error) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write((found.text or "").encode("utf-8"))
            with contextlib.suppress(FileNotFoundError):  # the file has just gone: writing says so
                _keep_owner(found, copy)
            copy.chmod(found.mode)
        except OSError as error:
            copy.unlink(missing_ok=True)
            raise _uncopied(found, error) from None
        return copy
    raise Refused(f"{found.path} has too many backups of this second; take some away.")


def _uncopied(found: Found, error: OSError) -> Refused:
    return Refused(
        f"{found.path} cannot be copied ({error.strerror}); make room in its folder, or mend its permissions."
    )


def make_folder(folder: Path) -> None:
    """Make a folder and those above it; they get the owner of the first that was there (root works in others' homes).

    Raises:
        Refused: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            if os.geteuid() == 0:
                about = path.parent.stat()
                os.chown(path, about.st_uid, about.st_gid)
    except OSError as error:
        raise Refused(
            f"The folder {folder} cannot be made ({error.strerror}); mend the permissions above it."
        ) from None


def write(found: Found, text: str, mode: int) -> None:
    """Put the text in the file's place in one step; a reader sees the old or the new one.

    Raises:
        Refused: another program changed it since it was read, or the folder cannot be written.
    """
    try:
        make_folder(found.path.parent)
        descriptor, name = tempfile.mkstemp(prefix=f".{found.path.name}.", dir=found.path.parent)
    except OSError as error:
        raise Refused(
            f"{found.path} cannot be written ({error.strerror}); mend the permissions of its folder."
        ) from None
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        _keep_owner(found, fresh)
        fresh.chmod(mode)
        _unchanged(found)
        fresh.replace(found.path)
    except OSError as error:
        raise Refused(
            f"{found.path} cannot be written ({error.strerror}); mend the permissions of its folder."
        ) from None
    finally:
        fresh.unlink(missing_ok=True)


def remove(found: Found) -> None:
    """Remove the file.

    Raises:
        Refused: another program changed it since it was read, or the folder cannot be written.
    """
    try:
        _unchanged(found)
        found.path.unlink(missing_ok=True)
    except OSError as error:
        raise Refused(
            f"{found.path} cannot be removed ({error.strerror}); mend the permissions of its folder."
        ) from None


def _keep_owner(found: Found, fresh: Path) -> None:
    """The file's owner, or for a new file its folder's: root writes into other people's homes."""
    about = (found.path if found.text is not None else found.path.parent).stat()
    now = fresh.stat()
    group = about.st_gid if found.text is not None or os.geteuid() == 0 else now.st_gid
    if (now.st_uid, now.st_gid) != (about.st_uid, group):
        # Another owner's file in a folder that we may write: it becomes ours, as with every editor.
        with contextlib.suppress(PermissionError):
            os.chown(fresh, about.st_uid, group)


def _unchanged(found: Found) -> None:
    now = found.path.read_bytes() if found.path.exists() else None
    if now != (None if found.text is None else found.text.encode("utf-8")):
        raise Refused(f"{found.path} was changed by another program just now; run this again.")


@contextlib.contextmanager
def alone(roots: tuple[Path, ...], seconds: float = 30.0) -> Iterator[None]:
    """Hold the folders against another run on this host; the lock leaves no trace.

    Raises:
        Refused: another run held it all the time.
    """
    try:
        import fcntl
    except ImportError:  # Windows itself; there Ansible does not run Python modules
        yield
        return
    with contextlib.ExitStack() as stack:
        for root in sorted(set(roots)):
            try:
                descriptor = os.open(root, os.O_RDONLY)
            except FileNotFoundError:
                continue  # nothing is there to be changed, as in check mode below a home that does not exist yet
            except OSError as error:
                raise Refused(f"{root} cannot be opened ({error.strerror}); mend its permissions.") from None
            stack.callback(os.close, descriptor)
            deadline = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Refused(
                            f"Another run has been changing files below {root} for {seconds:.0f} s; try again."
                        ) from None
                    time.sleep(0.05)
        yield
