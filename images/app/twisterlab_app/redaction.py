# SPDX-License-Identifier: MIT
"""Keep secrets out of everything that leaves the process as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK = "***"
SHORTEST = 4  # masking shorter values would blot out ordinary words
_SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|KEY", re.IGNORECASE)
_SECRET_FILE = re.compile(r"(PASSWORD|SECRET|TOKEN|KEY|URL)\w*_FILE$", re.IGNORECASE)
_ORDINARY = frozenset({"true", "false", "none", "null"})
_CREDENTIALS = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@\"']*:[^\s/\"']*@", re.IGNORECASE)


def _userinfo_password(url: str) -> Iterable[str]:
    """Yield the password of a URL as written and decoded, also when it was not encoded properly."""
    if "://" not in url or "@" not in url:
        return
    userinfo = url.split("://", 1)[1].rpartition("@")[0]
    _user, colon, password = userinfo.partition(":")
    if colon and password:
        yield password
        yield unquote(password)
    try:
        proper = urlsplit(url).password
    except ValueError:
        return
    if proper:
        yield unquote(proper)


def _file_content(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def secrets_of(environ: Mapping[str, str]) -> set[str]:
    """Return every secret value of an environment: of secret names, of the files they name, and of URLs' passwords."""
    found: set[str] = set()
    for name, value in environ.items():
        if _SECRET_FILE.search(name):
            value = _file_content(value)
        if _SECRET_NAME.search(name):
            found.add(value)
        found.update(_userinfo_password(value))
    return {value for value in found if len(value) >= SHORTEST and value.lower() not in _ORDINARY}


def _spellings(secret: str) -> set[str]:
    """Return the forms in which one secret may appear in a message."""
    escaped = json.dumps(secret)[1:-1]
    forms = {secret, repr(secret)[1:-1], escaped, escaped.replace("'", "\\'"), repr(secret.encode())[2:-1]}
    forms |= {secret.replace("\\", "\\\\"), secret.replace("'", "''")}
    forms |= {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    return forms | {form.lower() for form in forms if "%" in form}


class Redactor:
    """Replace the secrets of an environment in any text."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        forms = {form for secret in secrets_of(environ) for form in _spellings(secret)}
        longest_first = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """Return the text with secrets and URL credentials masked."""
        if self._pattern is not None:
            text = self._pattern.sub(MASK, text)
        if "://" in text:
            text = _CREDENTIALS.sub(rf"\g<scheme>{MASK}@", text)
        return text

    def deep(self, value: Any) -> Any:
        """Return a value made of JSON types in which every text, keys included, is masked; other objects as text."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {self(str(key)): self.deep(item) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.deep(item) for item in value]
        return self(str(value))
