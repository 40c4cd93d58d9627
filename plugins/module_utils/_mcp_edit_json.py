# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries in JSON with or without comments and trailing commas.

No well-kept library edits JSON with comments without touching the rest (json-five and json5kit are not maintained,
jsonc-edit has one release and a compiled part), so the spans are found here; content is judged by the standard library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from ._errors import Refused
from ._mcp_edit_text import Malformed, leading, line_start, newline

_TRIVIA = re.compile(r"(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)*", re.DOTALL)
_BLANKS = re.compile(r"[ \t\r\n]*")
_PIECE = re.compile(r"(?P<blank>[ \t\r\n]+)|(?P<line>//[^\r\n]*)|(?P<block>/\*.*?\*/)", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_OWN_LINE = re.compile(r"(?:\r\n|\n)[ \t]*")
_DEPTH = 200


@dataclass(frozen=True)
class _Member:
    """One member of an object or array: its key, and where it starts, where its value starts and ends, and its comma (-1)."""

    key: str
    start: int
    value: int
    end: int
    comma: int


@dataclass(frozen=True)
class _Container:
    open: int
    close: int
    members: list[_Member]


def _fail(text: str, at: int, what: str) -> NoReturn:
    raise Malformed(f"line {text.count(chr(10), 0, at) + 1}: {what}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dict that keeps further members of the same key, under names that no file can have."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        name, count = key, 0
        while name in result:
            count += 1
            name = f"{key}\0{count}"
        result[name] = value
    return result


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def parse(text: str, strict: bool) -> Any:
    """The content; None for a text of blanks only.

    Raises:
        Malformed: it is no JSON, or has comments or trailing commas where the client does not read them.
    """
    if not text.strip(" \t\r\n"):
        return None
    plain = text
    if not strict:

        def blank(match: re.Match[str]) -> str:
            found = match.group()
            return found if found.startswith('"') else re.sub(r"[^\r\n]", " ", found)

        plain = _COMMENT.sub(blank, text)
        masked = _STRING.sub(lambda match: '"' + "_" * (len(match.group()) - 2) + '"', plain)
        wrong = re.search(r"[\[{,:]\s*,", masked)
        if wrong:
            _fail(masked, wrong.end() - 1, "there is a comma with nothing before it")
        characters = list(plain)
        for match in re.finditer(r",(?=\s*[}\]])", masked):
            characters[match.start()] = " "
        plain = "".join(characters)
    try:
        return json.loads(plain, parse_constant=_no_constant, object_pairs_hook=_pairs)
    except json.JSONDecodeError as error:
        if strict and _reads_leniently(text):
            raise Malformed(
                f"line {error.lineno}: there is a comment or a trailing comma, which this client does not read"
            ) from None
        raise Malformed(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except ValueError as error:
        raise Malformed(str(error)) from None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None


def _reads_leniently(text: str) -> bool:
    try:
        parse(text, strict=False)
    except Malformed:
        return False
    return True


class _Text:
    """Finds spans in one text; the text has been parsed before."""

    def __init__(self, text: str, strict: bool) -> None:
        self.text = text
        self.trivia = _BLANKS if strict else _TRIVIA
        self.strict = strict

    def skip_trivia(self, at: int) -> int:
        match = self.trivia.match(self.text, at)
        return match.end() if match else at

    def char(self, at: int) -> str:
        return self.text[at : at + 1]

    def string(self, at: int) -> int:
        match = _STRING.match(self.text, at)
        if not match:
            _fail(self.text, at, "a text in double quotes is missing")
        return match.end()

    def skip(self, at: int, depth: int = 0) -> int:
        """The end of the value that starts there."""
        if self.char(at) in ("{", "["):
            try:
                return _DECODER.raw_decode(self.text, at)[1]
            except ValueError:
                return self.container(at, depth + 1).close + 1
        if self.char(at) == '"':
            return self.string(at)
        match = _SCALAR.match(self.text, at)
        if not match:
            _fail(self.text, at, "a value is missing")
        return match.end()

    def container(self, at: int, depth: int = 0) -> _Container:
        """The members of the object or array that starts there."""
        if depth > _DEPTH:
            raise Malformed("it is nested too deeply")
        keyed = self.char(at) == "{"
        close = "}" if keyed else "]"
        members: list[_Member] = []
        here = at + 1
        while True:
            here = self.skip_trivia(here)
            if self.char(here) == close:
                return _Container(at, here, members)
            start, key = here, ""
            if keyed:
                end = self.string(here)
                key = str(json.loads(self.text[here:end]))
                here = self.skip_trivia(end)
                if self.char(here) != ":":
                    _fail(self.text, here, "a colon is missing")
                here = self.skip_trivia(here + 1)
            value, end = here, self.skip(here, depth)
            here = self.skip_trivia(end)
            comma = here if self.char(here) == "," else -1
            if comma < 0 and self.char(here) != close:
                _fail(self.text, here, "a comma or the closing bracket is missing")
            members.append(_Member(key, start, value, end, comma))
            here = comma + 1 if comma >= 0 else here

    def last_token(self, low: int, at: int) -> tuple[int, bool]:
        """Where the last comment between the two ends (`low` if none), and whether it runs to the end of its line."""
        end, to_line_end = low, False
        while low < at:
            piece = _PIECE.match(self.text, low)
            if not piece:
                break
            low = piece.end()
            if piece.lastgroup != "blank":
                end, to_line_end = low, piece.lastgroup == "line"
        return end, to_line_end

    def behind_comments(self, at: int) -> tuple[int, bool]:
        """Where the comments end that follow on the same line, and whether the last runs to the end of the line."""
        end, to_line_end = at, False
        while True:
            piece = _PIECE.match(self.text, at)
            if not piece or (piece.lastgroup == "blank" and re.search(r"[\r\n]", piece.group())):
                return end, to_line_end
            at = piece.end()
            if piece.lastgroup != "blank":
                end, to_line_end = at, piece.lastgroup == "line"
                if "\n" in piece.group():
                    return end, False

    def unit(self) -> str:
        """One step of indentation: that of the root's first member."""
        root = self.skip_trivia(0)
        first = next(iter(self.container(root).members), None)
        blanks = leading(self.text, first.start) if first and "\n" in self.text[root : first.start] else ""
        return blanks or "  "


def _dumps(value: Any, indent: str | None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # A lone half of a surrogate pair, which JSON can say and UTF-8 cannot.
    return json.dumps(value, indent=indent) if re.search(r"[\ud800-\udfff]", text) else text


def _render(value: Any, unit: str, base: str, line_break: str) -> str:
    return (line_break + base).join(_dumps(value, unit).split("\n"))


def _walk(
    found: _Text, place: tuple[str, ...], listed: bool
) -> tuple[list[tuple[_Container, int]], _Container, tuple[str, ...]]:
    """Follow the place: the (container, index) pairs passed, the container reached, and the keys that are not there."""
    at = found.skip_trivia(0)
    if found.char(at) != "{":
        raise Refused("the document is no map")
    container = found.container(at)
    passed: list[tuple[_Container, int]] = []
    for depth, key in enumerate(place):
        hits = [index for index, member in enumerate(container.members) if member.key == key]
        if len(hits) > 1:
            raise Refused(f"the key {key} is there {len(hits)} times")
        if not hits:
            return passed, container, place[depth:]
        wanted = "[" if listed and depth == len(place) - 1 else "{"
        member = container.members[hits[0]]
        if found.char(member.value) != wanted:
            raise Refused(f"{key} is something else than a {'list' if wanted == '[' else 'map'}")
        passed.append((container, hits[0]))
        container = found.container(member.value)
    return passed, container, ()


def _index(found: _Text, container: _Container, listed: bool, name_of: Callable[[Any], str], name: str) -> int | None:
    hits = []
    for index, member in enumerate(container.members):
        text = found.text[member.value : member.end]
        if (name_of(parse(text, found.strict)) if listed else member.key) == name:
            hits.append(index)
    if len(hits) > 1:
        raise Refused(f"the entry {name} is there {len(hits)} times")
    return hits[0] if hits else None


def put(
    text: str | None,
    place: tuple[str, ...],
    listed: bool,
    name_of: Callable[[Any], str],
    name: str,
    entry: dict[str, Any],
    strict: bool,
) -> str:
    """The text with the entry."""
    value: Any = [entry] if listed else {name: entry}
    if text is None or not text.strip(" \t\r\n"):
        for key in reversed(place):
            value = {key: value}
        if text is None:
            return _dumps(value, "  ") + "\n"
        line_break = newline(text)
        return text + line_break + _render(value, "  ", "", line_break) + line_break
    found = _Text(text, strict)
    _, container, missing = _walk(found, place, listed)
    if missing:
        for key in reversed(missing[1:]):
            value = {key: value}
        return _insert(found, container, missing[0], value, made=True)
    index = _index(found, container, listed, name_of, name)
    if index is None:
        return _insert(found, container, "" if listed else name, entry, made=False)
    member = container.members[index]
    old = text[member.value : member.end]
    inline = "\n" not in old and "\n" not in text[container.open : member.start] and len(container.members) > 1
    new = _dumps(entry, None) if inline else _render(entry, found.unit(), leading(text, member.start), newline(text))
    return text[: member.value] + new + text[member.end :]


def _insert(found: _Text, container: _Container, key: str, value: Any, made: bool) -> str:
    """Add a member behind the last one; `made`: the value is a container of ours, which is always of several lines."""
    text, unit, line_break = found.text, found.unit(), newline(found.text)
    head = f"{_dumps(key, None)}: " if key else ""
    base = leading(text, container.open)
    if not container.members:
        at, to_line_end = found.last_token(container.open + 1, container.close)
        if at == container.open + 1:
            return text[:at] + head + _render(value, unit, base, line_break) + text[at:]
        return text[:at] + line_break + base + unit + head + _render(value, unit, base + unit, line_break) + text[at:]
    first, last = container.members[0], container.members[-1]
    after = last.comma + 1 if last.comma >= 0 else last.end
    at, to_line_end = found.behind_comments(after)
    if "\n" in text[container.open : first.start]:
        own = leading(text, last.start)
        alone = line_start(text, last.start) + len(own) == last.start
        indent = own if alone else leading(text, first.start)
        addition = line_break + indent + head + _render(value, unit, indent, line_break)
    elif to_line_end:
        addition = line_break + base + unit + head + _render(value, unit, base + unit, line_break)
    else:
        addition = " " + head + (_render(value, unit, base, line_break) if made else _dumps(value, None))
    if last.comma >= 0:
        return text[:at] + addition + "," + text[at:]
    return text[: last.end] + "," + text[last.end : at] + addition + text[at:]


def _made_by_us(text: str, container: _Container) -> bool:
    """Whether the container holds one member on lines of its own and nothing else, as those that we make."""
    if len(container.members) != 1 or container.members[0].comma >= 0:
        return False
    before = text[container.open + 1 : container.members[0].start]
    behind = text[container.members[0].end : container.close]
    return bool(_OWN_LINE.fullmatch(before) and _OWN_LINE.fullmatch(behind))


def drop(
    text: str, place: tuple[str, ...], listed: bool, name_of: Callable[[Any], str], name: str, strict: bool
) -> str | None:
    """The text without the entry; None when nothing is left of a file that we made."""
    found = _Text(text, strict)
    passed, container, missing = _walk(found, place, listed)
    index = None if missing else _index(found, container, listed, name_of, name)
    if index is None:
        return text
    while passed and _made_by_us(text, container):
        container, index = passed.pop()
    if not passed and _made_by_us(text, container):
        before, behind = text[: container.open], text[container.close + 1 :]
        if re.fullmatch(r"\r\n|\n", behind):
            if not before:
                return None
            if not before.strip(" \t\r\n") and before.endswith(behind):
                return before.removesuffix(behind)
    return _remove(found, container, index)


def _remove(found: _Text, container: _Container, index: int) -> str:
    text, members = found.text, container.members
    member = members[index]
    low = members[index - 1].comma + 1 if index else container.open + 1
    start, to_line_end = found.last_token(low, member.start)
    end = member.comma + 1 if member.comma >= 0 else member.end
    if to_line_end and text[end : end + 1] not in ("\r", "\n"):
        start = member.start
    cuts = [(start, member.end)]
    if member.comma >= 0:
        cuts.append((member.comma, member.comma + 1))
    elif index:
        cuts.append((members[index - 1].comma, members[index - 1].comma + 1))
    for begin, stop in sorted(cuts, reverse=True):
        text = text[:begin] + text[stop:]
    return text
