"""Which rows of a segment have expired for a read, found without looking at the rows where that is possible.

Rows stand in the order of their timestamps, so those that were written too long ago are the first ones. By a field, the
answer for a sealed segment is kept: it is the same for every moment between two expiries.
"""

from __future__ import annotations

from threading import Lock
from typing import NamedTuple

import numpy as np

from redkite.index.base import RowNumbers
from redkite.segment.base import Segment
from redkite.segment.deletes import Mask
from redkite.segment.expiry import Expiry, expired_by_field

_FIRST, _LAST = np.iinfo(np.int64).min, np.iinfo(np.int64).max


class Expired(NamedTuple):
    """At least one row of a segment that is gone."""

    lead: int
    """So many of the first rows are."""
    visible: Mask | None
    """By a field of theirs: False for rows that are."""
    since: int
    """The latest expiry by a field that has come. With `lead` it tells one such state of a segment from another."""

    def clear(self, mask: Mask) -> Mask:
        """`mask` without the rows that are gone, as a new array."""
        left = mask.copy() if self.visible is None else mask & self.visible
        left[: self.lead] = False
        return left

    def keep(self, rows: RowNumbers) -> RowNumbers:
        """Those of some rows that are not gone."""
        left = rows[rows >= self.lead]
        return left if self.visible is None else left[self.visible[left]]


class _Window(NamedTuple):
    """What is visible by a field's expiries from `since` to just before `until`."""

    since: int
    until: int
    visible: Mask | None


class ExpiryWindows:
    """The latest windows of sealed segments. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._windows: dict[tuple[int, int, str], _Window] = {}

    def window(self, segment: Segment, expiry: Expiry, rows: int) -> _Window:
        """The window of all rows of a segment at a moment."""
        key = (segment.segment_id, segment.schema.version, expiry.field)
        known = self._windows.get(key)
        if known is None or not known.since <= expiry.moment < known.until:
            known = _window(segment, expiry, rows)
            with self._lock:
                self._windows[key] = known
        return known

    def size(self) -> int:
        return sum(w.visible.nbytes for w in list(self._windows.values()) if w.visible is not None)

    def forget(self, segment_id: int) -> None:
        with self._lock:
            self._windows = {key: w for key, w in self._windows.items() if key[0] != segment_id}


def _window(segment: Segment, expiry: Expiry, rows: int) -> _Window:
    values, valid = segment.columns(rows).numbers(expiry.field)
    times = values.astype(np.int64, copy=False)
    gone = expired_by_field(times, valid, expiry)
    coming = times[~gone if valid is None else valid & ~gone]
    until = int(coming.min()) if len(coming) else _LAST
    if not gone.any():
        return _Window(_FIRST, until, None)
    return _Window(int(times[gone].max()), until, ~gone)


def expired_of(segment: Segment, expiry: Expiry | None, rows: int, windows: ExpiryWindows | None) -> Expired | None:
    """What of the first `rows` rows is gone; None when nothing is. `windows` only when these are all rows of a sealed
    segment."""
    if expiry is None:
        return None
    lead = min(segment.rows_at(expiry.oldest - 1), rows) if expiry.oldest else 0
    if not expiry.field or lead == rows:
        return Expired(lead, None, _FIRST) if lead else None
    window = _window(segment, expiry, rows) if windows is None else windows.window(segment, expiry, rows)
    return Expired(lead, window.visible, window.since) if lead or window.visible is not None else None
