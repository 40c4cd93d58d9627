# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging what a user wrote: every mistake is one sentence that says what is wrong, where, and what to write instead.

Pure functions over names and values; nothing here reads a file, an environment or a cluster.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from . import _rules
from ._specs import PREFIXES, InputError, Option, convert, merge


@dataclass(frozen=True)
class Unreadable:
    """An input whose value could not be evaluated, and why."""

    reason: str


@dataclass(frozen=True)
class Host:
    """What is known of one cluster of the inventory, for comparing it with the others.

    Attributes:
        cluster: what tells its cluster from others (a kubeconfig and context, or the local cluster's name).
        namespace: the namespace it deploys to.
        domain: the domain of its public names.
    """

    cluster: str
    namespace: str
    domain: str


@dataclass(frozen=True)
class Surroundings:
    """What a check needs to know beside the inputs.

    Attributes:
        images: the names of the image catalogue.
        cluster_required: whether a cluster must have been named.
        cluster_given: whether the environment names one (``K8S_AUTH_*``).
        hosts: the clusters of the inventory by host name.
        host: the host that is checked.
    """

    images: tuple[str, ...] = ()
    cluster_required: bool = False
    cluster_given: bool = False
    hosts: Mapping[str, Host] = field(default_factory=dict)
    host: str = ""


def check(
    names: Iterable[str], values: Mapping[str, Any], inputs: Mapping[str, Option], around: Surroundings
) -> list[str]:
    """Return the sentences about everything that is wrong, in a stable order; none means that the inputs can be used.

    Args:
        names: the names of all variables of the host.
        values: the values of those that are inputs, evaluated (or an `Unreadable`).
        inputs: every input by name.
        around: what else is known.
    """
    found = list(_names(names, inputs))
    merged: dict[str, Any] = {}
    for name, option in inputs.items():
        value = values.get(name)
        problems = list(_value(name, option, value))
        found += problems
        if not problems:
            merged[name] = merge(option, value)
    if len(merged) == len(inputs):
        found += _rules.relations(merged, around.images)
        found += _cluster(merged, around)
    found += _hosts(around)
    return found


def _names(names: Iterable[str], inputs: Mapping[str, Option]) -> Iterator[str]:
    for name in sorted(names):
        if name in inputs or name.startswith(("_", "ansible_")):
            continue
        near = next((known for known in inputs if within_two_edits(name, known)), None)
        if near and not name.startswith(PREFIXES):
            yield f"The variable {name} looks like the input {near}; write {near}, or choose another name."
        elif near:
            yield f"{name} is not an input; write {near}."
        elif name.startswith(PREFIXES):
            yield f"{name} is not an input; {_suggestion(name, inputs)}."


def _suggestion(name: str, inputs: Mapping[str, Option]) -> str:
    """Say what somebody who wrote ``name`` may have meant."""
    dicts = [known for known, option in inputs.items() if option.options and name.startswith(f"{known}_")]
    if dicts:
        known = max(dicts, key=len)
        keys = list(inputs[known].options)
        near = difflib.get_close_matches(name.removeprefix(f"{known}_"), keys, n=1, cutoff=0.6)
        if near:
            return f"write the key {near[0]} of the dict, {known}: {{{near[0]}: …}}"
        return f"write a key of the dict {known}: {{…}}, which are {', '.join(keys)}"
    # The common prefix would make everything look alike.
    prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    stems = {known.removeprefix(prefix): known for known in inputs if known.startswith(prefix)}
    close = difflib.get_close_matches(name.removeprefix(prefix), list(stems), n=1, cutoff=0.5)
    if close:
        return f"did you mean {stems[close[0]]}"
    return "docs/variables.md lists them all; a variable of your own needs another prefix"


