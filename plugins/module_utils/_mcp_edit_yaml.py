# SPDX-License-Identifier: GPL-3.0-or-later
"""Entries in YAML: items of a list under one key of the document; spans come from PyYAML's marks."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from ._errors import Refused
from ._mcp_edit_text import Malformed, append, cut, leading, line_end, line_start, newline

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
# Words that YAML 1.1 or 1.2 reads as something else than text.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
# Above the keys of a document that we made: tells it from one that a person began with the same keys.
_NOTE = "# Written by the Ansible module twisterlab.platform.mcp_config."


def _compose(text: str) -> yaml.Node | None:
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise Malformed(f"{f'line {mark.line + 1}: ' if mark else ''}{error.problem}") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise Malformed("it holds a character that YAML does not allow, or is nested too deeply") from None
    if len(documents) > 1:
        raise Refused("it holds more than one document")
    node: yaml.Node | None = documents[0] if documents else None
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null") and not node.value:
        return None
    return node


def _plain(node: yaml.Node, above: tuple[int, ...] = ()) -> Any:
    """The content of a node; what has a tag of its own stays text."""
    if id(node) in above or len(above) > 100:
        raise Malformed("it is nested too deeply")
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key, value in node.value:
            name, count = str(_plain(key, above)), 0
            unique = name
            while unique in result:
                count += 1
                unique = f"{name}\0{count}"
            result[unique] = _plain(value, above)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, above) for item in node.value]
    if node.tag.rpartition(":")[2] in ("bool", "int", "float", "null"):
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):
            return node.value
    return node.value


def parse(text: str) -> Any:
    """The content; None for a document without any.

    Raises:
        Malformed: it is no YAML.
        Refused: it holds more than one document.
    """
    node = _compose(text)
    return None if node is None else _plain(node)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if value is None or isinstance(value, str | bool | int | float):
        return json.dumps(value, ensure_ascii=False)
    raise Refused(f"it holds a value of the kind {type(value).__name__}, which cannot be rewritten")


def _lines(value: dict[str, Any]) -> list[str]:
    result: list[str] = []
    for key, item in value.items():
        name = _scalar(key)
        if isinstance(item, dict) and item:
            result += [f"{name}:", *(f"  {line}" for line in _lines(item))]
        elif isinstance(item, list) and item:
            result.append(f"{name}:")
            for part in item:
                if isinstance(part, dict) and part:
                    inner = _lines(part)
                    result += [f"  - {inner[0]}", *(f"    {line}" for line in inner[1:])]
                else:
                    result.append(f"  - {json.dumps(part) if isinstance(part, list) else _scalar(part)}")
        else:
            result.append(f"{name}: {json.dumps(item) if item in ({}, []) else _scalar(item)}")
    return result


def _item(entry: dict[str, Any], pad: str, line_break: str) -> str:
    lines = _lines(entry)
    return line_break.join([f"{pad}- {lines[0]}", *(f"{pad}  {line}" for line in lines[1:])])


def _preamble(preamble: tuple[tuple[str, str], ...]) -> list[str]:
    return [_NOTE, *(f"{key}: {_scalar(value)}" for key, value in preamble)]


def _find(text: str, key: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """The key and its value in the document's map."""
    root = _compose(text)
    if root is None:
        return None, None
    if not isinstance(root, yaml.MappingNode):
        raise Refused("the document is no map")
    hits = [(name, value) for name, value in root.value if name.value == key]
    if len(hits) > 1:
        raise Refused(f"the key {key} is there {len(hits)} times")
    if root.flow_style:
        raise Refused("the document is written in braces; write it in lines, one key each")
    if not hits:
        return None, None
    name, value = hits[0]
    marked = text[name.end_mark.index : value.start_mark.index]
    if re.search(r"[&*!]", re.sub(r"#[^\n]*", "", marked)) or text[value.start_mark.index :][:1] in ("&", "*", "!"):
        raise Refused(f"{key} carries an anchor, an alias or a tag")
    return name, value


