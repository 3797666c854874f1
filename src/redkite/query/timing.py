"""How long reads and their steps take, counted along: a few additions for each read."""

from __future__ import annotations

from threading import Lock
from typing import Final

from redkite.env import Clock

BOUNDS: Final = 18
"""Durations are told apart by powers of two of milliseconds: up to 1, 2, 4 … 2**17, and longer ones."""
_SHORT: Final = 0.001
"""Seconds of the first of them."""


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

    @property
    def total(self) -> int:
        return sum(self.bins)


class ReadTimes:
    """Of one node, in seconds of its clock. Safe from any thread."""

    __slots__ = ("_lock", "now", "queries", "redone", "reductions", "searches", "segments", "straight")

    def __init__(self, clock: Clock) -> None:
        self.now = clock.monotonic
        self._lock = Lock()
        self.searches = Bins()
        """Searches, whole; those that went the straight way are not among them, …"""
        self.straight = Bins()
        """… but here."""
        self.queries = Bins()
        self.segments = Bins()
        """Searches of one segment."""
        self.reductions = Bins()
        """Putting one answer together out of what was found in segments."""
        self.redone = 0
        """Times that an index found too few rows, and all that are allowed were compared."""

    def took(self, of: Bins, since: float) -> None:
        """Something of this node took from `since` until now."""
        passed = self.now() - since
        with self._lock:
            of.add(passed)

    def searched(self, begun: float, found: float) -> None:
        """The only segment of a search, from `begun` until now, whose rows were there at `found`."""
        ended = self.now()
        with self._lock:
            self.segments.add(found - begun)
            self.reductions.add(ended - found)

    def went_straight(self, begun: float, found: float) -> None:
        """A search of one segment, from `begun` until now, had its rows at `found`."""
        ended = self.now()
        straight, segments, reductions = self.straight, self.segments, self.reductions
        with self._lock:
            if ended - begun <= _SHORT:  # and so is each of its steps
                straight.bins[0] += 1
                straight.milliseconds += (ended - begun) * 1000
                segments.bins[0] += 1
                segments.milliseconds += (found - begun) * 1000
                reductions.bins[0] += 1
                reductions.milliseconds += (ended - found) * 1000
                return
            straight.add(ended - begun)
            segments.add(found - begun)
            reductions.add(ended - found)

    def once_more(self) -> None:
        """An index found too few."""
        with self._lock:
            self.redone += 1
