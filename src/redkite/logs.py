"""Logging: the standard library's, under the name `redkite`. Silent until somebody configures it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

ROOT = "redkite"
logging.getLogger(ROOT).addHandler(logging.NullHandler())

_TEXT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def get_logger(name: str) -> logging.Logger:
    """The logger `redkite.<name>`; `name` may also be a module's `__name__`."""
    return logging.getLogger(name if name == ROOT or name.startswith(f"{ROOT}.") else f"{ROOT}.{name}")


def configure(level: str | int = "INFO", as_json: bool = False, stream: TextIO | None = None) -> None:
    """Send Redkite's log to `stream` (standard error), as text or one JSON object a line. May be called again."""
    root = logging.getLogger(ROOT)
    root.setLevel(level.upper() if isinstance(level, str) else level)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if as_json else logging.Formatter(_TEXT, "%Y-%m-%d %H:%M:%S"))
    root.handlers = [handler]
    root.propagate = False


class _JsonFormatter(logging.Formatter):
    """Time, level, logger, message, the fields given as `extra`, and the traceback when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)
