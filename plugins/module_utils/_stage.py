# SPDX-License-Identifier: GPL-3.0-or-later
"""Turning rendered templates into a component's stage: parse, refuse what must not be released, write.

Everything here is pure but for `write`, `read` and `export`, which touch only the folder they are given.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import yaml

from . import _objects as objects
from ._errors import Refused
from ._kinds import WORKLOADS
from ._objects import Object

SECRET_WORDS = re.compile(r"PASSWORD|TOKEN|SECRET|KEY")
# Names that contain one of the words and yet hold no secret: where it lies, how long it lives, what it is called.
HARMLESS = re.compile(
    r"_(FILE|PATH|DIR|URL_PATH|MS|SECONDS|MINUTES|HOURS|DAYS|TTL|LENGTH|SIZE|COUNT|LIMIT|ALGORITHM|ISSUER|AUDIENCE|ID|NAME|HEADER|TYPE)$"
)
REFERENCE = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_]*\)")
COMPONENT_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
EXPORT_HEADER = "# Rendered by twisterlab.platform.stage; changes here are lost at the next rendering.\n"


@dataclass
class Component:
    """What one tier wants released."""

    component: str
    objects: list[Object] = field(default_factory=list)
    secrets: list[Object] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    sealed: list[Object] = field(default_factory=list)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as the API server reads it: no dates, and no key written twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, refusing a repeated key with its line."""
        seen: set[Any] = set()
        for key_node, _value in node.value:
            name = self.construct_object(key_node, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name} is written twice", key_node.start_mark
                )
            if key_node.tag != "tag:yaml.org,2002:merge":
                seen.add(name)
        return cast(dict[Any, Any], super().construct_mapping(node, deep=deep))


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def parse(text: str, template: str) -> list[Object]:
    """Parse one rendered template.

    Args:
        text: the rendered YAML, one or more documents.
        template: the template's name, for messages.

    Returns:
        The objects, in the order of the file. An empty rendering gives an empty list.

    Raises:
        Refused: the text is no YAML, or a document is no Kubernetes object.
    """
    try:
        # A loader of our own, derived from the safe one.
        documents = list(yaml.load_all(str(text), Loader=_Loader))  # noqa: S506
    except yaml.YAMLError as error:
        raise Refused(_yaml_sentence(error, text, template)) from error
    found: list[Object] = []
    for document in documents:
        if document is None:
            continue
        if not isinstance(document, dict):
            raise Refused(
                f"Template {template} renders a {type(document).__name__} where an object is expected: "
                "write apiVersion, kind and metadata at its top level."
            )
        missing = [part for part in ("apiVersion", "kind") if not document.get(part)]
        if not (isinstance(document.get("metadata"), dict) and document["metadata"].get("name")):
            missing.append("metadata.name")
        if missing:
            raise Refused(
                f"Template {template} renders an object without {', '.join(missing)}: write it at the object's top level."
            )
        found.append(document)
    return found


def _yaml_sentence(error: yaml.YAMLError, text: str, template: str) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error).replace("\n", " ")
    if mark is None:
        return f"Template {template} does not render YAML: {problem}."
    lines = str(text).splitlines()
    shown = lines[mark.line].strip() if mark.line < len(lines) else ""
    return f"Template {template} does not render YAML: {problem}, line {mark.line + 1} of its result ({shown!r}): correct that line of the template."


