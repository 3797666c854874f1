"""The loops that count in how many rows a dimension is: a table of all of them, and a look at every row for a few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, types, uint8, uint32

from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_types: Any = types
EMPTY = np.uint32(0xFFFF_FFFF)
"""No dimension: the largest is one less."""
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_U4, _I8 = array(uint32), array(int64)
_TABLE = (array(uint32, written=True), array(int64, written=True))


@helper
def _place_of(keys: Array, dim: Number) -> Number:
    """Where a dimension is, or would be."""
    mask = np.uint64(len(keys) - 1)
    place = ((np.uint64(dim) * _SPREAD) >> np.uint64(32)) & mask
    while keys[place] != EMPTY and keys[place] != dim:
        place = (place + np.uint64(1)) & mask
    return place


@kernel(_types.UniTuple(int64, 2)(_I8, array(uint32, "A"), _I8, int64, int64, *_TABLE, int64))
def count_rows(
    starts: Array, indices: Array, chosen: Array, first: Number, last: Number, keys: Array, counts: Array, used: Number
) -> tuple[Number, Number]:
    """Count the dimensions of the rows `chosen[first:last]` (no items: the rows from `first` to `last`) in, as long as
    half of the table is free. Where it stopped, and how many dimensions there are then."""
    for at in range(first, last):
        row = at if len(chosen) == 0 else chosen[at]
        if 2 * (used + starts[row + 1] - starts[row]) > len(keys):
            return at, used
        for pair in range(starts[row], starts[row + 1]):
            dim = indices[pair]
            place = _place_of(keys, dim)
            if keys[place] == EMPTY:
                keys[place] = dim
                used += 1
            counts[place] += 1
    return last, used


@kernel(types.void(_U4, _I8, *_TABLE))
def move_counts(keys: Array, counts: Array, into_keys: Array, into_counts: Array) -> None:
    """Put everything that one table holds into a larger, empty one."""
    for at in range(len(keys)):
        if keys[at] != EMPTY:
            place = _place_of(into_keys, keys[at])
            into_keys[place], into_counts[place] = keys[at], counts[at]


@kernel(types.void(_U4, _I8, _U4, array(int64, written=True)))
def look_up(keys: Array, counts: Array, dims: Array, out: Array) -> None:
    """The counts of some dimensions."""
    for i in range(len(dims)):
        place = _place_of(keys, dims[i])
        out[i] = counts[place] if keys[place] != EMPTY else 0


@kernel(types.void(_I8, array(uint32, "A"), array(uint8), _U4, array(int64, written=True)))
def count_seen(starts: Array, indices: Array, seen: Array, dims: Array, out: Array) -> None:
    """In how many of the rows that are `seen` (no items: in all) some dimensions are, which ascend."""
    for row in range(len(starts) - 1):
        if len(seen) != 0 and seen[row] == 0:
            continue
        i = 0
        for pair in range(starts[row], starts[row + 1]):
            while i < len(dims) and dims[i] < indices[pair]:
                i += 1
            if i == len(dims):
                break
            if dims[i] == indices[pair]:
                out[i] += 1
