"""Signals that a program waits for.

A handler runs in the main thread, between any two of its steps, also while that one holds the lock of what it waits
for: an `Event` that is set there may be waited for by nobody but itself, for ever. A `SimpleQueue` may be written to
from a handler.
"""

from __future__ import annotations

import signal
from queue import Empty, SimpleQueue


class Signals:
    """Of the process, from now on. Made by the main thread."""

    def __init__(self, *numbers: int) -> None:
        self._told: SimpleQueue[int] = SimpleQueue()
        for number in numbers:
            signal.signal(number, lambda given, _: self._told.put(given))

    def next(self, seconds: float) -> int | None:
        """The first that came and was not taken yet, waited for so long; None when none has."""
        try:
            return self._told.get(timeout=seconds) if seconds > 0 else self._told.get_nowait()
        except Empty:
            return None
