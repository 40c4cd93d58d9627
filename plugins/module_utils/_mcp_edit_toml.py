# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries in TOML, each a table `[place.name]` at the end of the file; content is judged by tomllib."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from ._errors import Refused
from ._mcp_edit_text import Malformed, append, cut, line_end, line_start, newline

_BLANKS = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")' r"|'''.*?'{3,5}(?!')" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'", re.DOTALL
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
# A table of ours and what follows are kept apart by an empty line.
_BREAKS = 2


@dataclass(frozen=True)
class _Statement:
    """A `[table]` header or a `key = value`: its full path, whether it is a header, where its line starts and ends."""

    path: tuple[str, ...]
    header: bool
    start: int
    end: int


def parse(text: str) -> dict[str, Any]:
    """The content.

    Raises:
        Malformed: it is no TOML.
    """
    try:
        # tomllib takes \r only before \n, as TOML does.
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Malformed(str(error)) from None
    except RecursionError:
        raise Malformed("it is nested too deeply") from None


def _key(text: str, at: int) -> tuple[tuple[str, ...], int]:
    parts: list[str] = []
    while True:
        at = _skip(text, at, " \t")
        match = _KEY.match(text, at)
        if not match:
            raise Malformed(f"line {text.count(chr(10), 0, at) + 1}: a key is missing")
        word = match.group()
        parts.append(next(iter(tomllib.loads(f"{word} = 0"))))
        at = _skip(text, match.end(), " \t")
        if text[at : at + 1] != ".":
            return tuple(parts), at
        at += 1


def _skip(text: str, at: int, characters: str) -> int:
    while at < len(text) and text[at] in characters:
        at += 1
    return at


def _value_end(text: str, at: int) -> int:
    """The end of the value that starts there; brackets may span lines."""
    depth = 0
    while at < len(text):
        string = _STRING.match(text, at)
        if string:
            at = string.end()
            continue
        char = text[at]
        if char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "#" and depth:
            at = line_end(text, at)
            continue
        elif char in "#\n" and not depth:
            return at
        at += 1
    return at


def _statements(text: str) -> list[_Statement]:
    found: list[_Statement] = []
    table: tuple[str, ...] = ()
    at = 0
    while True:
        blanks = _BLANKS.match(text, at)
        at = blanks.end() if blanks else at
        if at >= len(text):
            return found
        start = line_start(text, at)
        if text[at] == "[":
            table, at = _key(text, at + (2 if text.startswith("[[", at) else 1))
            found.append(_Statement(table, True, start, line_end(text, at)))
        else:
            path, at = _key(text, at)
            at = _value_end(text, at + 1)
            found.append(_Statement((*table, *path), False, start, line_end(text, at)))
        at = line_end(text, at)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_word(key)} = {_literal(item)}" for key, item in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)


def _word(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def put(text: str | None, place: str, name: str, entry: dict[str, Any]) -> str:
    """The text with the entry's table; of a table that is there, lines with the same value and other keys stay."""
    lines = {key: f"{_word(key)} = {_literal(value)}" for key, value in entry.items() if not _is_other(value)}
    head = f"[{place}.{_word(name)}]"
    if text is None:
        return "\n".join([head, *lines.values()]) + "\n"
    line_break = newline(text)
    old = parse(text).get(place, {}).get(name)
    if old is None:
        return append(text, line_break.join([head, *lines.values()]), _BREAKS)
    headers, inside = _table(text, place, name)
    table = headers[0]
    keep = {key for key, value in entry.items() if old.get(key) == value}
    parts = [text[: table.end]]
    parts += [line_break + line for key, line in lines.items() if key not in keep]
    at = table.end
    for statement in inside:
        if statement.path[2] not in keep:
            parts.append(text[at : statement.start])
            at = _behind(text, statement.end)
    new = "".join(parts) + text[at:]
    # A text that ended without a line break still does when its last line went.
    return new if text.endswith("\n") else new.removesuffix("\n").removesuffix("\r")


def _is_other(value: Any) -> bool:
    """Values that this module does not write (dates); they can only come from a line that stays."""
    if isinstance(value, list):
        return any(_is_other(item) for item in value)
    if isinstance(value, dict):
        return any(_is_other(item) for item in value.values())
    return not isinstance(value, str | int | float | bool)


def _behind(text: str, end: int) -> int:
    """Behind the line break that follows."""
    return end + (2 if text.startswith("\r\n", end) else 1 if text.startswith("\n", end) else 0)


def _table(text: str, place: str, name: str) -> tuple[list[_Statement], list[_Statement]]:
    """The headers of the entry's tables, its own first, and everything else that belongs to it."""
    ours = [statement for statement in _statements(text) if statement.path[:2] == (place, name)]
    headers = [statement for statement in ours if statement.header]
    if not headers or ours[0] is not headers[0] or headers[0].path != (place, name):
        raise Refused(f"the entry {name} is not written as a table [{place}.{name}]; write it so")
    return headers, [statement for statement in ours if statement is not headers[0]]


def drop(text: str, place: str, name: str) -> str | None:
    """The text without the entry's tables; None when nothing is left of a file that we made."""
    if name not in parse(text).get(place, {}):
        return text
    _table(text, place, name)
    blocks: list[tuple[int, int]] = []
    inside = False
    for statement in _statements(text):
        if statement.path[:2] != (place, name):
            inside = False
        elif inside:
            blocks[-1] = (blocks[-1][0], statement.end)
        else:
            blocks.append((statement.start, statement.end))
            inside = True
    left: str | None = text
    for start, end in reversed(blocks):
        left = cut(left or "", start, end, _BREAKS)
    return left
