"""How far is a long piece of work? One line that redraws itself on a terminal, and stays quiet anywhere else."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self, TextIO

_WIDTH: Final = 28
_SECONDS_BETWEEN_DRAWINGS: Final = 0.05
_LABEL_WIDTH: Final = 22


class Progress:
    """`with Progress("Inserting", out) as bar: bar.update(done, all)`; the line left behind says how long it took."""

    def __init__(self, label: str, out: TextIO) -> None:
        self._label = label
        self._out = out
        self._live = out.isatty()
        self._started = time.perf_counter()
        self._drawn = 0.0
        self._result = ""

    def update(self, done: int, total: int) -> None:
        """Redraw, at most some twenty times a second."""
        now = time.perf_counter()
        if not self._live or (now - self._drawn < _SECONDS_BETWEEN_DRAWINGS and done < total):
            return
        self._drawn = now
        filled = _WIDTH * done // max(total, 1)
        bar = "━" * filled + "╌" * (_WIDTH - filled)
        self._out.write(f"\r  {self._label:<{_LABEL_WIDTH}} {bar} {done:,} of {total:,}\x1b[K")
        self._out.flush()

    def finish(self, result: str) -> None:
        """What to print in place of the bar when the work is done."""
        self._result = result

    def __enter__(self) -> Self:
        if self._live:
            self._out.write(f"  {self._label} …")
            self._out.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live:
            self._out.write("\r\x1b[K")
        if error is None:
            seconds = time.perf_counter() - self._started
            self._out.write(f"  {self._label:<{_LABEL_WIDTH}} {self._result:<44} {seconds:6.2f} s\n")
        self._out.flush()
