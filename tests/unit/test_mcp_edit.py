# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries into texts and out again: by tables, and 200 randomly composed files of each format."""

from __future__ import annotations

import json
import os
import random
import tomllib
from typing import Any

import pytest
import yaml
from ansible_collections.twisterlab.platform.plugins.module_utils import _mcp_edit
from ansible_collections.twisterlab.platform.plugins.module_utils._errors import Refused
from ansible_collections.twisterlab.platform.plugins.module_utils._mcp_edit import Malformed, Spot

ENTRY = {"command": "kubectl", "args": ["exec", "-i"]}
OTHER = {"command": "kubectl", "args": [], "env": {"A": 'b"c\\d é'}}
STRICT = Spot("json", ("mcpServers",))
JSONC = Spot("jsonc", ("mcpServers",))
NESTED = Spot("jsonc", ("experimental", "servers"), listed=True)
TOML = Spot("toml", ("mcp_servers",))
YAML = Spot("yaml", ("mcpServers",), listed=True, preamble=(("name", "ours"), ("version", "1.0.0"), ("schema", "v1")))
SPOTS = {"json": STRICT, "jsonc": JSONC, "nested": NESTED, "toml": TOML, "yaml": YAML}


def named(spot: Spot, entry: dict[str, Any], name: str = "ours") -> dict[str, Any]:
    return {"name": name, **entry} if spot.listed else entry


def lines(*text: str) -> str:
    return "\n".join(text) + "\n"


PRESENT = [
    (
        JSONC,
        None,
        lines("{", '  "mcpServers": {', '    "ours": {', '      "command": "kubectl",', '      "args": [', '        "exec",',
              '        "-i"', "      ]", "    }", "  }", "}"),
    ),
    (
        JSONC,
        lines("{", '\t"mcpServers": {', '\t\t"a": {}, // the first', "\t\t// the last words", "\t},", "}"),
        lines("{", '\t"mcpServers": {', '\t\t"a": {}, // the first', '\t\t"ours": {', '\t\t\t"command": "kubectl",',
              '\t\t\t"args": [', '\t\t\t\t"exec",', '\t\t\t\t"-i"', "\t\t\t]", "\t\t},", "\t\t// the last words", "\t},", "}"),
    ),
    (
        JSONC,
        lines("{", '  "mcpServers": {', '    "a": {} // the only one', "  }", "}").replace("\n", "\r\n"),
        lines("{", '  "mcpServers": {', '    "a": {}, // the only one', '    "ours": {', '      "command": "kubectl",',
              '      "args": [', '        "exec",', '        "-i"', "      ]", "    }", "  }", "}").replace("\n", "\r\n"),
    ),
    (
        STRICT,
        '{"mcpServers":{"a":{"command":"x"}},"z":1}',
        '{"mcpServers":{"a":{"command":"x"}, "ours": {"command": "kubectl", "args": ["exec", "-i"]}},"z":1}',
    ),
    (
        STRICT,
        lines("{", '  "mcpServers": {}', "}"),
        lines("{", '  "mcpServers": {"ours": {', '    "command": "kubectl",', '    "args": [', '      "exec",', '      "-i"',
              "    ]", "  }}", "}"),
    ),
    (TOML, None, lines("[mcp_servers.ours]", 'command = "kubectl"', 'args = ["exec", "-i"]')),
    (
        TOML,
        'model = "o"  # mine',
        'model = "o"  # mine\n\n[mcp_servers.ours]\ncommand = "kubectl"\nargs = ["exec", "-i"]',
    ),
    (
        YAML,
        None,
        lines("# Written by the Ansible module twisterlab.platform.mcp_config.", "name: ours", 'version: "1.0.0"',
              "schema: v1", "mcpServers:", "  - name: ours", "    command: kubectl", "    args:", "      - exec", '      - "-i"'),
    ),
    (
        YAML,
        lines("mcpServers:", "- name: a", "  env:", "    B: |", "      c", "", "# the end", "models: []"),
        lines("mcpServers:", "- name: a", "  env:", "    B: |", "      c", "- name: ours", "  command: kubectl", "  args:",
              "    - exec", '    - "-i"', "", "# the end", "models: []"),
    ),
    (YAML, "mcpServers: [] # none\n", 'mcpServers: [{"name": "ours", "command": "kubectl", "args": ["exec", "-i"]}] # none\n'),
]  # fmt: skip


