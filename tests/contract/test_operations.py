# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/operations.md names every playbook with one line that works, and the whole checklist with the checks that prove it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _checklist, _specs

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
#: What users run; the others are imported.
PLAYBOOKS = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml") if path.stem != "inventory")
EXAMPLES = dict(re.findall(r"^\| (\w+) \| .* \| `(ansible-playbook [^`]+)` \|$", PAGE, re.MULTILINE))
COMMANDS = re.findall(r"`(ansible-playbook [^`]+)`", PAGE) + re.findall(r"^(ansible-playbook .*)$", PAGE, re.MULTILINE)
INPUTS = {option.name for option in _specs.role_options(ROOT)}


def test_every_playbook_has_its_line() -> None:
    assert sorted(EXAMPLES) == PLAYBOOKS


def _variables(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for option, value in zip(words, words[1:], strict=False):
        if option in ("-e", "--extra-vars"):
            found |= json.loads(value) if value.startswith("{") else dict([value.split("=", 1)])
    return found


def _tags(playbook: str) -> set[str]:
    text = (ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8")
    tasks = yaml.safe_load(text)[-1].get("tasks") or []
    if "tasks/tiers.yml" in text:
        tasks += yaml.safe_load((ROOT / "playbooks" / "tasks" / "tiers.yml").read_text(encoding="utf-8"))
    return {tag for task in tasks for tag in task.get("tags", [])}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_names_a_playbook_inputs_and_tags_that_exist(command: str) -> None:
    program, playbook, *words = shlex.split(command)
    assert program == "ansible-playbook"
    assert (ROOT / playbook).is_file(), playbook
    for name in _variables(words):
        assert name in INPUTS, f"{command}: {name}"
    for option, value in zip(words, words[1:], strict=False):
        if option == "--tags":
            assert set(value.split(",")) <= _tags(Path(playbook).stem), command


def test_the_line_of_a_playbook_starts_it() -> None:
    for name, command in EXAMPLES.items():
        assert command.split()[1] == f"playbooks/{name}.yml"


def test_every_input_that_the_page_names_exists() -> None:
    # An update's input comes with its playbook.
    known = INPUTS | {"twisterlab_image"}
    for name in re.findall(r"\btwisterlab_\w+", PAGE):
        assert name in known, name


def test_the_wrappers_options_are_all_there() -> None:
    shown = re.findall(
        r"^        (-[a-z]+)\)", (ROOT / "scripts" / "deploy-k8s.sh").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(shown) > 10
    told = {
        word.lower() for word in re.findall(r"`(-[A-Z][a-z]+)", PAGE.partition("| option |")[2].partition("```")[0])
    }
    assert told == set(shown)


def test_the_checklist_has_every_row_with_its_checks() -> None:
    rows = re.findall(r"^\| ([^|`]+) \| (`[^|]+) \|$", PAGE.partition("| row | checks |")[2], re.MULTILINE)
    assert [title for title, _checks in rows] == [row.title for row in _checklist.ROWS]
    for (_title, told), row in zip(rows, _checklist.ROWS, strict=True):
        wanted = "; ".join(
            f"{word}`{tag}`: {', '.join(names)}"
            for word, proofs in (("", row.proofs), ("beside ", row.beside))
            for tag, names in proofs
        )
        assert told.replace("\\*", "*") == wanted
