# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes what a recipe describes: programs, root file systems, wheels, images.

Results are kept under the cache by the hash of their inputs. Each is made in a folder of its own and renamed when it
is whole, so that an interrupted run leaves nothing half-done; compilers keep their own caches and go on from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.twisterlab.platform.plugins.module_utils import _docker as docker
from ansible_collections.twisterlab.platform.plugins.module_utils import _toolchain as toolchain
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import (
    BuildError,
    Say,
    lock,
    output,
    run,
    seconds,
)
from ansible_collections.twisterlab.platform.plugins.module_utils._recipe import Recipe, Recipes, architecture

_GLIBC = ("2_36", "2_34", "2_31", "2_28", "2_27", "2_26", "2_24", "2_17")


@dataclass
class Builder:
    """Makes recipes, once.

    Attributes:
        recipes: what can be made.
        cache: folder that keeps results, logs and the compilers' caches.
        say: shows one line.
        holder: who holds the locks, for those who wait.
        bases: folder: upstream image it is built on instead of the base its recipe names (where a registry can be
            reached).
    """

    recipes: Recipes
    cache: Path
    say: Say
    holder: str = field(default_factory=lambda: f"process {os.getpid()}")
    bases: Mapping[str, str] = field(default_factory=dict)

    # -- what is there

    def folder(self, name: str, part: str) -> Path:
        """Where the result of one part (go, rootfs, python) is kept."""
        return self.cache / "build" / f"{name}-{part}-{self.recipes.hash(name, part)[:12]}"

    def missing(self, names: list[str]) -> list[str]:
        """Which of these, and of what they need, would have to be made: `name (part)`."""
        found: list[str] = []
        have_images: set[str] | None = None
        for name in names:
            recipe = self.recipes.get(name)
            if "image" in recipe.data:
                if have_images is None:
                    have_images = docker.images_present(
                        [
                            self.recipes.reference(each)
                            for each in self.recipes.order(names)
                            if "image" in self.recipes.get(each).data
                        ]
                    )
                if self.recipes.reference(name) in have_images:
                    continue
                found.append(name)
            elif any(not self.folder(name, part).is_dir() for part in ("go", "rootfs", "python") if recipe.part(part)):
                found.append(name)
        return found

    def needs_rootfs(self, name: str) -> bool:
        """Whether making a recipe starts with a root file system that is not there."""
        names = [each for each in self.recipes.order([name]) if name not in self.bases or each == name]
        return any(self.recipes.get(each).part("rootfs") and not self.folder(each, "rootfs").is_dir() for each in names)

    # -- making

    def build(self, name: str) -> bool:
        """Make one recipe and what it needs; False when everything was there.

        Raises:
            BuildError: it could not be made.
        """
        recipe = self.recipes.get(name)
        if "image" not in recipe.data:
            made = [self.part(name, part) for part in ("rootfs", "python", "go") if recipe.part(part)]
            return any(made)
        if docker.images_present([self.recipes.reference(name)]):
            self._tag(recipe)
            return False
        with self._lock(name):
            if docker.images_present([self.recipes.reference(name)]):
                self._tag(recipe)
                return False
            image = recipe.part("image")
            own_base = [image["base"]] if image.get("base") and name not in self.bases else []
            for needed in [*own_base, *(image.get("preload") or [])]:
                self.build(str(needed))
            for needed in dict.fromkeys((image.get("programs") or {}).values()):
                self.part(str(needed), "go")
            for part in ("rootfs", "python", "go"):
                if recipe.part(part):
                    self.part(name, part)
            self._image(recipe)
        return True

    def part(self, name: str, part: str) -> bool:
        """Make one part of a recipe into its folder of the cache; False when it is there."""
        target = self.folder(name, part)
        if target.is_dir():
            return False
        with self._lock(f"{name}-{part}"):
            if target.is_dir():
                return False
            start = time.monotonic()
            makers: dict[str, Callable[[Recipe, Path], None]] = {
                "go": self._go,
                "rootfs": self._rootfs,
                "python": self._python,
            }
            with self._temporary(target.name) as folder:
                makers[part](self.recipes.get(name), folder)
                folder.rename(target)
            self.say(f"{name}: {_WHAT[part]} ready after {seconds(start)}")
        return True

    def _lock(self, name: str) -> contextlib.AbstractContextManager[None]:
        return lock(self.cache / "locks" / f"{name}.lock", holder=self.holder, say=self.say, what=name)

    @contextlib.contextmanager
    def _temporary(self, name: str) -> Iterator[Path]:
        """A folder beside the results; what earlier runs left of the same name is removed."""
        parent = self.cache / "build"
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f".{name}-*"):
            shutil.rmtree(old, ignore_errors=True)
        folder = parent / f".{name}-{os.getpid()}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _log(self, name: str) -> Path:
        return self.cache / "logs" / f"{name}.log"

    # -- Go

    def _go(self, recipe: Recipe, target: Path) -> None:
        part = recipe.part("go")
        if part.get("cgo"):
            toolchain.need_c_compiler(recipe.name)
        compiler = toolchain.go(self.cache, self.say)
        environment = toolchain.go_environment(self.cache, cgo=bool(part.get("cgo")))
        programs: dict[str, str] = dict(part["programs"])
        self.say(f"{recipe.name}: compiling {', '.join(programs)}")
        log = self._log(recipe.name)
        log.unlink(missing_ok=True)
        with self._temporary(f"{recipe.name}-source") as source:
            self._go_module(recipe, source, compiler, environment)
            run(
                [
                    *(compiler, "build", "-v", "-trimpath", "-buildvcs=false"),
                    # The linker strips debugging information anyway; not making it saves a sixth of the compiler's time.
                    "-gcflags=all=-dwarf=false",
                    *(["-tags", ",".join(part["tags"])] if part.get("tags") else []),
                    *("-ldflags", " ".join(["-s", "-w", *(part.get("ldflags") or [])])),
                    *("-o", f"{target}/", *programs.values()),
                ],
                cwd=source,
                env=environment,
                log=log,
                say=self.say,
                label=f"{recipe.name}: compiling",
                detail=lambda: _compiled(log),
            )
        for program, package in programs.items():
            built = target / _default_name(package)
            if built.name != program:
                built.rename(target / program)

    def _go_module(self, recipe: Recipe, source: Path, compiler: str, environment: dict[str, str]) -> None:
        """Lay the module out: its own files, and beside them the patched copies that its go.mod replaces modules by."""
        part = recipe.part("go")
        module = recipe.folder / str(part.get("module", "."))
        for path in recipe.go_files:
            copy = source / path.relative_to(module)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        for patch in part.get("patched") or []:
            copy = source / patch["into"]
            shutil.copytree(self._published(recipe, patch, compiler, environment), copy, copy_function=_link)
            for folder in [copy, *copy.rglob("*")]:
                if folder.is_dir():
                    folder.chmod(0o755)
            shutil.rmtree(copy / "vendor", ignore_errors=True)
            _apply_patch(recipe, patch, copy)

    @staticmethod
    def _published(recipe: Recipe, patch: dict[str, Any], compiler: str, environment: dict[str, str]) -> Path:
        """Where the source of a module that a recipe patches is, as it was published; fetched when it is not there."""
        command = [compiler, "mod", "download", "-json", f"{patch['module']}@{patch['version']}"]
        fetched = json.loads(output(command, timeout=600, env=environment))
        if fetched.get("Sum") != patch["sum"]:
            raise BuildError(
                f"{recipe.name}: {patch['module']} {patch['version']} has the hash {fetched.get('Sum')}, "
                f"not {patch['sum']} as images/{recipe.name}/recipe.yml says."
            )
        return Path(fetched["Dir"])

    # -- Debian

    def _rootfs(self, recipe: Recipe, target: Path) -> None:
        part = recipe.part("rootfs")
        suite = str(part["suite"])
        if shutil.which("mmdebstrap") is None:
            raise BuildError(
                f"{recipe.name}: mmdebstrap is not there; install it (apt-get install mmdebstrap) and run again."
            )
        self.say(
            f"{recipe.name}: Debian {suite} with "
            f"{', '.join(part['packages'][:4])}{' ...' if len(part['packages']) > 4 else ''}"
        )
        log = self._log(f"{recipe.name}-rootfs")
        log.unlink(missing_ok=True)
        hooks: list[str] = []
        for inside, path in (part.get("files") or {}).items():
            file = recipe.folder / str(path)
            mode = "0755" if file.stat().st_mode & stat.S_IXUSR else "0644"
            hooks += [
                f'--customize-hook=mkdir -p "$1{Path(inside).parent}"',
                f"--customize-hook=upload {shlex.quote(str(file))} {inside}",
                f'--customize-hook=chmod {mode} "$1{inside}"',
            ]
        for inside in part.get("remove") or []:
            hooks.append(f'--customize-hook=rm -rf "$1{inside}"')
        # mmdebstrap leaves this host's mirrors and proxies there, with the passwords that their addresses may hold.
        own = [f'"$1"/etc/apt/{path}' for path in ("apt.conf.d/99mmdebstrap", "sources.list", "sources.list.d/*")]
        hooks.append(f"--customize-hook=rm -rf {' '.join(own)}")
        run(
            [
                *(
                    "mmdebstrap",
                    f"--variant={part.get('variant', 'minbase')}",
                    f"--include={','.join(part['packages'])}",
                    "--format=tar",
                ),
                *(f"--dpkgopt=path-exclude={pattern}" for pattern in part.get("exclude") or []),
                *(f"--aptopt={line}" for line in toolchain.apt_options()),
                *hooks,
                *(suite, str(target / "rootfs.tar"), *toolchain.debian_sources(suite)),
            ],
            log=log,
            say=self.say,
            label=f"{recipe.name}: Debian packages",
        )

    # -- Python

    def _python(self, recipe: Recipe, target: Path) -> None:
        part = recipe.part("python")
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(architecture(), architecture())
        requirements = recipe.folder / str(part["requirements"])
        self.say(f"{recipe.name}: wheels for Python {part['version']}")
        log = self._log(f"{recipe.name}-python")
        log.unlink(missing_ok=True)
        run(
            [
                *(
                    *toolchain.pip(self.cache, self.say),
                    "install",
                    "--quiet",
                    "--no-compile",
                    "--disable-pip-version-check",
                    "--require-hashes",
                ),
                *("--only-binary=:all:", "--implementation", "cp", "--python-version", str(part["version"])),
                *(word for libc in _GLIBC for word in ("--platform", f"manylinux_{libc}_{machine}")),
                *(
                    "--platform",
                    f"manylinux2014_{machine}",
                    "--target",
                    str(target / "site-packages"),
                    "--requirement",
                    str(requirements),
                ),
            ],
            log=log,
            say=self.say,
            label=f"{recipe.name}: wheels",
        )

    # -- images

    def _image(self, recipe: Recipe) -> None:
        image = recipe.part("image")
        reference = self.recipes.reference(recipe.name)
        start = time.monotonic()
        self.say(f"{recipe.name}: making the image {reference}")
        log = self._log(f"{recipe.name}-image")
        log.unlink(missing_ok=True)
        preload = [tag for name in image.get("preload") or [] for tag in self.tags(str(name))]
        stage = f"{reference}-empty" if preload else reference
        with self._temporary(f"{recipe.name}-context") as context:
            self._context(recipe, context)
            arguments = dict(image.get("args") or {})
            if recipe.name in self.bases:
                arguments["BASE"] = self.bases[recipe.name]
                run(
                    [docker.program() or "docker", "pull", arguments["BASE"]],
                    log=log,
                    say=self.say,
                    label=f"{recipe.name}: pulling {arguments['BASE']}",
                )
            elif image.get("base"):
                arguments["BASE"] = self.recipes.reference(str(image["base"]))
            run(
                [
                    *(
                        docker.program() or "docker",
                        "build",
                        "--network",
                        "none",
                        "--force-rm",
                        "--file",
                        str(context / image.get("dockerfile", "Dockerfile")),
                    ),
                    *(word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")),
                    *("--label", f"io.twisterlab.component={recipe.name}", "--tag", stage, str(context)),
                ],
                env=docker.CLASSIC,
                log=log,
                say=self.say,
                label=f"{recipe.name}: docker build",
            )
        if preload:
            self._preload(recipe.name, stage, reference, preload, log)
        self._tag(recipe)
        self.say(f"{recipe.name}: image ready after {seconds(start)}")

    def _tag(self, recipe: Recipe) -> None:
        """Give an image the names under which others know it: a run may have been cut off before, or another version have them now."""
        for tag in recipe.part("image").get("tags") or []:
            docker.docker("tag", self.recipes.reference(recipe.name), str(tag))

    def tags(self, name: str) -> list[str]:
        """The references under which others know an image: those its recipe lists, else its own."""
        return [str(tag) for tag in self.recipes.get(name).part("image").get("tags") or []] or [
            self.recipes.reference(name)
        ]

    def _context(self, recipe: Recipe, context: Path) -> None:
        """Everything the Dockerfile may copy, without copying bytes where a link will do."""
        image = recipe.part("image")
        for path in recipe.context_files:
            _place(path, context / path.relative_to(recipe.folder))
        if recipe.part("rootfs"):
            _place(self.folder(recipe.name, "rootfs") / "rootfs.tar", context / "rootfs.tar")
        if recipe.part("go"):
            for program in recipe.part("go")["programs"]:
                _place(self.folder(recipe.name, "go") / program, context / "bin" / program)
        if recipe.part("python"):
            shutil.copytree(
                self.folder(recipe.name, "python") / "site-packages", context / "site-packages", copy_function=_link
            )
        for inside, name in (image.get("programs") or {}).items():
            _place(self.folder(str(name), "go") / Path(inside).name, context / inside)
        for inside, source in (image.get("sources") or {}).items():
            folder = self._module_folder(self.recipes.get(str(source["from"])), str(source["module"]))
            shutil.copytree(folder / str(source["path"]), context / inside, dirs_exist_ok=True)

    def _module_folder(self, recipe: Recipe, module: str) -> Path:
        """Where the source of a module that a recipe requires is, downloaded when it is not there."""
        environment = toolchain.go_environment(self.cache, cgo=False)
        compiler = toolchain.go(self.cache, self.say)
        for patch in recipe.part("go").get("patched") or []:
            if patch["module"] == module:
                return self._published(recipe, patch, compiler, environment)
        with self._temporary(f"{recipe.name}-module") as source:
            self._go_module(recipe, source, compiler, environment)
            found: dict[str, Any] = json.loads(
                output([compiler, "-C", str(source), "mod", "download", "-json", module], timeout=600, env=environment)
            )
        return Path(found["Dir"])

    def _preload(self, name: str, stage: str, reference: str, images: list[str], log: Path) -> None:
        """Put images into the containerd store inside another image, so that a node needs no registry to start."""
        container = docker.docker(
            "run",
            "--detach",
            "--network",
            "none",
            "--security-opt",
            "seccomp=unconfined",
            "--entrypoint",
            "sleep",
            stage,
            "infinity",
        ).strip()
        try:
            docker.docker("exec", "--detach", container, "containerd")
            _wait_for(
                lambda: output_ok("exec", container, "ctr", "version"),
                30,
                f"{name}: containerd did not start in the node image",
            )
            docker.pipe_images(
                images,
                container,
                "--label=io.cri-containerd.pinned=pinned",
                "--all-platforms",
                "--no-unpack",
                log=log,
                say=self.say,
                label=f"{name}: loading {len(images)} images",
            )
            docker.docker("exec", container, "pkill", "containerd")
            _wait_for(
                lambda: not output_ok("exec", container, "pgrep", "containerd"),
                30,
                f"{name}: containerd did not end in the node image",
            )
            docker.docker(
                "commit",
                "--change",
                'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]',
                "--change",
                "CMD []",
                container,
                reference,
                timeout=600,
            )
        finally:
            with contextlib.suppress(BuildError):
                docker.docker("rm", "--force", "--volumes", container)
        with contextlib.suppress(BuildError):
            docker.docker("image", "rm", stage)


_WHAT = {"go": "programs", "rootfs": "root file system", "python": "wheels"}


def output_ok(*arguments: str) -> bool:
    """Whether a docker command succeeds."""
    try:
        docker.docker(*arguments, timeout=20)
    except BuildError:
        return False
    return True


def _wait_for(condition: Callable[[], bool], timeout: float, sentence: str) -> None:
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > timeout:
            raise BuildError(f"{sentence} within {timeout:.0f} s.")
        time.sleep(0.2)


def _compiled(log: Path) -> str:
    """How many packages the compiler has named in its log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    packages = sum(1 for line in lines if line and not line.startswith(("go:", "#", "\t", " ")))
    if packages:
        return f"{packages} packages compiled"
    downloads = sum(1 for line in lines if line.startswith("go: downloading"))
    return f"{downloads} modules fetched" if downloads else ""


def _default_name(package: str) -> str:
    """The name `go build -o folder/` gives to a program: the last part of its path that is not a major version."""
    parts = [part for part in package.split("/") if part not in ("", ".")]
    last = parts[-1]
    return parts[-2] if len(parts) > 1 and last[:1] == "v" and last[1:].isdigit() else last


def _apply_patch(recipe: Recipe, patch: dict[str, Any], copy: Path) -> None:
    """Change a copied module: `files` adds a file or replaces one (or all Go files of a folder) by one of ours,
    `substitute` changes words."""
    for inside, path in (patch.get("files") or {}).items():
        place = copy / inside
        if place.is_dir():
            for old in place.glob("*.go"):
                old.unlink()
            place = place / Path(str(path)).name
        place.unlink(missing_ok=True)
        shutil.copyfile(recipe.folder / str(path), place)
    for inside, words in (patch.get("substitute") or {}).items():
        place = copy / inside
        text = place.read_text(encoding="utf-8")
        for old, new in words.items():
            if old not in text:
                raise BuildError(
                    f"{recipe.name}: {inside} of {patch['module']} does not contain `{old}`, which "
                    f"images/{recipe.name}/recipe.yml substitutes."
                )
            text = text.replace(old, new)
        place.unlink()
        place.write_text(text, encoding="utf-8")


def _link(source: str | Path, target: str | Path) -> None:
    """A hard link, or a copy where the file system has none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _place(source: Path, target: Path) -> None:
    """Put one file into a build context."""
    target.parent.mkdir(parents=True, exist_ok=True)
    _link(source, target)
