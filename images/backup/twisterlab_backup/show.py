# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes one part of a snapshot into a file, for a recovery by hand; prints none of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from . import drill, repository, stage
from .errors import Fault, say
from .settings import Settings

FILES = {**stage.OBJECTS, "grafana": stage.GRAFANA}


def show(settings: Settings, part: str, name: str, target: Path) -> None:
    """Write a part of a snapshot into a new file that only its owner may read.

    Raises:
        Fault: the snapshot does not hold it, or the file cannot be made.
    """
    snapshot = repository.pick(name)
    settings.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.work) as folder:
        inside, _manifest = drill.open_snapshot(snapshot, Path(folder))
        source = inside / FILES[part]
        if not source.is_file():
            raise Fault(f"The snapshot {snapshot.id} does not hold {part}: choose another one.")
        try:
            with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(source.read_bytes())
        except FileExistsError as error:
            raise Fault(f"--dest {target} is there already: name a new file.") from error
        except OSError as error:
            raise Fault(f"--dest {target} cannot be written: {error.strerror}.") from error
    say(f"wrote {part} of {snapshot.id} to {target}")
