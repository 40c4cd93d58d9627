# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the folder that holds promtool, amtool and prometheus of the versions that run in the cluster; gets them once.

They come from the packages of the images' own Debian suite, unpacked into the cache: nothing is installed and no root is
needed. Exit code 77: they cannot be had here, and why.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.twisterlab.platform.plugins.module_utils import _toolchain
from ansible_collections.twisterlab.platform.plugins.plugin_utils.reporting import cache_folder

PROGRAMS = ("promtool", "prometheus", "amtool", "prometheus-alertmanager")
PACKAGES = ("promtool", "prometheus", "prometheus-alertmanager")


class Missing(Exception):
    """The programs cannot be had; the text says why."""


def run(*command: str, cwd: Path) -> None:
    """Run a program whose output matters only when it fails."""
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Missing(f"{command[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-400:]}")


def fetch(folder: Path, suite: str) -> None:
    """Unpack the packages into a folder."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise Missing("apt-get is not here; install promtool 2.53 and amtool 0.28")
    lines = _toolchain.debian_sources(suite)
    if not lines:
        raise Missing("this host is not Debian, so its mirrors are unknown; install promtool 2.53 and amtool 0.28")
    for part in ("lists/partial", "cache/archives/partial", "packages", "root"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    signed = f"deb [signed-by={keyring}] " if keyring.is_file() else "deb "
    (folder / "sources.list").write_text("".join(f"{signed}{line[4:]}\n" for line in lines[:1]), encoding="utf-8")
    options = [
        f"Dir::State::lists={folder}/lists",
        f"Dir::Cache={folder}/cache",
        f"Dir::Etc::sourcelist={folder}/sources.list",
        "Dir::Etc::sourceparts=/dev/null",
        "Acquire::Languages=none",
        "APT::Sandbox::User=root",
    ]
    apt = ["apt-get", "-qq", *(word for option in options for word in ("-o", option))]
    run(*apt, "update", cwd=folder)
    run(*apt, "download", *PACKAGES, cwd=folder / "packages")
    for package in sorted((folder / "packages").glob("*.deb")):
        run("dpkg-deb", "-x", str(package), str(folder / "root"), cwd=folder)


def find(cache: Path) -> Path:
    """Return the folder with the programs."""
    suites = {
        yaml.safe_load((ROOT / "images" / name / "recipe.yml").read_text(encoding="utf-8"))["rootfs"]["suite"]
        for name in ("prometheus", "alertmanager")
    }
    (suite,) = suites
    folder = cache / "tools" / f"prometheus-{suite}"
    if not folder.is_dir():
        unfinished = folder.with_name(f".{folder.name}-{os.getpid()}")
        try:
            fetch(unfinished, suite)
            bin_folder = unfinished / "root" / "usr" / "bin"
            missing = [name for name in PROGRAMS if not (bin_folder / name).is_file()]
            if missing:
                raise Missing(f"the packages of {suite} lack {', '.join(missing)}")
            run(str(bin_folder / "promtool"), "--version", cwd=unfinished)
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder / "root" / "usr" / "bin"


if __name__ == "__main__":
    try:
        print(find(cache_folder(None)))
    except (Missing, OSError) as error:
        print(f"skipped: the tests of the rules need promtool and amtool: {error}.", file=sys.stderr)
        sys.exit(77)
