# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading manifests: whose an object is, what its pods run and refer to. Pure functions over dictionaries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ._kinds import WORKLOADS

Object = dict[str, Any]

PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
INSTANCE = "app.kubernetes.io/instance"
NAME = "app.kubernetes.io/name"
OURS = {PART_OF: "twisterlab", MANAGED_BY: "twisterlab.platform"}
OURS_SELECTOR = ",".join(f"{key}={value}" for key, value in OURS.items())

NEEDS = "twisterlab.io/needs"
#: Annotation of a pod template: the ConfigMaps, by name, that the running pod reads anew by itself.
RELOADS = "twisterlab.io/reloads"
#: Keys of the Secret, by commas, that the running pod reads anew by itself.
RELOADS_KEYS = "twisterlab.io/reloads-keys"
KEEP = "twisterlab.io/keep"
RECORD = "twisterlab.io/record"
SMOKE = "twisterlab.io/smoke"
ALLOWED = "twisterlab.io/managed"

#: Of CloudNativePG: whether a Cluster sleeps, and the label of everything that belongs to ours.
HIBERNATION = "cnpg.io/hibernation"
CLUSTER = "postgres-cluster"
INSTANCES = {"cnpg.io/cluster": CLUSTER}

ALL_KEYS = "*"


def meta(obj: Object) -> Object:
    """The object's metadata; empty when there is none."""
    return obj.get("metadata") or {}


def labels(obj: Object) -> dict[str, str]:
    """The object's labels; empty when there are none."""
    return meta(obj).get("labels") or {}


def notes(obj: Object) -> dict[str, str]:
    """The object's annotations; empty when there are none."""
    return meta(obj).get("annotations") or {}


def name(obj: Object) -> str:
    """The object's name."""
    return str(meta(obj).get("name", ""))


def title(obj: Object) -> str:
    """How the object is called in messages: `Deployment/twisterlab-api`."""
    return f"{obj.get('kind', '?')}/{name(obj)}"


def key(obj: Object) -> tuple[str, str, str]:
    """What tells an object from all others of one namespace: group, kind, name."""
    return (str(obj.get("apiVersion", "")).rpartition("/")[0], str(obj.get("kind", "")), name(obj))


def component(obj: Object) -> str:
    """The component label; empty when there is none."""
    return labels(obj).get(COMPONENT, "")


def is_instance(pod: Object) -> bool:
    """Whether a pod is a server of our Cluster of CloudNativePG, which carries the operator's labels and not ours."""
    return INSTANCES.items() <= labels(pod).items()


def is_ours(obj: Object) -> bool:
    """Whether the object carries the two labels that make it ours."""
    found = labels(obj)
    return all(found.get(label) == value for label, value in OURS.items())


def is_kept(obj: Object) -> bool:
    """Whether an annotation forbids deleting the object."""
    return notes(obj).get(KEEP, "").lower() in ("true", "yes", "1")


def needs(obj: Object) -> list[str]:
    """The components the object's pods declare to need."""
    return [part.strip() for part in notes(obj).get(NEEDS, "").split(",") if part.strip()]


def template(obj: Object) -> Object | None:
    """The pod template (metadata and spec) of a workload, the pod itself for a Pod, None for anything else."""
    kind = obj.get("kind")
    if kind == "Pod":
        return obj
    spec = obj.get("spec") or {}
    if kind == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    if kind in WORKLOADS or kind == "ReplicaSet":
        found = spec.get("template")
        return found if isinstance(found, dict) else None
    return None


def pod_spec(obj: Object) -> Object:
    """The pod spec of a workload; empty for anything else."""
    found = template(obj)
    return (found.get("spec") or {}) if found else {}


def containers(spec: Object) -> Iterator[Object]:
    """Every container of a pod spec, init containers first."""
    for group in ("initContainers", "containers"):
        for item in spec.get(group) or []:
            if isinstance(item, dict):
                yield item


def images(spec: Object) -> list[str]:
    """The images of a pod spec, in order, without repetition."""
    return list(dict.fromkeys(str(item["image"]) for item in containers(spec) if item.get("image")))


def secret_keys(spec: Object, secret: str, required: bool = False) -> set[str]:
    """The keys of one Secret that a pod spec refers to; `*` in the set means the whole Secret.

    Args:
        spec: the pod spec.
        secret: the Secret's name.
        required: leave out references marked `optional`.
    """
    found: set[str] = set()
    for item in containers(spec):
        for variable in item.get("env") or []:
            ref = ((variable or {}).get("valueFrom") or {}).get("secretKeyRef") or {}
            if ref.get("name") == secret and ref.get("key") and not (required and ref.get("optional")):
                found.add(str(ref["key"]))
        for source in item.get("envFrom") or []:
            ref = (source or {}).get("secretRef") or {}
            if ref.get("name") == secret and not (required and ref.get("optional")):
                found.add(ALL_KEYS)
    for volume in spec.get("volumes") or []:
        sources = [volume.get("secret") or {}]
        sources[0] = {**sources[0], "name": sources[0].get("secretName")}
        sources += [(part or {}).get("secret") or {} for part in (volume.get("projected") or {}).get("sources") or []]
        for source in sources:
            if source.get("name") == secret and not (required and source.get("optional")):
                picked = {str(part["key"]) for part in source.get("items") or [] if part.get("key")}
                found |= picked or {ALL_KEYS}
    return found


def config_names(spec: Object) -> list[str]:
    """The names of the ConfigMaps a pod spec refers to, sorted."""
    found: set[str] = set()
    for item in containers(spec):
        for variable in item.get("env") or []:
            ref = ((variable or {}).get("valueFrom") or {}).get("configMapKeyRef") or {}
            found.add(str(ref.get("name") or ""))
        for source in item.get("envFrom") or []:
            found.add(str(((source or {}).get("configMapRef") or {}).get("name") or ""))
    for volume in spec.get("volumes") or []:
        found.add(str((volume.get("configMap") or {}).get("name") or ""))
        for part in (volume.get("projected") or {}).get("sources") or []:
            found.add(str(((part or {}).get("configMap") or {}).get("name") or ""))
    return sorted(found - {""})


def claim_names(spec: Object) -> list[str]:
    """The names of the volume claims a pod spec mounts."""
    found = []
    for volume in spec.get("volumes") or []:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            found.append(str(claim))
    return found


def owner(obj: Object) -> Object:
    """The controlling owner reference; empty when there is none."""
    for ref in meta(obj).get("ownerReferences") or []:
        if ref.get("controller"):
            return ref
    return {}


def variable_of(name_of_component: str) -> str:
    """The input dictionary of a component: `twisterlab_mcp_orchestrator` for `mcp-orchestrator`."""
    return "twisterlab_" + name_of_component.replace("-", "_")


def sentence_list(items: list[str], limit: int = 8) -> str:
    """Join names for a sentence, with the number of those left out."""
    if len(items) > limit:
        return ", ".join(items[:limit]) + f" and {len(items) - limit} more"
    return ", ".join(items)
