# SPDX-License-Identifier: MIT
"""The errors that the services answer with a reason."""

from __future__ import annotations


class ConfigurationError(Exception):
    """A setting cannot be used; the message is one sentence without any secret."""


class DependencyError(Exception):
    """A neighbour (Postgres, Redis, a peer) did not do its part.

    Attributes: ``dependency`` its name, ``reason`` why, in one line.
    """

    def __init__(self, dependency: str, reason: str) -> None:
        super().__init__(f"{dependency} is unavailable: {reason}")
        self.dependency = dependency
        self.reason = reason


def reason_of(error: BaseException) -> str:
    """Return one line that says why: the first line of the message, or the error's type."""
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
