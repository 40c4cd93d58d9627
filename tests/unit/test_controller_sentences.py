# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller without its collection, what its modules' errors mean, and jobs without a home, a terminal or a folder to write to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _controller
from ansible_collections.twisterlab.platform.plugins.plugin_utils import reporting

ROOT = Path(__file__).resolve().parents[2]


def _play(playbook: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A playbook with nothing of this user's: no home, no terminal."""
    around = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.run(
        ["ansible-playbook", f"playbooks/{playbook}.yml", *words],
        cwd=ROOT,
        env=around | environment,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=120,
        start_new_session=True,
    )


def _own(tmp_path: Path, play: dict[str, object], *words: str, good: bool = False) -> subprocess.CompletedProcess[str]:
    """A play of the test's own; with `good`, one that must end well."""
    (tmp_path / "play.yml").write_text(json.dumps([play]), encoding="utf-8")
    return subprocess.run(
        ["ansible-playbook", "-i", "localhost,", str(tmp_path / "play.yml"), *words],
        env=os.environ | {"ANSIBLE_NOCOLOR": "1"},
        text=True,
        capture_output=True,
        check=good,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("done", "begun"),
    [
        (None, False),
        ({"failed": True, "changed": False}, False),
        ({"failed": True, "changed": True}, True),
        ({"failed": False, "changed": False, "release": 7}, True),
    ],
)
def test_an_update_goes_back_only_from_what_it_changed(
    tmp_path: Path, done: dict[str, object] | None, begun: bool
) -> None:
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(ROOT / "roles" / "update" / "vars" / "main.yml")],
        "vars": {"twisterlab_component": "api"} | ({} if done is None else {"__release_done": done}),
        "tasks": [{"ansible.builtin.debug": {"msg": "begun={{ __update_begun }}"}}],
    }
    said = _own(tmp_path, play, good=True).stdout
    assert f"begun={begun}" in said
    tasks = json.dumps(yaml.safe_load((ROOT / "roles" / "update" / "tasks" / "main.yml").read_text(encoding="utf-8")))
    assert tasks.count('"when": "__update_begun"') == 2


@pytest.mark.parametrize(
    ("inputs", "environment", "sentence"),
    [
        ({}, {}, "awx_host is empty: set it, or CONTROLLER_HOST"),
        ({"awx_host": "https://awx.example"}, {}, "There is no token of the controller: make one"),
        (
            {"awx_host": "https://awx.example", "awx_project_url": "https://git.example/x.git"},
            {"CONTROLLER_OAUTH_TOKEN": "x"},
            # The `ansible` of this project carries neither; that of the oldest supported one does.
            "Neither awx.awx nor ansible.controller is installed: run ansible-galaxy collection install awx.awx:24.6.1",
        ),
    ],
)
def test_what_is_missing_is_one_sentence(inputs: dict[str, str], environment: dict[str, str], sentence: str) -> None:
    done = _play("awx", "-i", "localhost,", "-e", json.dumps(inputs), **environment)
    if "Neither" in sentence and _has_awx():
        pytest.skip("this Ansible carries awx.awx; tests/controller uses it")
    assert done.returncode == 2
    assert sentence in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stdout + done.stderr


def _has_awx() -> bool:
    return any(Path(path, "ansible_collections", "awx", "awx").is_dir() for path in sys.path)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            "There was an unknown error when trying to connect to http://h/api/v2/: URLError <urlopen error [Errno 111] Connection refused> http://h/x",
            "The controller http://h does not answer (Connection refused): correct awx_host, or start it.",
        ),
        (
            "Unable to resolve controller_host (h): [Errno -2] Name or service not known",
            "The controller http://h does not answer (Name or service not known): correct awx_host, or start it.",
        ),
        ("Invalid authentication credentials for /api/v2/x/ (HTTP 401).", "does not know this token: make another one"),
        ("You don't have permission to POST to /api/v2/x/ (HTTP 403).", "take the token of an administrator"),
        ("The requested object could not be found at /api/v2/x/.", "http://h has no API at /api/v2/: set awx_api_path"),
        (
            "Could not establish a secure connection to your host (h): self-signed certificate.",
            "The certificate of http://h is not trusted",
        ),
        ("The host sent back a server error (/api): HTTP Error 502.", "answers with an error of its own"),
        ("Unable to create job_template x: {'playbook': ['Playbook not found for project.']}", ""),
    ],
)
def test_what_a_module_says_becomes_one_sentence(message: str, sentence: str) -> None:
    told = _controller.meaning(message, "http://h", "/api/v2/")
    assert (sentence in told) if sentence else not told
    assert told.count("\n") == 0


