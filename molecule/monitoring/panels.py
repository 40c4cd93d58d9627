# SPDX-License-Identifier: GPL-3.0-or-later
"""Print, as JSON, the expression of every panel that must have a series: {board, panel and number: expression}."""

from __future__ import annotations

import json
from pathlib import Path

BOARDS = Path(__file__).resolve().parents[2] / "roles" / "grafana" / "files" / "dashboards"

if __name__ == "__main__":
    wanted = {}
    for path in sorted(BOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            if not panel.get("description", "").startswith("Rare: "):
                for target in panel["targets"]:
                    wanted[f"{path.stem}: {panel['title']} ({target['refId']})"] = target["expr"]
    print(json.dumps(wanted))
