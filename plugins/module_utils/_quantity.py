# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes quantities: `250m`, `1Gi`, `1e3`."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from ._errors import Refused

_PATTERN = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_FACTORS = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3), "M": Decimal(10**6),
    "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18), "Ki": Decimal(2**10),
    "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def parse(value: str | int | float) -> Decimal:
    """The number a quantity stands for: cores, bytes or pieces.

    Raises:
        Refused: it is no quantity.
    """
    match = _PATTERN.fullmatch(str(value).strip())
    try:
        if match is None:
            raise InvalidOperation
        return Decimal(match.group(1)) * _FACTORS.get(match.group(2) or "", Decimal(1))
    except InvalidOperation as error:
        raise Refused(f"{value!r} is no quantity: write one such as 250m, 1, 512Mi or 2Gi.") from error


def show_cpu(cores: Decimal) -> str:
    """Cores for a sentence: `250m` or `2`."""
    milli = int(cores * 1000)
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"


def show_bytes(size: Decimal) -> str:
    """Bytes for a sentence: `512Mi` or `3.9Gi`."""
    if size >= 2**30:
        return f"{float(size) / 2**30:.1f}".rstrip("0").rstrip(".") + "Gi"
    return f"{int(size) // 2**20}Mi"
