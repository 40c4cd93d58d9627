# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster as the release path uses it: kubernetes.core's authentication, plain dictionaries, few calls.

kubernetes.core's own client discovers the whole API before its first word and has no timeouts; a release knows the
addresses of nearly everything it touches, so this client asks for discovery only when it meets an unknown kind.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import threading
import time
import traceback
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from . import _kinds as kinds
from ._api import MANAGER
from ._errors import ApiError, Refused, Unreachable
from ._kinds import Kind
from ._objects import Object, title

IMPORT_ERROR: str | None = None
try:
    import kubernetes
    import urllib3
    from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client as core_client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8sdynamicclient import K8SDynamicClient
    from kubernetes.client.exceptions import ApiException
except ImportError:
    IMPORT_ERROR = traceback.format_exc()
    AUTH_ARG_SPEC = {}
    K8SDynamicClient = object

ENVIRONMENT = {"kubeconfig": "K8S_AUTH_KUBECONFIG", "context": "K8S_AUTH_CONTEXT", "host": "K8S_AUTH_HOST"}
SECRET_FIELDS = ("token", "password", "secret", "client-key-data", "access-token", "refresh-token", "id-token")
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
RETRIED = (429, 502, 503, 504)
NOT_GIVEN = (
    "No cluster is given: set twisterlab_kubeconfig, twisterlab_context or K8S_AUTH_* variables; "
    "write twisterlab_cluster: current to use the kubeconfig of your shell, or twisterlab_cluster: local for a cluster of its own."
)


def argument_spec(**own: dict[str, Any]) -> dict[str, Any]:
    """A module's arguments with kubernetes.core's authentication and our `cluster`."""
    spec: dict[str, Any] = {name: dict(option) for name, option in AUTH_ARG_SPEC.items()}
    spec["cluster"] = {"type": "str", "choices": ["local", "given", "current"], "default": "given"}
    # Its path belongs into messages; `hide` takes care of one that is given as a dictionary.
    spec.setdefault("kubeconfig", {"type": "raw"})["no_log"] = False
    spec.update(own)
    return spec


def hide(module: Any) -> None:
    """Keep the secrets of a kubeconfig that is given as a dictionary out of the module's output."""
    module.no_log_values.update(secret_texts(module.params.get("kubeconfig")))


def secret_texts(config: Any) -> set[str]:
    """The texts of a kubeconfig that nobody may see."""
    if isinstance(config, list):
        return {text for item in config for text in secret_texts(item)}
    if not isinstance(config, dict):
        return set()
    found = {value for name, value in config.items() if name in SECRET_FIELDS and isinstance(value, str)}
    return found.union(*(secret_texts(value) for value in config.values()))


Kinds = list[Kind]


class RealClock:
    """The machine's own clock; monotonic, and the same for all processes of the machine."""

    def time(self) -> float:
        """Seconds since the machine started."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that many seconds."""
        time.sleep(seconds)


class _NoDiscovery:
    """Stands where kubernetes.core's client would discover the API."""

    def __init__(self, client: Any, cache_file: Any) -> None:
        self.version: dict[str, Any] = {}


def settings(params: dict[str, Any]) -> dict[str, Any]:
    """Where the cluster's address comes from: arguments before K8S_AUTH_* variables.

    Args:
        params: the module's arguments.

    Returns:
        kubeconfig, context, host (None where not given), `given` and `origin` (a word for messages).

    Raises:
        Refused: nothing is given and `cluster` is not `current`.
    """
    found: dict[str, Any] = {
        name: params.get(name) or os.environ.get(variable) or None for name, variable in ENVIRONMENT.items()
    }
    found["given"] = any(found.values())
    if not found["given"] and params.get("cluster") != "current":
        raise Refused(NOT_GIVEN)
    kubeconfig = found["kubeconfig"]
    if isinstance(kubeconfig, str):
        found["kubeconfig"] = str(Path(kubeconfig).expanduser())
    elif not kubeconfig and not found["host"]:
        # Unlike a Path it raises nothing for a user without a home.
        found["default"] = os.environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")  # noqa: PTH111
    return found


def kubectl(params: dict[str, Any], namespace: str) -> str:
    """How a person reaches the same namespace with kubectl."""
    where = settings(params)
    words = ["kubectl"]
    if isinstance(where["kubeconfig"], str):
        words += ["--kubeconfig", shlex.quote(where["kubeconfig"])]
    if where["context"]:
        words += ["--context", shlex.quote(str(where["context"]))]
    return " ".join([*words, "-n", namespace])


