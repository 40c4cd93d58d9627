# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job hands on, as JSON: `artifact.py EVENTS`, the folder job_events of ansible-runner. A controller reads it from the same place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

found: dict[str, object] = {}
for path in Path(sys.argv[1]).glob("*.json"):
    event = json.loads(path.read_text(encoding="utf-8"))
    if event.get("event") == "playbook_on_stats":
        found |= event["event_data"].get("artifact_data", {})
print(json.dumps(found))