def _leaf_end(text: str, node: yaml.Node) -> int:
    """The end of the node's last piece of text (block collections end only where the next thing starts)."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _leaf_end(text, last[1] if isinstance(last, tuple) else last)
    end = int(node.end_mark.index)
    if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
        end = len(text[:end].rstrip(" \t\r\n"))
    return max(end, int(node.start_mark.index))


def _dashes(text: str, value: yaml.SequenceNode) -> list[int]:
    start, column = value.start_mark.index, value.start_mark.column
    stop = value.end_mark.index
    return [
        token.start_mark.index
        for token in yaml.scan(text, Loader=yaml.SafeLoader)
        if isinstance(token, yaml.BlockEntryToken)
        and token.start_mark.column == column
        and start <= token.start_mark.index < max(stop, start + 1)
    ]


def _span(text: str, value: yaml.SequenceNode, index: int) -> tuple[int, int]:
    """From the start of the item's first line to the end of its last."""
    node = value.value[index]
    dash = _dashes(text, value)[index]
    start = line_start(text, dash)
    if text[start:dash].strip(" "):
        raise Refused("an entry does not start on a line of its own")
    if re.match(r"-\s*[&*!]", text[dash:]):
        raise Refused("an entry carries an anchor, an alias or a tag")
    return start, line_end(text, _leaf_end(text, node))


def _index(value: yaml.SequenceNode, name: str) -> int | None:
    hits = [
        index
        for index, item in enumerate(value.value)
        if isinstance(item, yaml.MappingNode) and _plain(item).get("name") == name
    ]
    if len(hits) > 1:
        raise Refused(f"the entry {name} is there {len(hits)} times")
    return hits[0] if hits else None


def put(text: str | None, key: str, name: str, entry: dict[str, Any], preamble: tuple[tuple[str, str], ...]) -> str:
    """The text with the entry."""
    line_break = newline(text or "")
    if text is None or _compose(text) is None:
        block = line_break.join([*_preamble(preamble), f"{key}:", _item(entry, "  ", line_break)])
        return block + "\n" if text is None else append(text, block, 1)
    found, value = _find(text, key)
    if found is None or value is None:
        return append(text, line_break.join([f"{key}:", _item(entry, "  ", line_break)]), 1)
    if isinstance(value, yaml.ScalarNode) and not value.value and value.tag.endswith(":null"):
        at = line_end(text, found.end_mark.index)
        # At the key's own column: so it is told apart from a list that we made.
        return text[:at] + line_break + _item(entry, "", line_break) + text[at:]
    if not isinstance(value, yaml.SequenceNode):
        raise Refused(f"{key} is something else than a list")
    index = _index(value, name)
    if value.flow_style:
        return _put_flow(text, value, index, entry)
    if index is None:
        start, end = _span(text, value, len(value.value) - 1)
        return text[:end] + line_break + _item(entry, leading(text, start), line_break) + text[end:]
    start, end = _span(text, value, index)
    return text[:start] + _item(entry, leading(text, start), line_break) + text[end:]


def _put_flow(text: str, value: yaml.SequenceNode, index: int | None, entry: dict[str, Any]) -> str:
    """In brackets an item is written as JSON, which is YAML."""
    written = json.dumps(entry, ensure_ascii=False)
    if index is not None:
        item = value.value[index]
        return text[: item.start_mark.index] + written + text[item.end_mark.index :]
    if value.value:
        at = value.value[-1].end_mark.index
        return text[:at] + ", " + written + text[at:]
    at = value.start_mark.index + 1
    return text[:at] + written + text[at:]


def drop(text: str, key: str, name: str, preamble: tuple[tuple[str, str], ...]) -> str | None:
    """The text without the entry; None when nothing is left of a file that we made."""
    found, value = _find(text, key)
    if found is None or not isinstance(value, yaml.SequenceNode):
        return text
    index = _index(value, name)
    if index is None:
        return text
    if value.flow_style:
        return _drop_flow(text, value, index)
    start, end = _span(text, value, index)
    if len(value.value) == 1 and leading(text, start):
        # The list is ours: its key goes, and the keys that we wrote before it.
        start = line_start(text, found.start_mark.index)
        before = newline(text).join(_preamble(preamble)) + newline(text)
        if text[:start].endswith(before):
            start -= len(before)
    return cut(text, start, end, 1)


def _drop_flow(text: str, value: yaml.SequenceNode, index: int) -> str:
    item = value.value[index]
    start, end = item.start_mark.index, item.end_mark.index
    if index:
        start = value.value[index - 1].end_mark.index
    elif len(value.value) > 1:
        end = value.value[1].start_mark.index
    if "#" in re.sub(r'"(?:[^"\\]|\\.)*"', "", text[start : item.start_mark.index] + text[item.end_mark.index : end]):
        raise Refused("there is a comment between the entries of a list in brackets")
    return text[:start] + text[end:]
