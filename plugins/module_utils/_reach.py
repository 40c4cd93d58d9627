# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods and Services of a cluster without kubectl, an ingress or rights on the network: the Kubernetes API's port-forward stream."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import Any

from . import _kinds as kinds
from ._errors import PlatformError, Refused, Silent
from ._kube import Cluster

IMPORT_ERROR: str | None = None
try:
    import kubernetes
    import urllib3
    from kubernetes.stream import portforward
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

_KINDS = {
    "deployment": kinds.DEPLOYMENT, "deployments": kinds.DEPLOYMENT, "deploy": kinds.DEPLOYMENT,
    "statefulset": kinds.STATEFUL_SET, "statefulsets": kinds.STATEFUL_SET, "sts": kinds.STATEFUL_SET,
    "daemonset": kinds.DAEMON_SET, "daemonsets": kinds.DAEMON_SET, "ds": kinds.DAEMON_SET,
    "service": kinds.SERVICE, "services": kinds.SERVICE, "svc": kinds.SERVICE,
}  # fmt: skip


def pods(cluster: Cluster, namespace: str, name: str) -> list[dict[str, Any]]:
    """The ready pods of a pod's name or `kind/name`, oldest first.

    Raises:
        Refused: there is no such object, or none of its pods is ready.
    """
    kind, _, own = name.rpartition("/")
    if kind in ("", "pod", "pods", "po"):
        pod = cluster.get(kinds.POD, own, namespace)
        found = [pod] if pod else []
    else:
        known = _KINDS.get(kind.partition(".")[0].lower())
        if known is None:
            raise Refused(
                f"{name}: pods of the kind {kind} cannot be found here; name a pod, deployment or statefulset"
            )
        owner = cluster.get(known, own, namespace)
        if owner is None:
            raise Refused(f"{name} does not exist in namespace {namespace}")
        chosen = owner["spec"].get("selector") or {}
        labels = chosen if known is kinds.SERVICE else chosen.get("matchLabels") or {}
        found = cluster.list(kinds.POD, namespace, ",".join(f"{key}={value}" for key, value in labels.items()))
    ready = [pod for pod in found if _ready(pod)]
    if not ready:
        raise Refused(f"{name} in namespace {namespace} has no ready pod")
    return sorted(ready, key=lambda pod: str(pod["metadata"].get("creationTimestamp")))


def _ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    is_ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return is_ready and not pod["metadata"].get("deletionTimestamp")


def forwarded(cluster: Cluster, namespace: str, service: str, port: int, seconds: float) -> Any:
    """A pool of HTTP connections to a Service's port, each of them a port-forward to one of its ready pods.

    Raises:
        Refused: there is no such Service or port, or none of its pods is ready.
    """
    found = cluster.get(kinds.SERVICE, service, namespace)
    if found is None:
        raise Refused(f"Service {service} does not exist in namespace {namespace}")
    ports = found["spec"].get("ports") or []
    wanted = next((item for item in ports if item["port"] == port), None)
    if wanted is None:
        raise Refused(f"Service {service} has no port {port}; it has {', '.join(str(item['port']) for item in ports)}")
    pod = pods(cluster, namespace, f"service/{service}")[0]
    number = _number(pod, wanted.get("targetPort", port))
    api = core_api(cluster)

    class Connection(urllib3.connection.HTTPConnection):
        """HTTP over a port-forward."""

        def _new_conn(self) -> Any:
            def connect() -> Any:
                name = pod["metadata"]["name"]
                return portforward(api.connect_get_namespaced_pod_portforward, name, namespace, ports=str(number))

            forward = within(seconds, connect, f"port-forward to pod {pod['metadata']['name']}")
            socket = forward.socket(number)
            socket.settimeout(seconds)
            return socket

    class Pool(urllib3.HTTPConnectionPool):
        """Connections of that kind."""

        ConnectionCls = Connection

    return Pool(f"{service}.{namespace}.svc", port)


def _number(pod: dict[str, Any], wanted: int | str) -> int:
    """The number of a pod's port that may be named."""
    if str(wanted).isdigit():
        return int(wanted)
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == wanted:
                return int(port["containerPort"])
    raise Refused(f"pod {pod['metadata']['name']} has no port named {wanted}")


def core_api(cluster: Cluster) -> Any:
    """The client of the core API that the streams need."""
    return kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(cluster.configuration))


def within(seconds: float, connect: Callable[[], Any], what: str) -> Any:
    """Connect within a time limit, which the client's own call lacks.

    Raises:
        Refused: the API server refuses.
        Silent: no connection in time.
    """
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(connect())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if not found:
        raise Silent(f"{what} was not connected within {seconds:.0f} s")
    if isinstance(found[0], PlatformError):
        raise found[0]
    if isinstance(found[0], Exception):
        reason = getattr(found[0], "reason", None) or found[0]
        raise Refused(f"{what} was refused: {str(reason)[:300]}") from found[0]
    return found[0]
