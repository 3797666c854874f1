"""Runs of neighbouring keys: what a search among sorted keys finds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


class Spans(NamedTuple):
    """Keys `starts[i] <= key < ends[i]` of each run, ascending and apart from each other."""

    starts: Places
    ends: Places

    @property
    def keys(self) -> int:
        """How many keys these are."""
        return int((self.ends - self.starts).sum())

    def moved(self, by: int) -> Spans:
        return Spans(self.starts + by, self.ends + by)

    def outside(self, count: int) -> Spans:
        """The other keys of `count`."""
        starts = np.concatenate([[0], self.ends])
        ends = np.concatenate([self.starts, [count]])
        kept = starts < ends
        return Spans(starts[kept].astype(np.int64), ends[kept].astype(np.int64))

    def numbers(self) -> Places:
        """The keys one by one."""
        return expanded(self.starts, self.ends)


NOTHING = Spans(np.zeros(0, np.int64), np.zeros(0, np.int64))


def one(start: int, end: int) -> Spans:
    """A single run, which may be empty."""
    if start >= end:
        return NOTHING
    return Spans(np.array([start], np.int64), np.array([end], np.int64))


def of_keys(keys: npt.NDArray[Any]) -> Spans:
    """Runs of ascending, distinct keys."""
    if not len(keys):
        return NOTHING
    places = keys.astype(np.int64, copy=False)
    breaks = np.flatnonzero(np.diff(places) != 1) + 1
    starts = places[np.concatenate([[0], breaks])]
    ends = places[np.concatenate([breaks - 1, [len(places) - 1]])] + 1
    return Spans(starts, ends)


def joined(parts: list[Spans]) -> Spans:
    """Runs that follow each other, as one."""
    if len(parts) == 1:
        return parts[0]
    return Spans(np.concatenate([p.starts for p in parts]), np.concatenate([p.ends for p in parts]))


def expanded(starts: Places, ends: Places) -> Places:
    """Every number of every run `starts[i] <= n < ends[i]`, in order."""
    sizes = ends - starts
    if len(sizes) == 1:
        return np.arange(starts[0], ends[0])
    total = int(sizes.sum())
    # Where each run begins in the result, how far the numbers are ahead of their places.
    ahead = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    numbers: Places = np.arange(total) + ahead
    return numbers
