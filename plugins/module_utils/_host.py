# SPDX-License-Identifier: GPL-3.0-or-later
"""This machine: packages, Docker, its runtime, free ports, free space."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from ansible_collections.twisterlab.platform.plugins.module_utils import _docker as docker
from ansible_collections.twisterlab.platform.plugins.module_utils._progress import BuildError, Say, run, seconds

SHIM = Path("/usr/local/lib/twisterlab/runc-without-missing-capabilities")
RUNTIME = "twisterlab"
_DAEMON_FILE = Path("/etc/docker/daemon.json")
_OWN_SOCKETS = ("unix:///var/run/docker.sock", "unix:///run/docker.sock")
_START_TIMEOUT = 60.0
_PID_FILES = {
    Path("/var/run/docker.pid"): "dockerd",
    Path("/var/run/docker/containerd/containerd.pid"): "containerd",
}
_GIB = 1024**3


# -- capabilities


def missing_capabilities(status: str, last: int) -> list[int]:
    """The numbers of the capabilities that the bounding set of a /proc/<pid>/status text lacks.

    Args:
        status: the text of /proc/<pid>/status.
        last: the kernel's highest capability (/proc/sys/kernel/cap_last_cap).
    """
    match = re.search(r"^CapBnd:\s*([0-9a-fA-F]+)$", status, re.MULTILINE)
    bits = int(match[1], 16) if match else (1 << (last + 1)) - 1
    return [number for number in range(last + 1) if not bits >> number & 1]


def _daemon_lacks() -> list[int]:
    """The capabilities that the running daemon, or one that this process would start, does not hold."""
    try:
        last = int(Path("/proc/sys/kernel/cap_last_cap").read_text(encoding="ascii"))
        for pid in (_daemon_pid(), "self"):
            status = Path(f"/proc/{pid}/status")
            if pid and status.exists():
                return missing_capabilities(status.read_text(encoding="utf-8"), last)
    except (OSError, ValueError):
        pass
    return []


def _daemon_pid(file: Path = Path("/var/run/docker.pid")) -> str:
    """The number of the daemon's process; empty when it is not known, as the file outlives a killed daemon."""
    try:
        return file.read_text(encoding="ascii").strip() if _command_of(file) == "dockerd" else ""
    except OSError:
        return ""


def daemon_settings(text: str, program: str) -> str | None:
    """daemon.json with our runtime as the default; None when it says so already.

    Raises:
        BuildError: the file is not JSON.
    """
    try:
        settings = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise BuildError(f"{_DAEMON_FILE} is not JSON ({error}); repair it and run again.") from error
    runtimes = settings.setdefault("runtimes", {})
    if settings.get("default-runtime") == RUNTIME and runtimes.get(RUNTIME, {}).get("path") == program:
        return None
    settings["default-runtime"] = RUNTIME
    runtimes[RUNTIME] = {"path": program}
    return json.dumps(settings, indent=2) + "\n"


