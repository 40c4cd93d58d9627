# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the collection importable under its name, in place."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT / "collections") not in sys.path:
    sys.path.insert(0, str(ROOT / "collections"))
