# SPDX-License-Identifier: GPL-3.0-or-later
"""What must be true of a cluster before a release is worth starting; every failure is one sentence that says the fix."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from . import _kinds as kinds
from . import _kubeconfig, _namespace, _rights
from . import _objects as objects
from ._api import each
from ._errors import ApiError, Refused
from ._objects import Object

OLDEST, NEWEST = 34, 37


@dataclass
class Findings:
    """What was seen, for the task's result.

    Attributes:
        version: the server's version.
        namespace_state: absent, ours, lent or unknown.
        skipped: checks that could not be made, with the reason.
        warnings: sentences.
    """

    version: str = ""
    namespace_state: str = "unknown"
    skipped: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def describe_context(where: dict[str, Any]) -> str:
    """The context that will be used, from the kubeconfig itself.

    Args:
        where: as `_kube.settings` answers.

    Raises:
        Refused: the file or the context does not exist.
    """
    kubeconfig = where.get("kubeconfig")
    path = kubeconfig if isinstance(kubeconfig, str) else where.get("default")
    if isinstance(kubeconfig, dict):
        documents = [kubeconfig]
    elif where.get("host"):
        return "none (the server is given)"
    else:
        files = [Path(part) for part in str(path or "").split(os.pathsep) if part]
        present = [part for part in files if part.is_file()]
        if not present:
            if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
                return "none (the account of this pod)"
            raise Refused(
                f"The kubeconfig {path} does not exist: set twisterlab_kubeconfig to the file that your cluster gave you."
            )
        documents = [_load(part) for part in present]
    names = [
        str(item.get("name"))
        for document in documents
        for item in document.get("contexts") or []
        if isinstance(item, dict)
    ]
    current = next((str(document["current-context"]) for document in documents if document.get("current-context")), "")
    wanted = str(where.get("context") or current)
    if not wanted:
        raise Refused(
            f"The kubeconfig {path} has no current context: set twisterlab_context to one of {objects.sentence_list(names) or 'its contexts (it has none)'}."
        )
    if wanted not in names:
        close = difflib.get_close_matches(wanted, names, n=1)
        hint = f"did you mean {close[0]}? It has" if close else "it has"
        raise Refused(
            f"The context {wanted} is not in the kubeconfig {path}; {hint}: {objects.sentence_list(names) or 'no context at all'}; set twisterlab_context to one of them."
        )
    return wanted


def _load(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(
            f"The kubeconfig {path} cannot be read ({error.strerror}): give yourself the right to read it."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"The kubeconfig {path} is no YAML: fetch it from the cluster again.") from error
    if not isinstance(found, dict):
        raise Refused(f"The kubeconfig {path} is empty: fetch it from the cluster again.")
    return found


def check_version(answer: Object, findings: Findings) -> None:
    """Refuse an API server older than what is proven, warn of a newer one.

    Raises:
        Refused: too old.
    """
    findings.version = str(answer.get("gitVersion", "unknown"))
    digits = re.match(r"\d+", str(answer.get("minor", "")))
    if str(answer.get("major")) != "1" or digits is None:
        findings.warnings.append(f"The server's version {findings.version} is not one that this collection knows.")
        return
    minor = int(digits.group())
    if minor < OLDEST:
        raise Refused(
            f"The cluster runs Kubernetes {findings.version}, and 1.{OLDEST} is the oldest that is supported: upgrade the cluster."
        )
    if minor > NEWEST:
        findings.warnings.append(
            f"The cluster runs Kubernetes {findings.version}; 1.{NEWEST} is the newest that this collection was tried with."
        )


def denied_sentence(server: str, where: dict[str, Any], configuration: Any, now: datetime) -> str:
    """Why the server did not accept the credentials, as far as they tell it themselves."""
    path = where.get("kubeconfig") if isinstance(where.get("kubeconfig"), str) else where.get("default")
    origin = f"in the kubeconfig {path}" if path else "given by K8S_AUTH_* or the task's arguments"
    keys = getattr(configuration, "api_key", None) or {}
    # Newer clients keep a kubeconfig's token under another name.
    token = str(keys.get("BearerToken") or keys.get("authorization") or "").removeprefix("Bearer ")
    ended = certificate_end(getattr(configuration, "cert_file", None)) or token_end(token)
    if ended and ended <= now:
        return f"The credentials {origin} expired on {ended:%Y-%m-%d %H:%M} UTC, so {server} refuses them (401): fetch a new kubeconfig or token, or let an administrator run playbooks/bootstrap.yml again."
    return f"{server} does not accept the credentials {origin} (401): fetch a new kubeconfig or token; an expired one looks the same."


def certificate_end(path: str | None) -> datetime | None:
    """When a client certificate ends; None when it cannot be told."""
    if not path:
        return None
    try:
        from cryptography import x509

        return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc
    except (ImportError, OSError, ValueError, AttributeError):
        return None


def token_end(token: str) -> datetime | None:
    """When a JWT ends; None when the token is none or does not say."""
    try:
        return datetime.fromtimestamp(float(_kubeconfig.claims(token)["exp"]), UTC)
    except (KeyError, TypeError, ValueError):
        return None


def rights_sentence(missing: list[tuple[str, str, str, str]], namespace: str) -> str:
    """One sentence that names the missing rights."""
    by_resource: dict[str, list[str]] = {}
    for group, resource, verb, _name in missing:
        by_resource.setdefault(f"{resource}.{group}" if group else resource, []).append(verb)
    listed = "; ".join(f"{'/'.join(verbs)} {resource}" for resource, verbs in by_resource.items())
    return (
        f"These credentials may not do in namespace {namespace} what a release needs ({listed}): ask the cluster's administrator "
        "to run playbooks/bootstrap.yml, and use the kubeconfig that it writes."
    )


def check_storage(classes: list[Object], wanted: str, bound: bool, tier: str = "") -> None:
    """Refuse a storage class that does not exist, or a cluster without a default one.

    Args:
        classes: the cluster's StorageClasses.
        wanted: the named one; empty for the default.
        bound: whether volumes of ours are bound already, so that no class is needed for them.
        tier: whose own input names it; empty when it is everybody's.

    Raises:
        Refused: with the classes there are.
    """
    names = sorted(objects.name(item) for item in classes)
    listed = (
        f"it has: {objects.sentence_list(names)}"
        if names
        else "it has none: install a provisioner, such as local-path-provisioner"
    )
    if wanted and wanted not in names and not bound:
        where = (
            f"write twisterlab_{tier}: {{storage_class: <one that does>}}"
            if tier
            else "set twisterlab_storage_class to one that does"
        )
        raise Refused(f"The storage class {wanted} does not exist in this cluster ({listed}): {where}.")
    default = [
        item for item in classes if objects.notes(item).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    if not wanted and not default and not bound:
        raise Refused(
            f"This cluster has no default storage class ({listed}): set twisterlab_storage_class, or enable twisterlab_postgres and twisterlab_redis elsewhere."
        )


def check_nodes(nodes: list[Object], selector: dict[str, str], findings: Findings) -> None:
    """Refuse a cluster none of whose nodes can run our pods, warn of nodes that are not ready.

    Raises:
        Refused: with what to label or mend.
    """
    ready = []
    for node in nodes:
        conditions = {
            item.get("type"): item.get("status") for item in (node.get("status") or {}).get("conditions") or []
        }
        if conditions.get("Ready") == "True":
            ready.append(node)
    away = sorted(objects.name(node) for node in nodes if node not in ready)
    if not ready:
        raise Refused(
            f"No node of the cluster is ready ({objects.sentence_list(away) or 'it has none'}): look at kubectl describe nodes."
        )
    if away:
        findings.warnings.append(f"These nodes are not ready: {objects.sentence_list(away)}.")
    fitting = [
        node for node in ready if all(objects.labels(node).get(key) == str(value) for key, value in selector.items())
    ]
    if not fitting:
        text = ", ".join(f"{key}={value}" for key, value in selector.items())
        raise Refused(
            f"No ready node carries the labels {text} of twisterlab_node_selector: label one with 'kubectl label node {objects.name(ready[0])} {text.replace(', ', ' ')}'."
        )
    if all((node.get("spec") or {}).get("unschedulable") for node in fitting):
        raise Refused(
            f"Every node that may run our pods is cordoned: run 'kubectl uncordon {objects.name(fitting[0])}'."
        )


def check_api_server(slices: list[Object], ranges: list[str], ports: list[int]) -> None:
    """Refuse policies that would shut the API server off from the tiers that ask it.

    Args:
        slices: the EndpointSlices of its Service.
        ranges: the address ranges in which the policies allow it.
        ports: the ports on which they do.

    Raises:
        Refused: with what to write.
    """
    blocks = [ipaddress.ip_network(item) for item in ranges]
    for item in slices:
        for address in (
            address for endpoint in item.get("endpoints") or [] for address in endpoint.get("addresses") or []
        ):
            found = ipaddress.ip_address(address)
            if not any(found in block for block in blocks):
                raise Refused(
                    f"The API server's address {address} is in none of twisterlab_network_policies.cluster_cidrs ({', '.join(ranges)}), so policies "
                    f"would shut it off: write twisterlab_network_policies: {{cluster_cidrs: [{found}/{found.max_prefixlen}, …]}} with the ranges of your "
                    "API server and nodes."
                )
        for port in item.get("ports") or []:
            if port.get("port") not in ports:
                raise Refused(
                    f"The API server listens on port {port.get('port')}, which is none of twisterlab_network_policies.api_server_ports "
                    f"({', '.join(map(str, ports))}), so policies would shut it off: write twisterlab_network_policies: {{api_server_ports: [{port.get('port')}]}}."
                )


class Preflight:
    """All checks against one cluster.

    Args:
        api: a `_kube.Cluster` (or a fake with its questions about ourselves).
        namespace: where the release goes.
        storage_class: the named class; empty for the default.
        volumes: whether the release needs volumes.
        selector: labels that a node must carry.
        roles: whether the release makes Roles.
        cluster_roles: the tiers that need a ClusterRole.
        ingress_class: class of the Ingresses of the release; empty when it makes none.
        storage_classes: the class that each tier with a volume names itself, by the tier; empty for the one of all. None asks for that one.
        gateway: `class_name` of the Gateway that the release makes, or `name`, `namespace` and `sections` of one that exists; None without routes.
        policies: `ranges` and `ports` by which its network policies allow the API server (no ranges: to nobody); None when it makes none.
    """

    def __init__(
        self,
        api: Any,
        namespace: str,
        storage_class: str,
        volumes: bool,
        selector: dict[str, str],
        roles: bool = False,
        cluster_roles: Iterable[str] = (),
        ingress_class: str = "",
        policies: dict[str, list[Any]] | None = None,
        gateway: dict[str, Any] | None = None,
        storage_classes: dict[str, str] | None = None,
    ) -> None:
        self._api, self._namespace, self._policies = api, namespace, policies
        self._roles, self._cluster_roles = roles, [_rights.cluster_name(namespace, tier) for tier in cluster_roles]
        self._storage_class, self._volumes, self._selector = storage_class, volumes, selector
        self._storage_classes = storage_classes
        self._ingress_class, self._gateway = ingress_class, gateway
        self._rules: Object = {}
        self.findings = Findings()

    def run(self) -> Findings:
        """Every check in turn; the first that fails raises.

        Raises:
            Refused: one sentence with the fix.
            Unreachable: the server does not answer.
        """
        self.greet()
        self._check_namespace()
        self._check_rights()
        if self._volumes:
            self._check_storage()
        self._check_nodes()
        if self._ingress_class:
            self._check_ingress_class()
        if self._gateway:
            self._check_gateway(self._gateway)
        self._check_policies()
        return self.findings

    def greet(self) -> Findings:
        """Only whether the server answers, accepts the credentials and is of a supported version.

        Raises:
            Refused: too old.
            ApiError: 401, the credentials are not accepted.
            Unreachable: the server does not answer.
        """
        check_version(self._api.version((3.0, 5.0)), self.findings)
        # The version is told to anybody; this is not.
        self._rules = self._api.rules(self._namespace)
        return self.findings

    def _check_namespace(self) -> None:
        try:
            found = self._api.get(kinds.NAMESPACE, self._namespace)
        except ApiError as error:
            if error.status != 403:
                raise
            self.findings.skipped.append("whose the namespace is: no permission to read namespaces")
            return
        self.findings.namespace_state = _namespace.state(found, self._namespace)

    def _check_rights(self) -> None:
        edge = self._ingress_class or self._gateway
        kinds_made = {
            "networkpolicies": self._policies,
            "ingresses": self._ingress_class,
            # One that exists is somebody else's.
            "gateways": self._gateway and not self._gateway.get("name"),
            "httproutes": self._gateway,
            "cronjobs": edge,
            "secrets": edge,
        }
        needed = list(_rights.needed(_rights.RELEASE, *([_rights.ROLES] if self._roles else [])))
        needed += [right for right in _rights.needed(_rights.TIERS) if kinds_made.get(right.resource)]
        if self.findings.namespace_state == _namespace.ABSENT:
            needed.append(_rights.MAKE_NAMESPACE)
        missing = _rights.missing(self._rules.get("resourceRules") or [], needed)
        if missing and (self._rules.get("incomplete") or len(missing) < 12):
            # The list may be incomplete where a webhook decides; ask about each of them.
            answers = each(
                missing, lambda item: self._api.allowed(None if item[1] == "namespaces" else self._namespace, *item)
            )
            missing = [item for item, allowed in zip(missing, answers, strict=True) if not allowed]
        if missing:
            raise Refused(rights_sentence(missing, self._namespace))
        self._check_cluster_roles()

    def _check_cluster_roles(self) -> None:
        """Who may not make the tiers' ClusterRoles needs somebody who did: the release leaves them as they are."""
        if not self._cluster_roles or all(
            self._api.allowed(None, _rights.RBAC, resource, "create")
            for resource in ("clusterroles", "clusterrolebindings")
        ):
            return
        absent = [name for name in self._cluster_roles if not self._is_bound(name)]
        if absent:
            raise Refused(
                "These credentials may not make ClusterRoles, by which nodes are measured, and see none of the name "
                f"{' or '.join(absent)}: let the cluster's administrator run playbooks/bootstrap.yml, or write twisterlab_prometheus: "
                "{cluster_metrics: false} and twisterlab_kube_state_metrics: {nodes: false}."
            )

    def _is_bound(self, name: str) -> bool:
        try:
            return all(self._api.get(kind, name) for kind in (kinds.CLUSTER_ROLE, kinds.CLUSTER_ROLE_BINDING))
        except ApiError as error:
            if error.status != 403:
                raise
            return False

    def _check_storage(self) -> None:
        try:
            classes = self._api.list(kinds.STORAGE_CLASS)
        except ApiError as error:
            if error.status != 403:
                raise
            self.findings.skipped.append("storage classes: no permission to list them")
            return
        claims = (
            []
            if self.findings.namespace_state == _namespace.ABSENT
            else self._api.list(kinds.CLAIM, self._namespace, labels=objects.OURS_SELECTOR)
        )
        bound = any((item.get("status") or {}).get("phase") == "Bound" for item in claims)
        own = {"": ""} if self._storage_classes is None else self._storage_classes
        for tier, wanted in own.items():
            check_storage(classes, wanted or self._storage_class, bound, tier if wanted else "")

    def _check_ingress_class(self) -> None:
        try:
            names = sorted(objects.name(item) for item in self._api.list(kinds.INGRESS_CLASS))
        except ApiError as error:
            if error.status != 403:
                raise
            self.findings.skipped.append("ingress classes: no permission to list them")
            return
        if self._ingress_class not in names:
            listed = (
                f"it has: {objects.sentence_list(names)}" if names else "it has none: install an ingress controller"
            )
            raise Refused(
                f"The ingress class {self._ingress_class} does not exist in this cluster ({listed}): "
                "write twisterlab_ingress: {class_name: <one that does>}, or twisterlab_ingress_enabled: false."
            )

    def _check_gateway(self, wanted: dict[str, Any]) -> None:
        """Refuse a cluster without the Gateway API, or without the class or the Gateway that is named."""
        try:
            # In the namespace, where a deployer may ask; of what is cluster-wide it learns nothing.
            self._api.list(kinds.HTTP_ROUTE, self._namespace)
        except ApiError as error:
            if error.status == 404:
                raise Refused(
                    f"This cluster does not serve {kinds.HTTP_ROUTE.api_version}: install the standard channel of the Gateway API (standard-install.yaml) "
                    "and a controller for it, or write twisterlab_ingress: {kind: ingress}."
                ) from error
            if error.status != 403:
                raise
            self.findings.skipped.append("whether the Gateway API is there: no permission to list httproutes")
            return
        if wanted.get("name"):
            self._check_named_gateway(wanted["name"], wanted.get("namespace") or self._namespace, wanted["sections"])
        else:
            self._check_gateway_class(wanted["class_name"])

    def _check_gateway_class(self, wanted: str) -> None:
        try:
            names = sorted(objects.name(item) for item in self._api.list(kinds.GATEWAY_CLASS))
        except ApiError as error:
            if error.status != 403:
                raise
            self.findings.skipped.append("gateway classes: no permission to list them")
            return
        if wanted not in names:
            listed = (
                f"it has: {objects.sentence_list(names)}"
                if names
                else "it has none: install a controller of the Gateway API"
            )
            raise Refused(
                f"The gateway class {wanted} does not exist in this cluster ({listed}): "
                "write twisterlab_ingress: {gateway: {class_name: <one that does>}}, or kind: ingress."
            )

    def _check_named_gateway(self, name: str, namespace: str, sections: list[str]) -> None:
        try:
            found = self._api.get(kinds.GATEWAY, name, namespace)
        except ApiError as error:
            if error.status != 403:
                raise
            self.findings.skipped.append(f"Gateway {name}: no permission to read gateways of namespace {namespace}")
            return
        if found is None:
            raise Refused(
                f"Gateway/{name} of namespace {namespace} does not exist: make it, or write twisterlab_ingress: "
                "{gateway: {class_name: <a GatewayClass>}} for one that is made."
            )
        listeners = [str(item.get("name")) for item in (found.get("spec") or {}).get("listeners") or []]
        absent = [section for section in sections if section not in listeners]
        if absent:
            raise Refused(
                f"Gateway/{name} of namespace {namespace} has no listener {absent[0]} (it has: {objects.sentence_list(listeners)}): write the names of its "
                "listeners for HTTP and HTTPS in twisterlab_ingress: {gateway: {http_section: …, https_section: …}}."
            )

    def _check_nodes(self) -> None:
        try:
            nodes = self._api.list(kinds.NODE)
        except ApiError as error:
            if error.status != 403:
                raise
            self.findings.skipped.append("nodes: no permission to list them")
            return
        check_nodes(nodes, self._selector, self.findings)

    def _check_policies(self) -> None:
        # No ranges: nobody of ours asks the API server.
        if not self._policies or not self._policies["ranges"]:
            return
        try:
            slices = self._api.list(kinds.ENDPOINT_SLICE, "default", labels="kubernetes.io/service-name=kubernetes")
        except ApiError as error:
            if error.status != 403:
                raise
            self.findings.skipped.append(
                "whether policies reach the API server: no permission to list its endpointslices"
            )
            return
        check_api_server(slices, self._policies["ranges"], self._policies["ports"])
