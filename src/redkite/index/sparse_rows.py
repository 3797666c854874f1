"""The loops over sparse rows as they are stored: scoring them, and gathering them into lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, types, uint32

from redkite.index.best import BEST, least_of, offer
from redkite.index.sparse_kernels import BLOCK
from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_types: Any = types
_U4, _I8, _F4 = array(uint32), array(int64), array(float32)
_ROWS = (_I8, array(uint32, "A"), array(float32, "A"))
_QUERY = (array(uint32, "A"), array(float32, "A"))
_NORMS = (_F4, float32, float32)
"""Lengths of the rows (no items: values count as they are), base and slope."""
_EMPTY = np.uint32(0xFFFF_FFFF)
"""No dimension: the largest is one less."""
FLAGS = 8192
DIRECT = 1 << 22
"""Dimensions below this are numbered by a table rather than by hashes."""
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)


@helper
def _slot(dim: Number, shift: Number) -> Number:
    return np.int64((np.uint64(dim) * _SPREAD) >> np.uint64(shift))


@helper
def _query_table(asked: Array, weights: Array) -> tuple[Array, Array, Array, Number]:
    """The query's dimensions as a hash table with room to spare, its weights beside, and the shift of `_slot`; before
    them flags by the low bits, which turn most of the other dimensions away."""
    flags = np.zeros(FLAGS, np.uint8)
    for i in range(len(asked)):
        flags[asked[i] & np.uint32(FLAGS - 1)] = 1
    bits = 4
    while (1 << bits) < 4 * len(asked):
        bits += 1
    keys = np.full(1 << bits, _EMPTY, np.uint32)
    held = np.zeros(1 << bits, np.float32)
    shift = 64 - bits
    for i in range(len(asked)):
        at = _slot(asked[i], shift)
        while keys[at] != _EMPTY:
            at = (at + 1) & ((1 << bits) - 1)
        keys[at], held[at] = asked[i], weights[i]
    return flags, keys, held, shift


@helper
def _score(
    rows: tuple[Array, Array, Array], norm: Number, row: Number, flags: Array, keys: Array, held: Array, shift: Number
) -> Number:
    """One row's score: products are added in the order of dimensions. With a `norm` that is not negative it is one of
    BM25: a value v counts as v / (v + norm)."""
    starts, indices, values = rows
    total = np.float32(0)
    for at in range(starts[row], starts[row + 1]):
        dim = indices[at]
        if flags[dim & np.uint32(FLAGS - 1)] == 0:
            continue
        place = _slot(dim, shift)
        while keys[place] != _EMPTY:
            if keys[place] == dim:
                value = values[at]
                if norm >= 0:
                    value = value / (value + norm)
                total += held[place] * value
                break
            place = (place + 1) & (len(keys) - 1)
    return total


@helper
def _norm(lengths: Array, base: Number, slope: Number, row: Number) -> Number:
    """What is added below the fraction; negative where values count as they are."""
    if len(lengths) == 0:
        return np.float32(-1)
    return base + slope * lengths[row]


@kernel(types.void(*_ROWS, *_QUERY, *_NORMS, _I8, array(float32, written=True)))
def score_rows(
    starts: Array, indices: Array, values: Array, asked: Array, weights: Array, lengths: Array, base: Number,
    slope: Number, chosen: Array, out: Array,
) -> None:  # fmt: skip
    """Scores of the `chosen` rows, as many as `out` has room for, into `out`. No items: of the first rows."""
    flags, keys, held, shift = _query_table(asked, weights)
    for i in range(len(out)):
        row = i if len(chosen) == 0 else chosen[i]
        norm = _norm(lengths, base, slope, row)
        out[i] = _score((starts, indices, values), norm, row, flags, keys, held, shift)


@kernel(int64(*_ROWS, *_QUERY, *_NORMS, int64, *BEST))
def search_rows(
    starts: Array, indices: Array, values: Array, asked: Array, weights: Array, lengths: Array, base: Number,
    slope: Number, first: int, best_scores: Array, best_rows: Array, size: Number,
) -> Number:  # fmt: skip
    """Offer the rows from `first` on; how many best ones there are then."""
    flags, keys, held, shift = _query_table(asked, weights)
    for row in range(first, len(starts) - 1):
        norm = _norm(lengths, base, slope, row)
        score = _score((starts, indices, values), norm, row, flags, keys, held, shift)
        if score > least_of(best_scores, size):
            size = offer(best_scores, best_rows, size, score, row)
    return size


@kernel(types.void(_I8, array(float32, "A"), array(float32, written=True)))
def sum_rows(starts: Array, values: Array, out: Array) -> None:
    """The sum of each row's values."""
    for row in range(len(out)):
        total = np.float32(0)
        for at in range(starts[row], starts[row + 1]):
            total += values[at]
        out[row] = total


