# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a message is what the protocol's revision allows: the first difference, in one sentence."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Iterable
from typing import Any

from ._mcp_schemas import _2024_11_05, _2025_03_26, _2025_06_18, _2025_11_25, _2026_07_28

IMPORT_ERROR: str | None = None
try:
    from jsonschema import exceptions, validators
except ImportError:
    IMPORT_ERROR = traceback.format_exc()

_TEXTS = {
    "2024-11-05": _2024_11_05.TEXT,
    "2025-03-26": _2025_03_26.TEXT,
    "2025-06-18": _2025_06_18.TEXT,
    "2025-11-25": _2025_11_25.TEXT,
    "2026-07-28": _2026_07_28.TEXT,
}
#: The revisions known, oldest first.
REVISIONS = tuple(_TEXTS)
MODERN = "2026-07-28"
LEGACY = "2025-11-25"
_SHOWN = 120


@functools.cache
def _schema(revision: str) -> dict[str, Any]:
    return json.loads(_TEXTS[revision])


def _definitions(revision: str) -> tuple[str, dict[str, Any]]:
    """The word under which the schema keeps its definitions, and these."""
    schema = _schema(revision)
    word = "$defs" if "$defs" in schema else "definitions"
    return word, schema[word]


@functools.cache
def _by_method(revision: str) -> dict[str, str]:
    """The definition of the message of each method."""
    found = {}
    for name, definition in _definitions(revision)[1].items():
        method = definition.get("properties", {}).get("method", {}).get("const")
        if isinstance(method, str):
            found[method] = name
    return found


@functools.cache
def _by_code(revision: str) -> dict[int, str]:
    """The definition of the error of each code that the revision describes."""
    found = {}
    for name, definition in _definitions(revision)[1].items():
        for part in definition.get("properties", {}).get("error", {}).get("allOf", []):
            code = part.get("properties", {}).get("code", {}).get("const")
            if isinstance(code, int):
                found[code] = name
    return found


@functools.cache
def _validator(revision: str, definition: str) -> Any:
    schema = _schema(revision)
    word = "$defs" if "$defs" in schema else "definitions"
    whole = {**schema, "$ref": f"#/{word}/{definition}"}
    return validators.validator_for(whole)(whole)


def definitions_of(message: Any, revision: str, asked: str = "") -> list[str]:
    """The definitions that a message of this kind must fulfil; empty when it is no JSON-RPC message at all.

    Args:
        message: decoded JSON.
        revision: the protocol's revision.
        asked: the method of the request that it answers; empty for a request or notification.
    """
    known = _definitions(revision)[1]
    if not isinstance(message, dict):
        return []
    if isinstance(message.get("method"), str):
        return [
            _by_method(revision).get(message["method"], "JSONRPCRequest" if "id" in message else "JSONRPCNotification")
        ]
    if "error" in message and "result" not in message:
        error = message["error"]
        code = error.get("code") if isinstance(error, dict) else None
        general = "JSONRPCErrorResponse" if "JSONRPCErrorResponse" in known else "JSONRPCError"
        return [_by_code(revision).get(code, general) if isinstance(code, int) else general]
    if "result" in message and "error" not in message:
        general = "JSONRPCResultResponse" if "JSONRPCResultResponse" in known else "JSONRPCResponse"
        request = _by_method(revision).get(asked, "")
        own = request.removesuffix("Request") + "Result"
        return [general, own] if request.endswith("Request") and own in known else [general]
    return []


def first_difference(message: Any, revision: str, asked: str = "") -> str | None:
    """Where a message differs from its revision's schema: path, what, definition and revision; None when it does not.

    Args:
        message: decoded JSON.
        revision: one of REVISIONS.
        asked: the method of the request that it answers; empty for a request or notification.
    """
    names = definitions_of(message, revision, asked)
    if not names:
        return f"{_short(message)} is neither a request, a notification nor an answer (revision {revision})"
    # JSON-RPC's own envelope first: older revisions describe some methods without it.
    if isinstance(message, dict) and message.get("jsonrpc") != "2.0":
        return f'$.jsonrpc: {_short(message.get("jsonrpc"))} where "2.0" must stand (revision {revision})'
    for name in names:
        part, root = (message["result"], "$.result") if name.endswith("Result") else (message, "$")
        error = exceptions.best_match(_validator(revision, name).iter_errors(part))
        if error is not None:
            return f"{path(root, error.absolute_path)}: {_short_text(error.message)} ({name}, revision {revision})"
    return None


def schema_difference(schema: Any) -> str | None:
    """Why a tool's input schema is no valid JSON Schema; None when it is one."""
    if not isinstance(schema, dict):
        return f"{_short(schema)} is no JSON schema"
    kind = validators.validator_for(
        schema, default=validators.validator_for({"$schema": "https://json-schema.org/draft/2020-12/schema"})
    )
    error = exceptions.best_match(kind(kind.META_SCHEMA).iter_errors(schema))
    return None if error is None else f"{path('$', error.absolute_path)}: {_short_text(error.message)}"


def path(root: str, parts: Iterable[str | int]) -> str:
    """A JSON path such as `$.result.tools[0].name`."""
    for part in parts:
        if isinstance(part, int):
            root += f"[{part}]"
        else:
            root += f".{part}" if part.isidentifier() else f"[{json.dumps(part)}]"
    return root


def _short(value: Any) -> str:
    return _short_text(json.dumps(value, ensure_ascii=False, default=str))


def _short_text(text: str) -> str:
    # jsonschema's sentences begin with the offending value, so the end is what says why.
    return text if len(text) <= _SHOWN * 2 else f"{text[:_SHOWN]} ... {text[-_SHOWN:]}"
