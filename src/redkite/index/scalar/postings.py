"""Which rows hold which key: as lists of row numbers, or as bitmaps where there are few keys."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from redkite.filter.numbers import Mask
from redkite.index.scalar.layout import Array, Arrays, Stored
from redkite.index.scalar.spans import Spans, expanded

ROW_NS = 2.2
"""Setting one row of a mask from a list of row numbers."""
BLANK_NS = 0.02
"""Making one row of an empty mask."""
BIT_NS = 0.05
"""Unpacking one row of a bitmap."""
OR_NS = 0.01
"""Adding one row of one more bitmap."""
MOST_KEPT = 64
"""Masks that one index keeps unpacked."""
_FEW_RUNS = 8
_KEY_SHIFT = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)


class Postings(Protocol):
    """Rows by key number."""

    keys: int
    rows: int
    entries: int
    """Pairs of a row and a key that it has; a negative number is none that is known."""

    def count(self, spans: Spans) -> int:
        """How many entries these keys have; a row is counted for each of its keys."""
        ...

    def cost(self, spans: Spans) -> float:
        """Nanoseconds that `mask` takes, about."""
        ...

    def mask(self, spans: Spans) -> Mask:
        """(rows,) True where a row has one of the keys; a fresh array."""
        ...

    def arrays(self) -> Arrays: ...


class RowLists:
    """`numbers[offsets[k]:offsets[k + 1]]` are the rows of key k, ascending."""

    def __init__(self, offsets: Array, numbers: Array, rows: int) -> None:
        self._offsets = offsets
        self._numbers = numbers
        self.keys = len(offsets) - 1
        self.rows = rows
        self.entries = len(numbers)

    def count(self, spans: Spans) -> int:
        offsets = self._offsets
        return int((offsets[spans.ends].astype(np.int64) - offsets[spans.starts]).sum())

    def cost(self, spans: Spans) -> float:
        return BLANK_NS * self.rows + ROW_NS * self.count(spans)

    def _entries(self, spans: Spans) -> Array:
        offsets, numbers = self._offsets, self._numbers
        if len(spans.starts) <= _FEW_RUNS:
            runs = [numbers[int(offsets[s]) : int(offsets[e])] for s, e in zip(spans.starts, spans.ends, strict=True)]
            return runs[0] if len(runs) == 1 else np.concatenate([numbers[:0], *runs])
        starts, ends = offsets[spans.starts].astype(np.int64), offsets[spans.ends].astype(np.int64)
        return numbers[expanded(starts, ends)]

    def mask(self, spans: Spans) -> Mask:
        mask = np.zeros(self.rows, np.bool_)
        mask[self._entries(spans)] = True
        return mask

    def arrays(self) -> Arrays:
        return {"offsets": self._offsets, "numbers": self._numbers}


class Bitmaps:
    """(keys, bytes) packed little-endian: row r has key k when bit r % 8 of byte r // 8 is set."""

    def __init__(self, bits: npt.NDArray[np.uint8], rows: int, keeps: bool = False) -> None:
        """`keeps`: the mask of a key that was asked for stays unpacked, a byte a row, to be copied when it is asked for
        again."""
        self._bits = bits
        self._kept: dict[int, Mask] | None = {} if keeps else None
        self.keys = len(bits)
        self.rows = rows
        self.entries = -1

    def count(self, spans: Spans) -> int:
        return int(np.bitwise_count(self._bits[spans.numbers()]).sum(dtype=np.int64))

    def cost(self, spans: Spans) -> float:
        return self.rows * (BIT_NS + OR_NS * spans.keys)

    def mask(self, spans: Spans) -> Mask:
        if not len(spans.starts):
            return np.zeros(self.rows, np.bool_)
        if spans.keys == 1:
            key = int(spans.starts[0])
            if self._kept is not None:
                return self._kept_mask(key, self._kept)
            bits = self._bits[key]
        else:
            bits = np.bitwise_or.reduce(self._bits[spans.numbers()], axis=0)
        return unpacked(bits, self.rows)

    def _kept_mask(self, key: int, kept: dict[int, Mask]) -> Mask:
        mask = kept.get(key)
        if mask is not None:
            return mask.copy()
        mask = unpacked(self._bits[key], self.rows)
        if len(kept) < MOST_KEPT:
            kept[key] = mask.copy()
        return mask

    def arrays(self) -> Arrays:
        return {"bits": self._bits}


def unpacked(bits: npt.NDArray[np.uint8], rows: int) -> Mask:
    """(rows,) booleans from packed ones; a fresh array."""
    mask: Mask = np.unpackbits(bits, count=rows, bitorder="little").view(np.bool_)
    return mask


def packed(mask: Mask) -> npt.NDArray[np.uint8]:
    return np.packbits(mask, bitorder="little")


def build_postings(keys: Array, owners: Array | None, count: int, rows: int, most_bitmaps: int) -> Postings:
    """Entries of `count` keys: `keys[i]` belongs to row `owners[i]` (None: to row i); a negative key is no entry, and
    one that a row has twice counts once. Bitmaps are made for up to `most_bitmaps` keys."""
    numbers = np.arange(rows, dtype=np.uint64) if owners is None else owners.astype(np.uint64)
    entries = keys.astype(np.uint64) << _KEY_SHIFT
    entries |= numbers
    present = keys >= 0
    if not present.all():
        entries = entries[present]
    # Key and row in one number: its order is that of keys, and of rows within a key.
    entries.sort()
    if owners is not None and len(entries):
        entries = entries[np.concatenate([[True], entries[1:] != entries[:-1]])]
    found = (entries & _LOW).astype(np.uint32)
    sizes = np.bincount((entries >> _KEY_SHIFT).astype(np.int64), minlength=count)
    if count <= most_bitmaps:
        bits = np.zeros((count, (rows + 7) // 8), np.uint8)
        ends = np.cumsum(sizes)
        for key, (start, end) in enumerate(zip((ends - sizes).tolist(), ends.tolist(), strict=True)):
            mask = np.zeros(rows, np.bool_)
            mask[found[start:end]] = True
            bits[key] = packed(mask)
        return Bitmaps(bits, rows)
    offsets = np.zeros(count + 1, np.uint32)
    np.cumsum(sizes, out=offsets[1:])
    return RowLists(offsets, found, rows)


def open_postings(stored: Stored, keeps: bool = False) -> Postings:
    if "bits" in stored.arrays:
        return Bitmaps(stored.array("bits"), stored.rows, keeps)
    return RowLists(stored.array("offsets"), stored.array("numbers"), stored.rows)
