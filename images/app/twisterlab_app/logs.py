# SPDX-License-Identifier: MIT
"""Structured logs: one JSON object a line on stderr, secrets masked."""

from __future__ import annotations

import contextvars
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from .redaction import Redactor

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class JsonFormatter(logging.Formatter):
    """Format a record as one JSON line; every text in it, tracebacks included, passes the redactor before encoding."""

    def __init__(self, component: str, redact: Redactor) -> None:
        super().__init__()
        self._component = component
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "component": self._component,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        if request_id.get():
            line["request_id"] = request_id.get()
        line.update({key: self._redact.deep(value) for key, value in vars(record).items() if key not in _STANDARD})
        if record.exc_info:
            line["exception"] = self._redact(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = self._redact(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


def configure(component: str, level: str, redact: Redactor) -> None:
    """Send all logging of the process, uvicorn's included, to stderr through the formatter."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(component, redact))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # the middleware writes the access line
    for name in ("httpx2", "httpcore2", "asyncio", "uvicorn.error", "mcp"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        logging.getLogger("twisterlab").critical("uncaught error", exc_info=(kind, error, trace))

    def unraisable(what: Any) -> None:
        trace = (what.exc_type, what.exc_value, what.exc_traceback)
        logging.getLogger("twisterlab").error(what.err_msg or "error that nobody can catch", exc_info=trace)

    sys.excepthook = uncaught
    sys.unraisablehook = unraisable
