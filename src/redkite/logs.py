"""Logging: the standard library's, under the name `redkite`. Silent until somebody configures it.

What is logged while a request is answered says which one: whoever answers it puts something with `log_fields` into
`CURRENT`, and that is asked only when a line is written.
"""

from __future__ import annotations

import json
import logging
import os
import select
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from queue import SimpleQueue
from threading import Event, Thread  # noqa: TID251  (`env`, which has tasks, logs itself)
from typing import Any, Final, Protocol, TextIO

ROOT = "redkite"
logging.getLogger(ROOT).addHandler(logging.NullHandler())

_TEXT = "%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s: %(message)s"
_MOST_UNREAD: Final = 1 << 20
"""Characters that wait for whoever reads the log; what is logged beyond them is counted and left out."""
_END_SECONDS: Final = 1.0
"""How long the end of the process waits for them to be read."""
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
    """Send Redkite's log to `stream` (standard error), as text or one JSON object a line. May be called again.

    Whoever logs does not wait for whoever reads: where that may take for ever, as it may with a pipe, a thread writes.
    """
    root = logging.getLogger(ROOT)
    root.setLevel(level.upper() if isinstance(level, str) else level)
    stream = stream or sys.stderr
    handler = _UnreadHandler(stream) if _may_wait(stream) else logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter() if as_json else _TextFormatter(_TEXT, "%Y-%m-%d %H:%M:%S"))
    root.handlers = [handler]
    root.propagate = False


def _request_fields() -> Mapping[str, object]:
    """Of the request that is being answered here, if any."""
    current = CURRENT.get()
    return {} if current is None else current.log_fields()


def _may_wait(stream: TextIO) -> bool:
    """Whether writing takes as long as somebody else likes."""
    try:
        return not stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):  # it is in memory, or closed
        return False


class _UnreadHandler(logging.StreamHandler[TextIO]):
    """Lines are made where something is logged, and written by a thread: a pipe takes no more than some 64 KiB until
    it is read, and a thousand slow searches say more than that in the thread that answers all clients."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.failed: OSError | None = None
        """Why the last line that could not be written was not: whoever read the log is gone, most likely."""
        self._descriptor = stream.fileno()
        self._lines: SimpleQueue[str | Event | None] = SimpleQueue()
        self._taken = 0
        """Characters ever put there; `_written`: taken out of it. Each has one writer."""
        self._written = 0
        self._left_out = 0
        self._writer: Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + self.terminator
        except Exception:  # noqa: BLE001  as every handler has it: what cannot be logged stops nobody
            self.handleError(record)
            return
        if self._taken - self._written + len(line) > _MOST_UNREAD:
            self._left_out += 1
            return
        self._tell_left_out()
        self._put(line)

    def flush(self) -> None:
        """Wait a moment for what was logged to be written: this is called at the end of the process."""
        self._tell_left_out()
        if self._writer is not None and self._writer.is_alive():
            done = Event()
            self._lines.put(done)
            done.wait(_END_SECONDS)

    def close(self) -> None:
        self._lines.put(None)
        super().close()

    def _put(self, line: str) -> None:
        self._taken += len(line)
        self._lines.put(line)
        if self._writer is None or not self._writer.is_alive():  # none yet, or that of the process this was forked off
            self._writer = Thread(target=self._write, name="redkite-log", daemon=True)
            with suppress(RuntimeError):  # the system has no more threads for us: the next line tries again
                self._writer.start()

    def _tell_left_out(self) -> None:
        if self._left_out:
            said = "%d lines of the log were left out here: nobody read it in time"
            record = logging.LogRecord(f"{ROOT}.logs", logging.WARNING, __file__, 0, said, (self._left_out,), None)
            self._left_out = 0
            self._put(self.format(record) + self.terminator)

    def _write(self) -> None:
        room = select.poll()
        room.register(self._descriptor, select.POLLOUT)
        while (line := self._lines.get()) is not None:
            if isinstance(line, Event):
                line.set()
                continue
            # Past the stream, whose lock the end of the process would wait for while this waits for a reader.
            left = line.encode(errors="backslashreplace")
            try:
                while left:
                    room.poll()  # whoever shares the pipe may have said that it does not wait
                    left = left[os.write(self._descriptor, left) :]
            except OSError as error:
                self.failed = error
            self._written += len(line)


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
