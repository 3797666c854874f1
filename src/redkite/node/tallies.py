"""What a data node has done since it started, in numbers that others show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from redkite.env import Clock

BOUNDS: Final = 18
"""Durations are told apart by powers of two of milliseconds: up to 1, 2, 4 … 2**17, and longer ones."""


class Durations:
    """How long pieces of work took. Safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self.bins = [0] * (BOUNDS + 1)
        self.milliseconds = 0.0
        self.failed = 0
        """Pieces that were not finished."""

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count what is done meanwhile; how long it took, unless it fails."""
        begun = self._clock.monotonic()
        try:
            yield
        except BaseException:
            with self._lock:
                self.failed += 1
            raise
        passed = (self._clock.monotonic() - begun) * 1000
        with self._lock:
            self.bins[min(max(-int(-passed // 1) - 1, 0).bit_length(), BOUNDS)] += 1
            self.milliseconds += passed


class Tallies:
    """Of one data node. Safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        self._lock = Lock()
        self.flushed_rows = 0
        self.flushed_bytes = 0
        self.builds = Durations(clock)
        """Of indexes."""
        self.compactions = Durations(clock)

    def flushed(self, rows: int, size: int) -> None:
        """A growing segment was written as a sealed one."""
        with self._lock:
            self.flushed_rows += rows
            self.flushed_bytes += size
