# SPDX-License-Identifier: GPL-3.0-or-later
"""What a controller is given fits the playbooks: every survey, template, credential and name in the folder awx, and the image of its jobs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.release import __version__ as ansible_version
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_MAP
from ansible_collections.twisterlab.platform.plugins.module_utils import _controller, _inputs, _specs, _surveys

ROOT = Path(__file__).resolve().parents[2]
FILES = [path.stem for path in (ROOT / "awx").glob("*.yml")]
DATA: dict[str, Any] = {}
for _name in FILES:
    DATA |= _surveys.load(ROOT, _name)
PLAYBOOKS = _surveys.playbooks(ROOT)
SURVEYS = {name: made["spec"]["spec"] for name, made in DATA["surveys"].items()}
INPUTS = {option.name: option for option in _specs.role_options(ROOT)}
SETTINGS = _controller.Settings(organization="TwisterLab", project_url="https://git.example/x.git", image="i:1")


def test_every_playbook_has_a_template_or_a_reason() -> None:
    assert set(DATA["templates"]) | set(DATA["without"]) >= set(PLAYBOOKS)
    assert not set(DATA["templates"]) & set(DATA["without"])
    assert set(DATA["without"]) <= set(PLAYBOOKS)
    assert all(DATA["without"].values())


def _stale(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/awx.py", "--check"], cwd=root, text=True, capture_output=True, check=False
    )


def test_the_surveys_are_up_to_date() -> None:
    done = _stale(ROOT)
    assert done.returncode == 0, done.stderr


def test_an_input_that_is_added_makes_them_stale(tmp_path: Path) -> None:
    for folder in ("awx", "playbooks", "plugins", "roles", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True)
    shutil.copytree(ROOT / "collections", tmp_path / "collections", symlinks=True)
    specs = tmp_path / "roles" / "drift" / "meta" / "argument_specs.yml"
    text = specs.read_text(encoding="utf-8")
    specs.write_text(text + "      drift_more:\n        type: int\n        default: 3\n        description: More.\n")
    tasks = tmp_path / "roles" / "drift" / "tasks" / "main.yml"
    tasks.write_text(tasks.read_text(encoding="utf-8") + "# drift_more\n", encoding="utf-8")
    done = _stale(tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "awx/surveys.yml is not what the argument specs say; run: make awx\n",
    )
    subprocess.run([sys.executable, "scripts/awx.py"], cwd=tmp_path, check=True)
    assert _stale(tmp_path).returncode == 0
    asked = _surveys.load(tmp_path, "surveys")["surveys"]["drift"]["spec"]["spec"]
    assert [(item["variable"], item["type"], item["default"]) for item in asked][-1] == ("drift_more", "integer", 3)


def _answer(option: _specs.Option) -> tuple[str, list[str], Any]:
    """What a survey must have for an input: type, choices, default."""
    if option.type == "bool":
        return "multiplechoice", ["true", "false"], "true" if option.default else "false"
    if option.choices and option.type == "list":
        return "multiselect", [str(item) for item in option.choices], "\n".join(option.default or [])
    if option.choices:
        return "multiplechoice", [str(item) for item in option.choices], option.default
    default = "" if option.default is None else option.default
    if option.type == "list":
        return "text", [], ",".join(default)
    return {"int": "integer", "float": "float"}.get(option.type, "text"), [], default


@pytest.mark.parametrize(
    ("playbook", "question"), [(name, question) for name, spec in SURVEYS.items() for question in spec]
)
def test_a_question_is_an_input_of_the_playbook_that_it_starts(playbook: str, question: dict[str, Any]) -> None:
    option = INPUTS[question["variable"]]
    kind, choices, default = _answer(option)
    assert (question["type"], question["choices"], question["default"]) == (kind, choices, default)
    assert type(question["default"]) is type(default)
    # The playbook reads it, or a role of it declares it.
    text, roles = _surveys.reached(ROOT, playbook)
    assert option.role in roles or re.search(rf"\b{option.name}\b", text)
    assert not re.search(r"\b[CVOIB]\(", question["question_description"])


def test_no_answer_wins_over_what_an_inventory_says_of_a_stack() -> None:
    said: set[str] = set()
    for path in (ROOT / "inventories").rglob("*.yml"):
        said |= set(re.findall(r"^\s*#?\s*([a-z_]+):", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert not said & {question["variable"] for spec in SURVEYS.values() for question in spec}


def test_no_secret_is_asked() -> None:
    assert not [question for spec in SURVEYS.values() for question in spec if question["type"] == "password"]


def test_every_injected_variable_is_used() -> None:
    """By kubernetes.core's client options, which every module of ours has, and nothing else is injected."""
    read = {f"K8S_AUTH_{name.upper()}" for name in AUTH_ARG_MAP}
    text = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("plugins", "playbooks")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".yml")
    )
    for kind in DATA["credential_types"]:
        fields = {field["id"] for field in kind["inputs"]["fields"]}
        assert set(kind["inputs"]["required"]) <= fields
        files = {name.removeprefix("template.") for name in kind["injectors"].get("file", {})}
        filled = " ".join([*kind["injectors"]["env"].values(), *kind["injectors"].get("file", {}).values()])
        for field in fields:
            assert re.search(rf"{{{{ {field} }}}}", filled), f"{kind['name']}: {field} goes nowhere"
        for name in files:
            assert f"tower.filename.{name}" in filled
        for variable in kind["injectors"]["env"]:
            assert variable in read or variable in text, variable
            assert not variable.startswith("ANSIBLE_"), "a controller refuses it"


