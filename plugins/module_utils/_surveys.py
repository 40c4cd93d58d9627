# SPDX-License-Identifier: GPL-3.0-or-later
"""Surveys of job templates, made from the argument specs of the inputs that they ask for. Pure but for reading this collection's files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ._specs import Option, role_options

_ROLE = re.compile(r"twisterlab\.platform\.(\w+)")
#: What the controller calls a type; a list with choices is its multiselect, a value with choices its multiplechoice.
TYPES = {"str": "text", "path": "text", "list": "text", "int": "integer", "float": "float"}
#: Longest answer to a question of text.
LONGEST = 4096


def load(root: Path, name: str) -> dict[str, Any]:
    """Return one file of the folder awx."""
    return dict(yaml.safe_load((root / "awx" / f"{name}.yml").read_text(encoding="utf-8")))


def playbooks(root: Path) -> list[str]:
    """Return the names of the playbooks that are there."""
    return sorted(path.stem for path in (root / "playbooks").glob("*.yml"))


def reached(root: Path, playbook: str) -> tuple[str, set[str]]:
    """Return the text of a playbook, of the task files that it imports and of every role that it reaches, but for their declarations; and those roles."""
    start = root / "playbooks" / f"{playbook}.yml"
    texts, roles, seen, todo = [], set(), set(), [start]
    while todo:
        path = todo.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        text = path.read_text(encoding="utf-8")
        texts.append(text)
        todo += [root / "playbooks" / name for name in re.findall(r"tasks/\w+\.yml", text) if path.parts[-3] != "roles"]
        todo += [root / "playbooks" / name for name in re.findall(r"playbooks/(tasks/\w+\.yml)", text)]
        for role in _ROLE.findall(text):
            # The shared role is reached by all and declares what each of them reads.
            if role != "twisterlab":
                roles.add(role)
                todo += (root / "roles" / role).glob("[!md]*/*.yml")
                todo += (root / "roles" / role).glob("templates/*")
    return "\n".join(texts), roles


def inputs_of(root: Path, playbook: str) -> dict[str, Option]:
    """Return the inputs that a playbook reads, or that a role of it declares, by name."""
    text, roles = reached(root, playbook)
    words = set(re.findall(r"\w+", text))
    return {option.name: option for option in role_options(root) if option.name in words or option.role in roles}


def asked(playbook: str, survey: Mapping[str, Any], inputs: Mapping[str, Option]) -> Iterator[Option]:
    """Yield the inputs that a survey asks for.

    Raises:
        ValueError: the survey names what is no input of the playbook, or what no survey can ask.
    """
    names = list(survey.get("inputs", []))
    left_out = survey.get("not_asked", {})
    for name in (*names, *left_out):
        if name not in inputs:
            raise ValueError(
                f"awx/job_templates.yml: {name} is no input of playbooks/{playbook}.yml; correct or remove it."
            )
    prefix = survey.get("prefix")
    if prefix:
        names += [
            name
            for name, option in inputs.items()
            if name.startswith(prefix) and name not in left_out and name not in names and option.type != "dict"
        ]
    for name in names:
        if inputs[name].type == "dict":
            raise ValueError(f"awx/job_templates.yml: {name} is a dict, which no survey can ask; leave it out.")
        yield inputs[name]


def question(option: Option, *, required: bool) -> dict[str, Any]:
    """Return the question for an input, in the form of a survey_spec."""
    default = "" if option.default is None else option.default
    kind, choices = TYPES.get(option.type, "text"), [str(choice) for choice in option.choices]
    if option.no_log:
        kind = "password"
    elif option.type == "bool":
        kind, choices, default = "multiplechoice", ["true", "false"], str(default).lower()
    elif choices:
        kind = "multiselect" if option.type == "list" else "multiplechoice"
    if option.type == "list":
        default = ("\n" if choices else ",").join(str(item) for item in default)
    asks: dict[str, Any] = {
        "question_name": option.name,
        "question_description": plain(" ".join(option.description)),
        "variable": option.name,
        "type": kind,
        "required": required,
        "default": default,
        "choices": choices,
    }
    if kind in ("text", "password"):
        asks |= {"min": 0, "max": LONGEST}
    return asks


def plain(text: str) -> str:
    """Return a description without Ansible's markup."""
    return re.sub(r"\b[CVOIB]\(([^()]*(?:\([^()]*\))?[^()]*)\)", r"\1", text)


def surveys(root: Path) -> dict[str, dict[str, Any]]:
    """Return, by playbook, what is asked (a survey_spec) and which of the playbook's inputs stand in the inventory.

    Raises:
        ValueError: a sentence about what is wrong in awx/job_templates.yml.
    """
    there, made = playbooks(root), {}
    for playbook, template in load(root, "job_templates")["templates"].items():
        # One whose playbook does not exist yet.
        if playbook not in there:
            continue
        survey, inputs = template.get("survey", {}), inputs_of(root, playbook)
        questions = [
            question(option, required=option.name in survey.get("required", []))
            for option in asked(playbook, survey, inputs)
        ]
        names = {item["variable"] for item in questions}
        made[playbook] = {
            "spec": {"name": "", "description": "", "spec": questions},
            "in_the_inventory": sorted(set(inputs) - names),
        }
    return made
