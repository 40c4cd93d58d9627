# SPDX-License-Identifier: GPL-3.0-or-later
"""What the whole project promises: one image catalogue, no secret in a log, documentation that is up to date."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _inputs, _rules, _specs

ROOT = Path(__file__).resolve().parents[2]
INPUTS = _specs.load_inputs(_specs.collection_root())
SECRET = re.compile(r"password|secret|token|supplied|private_key|api_key", re.IGNORECASE)
# What holds the word and no secret: names, declarations of keys, how long one lives.
HARMLESS = re.compile(r"pull_secrets|secret_env|secrets?_keys|^secrets$|_enabled$|_hours$")


def _files() -> list[Path]:
    """Return what is, or will be, in the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git work tree, so the files of the project cannot be told from others")
    return [
        ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file() and not (ROOT / line).is_symlink()
    ]


def _texts() -> dict[str, str]:
    found = {}
    for path in _files():
        try:
            found[str(path.relative_to(ROOT))] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_one_image_catalogue() -> None:
    images = _load(ROOT / "images" / "catalogue.yml")["images"]
    used = set()
    for path in (ROOT / "roles").rglob("*"):
        if path.suffix in (".yml", ".j2"):
            text = path.read_text(encoding="utf-8")
            used |= set(re.findall(r"'([\w-]+)'\s*\|\s*twisterlab\.platform\.image\(", text))
            assert not re.search(r"^\s*image: (?![\"']?\{\{)\S", text, re.MULTILINE) or "meta" in path.parts, (
                f"{path} names an image of its own"
            )
    # What only the local cluster needs has no other source than its folder.
    assert {name for name in used if not (ROOT / "images" / name).is_dir() or name in images} == set(images)
    for name, image in images.items():
        assert re.fullmatch(r"\d+(\.\d+)+", image["version"]), name
        assert image["registry"] or image.get("built"), name
        if image["registry"]:
            assert not list(_rules.image_reference(name, image["registry"]))
            assert image["version"] in image["registry"], f"{name}: both sources must be of one version"
        if image.get("built"):
            assert (ROOT / image["built"]["context"]).is_dir(), name


def test_nothing_floats() -> None:
    for name, text in _texts().items():
        if name.startswith(("roles/", "playbooks/", "inventories/", "images/")) and name.endswith(
            (".yml", ".j2", "Dockerfile")
        ):
            assert not re.search(r"[\w/-]:latest\b", text), name


def test_secrets_are_hidden_as_arguments_and_errors_are_not() -> None:
    for option in _specs.role_options(ROOT):
        if SECRET.search(option.name) and not HARMLESS.search(option.name) and option.type != "bool":
            assert option.no_log, f"{option.name} needs no_log in its argument spec"
    for name, text in _texts().items():
        if name.startswith(("roles/", "playbooks/")) and "/meta/" not in name:
            assert not re.search(r"^\s*no_log:", text, re.MULTILINE), f"{name}: no_log on a task hides the error too"
        if name.startswith(("plugins/modules/", "plugins/action/")):
            for argument, spec in re.findall(r'["\'](\w+)["\']: (?:dict\(|\{)([^{}]*type[^{}]*)[})]', text):
                if SECRET.search(argument) and not HARMLESS.search(argument) and "bool" not in spec:
                    assert "no_log" in spec, f"{name}: {argument} needs no_log"


@pytest.mark.parametrize("script", ["variables.py", "network.py"])
def test_the_pages_that_are_made_are_up_to_date(script: str) -> None:
    done = subprocess.run(
        [sys.executable, f"scripts/{script}", "--check"], cwd=ROOT, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_example_inventories_are_right() -> None:
    for path in sorted((ROOT / "inventories").glob("*/hosts.yml")):
        group = _load(path)["clusters"]
        common = group["vars"]
        assert common["ansible_connection"] == "local", path
        assert common["ansible_python_interpreter"] == "{{ ansible_playbook_python }}", path
        for extra in sorted(path.parent.glob("group_vars/clusters/*.yml")):
            common |= _load(extra)
        for host, own in group["hosts"].items():
            variables = common | (own or {})
            around = _inputs.Surroundings(images=_specs.image_names(ROOT), cluster_required=True)
            assert _inputs.check(variables, variables, INPUTS, around) == [], f"{path} {host}"


def test_no_word_of_where_this_was_made() -> None:
    # In pieces, so that this file does not hold them.
    foreign = [
        "py" + "pi.org",
        "python" + "hosted",
        "proxy." + "golang",
        "sum." + "golang",
        "deb." + "debian",
        "/wo" + "rk/main",
        "/wo" + "rk/shared",
        "/tmp/" + "plan",
        "/ro" + "ot/",
    ]
    pattern = re.compile("|".join(re.escape(word) for word in foreign))
    found = [f"{name}: {match.group(0)}" for name, text in _texts().items() for match in pattern.finditer(text)]
    assert found == []


def test_python_files_name_their_licence() -> None:
    for name, text in _texts().items():
        if name.endswith(".py") and text.strip():
            licence = "MIT" if name.startswith(("images/app/",)) else "GPL-3.0-or-later"
            assert f"SPDX-License-Identifier: {licence}" in text[:200], name
