"""Which strings hold which short run of bytes: what `like "%text%"` has to look at, out of all strings.

A gram is a run of `least` to `most` bytes of UTF-8, known by its size and a hash of 26 bits. A pattern's plain runs are
cut into grams, and only rows that have them all are compared with the pattern: two grams of one hash make more rows to
compare, never less.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import bound
from redkite.filter.columns import Columns
from redkite.filter.evaluate import evaluate
from redkite.filter.indexed import IndexedLeaf, RowNumbers, SomeRows, source_of
from redkite.filter.json_column import JsonPath
from redkite.filter.like import Pattern, Shape
from redkite.filter.numbers import Mask, settled
from redkite.filter.spatial import Spatial
from redkite.index.scalar.layout import Array, Arrays

Hashes = npt.NDArray[np.uint32]

MOST_GRAMS = 8
"""The rarest grams of a pattern that are looked up; more would leave out few rows more."""
SEARCH_NS = 60_000.0
COMPARE_NS = {"text": 90.0, "json": 1_500.0}
"""Comparing one candidate with the pattern."""
MERGE_NS = 25.0
"""Looking one row of the shortest list up in another list."""
MERGE_SHARE = 0.25
"""Of the time that a pass over the rows takes, what may be spent before it is known whether the index wins."""
_SEED, _PRIME, _SIZE_BITS = 0x811C9DC5, 0x01000193, 6
MOST_GRAM_BYTES = 1 << _SIZE_BITS
_ENTRY_BYTES = 40
"""For each byte of a column, while the grams of one size are found."""
_SHIFT, _LOW = np.uint64(32), np.uint64((1 << 32) - 1)


class NgramIndex:
    """`hashes` (grams,) ascending; `numbers[offsets[g]:offsets[g + 1]]` are the rows of gram g, ascending."""

    def __init__(
        self, path: JsonPath | None, least: int, most: int, hashes: Hashes, offsets: Array, numbers: Array, rows: int
    ) -> None:
        self.path = path
        self.rows = rows
        self.answers = 0
        self._least = least
        self._most = most
        self._hashes = hashes
        self._offsets = offsets
        self._numbers = numbers

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:
        """See `FieldIndex.answer`: of patterns that have a plain run of at least `least` bytes."""
        if isinstance(leaf, Spatial) or not isinstance(leaf, bound.Like):
            return None
        source = source_of(leaf)
        is_json = isinstance(source, bound.Path)
        if is_json and (leaf.negated or not isinstance(source, bound.Path) or source.path != self.path):
            return None
        places = self._places(leaf.pattern)
        if places is None:
            return None
        each = COMPARE_NS["json" if is_json else "text"]
        rows = self._candidates(places, limit - SEARCH_NS, each)
        if rows is None:
            return None
        mask = np.zeros(self.rows, np.bool_)
        if len(rows):
            held = bound.Like(leaf.operand, leaf.pattern)
            mask[rows[evaluate(held, SomeRows(columns, rows))]] = True
        return settled(mask, leaf.negated, columns.is_valid(source.field)) if source and leaf.negated else mask

    def _places(self, pattern: Pattern) -> RowNumbers | None:
        """The numbers of the pattern's grams, -1 for those that no row has; None when it has no gram."""
        wanted = [
            gram_hashes(np.frombuffer(run, np.uint8), min(len(run), self._most))
            for piece in _plain_runs(pattern)
            if len(run := piece.encode()) >= self._least
        ]
        if not wanted:
            return None
        grams = np.unique(np.concatenate(wanted))
        places = np.searchsorted(self._hashes, grams)
        places[places == len(self._hashes)] = 0
        known = self._hashes[places] == grams if len(self._hashes) else np.zeros(len(grams), np.bool_)
        return np.where(known, places, -1)

    def _candidates(self, places: RowNumbers, limit: float, each: float) -> RowNumbers | None:
        """Rows that have all the grams; None when looking for them, or at them, would take more than `limit`."""
        if (places < 0).any():
            return np.zeros(0, np.int64) if limit > 0 else None
        starts, ends = self._offsets[places].astype(np.int64), self._offsets[places + 1].astype(np.int64)
        rarest = np.argsort(ends - starts)[:MOST_GRAMS]
        starts, ends = starts[rarest], ends[rarest]
        fewest = int(ends[0] - starts[0])
        if fewest * MERGE_NS * (len(rarest) - 1) > limit * MERGE_SHARE:
            return None
        rows = self._numbers[starts[0] : ends[0]]
        for start, end in zip(starts[1:].tolist(), ends[1:].tolist(), strict=True):
            other = self._numbers[start:end]
            at = np.searchsorted(other, rows)
            at[at == len(other)] = 0
            rows = rows[other[at] == rows]
        return rows.astype(np.int64) if len(rows) * each <= limit else None


