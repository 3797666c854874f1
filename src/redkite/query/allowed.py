"""Which rows of a segment a read may see: alive at its timestamp and passing its filter; kept for the next read."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import numpy as np
import numpy.typing as npt

from redkite.filter import Filter
from redkite.index.base import Bitmap, RowNumbers, Scores, Vectors, lengths_of
from redkite.segment.base import Segment
from redkite.segment.deletes import Mask

CACHE_BYTES = 256 * 1024 * 1024
"""Masks and gathered vectors kept per query node."""
CACHE_SHARE = 0.5
"""No gathered block may take more of the cache than this."""


class Allowed:
    """Allowed rows as a mask, and what is derived from it on demand."""

    __slots__ = ("_bitmap", "_blocks", "_lengths", "_rows", "count", "mask")

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))
        self._bitmap: Bitmap | None = None
        self._rows: RowNumbers | None = None
        self._blocks: dict[str, Vectors] = {}
        self._lengths: dict[str, Scores] = {}

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

    def block(self, field: str, vectors: Vectors, cache: AllowedCache | None) -> Vectors:
        """The vectors of the allowed rows in one piece; kept, within the limits of the cache this is in."""
        block = self._blocks.get(field)
        if block is None:
            block = vectors[self.rows]
            if cache is not None and block.nbytes <= cache.capacity * CACHE_SHARE:
                self._blocks = {**self._blocks, field: block}
                cache.trim()
        return block

    def lengths(self, field: str, block: Vectors) -> Scores:
        """Lengths of the rows of `block`, kept as long as the block is."""
        known = self._lengths.get(field)
        if known is None:
            known = lengths_of(block)
            if field in self._blocks:
                self._lengths = {**self._lengths, field: known}
        return known

    def size(self) -> int:
        blocks = sum(b.nbytes for b in self._blocks.values())
        return self.mask.nbytes + (0 if self._rows is None else self._rows.nbytes) + blocks


Key = tuple[int, str, str]
"""(segment id, filter, vector field)"""


class AllowedCache:
    """Allowed rows of sealed segments by filter, least recently used out first. Safe from any thread."""

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self.capacity = capacity
        self._lock = Lock()
        self._entries: OrderedDict[Key, tuple[int, Allowed]] = OrderedDict()

    def get(self, key: Key, version: int) -> Allowed | None:
        entry = self._entries.get(key)
        if entry is None or entry[0] != version:
            return None
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: Key, version: int, allowed: Allowed) -> None:
        with self._lock:
            self._entries[key] = (version, allowed)
            self._entries.move_to_end(key)
        self.trim()

    def trim(self) -> None:
        """Forget the oldest until what is left fits."""
        with self._lock:
            total = sum(a.size() for _, a in self._entries.values())
            while total > self.capacity and len(self._entries) > 1:
                _, (_, oldest) = self._entries.popitem(last=False)
                total -= oldest.size()

    def forget(self, segment_id: int) -> None:
        """The segment is gone."""
        with self._lock:
            for key in [k for k in self._entries if k[0] == segment_id]:
                del self._entries[key]


def allowed_rows(segment: Segment, condition: Filter | None, vector_field: str, timestamp: int) -> Allowed | None:
    """Rows visible at `timestamp` that pass, out of the first `rows_at(timestamp)`; None when those are all rows.

    With a `vector_field`, rows whose vector is null are left out.
    """
    deletes = segment.deletes
    rows = segment.rows_at(timestamp)
    cache = segment.cache
    version = deletes.version
    if cache is not None and timestamp >= deletes.newest and segment.rows_at(1 << 63) == rows:
        if condition is None and deletes.count == 0 and not vector_field:
            return None
        key = (segment.segment_id, "" if condition is None else condition.key, vector_field)
        known: Allowed | None = cache.get(key, version)
        if known is not None:
            return known
        mask = _mask(segment, condition, vector_field, rows, timestamp)
        if mask is None:
            return None
        allowed = Allowed(mask)
        if deletes.version == version:
            cache.put(key, version, allowed)
        return allowed
    mask = _mask(segment, condition, vector_field, rows, timestamp)
    return None if mask is None else Allowed(mask)


def _mask(
    segment: Segment, condition: Filter | None, vector_field: str, rows: int, timestamp: int
) -> npt.NDArray[np.bool_] | None:
    mask = segment.deletes.alive(rows, timestamp)
    if vector_field:
        _, valid = segment.vectors(vector_field, rows)
        if valid is not None:
            mask = valid if mask is None else mask & valid
    if condition is not None:
        passing = condition.evaluate(segment.columns(rows))
        mask = passing if mask is None else mask & passing
    return mask
