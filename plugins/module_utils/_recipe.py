# SPDX-License-Identifier: GPL-3.0-or-later
"""What images/<name>/recipe.yml says, and the hash of what goes into a result. Reads files, runs nothing."""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError

#: Changes when the engine makes something else out of the same recipe.
ENGINE = "1"
#: The same for root file systems alone, so that nothing is compiled anew for them.
ROOTFS = "2"
IMAGES = Path(__file__).resolve().parents[2] / "images"
_KEYS: dict[str, set[str]] = {
    "": {"version", "description", "rootfs", "go", "python", "image"},
    "rootfs": {"suite", "packages", "exclude", "remove", "files", "variant"},
    "go": {"module", "programs", "cgo", "tags", "ldflags", "patched"},
    "python": {"requirements", "version"},
    "image": {"dockerfile", "base", "programs", "args", "tags", "preload", "sources"},
}
_NOT_INPUTS = {"README.md", "recipe.yml", "tests", "__pycache__"}
_GO_SUFFIXES = {".go", ".mod", ".sum"}


def architecture() -> str:
    """The machine's architecture as Go, Debian and Docker name it."""
    names = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    return names.get(platform.machine(), platform.machine())


def digest(*parts: object) -> str:
    """SHA-256 (hex) of values that JSON can hold."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content and of whether it can be run."""
    runs = bool(path.stat().st_mode & stat.S_IXUSR)
    return hashlib.sha256(path.read_bytes() + (b"x" if runs else b"-")).hexdigest()