def build(
    component: str,
    rendered: list[tuple[str, list[Object]]],
    secrets: list[Object] | None = None,
    needs: list[str] | None = None,
    others: list[Component] | None = None,
    sealed: list[Object] | None = None,
) -> Component:
    """Check one component's objects and make its stage.

    Args:
        component: the component's name, which every object must carry as its label.
        rendered: pairs of a template's name and its objects.
        secrets: declarations of keys of the one Secret; they hold no values.
        needs: components that must be ready before this one's pods can be.
        others: what is staged already in this run, for finding what is written twice.
        sealed: declarations of Secrets of their own; they hold no values.

    Returns:
        The stage, with `twisterlab.io/needs` on its workloads.

    Raises:
        Refused: with the template, the object and what to write instead.
    """
    if not COMPONENT_NAME.fullmatch(component):
        raise Refused(f"The component name {component!r} cannot be a label: use lower-case letters, digits and '-'.")
    wanted = [str(item) for item in needs or []]
    seen: dict[tuple[str, str, str, str], str] = {}
    selectors: dict[str, str] = {}
    for other in others or []:
        if other.component == component:
            continue
        for obj in other.objects:
            seen[_identity(obj)] = f"component {other.component}"
            _remember_selector(obj, selectors)
    result = Component(component=component, secrets=list(secrets or []), needs=wanted, sealed=list(sealed or []))
    for template, found in rendered:
        for obj in found:
            _check_object(obj, component, template)
            identity = _identity(obj)
            if identity in seen:
                raise Refused(
                    f"{objects.title(obj)} is rendered twice, by template {template} and by {seen[identity]}: remove or rename one of them."
                )
            seen[identity] = f"template {template}"
            clash = _remember_selector(obj, selectors)
            if clash:
                raise Refused(
                    f"{objects.title(obj)} (template {template}) selects the same pods as {clash}: "
                    "give each workload its own app.kubernetes.io/name in its selector."
                )
            if wanted and obj.get("kind") in WORKLOADS:
                notes = obj["metadata"].setdefault("annotations", {})
                notes[objects.NEEDS] = ",".join(wanted)
            result.objects.append(obj)
    _check_autoscaled(result.objects)
    return result


def _check_autoscaled(found: list[Object]) -> None:
    for obj in found:
        if obj["kind"] != "HorizontalPodAutoscaler":
            continue
        target = (obj.get("spec") or {}).get("scaleTargetRef") or {}
        for other in found:
            scaled = (other["kind"], objects.name(other)) == (target.get("kind"), target.get("name"))
            if scaled and "replicas" in (other.get("spec") or {}):
                raise Refused(
                    f"{objects.title(other)} sets replicas while {objects.title(obj)} scales it: each release would undo what the autoscaler did; "
                    "leave replicas out of its template."
                )


def _identity(obj: Object) -> tuple[str, str, str, str]:
    group, kind, name = objects.key(obj)
    return (group, kind, str(objects.meta(obj).get("namespace") or ""), name)


def _remember_selector(obj: Object, selectors: dict[str, str]) -> str | None:
    if obj.get("kind") not in ("Deployment", "StatefulSet", "DaemonSet"):
        return None
    selector = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels")
    if not selector:
        return None
    text = json.dumps(selector, sort_keys=True)
    found = selectors.get(text)
    selectors.setdefault(text, objects.title(obj))
    return found


def _check_object(obj: Object, component: str, template: str) -> None:
    where = f"{objects.title(obj)} (template {template})"
    if obj["kind"] == "Secret":
        raise Refused(
            f"{where} is a Secret, and secrets do not pass through templates: declare its keys in `secrets` of the stage task "
            "and refer to the Secret twisterlab-secrets."
        )
    if str(obj["kind"]).endswith("List") and "items" in obj:
        raise Refused(f"{where} is a list: write its objects as documents of their own, separated by '---'.")
    found = objects.labels(obj)
    for label, value in {**objects.OURS, objects.COMPONENT: component}.items():
        if found.get(label) != value:
            raise Refused(
                f"{where} lacks the label {label}: {value} (it has {found.get(label)!r}): "
                f"write labels: {{{{ '{component}' | twisterlab.platform.labels(...) }}}}."
            )
    for part, held in (("labels", found), ("annotations", objects.notes(obj))):
        for name, value in held.items():
            if not isinstance(value, str):
                raise Refused(
                    f"{where} has the {part[:-1]} {name} with a value that is no text ({value!r}): put it in quotes."
                )
    template_of = objects.template(obj)
    if template_of is None:
        return
    _check_selector(obj, template_of, where)
    _check_environment(template_of.get("spec") or {}, component, where)