def test_a_playbook_needs_no_home_no_terminal_and_no_folder_of_its_own(tmp_path: Path) -> None:
    """As far as it comes without a cluster: it reaches for the address that K8S_AUTH_* gives, and for nothing else."""
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(
        "clusters: {hosts: {there: {ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}}}\n",
        encoding="utf-8",
    )
    environment = {
        "ANSIBLE_HOME": str(tmp_path / "ansible"),
        "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
        "K8S_AUTH_HOST": "https://127.0.0.1:1",
        "K8S_AUTH_API_KEY": "nothing",
    }
    assert "HOME" not in environment
    before = _written()
    done = _play("status", "-i", str(inventory), **environment)
    text = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2
    assert "127.0.0.1" in text
    assert "Traceback" not in text
    assert _written() == before


def test_a_user_without_a_home_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_arguments: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    def nameless() -> str:
        raise OSError("No username set in the environment")

    for name in ("TWISTERLAB_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(reporting.Path, "home", nobody)
    monkeypatch.setattr(reporting.getpass, "getuser", nameless)
    assert reporting.cache_folder(None) == Path(tempfile.gettempdir()) / ".cache" / "twisterlab"
    assert reporting._user() == str(os.getuid())


def _written() -> set[str]:
    return {
        str(Path(folder, name))
        for folder, _folders, names in os.walk(ROOT)
        if ".git" not in folder and "build" not in folder
        for name in names
    }


@pytest.mark.parametrize(
    ("what", "words", "fails", "next_step"),
    [
        ("changed", [], True, "deploy, or take it back with -e drift_repair=true."),
        ("changed", ["-e", "drift_repair=true"], True, "the inventory and deploy."),
        ("changed", ["-e", "drift_repair=true", "--check"], False, ""),
        # What belongs to no release stays, whoever looks.
        ("surplus", ["-e", "drift_repair=true", "--check"], True, "the inventory and deploy."),
    ],
)
def test_a_check_run_of_a_repair_fails_where_the_real_one_does(
    tmp_path: Path, what: str, words: list[str], fails: bool, next_step: str
) -> None:
    tasks = yaml.safe_load((ROOT / "roles" / "drift" / "tasks" / "main.yml").read_text(encoding="utf-8"))
    found = {"differences": [{"object": "Service/api", "what": what}], "lines": ["Service/api"], "msg": "1 difference"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"__drift": found, "drift_repair": False},
        "tasks": [tasks[-1]],
    }
    said = _own(tmp_path, play, *words)
    assert (said.returncode == 2) is fails, said.stdout + said.stderr
    assert next_step in said.stdout + said.stderr


@pytest.mark.parametrize("check", [False, True])
def test_a_check_run_of_mcp_config_does_not_claim_a_file(tmp_path: Path, check: bool) -> None:
    file = {"client": "cursor", "path": "/home/ann/.cursor/mcp.json", "action": "created", "backup": "", "skipped": []}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "__mcp_config_done": {"msg": "1 file: 1 created", "files": [file]},
            "__mcp_config_given": {},
            "mcp_config_state": "present",
            "mcp_config_transport": "stdio",
            "template": str(ROOT / "roles" / "mcp_config" / "templates" / "summary.txt.j2"),
        },
        "tasks": [{"ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.template', template) }}"}}],
    }
    said = _own(tmp_path, play, *(["--check"] if check else []), good=True).stdout
    assert "1 file: 1 created" in said
    assert ("nothing was written; the real run would do this:" in said) is check
    # What was not written cannot be verified.
    assert ("playbooks/verify.yml --tags mcp" in said) is not check


def test_a_check_run_of_render_writes_nothing_and_does_not_claim_it(tmp_path: Path) -> None:
    dest = tmp_path / "manifests"
    words = ("-i", "inventories/local", "--check", "--tags", "base", "-e", f"twisterlab_render_dest={dest}")
    said = _play("render", *words, HOME=str(tmp_path))
    assert said.returncode == 0, said.stdout + said.stderr
    assert f"The manifests of local would be in {dest}/local." in said.stdout
    assert not dest.exists()
