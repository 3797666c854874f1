"""How long reads and their steps take, counted along: a few additions for each read."""

from __future__ import annotations

from threading import Lock
from typing import Final

import numpy as np
import numpy.typing as npt

from redkite.env import Clock

BOUNDS: Final = 18
"""Durations are told apart by powers of two of milliseconds: up to 1, 2, 4 … 2**17, and longer ones."""
_SHORT: Final = 0.001
"""Seconds of the first of them."""
_EDGES: Final = 2.0 ** np.arange(BOUNDS)
_MANY: Final = 1_000
"""Searches that wait to be counted, at most: a small one would feel it."""


class Bins:
    """How many durations there were, by how long they were. Whoever adds sees to it that nobody else does meanwhile."""

    __slots__ = ("bins", "milliseconds")

    def __init__(self) -> None:
        self.bins = [0] * (BOUNDS + 1)
        self.milliseconds = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        if seconds <= _SHORT:  # as most are, and small searches feel every call
            self.bins[0] += 1
            self.milliseconds += seconds * 1000
        else:
            self.put(seconds * 1000)

    def put(self, number: float) -> None:
        """One of so many milliseconds, or of whatever else is counted."""
        self.milliseconds += number
        self.bins[0 if number <= 1 else min((-int(-number // 1) - 1).bit_length(), BOUNDS)] += 1

    def add_all(self, seconds: npt.NDArray[np.float64]) -> None:
        """(n,) more."""
        numbers = seconds * 1000
        self.milliseconds += float(numbers.sum())
        counts = np.bincount(np.searchsorted(_EDGES, numbers), minlength=BOUNDS + 1)
        self.bins = [was + more for was, more in zip(self.bins, counts.tolist(), strict=True)]

    @property
    def total(self) -> int:
        return sum(self.bins)


class ReadTimes:
    """Of one node, in seconds of its clock. Safe from any thread."""

    __slots__ = ("_lock", "_reductions", "_segments", "_straight", "_waiting", "now", "queries", "redone", "searches")

    def __init__(self, clock: Clock) -> None:
        self.now = clock.monotonic
        self._lock = Lock()
        self.searches = Bins()
        """Searches, whole; but for those that went the straight way."""
        self.queries = Bins()
        self._straight, self._segments, self._reductions = Bins(), Bins(), Bins()
        self._waiting: list[tuple[float, float, float]] = []
        """Of searches that are not counted yet: when they began, had found their rows, had ended."""
        self.redone = 0
        """Times that an index found too few rows, and all that are allowed were compared."""

    @property
    def straight(self) -> Bins:
        """Searches that went the straight way."""
        self._count()
        return self._straight

    @property
    def segments(self) -> Bins:
        """Searches of one segment."""
        self._count()
        return self._segments

    @property
    def reductions(self) -> Bins:
        """Putting one answer together out of what was found in segments."""
        self._count()
        return self._reductions

    def took(self, of: Bins, since: float) -> None:
        """Something of this node took from `since` until now."""
        passed = self.now() - since
        with self._lock:
            of.add(passed)

    def searched(self, begun: float, found: float) -> None:
        """The only segment of a search, from `begun` until now, whose rows were there at `found`."""
        ended = self.now()
        with self._lock:
            self._segments.add(found - begun)
            self._reductions.add(ended - found)

    def went_straight(self, begun: float, found: float) -> None:
        """A search of one segment, from `begun` until now, had its rows at `found`."""
        waiting = self._waiting
        waiting.append((begun, found, self.now()))
        if len(waiting) >= _MANY:
            self._count()

    def _count(self) -> None:
        """Count those that wait."""
        if not self._waiting:
            return
        with self._lock:
            some = self._waiting.copy()
            if not some:
                return  # somebody else was first
            del self._waiting[: len(some)]  # others may have come behind them
            moments = np.array(some).reshape(-1, 3)
            self._straight.add_all(moments[:, 2] - moments[:, 0])
            self._segments.add_all(moments[:, 1] - moments[:, 0])
            self._reductions.add_all(moments[:, 2] - moments[:, 1])

    def once_more(self) -> None:
        """An index found too few."""
        with self._lock:
            self.redone += 1