@helper
def _number_directly(indices: Array, begin: Number, end: Number, largest: Number) -> tuple[Array, Array]:
    """`number_dims` where a table of all dimensions is small."""
    numbers, held = np.empty(end - begin, np.uint32), np.full(largest + 1, _EMPTY, np.uint32)
    seen = np.empty(min(end - begin, largest + 1), np.uint32)
    count = 0
    for at in range(begin, end):
        dim = indices[at]
        if held[dim] == _EMPTY:
            held[dim], seen[count] = count, dim
            count += 1
        numbers[at - begin] = held[dim]
    return seen[:count].copy(), numbers


@helper
def _place_of(held: Array, dim: Number, bits: Number) -> Number:
    """Where a dimension is in a hash table, or would be. An item is a dimension above its number plus one; 0: none."""
    place = _slot(dim, 64 - bits)
    while held[place] != 0 and np.uint32(held[place] >> np.uint64(32)) != dim:
        place = (place + 1) & ((1 << bits) - 1)
    return place


@kernel(_types.UniTuple(_types.Array(uint32, 1, "C"), 2)(_I8, array(uint32, "A")))
def number_dims(starts: Array, indices: Array) -> tuple[Array, Array]:
    """Distinct dimensions in the order they are met in, and for each pair which of them it has."""
    begin, end = starts[0], starts[-1]
    largest = np.int64(0)
    for at in range(begin, end):
        largest = max(largest, np.int64(indices[at]))
    if largest < DIRECT:
        return _number_directly(indices, begin, end, largest)
    numbers = np.empty(end - begin, np.uint32)
    bits = 12
    held = np.zeros(1 << bits, np.uint64)
    seen = np.empty(1 << (bits - 1), np.uint32)
    count = 0
    for at in range(begin, end):
        dim = indices[at]
        place = _place_of(held, dim, bits)
        if held[place] == 0:
            if count == len(seen):
                bits += 1
                seen = np.concatenate((seen, np.empty(count, np.uint32)))
                held = np.zeros(1 << bits, np.uint64)
                for i in range(count):
                    held[_place_of(held, seen[i], bits)] = np.uint64(seen[i]) << np.uint64(32) | np.uint64(i + 1)
                place = _place_of(held, dim, bits)
            held[place], seen[count] = np.uint64(dim) << np.uint64(32) | np.uint64(count + 1), dim
            count += 1
        numbers[at - begin] = np.uint32(held[place]) - np.uint32(1)
    return seen[:count].copy(), numbers


@kernel(_types.Tuple((_types.Array(int64, 1, "C"), _types.Array(uint32, 1, "C"), _types.Array(float32, 1, "C")))(
    _I8, array(float32, "A"), _U4, _U4, int64, float32
))  # fmt: skip
def make_lists(
    starts: Array, values: Array, numbers: Array, ranks: Array, dims: int, smallest: float
) -> tuple[Array, Array, Array]:
    """Where each dimension's list begins, and its rows and values. `numbers` of the pairs as `number_dims` gave them,
    `ranks` the place of each in ascending order; values below `smallest`, by their size, are left out."""
    begin = starts[0]
    list_starts = np.zeros(dims + 1, np.int64)
    for i in range(len(numbers)):
        if abs(values[begin + i]) >= smallest:
            list_starts[ranks[numbers[i]] + 1] += 1
    for t in range(dims):
        list_starts[t + 1] += list_starts[t]
    rows = np.empty(list_starts[dims], np.uint32)
    taken = np.empty(list_starts[dims], np.float32)
    free = list_starts[:-1].copy()
    for row in range(len(starts) - 1):
        for at in range(starts[row], starts[row + 1]):
            value = values[at]
            if abs(value) >= smallest:
                t = ranks[numbers[at - begin]]
                rows[free[t]], taken[free[t]] = row, value
                free[t] += 1
    return list_starts, rows, taken


@kernel(types.void(_I8, _F4, _I8, array(float32, written=True), array(float32, written=True)))
def bound_lists(starts: Array, values: Array, block_starts: Array, bounds: Array, block_bounds: Array) -> None:
    """The largest value of each list and of each of its blocks."""
    for t in range(len(starts) - 1):
        most = np.float32(0)
        for block in range(block_starts[t + 1] - block_starts[t]):
            begin = starts[t] + block * BLOCK
            top = np.float32(0)
            for at in range(begin, min(begin + BLOCK, starts[t + 1])):
                top = max(top, values[at])
            block_bounds[block_starts[t] + block] = top
            most = max(most, top)
        bounds[t] = most
