# SPDX-License-Identifier: GPL-3.0-or-later
"""From entries to running servers: with which secrets, started how."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from . import _kinds as kinds
from ._errors import PlatformError, Refused
from ._kube import Cluster
from ._mcp_dialects import secret_name
from ._mcp_expect import STDIO, expected, program
from ._mcp_http import Http
from ._mcp_server import Server, resolve
from ._mcp_session import Hide
from ._mcp_stream import Exec, Target, target
from ._mcp_trace import Evidence
from ._mcp_verify import LOST, OK, SKIPPED, Facts, Step, Verification
from ._mcp_wire import Process, Wire
from ._reach import forwarded

SECRET = "twisterlab-secrets"  # noqa: S105 - the name of an object
_SHORTEST = 6

GiveCluster = Callable[[], Cluster]


def key_of(name: str) -> str:
    """The key of the Secret that a reference such as TWISTERLAB_MCP_TOKEN stands for: `mcp_token`."""
    return name.removeprefix("TWISTERLAB_").lower()


def secrets(
    names: Iterable[str], environment: Mapping[str, str], cluster: GiveCluster, namespace: str
) -> dict[str, str]:
    """The values of some references: from the environment or else from the cluster's Secret.

    Raises:
        Refused: one is in neither.
    """
    found: dict[str, str] = {}
    data: Mapping[str, str] | None = None
    for name in names:
        if environment.get(name):
            found[name] = environment[name]
            continue
        if data is None:
            data = (cluster().get(kinds.SECRET, SECRET, namespace) or {}).get("data") or {}
        try:
            found[name] = base64.b64decode(data[key_of(name)], validate=True).decode()
        except (KeyError, binascii.Error, UnicodeDecodeError):
            raise Refused(
                f"The secret {name} is neither in the environment nor the key {key_of(name)} of Secret {SECRET} in namespace {namespace}; set one of them."
            ) from None
    return found


def confidential(servers: Iterable[Server], values: Iterable[str]) -> set[str]:
    """The texts that nobody may see: the secrets, and what a person wrote himself into a header or variable of such a name."""
    found = {value for value in values if len(value) >= _SHORTEST}
    for server in servers:
        for name, value in (*server.headers.items(), *server.env.items()):
            if secret_name(name) and "${" not in value:
                found |= {word for word in (value, *value.split()) if len(word) > _SHORTEST}
    return found


def hider(values: Iterable[str]) -> Hide:
    """A function that takes these texts out of another one, the longest first."""
    ordered = sorted(values, key=len, reverse=True)

    def hide(text: str) -> str:
        for value in ordered:
            text = text.replace(value, "***")
        return text

    return hide


class Launcher:
    """Starts servers and verifies them.

    Attributes:
        hide: takes secrets out of a text.
    """

    def __init__(
        self,
        cluster: GiveCluster,
        namespace: str,
        via: str,
        seconds: float,
        values: Mapping[str, str],
        hide: Hide,
        service: str = "",
        ca_file: str = "",
        trace: bool = True,
    ) -> None:
        """Nothing is started yet.

        Args:
            cluster: connects to the cluster when it is first needed.
            namespace: where the stack runs.
            via: `file` or `api`.
            seconds: time limit of one step.
            values: the secrets that the entries refer to.
            hide: takes secrets out of a text.
            service: `name:port` of the Service behind an HTTP entry; empty for what its URL says.
            ca_file: authorities to trust for HTTPS.
            trace: whether to call a tool that leaves a trace.
        """
        self._cluster = cluster
        self._namespace = namespace
        self._via = via
        self._seconds = seconds
        self._values = values
        self._hide = hide
        self._service = service
        self._ca_file = ca_file
        self._trace = trace

    def verify(self, server: Server, era: str) -> list[Step]:
        """All steps of one server in one era."""
        guarded = any(name.lower() == "authorization" for name in server.headers)
        facts = self._facts if self._trace else None
        return Verification(
            server.name,
            server.transport,
            era,
            expected(server.name),
            lambda: self.connect(server),
            facts,
            self._seconds,
            self._hide,
            guarded,
        ).run()

    def _facts(self) -> Facts:
        return Evidence(self._cluster(), self._namespace, self._seconds)

    def connect(self, server: Server) -> Wire:
        """Start a server, or reach it."""
        if server.transport == "stdio":
            if self._via == "api":
                where = target(server.command, self._namespace)
                return Exec(self._cluster(), where, self._seconds)
            return Process(server.command, {name: resolve(value, self._values) for name, value in server.env.items()})
        headers = {name: resolve(value, self._values) for name, value in server.headers.items()}
        if self._via == "file":
            return Http(server.url, headers, self._seconds, self._ca_file)
        name, port = service_of(server.url, self._service)
        pool = forwarded(self._cluster(), self._namespace, name, port, self._seconds)
        path = urlsplit(server.url).path or "/"
        return Http(f"http://{name}:{port}{path}", headers, self._seconds, pool=pool)


def service_of(url: str, given: str) -> tuple[str, int]:
    """Name and port of the Service behind a URL.

    Args:
        url: such as `http://mcp-orchestrator.twisterlab.svc:8080/mcp`.
        given: `name:port` where the URL does not say it; empty otherwise.

    Raises:
        Refused: there is no such port.
    """
    parts = urlsplit(url)
    if given:
        name, _, port = given.partition(":")
        if not name or not port.isdigit():
            raise Refused(f"service {given!r} is not of the form name:port, such as mcp-orchestrator:8080")
        return name, int(port)
    default = 443 if parts.scheme == "https" else 80
    return (parts.hostname or "").partition(".")[0], parts.port or default


def ours(info: Mapping[str, Any] | None) -> bool:
    """Whether a serverInfo is that of our stdio server in its present version."""
    return info is not None and (info.get("name"), info.get("version")) == STDIO.info


def server_info(
    cluster: Cluster, namespace: str, name: str, container: str, seconds: float
) -> tuple[dict[str, Any] | None, str]:
    """Whether a pod or workload has our stdio server: its serverInfo, or None, and a sentence either way."""
    where = Target(namespace, name, container, program(namespace))
    reason = ""
    for era in ("modern", "legacy"):
        asked = Verification(name, "stdio", era, STDIO, lambda: Exec(cluster, where, seconds), None, seconds)
        try:
            info = asked.probe()
        except PlatformError as error:
            reason = reason or f"{name} does not answer as an MCP server: {error}{asked.last_words()}"
            continue
        told = f"{info.get('name')} {info.get('version')}"
        return info, f"{name} has {told}" + ("" if ours(info) else f" instead of {' '.join(STDIO.info)}")
    return None, reason


def report(steps: Sequence[Step]) -> str:
    """All failures, a sentence each; or a summary."""
    if not steps:
        return "nothing was verified"
    failed = [step for step in steps if step.state not in (OK, SKIPPED)]
    if failed:
        return "\n".join(f"{step.who}: {step.step}: {step.evidence}" for step in failed)
    good = sum(step.state == OK for step in steps)
    skipped = [f"{step.who}: {step.step} ({step.evidence})" for step in steps if step.state == SKIPPED]
    who = ", ".join(dict.fromkeys(step.who for step in steps))
    return f"{who}: {good} steps ok" + (f"; skipped: {'; '.join(skipped)}" if skipped else "")


def lines(steps: Sequence[Step]) -> list[str]:
    """The steps as they are shown: one line each, and one for all that a failure made impossible."""
    found = []
    lost = [step for step in steps if step.evidence.startswith(LOST)]
    for step in steps:
        if step not in lost:
            found.append(f"mcp {step.who}: {step.step} {step.state}, {step.seconds:.2f} s: {step.evidence}")
        elif step is lost[0]:
            names = ", ".join(item.step for item in lost)
            found.append(f"mcp {step.who}: {names} {step.state}: {step.evidence}")
    return found