def _plain_runs(pattern: Pattern) -> tuple[str, ...]:
    if pattern.shape in (Shape.ANY, Shape.REGEX):
        return pattern.pieces
    return (pattern.text,)


def gram_hashes(data: npt.NDArray[np.uint8], size: int) -> Hashes:
    """What every run of `size` bytes is known by; there are len(data) - size + 1. Those of a larger size are larger."""
    count = max(0, len(data) - size + 1)
    hashes = np.full(count, _SEED, np.uint32)
    for at in range(size):
        hashes ^= data[at : at + count]
        hashes *= np.uint32(_PRIME)
    # The upper bits of a product are the better mixed ones.
    hashes >>= np.uint32(_SIZE_BITS)
    hashes |= np.uint32((size - 1) << (32 - _SIZE_BITS))
    return hashes


def ngram_arrays(strings: pa.Array, least: int, most: int, wanted: Callable[[], bool]) -> Arrays | None:
    """The arrays of an index over strings, nulls left out; None when it is not wanted any more."""
    plain = strings.dictionary_decode() if pa.types.is_dictionary(strings.type) else strings
    data, ends = _bytes_of(plain.cast(pa.string()).fill_null(""))
    owners = np.repeat(np.arange(len(plain), dtype=np.uint32), np.diff(ends))
    hashes, counts, numbers = [np.zeros(0, np.uint32)], [np.zeros(1, np.int64)], [np.zeros(0, np.uint32)]
    # Each size has its own range of hashes, so what it gives follows what the smaller ones gave.
    for size in range(least, most + 1):
        if not wanted():
            return None
        entries = _entries(data, owners, size)
        grams = (entries >> _SHIFT).astype(np.uint32)
        starts = np.flatnonzero(np.diff(grams, prepend=~grams[:1]))
        hashes.append(grams[starts])
        counts.append(np.diff(starts, append=len(grams)))
        numbers.append((entries & _LOW).astype(np.uint32))
    offsets = np.cumsum(np.concatenate(counts))
    return {
        "hashes": np.concatenate(hashes),
        "offsets": offsets.astype(np.uint32 if offsets[-1] < 1 << 32 else np.uint64),
        "numbers": np.concatenate(numbers),
    }


def build_memory(column_bytes: int, least: int, most: int) -> int:
    """What `ngram_arrays` takes at most, about: the entries of one size, and the rows of all."""
    return column_bytes * (_ENTRY_BYTES + 2 * 4 * (most - least + 1))


def _entries(data: npt.NDArray[np.uint8], owners: npt.NDArray[np.uint32], size: int) -> npt.NDArray[np.uint64]:
    """The grams of one size, hash and row in one number, ascending and each once."""
    hashes = gram_hashes(data, size)
    if not len(hashes):
        return np.zeros(0, np.uint64)
    first = owners[: len(hashes)]
    inside = first == owners[size - 1 :]
    return _distinct((hashes[inside].astype(np.uint64) << _SHIFT) | first[inside])


def _distinct(entries: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    entries.sort()
    return entries[np.concatenate([[True], entries[1:] != entries[:-1]])] if len(entries) else entries


def _bytes_of(strings: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The bytes of all strings in a row, and where each of them ends; the first number is 0."""
    _, offsets, data = strings.buffers()
    if not len(strings):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    ends = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1].astype(np.int64)
    held = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return held[ends[0] : ends[-1]], ends - ends[0]