@pytest.mark.parametrize(("spot", "old", "new"), PRESENT)
def test_an_entry_stands_where_a_person_would_put_it(spot: Spot, old: str | None, new: str) -> None:
    assert _mcp_edit.put(spot, old, "ours", named(spot, ENTRY)) == new
    assert _mcp_edit.drop(spot, new, "ours") == old


EXISTING = {
    "json": [None, "", "\n", " \r\n", "{}", "{}\n", "{ }", "{\n}\n", '{"mcpServers":{}}', '{"mcpServers": {\n  }\n}', '{"a": 1}',
             "\ufeff{}", "\ufeff", '{"mcpServers": {"\u00e9\\ud800": {"x": 1e5}}}'],
    "jsonc": ["{ // c\n}", '{"a": 1,}', '{"a": 1 // c\n}', '{"mcpServers": { /* c */ }}', '{"mcpServers": { // c\n}}',
              '// c\n{\n  /* d */ "mcpServers": {\n    "a": 1, /* e\n f */ "b": 2 // g  \n\n  } // h\n}\n// i'],
    "nested": [None, "{}", '{"experimental": {}}', '{"experimental": {"servers": []}}', '{"experimental": {"servers": [ ] }, "a": 1}',
               '{"experimental": {"servers": [{"name": "a"}, 1]}}', '{\n  "experimental": {\n    "servers": [\n      1,\n    ]\n  }\n}'],
    "toml": [None, "", "\n", "\n\n", "a = 1", "a = 1\n", "a = 1\r\n", "a = 1\n\n", "# c", '[mcp_servers.b]\ncommand = "x"\n# c\n',
             "[mcp_servers]\n", 'a = """\n[mcp_servers.ours]\n"""\n', "\ufeffa = 1\n"],
    "yaml": [None, "", "\n", "# c", "# c\n", "---\n", "a: 1", "a: 1\n", "a: 1\r\nb: 2\r\n", "mcpServers:\n", "mcpServers: # c\na: 1\n",
             "mcpServers: []\n", "mcpServers: [ ]", "mcpServers: [{name: a}, {name: b}]\n", "\ufeffa: 1\n", "a: &x 1\nb: *x\n",
             'name: ours\nversion: "1.0.0"\nschema: v1\n', "mcpServers:\n    -   name: a\n        args: [x,\n          y]  # c\n\n\n"],
}  # fmt: skip


@pytest.mark.parametrize(("form", "old"), [(form, old) for form, texts in EXISTING.items() for old in texts])
def test_what_was_there_comes_back(form: str, old: str | None) -> None:
    spot = SPOTS[form]
    there_and_back(spot, old)


def there_and_back(spot: Spot, old: str | None) -> str:
    """Two entries in, one changed, both out in either order; gives the text with both."""
    first = _mcp_edit.put(spot, old, "ours", named(spot, ENTRY))
    assert _mcp_edit.put(spot, first, "ours", named(spot, ENTRY)) == first
    second = _mcp_edit.put(spot, first, "too", named(spot, OTHER, "too"))
    changed = _mcp_edit.put(spot, second, "ours", named(spot, OTHER))
    assert _mcp_edit.get(spot, changed, "ours") == named(spot, OTHER)
    assert _mcp_edit.get(spot, changed, "too") == named(spot, OTHER, "too")
    for names in (("too", "ours"), ("ours", "too")):
        left: str | None = changed
        for name in names:
            left = _mcp_edit.drop(spot, left, name)
        # The keys of a YAML document that we made belong to its first entry: without it the rest is another's document.
        if names[0] == "too" or spot.format != "yaml" or _mcp_edit.parse("yaml", old or "") is not None:
            assert left == old
    return second


