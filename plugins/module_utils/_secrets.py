# SPDX-License-Identifier: GPL-3.0-or-later
"""The one Secret of the platform: generated, supplied and derived keys, their checksums, and hiding them from texts.

Nothing here talks to a cluster; randomness is passed in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ._errors import Refused

SECRET_NAME = "twisterlab-secrets"  # noqa: S105 - the name of an object, not a secret
SALT_KEY = "checksum_salt"
KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,253}")
ALPHABET = string.ascii_letters + string.digits
LONGEST = 512
FORMS = ("generated", "derived", "supplied", "initial")
#: Names of roles of Postgres: kept beside their passwords, and no secrets.
LOGIN = "postgres_login"
PUBLIC = (LOGIN, f"{LOGIN}_previous")

_FIELD = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class Declaration:
    """One key of the Secret.

    Attributes:
        name: the key.
        generated: the length in characters when it is generated, else 0.
        derived: the format when it is derived, else None.
        supplied: whether somebody must supply it.
        initial: the format of its first value, which is then kept, else None.
    """

    name: str
    generated: int = 0
    derived: str | None = None
    supplied: bool = False
    initial: str | None = None


@dataclass
class Resolution:
    """What the Secret must hold, and what that means for the reader.

    Attributes:
        values: every key of the Secret, in clear, those of no declaration included.
        created: keys that were not there.
        changed: keys whose value is another now.
    """

    values: dict[str, str]
    created: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def parse(raw: Iterable[dict[str, Any]]) -> list[Declaration]:
    """Read declarations as a tier writes them.

    Raises:
        Refused: with the key and the forms that exist.
    """
    found: dict[str, Declaration] = {}
    for item in raw:
        name = str(item.get("name", ""))
        if not KEY_NAME.fullmatch(name):
            raise Refused(f"The secret key {name!r} is no name of a key: use letters, digits, '.', '_' and '-'.")
        kinds = [word for word in FORMS if item.get(word) not in (None, False)]
        unknown = sorted(set(item) - {"name", *FORMS})
        if len(kinds) != 1 or unknown:
            raise Refused(
                f"The declaration of the secret key {name} must have exactly one of generated: {{length: 32}}, derived: <format>, initial: <format>, supplied: true"
                + (f"; it has the unknown word {unknown[0]}." if unknown else ".")
            )
        declaration = _one(name, kinds[0], item[kinds[0]])
        if found.get(name, declaration) != declaration:
            raise Refused(
                f"The secret key {name} is declared twice with different meanings: make both declarations equal."
            )
        found[name] = declaration
    return list(found.values())


def _one(name: str, kind: str, value: Any) -> Declaration:
    if kind == "supplied":
        return Declaration(name, supplied=True)
    if kind in ("derived", "initial"):
        if not isinstance(value, str):
            raise Refused(
                f"The {kind} secret key {name} needs a text as its format, such as 'redis://:{{redis_password:url}}@redis:6379/0'."
            )
        references(value, name)
        return Declaration(name, derived=value) if kind == "derived" else Declaration(name, initial=value)
    length = value.get("length", 32) if isinstance(value, dict) else value
    try:
        length = int(length)
    except (TypeError, ValueError):
        length = 0
    if not 8 <= length <= LONGEST:
        raise Refused(
            f"The generated secret key {name} needs a length from 8 to {LONGEST}, such as generated: {{length: 32}}."
        )
    return Declaration(name, generated=length)


def references(text: str, name: str) -> list[str]:
    """The keys a format refers to.

    Raises:
        Refused: the format is malformed or uses an unknown conversion.
    """
    found = []
    for match in _FIELD.finditer(text):
        token, inner = match.group(0), match.group(1)
        if token in ("{{", "}}"):
            continue
        if inner is None:
            raise Refused(
                f"The format of the secret key {name} has a lone {token!r}: write {token * 2} for the character itself."
            )
        key, _, conversion = inner.partition(":")
        if not KEY_NAME.fullmatch(key) or conversion not in CONVERSIONS:
            raise Refused(
                f"The format of the secret key {name} has {{{inner}}}: write {{key}} or {{key:<conversion>}} with one of {', '.join(sorted(CONVERSIONS)[1:])}."
            )
        found.append(key)
    return found


def expand(text: str, values: dict[str, str]) -> str:
    """Fill a format; every key it refers to must be in `values`."""

    def one(match: re.Match[str]) -> str:
        token, inner = match.group(0), match.group(1)
        if inner is None:
            return token[0]
        key, _, conversion = inner.partition(":")
        return CONVERSIONS[conversion](values[key])

    return _FIELD.sub(one, text)


def _quoted(value: str) -> str:
    """Between double quotes, as redis.conf and most configuration languages read it."""
    out = []
    for char in value:
        if char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif char == "\r":
            out.append("\\r")
        elif char == "\t":
            out.append("\\t")
        elif char.isprintable():
            out.append(char)
        else:
            out.append("".join(f"\\x{byte:02x}" for byte in char.encode()))
    return '"' + "".join(out) + '"'


def literal(value: str) -> str:
    """A text in SQL.

    Raises:
        Refused: Postgres has no such text.
    """
    if "\0" in value:
        raise Refused("A password of Postgres holds a NUL character: choose another one.")
    return "'" + value.replace("'", "''") + "'"


CONVERSIONS: dict[str, Callable[[str], str]] = {
    "": lambda value: value,
    "url": lambda value: quote(value, safe=""),
    "quoted": _quoted,
    "sql": literal,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    # For files that take a digest in the place of a password, such as the ACL of redis.conf.
    "sha256": lambda value: hashlib.sha256(value.encode()).hexdigest(),
    # For htpasswd. Without salt, so that it stays the same; the password itself stands in the Secret beside it.
    "htpasswd": lambda value: "{SHA}" + base64.b64encode(hashlib.sha1(value.encode()).digest()).decode(),  # noqa: S324
}


def resolve(
    declarations: list[Declaration],
    existing: dict[str, str],
    supplied: dict[str, str],
    choose: Callable[[int], str],
) -> Resolution:
    """Decide every key's value.

    Args:
        declarations: of all staged components.
        existing: the keys the Secret has, in clear.
        supplied: what the user gave; it always wins.
        choose: makes a random text of a length.

    Raises:
        Refused: a supplied key is neither given nor there, or a format refers to a key that nobody makes.
    """
    result = Resolution(values=dict(existing))
    waiting: list[Declaration] = []
    plain = [item for item in declarations if item.derived is None and item.initial is None]
    for item in plain:
        if supplied.get(item.name) not in (None, ""):
            _set(result, existing, item.name, str(supplied[item.name]))
        elif item.name in existing:
            continue
        elif item.generated:
            _set(result, existing, item.name, choose(item.generated))
        else:
            raise Refused(
                f"The secret key {item.name} must be supplied: write twisterlab_secrets: {{{item.name}: <value>}} in a vault file of the inventory."
            )
    if SALT_KEY not in result.values:
        _set(result, existing, SALT_KEY, choose(32))
    # What is kept once it is there needs no format any more.
    for item in declarations:
        if item.initial is not None and item.name in existing and not supplied.get(item.name):
            continue
        if item.initial is not None or item.derived is not None:
            waiting.append(item)
    _derive(waiting, result, existing, supplied)
    return result


def _format(item: Declaration) -> str:
    return item.derived if item.derived is not None else (item.initial or "")


def _derive(waiting: list[Declaration], result: Resolution, existing: dict[str, str], supplied: dict[str, str]) -> None:
    pending = {item.name: item for item in waiting}
    while pending:
        ready = [item for item in pending.values() if not set(references(_format(item), item.name)) & set(pending)]
        if not ready:
            raise Refused(
                f"The derived secret keys {', '.join(sorted(pending))} refer to each other in a circle: let one of them use plain keys."
            )
        for item in ready:
            if supplied.get(item.name) not in (None, ""):
                # A whole DSN given by the user is worth more than one put together here.
                _set(result, existing, item.name, str(supplied[item.name]))
            else:
                missing = [key for key in references(_format(item), item.name) if key not in result.values]
                if missing:
                    raise Refused(
                        f"The derived secret key {item.name} refers to {missing[0]}, which no staged component declares and the Secret does not hold: "
                        "deploy the tier that makes it, or supply it in twisterlab_secrets."
                    )
                _set(result, existing, item.name, expand(_format(item), result.values))
            del pending[item.name]


def _set(result: Resolution, existing: dict[str, str], name: str, value: str) -> None:
    result.values[name] = value
    if name not in existing:
        result.created.append(name)
    elif existing[name] != value:
        result.changed.append(name)


def random_text(chooser: Callable[[str], str]) -> Callable[[int], str]:
    """A maker of random texts from `secrets.choice` or a test's own chooser."""
    return lambda length: "".join(chooser(ALPHABET) for _ in range(length))


