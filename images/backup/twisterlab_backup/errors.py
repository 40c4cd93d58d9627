# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user reads when something went wrong: one sentence, never a secret."""

from __future__ import annotations

import os

_SECRETS = (
    "PGPASSWORD",
    "BACKUP_PG_REPLICATION_PASSWORD",
    "REDISCLI_AUTH",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "RESTIC_PASSWORD",
)


class Fault(Exception):
    """A fault with one sentence: what is wrong, where, what to do."""


def clean(text: str) -> str:
    """The text on one line, without the value of any secret this process knows."""
    for name in _SECRETS:
        value = os.environ.get(name, "")
        if len(value) > 3:
            text = text.replace(value, "***")
    return " ".join(text.split())


def say(text: str) -> None:
    """Print one line of progress."""
    print(clean(text), flush=True)
