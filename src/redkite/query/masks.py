"""Masks of parts of filters over whole sealed segments, kept as bits. They know nothing of deletes: a row that is
deleted does not make the filter run again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from redkite.filter.numbers import Mask
from redkite.segment.kept import Kept

LEAST_ROWS = 4_096
"""Smaller segments are evaluated anew: that costs no more than finding the mask."""

Bits = npt.NDArray[np.uint8]


class SegmentMasks:
    """The masks of one segment, by the names of parts: `KeptMasks` of an evaluation."""

    __slots__ = ("_place", "_rows", "_store")

    def __init__(self, store: Kept[Bits], segment_id: int, version: int, rows: int) -> None:
        """`version` is that of the schema; `rows` is how many rows the segment has: all of them."""
        self._store = store
        self._place = (segment_id, version)
        self._rows = rows

    def get(self, name: str) -> Mask | None:
        bits = self._store.get((*self._place, name))
        if bits is None:
            return None
        return np.unpackbits(bits, count=self._rows).view(np.bool_)

    def put(self, name: str, mask: Mask) -> None:
        bits = np.packbits(mask)
        self._store.put((*self._place, name), bits, bits.nbytes)