class Cluster:
    """The API server, reached with kubernetes.core's options.

    Attributes:
        server: its address.
        calls: how many requests were made.
        seconds: how long they took together.
    """

    def __init__(self, params: dict[str, Any], read_seconds: float = READ_SECONDS, attempts: int = 3) -> None:
        where = settings(params)
        auth = dict(params)
        if isinstance(where["kubeconfig"], str):
            auth["kubeconfig"] = where["kubeconfig"]
        try:
            configuration = core_client._create_configuration(core_client._create_auth_spec(None, **_known(auth)))
            headers = core_client._create_headers(None, **_known(auth))
        except kubernetes.config.ConfigException as error:
            raise Refused(config_sentence(where, str(error))) from error
        except (OSError, ValueError) as error:
            raise Refused(
                f"The kubeconfig {where['kubeconfig'] or where.get('default')} cannot be used: {error}."
            ) from error
        # Every retry is ours to decide; the pool must serve all workers at once.
        configuration.retries = 0
        configuration.connection_pool_maxsize = 16
        client = kubernetes.client.ApiClient(configuration)
        for header, value in headers.items():
            core_client._set_header(client, header, value)
        self._dynamic = K8SDynamicClient(client, discoverer=_NoDiscovery)
        self._timeout = (CONNECT_SECONDS, read_seconds)
        self._attempts = attempts
        self._offset = timedelta(0)
        self._lock = threading.Lock()
        self._discovered: dict[str, list[Kind]] = {}
        self.configuration = configuration
        self.server = str(configuration.host)
        self.calls = 0
        self.seconds = 0.0

    # -- requests -------------------------------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: list[tuple[str, str]] | None = None,
        what: str = "",
        content_type: str | None = None,
        accept: str = "application/json",
        raw: bool = False,
        timeout: tuple[float, float] | None = None,
    ) -> Any:
        """One request, repeated when the server is busy and repeating is harmless.

        Returns:
            The decoded answer, or its text when `raw`.

        Raises:
            ApiError: an answer outside 2xx.
            Unreachable: no answer.
        """
        harmless = method in ("get", "patch") or ("dryRun", "All") in (query or [])
        for turn in range(1, self._attempts + 1):
            try:
                return self._once(method, path, body, query, what, content_type, accept, raw, timeout)
            except ApiError as error:
                if error.status not in RETRIED or not harmless or turn == self._attempts:
                    raise
            except Unreachable:
                if not harmless or turn == self._attempts:
                    raise
            time.sleep(0.4 * turn)
        raise AssertionError("unreachable")

    def _once(
        self,
        method: str,
        path: str,
        body: Any,
        query: list[tuple[str, str]] | None,
        what: str,
        content_type: str | None,
        accept: str,
        raw: bool,
        timeout: tuple[float, float] | None,
    ) -> Any:
        options: dict[str, Any] = {
            "header_params": {"Accept": accept},
            "query_params": list(query or []),
            "serialize": False,
        }
        if content_type:
            options["content_type"] = content_type
        begun = time.monotonic()
        try:
            answer = self._dynamic.request(
                method, path, body=body, _request_timeout=timeout or self._timeout, **options
            )
            data = answer.data
        except ApiException as error:
            if not error.status:
                raise Unreachable(reach_sentence(self.server, str(error.reason))) from error
            raise _api_error(error, what or f"{method} {path}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(reach_sentence(self.server, str(getattr(error, "reason", None) or error))) from error
        finally:
            with self._lock:
                self.calls += 1
                self.seconds += time.monotonic() - begun
        self._set_time(answer.headers.get("Date"))
        text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data or "")
        return text if raw else (json.loads(text) if text else {})

    def _set_time(self, date: str | None) -> None:
        try:
            self._offset = parsedate_to_datetime(date or "") - datetime.now(UTC)
        except (TypeError, ValueError):
            return

    def now(self) -> datetime:
        """The server's time in UTC, as its last answer told it."""
        return datetime.now(UTC) + self._offset

    # -- kinds ----------------------------------------------------------------------------------------------------

    def kind(self, api_version: str, name: str) -> Kind:
        """Look a kind up, in the table first, in the cluster's discovery otherwise.

        Raises:
            Refused: the cluster has no such kind.
        """
        known = kinds.find(api_version, name)
        if known:
            return known
        if api_version not in self._discovered:
            root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            try:
                found = self.request("get", root, what=f"look for {api_version}").get("resources") or []
            except ApiError as error:
                if error.status != 404:
                    raise
                found = []
            self._discovered[api_version] = [
                Kind(api_version, item["kind"], item["name"], bool(item.get("namespaced")))
                for item in found
                if "/" not in item["name"]
            ]
        for item in self._discovered[api_version]:
            if item.name == name:
                return item
        raise Refused(
            f"This cluster has no kind {name} of {api_version}: install the operator that brings it, or leave the object out."
        )

    # -- objects --------------------------------------------------------------------------------------------------

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Object | None:
        """One object, or None when it does not exist."""
        try:
            return self.request("get", kind.path(namespace, name), what=f"read {kind.name}/{name}")
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(
        self, kind: Kind, namespace: str | None = None, labels: str = "", fields: str = "", metadata_only: bool = False
    ) -> list[Object]:
        """The objects of a kind, read in pages of 500."""
        query = [("limit", "500")]
        query += [("labelSelector", labels)] if labels else []
        query += [("fieldSelector", fields)] if fields else []
        accept = (
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json"
            if metadata_only
            else "application/json"
        )
        found: list[Object] = []
        token = ""
        while True:
            page = self.request(
                "get",
                kind.path(namespace),
                query=query + ([("continue", token)] if token else []),
                what=f"list {kind.plural}",
                accept=accept,
            )
            for item in page.get("items") or []:
                # A list leaves these two out of its items.
                found.append({**item, "apiVersion": kind.api_version, "kind": kind.name})
            token = (page.get("metadata") or {}).get("continue") or ""
            if not token:
                return found

    def apply(self, obj: Object, dry_run: bool = False, force: bool = False, manager: str = MANAGER) -> Object:
        """Server-side apply; answers the resulting object."""
        query = [("fieldManager", manager), ("fieldValidation", "Strict")]
        query += [("dryRun", "All")] if dry_run else []
        query += [("force", "true")] if force else []
        return self._write("patch", obj, query, "apply", "application/apply-patch+yaml", named=True)

    def create(self, obj: Object, dry_run: bool = False) -> Object:
        """Create; a 409 says that it exists."""
        return self._write(
            "post", obj, [("fieldManager", MANAGER)] + ([("dryRun", "All")] if dry_run else []), "create"
        )

    def replace(self, obj: Object, dry_run: bool = False) -> Object:
        """Replace; guarded by `metadata.resourceVersion`."""
        return self._write(
            "put", obj, [("fieldManager", MANAGER)] + ([("dryRun", "All")] if dry_run else []), "replace", named=True
        )

    def _write(
        self, method: str, obj: Object, query: Any, verb: str, content_type: str | None = None, named: bool = False
    ) -> Object:
        kind = self.kind(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"] if named else None)
        return self.request(method, path, body=obj, query=query, what=f"{verb} {title(obj)}", content_type=content_type)

    def merge(self, kind: Kind, name: str, namespace: str | None, patch: Object) -> Object:
        """Merge patch."""
        return self.request(
            "patch",
            kind.path(namespace, name),
            body=patch,
            query=[("fieldManager", MANAGER)],
            what=f"change {kind.name}/{name}",
            content_type="application/merge-patch+json",
        )

    def remove(self, obj: Object, places: Iterable[Sequence[str]]) -> Object:
        """Take parts out of an object, in this order; guarded by its `metadata.resourceVersion`."""
        metadata = obj["metadata"]
        kind = self.kind(obj["apiVersion"], obj["kind"])
        patch = [{"op": "test", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}]
        for place in places:
            # RFC 6901: these two characters are written otherwise in a pointer.
            pointer = "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in place)
            patch.append({"op": "remove", "path": pointer})
        return self.request(
            "patch",
            kind.path(metadata.get("namespace"), metadata["name"]),
            body=patch,
            query=[("fieldManager", MANAGER)],
            what=f"change {title(obj)}",
            content_type="application/json-patch+json",
        )

    def delete(
        self,
        kind: Kind,
        name: str,
        namespace: str | None = None,
        uid: str = "",
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> bool:
        """Delete; False when it was not there (or is another one than `uid`)."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        if dry_run:
            options["dryRun"] = ["All"]
        try:
            self.request("delete", kind.path(namespace, name), body=options, what=f"delete {kind.name}/{name}")
        except ApiError as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    def log(self, namespace: str, pod: str, container: str, lines: int, previous: bool) -> str | None:
        """The last log lines, or None when there are none."""
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", "65536")]
        query += [("previous", "true")] if previous else []
        try:
            text = self.request(
                "get",
                kinds.POD.path(namespace, pod, "log"),
                query=query,
                what=f"read the log of {pod}",
                accept="*/*",
                raw=True,
            )
        except ApiError:
            return None
        return str(text) or None

    def log_text(self, namespace: str, pod: str, container: str, query: Sequence[tuple[str, str]]) -> str:
        """A log as the given query asks for it; `ApiError` says why there is none."""
        path = kinds.POD.path(namespace, pod, "log")
        what = f"read the log of {pod}/{container}"
        return str(self.request("get", path, query=list(query), what=what, accept="*/*", raw=True))

    # -- questions about ourselves ----------------------------------------------------------------------------------

    def version(self, timeout: tuple[float, float]) -> Object:
        """The server's version; the first word of a conversation, hence the timeout of its own."""
        return self.request("get", "/version", what="read the version", timeout=timeout)

    def rules(self, namespace: str) -> Object:
        """What we may do in a namespace: the status of a SelfSubjectRulesReview."""
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        return self.request("post", path, body=body, what="ask for our rights").get("status") or {}

    def allowed(self, namespace: str | None, group: str, resource: str, verb: str, name: str = "") -> bool:
        """Whether we may do one thing, to all objects or to one of them: a SelfSubjectAccessReview."""
        plural, _, sub = resource.partition("/")
        attributes = {"group": group, "resource": plural, "verb": verb}
        if name:
            attributes["name"] = name
        if sub:
            attributes["subresource"] = sub
        if namespace:
            attributes["namespace"] = namespace
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        status = self.request("post", path, body=body, what=f"ask whether we may {verb} {resource}").get("status") or {}
        return bool(status.get("allowed"))

    def token(self, namespace: str, account: str, seconds: int) -> Object:
        """A token of an account that ends by itself: the status of a TokenRequest."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = kinds.ACCOUNT.path(namespace, account, "token")
        return self.request("post", path, body=body, what=f"ask for a token of ServiceAccount/{account}")["status"]

    def namespaced_kinds(self) -> Kinds:
        """Every kind of the cluster whose objects live in namespaces and can be listed."""
        groups = ["/api/v1"]
        for group in self.request("get", "/apis", what="list the API groups").get("groups") or []:
            groups.append(f"/apis/{group['preferredVersion']['groupVersion']}")
        found = []
        for root in groups:
            version = root.removeprefix("/apis/").removeprefix("/api/")
            try:
                resources = self.request("get", root, what=f"list the kinds of {version}").get("resources") or []
            except ApiError:
                # An extension API server that is down must not stop us; the caller says what it could not see.
                continue
            found += [
                Kind(version, item["kind"], item["name"])
                for item in resources
                if item.get("namespaced") and "/" not in item["name"] and "list" in item.get("verbs", [])
            ]
        return found


def _known(params: dict[str, Any]) -> dict[str, Any]:
    return {name: params[name] for name in AUTH_ARG_SPEC if params.get(name) is not None}


def _api_error(error: Any, what: str) -> ApiError:
    body = error.body.decode("utf-8", "replace") if isinstance(error.body, bytes) else str(error.body or "")
    try:
        status = json.loads(body)
        message, reason = str(status.get("message") or body), str(status.get("reason") or error.reason)
        causes = (status.get("details") or {}).get("causes") or []
    except (ValueError, AttributeError):
        message, reason, causes = body.strip() or str(error.reason), str(error.reason), []
    return ApiError(int(error.status), reason, message.strip(), what, causes)


def reach_sentence(server: str, cause: str) -> str:
    """Why the API server could not be reached, and what to look at."""
    low = cause.lower()
    if "certificate verify failed" in low or "certificate_verify_failed" in low:
        return (
            f"The certificate of {server} is not trusted ({_short(cause)}): give its authority in the kubeconfig "
            "(certificate-authority-data), in ca_cert or in K8S_AUTH_SSL_CA_CERT."
        )
    if "hostname" in low and "match" in low:
        return f"The certificate of {server} is for another name ({_short(cause)}): use the name it was issued for, or set tls-server-name in the kubeconfig."
    if "certificate expired" in low or "certificate_expired" in low:
        return f"{server} says that the certificate of these credentials has expired: fetch a new kubeconfig."
    return (
        f"The cluster {server} cannot be reached ({_short(cause)}): start it, or check the server's address in the kubeconfig "
        "(twisterlab_kubeconfig, twisterlab_context or K8S_AUTH_HOST), the network and the proxy."
    )


def _short(cause: str) -> str:
    """The end of a chain of causes: `[Errno 111] Connection refused`."""
    text = re.sub(r"<[^<>]*>|HTTPS?Connection(Pool)?\([^()]*\)", "", " ".join(cause.split()))
    if "Failed to establish a new connection: " in text:
        text = text.partition("Failed to establish a new connection: ")[2]
    return text.strip("()'\":, ")[:200]


def config_sentence(where: dict[str, Any], cause: str) -> str:
    """Why a kubeconfig cannot be used, and what to write instead."""
    path = where["kubeconfig"] if isinstance(where["kubeconfig"], str) else where.get("default")
    if not path:
        return f"The kubeconfig cannot be used: {cause}."
    files = [part for part in str(path).split(os.pathsep) if part]
    if not any(Path(part).exists() for part in files):
        return (
            f"The kubeconfig {path} does not exist: set twisterlab_kubeconfig to the file that your cluster gave you."
        )
    return f"The kubeconfig {path} cannot be used: {cause}."
