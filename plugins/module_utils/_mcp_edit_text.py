# SPDX-License-Identifier: GPL-3.0-or-later
"""What the editors of all formats share: line breaks, lines, and blocks at the end of a text."""

from __future__ import annotations

import re

from ._errors import PlatformError


class Malformed(PlatformError):
    """A text is not of its format; the message says what is wrong and where, without quoting the text."""


def newline(text: str) -> str:
    """The line break that most lines of the text end with."""
    return "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"


def line_start(text: str, at: int) -> int:
    """Where the line of that position starts."""
    return text.rfind("\n", 0, at) + 1


def line_end(text: str, at: int) -> int:
    """Where the line of that position ends, before its line break."""
    end = text.find("\n", at)
    if end < 0:
        return len(text)
    return end - 1 if text[end - 1 : end] == "\r" else end


def leading(text: str, at: int) -> str:
    """The blanks with which the line of that position starts."""
    match = re.compile(r"[ \t]*").match(text, line_start(text, at))
    return match.group() if match else ""


def _break_before(text: str, at: int) -> int:
    """Length of the line break that ends at the position, 0 for none."""
    if text[:at].endswith("\r\n"):
        return 2
    return 1 if text[:at].endswith("\n") else 0


def append(text: str, block: str, breaks: int) -> str:
    """Put a block behind the last line, after so many line breaks; the text ends with a line break if it did before."""
    end = len(text) - _break_before(text, len(text))
    return text[:end] + newline(text) * breaks + block + text[end:]


def cut(text: str, start: int, end: int, breaks: int) -> str | None:
    """Take a block of whole lines out, with the line breaks that `append` put before it; None if that leaves no file.

    A block at the very start is one of a file that we made: the line breaks behind it go.
    """
    begin = start
    for _ in range(breaks):
        begin -= _break_before(text, begin)
    rest = text[end:]
    if begin == 0 and start == 0:
        for _ in range(breaks):
            rest = rest.removeprefix("\r\n") if rest.startswith("\r\n") else rest.removeprefix("\n")
        return rest or None
    return text[:begin] + rest
