# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the release path: one sentence each, raised by libraries, turned into a failure by `main()` alone."""

from __future__ import annotations

from typing import Any


class PlatformError(Exception):
    """An error whose text is a sentence for the person who runs the playbook."""


class Refused(PlatformError):
    """The input or the state of the cluster does not allow the operation; nothing was touched."""


class Unreachable(PlatformError):
    """The API server did not answer, or its certificate is not trusted."""


class Silent(PlatformError):
    """Nothing came within the time limit."""


class LeaseLost(PlatformError):
    """Another release took the lease over while this one was at work."""


class ApiError(PlatformError):
    """An answer of the API server outside 2xx.

    Args:
        status: HTTP status.
        reason: Kubernetes' reason (`NotFound`, `Conflict`, ...) or HTTP's.
        message: the server's own sentence.
        what: what was being done, such as `apply Deployment/api`.
        causes: the `details.causes` of the Status object.
    """

    def __init__(
        self, status: int, reason: str, message: str, what: str = "", causes: list[dict[str, Any]] | None = None
    ) -> None:
        self.status = status
        self.reason = reason
        self.message = message
        self.what = what
        self.causes = causes or []
        super().__init__(f"{what}: {message} ({status} {reason})" if what else f"{message} ({status} {reason})")
