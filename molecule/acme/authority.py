# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints an authority and a certificate of it for the names in the arguments, as JSON: what Pebble and the webhook are served with."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

import _certificates as certificates

if __name__ == "__main__":
    made = certificates.keep("svc", sys.argv[1:], datetime.now(UTC), days=1)
    print(json.dumps({"ca": made.authority.certificate, "crt": made.leaf.certificate, "key": made.leaf.key}))