def files_below(folder: Path) -> list[Path]:
    """Every input file below a folder, sorted; without documentation, tests and hidden files."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.name in _NOT_INPUTS or path.name.startswith("."):
            continue
        if path.is_dir():
            found += files_below(path)
        elif path.suffix != ".pyc":
            found.append(path)
    return found


@dataclass(frozen=True)
class Recipe:
    """One folder of images/."""

    name: str
    folder: Path
    data: Mapping[str, Any]

    @property
    def version(self) -> str:
        """The version that starts the tag."""
        return str(self.data["version"])

    def part(self, name: str) -> Mapping[str, Any]:
        """The settings of one part (`rootfs`, `go`, `python`, `image`); empty when the recipe has none."""
        return self.data.get(name) or {}

    @cached_property
    def context_files(self) -> list[Path]:
        """The files of the docker build context that stand in the folder (Go sources are compiled, not copied)."""
        found = files_below(self.folder)
        return [path for path in found if not (self.part("go") and path.suffix in _GO_SUFFIXES)]

    @cached_property
    def go_files(self) -> list[Path]:
        """The files of the Go module in the folder."""
        module = self.folder / str(self.part("go").get("module", "."))
        return [path for path in files_below(module) if path.suffix in _GO_SUFFIXES]

    @cached_property
    def needs(self) -> list[str]:
        """The other folders this one is made from."""
        image = self.part("image")
        names = [str(image["base"])] if image.get("base") else []
        names += [str(name) for name in (image.get("programs") or {}).values()]
        names += [str(source["from"]) for source in (image.get("sources") or {}).values()]
        names += [str(name) for name in image.get("preload") or []]
        return [name for name in dict.fromkeys(names) if name != self.name]


class Recipes:
    """Every recipe of a folder, read when asked for."""

    def __init__(self, folder: Path = IMAGES) -> None:
        """Read from folder (default: the collection's images/)."""
        self.folder = folder
        self._read: dict[str, Recipe] = {}
        self._hashes: dict[tuple[str, str], str] = {}

    def names(self) -> list[str]:
        """The folders that have a recipe."""
        return sorted(path.parent.name for path in self.folder.glob("*/recipe.yml"))

    def get(self, name: str) -> Recipe:
        """One recipe.

        Raises:
            BuildError: there is none of this name, or a key in it is unknown.
        """
        if name not in self._read:
            path = self.folder / name / "recipe.yml"
            try:
                data = yaml.safe_load(path.read_text(encoding="utf-8"))
            except OSError as error:
                close = difflib.get_close_matches(name, self.names(), 1)
                raise BuildError(
                    f"images/{name}/recipe.yml is not there{'; did you mean ' + close[0] if close else ''}."
                ) from error
            except yaml.YAMLError as error:
                raise BuildError(f"images/{name}/recipe.yml is not YAML: {' '.join(str(error).split())}") from error
            _check(name, data)
            self._read[name] = Recipe(name, path.parent, data)
        return self._read[name]

    def hash(self, name: str, part: str) -> str:
        """SHA-256 (hex) of everything that goes into one part of a recipe."""
        if (name, part) not in self._hashes:
            self._hashes[name, part] = self._hash(self.get(name), part)
        return self._hashes[name, part]

    def _hash(self, recipe: Recipe, part: str) -> str:
        start = (ENGINE, architecture(), part, recipe.part(part))
        if part == "go":
            return digest(
                *start,
                {str(path.relative_to(recipe.folder)): file_digest(path) for path in recipe.go_files},
                self._patches(recipe),
            )
        if part == "rootfs":
            return digest(
                *start,
                ROOTFS,
                {
                    target: file_digest(recipe.folder / path)
                    for target, path in (recipe.part(part).get("files") or {}).items()
                },
            )
        if part == "python":
            return digest(*start, file_digest(recipe.folder / str(recipe.part(part)["requirements"])))
        inner = {name: self.hash(recipe.name, name) for name in ("rootfs", "go", "python") if recipe.part(name)}
        image = recipe.part("image")
        outer = {
            "base": self.hash(str(image["base"]), "image") if image.get("base") else "",
            "programs": {path: self.hash(str(name), "go") for path, name in (image.get("programs") or {}).items()},
            "sources": {
                path: self.hash(str(source["from"]), "go") for path, source in (image.get("sources") or {}).items()
            },
            "preload": [self.hash(str(name), "image") for name in image.get("preload") or []],
        }
        files = {str(path.relative_to(recipe.folder)): file_digest(path) for path in recipe.context_files}
        return digest(*start, recipe.version, inner, outer, files)

    @staticmethod
    def _patches(recipe: Recipe) -> dict[str, str]:
        """The hashes of the files that replace others in a patched module."""
        found: dict[str, str] = {}
        for patch in recipe.part("go").get("patched") or []:
            for path in (patch.get("files") or {}).values():
                found[str(path)] = file_digest(recipe.folder / str(path))
        return found

    def reference(self, name: str) -> str:
        """The image reference `twisterlab/<name>:<version>-<12 hex of the hash>`."""
        return f"twisterlab/{name}:{self.get(name).version}-{self.hash(name, 'image')[:12]}"

    def order(self, names: list[str]) -> list[str]:
        """These folders and what they need, each after what it needs.

        Raises:
            BuildError: two folders need each other.
        """
        done: list[str] = []

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                raise BuildError(f"images/{name}/recipe.yml needs itself: {' -> '.join((*above, name))}.")
            for needed in self.get(name).needs:
                visit(needed, (*above, name))
            if name not in done:
                done.append(name)

        for name in names:
            visit(name, ())
        return done


def _check(name: str, data: object) -> None:
    """Refuse what the engine would not understand."""
    if not isinstance(data, dict) or "version" not in data:
        raise BuildError(f"images/{name}/recipe.yml has no `version`.")
    for section, known in _KEYS.items():
        part = data if not section else data.get(section) or {}
        if not isinstance(part, dict):
            raise BuildError(f"images/{name}/recipe.yml: `{section}` is not a mapping.")
        for key in part:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, 1)
                where = f"{section}.{key}" if section else str(key)
                raise BuildError(
                    f"images/{name}/recipe.yml: unknown key `{where}`{'; did you mean ' + close[0] if close else ''}."
                )
