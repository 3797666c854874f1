"""Logging: the standard library's, under the name `redkite`. Silent until somebody configures it.

What is logged while a request is answered says which one: whoever answers it puts something with `log_fields` into
`CURRENT`, and that is asked only when a line is written.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO

ROOT = "redkite"
logging.getLogger(ROOT).addHandler(logging.NullHandler())

_TEXT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Logged(Protocol):
    """Something that log lines tell about."""

    def log_fields(self) -> Mapping[str, object]:
        """What to show of it, by name; called for each line."""
        ...


CURRENT: ContextVar[Logged | None] = ContextVar("redkite_request", default=None)
"""The request that is being answered here."""


def get_logger(name: str) -> logging.Logger:
    """The logger `redkite.<name>`; `name` may also be a module's `__name__`."""
    return logging.getLogger(name if name == ROOT or name.startswith(f"{ROOT}.") else f"{ROOT}.{name}")


def configure(level: str | int = "INFO", as_json: bool = False, stream: TextIO | None = None) -> None:
    """Send Redkite's log to `stream` (standard error), as text or one JSON object a line. May be called again."""
    root = logging.getLogger(ROOT)
    root.setLevel(level.upper() if isinstance(level, str) else level)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if as_json else _TextFormatter(_TEXT, "%Y-%m-%d %H:%M:%S"))
    root.handlers = [handler]
    root.propagate = False


def _request_fields() -> Mapping[str, object]:
    """Of the request that is being answered here, if any."""
    current = CURRENT.get()
    return {} if current is None else current.log_fields()


class _TextFormatter(logging.Formatter):
    """The request's fields stand in brackets at the end of the message's first line."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        fields = " ".join(f"{key}={_quoted(str(value))}" for key, value in _request_fields().items())
        first, newline, rest = line.partition("\n")
        return f"{first} [{fields}]{newline}{rest}" if fields else line


class _JsonFormatter(logging.Formatter):
    """Time, level, logger, message, fields of the request and of `extra`, and the traceback when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _request_fields()
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _quoted(text: str) -> str:
    """As one word: names come from clients, and must not look like more fields or more lines."""
    return text if text.isprintable() and not {" ", '"', "]"} & set(text) else json.dumps(text)
