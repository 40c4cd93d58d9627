# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the Secrets of authority and certificate (a List, JSON) and prints the certificate's as it was made 70 days ago: time to renew it."""

from __future__ import annotations

import base64
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

import _certificates as certificates

if __name__ == "__main__":
    authority, served = json.load(sys.stdin)["items"]
    read = {key: base64.b64decode(value).decode() for key, value in authority["data"].items()}
    then = datetime.now(UTC) - timedelta(days=70)
    signer = certificates.Pair(read["tls.crt"], read["tls.key"])
    made = certificates.keep(sys.argv[1], sys.argv[2:], then, signer).leaf
    served["data"] |= {
        "tls.crt": base64.b64encode(made.certificate.encode()).decode(),
        "tls.key": base64.b64encode(made.key.encode()).decode(),
    }
    print(json.dumps(served))