def _check_selector(obj: Object, template_of: Object, where: str) -> None:
    selector = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    pod_labels = objects.labels(template_of)
    for label, value in selector.items():
        if obj["kind"] != "Job" and pod_labels.get(label) != value:
            raise Refused(
                f"{where} selects {label}={value}, which its own pods do not carry: write the label into spec.template.metadata.labels."
            )


def _check_environment(spec: Object, component: str, where: str) -> None:
    role = component.replace("-", "_")
    for item in objects.containers(spec):
        for variable in item.get("env") or []:
            name, value = str(variable.get("name", "")), variable.get("value")
            if "value" in variable and not isinstance(value, str):
                raise Refused(
                    f"{where}, container {item.get('name')}: the variable {name} has a value that is no text ({value!r}): put it in quotes."
                )
            if looks_secret(name, value):
                raise Refused(
                    f"{where}, container {item.get('name')}: the public environment variable {name} looks like a secret: "
                    f"move it from {role}_env to {role}_secret_env (twisterlab_{role}: {{secret_env: {{{name}: <key>}}}}) "
                    "and give the key in twisterlab_secrets."
                )


def looks_secret(name: str, value: str | None) -> bool:
    """Whether a literal environment variable seems to hold a secret."""
    if not value or not SECRET_WORDS.search(name.upper()) or HARMLESS.search(name.upper()):
        return False
    if value.lower() in ("true", "false", "yes", "no", "on", "off"):
        return False
    return not REFERENCE.fullmatch(value)


def folder_of(root: str | Path, host: str) -> Path:
    """Where one host's components are staged below the run's private folder."""
    return Path(root) / "twisterlab-stage" / quote(host, safe="")


def write(folder: Path, staged: Component) -> Path:
    """Write a component's stage, readable by its owner alone.

    Returns:
        The file written.
    """
    for part in (folder.parent, folder):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = folder / f"{staged.component}.json"
    temporary = target.with_suffix(".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(
            {
                "component": staged.component,
                "objects": staged.objects,
                "secrets": staged.secrets,
                "needs": staged.needs,
                "sealed": staged.sealed,
            },
            stream,
        )
    temporary.replace(target)
    return target


def read(folder: Path) -> list[Component]:
    """Read every staged component of a folder, in the order of their names; empty when nothing is staged."""
    found = []
    for path in sorted(folder.glob("*.json")):
        found.append(Component(**json.loads(path.read_text(encoding="utf-8"))))
    return found


def clear(folder: Path) -> None:
    """Remove what was staged, after it was released."""
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)


def export(dest: Path, staged: Component, dry_run: bool = False) -> bool:
    """Write a component's objects as YAML files for review or GitOps.

    Args:
        dest: the folder; the files go to `<dest>/<component>/<kind>-<name>.yaml`.
        staged: the component.
        dry_run: only answer whether something would change.

    Returns:
        Whether a file was written or removed (or would be).
    """
    folder = dest / staged.component
    wanted = {
        f"{str(obj['kind']).lower()}-{objects.name(obj)}.yaml": EXPORT_HEADER
        + "---\n"
        + yaml.safe_dump(obj, sort_keys=False, default_flow_style=False, allow_unicode=True, width=4096)
        for obj in staged.objects
    }
    changed = False
    for name, text in wanted.items():
        path = folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        changed = True
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
        # A file that somebody else put there is not ours to remove.
        if path.name not in wanted and path.read_text(encoding="utf-8").startswith(EXPORT_HEADER):
            changed = True
            if not dry_run:
                path.unlink()
    if folder.is_dir() and not wanted and not dry_run and not any(folder.iterdir()):
        folder.rmdir()
    return changed