REFUSED = [
    (STRICT, "{", "line 1"),
    (STRICT, "[]", "the document is a list where a map is needed"),
    (STRICT, '{"mcpServers": []}', "mcpServers is a list where a map is needed"),
    (STRICT, '{"mcpServers": null}', "mcpServers is empty where a map is needed"),
    (STRICT, '{"mcpServers": {}, "mcpServers": {}}', "the key mcpServers is there more than once"),
    (STRICT, '{"mcpServers": {"ours": {}, "ours": {}}}', "the entry ours is there more than once"),
    (STRICT, '{"a": 1,}', "a comment or a trailing comma, which this client does not read"),
    (STRICT, '{"a": NaN}', "NaN is no JSON"),
    (STRICT, '{"a": "\n"}', "line 1"),
    (JSONC, "{,}", "a comma with nothing before it"),
    (JSONC, '{"a": 1,,}', "a comma with nothing before it"),
    (JSONC, "// nothing\n", "line 2"),
    (JSONC, '{"a": /* }', "line 1"),
    (JSONC, '{"a": 1} {}', "line 1"),
    (JSONC, "[" * 100000, "nested too deeply"),
    (NESTED, '{"experimental": {"servers": {}}}', "experimental.servers is a map where a list is needed"),
    (NESTED, '{"experimental": []}', "experimental is a list where a map is needed"),
    (NESTED, '{"experimental": {"servers": [{"name": "ours"}, {"name": "ours"}]}}', "the entry ours is there more than once"),
    (STRICT, '{"mcpServers": {"ours": {"command": "a", "command": "b"}}}', "the entry ours has a key more than once"),
    (YAML, "mcpServers:\n- name: ours\n  x:\n  - y: 1\n    y: 2", "the entry ours has a key more than once"),
    (TOML, "a =", "(at "),
    (TOML, "a = 1\na = 2", "(at "),
    (TOML, "[[mcp_servers]]\na = 1", "mcp_servers is a list where a map is needed"),
    (TOML, "mcp_servers = {}", "adding the entry ours as we write it does not fit"),
    (TOML, 'mcp_servers = { ours = { command = "x" } }', "not written as a table [mcp_servers.ours]"),
    (TOML, '[mcp_servers]\nours.command = "x"', "not written as a table [mcp_servers.ours]"),
    (YAML, "a: [", "line 1"),
    (YAML, "a: 1\n---\nb: 2", "more than one document"),
    (YAML, "- a", "the document is a list where a map is needed"),
    (YAML, "mcpServers: {a: 1}", "mcpServers is a map where a list is needed"),
    (YAML, "mcpServers: x", "mcpServers is a text where a list is needed"),
    (YAML, "mcpServers: []\nmcpServers: []", "the key mcpServers is there more than once"),
    (YAML, "{a: 1}", "written in braces"),
    (YAML, "mcpServers: &all\n  - name: a", "an anchor, an alias or a tag"),
    (YAML, "b: &b [{name: a}]\nmcpServers: *b", "an anchor, an alias or a tag"),
    (YAML, "mcpServers:\n  - &x\n    name: ours", "an anchor, an alias or a tag"),
    (YAML, "a: 1\n...\n", "adding the entry ours as we write it does not fit"),
    (YAML, "a: |\n  b", "adding the entry ours would change something else"),
    (YAML, "a: \x07", "a character that YAML does not allow"),
    (YAML, "a: &a [*a]", "nested too deeply"),
]  # fmt: skip


@pytest.mark.parametrize(("spot", "old", "sentence"), REFUSED)
def test_in_doubt_nothing_is_edited(spot: Spot, old: str, sentence: str) -> None:
    with pytest.raises((Malformed, Refused)) as error:
        _mcp_edit.put(spot, old, "ours", named(spot, ENTRY))
    assert sentence in str(error.value)


