"""Which rows of a segment a read may see: alive at its timestamp and passing its filter; kept for the next read."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from threading import Lock
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from redkite.env import Executor
from redkite.filter import Filter, JsonColumn, ShapeColumn
from redkite.filter.sampling import drawn
from redkite.index.base import Bitmap, RowNumbers, Scores, VectorColumn
from redkite.index.cells import Cells, build_cells
from redkite.index.dense import FloatColumn
from redkite.model.types import Metric
from redkite.query.expired import Expired, ExpiryWindows, expired_of
from redkite.query.masks import LEAST_ROWS, Bits, SegmentMasks
from redkite.query.nearby import Gathered, Nearby, Reach
from redkite.segment.base import Segment
from redkite.segment.deletes import Mask
from redkite.segment.elements import ElementView
from redkite.segment.expiry import Expiry
from redkite.segment.kept import Kept

CACHE_BYTES = 256 * 1024 * 1024
"""Masks and gathered vectors kept per query node."""
CACHE_SHARE = 0.5
"""No gathered block may take more of the cache than this."""
MASKS_SHARE = 0.25
"""How much of the cache masks of parts of filters may take."""


class Allowed:
    """Allowed rows as a mask, and what is derived from it on demand."""

    __slots__ = ("_bitmap", "_gathered", "_nearby", "_reaches", "_rows", "count", "mask")

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))
        self._bitmap: Bitmap | None = None
        self._rows: RowNumbers | None = None
        self._gathered: dict[str, Gathered] = {}
        self._nearby: dict[str, Nearby] = {}
        self._reaches: dict[str, Reach] = {}

    @property
    def bitmap(self) -> Bitmap:
        if self._bitmap is None:
            self._bitmap = np.packbits(self.mask, bitorder="little")
        return self._bitmap

    @property
    def rows(self) -> RowNumbers:
        if self._rows is None:
            self._rows = np.flatnonzero(self.mask)
        return self._rows

    def gathered(self, field: str, column: VectorColumn, cache: AllowedCache | None) -> Gathered:
        """The vectors of the allowed rows in one piece; kept, within the limits of the cache this is in."""
        known = self._gathered.get(field)
        nearby = self._nearby.get(field)
        rows = self.rows if nearby is None else nearby.rows
        if known is None or known.rows is not rows:
            known = Gathered(rows, column.gather(rows))
            if cache is not None and known.column.nbytes <= cache.capacity * CACHE_SHARE:
                self._gathered = {**self._gathered, field: known}
                cache.trim()
        return known

    def kept(self, field: str) -> FloatColumn | None:
        """What was gathered in the order of cells, if that was."""
        gathered, nearby = self._gathered.get(field), self._nearby.get(field)
        if gathered is None or nearby is None or gathered.rows is not nearby.rows:
            return None
        assert isinstance(gathered.column, FloatColumn), "what is gathered of a column is of its kind"
        return gathered.column

    def nearby(self, field: str, cells: Cells) -> Nearby:
        """The allowed rows by cell. What is gathered from now on is in their order."""
        known = self._nearby.get(field)
        if known is None or known.cells is not cells:
            known = Nearby(cells, self.rows)
            self._nearby = {**self._nearby, field: known}
        return known

    def reach(self, field: str) -> Reach:
        """What has been learned about the distances of neighbours under this filter."""
        known = self._reaches.get(field)
        if known is None:
            known = self._reaches[field] = Reach()
        return known

    def learn_from(self, earlier: Allowed) -> None:
        """Go on with what was learned when fewer rows were deleted."""
        self._reaches = earlier._reaches

    def size(self) -> int:
        gathered = sum(g.column.nbytes for g in self._gathered.values())
        numbers = sum(n.rows.nbytes for n in self._nearby.values())
        return self.mask.nbytes + (0 if self._rows is None else self._rows.nbytes) + gathered + numbers


Key = tuple[int, int, str, str]
"""(segment id, version of the schema, filter, vector field)"""
Version = tuple[int, ...]
"""Of the deletes, and of what has expired: an entry of another version is stale."""
_ELEMENTS = "\0elements"
"""Marks the keys of entries about elements rather than rows."""
_UNEXPIRED = "\0unexpired"
"""Marks the keys of entries without what has expired."""


class Scored(NamedTuple):
    """The scores of all rows of a segment for one query, between the pages of an iterator."""

    scores: Scores

    def size(self) -> int:
        return self.scores.nbytes


class AllowedCache:
    """Allowed rows of sealed segments by filter, least recently used out first. Safe from any thread."""

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self.capacity = capacity
        self.held = 0
        """Bytes kept, as of the last change."""
        self._lock = Lock()
        self._entries: OrderedDict[Key, tuple[Version, Allowed]] = OrderedDict()
        self._cells: dict[tuple[int, int, str, Metric], Future[Cells]] = {}
        self._scores: OrderedDict[Key, Scored] = OrderedDict()
        self.windows = ExpiryWindows()
        self.masks: Kept[Bits] = Kept(int(capacity * MASKS_SHARE))
        """Of parts of filters."""
        self.derived: Kept[JsonColumn | ShapeColumn] = Kept(capacity)
        """Columns that were made of others, beside `held`."""

    def get(self, key: Key, version: Version) -> Allowed | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] != version:
            return None
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, version: Version, allowed: Allowed) -> None:
        with self._lock:
            earlier = self._entries.get(key)
            if earlier is not None:
                allowed.learn_from(earlier[1])
            self._entries[key] = (version, allowed)
            self._entries.move_to_end(key)
        self.trim()

    def trim(self) -> None:
        """Forget the oldest until what is left fits."""
        with self._lock:
            while sum(s.size() for s in self._scores.values()) > self.capacity // 2 and len(self._scores) > 1:
                self._scores.popitem(last=False)
            total = self.windows.size() + self.masks.held + sum(s.size() for s in self._scores.values())
            total += sum(a.size() for _, a in self._entries.values())
            while total > self.capacity and len(self._entries) > 1:
                _, (_, oldest) = self._entries.popitem(last=False)
                total -= oldest.size()
            self.held = total

    def scores(self, key: Key) -> Scored | None:
        with self._lock:
            found = self._scores.get(key)
            if found is not None:
                self._scores.move_to_end(key)
            return found

    def put_scores(self, key: Key, scored: Scored) -> None:
        with self._lock:
            self._scores[key] = scored
        self.trim()

    def forget(self, segment_id: int) -> None:
        """The segment is gone."""
        self.windows.forget(segment_id)
        self.masks.forget(segment_id)
        self.derived.forget(segment_id)
        with self._lock:
            for key in [k for k in self._scores if k[0] == segment_id]:
                del self._scores[key]
            for key in [k for k in self._entries if k[0] == segment_id]:
                del self._entries[key]
            for name in [n for n in self._cells if n[0] == segment_id]:
                del self._cells[name]

    def cells(self, segment: Segment, field: str, metric: Metric, pool: Executor) -> Cells | None:
        """The cells of a segment, for all filters; None until `pool` has made them, which the first call asks for."""
        name = (segment.segment_id, segment.schema.version, field, metric)
        with self._lock:
            future = self._cells.get(name)
            if future is None:
                column, _ = segment.vectors(field, segment.rows_at(1 << 63))
                assert isinstance(column, FloatColumn), "only float32 vectors are grouped in cells"
                future = self._cells[name] = pool.submit(build_cells, column.matrix, metric)
        return future.result() if future.done() else None


def allowed_rows(
    segment: Segment, condition: Filter | None, vector_field: str, timestamp: int, expiry: Expiry | None = None
) -> Allowed | None:
    """Rows visible at `timestamp` that pass, out of the first `rows_at(timestamp)`; None when those are all rows.

    With a `vector_field`, rows whose vector is null are left out.
    """
    if isinstance(segment, ElementView):
        return _allowed_elements(segment, condition, timestamp, expiry)
    if condition is not None and condition.sample is not None:
        passing = allowed_rows(segment, condition.whole, vector_field, timestamp, expiry)
        return _sampled(segment, passing, condition.sample, timestamp)
    deletes = segment.deletes
    deleted = deletes.version  # before it is seen how new they are: what is kept for it has no newer ones
    rows = segment.rows_at(timestamp)
    cache = segment.cache
    if cache is None or timestamp < deletes.newest or segment.rows_at(1 << 63) != rows:
        mask = _mask(segment, condition, vector_field, rows, timestamp)
        expired = expired_of(segment, expiry, rows, None)
        if expired is not None:
            mask = expired.clear(np.ones(rows, np.bool_) if mask is None else mask)
        return None if mask is None else Allowed(mask)
    expired = expired_of(segment, expiry, rows, cache.windows)
    if condition is None and deletes.count == 0 and not vector_field and expired is None:
        return None
    key = (segment.segment_id, segment.schema.version, "" if condition is None else condition.key, vector_field)
    return _kept_rows(segment, condition, key, timestamp, deleted, expired)


def _allowed_elements(
    view: ElementView, condition: Filter | None, timestamp: int, expiry: Expiry | None
) -> Allowed | None:
    """The elements of the allowed rows; where an `element_filter` of the same structs asks for some, only those."""
    segment = view.segment
    passing = allowed_rows(segment, condition, "", timestamp, expiry)
    chosen = None if condition is None else condition.elements
    if chosen is not None and chosen.field.partition("[")[0] != view.struct:
        chosen = None
    if passing is None and chosen is None:
        return None
    cache, rows, deletes = segment.cache, segment.rows_at(timestamp), segment.deletes
    deleted = deletes.version  # as in `allowed_rows`
    whole = timestamp >= deletes.newest and segment.rows_at(1 << 63) == rows
    kept = cache is not None and whole and expiry is None and (condition is None or condition.sample is None)
    text = "" if condition is None else condition.key
    key: Key = (segment.segment_id, segment.schema.version, text, f"{view.field}{_ELEMENTS}")
    known: Allowed | None = cache.get(key, (deleted,)) if kept and cache is not None else None
    if known is not None:
        return known
    counts = np.diff(view.lists(rows).starts)
    mask = np.ones(int(counts.sum()), np.bool_) if passing is None else np.repeat(passing.mask, counts)
    if chosen is not None and condition is not None:
        mask &= condition.evaluate_elements(segment.columns(rows))
    allowed = Allowed(mask)
    if kept and cache is not None and deletes.version == deleted:
        cache.put(key, (deleted,), allowed)
    return allowed


def _sampled(segment: Segment, passing: Allowed | None, share: float, timestamp: int) -> Allowed:
    """Some of the rows that pass: other ones at every timestamp. What passes is kept, what is drawn is not."""
    total = segment.rows_at(timestamp)
    rows = np.arange(total) if passing is None else passing.rows
    mask = np.zeros(total, np.bool_)
    mask[rows[drawn(rows, share, (timestamp, segment.segment_id))]] = True
    return Allowed(mask)


def _kept_rows(
    segment: Segment, condition: Filter | None, key: Key, timestamp: int, deleted: int, expired: Expired | None
) -> Allowed | None:
    """`allowed_rows` of a whole sealed segment, from the cache where it is there. What passes is kept apart from what
    of it has not expired, so that rows which expire do not make the filter run again. `deleted`: a version of the
    deletes, none of which is newer than `timestamp`."""
    cache, deletes = segment.cache, segment.deletes
    assert cache is not None, "only sealed segments have their rows kept"
    place: Key = key
    version: Version = (deleted,)
    if expired is not None:
        place, version = (*key[:3], key[3] + _UNEXPIRED), (deleted, expired.lead, expired.since)
    known: Allowed | None = cache.get(place, version)
    if known is not None:
        return known
    if expired is None:
        mask = _mask(segment, condition, key[3], segment.rows_at(timestamp), timestamp)
    else:
        passing = _kept_rows(segment, condition, key, timestamp, deleted, None)
        mask = expired.clear(np.ones(segment.rows_at(timestamp), np.bool_) if passing is None else passing.mask)
    if mask is None:
        return None
    allowed = Allowed(mask)
    if deletes.version == deleted:
        cache.put(place, version, allowed)
    return allowed


def _kept_masks(segment: Segment, rows: int) -> SegmentMasks | None:
    """Where masks over these rows are kept; None when they are not all rows of a sealed segment of some size."""
    cache = segment.cache
    if cache is None or rows < LEAST_ROWS or segment.rows_at(1 << 63) != rows:
        return None
    return SegmentMasks(cache.masks, segment.segment_id, segment.schema.version, rows)


def _mask(
    segment: Segment, condition: Filter | None, vector_field: str, rows: int, timestamp: int
) -> npt.NDArray[np.bool_] | None:
    mask = segment.deletes.alive(rows, timestamp)
    if vector_field:
        _, valid = segment.vectors(vector_field, rows)
        if valid is not None:
            mask = valid if mask is None else mask & valid
    if condition is not None:
        passing = condition.evaluate(segment.columns(rows), _kept_masks(segment, rows))
        mask = passing if mask is None else mask & passing
    return mask