def test_the_data_is_whole() -> None:
    things = _controller.things(DATA, SETTINGS, PLAYBOOKS)
    made = {(thing.kind, thing.name) for thing in things}
    for name in set(DATA["templates"]) & set(PLAYBOOKS):
        assert ("job_template", _controller.template_name(name)) in made
    for grant in DATA["grants"]:
        assert grant["team"] in [team["name"] for team in DATA["teams"]]
    assert set(DATA["events"]["templates"]) <= set(DATA["templates"])
    # What a schedule answers is asked.
    for schedule in DATA["schedules"]:
        if schedule["template"] in SURVEYS:
            asked = {question["variable"] for question in SURVEYS[schedule["template"]]}
            assert set(schedule.get("extra_data", {})) <= asked, schedule["name"]


def test_a_playbook_that_is_not_there_is_left_out_with_what_needs_it() -> None:
    things = _controller.things(DATA, SETTINGS, [name for name in PLAYBOOKS if name not in ("verify", "drift")])
    titles = {thing.title for thing in things}
    assert "job template TwisterLab deploy" in titles
    assert not [title for title in titles if "verify" in title or "drift" in title]


def _data(**changes: Any) -> dict[str, Any]:
    return {**DATA, **changes}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"schedules": [{"name": "x", "template": "nothing"}]}, "awx/schedules.yml: x names the template nothing"),
        (
            {
                "workflows": {
                    "w": {"name": "W", "description": "", "nodes": {"a": {"template": "deploy", "success": ["b"]}}}
                }
            },
            "awx/workflows.yml: w: a is followed by b, which is no node.",
        ),
        ({"surveys": {}}, "awx/surveys.yml has no survey of deploy; run: make awx"),
    ],
)
def test_a_mistake_in_the_data_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        _controller.things(_data(**changes), SETTINGS, PLAYBOOKS)


# -- the image in which jobs run

IMAGE = ROOT / "images" / "execution-environment"


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8"), re.MULTILINE))


def test_both_definitions_of_the_image_pin_what_the_project_runs_on() -> None:
    project, image, built = (
        _pins(path) for path in (ROOT / "requirements.txt", IMAGE / "requirements.txt", IMAGE / "requirements.lock")
    )
    # That package is left out of the first, since the collection comes by itself there.
    assert {name: built.get(name) for name in project} == project
    assert {"ansible": project["ansible"], **image} == built
    definition = yaml.safe_load((IMAGE / "execution-environment.yml").read_text(encoding="utf-8"))
    assert definition["version"] == 3
    needs = definition["dependencies"]
    for key in ("ansible_core", "ansible_runner"):
        name, _, version = needs[key]["package_pip"].partition("==")
        assert image[name] == version
    (collection,) = yaml.safe_load((IMAGE / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", collection["version"])
    recipe = yaml.safe_load((IMAGE / "recipe.yml").read_text(encoding="utf-8"))
    assert recipe["python"]["requirements"] == "requirements.lock"
    # What the image says about files that a job may write is the same in both.
    ours = dict(re.findall(r"(ANSIBLE_\w+)=(\S+)", (IMAGE / "Dockerfile").read_text(encoding="utf-8")))
    theirs = dict(re.findall(r"(ANSIBLE_\w+)=(\S+)", "\n".join(definition["additional_build_steps"]["append_final"])))
    assert ours == theirs
    assert ours


def test_the_collection_of_the_image_is_the_one_of_the_ansible_package() -> None:
    import ansible_collections.kubernetes.core as core  # noqa: PLC0415

    (collection,) = yaml.safe_load((IMAGE / "requirements.yml").read_text(encoding="utf-8"))["collections"]
    manifest = yaml.safe_load((Path(next(iter(core.__path__))) / "MANIFEST.json").read_text(encoding="utf-8"))
    if _pins(ROOT / "requirements.txt")["ansible-core"] != ansible_version:
        pytest.skip("another Ansible than that of requirements.txt")
    assert collection["version"] == manifest["collection_info"]["version"]


def test_what_a_job_is_handed_is_no_mistake_of_an_input() -> None:
    """A controller adds these names to the extra vars of a job; one that looked like an input would be refused."""
    handed = {"twister_release", "twister_urls", "twister_verified", "awx_job_id", "awx_user_name", "tower_job_id"}
    handed |= {"awx_inventory_name", "awx_project_revision", "awx_job_template_name", "awx_workflow_job_id"}
    inputs = _specs.load_inputs(_specs.collection_root())
    assert _inputs.check(handed, {}, inputs, _inputs.Surroundings(images=_specs.image_names(ROOT))) == []
    tasks = "".join(
        (ROOT / "roles" / role / "tasks" / "main.yml").read_text(encoding="utf-8") for role in ("release", "verify")
    )
    assert set(re.findall(r"^      (twister_\w+):", tasks, re.MULTILINE)) == {
        name for name in handed if "twister_" in name
    }