def within_two_edits(name: str, known: str) -> bool:
    """Whether at most two inserted, removed or changed characters, or swapped neighbours, lie between two texts."""
    if abs(len(name) - len(known)) > 2:
        return False
    third = len(known) // 3
    # Two edits leave at least one of three parts whole: a cheap look before the expensive one.
    if not any(part in name for part in (known[:third], known[third : 2 * third], known[2 * third :])):
        return False
    before: list[int] = []
    row = list(range(len(known) + 1))
    for i, char in enumerate(name, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(known, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (char != other))
            if i > 1 and j > 1 and char == known[j - 2] and name[i - 2] == other:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > 2:
            return False
    return row[-1] <= 2


def _value(path: str, option: Option, value: Any) -> Iterator[str]:
    """Judge one value and everything below it: type, keys, choices, then the rule for its name."""
    if value is None:
        return
    if isinstance(value, Unreadable):
        yield f"{path} cannot be evaluated: {value.reason}; correct the expression or the variable it refers to."
        return
    broken = not_utf8(value)
    if broken is not None:
        yield f"{path}{broken} is not UTF-8; save the file it comes from as UTF-8."
        return
    if option.type == "dict" and not isinstance(value, Mapping):
        yield (
            f"{path} must be a dict, not {_shown(option, value)}; write {_example(path, option)}"
            + (f", or -e '{{\"{path}\": {{…}}}}' on the command line." if "." not in path else ".")
        )
        return
    if option.options:
        yield from _keys(path, option, value)
        return
    try:
        converted = convert(option, value)
    except InputError as error:
        yield f"{path} {error}, not {_shown(option, value)}; write {_example(path, option)}."
        return
    if option.choices and converted not in option.choices:
        yield f"{path} is {_shown(option, value)}; write one of {', '.join(map(str, option.choices))}."
        return
    yield from _rules.value(path, option, converted)


def _keys(path: str, option: Option, value: Mapping[Any, Any]) -> Iterator[str]:
    for key, item in value.items():
        child = option.options.get(key) if isinstance(key, str) else None
        if child is not None:
            yield from _value(f"{path}.{key}", child, item)
            continue
        hint = _rules.elsewhere(path, str(key))
        if not hint:
            near = difflib.get_close_matches(str(key), list(option.options), n=1, cutoff=0.6)
            hint = f"write {near[0]}" if near else f"its keys are {', '.join(option.options)}"
        yield f"{path} has no key {str(key)!r}; {hint}."


def _example(path: str, option: Option) -> str:
    name = path.rpartition(".")[2]
    if option.type == "dict":
        simple = (child for child in option.options.values() if child.type in ("str", "int") and child.default)
        inner = next((f"{child.name}: {child.default}" for child in simple), "…")
        return f"{name}: {{{inner}}}"
    default = option.default
    if default in (None, "", []):
        default = {"int": 1, "list": "[…]", "bool": "true"}.get(option.type, "…")
    return f"{name}: {str(default).lower() if isinstance(default, bool) else default}"


def _shown(option: Option, value: Any) -> str:
    if option.no_log:
        return f"a {type(value).__name__}"
    if isinstance(value, Mapping):
        return "a dict"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…'"


def not_utf8(value: Any) -> str | None:
    """Return where in ``value`` a text holds bytes that are not UTF-8 (empty for the value itself), or None."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return ""
        return None
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, (list, tuple)):
        parts = enumerate(value)
    for key, item in parts:
        if not_utf8(key) is not None:
            return ", in a key,"
        below = not_utf8(item)
        if below is not None:
            return f".{key}{below}"
    return None


def _cluster(merged: Mapping[str, Any], around: Surroundings) -> Iterator[str]:
    if not around.cluster_required or around.cluster_given or merged.get("twisterlab_cluster") != "given":
        return
    if not (merged.get("twisterlab_kubeconfig") or merged.get("twisterlab_context")):
        yield (
            "No cluster is named: set twisterlab_kubeconfig, twisterlab_context or K8S_AUTH_* variables, "
            "or twisterlab_cluster: current (what kubectl would use) or local (a kind cluster on this machine)."
        )


def _hosts(around: Surroundings) -> Iterator[str]:
    mine = around.hosts.get(around.host)
    if mine is None:
        return
    for name, other in sorted(around.hosts.items()):
        if name == around.host or other.cluster != mine.cluster:
            continue
        if other.namespace == mine.namespace:
            yield (
                f"The hosts {around.host} and {name} both deploy to the namespace {mine.namespace} of one cluster; "
                "give one of them another twisterlab_namespace, or another kubeconfig or context."
            )
        elif other.domain == mine.domain:
            yield (
                f"The hosts {around.host} and {name} both use the domain {mine.domain} on one cluster, "
                "so their public names collide; "
                "give one of them another twisterlab_domain."
            )