def test_a_change_leaves_the_rest_of_the_table() -> None:
    old = (
        "[mcp_servers.ours] # mine\ncommand = 'x'\n# slow\nstartup_timeout_sec = 60 # s\nenv.A = '1'\n\n"
        "[mcp_servers.ours.tools.t]\napproval_mode = 'auto'\n[z]\n"
    )
    entry = {"command": "y", "args": [], "startup_timeout_sec": 60, "tools": {"t": {"approval_mode": "auto"}}}
    assert _mcp_edit.put(TOML, old, "ours", entry) == (
        '[mcp_servers.ours] # mine\ncommand = "y"\nargs = []\n# slow\nstartup_timeout_sec = 60 # s\n\n'
        "[mcp_servers.ours.tools.t]\napproval_mode = 'auto'\n[z]\n"
    )


# 200 files of each format; a failure names its seed, which alone makes the same file again.
SEED = int(os.environ.get("TWISTERLAB_MCP_SEED", "20261124"))
WORDS = [
    "a",
    "command",
    "mcpServer",
    "mcpServers ",
    "é",
    "名",
    "a b",
    "🙂",
    "x.y",
    "-",
    "#",
    "//",
    "/*",
    "${A}",
    "'",
    "]",
    "}",
    ",",
]


class Composer:
    """Composes a file together with what it says; the text is built beside the content, not from it by a library."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.line_break = self.random.choice(["\n", "\n", "\r\n"])

    def one_in(self, count: int) -> bool:
        return self.random.randrange(count) == 0

    def word(self) -> str:
        return "".join(self.random.choices(WORDS, k=self.random.randint(1, 3)))

    def finish(self, text: str) -> str:
        text = text.replace("\n", self.line_break)
        if self.one_in(3):
            text = text.rstrip("\r\n")
        return ("\ufeff" if self.one_in(8) else "") + text

    # JSON
    def comment(self) -> str:
        if not self.comments or not self.one_in(4):
            return ""
        return self.random.choice(
            [" // " + self.word().replace("\n", "") + "  \n", " /* c */ ", "\n/* d\n e, } */\n", "// \t\n"]
        )

    def gap(self) -> str:
        return self.random.choice(["", "", " ", "\n", "\n  ", "\t", "\n\n"]) + self.comment()

    def json_scalar(self) -> tuple[str, Any]:
        value = self.random.choice([self.word(), 0, -1.5e3, True, False, None, '\\"\n', "\u2028"])
        return json.dumps(value, ensure_ascii=self.one_in(2)), value

    def json_value(self, depth: int) -> tuple[str, Any]:
        if depth > 3 or self.one_in(2):
            return self.json_scalar()
        return self.json_map(depth + 1) if self.one_in(2) else self.json_list(depth + 1)

    def json_list(self, depth: int, first: tuple[str, Any] | None = None) -> tuple[str, Any]:
        parts = [self.json_value(depth) for _ in range(self.random.randint(0, 3))]
        parts += [first] if first else []
        return self.join("[", [text for text, _ in parts], "]"), [value for _, value in parts]

    def json_map(self, depth: int, more: dict[str, tuple[str, Any]] | None = None) -> tuple[str, Any]:
        members = {self.word() + str(index): self.json_value(depth) for index in range(self.random.randint(0, 3))} | (
            more or {}
        )
        order = list(members)
        self.random.shuffle(order)
        texts = [json.dumps(key, ensure_ascii=False) + self.gap() + ":" + self.gap() + members[key][0] for key in order]
        return self.join("{", texts, "}"), {key: members[key][1] for key in order}

    def join(self, opening: str, texts: list[str], closing: str) -> str:
        pretty = self.one_in(2)
        between = "\n" + self.random.choice(["  ", "    ", "\t"]) if pretty else ""
        body = ""
        for index, text in enumerate(texts):
            comma = "," if index < len(texts) - 1 or (self.comments and self.one_in(3)) else ""
            body += between + self.gap() + text + self.gap() + comma
        return opening + body + self.gap() + ("\n" if pretty else "") + closing

    def json_file(self, comments: bool, place: tuple[str, ...], listed: bool) -> tuple[str, Any]:
        self.comments = comments
        inner = self.json_list(2) if listed else self.json_map(2)
        depth = self.random.randint(0, len(place))  # how much of the place is there
        if depth < len(place):
            inner = self.json_map(2)
        for key in reversed(place[:depth]):
            inner = self.json_map(1, {key: inner})
        text, value = inner if isinstance(inner[1], dict) else self.json_map(1)
        return self.finish(self.gap() + text + self.gap() + "\n"), value

    # TOML
    def toml_file(self) -> tuple[str, Any]:
        out, content, keys = "", {}, iter(range(100))
        for _ in range(self.random.randint(0, 4)):
            text, value = self.toml_line(f"k{next(keys)}")
            out += text
            content.update(value)
        servers: dict[str, Any] = {}
        for _ in range(self.random.randint(0, 4)):
            name = f"t{next(keys)}"
            ours = self.one_in(2)
            head = f"mcp_servers.{name}" if ours else self.random.choice([name, f"'{name}'", f'"{name}" '])
            body: dict[str, Any] = {}
            out += f"{self.random.choice(['', '  '])}[{head}]{self.random.choice(['', ' # c'])}\n"
            for _ in range(self.random.randint(0, 3)):
                text, value = self.toml_line(f"k{next(keys)}")
                out += text
                body.update(value)
            (servers if ours else content)[name] = body
        if servers:
            content["mcp_servers"] = servers
        out = out or "\n"
        return self.finish(out), content

    def toml_line(self, key: str) -> tuple[str, dict[str, Any]]:
        text, value = self.random.choice([
            ("1", 1), ("'[mcp_servers.ours]'", "[mcp_servers.ours]"), ('"é # \\" 名"', 'é # " 名'), ("true", True),
            ('["a", # c\n  "]",\n]', ["a", "]"]), ("{ a = 1, b = '}' }", {"a": 1, "b": "}"}), ("1979-05-27", None),
            ('"""\\\n[mcp_servers.ours]\n\\"""" #"""', None), ("'''\n[mcp_servers.ours]\n'''", None), ("[\n[1],\n\n]", [[1]]),
        ])  # fmt: skip
        blanks = self.random.choice(["", "\n", "# c\n", "\t\n", "  # [mcp_servers.ours]\n"])
        text = (
            f"{blanks}{self.random.choice(['', ' ', chr(9)])}{key} = {text}{self.random.choice(['', ' # d', '  '])}\n"
        )
        return text, {key: value} if value is not None else {
            key: tomllib.loads(text.strip().replace("\n", self.line_break))[key]
        }

    # YAML
    def yaml_scalar(self) -> tuple[str, Any]:
        word = self.word()
        return self.random.choice([(json.dumps(word, ensure_ascii=False), word), ("plain text", "plain text"), ("12", 12),
                                   ("'it''s # no'", "it's # no"), ("true", True), ("~", None), ("[a, {b: c}]", ["a", {"b": "c"}]),
                                   ('"a\\\n      b"', "ab")])  # fmt: skip

    def yaml_blank(self) -> str:
        # At the first column, or the comment would be a line of the block of text before it.
        return self.random.choice(["", "", "\n", "# c: - é\n", "# d\n", "\n\n"])

    def yaml_file(self) -> tuple[str, Any]:
        out, content = self.random.choice(["", "---\n", "# first\n", "%YAML 1.1\n---\n"]), {}
        place = self.random.randint(0, 3)
        for index in range(4):
            out += self.yaml_blank()
            if index == place and not self.one_in(5):
                text, value = self.yaml_servers()
                out += text
                content["mcpServers"] = value
            elif not self.one_in(3):
                text, value = self.random.choice(
                    [
                        self.yaml_scalar(),
                        ("|\n  a\n\n  - b", "a\n\n- b"),
                        ("\n- x\n- mcpServers: []", ["x", {"mcpServers": []}]),
                    ]
                )
                if text.startswith("|"):
                    text, value = text + "\n", value + "\n"
                out += f"k{index}:{self.random.choice([' ', '  ', ' '])}{text}\n"
                content[f"k{index}"] = value
        # A block of text that ends without a line break would get one more: refused, see the table.
        last = "k9: v  # e\n" if self.one_in(2) else "# end\n"
        content |= {"k9": "v"} if last.startswith("k") else {}
        return self.finish(out + last), content or None

    def yaml_servers(self) -> tuple[str, Any]:
        form = self.random.randint(0, 5)
        if form == 0:
            return f"mcpServers:{self.random.choice(['', ' # c', ' '])}\n", None
        if form == 1:
            return f"mcpServers: [{self.random.choice(['', ' '])}]\n", []
        if form == 2:
            return "mcpServers: [{name: a, args: [b]}, {name: 'c' }]  # d\n", [
                {"name": "a", "args": ["b"]},
                {"name": "c"},
            ]
        pad, step = self.random.choice(["", "  ", "    "]), self.random.choice([" ", "   "])
        out, value = (
            f"{self.random.choice(['mcpServers', chr(34) + 'mcpServers' + chr(34)])}:{self.random.choice(['', ' # c'])}\n",
            [],
        )
        for index in range(self.random.randint(1, 3)):
            text, scalar = self.yaml_scalar()
            inner = pad + " " + step
            out += (
                f"{pad}-{step}name: s{index}{self.random.choice(['', ' # e'])}\n{self.yaml_blank()}{inner}a: {text}\n"
            )
            item: dict[str, Any] = {"name": f"s{index}", "a": scalar}
            if self.one_in(2):
                out += f"{inner}env:\n{inner}  B: |\n{inner}    x\n{inner}     y\n"
                item["env"] = {"B": "x\n y\n"}
            value.append(item)
            out += self.yaml_blank()
        return out, value


def compose(form: str, seed: int) -> tuple[str, Any]:
    composer = Composer(seed)
    if form == "toml":
        return composer.toml_file()
    if form == "yaml":
        return composer.yaml_file()
    spot = SPOTS[form]
    return composer.json_file(form != "json", spot.place, spot.listed)


@pytest.mark.parametrize("form", list(SPOTS))
def test_200_composed_files_survive(form: str) -> None:
    spot, already = SPOTS[form], 0
    for seed in range(SEED, SEED + 200):
        text, content = compose(form, seed)
        try:
            # The composer and the parser must agree first, or the test proves nothing.
            assert _mcp_edit.parse(spot.format, text) == content
            independent(spot.format, text, content)
            second = there_and_back(spot, text)
            survives(spot, text, second)
        except (AssertionError, Malformed, Refused) as error:
            raise AssertionError(f"TWISTERLAB_MCP_SEED={seed}, {form}: {text!r}: {error}") from error
        already += spot.place[0] in (content or {})
    # The composed files are neither all with the container nor all without.
    assert 20 < already < 200


def independent(format_: str, text: str, content: Any) -> None:
    """What the library that the clients' own are like says of the text."""
    text = text.removeprefix("\ufeff")
    if format_ == "json":
        assert json.loads(text) == content
    elif format_ == "toml":
        assert tomllib.loads(text) == content
    elif format_ == "yaml":
        assert yaml.safe_load(text) == content


def survives(spot: Spot, old: str, new: str) -> None:
    """Every byte of the old text is in the new one, in order; only line breaks, a comma and our entries were added."""
    at = 0
    for char in old:
        at = new.find(char, at)
        assert at >= 0
        at += 1


@pytest.mark.parametrize("form", list(SPOTS))
def test_a_persons_changes_in_between_survive(form: str) -> None:
    spot = SPOTS[form]
    theirs = named(spot, {"command": "their"}, "theirs")
    for seed in range(SEED, SEED + 40):
        old, _ = compose(form, seed)
        with_ours = _mcp_edit.put(spot, old, "ours", named(spot, ENTRY))
        both = _mcp_edit.put(spot, with_ours, "theirs", theirs)
        left = _mcp_edit.drop(spot, both, "ours")
        assert _mcp_edit.get(spot, left, "theirs") == theirs, f"seed {seed}: {old!r}"
        assert _mcp_edit.get(spot, left, "ours") is None
