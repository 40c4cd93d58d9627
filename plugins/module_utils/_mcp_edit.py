# SPDX-License-Identifier: GPL-3.0-or-later
"""One entry into a client's file and out of it, as an edit of the text: what is not ours survives byte for byte.

How our own additions are told apart from what was there, without keeping a record: a container that we make is written
over several lines, an entry in an empty container that was there stands directly behind its bracket (JSON); a block put
at the end of a text starts with line breaks, one in a file that we make does not (YAML, TOML). Every edit is checked:
the result must parse, must say the old content and our entry and nothing else, and taking the entry out again must give
the old text; otherwise it is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import _mcp_edit_json, _mcp_edit_toml, _mcp_edit_yaml
from ._errors import Refused
from ._mcp_edit_text import Malformed

__all__ = ["Malformed", "Spot", "drop", "get", "parse", "put"]

_BOM = "\ufeff"


def _own_name(item: Any) -> str:
    return str(item.get("name", "")) if isinstance(item, dict) else ""


@dataclass(frozen=True)
class Spot:
    """Where entries stand in a file.

    Attributes:
        format: `json`, `jsonc`, `yaml` or `toml`.
        place: keys from the root to the container.
        listed: the container is a list; `name_of` gives an item's name.
        name_of: the name that a list's item carries, empty for none.
        preamble: keys with which a new YAML document starts.
    """

    format: str
    place: tuple[str, ...]
    listed: bool = False
    name_of: Callable[[Any], str] = field(default=_own_name)
    preamble: tuple[tuple[str, str], ...] = ()


def parse(format_: str, text: str) -> Any:
    """The content of a text: dict, list, str, int, float, bool, None (and dates in TOML).

    Raises:
        Malformed: the text is not of that format; says the place.
    """
    text = text.removeprefix(_BOM)
    if format_ == "toml":
        return _mcp_edit_toml.parse(text)
    if format_ == "yaml":
        return _mcp_edit_yaml.parse(text)
    return _mcp_edit_json.parse(text, strict=format_ == "json")


def _container(spot: Spot, content: Any) -> Any:
    """The container in the content, None when it is not there (yet)."""
    found = content
    for depth, key in enumerate(spot.place):
        if found is None and not depth:
            return None
        if not isinstance(found, dict):
            where = ".".join(spot.place[:depth]) or "the document"
            raise Refused(f"{where} is {_what(found)} where a map is needed")
        if f"{key}\0001" in found:
            raise Refused(f"the key {key} is there more than once")
        if key not in found:
            return None
        found = found[key]
    wanted = list if spot.listed else dict
    # An empty value in YAML is an empty list that nobody has filled yet.
    if found is None and spot.format == "yaml":
        return None
    if not isinstance(found, wanted):
        raise Refused(f"{'.'.join(spot.place)} is {_what(found)} where a {'list' if spot.listed else 'map'} is needed")
    return found


def _what(value: Any) -> str:
    if value is None:
        return "empty"
    names = {dict: "a map", list: "a list", str: "a text", bool: "a yes/no value", int: "a number", float: "a number"}
    return names.get(type(value), "something else")


def get(spot: Spot, text: str | None, name: str) -> Any:
    """The entry of that name, None if there is none.

    Raises:
        Malformed: the text cannot be parsed.
        Refused: something of another kind stands where the container belongs.
    """
    return _entry(spot, _content(spot, text), name)


def _content(spot: Spot, text: str | None) -> Any:
    return None if text is None else parse(spot.format, text)


def _entry(spot: Spot, content: Any, name: str) -> Any:
    found = _container(spot, content) or {}
    hits = (
        [item for item in found if spot.name_of(item) == name]
        if spot.listed
        else [found[name]]
        if name in found
        else []
    )
    if len(hits) > 1 or (not spot.listed and f"{name}\0001" in found):
        raise Refused(f"the entry {name} is there more than once")
    return hits[0] if hits else None


def _rest(spot: Spot, content: Any, name: str) -> str:
    """The content without the entry and without containers that are empty, to be compared."""

    def without(value: Any, place: tuple[str, ...]) -> Any:
        if place:
            if not isinstance(value, dict):
                return value
            changed = {key: without(item, place[1:]) if key == place[0] else item for key, item in value.items()}
            return {key: item for key, item in changed.items() if key != place[0] or item not in ({}, [], None)}
        if isinstance(value, list):
            return [item for item in value if spot.name_of(item) != name]
        return {key: item for key, item in value.items() if key != name} if isinstance(value, dict) else value

    left = without(content, spot.place)
    preamble = dict(spot.preamble)
    return repr(None if left in ({}, None) or left == preamble else left)


def _doubled(value: Any) -> bool:
    """Whether a key is there twice somewhere: its second name in the content is none to be written."""
    if isinstance(value, dict):
        return any("\0" in key or _doubled(inner) for key, inner in value.items())
    return isinstance(value, list) and any(map(_doubled, value))


def put(spot: Spot, text: str | None, name: str, entry: dict[str, Any]) -> str:
    """The text with that entry: in the place of the one of that name, else added.

    Args:
        text: None where there is no file yet.

    Raises:
        Malformed, Refused: nothing can be said for sure about the result.
    """
    before = _content(spot, text)
    old = _entry(spot, before, name)
    if text is not None and old == entry:
        return text
    if _doubled(old):
        raise Refused(f"the entry {name} has a key more than once")
    new = _put(spot, text, name, entry)
    after = _edited(spot, new, f"adding the entry {name}")
    if _entry(spot, after, name) != entry:
        raise Refused(f"the entry {name} cannot be written there in a way that reads back the same")
    if _rest(spot, after, name) != _rest(spot, before, name):
        raise Refused(f"adding the entry {name} would change something else in it")
    if old is None and _drop(spot, new, name) != text:
        raise Refused(f"adding the entry {name} could not be undone")
    return new


def drop(spot: Spot, text: str | None, name: str) -> str | None:
    """The text without that entry; None when there was nothing but ours in a file that we made.

    Raises:
        Malformed, Refused: as with `put`.
    """
    before = _content(spot, text)
    if text is None or _entry(spot, before, name) is None:
        return text
    new = _drop(spot, text, name)
    after = _edited(spot, new, f"taking out the entry {name}")
    if _entry(spot, after, name) is not None or _rest(spot, after, name) != _rest(spot, before, name):
        raise Refused(f"taking out the entry {name} would change something else in it")
    return new


def _edited(spot: Spot, new: str | None, what: str) -> Any:
    """The content of a text that we made: if it cannot be parsed, nothing is wrong with the file."""
    try:
        return _content(spot, new)
    except Malformed:
        raise Refused(f"{what} as we write it does not fit the way in which the file is written") from None


def _put(spot: Spot, text: str | None, name: str, entry: dict[str, Any]) -> str:
    bom, body = (_BOM, text[1:]) if text is not None and text.startswith(_BOM) else ("", text)
    if spot.format == "toml":
        new = _mcp_edit_toml.put(body, spot.place[0], name, entry)
    elif spot.format == "yaml":
        new = _mcp_edit_yaml.put(body, spot.place[0], name, entry, spot.preamble)
    else:
        new = _mcp_edit_json.put(body, spot.place, spot.listed, spot.name_of, name, entry, spot.format == "json")
    return bom + new


def _drop(spot: Spot, text: str, name: str) -> str | None:
    bom, body = (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
    if spot.format == "toml":
        new = _mcp_edit_toml.drop(body, spot.place[0], name)
    elif spot.format == "yaml":
        new = _mcp_edit_yaml.drop(body, spot.place[0], name, spot.preamble)
    else:
        new = _mcp_edit_json.drop(body, spot.place, spot.listed, spot.name_of, name, spot.format == "json")
    return bom + (new or "") if bom else new
