# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs as the roles' argument specs declare them, and the user's values merged over their defaults."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

#: What the names of inputs start with: those of the stack, and the arguments of a playbook of their own.
PREFIXES = ("twisterlab_", "mcp_config_", "verify_")
_TRUE = frozenset({"true", "yes", "on", "y", "t", "1"})
_FALSE = frozenset({"false", "no", "off", "n", "f", "0"})


class InputError(ValueError):
    """A value that cannot be used; the text says what is expected instead, without repeating the value's path."""


@dataclass(frozen=True)
class Option:
    """One input, or one key of a dict input."""

    name: str
    type: str
    role: str
    default: Any = None
    choices: tuple[Any, ...] = ()
    elements: str = ""
    no_log: bool = False
    description: tuple[str, ...] = ()
    options: Mapping[str, Option] = field(default_factory=dict)


def _option(name: str, role: str, raw: Mapping[str, Any]) -> Option:
    description = raw.get("description", ())
    return Option(
        name=name,
        type=raw.get("type", "str"),
        role=role,
        default=raw.get("default"),
        choices=tuple(raw.get("choices", ())),
        elements=raw.get("elements", ""),
        no_log=bool(raw.get("no_log", False)),
        description=(description,) if isinstance(description, str) else tuple(description),
        options={key: _option(key, role, value) for key, value in (raw.get("options") or {}).items()},
    )


def collection_root() -> Path:
    """Return the folder of the collection that this file belongs to."""
    return Path(__file__).resolve().parents[2]


def _load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


def role_options(root: Path) -> Iterator[Option]:
    """Yield every option of every role's entry point ``main``, roles by name, options in the order of the spec."""
    for path in sorted(root.glob("roles/*/meta/argument_specs.yml")):
        specs = (_load(path) or {}).get("argument_specs") or {}
        for name, raw in ((specs.get("main") or {}).get("options") or {}).items():
            yield _option(name, path.parts[-3], raw)


@functools.lru_cache(maxsize=4)
def load_inputs(root: Path) -> Mapping[str, Option]:
    """Return what a user may write, the options named by one of PREFIXES; ValueError when two roles declare one."""
    found: dict[str, Option] = {}
    for option in role_options(root):
        if not option.name.startswith(PREFIXES):
            continue
        if option.name in found:
            roles = f"{found[option.name].role} and {option.role}"
            raise ValueError(f"{option.name} is declared by the roles {roles}; declare it once.")
        found[option.name] = option
    return found


@functools.lru_cache(maxsize=4)
def image_names(root: Path) -> tuple[str, ...]:
    """Return the names of the image catalogue."""
    return tuple((_load(root / "images" / "catalogue.yml") or {}).get("images") or {})


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise InputError("must be true or false")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise InputError("must be a whole number")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise InputError("must be a whole number") from None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError("must be a number") from None


def _text(value: Any) -> str:
    if isinstance(value, (dict, list, tuple)):
        raise InputError("must be a text")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _list(value: Any, elements: str) -> list[Any]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise InputError("must be a list")
    return [_scalar(elements or "raw", item) for item in value]


def _scalar(kind: str, value: Any) -> Any:
    if kind in ("str", "path"):
        return _text(value)
    if kind == "int":
        return _integer(value)
    if kind == "bool":
        return _boolean(value)
    if kind == "float":
        return _number(value)
    if kind == "dict" and not isinstance(value, Mapping):
        raise InputError("must be a dict")
    return value


def convert(option: Option, value: Any) -> Any:
    """Return ``value`` in the option's type, also of the texts of extra vars (``"3"``), or raise InputError."""
    if option.type == "list":
        return _list(value, option.elements)
    return _scalar(option.type, value)


def _over(default: Any, value: Any) -> Any:
    """Merge free-form dicts; a null removes the default's key, and stays where there is none: the role may derive one."""
    if not isinstance(default, Mapping) or not isinstance(value, Mapping):
        return copy.deepcopy(value)
    merged = dict(default)
    for key, item in value.items():
        if item is None and key in merged:
            del merged[key]
        else:
            merged[key] = _over(merged.get(key), item)
    return merged


def merge(option: Option, value: Any) -> Any:
    """Return ``value`` over the option's defaults, every key in its declared type; a null is the default."""
    if option.options:
        given = {} if value is None else value
        if not isinstance(given, Mapping):
            raise InputError("must be a dict")
        return {key: merge(child, given.get(key)) for key, child in option.options.items()}
    if value is None:
        return copy.deepcopy(option.default)
    if option.type == "dict":
        return _over(option.default or {}, _scalar("dict", value))
    return convert(option, value)
