# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of twisterlab.platform.verify_report: the files, then the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from ansible_collections.twisterlab.platform.plugins.module_utils import _checklist, _checks, _report, _specs
from ansible_collections.twisterlab.platform.plugins.plugin_utils.reporting import ReportingAction

TEMPLATE = Path("roles") / "verify" / "templates" / "report.html.j2"


class ActionModule(ReportingAction):
    """Write a report and conclude."""

    ARGUMENTS = {
        "namespace": {"type": "str", "default": "twisterlab"},
        "checks": {"type": "list", "elements": "dict", "required": True},
        "plots": {"type": "list", "elements": "dict", "default": []},
        "dest": {"type": "path", "required": True},
        "started": {"type": "str", "default": ""},
    }

    def work(self, arguments: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """See the module's documentation for the result."""
        checks = arguments["checks"]
        rows = _checklist.concluded(checks)
        report = {
            "host": self._host,
            "namespace": arguments["namespace"],
            "started": arguments["started"],
            "ended": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
            "checks": checks,
            "plots": arguments["plots"],
            "checklist": [vars(verdict) for verdict in rows],
        }
        broken = _checks.failures(checks)
        path = "" if check else self._write(report, Path(arguments["dest"]))
        words = "\n".join(broken) or _checks.summary(checks)
        told = f"{words}{'' if broken else '.'}" + (f"{chr(10) if broken else ' '}Report: {path}" if path else "")
        if not any(check["state"] == _checks.OK for check in checks) and not broken:
            told = f"Nothing was proven, everything was skipped. {told}"
        if not checks:
            told = "Nothing was verified: no tag of verify chose a check; write for example --tags monitoring."
        for line in _checklist.lines(rows):
            self.say(line)
        if checks and not broken:
            # Ansible shows the message of a failed task only.
            self.say(told)
        return {"changed": False, "failed": bool(broken) or not checks, "msg": told, "report": path}

    def _write(self, report: Mapping[str, Any], folder: Path) -> str:
        """Write the three files; returns the page's path, empty when the folder cannot be written."""
        template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
            (_specs.collection_root() / TEMPLATE).read_text(encoding="utf-8")
        )
        texts = {
            "report.html": template.render(_report.page(report)),
            "report.json": _report.as_json(report),
            "junit.xml": _report.as_junit(report),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in texts.items():
                part = folder / f".{name}.part"
                part.write_text(text, encoding="utf-8")
                part.replace(folder / name)
        except OSError as error:
            self.say(
                f"no report: {folder} cannot be written ({error.strerror}); name another folder in verify_report_dir"
            )
            return ""
        return str((folder / "report.html").absolute())