def checksum(values: dict[str, str], keys: set[str]) -> str:
    """HMAC over the keys a pod refers to, so that it is restarted when one of them changes and nothing can be guessed from it.

    Args:
        values: the Secret in clear, with its salt.
        keys: the keys, or a set holding `*` for all of them.
    """
    chosen = [key for key in values if key != SALT_KEY] if "*" in keys else [key for key in keys if key in values]
    text = json.dumps({key: values[key] for key in sorted(chosen)}, sort_keys=True, separators=(",", ":"))
    return hmac.new(values.get(SALT_KEY, "").encode(), text.encode(), hashlib.sha256).hexdigest()[:32]


def config_checksum(config_map: dict[str, Any]) -> str:
    """A digest of a ConfigMap's data, the same for the rendered and the live object."""
    data = {"data": config_map.get("data") or {}, "binaryData": config_map.get("binaryData") or {}}
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


def encode(values: dict[str, str]) -> dict[str, str]:
    """The `data` of a Secret."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def decode(data: dict[str, str] | None) -> dict[str, str]:
    """The clear values of a Secret's `data`; a value that is no text is left out."""
    found = {}
    for key, value in (data or {}).items():
        try:
            found[key] = base64.b64decode(value).decode()
        except ValueError:
            continue
    return found


def confidential(values: Mapping[str, str]) -> list[str]:
    """The values of the Secret that nobody may see."""
    return [value for key, value in values.items() if key not in PUBLIC]


def redactor(values: Iterable[str]) -> Callable[[str], str]:
    """A function that hides every one of the values, also URL- and base64-encoded, in a text.

    Values shorter than six characters are left: hiding them would make every text unreadable.
    """
    forms: set[str] = set()
    for value in values:
        if len(value) < 6:
            continue
        forms |= {
            value,
            quote(value, safe=""),
            quote(value),
            base64.b64encode(value.encode()).decode(),
            json.dumps(value)[1:-1],
        }
    if not forms:
        return lambda text: text
    pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return lambda text: pattern.sub("<redacted>", text)


def describe(values: dict[str, str]) -> str:
    """The Secret for a diff: its keys, each with a salted digest in the place of its value."""
    lines = [f"  {key}: <redacted, digest {checksum(values, {key})[:8]}>" for key in sorted(values) if key != SALT_KEY]
    return "\n".join(["data:", *lines, ""]) if lines else ""
