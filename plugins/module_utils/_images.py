# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a name of the catalogue stands for. Pure: reads the catalogue and the recipes, asks nobody."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError
from ansible_collections.twisterlab.platform.plugins.module_utils._recipe import IMAGES, Recipes

SOURCES = ("registry", "built")
_REFERENCE = re.compile(
    r"^(?:(?P<host>localhost(?::\d+)?|[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)+(?::\d+)?|[a-zA-Z0-9-]+:\d+)/)?"
    r"(?P<path>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[a-f0-9]{64}))?$"
)


@dataclass(frozen=True)
class Entry:
    """One name of the catalogue.

    Attributes:
        registry: upstream reference; None where the image is only built here.
        context: the folder of images/ that builds it; None where it cannot be built from packages.
        base: upstream image it is built on where a registry can be reached; None for the folder's own base.
    """

    name: str
    registry: str | None
    context: str | None
    base: str | None


@lru_cache(maxsize=4)
def catalogue(folder: Path = IMAGES) -> Mapping[str, Entry]:
    """Every entry of images/catalogue.yml."""
    data: dict[str, Any] = yaml.safe_load((folder / "catalogue.yml").read_text(encoding="utf-8"))
    found: dict[str, Entry] = {}
    for name, entry in {**data["images"], **data["cluster"]}.items():
        built = entry.get("built") or {}
        context = Path(built["context"]).name if built else None
        found[name] = Entry(name, entry.get("registry"), context, built.get("registry_base"))
    return found


@lru_cache(maxsize=4)
def _recipes(folder: Path) -> Recipes:
    return Recipes(folder)


def check_reference(name: str, reference: object) -> str:
    """The reference, if it is one with a tag or a digest.

    Raises:
        BuildError: it is not.
    """
    text = str(reference or "")
    match = _REFERENCE.match(text)
    if not match:
        raise BuildError(
            f"twisterlab_images.{name} is {text!r}, which is not an image reference: write registry/path:tag, "
            f"for example ghcr.io/me/{name}:1.0."
        )
    if not match["tag"] and not match["digest"]:
        raise BuildError(f"twisterlab_images.{name} is {text!r} without a tag: write {text}:<version>, or a digest.")
    return text


def entry(name: str, folder: Path = IMAGES) -> Entry:
    """One entry of the catalogue.

    Raises:
        BuildError: there is none of this name.
    """
    known = catalogue(folder)
    if name not in known:
        close = difflib.get_close_matches(name, known, 1)
        advice = f"did you mean {close[0]}?" if close else f"write one of {', '.join(sorted(known))}."
        raise BuildError(f"The image catalogue has no {name!r}; {advice}")
    return known[name]


def built_reference(name: str, registry: str = "", folder: Path = IMAGES) -> str:
    """The reference of an image built here: `twisterlab/<folder>:<tag>`, or `<registry>/<folder>:<tag>`.

    Raises:
        BuildError: no folder builds it.
    """
    context = entry(name, folder).context
    if context is None:
        raise BuildError(
            f"The image {name} is in no package registry, so it cannot be built here: set twisterlab_images.{name} to a "
            f"reference that the cluster can pull, or twisterlab_{name}_enabled to false."
        )
    local = _recipes(folder).reference(context)
    return f"{registry.rstrip('/')}/{local.partition('/')[2]}" if registry else local


def available(name: str, source: str, overrides: Mapping[str, object] | None = None, folder: Path = IMAGES) -> bool:
    """Whether an image can be had: given, from a registry, or built.

    Raises:
        BuildError: unknown name.
    """
    found = entry(name, folder)
    return bool((overrides or {}).get(name)) or (source == "registry" and bool(found.registry)) or bool(found.context)


def resolve(
    name: str,
    source: str,
    overrides: Mapping[str, object] | None = None,
    registry: str = "",
    mirror: str = "",
    folder: Path = IMAGES,
) -> str:
    """The reference a pod uses for a name of the catalogue.

    Args:
        name: name in the catalogue.
        source: `registry` (upstream's images) or `built` (those of images/).
        overrides: the user's references by name; they win.
        registry: where images built here are pushed; part of their names when set.
        mirror: takes the place of the registry's host in upstream references.

    Raises:
        BuildError: unknown name, malformed reference, or no image can be had that way.
    """
    found = entry(name, folder)
    if source not in SOURCES:
        raise BuildError(f"twisterlab_image_source is {source!r}: write {' or '.join(SOURCES)}.")
    if (overrides or {}).get(name):
        return check_reference(name, (overrides or {})[name])
    if source == "registry" and found.registry:
        return f"{mirror.rstrip('/')}/{found.registry.partition('/')[2]}" if mirror else found.registry
    if source == "registry" and not registry:
        raise BuildError(
            f"The image {name} is in no public registry: set twisterlab_images.{name} to yours, or "
            f"twisterlab_registry to a registry that the built one is pushed to."
        )
    return built_reference(name, registry, folder)
