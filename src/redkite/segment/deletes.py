"""Which rows of a segment are gone, and since when."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from redkite.model.timestamps import NEVER

Mask = npt.NDArray[np.bool_]
RowNumbers = npt.NDArray[np.int64]


class Deletes:
    """Delete timestamps by row number. One writer, any number of readers, no locks.

    Marks are made in place: a reader at timestamp T compares with T, so it gives the same answer whether or not it sees
    a mark later than T. `newest`, then `version` change before the marks they announce: who has seen a version, and
    then a `newest` that is not later than T, may keep what is so at T for that version. `version` changes behind them
    once more: who writes down what is marked has all of it as long as the version stays the one he saw before.
    """

    __slots__ = ("_cached", "_timestamps", "count", "newest", "version")

    def __init__(self) -> None:
        self.count = 0
        self.version = 0
        self.newest = 0
        self._timestamps: npt.NDArray[np.uint64] | None = None
        self._cached: tuple[int, int, Mask] | None = None

    @classmethod
    def from_entries(cls, rows: RowNumbers, timestamps: npt.NDArray[np.uint64], total: int) -> Deletes:
        """Rebuild from what `entries` gave."""
        deletes = cls()
        if len(rows):
            deletes._timestamps = np.full(total, NEVER, dtype=np.uint64)
            deletes._timestamps[rows] = timestamps
            deletes.count = len(rows)
            deletes.newest = int(timestamps.max())
            deletes.version = 1
        return deletes

    def mark(self, rows: RowNumbers, timestamp: int, total: int) -> int:
        """Delete those of `rows` that are still alive, as of `timestamp`; returns how many that were."""
        marks = self._room(total)
        alive = rows[marks[rows] == NEVER]
        if len(alive):
            self.newest = max(self.newest, timestamp)
            self.version += 1
            marks[alive] = timestamp
            self._timestamps = marks
            self.count += len(alive)
            self.version += 1
        return len(alive)

    def merge(self, rows: RowNumbers, timestamps: npt.NDArray[np.uint64], total: int) -> None:
        """Marks that may come with different timestamps, and may be known already. `rows` are distinct."""
        if not len(rows):
            return
        marks = self._room(total)
        fresh = marks[rows] == NEVER
        alive, stamps = rows[fresh], timestamps[fresh]
        if len(alive):
            self.newest = max(self.newest, int(stamps.max()))
            self.version += 1
            marks[alive] = stamps
            self._timestamps = marks
            self.count += len(alive)
            self.version += 1

    def _room(self, total: int) -> npt.NDArray[np.uint64]:
        """The marks, with room for `total` rows."""
        marks = self._timestamps
        if marks is None or len(marks) < total:
            grown = np.full(max(total, 1024) * 2 if marks is not None else total, NEVER, dtype=np.uint64)
            if marks is not None:
                grown[: len(marks)] = marks
            marks = grown
        return marks

    def alive(self, rows: int, timestamp: int) -> Mask | None:
        """True for each of the first `rows` rows that is not deleted at `timestamp`; None when none ever was."""
        marks, version = self._timestamps, self.version
        if marks is None:
            return None
        latest = timestamp >= self.newest
        cached = self._cached
        if latest and cached is not None and cached[0] == version and cached[1] == rows:
            return cached[2]
        if len(marks) < rows:
            mask = np.ones(rows, dtype=np.bool_)
            mask[: len(marks)] = marks > np.uint64(timestamp)
        else:
            mask = marks[:rows] > np.uint64(timestamp)
        if latest and self.version == version:
            self._cached = (version, rows, mask)
        return mask

    def entries(self) -> tuple[RowNumbers, npt.NDArray[np.uint64]]:
        """(row numbers, delete timestamps) of all deleted rows, by row."""
        marks = self._timestamps
        if marks is None:
            return np.empty(0, np.int64), np.empty(0, np.uint64)
        rows = np.flatnonzero(marks != NEVER)
        return rows, marks[rows]
