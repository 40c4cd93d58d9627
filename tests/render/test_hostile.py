# SPDX-License-Identifier: GPL-3.0-or-later
"""Hostile texts in every input that takes a text: refused by check_inputs, or rendered with exactly that value; never executed, never spliced."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _inputs, _specs
from rendering import ROOT, ansible_playbook

INPUTS = _specs.load_inputs(_specs.collection_root())
#: `mark` becomes another word for each place, so that a text can be followed into the manifests.
TEXTS = (
    "$(touch CANARY)mark",
    "`touch CANARY`mark",
    "; touch CANARY; mark",
    "{{ lookup('ansible.builtin.pipe', 'touch CANARY') }}mark",
    "{% set x = lookup('ansible.builtin.pipe', 'touch CANARY') %}mark",
    "{{ 7 * 7 }}mark",
    "{password:url}mark",
    "%(x)s %s %n ${HOME}mark",
    "a: b #c mark",
    "- a\n- b: mark",
    "'\"\\mark",
    '"\nkind: Secret\nx: "mark',
    "---\n...\nmark",
    "&a *b !!python/object:os.system mark",
    " spaces mark ",
    "null mark",
    "é☃\u202emark",
    "../../etc/passwd?x=%00&y=mark",
    "<script>mark",
    "a,b;c|d>mark",
    "mark" * 80,
)
#: Where a text goes that is no manifest's, and so cannot be found in one.
ELSEWHERE = {
    # Of the run itself.
    "twisterlab_kubeconfig", "twisterlab_context", "twisterlab_cache_dir", "twisterlab_render_dest", "twisterlab_destroy_confirm",
    # Alertmanager's configuration is a key of the Secret, which release fills.
    "twisterlab_alertmanager.slack_channel", "twisterlab_alertmanager.email_to", "twisterlab_alertmanager.email_from",
    "twisterlab_alertmanager.smtp_host", "twisterlab_alertmanager.smtp_user",
}  # fmt: skip
#: Dicts of texts with names of the user's own: a name that is right, for a value that is hostile.
NAMES = {"env": "HOSTILE", "pod_annotations": "example.org/hostile", "annotations": "example.org/hostile"}
HOSTS = 4


def texts(option: _specs.Option, path: str) -> Iterator[tuple[str, Callable[[str], Any]]]:
    """Every place below an input that takes a text, and how to write one there."""
    if option.options:
        for key, child in option.options.items():
            for place, write in texts(child, f"{path}.{key}"):
                yield place, lambda text, key=key, write=write: {key: write(text)}
    elif option.type in ("str", "path") and not option.choices:
        yield path, lambda text: text
    elif option.type == "dict" and option.name in NAMES:
        yield path, lambda text, name=NAMES[option.name]: {name: text}


PLACES = {
    place: (name, write)
    for name, option in INPUTS.items()
    # The arguments of other playbooks are not rendered.
    if name.startswith("twisterlab_")
    for place, write in texts(option, name)
}


def merged(one: Any, other: Any) -> Any:
    """Two values of an input in one."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return other
    return {key: merged(one.get(key), other[key]) if key in other else one[key] for key in {**one, **other}}


def complaints(values: dict[str, Any]) -> list[str]:
    """What check_inputs says to some values."""
    return _inputs.check(values, values, INPUTS, _inputs.Surroundings())


def chosen(canary: Path) -> list[dict[str, dict[str, str]]]:
    """For each host the texts that are accepted: `values` of the inputs and `places` with their text."""
    hosts: list[dict[str, Any]] = [{"values": {}, "places": {}} for _ in range(HOSTS)]
    for index, (place, (name, write)) in enumerate(PLACES.items()):
        written = [text.replace("CANARY", str(canary)).replace("mark", f"mark{index}x") for text in TEXTS]
        accepted = [text for text in written if not complaints({name: write(text)})]
        for number, host in enumerate(hosts):
            for text in accepted[number:] + accepted[:number]:
                values = {**host["values"], name: merged(host["values"].get(name), write(text))}
                if not complaints(values):
                    host["values"], host["places"][place] = values, text
                    break
            # Another one for the next place.
            accepted = accepted[1:] + accepted[:1]
    return hosts


class Unsafe(str):
    """A text that Ansible must not take for a template."""


class Dumper(yaml.SafeDumper):
    """Writes texts as data."""


Dumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def unsafe(value: Any) -> Any:
    """Every text of a value as data, as a survey of AWX gives it."""
    if isinstance(value, dict):
        return {key: unsafe(item) for key, item in value.items()}
    return Unsafe(value) if isinstance(value, str) else value


def leaves(value: Any) -> Iterator[str]:
    """Every text in a manifest, names of keys left out."""
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, str):
        yield value


@pytest.fixture(scope="session")
def hostile(once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """A folder with `hosts.json`, what each host was given, and `render`, what became of it."""

    def fill(folder: Path) -> None:
        hosts = chosen(folder.with_name("hostile") / "canary")
        (folder / "hosts.json").write_text(json.dumps(hosts), encoding="utf-8")
        inventory = {
            f"h{number}": {"twisterlab_namespace": f"h{number}", **unsafe(host["values"])}
            for number, host in enumerate(hosts)
        }
        common = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        text = yaml.dump({"clusters": {"hosts": inventory, "vars": common}}, Dumper=Dumper, allow_unicode=True)
        (folder / "inventory.yml").write_text(text, encoding="utf-8")
        done = ansible_playbook(
            "-i",
            str(folder / "inventory.yml"),
            str(ROOT / "playbooks" / "render.yml"),
            "-e",
            f"twisterlab_render_dest={folder}/render",
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr

    return once("hostile", fill)


def test_most_places_take_some_text_or_refuse_all() -> None:
    """The search itself: it must find the places that people write texts to."""
    assert len(PLACES) > 120
    assert {"twisterlab_api.env", "twisterlab_redis.pod_annotations", "twisterlab_ingress.annotations"} <= set(PLACES)
    for place, (name, write) in PLACES.items():
        for text in TEXTS:
            for sentence in complaints({name: write(text)}):
                assert sentence.strip(), place


def test_every_text_is_there_exactly_and_none_was_executed(hostile: Path) -> None:
    hosts = json.loads((hostile / "hosts.json").read_text(encoding="utf-8"))
    assert not list(hostile.parent.rglob("canary*"))
    wrong = []
    for number, host in enumerate(hosts):
        assert len(host["places"]) > 10
        objects = [
            document
            for path in (hostile / "render" / f"h{number}").rglob("*.yaml")
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
        ]
        assert not [item for item in objects if item["kind"] == "Secret"]
        found = [leaf for item in objects for leaf in leaves(item)]
        whole, within = set(found), "\n".join(found)
        for place, text in host["places"].items():
            if place in ELSEWHERE:
                continue
            # A text of a configuration file is quoted there as that file's language has it.
            if text not in whole and text not in within and json.dumps(text)[1:-1] not in within:
                wrong.append(f"h{number} {place}: {text!r}")
    assert not wrong, "\n".join(wrong)
