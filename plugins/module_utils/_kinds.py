# SPDX-License-Identifier: GPL-3.0-or-later
"""What the release path knows of each kind of object: its address, its place in the order, who may delete it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of the API.

    Attributes:
        api_version: such as `apps/v1`.
        name: such as `Deployment`.
        plural: the word in the address.
        namespaced: whether its objects live in a namespace.
        order: when it is applied; lower is earlier, equal is parallel.
        prunable: whether release may delete one that is no longer rendered, and destroy always.
        listed: whether a prune looks for objects of this kind even if none is rendered.
    """

    api_version: str
    name: str
    plural: str
    namespaced: bool = True
    order: int = 80
    prunable: bool = True
    listed: bool = True

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
        """The address of the collection, of one object, or of its subresource."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        parts = [root]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if sub:
            parts.append(sub)
        return "/".join(parts)


NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False, order=0, prunable=False, listed=False)
SECRET = Kind("v1", "Secret", "secrets", order=30, prunable=False, listed=False)
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps", order=30)
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", order=40, prunable=False)
VOLUME = Kind("v1", "PersistentVolume", "persistentvolumes", namespaced=False, order=35, prunable=False, listed=False)
SERVICE = Kind("v1", "Service", "services", order=50)
ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts", order=20)
POD = Kind("v1", "Pod", "pods", order=70, listed=False)
EVENT = Kind("v1", "Event", "events", listed=False)
NODE = Kind("v1", "Node", "nodes", namespaced=False, prunable=False, listed=False)
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments", order=60)
STATEFUL_SET = Kind("apps/v1", "StatefulSet", "statefulsets", order=60)
DAEMON_SET = Kind("apps/v1", "DaemonSet", "daemonsets", order=60)
REPLICA_SET = Kind("apps/v1", "ReplicaSet", "replicasets", listed=False)
JOB = Kind("batch/v1", "Job", "jobs", order=70)
CRON_JOB = Kind("batch/v1", "CronJob", "cronjobs", order=70)
AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", order=70)
BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", order=70)
INGRESS = Kind("networking.k8s.io/v1", "Ingress", "ingresses", order=70)
INGRESS_CLASS = Kind(
    "networking.k8s.io/v1", "IngressClass", "ingressclasses", namespaced=False, order=10, prunable=False, listed=False
)
# Of cert-manager, where that is installed; elsewhere the server knows no such kinds.
ISSUER = Kind("cert-manager.io/v1", "Issuer", "issuers", order=70)
CERTIFICATE = Kind("cert-manager.io/v1", "Certificate", "certificates", order=75)
# Of CloudNativePG, where that is installed. Its volumes are the Cluster's own, so it is kept as a volume is.
CLUSTER = Kind("postgresql.cnpg.io/v1", "Cluster", "clusters", order=60, prunable=False)
# Of the Gateway API, where its definitions are installed.
GATEWAY_CLASS = Kind(
    "gateway.networking.k8s.io/v1",
    "GatewayClass",
    "gatewayclasses",
    namespaced=False,
    order=10,
    prunable=False,
    listed=False,
)
GATEWAY = Kind("gateway.networking.k8s.io/v1", "Gateway", "gateways", order=70)
HTTP_ROUTE = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", order=75)
POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", order=50)
ROLE = Kind("rbac.authorization.k8s.io/v1", "Role", "roles", order=20)
ROLE_BINDING = Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", order=25)
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False, order=20)
CLUSTER_ROLE_BINDING = Kind(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False, order=25
)
STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False, order=10, listed=False)
PRIORITY_CLASS = Kind(
    "scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", namespaced=False, order=10, listed=False
)
QUOTA = Kind("v1", "ResourceQuota", "resourcequotas", order=10)
LIMITS = Kind("v1", "LimitRange", "limitranges", order=10)
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", prunable=False, listed=False)
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases", listed=False)

TABLE: tuple[Kind, ...] = (
    NAMESPACE, SECRET, CONFIG_MAP, CLAIM, VOLUME, SERVICE, ACCOUNT, POD, EVENT, NODE, DEPLOYMENT, STATEFUL_SET, DAEMON_SET,
    REPLICA_SET, JOB, CRON_JOB, AUTOSCALER, BUDGET, INGRESS, INGRESS_CLASS, ISSUER, CERTIFICATE, CLUSTER, GATEWAY_CLASS, GATEWAY, HTTP_ROUTE, POLICY,
    ROLE, ROLE_BINDING, CLUSTER_ROLE, CLUSTER_ROLE_BINDING, STORAGE_CLASS, PRIORITY_CLASS, QUOTA, LIMITS, ENDPOINT_SLICE, LEASE,
)  # fmt: skip

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")

_BY_NAME = {(kind.api_version, kind.name): kind for kind in TABLE}


def find(api_version: str, name: str) -> Kind | None:
    """The kind of that name and version, or None when this table does not know it."""
    return _BY_NAME.get((api_version, name))


def listed_kinds() -> list[Kind]:
    """The kinds in which a prune and destroy look for objects of ours, in the order of applying."""
    return sorted((kind for kind in TABLE if kind.listed), key=lambda kind: kind.order)
