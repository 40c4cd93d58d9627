# SPDX-License-Identifier: GPL-3.0-or-later
"""The wrappers of the migration document: what they start, with which words, and that its exit code is theirs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.twisterlab.platform.plugins.module_utils import _specs

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "deploy-k8s.sh"
WINDOWS = ROOT / "scripts" / "deploy-k8s.ps1"
# Writes down how it was called, and ends as it is told.
FAKE = f"""#!{sys.executable}
import json, os, sys
with open(os.environ["FAKE_CALLED"], "w") as file:
    json.dump({{"arguments": sys.argv[1:], "config": os.environ["ANSIBLE_CONFIG"], "folder": os.getcwd()}}, file)
sys.exit(int(os.environ.get("FAKE_ENDS", "0")))
"""


class Shell:
    """Runs the wrapper with an `ansible-playbook` that only writes down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        program = folder / "bin" / "ansible-playbook"
        program.write_text(FAKE, encoding="utf-8")
        program.chmod(0o755)

    def run(self, *words: str, ends: int = 0) -> subprocess.CompletedProcess[str]:
        called = self.folder / "called.json"
        called.unlink(missing_ok=True)
        environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": str(self.folder)}
        environment |= {"FAKE_CALLED": str(called), "FAKE_ENDS": str(ends)}
        done = subprocess.run(
            [str(SCRIPT), *words],
            cwd=self.folder,
            env=environment,
            text=True,
            capture_output=True,
            check=False,
            timeout=30,
        )
        self.called = json.loads(called.read_text(encoding="utf-8")) if called.exists() else None
        return done

    def words(self, *words: str) -> tuple[str, list[str], dict[str, Any]]:
        """The playbook's name, the arguments, and the extra vars among them."""
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert self.called
        playbook, *rest = self.called["arguments"]
        assert Path(playbook).parent == ROOT / "playbooks"
        variables = json.loads(rest.pop(rest.index("--extra-vars") + 1)) if "--extra-vars" in rest else {}
        return Path(playbook).stem, [word for word in rest if word != "--extra-vars"], variables


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.mark.parametrize(
    ("words", "playbook", "arguments", "variables"),
    [
        # Every call of the document.
        ([], "deploy", [], {}),
        (["-Action", "deploy"], "deploy", [], {}),
        (["-Action", "status"], "status", [], {}),
        (["-Action", "logs", "-Component", "api"], "logs", [], {"twisterlab_component": "api"}),
        (["-Action", "logs", "-Component", "mcp"], "logs", [], {"twisterlab_component": "mcp"}),
        (["-Action", "destroy"], "destroy", [], {}),
        # The rest.
        (["-Component", "api"], "deploy", ["--tags", "api"], {}),
        (["--component=api", "--action=logs"], "logs", [], {"twisterlab_component": "api"}),
        (
            ["-action", "LOGS", "-lines", "5", "-since", "15m", "-follow"],
            "logs",
            [],
            {"twisterlab_logs_lines": "5", "twisterlab_logs_since": "15m", "twisterlab_logs_follow": "true"},
        ),
        (["-Action", "port-forward", "-Seconds", "60"], "port_forward", [], {"twisterlab_forward_seconds": "60"}),
        (["-Action", "port_forward"], "port_forward", [], {}),
        (
            ["-Action", "status", "-Format", "json", "-Fail"],
            "status",
            [],
            {"twisterlab_status_format": "json", "twisterlab_status_fail": "true"},
        ),
        (["-Action", "history", "--format", "json"], "history", [], {"twisterlab_history_format": "json"}),
        (
            ["-Action", "destroy", "-Purge", "shop"],
            "destroy",
            [],
            {"twisterlab_purge": "true", "twisterlab_destroy_confirm": "shop"},
        ),
        (["-Check", "--", "-e", "a=b c", "-vv"], "deploy", ["--check", "--diff", "-e", "a=b c", "-vv"], {}),
        (
            ["-Inventory", "my inventory", "-Namespace", "shop", "-Kubeconfig", "/a b/c", "-Context", "x"],
            "deploy",
            ["--inventory", "my inventory"],
            {"twisterlab_namespace": "shop", "twisterlab_kubeconfig": "/a b/c", "twisterlab_context": "x"},
        ),
    ],
)
def test_words_become_a_playbook_and_its_inputs(
    shell: Shell, words: list[str], playbook: str, arguments: list[str], variables: dict[str, str]
) -> None:
    assert shell.words(*words) == (playbook, arguments, variables)
    assert shell.called
    assert shell.called["config"] == str(ROOT / "ansible.cfg")
    # A path that was given means what it means where the person stands.
    assert shell.called["folder"] == str(shell.folder)


