# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP to a Service of the stack from outside the cluster, over the Kubernetes API's port-forward."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from . import _reach as reach
from ._errors import PlatformError, Silent
from ._kube import Cluster

# Its absence is reported by _kube.IMPORT_ERROR, since the client of Kubernetes needs it too.
with contextlib.suppress(ImportError):
    import urllib3

_SHOWN = 200


class Answer:
    """One HTTP answer.

    Attributes:
        status: its HTTP status.
        headers: its headers.
        text: its body.
    """

    def __init__(self, status: int, headers: Mapping[str, str], text: str) -> None:
        self.status = status
        self.headers = headers
        self.text = text


class Web:
    """One Service's port."""

    def __init__(self, cluster: Cluster, namespace: str, service: str, port: int, seconds: float) -> None:
        """Find a ready pod of the Service; connections are made when they are used.

        Args:
            seconds: time limit of one request.

        Raises:
            Refused: no such Service or port, or none of its pods is ready.
        """
        self._pool = reach.forwarded(cluster, namespace, service, port, seconds)
        self._service = service
        self._seconds = seconds

    def ask(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """GET a path, or POST (or whatever the method says) a body as JSON.

        Raises:
            Silent: no answer in time.
            PlatformError: the connection failed.
        """
        target = f"{path}?{urlencode(fields)}" if fields else path
        given = {**(headers or {}), **({} if body is None else {"Content-Type": "application/json"})}
        try:
            found = self._pool.urlopen(
                "GET" if body is None else method,
                target,
                body=None if body is None else json.dumps(body).encode(),
                headers=given,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(total=self._seconds),
            )
        except urllib3.exceptions.ReadTimeoutError as error:
            raise Silent(f"{self._service} did not answer {path} within {self._seconds:.0f} s") from error
        except urllib3.exceptions.HTTPError as error:
            raise PlatformError(f"{self._service} cannot be reached: {error}") from error
        return Answer(int(found.status), dict(found.headers), found.data.decode("utf-8", "replace"))

    def json(
        self,
        path: str,
        fields: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The JSON of an answer of 2xx.

        Raises:
            PlatformError: another status, or no JSON.
        """
        answer = self.ask(path, fields, body, headers)
        if not 200 <= answer.status < 300:
            raise PlatformError(f"{self._service} answers {path} with {answer.status}: {answer.text[:_SHOWN].strip()}")
        try:
            return json.loads(answer.text or "null")
        except ValueError as error:
            raise PlatformError(f"{self._service} answers {path} with something that is no JSON") from error