def _install_shim(source: Path, say: Say) -> bool:
    """Put the runtime in place that drops the capabilities this machine lacks; whether something changed."""
    python = next((path for path in ("/usr/bin/python3", sys.executable) if os.access(path, os.X_OK)), sys.executable)
    lines = source.read_text(encoding="utf-8").split("\n")
    lines[0] = f"#!{python} -SE"
    text = "\n".join(lines)
    changed = False
    if not SHIM.exists() or SHIM.read_text(encoding="utf-8") != text:
        SHIM.parent.mkdir(parents=True, exist_ok=True)
        temporary = SHIM.with_name(f".{SHIM.name}-{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.chmod(0o755)
        temporary.replace(SHIM)
        changed = True
    settings = daemon_settings(_DAEMON_FILE.read_text(encoding="utf-8") if _DAEMON_FILE.exists() else "", str(SHIM))
    if settings is not None:
        say(
            "this machine holds not every capability that Docker asks for: its default runtime becomes one "
            "that drops the missing ones"
        )
        _write_settings(settings)
        changed = True
    return changed


def _write_settings(text: str) -> None:
    """Write daemon.json in one step, so that a full disk does not cost what the user has in it."""
    file = _DAEMON_FILE.resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}-{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        if file.exists():
            shutil.copymode(file, temporary)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


# -- packages


def is_debian_family(os_release: Path = Path("/etc/os-release")) -> bool:
    """Whether apt-get installs this machine's packages."""
    try:
        text = os_release.read_text(encoding="utf-8")
    except OSError:
        return False
    return (
        bool(re.search(r"^ID(_LIKE)?=.*\b(debian|ubuntu)\b", text, re.MULTILINE))
        and shutil.which("apt-get") is not None
    )


def install_packages(packages: list[str], cache: Path, say: Say, why: str) -> None:
    """Install Debian packages, saying so.

    Raises:
        BuildError: this is not a Debian-family machine, or not root, or apt-get fails.
    """
    if not is_debian_family() or os.geteuid() != 0:
        raise BuildError(
            f"{why}: install {' and '.join(packages)} and run again (done automatically only for root on Debian "
            f"and Ubuntu)."
        )
    say(f"{why}: installing {', '.join(packages)} with apt-get")
    log = cache / "logs" / "apt.log"
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update"], log=log, say=say, label="apt-get update", env=environment)
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    run(command, log=log, say=say, label=f"apt-get install {' '.join(packages)}", env=environment)


def ensure_programs(programs: dict[str, list[str]], cache: Path, say: Say, why: str) -> bool:
    """Have these programs (program: packages that bring it), installing what is missing; whether something was
    installed."""
    packages = [package for program, names in programs.items() if shutil.which(program) is None for package in names]
    if not packages:
        return False
    install_packages(packages, cache, say, why)
    return True


# -- Docker


def ensure_docker(cache: Path, shim: Path, say: Say) -> bool:
    """Have a Docker daemon that answers and can start privileged containers; whether something was changed.

    Args:
        cache: where the daemon's log goes when it is started here.
        shim: source of the runtime that drops missing capabilities.
        say: shows one line.

    Raises:
        BuildError: no Docker, and this is not root on a Debian-family machine; or it does not start.
    """
    answered = docker.info()
    changed = False
    if answered is None:
        # A daemon started here would not be the one that is asked.
        if os.environ.get("DOCKER_HOST", _OWN_SOCKETS[0]) not in ("", *_OWN_SOCKETS):
            raise BuildError(
                f"Docker at DOCKER_HOST={os.environ['DOCKER_HOST']} does not answer: start it, or unset "
                f"DOCKER_HOST, and run again."
            )
        if shutil.which("dockerd") is None and not Path("/usr/sbin/dockerd").exists():
            install_packages(["docker.io"], cache, say, "There is no Docker on this machine")
            changed = True
            if docker.program() is None:
                # Debian 13 has the client in a package of its own.
                install_packages(["docker-cli"], cache, say, "There is no client of Docker on this machine")
        elif os.geteuid() != 0:
            raise BuildError(
                "Docker is installed but does not answer this user: start it and add the user to the group "
                "docker, or run as root."
            )
    if os.geteuid() == 0 and not _is_rootless(answered) and _daemon_lacks():
        installed = _install_shim(shim, say)
        if answered is not None and (installed or answered.get("DefaultRuntime") != RUNTIME):
            _reload(say)
        changed = changed or installed
    if answered is None:
        _start(cache, say)
        changed = True
    return changed


def _is_rootless(answered: dict[str, object] | None) -> bool:
    options = (answered or {}).get("SecurityOptions") or []
    return isinstance(options, list) and any("rootless" in str(option) for option in options)


def _reload(say: Say) -> None:
    """Have the running daemon read its settings again; the default runtime is one that it takes over."""
    pid = _daemon_pid()
    if not pid:
        raise BuildError(
            "Docker runs with another default runtime and its process is unknown: restart it and run again."
        )
    say("telling Docker to read its settings again")
    os.kill(int(pid), signal.SIGHUP)
    start = time.monotonic()
    while (docker.info() or {}).get("DefaultRuntime") != RUNTIME:
        if time.monotonic() - start > _START_TIMEOUT:
            raise BuildError("Docker did not take over its new default runtime: restart it and run again.")
        time.sleep(0.3)


def _await_old_daemon(say: Say) -> None:
    """Let a daemon that is ending end, and remove the pid files of killed ones: Docker takes any process of that number for its own."""
    start = time.monotonic()
    for file, program in _PID_FILES.items():
        told = False
        while (owner := _command_of(file)) == program and time.monotonic() - start < _START_TIMEOUT:
            if docker.info() is not None:
                return
            if not told:
                say(f"waiting for a {program} that is ending")
                told = True
            time.sleep(0.5)
        if owner != program:
            file.unlink(missing_ok=True)


def _command_of(pid_file: Path) -> str:
    """The name of the process that a pid file speaks of; empty when there is none."""
    try:
        pid = pid_file.read_text(encoding="ascii").strip()
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() if pid.isdigit() else ""
    except OSError:
        return ""


def _start(cache: Path, say: Say) -> None:
    """Start the daemon: through systemd where it runs, else as a background process of its own session."""
    log = cache / "docker" / "dockerd.log"
    start = time.monotonic()
    daemon: subprocess.Popen[bytes] | None = None
    if Path("/run/systemd/system").is_dir():
        say("starting Docker (systemctl start docker)")
        run(
            ["systemctl", "enable", "--now", "docker"],
            log=cache / "logs" / "docker.log",
            say=say,
            label="starting Docker",
        )
    else:
        _await_old_daemon(say)
        say(f"starting Docker in the background, its log is {log}")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            daemon = subprocess.Popen(
                [shutil.which("dockerd") or "/usr/sbin/dockerd"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                close_fds=True,
            )
    while docker.info() is None:
        if daemon is not None and daemon.poll() is not None:
            raise BuildError(f"Docker ended with exit code {daemon.returncode} when it was started; read {log}.")
        if time.monotonic() - start > _START_TIMEOUT:
            raise BuildError(
                f"Docker did not answer within {_START_TIMEOUT:.0f} s of its start; read "
                f"{log if log.exists() else 'its journal'}."
            )
        time.sleep(0.3)
    say(f"Docker answers after {seconds(start)}")


# -- room


def check_cache(cache: Path) -> None:
    """Have a cache folder that can be written.

    Raises:
        BuildError: it cannot.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        probe = cache / f".probe-{os.getpid()}"
        probe.write_text("", encoding="ascii")
        probe.unlink()
    except OSError as error:
        raise BuildError(
            f"The cache folder {cache} cannot be written ({os.strerror(error.errno or 0)}): set "
            f"twisterlab_cache_dir, or TWISTERLAB_CACHE_DIR, to a folder of this user."
        ) from error


def check_space(folder: Path, needed_gib: float, why: str) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        folder: any existing folder of the file system asked about.
        needed_gib: free GiB that the work needs.
        why: what needs it.

    Raises:
        BuildError: there is less.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free / _GIB
    if free < needed_gib:
        raise BuildError(
            f"{why} needs {needed_gib:g} GiB of free space at {folder} and there are {free:.1f}: free some, or "
            f"set twisterlab_cache_dir to another disk."
        )


def check_ports(address: str, ports: dict[str, int], rootless: bool) -> None:
    """Refuse ports that cannot be published.

    Args:
        address: the address they are to be published on.
        ports: input name: port.
        rootless: whether the Docker daemon runs without root.

    Raises:
        BuildError: a port is taken, or may not be opened by a rootless daemon, or the address is not this machine's.
    """
    lowest = _lowest_unprivileged() if rootless else 0
    for name, port in ports.items():
        if port < lowest:
            raise BuildError(
                f"A rootless Docker cannot publish port {port}: set twisterlab_local_cluster.{name} to {lowest} "
                f"or more."
            )
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise BuildError(
                        f"Port {port} of {address} is in use by {_user_of(port)}: free it, or set "
                        f"twisterlab_local_cluster.{name} to another port."
                    ) from error
                if error.errno == errno.EADDRNOTAVAIL:
                    raise BuildError(
                        f"{address} is not an address of this machine: set "
                        f"twisterlab_local_cluster.listen_address to one, such as 127.0.0.1."
                    ) from error
                if error.errno not in (errno.EACCES, errno.EPERM):  # Docker opens it, not this process
                    raise


def _lowest_unprivileged() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024


def _user_of(port: int) -> str:
    """Who publishes a port, as far as Docker knows."""
    try:
        names = docker.docker("ps", "--filter", f"publish={port}", "--format", "{{.Names}}").split()
    except BuildError:
        names = []
    return f"the container {names[0]}" if names else "another program"
