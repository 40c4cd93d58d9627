# SPDX-License-Identifier: GPL-3.0-or-later
"""What every role promises: one place for an input, nothing unused, every template listed, three tasks at most."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _specs

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(
    path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir() or (path / "vars").is_dir()
)
TIERS = [
    role
    for role in ROLES
    if "platform.stage:" in "".join(p.read_text() for p in (ROOT / "roles" / role).glob("tasks/*.yml"))
]


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _options(role: str) -> dict[str, _specs.Option]:
    return {option.name: option for option in _specs.role_options(ROOT) if option.role == role}


def _texts(*folders: str) -> str:
    files = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".yml", ".j2", ".py", ".txt")
    ]
    return "\n".join(path.read_text(encoding="utf-8") for path in files if "meta" not in path.parts)


def _computed(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


@pytest.mark.parametrize("role", ROLES)
def test_defaults_equal_the_argument_specs(role: str) -> None:
    """A plain input: in both, in one order, with one value. A tier's dict: its defaults stand in the spec alone."""
    defaults = _yaml(ROOT / "roles" / role / "defaults" / "main.yml") or {}
    plain = {name: option for name, option in _options(role).items() if not option.options}
    raw = ((_yaml(ROOT / "roles" / role / "meta" / "argument_specs.yml") or {}).get("argument_specs") or {}).get(
        "main", {}
    )
    required = {name for name, option in (raw.get("options") or {}).items() if option.get("required")}
    # An empty dict may stand for a dict whose keys have their defaults in the spec.
    own = {name: value for name, value in defaults.items() if name in plain or value != {}}
    assert list(own) == [name for name in plain if name not in required]
    for name, value in own.items():
        expected = None if _computed(value) else value
        assert plain[name].default == expected, name


@pytest.mark.parametrize("role", ROLES)
def test_no_second_copy_of_defaults_differs(role: str) -> None:
    """A role that writes its dict's defaults down once more must write the same."""
    copies = (_yaml(ROOT / "roles" / role / "vars" / "main.yml") or {}).get(f"__{role}_defaults")
    if copies is not None:
        (option,) = [option for option in _options(role).values() if option.options]
        assert copies == _specs.merge(option, {})


def _walk(name: str, option: _specs.Option) -> list[tuple[str, _specs.Option]]:
    return [(name, option)] + [pair for key, child in option.options.items() for pair in _walk(f"{name}.{key}", child)]


@pytest.mark.parametrize("role", ROLES)
def test_every_option_says_what_it_is(role: str) -> None:
    for top, option in _options(role).items():
        for name, item in _walk(top, option):
            assert item.description and all(text.strip().endswith(".") for text in item.description), name
            if "." not in name:
                continue
            assert item.default is not None, f"{name} has no default"
            assert not item.options or item.default == {}, name
            if not item.options:
                assert _specs.merge(item, item.default) == item.default, f"the default of {name} is not of its type"


@pytest.mark.parametrize("role", TIERS)
def test_every_key_of_a_tier_is_used(role: str) -> None:
    text = _texts(f"roles/{role}", "roles/twisterlab/vars", "plugins/module_utils/_pods.py")
    for name in ("_pods.py", "_alerting.py", "_edges.py"):
        text += (ROOT / "plugins" / "module_utils" / name).read_text(encoding="utf-8")
    for option in _options(role).values():
        for key in option.options:
            assert re.search(rf"\.{key}\b|'{key}'|\"{key}\"", text), f"{option.name}.{key}"


def test_every_variable_is_used() -> None:
    everything = _texts("roles", "playbooks", "plugins")
    for role in ROLES:
        variables = [*_options(role), *(_yaml(ROOT / "roles" / role / "vars" / "main.yml") or {})]
        for name in variables:
            declared = len(re.findall(rf"^{name}:", everything, re.MULTILINE))
            assert len(re.findall(rf"(?<![\w-]){name}\b", everything)) > declared, (
                f"{name} of role {role} is used nowhere"
            )


@pytest.mark.parametrize("role", TIERS)
def test_every_template_is_listed_and_named_by_its_kind(role: str) -> None:
    listed = (_yaml(ROOT / "roles" / role / "vars" / "main.yml"))[f"__{role}_templates"]
    own, shared = (sorted((ROOT / "roles" / name / "templates").glob("*.yml.j2")) for name in (role, "twisterlab"))
    borrowed = [path for path in shared if path.name in listed]
    assert not {path.name for path in own} & {path.name for path in shared}, "which of the two is meant?"
    assert sorted(listed) == sorted(path.name for path in own + borrowed)
    for path in own + borrowed:
        text = path.read_text(encoding="utf-8")
        (kind,) = re.findall(r"^kind: (\w+)$", text, re.MULTILINE)
        assert re.fullmatch(rf"{kind.lower()}(_\w+)?\.yml\.j2", path.name), path
        assert text.startswith("---\n"), path


def test_a_shared_template_is_shared() -> None:
    listed = [
        name for role in TIERS for name in (_yaml(ROOT / "roles" / role / "vars" / "main.yml"))[f"__{role}_templates"]
    ]
    for path in (ROOT / "roles" / "twisterlab" / "templates").glob("*.yml.j2"):
        assert listed.count(path.name) > 1, path


@pytest.mark.parametrize("role", TIERS)
def test_a_tier_has_three_tasks_and_depends_on_the_shared_role(role: str) -> None:
    tasks = _yaml(ROOT / "roles" / role / "tasks" / "main.yml")
    assert len(tasks) <= 3
    assert (ROOT / "roles" / "twisterlab" / "tasks" / "main.yml").is_file(), "the shared role checks the inputs"
    assert not [
        task
        for task in tasks
        if {"ansible.builtin.set_fact", "ansible.builtin.shell", "ansible.builtin.command"} & set(task)
    ]
    assert {"role": "twisterlab.platform.twisterlab"} in _yaml(ROOT / "roles" / role / "meta" / "main.yml")[
        "dependencies"
    ]


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_readme_with_an_example(role: str) -> None:
    text = (ROOT / "roles" / role / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert role in text.splitlines()[0]
    if role in TIERS:
        assert "```yaml" in text
        assert "destroy" in text


def test_the_one_list_of_tiers_is_whole_and_used_by_all() -> None:
    listed = [item["ansible.builtin.import_role"]["name"] for item in _yaml(ROOT / "playbooks" / "tasks" / "tiers.yml")]
    assert {role.rpartition(".")[2] for role in listed} == set(TIERS)
    for path in ("playbooks/deploy.yml", "playbooks/render.yml", "roles/rotate_secrets/tasks/release.yml"):
        assert "tasks/tiers.yml" in (ROOT / path).read_text(encoding="utf-8"), path
    released = _yaml(ROOT / "playbooks" / "deploy.yml")[-1]["tasks"][-1]
    assert released["ansible.builtin.import_role"]["name"] == "twisterlab.platform.release"
    assert released["tags"] == ["always"]