@pytest.mark.parametrize("value", ['a "b" c', "a'b", "$(touch x)", "`touch x`", "a\\b", "é; rm -rf *", "-e x=1", "a=b"])
def test_a_value_is_one_value_whatever_is_in_it(shell: Shell, value: str) -> None:
    assert shell.words("-Context", value)[2] == {"twisterlab_context": value}
    assert not (shell.folder / "x").exists()


@pytest.mark.parametrize("code", [0, 2, 4, 99])
def test_the_exit_code_is_the_playbooks(shell: Shell, code: int) -> None:
    assert shell.run("-Action", "status", ends=code).returncode == code


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-Action", "explode"], "there is no action explode; the actions are "),
        (["-Action", "inventory"], "there is no action inventory"),
        (["-Action", "../deploy"], "there is no action ../deploy"),
        (["-Action", "deploy status"], "there is no action deploy status"),
        (["-Action"], "-Action needs a value"),
        (["-Component", ""], "-Component needs a value"),
        (
            ["-Action", "status", "-Component", "api"],
            "-Component means nothing for status; it is for deploy render logs",
        ),
        (["-Follow"], "-Follow means nothing for deploy; it is for logs."),
        (["-Follow=yes"], "-Follow=yes is no option"),
        (["--follow=yes"], "--follow takes no value"),
        (["deploy"], "deploy is no option; --help lists them."),
        (["-e", "x=1"], "-e is no option"),
        (["-Context", "{{ lookup('pipe', 'id') }}"], "would be evaluated as a template"),
        (["-Context", "a\nb"], "holds a control character"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_starts(shell: Shell, words: list[str], sentence: str) -> None:
    done = shell.run(*words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert shell.called is None


@pytest.mark.parametrize("word", ["--help", "-Help", "-h", "-?"])
def test_help_names_every_action_and_option(shell: Shell, word: str) -> None:
    done = shell.run("-Action", "logs", word)
    assert (done.returncode, shell.called) == (0, None)
    source = SCRIPT.read_text(encoding="utf-8")
    options = set(re.findall(r"^        (-[a-z-]+)\)", source, re.MULTILINE)) | {"-action"}
    assert len(options) > 12
    for option in options:
        assert f"\n  {option[0]}{option[1].upper()}{option[2:]}" in done.stdout, option
    playbooks = {path.stem.replace("_", "-") for path in (ROOT / "playbooks").glob("*.yml")} - {"inventory"}
    assert set(done.stdout.split("(docs/operations.md):\n")[1].splitlines()[0].split()) == playbooks


def test_what_it_sets_are_inputs() -> None:
    inputs = _specs.load_inputs(ROOT)
    names = set(re.findall(r"\btwisterlab_[a-z_]+\b", SCRIPT.read_text(encoding="utf-8"))) - {"twisterlab_"}
    assert len(names) > 8
    # The update is another playbook's; its input comes with it.
    assert names - set(inputs) <= {"twisterlab_image"}


def test_it_runs_from_another_folder_and_through_a_link(shell: Shell) -> None:
    link = shell.folder / "deploy"
    link.symlink_to(SCRIPT)
    for place in (SCRIPT, link):
        done = subprocess.run(["bash", str(place), "--help"], cwd="/", text=True, capture_output=True, check=True)
        assert " deploy " in done.stdout


def test_it_runs_where_cd_writes_where_it_went(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "scripts/deploy-k8s.sh", "--help"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CDPATH": f"{tmp_path}:{ROOT}"},
        text=True,
        capture_output=True,
        check=True,
    )
    assert " deploy " in done.stdout


@pytest.mark.parametrize("given", [{}, {"TWISTERLAB_CACHE_DIR": "/dev/null/cache"}])
@pytest.mark.parametrize(
    ("words", "ends", "said"),
    [
        (["scripts/venv.sh", "requirements.txt", "98", "98"], 3, "No working Python 3.98"),
        (["make", "-s", "-n", "deploy"], 0, ""),
    ],
)
def test_a_service_without_a_home_is_told_what_is_wrong(
    given: dict[str, str], words: list[str], ends: int, said: str
) -> None:
    environment = {"PATH": os.environ["PATH"], **given}
    done = subprocess.run(words, cwd=ROOT, env=environment, text=True, capture_output=True, check=False)
    assert (done.returncode, said in done.stderr) == (ends, True)
    assert "unbound variable" not in done.stderr
    # The user's folder, as the playbooks take it; not one at the root of the file system.
    assert '"/.cache' not in done.stdout


@pytest.mark.parametrize(("status", "ends", "said"), [(3, 0, "skipped: no Python 3.11"), (4, 4, "stage oldest failed")])
def test_a_stage_is_skipped_for_a_missing_python_alone(tmp_path: Path, status: int, ends: int, said: str) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy2(ROOT / "scripts" / "test.sh", tmp_path / "scripts")
    fake = tmp_path / "scripts" / "venv.sh"
    fake.write_text(f"#!/bin/sh\nexit {status}\n", encoding="utf-8")
    fake.chmod(0o755)
    done = subprocess.run(
        [str(tmp_path / "scripts" / "test.sh"), "oldest"], text=True, capture_output=True, check=False
    )
    assert (done.returncode, said in done.stdout) == (ends, True), done.stdout


def test_an_environment_that_cannot_be_filled_is_no_missing_python(tmp_path: Path) -> None:
    for name in ("requirements.txt", "bad.txt"):
        (tmp_path / name).write_text("/no/such/package.whl\n", encoding="utf-8")
    for cache, ends in ((tmp_path / "a cache", 4), (Path("/dev/null/cache"), 4)):
        done = subprocess.run(
            [str(ROOT / "scripts" / "venv.sh"), str(tmp_path / "bad.txt"), "11"],
            env={**os.environ, "TWISTERLAB_CACHE_DIR": str(cache)},
            text=True,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (ends, ""), done.stderr
    assert not list((tmp_path / "a cache").glob("venv/*/.complete"))


# -- Windows: no PowerShell is here, so what follows reads it and does not run it ------------------------------------


def _windows_options() -> dict[str, str]:
    head = re.search(r"^param\((.*?)^\)", WINDOWS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert head
    return {name: kind for kind, name in re.findall(r"\[(string|switch|string\[\])\]\$(\w+)", head[1])}


def test_the_windows_wrapper_is_powershell_by_its_grammar() -> None:
    tree_sitter = pytest.importorskip(
        "tree_sitter", reason="no grammar of PowerShell is installed, so it was not parsed"
    )
    grammar = pytest.importorskip("tree_sitter_powershell", reason="no grammar of PowerShell is installed")
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    source = WINDOWS.read_bytes()
    assert not parser.parse(source).root_node.has_error
    # The parser tells what is broken from what is whole.
    assert parser.parse(source.replace(b"}\nelse {", b"else {", 1)).root_node.has_error
    assert b"\r" not in source and source.isascii()


def test_both_wrappers_have_the_same_options() -> None:
    shown = subprocess.run([str(SCRIPT), "--help"], text=True, capture_output=True, check=True).stdout
    options = dict(re.findall(r"^  -([A-Z]\w+)( [A-Z]\w*|\ [a-z|]+)?", shown, re.MULTILINE))
    windows = {name: kind for name, kind in _windows_options().items() if name != "Rest"}
    assert set(windows) == set(options)
    for name, kind in windows.items():
        assert (kind == "switch") == (name in ("Follow", "Fail", "Check", "Help")), name


def test_the_windows_wrapper_hands_every_option_on() -> None:
    body = WINDOWS.read_text(encoding="utf-8").partition("\n)\n")[2]
    for name in _windows_options():
        assert re.search(rf"\${name}\b|'{name}'", body), name
    assert body.rstrip().endswith("exit $LASTEXITCODE")
