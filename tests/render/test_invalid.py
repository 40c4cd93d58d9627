# SPDX-License-Identifier: GPL-3.0-or-later
"""Every invalid fixture is refused, with exactly the sentences that mend it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from rendering import HERE, ansible_playbook

FIXTURES = sorted(path.stem for path in (HERE / "invalid").glob("*.yml"))


def _fixture(name: str) -> dict:
    return yaml.safe_load((HERE / "invalid" / f"{name}.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def answers(once: Callable[[str, Callable[[Path], None]], Path]) -> dict[str, str]:
    """What check_inputs says to each fixture: one host each, one run for all."""

    def fill(folder: Path) -> None:
        hosts = {name: {"twisterlab_context": name} | _fixture(name)["vars"] for name in FIXTURES}
        hosts["right"] = {"twisterlab_context": "right", "my_own_variable": "{{ nobody_defined_this }}"}
        common = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory = folder / "hosts.json"
        inventory.write_text(json.dumps({"clusters": {"hosts": hosts, "vars": common}}), encoding="utf-8")
        done = ansible_playbook("-i", str(inventory), str(HERE / "check.yml"), "-e", f"answers={folder}")
        assert done.returncode == 0, done.stdout + done.stderr

    return json.loads((once("answers", fill) / "answers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FIXTURES)
def test_refused_with_the_sentence_that_mends_it(name: str, answers: dict[str, str]) -> None:
    answer = answers[name]
    sentences = [line.removeprefix("- ") for line in answer.splitlines() if not line.endswith("things are wrong:")]
    expected = [says.strip() for says in _fixture(name)["says"]]
    assert len(sentences) == len(expected), answer
    for says in expected:
        assert any(says in sentence for sentence in sentences), answer
    assert all(sentence.endswith(".") for sentence in sentences), answer


def test_right_inputs_are_not_refused_and_other_variables_never_evaluated(answers: dict[str, str]) -> None:
    assert answers["right"].endswith("inputs checked")


def test_no_secret_in_an_answer(answers: dict[str, str]) -> None:
    assert not [name for name, answer in answers.items() if "hunter2" in answer]


def test_extra_vars_are_texts(tmp_path: Path) -> None:
    """Numbers and booleans as `-e k=v` gives them work; a typing error there is refused before anything is written."""
    common = ["-i", str(HERE / "valid" / "hosts.yml"), "--limit", "defaults", "playbooks/render.yml", "-e"]
    texts = "twisterlab_redis_enabled=true twisterlab_api_enabled=no twisterlab_health_timeout=30"
    # From where the user is, not from where the playbook is.
    relative = os.path.relpath(tmp_path, os.environ["PWD"])
    right = ansible_playbook(*common, f"twisterlab_render_dest={relative} {texts}")
    assert right.returncode == 0, right.stdout + right.stderr
    assert (tmp_path / "defaults" / "redis").is_dir()
    assert not (tmp_path / "defaults" / "api").exists()
    wrong = ansible_playbook(*common, f"twisterlab_render_dest={tmp_path}/never twisterlab_redis_typo=1")
    assert wrong.returncode != 0
    assert "write a key of the dict twisterlab_redis" in " ".join(wrong.stdout.split())
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    "playbook", ["deploy.yml", "destroy.yml", "playbooks/local_cluster.yml", "playbooks/render.yml"]
)
def test_an_inventory_without_clusters_is_refused(playbook: str) -> None:
    done = ansible_playbook("-i", "localhost,", playbook)
    assert done.returncode != 0
    assert 'no host in the group "clusters"' in " ".join(done.stdout.split())
