"""What a data node has done since it started, in numbers that others show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from redkite.env import Clock
from redkite.query.timing import Bins


class Durations(Bins):
    """How long pieces of work took. Safe from any thread."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._lock = Lock()
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
        passed = self._clock.monotonic() - begun
        with self._lock:
            self.add(passed)


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
