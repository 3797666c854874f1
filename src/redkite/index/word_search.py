"""One search by BM25 over inverted lists in one call: what the terms weigh, what the rows score, the best of them.

Scores are those of `sparse_rows.py`, bit for bit: single precision, terms in the order of their dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, float64, int64, types, uint32

from redkite.index.best import BEST, least_of, offer, put_in_order
from redkite.index.sparse_kernels import BLOCK as BOUNDED
from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_types: Any = types
_U4, _I8, _F4 = array(uint32), array(int64), array(float32)
WINDOW = 16_384
"""Rows whose sums are held at a time: they stay in the second cache."""
SWEEP = 32
"""Sums compared with the worst of the best at a time."""
SPARSE = 4
"""Looking an item of a list up costs as much as sweeping over so many sums."""
BLOCK = 256
"""Items of a list whose parts are computed at a time, with wide instructions."""
_SAFE = np.float32(1.000_01)
"""Upper bounds are raised by this, so that rounding never makes one too small."""


@helper
def _weight(frequency: Number, having: Number, rows: Number, k1: Number) -> Number:
    """What a term weighs that a query has so often and so many of the rows."""
    rarity = np.log1p((rows - having + 0.5) / (having + 0.5))
    return np.float32(frequency * rarity * (k1 + 1))


@kernel(types.void(_F4, _I8, int64, float64, array(float32, written=True)))
def weigh(frequencies: Array, having: Array, rows: int, k1: float, out: Array) -> None:
    """What the terms of queries weigh."""
    for i in range(len(out)):
        out[i] = _weight(frequencies[i], having[i], rows, k1)


@helper
def _list_of(dims: Array, low: Number, dim: Number) -> Number:
    """The place of a dimension, or where it would be, from `low` on."""
    high = len(dims)
    while low < high:
        middle = (low + high) >> 1
        if dims[middle] < dim:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def _add(
    docs: Array, values: Array, lengths: Array, begin: Number, end: Number, first: Number, weight: Number,
    base: Number, slope: Number, sums: Array, parts: Array,
) -> None:  # fmt: skip
    """Add what a part of a list gives to the sums of the rows from `first`."""
    for at in range(begin, end, BLOCK):
        count = min(BLOCK, end - at)
        for i in range(count):
            value = values[at + i]
            parts[i] = weight * (value / (value + (base + slope * lengths[docs[at + i]])))
        for i in range(count):
            sums[docs[at + i] - first] += parts[i]


@helper
def _sweep(sums: Array, count: Number, first: Number, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """Offer the rows of a window, and set its sums to zero."""
    # Positive floats are in the order of their bits; the largest of some integers is found with wide instructions.
    bits = sums.view(np.int32)
    bar = np.empty(1, np.float32)
    bar[0] = least_of(best_scores, size)
    for at in range(0, count, SWEEP):
        until = min(at + SWEEP, count)
        most = np.int32(0)
        for i in range(at, until):
            most = max(most, bits[i])
        if most <= bar.view(np.int32)[0]:
            continue
        for i in range(at, until):
            if sums[i] > bar[0]:
                size = offer(best_scores, best_rows, size, sums[i], first + i)
                bar[0] = least_of(best_scores, size)
    sums[:count] = 0
    return size


@helper
def _pick(
    docs: Array, begin: Number, end: Number, sums: Array, first: Number, best_scores: Array, best_rows: Array,
    size: Number,
) -> Number:  # fmt: skip
    """Offer the rows of a part of a list that nobody offered yet, and set their sums to zero."""
    bar = least_of(best_scores, size)
    for at in range(begin, end):
        score = sums[docs[at] - first]
        # Of equal ones the row with the smaller number wins, which may come later here.
        if score > 0 and score >= bar:
            size = offer(best_scores, best_rows, size, score, np.int64(docs[at]))
            bar = least_of(best_scores, size)
        sums[docs[at] - first] = 0
    return size


@helper
def _one_word(
    docs: Array, values: Array, lengths: Array, begin: Number, end: Number, weight: Number, base: Number, slope: Number,
    tops: Array, least: Number, best_scores: Array, best_rows: Array,
) -> Number:  # fmt: skip
    """Offer the rows of one list; `tops`: the largest value of each of its blocks, `least` the smallest norm there is.
    A block is passed over where no row can get among the best by these."""
    parts, size = np.empty(BOUNDED, np.float32), 0
    for block in range(len(tops)):
        bar = least_of(best_scores, size)
        if weight * (tops[block] / (tops[block] + least)) * _SAFE <= bar:
            continue
        at = begin + block * BOUNDED
        count = min(BOUNDED, end - at)
        for i in range(count):
            value = values[at + i]
            parts[i] = weight * (value / (value + (base + slope * lengths[docs[at + i]])))
        for i in range(count):
            if parts[i] > bar:
                size = offer(best_scores, best_rows, size, parts[i], np.int64(docs[at + i]))
                bar = least_of(best_scores, size)
    return size


@kernel(
    int64(_U4, _I8, _U4, _F4, _I8, _F4, _F4, _U4, _F4, int64, float64, float32, float32, float32, *BEST[:2])
)  # fmt: skip
def search_words(
    dims: Array, starts: Array, docs: Array, values: Array, block_starts: Array, block_bounds: Array, lengths: Array,
    asked: Array, frequencies: Array, texts: int, k1: float, base: float, slope: float, least: float,
    best_scores: Array, best_rows: Array,
) -> Number:  # fmt: skip
    """The best rows of one query, best first, and how many they are. `dims` to `lengths` are those of inverted lists
    over all rows of a collection, of which `texts` have a text; `asked` ascend. `least` is the smallest norm."""
    places, ends = np.empty(len(asked), np.int64), np.empty(len(asked), np.int64)
    stops, weights = np.empty(len(asked), np.int64), np.empty(len(asked), np.float32)
    count, low, only = 0, 0, 0
    for i in range(len(asked)):
        low = _list_of(dims, low, asked[i])
        if low == len(dims):
            break
        if dims[low] == asked[i]:
            places[count], ends[count] = starts[low], starts[low + 1]
            weights[count] = _weight(frequencies[i], ends[count] - places[count], texts, k1)
            only, count = low, count + 1
    if count == 0:
        return 0
    if count == 1:
        tops = block_bounds[block_starts[only] : block_starts[only + 1]]
        size = _one_word(
            docs, values, lengths, places[0], ends[0], weights[0], base, slope, tops, least, best_scores, best_rows
        )
        put_in_order(best_scores, best_rows, size)
        return size
    size, rows = 0, len(lengths)
    sums, parts = np.zeros(min(WINDOW, rows), np.float32), np.empty(BLOCK, np.float32)
    for first in range(0, rows, WINDOW):
        until = min(first + WINDOW, rows)
        items = 0
        for t in range(count):
            begin, end = places[t], ends[t]
            if until < rows:
                end = begin + np.searchsorted(docs[begin:end], np.uint32(until))
            _add(docs, values, lengths, begin, end, first, weights[t], base, slope, sums, parts)
            stops[t] = end
            items += end - begin
        if SPARSE * items < until - first:
            for t in range(count):
                size = _pick(docs, places[t], stops[t], sums, first, best_scores, best_rows, size)
        else:
            size = _sweep(sums, until - first, first, best_scores, best_rows, size)
        places[:count] = stops[:count]
    put_in_order(best_scores, best_rows, size)
    return size
