"""The loops over Roaring bitmaps: one reads where the containers lie and whether they are whole, one looks values up.

A portable Roaring64 body is a count (u64) and, for each upper half of values, that half (u32) and a Roaring32:
containers of values that share all but their lowest 16 bits, as sorted values, as runs, or as 65,536 bits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import boolean, int32, int64, types, uint8, uint64

from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
FINE: Final = 0
CUT: Final = 1
COOKIE: Final = 2
COUNT: Final = 3
ORDER_HIGH: Final = 4
ORDER_LOW: Final = 5
ORDER_VALUES: Final = 6
BITS: Final = 7
RUNS: Final = 8
RUN_ORDER: Final = 9
RUN_RANGE: Final = 10
RUN_COUNT: Final = 11
ROOM: Final = 12
"""What `scan` may find."""
_ARRAY_MOST, _BITMAP_BYTES = 4096, 8192
_RUN_COOKIE, _COOKIE = 12347, 12346
_OFFSETS_FROM = 4
"""A Roaring32 with runs has no offsets where it has fewer containers."""


@helper
def _u16(body: Array, at: Number) -> Number:
    return np.int64(body[at]) | (np.int64(body[at + 1]) << 8)


@helper
def _u32(body: Array, at: Number) -> Number:
    return _u16(body, at) | (_u16(body, at + 2) << 16)


@helper
def _check_values(body: Array, at: Number, count: Number) -> Number:
    previous = np.int64(-1)
    for place in range(count):
        value = _u16(body, at + 2 * place)
        if value <= previous:
            return ORDER_VALUES
        previous = value
    return FINE


@helper
def _check_bits(body: Array, at: Number, count: Number) -> Number:
    found = 0
    for place in range(at, at + _BITMAP_BYTES):
        bits = np.int64(body[place])
        while bits:
            bits &= bits - 1
            found += 1
    return FINE if found == count else BITS


@helper
def _check_runs(body: Array, at: Number, runs: Number, count: Number) -> Number:
    last = np.int64(-1)
    found = 0
    for run in range(runs):
        start = _u16(body, at + 4 * run)
        more = _u16(body, at + 4 * run + 2)
        if start <= last:
            return RUN_ORDER
        last = start + more
        if last > 0xFFFF:
            return RUN_RANGE
        found += more + 1
    return FINE if found == count else RUN_COUNT


@helper
def _opened(body: Array, at: Number) -> Number:
    """How many containers a Roaring32 has, where their flags of runs are (0: none have any), where they are described,
    where the first of them begins, and what is wrong."""
    size = len(body)
    if at + 4 > size:
        return 0, 0, 0, 0, CUT
    cookie = _u32(body, at)
    at += 4
    flags = np.int64(0)
    if cookie & 0xFFFF == _RUN_COOKIE:
        count = (cookie >> 16) + 1
        flags = at
        at += (count + 7) // 8
    elif cookie != _COOKIE:
        return 0, 0, 0, 0, COOKIE
    elif at + 4 > size:
        return 0, 0, 0, 0, CUT
    else:
        count = _u32(body, at)
        at += 4
    if count > 1 << 16:
        return 0, 0, 0, 0, COUNT
    described = at
    at += 4 * count
    if flags == 0 or count >= _OFFSETS_FROM:
        # Where each container begins follows from what stands before it; what is written there is not read.
        at += 4 * count
    return count, flags, described, at, FINE if at <= size else CUT


@helper
def _contents(body: Array, at: Number, members: Number, is_run: Number) -> Number:
    """The size of a container as the table has it, where its values begin, where they end, and what is wrong."""
    size = len(body)
    if is_run:
        if at + 2 > size:
            return 0, 0, 0, CUT
        runs = _u16(body, at)
        at += 2
        if runs == 0:
            return 0, 0, 0, RUNS
        end = at + 4 * runs
        return -runs, at, end, _check_runs(body, at, runs, members) if end <= size else CUT
    if members > _ARRAY_MOST:
        end = at + _BITMAP_BYTES
        return 0, at, end, _check_bits(body, at, members) if end <= size else CUT
    end = at + 2 * members
    return members, at, end, _check_values(body, at, members) if end <= size else CUT


@helper
def _child(body: Array, at: Number, high: Number, keys: Array, places: Array, sizes: Array, told: Array) -> Number:
    """Read one Roaring32; the place behind it. `told[0]` becomes what is wrong."""
    count, flags, described, at, told[0] = _opened(body, at)
    previous = np.int64(-1)
    for container in range(count):
        if told[0] != FINE:
            break
        key = _u16(body, described + 4 * container)
        made = told[1]
        if key <= previous or made >= len(keys):
            told[0] = ORDER_LOW if key <= previous else ROOM
            break
        previous = key
        members = _u16(body, described + 4 * container + 2) + 1
        is_run = flags > 0 and (body[flags + container // 8] >> (container % 8)) & 1 == 1
        sizes[made], places[made], at, told[0] = _contents(body, at, members, is_run)
        keys[made] = (np.uint64(high) << np.uint64(16)) | np.uint64(key)
        told[1] = made + 1
        told[2] += members
    return at


@kernel(types.void(
    array(uint8), array(uint64, written=True), array(int64, written=True), array(int32, written=True),
    array(int64, written=True),
))  # fmt: skip
def scan(body: Array, keys: Array, places: Array, sizes: Array, told: Array) -> None:
    """Fill the table of containers: the upper 48 bits of its values, where its bytes begin, and how many values (above
    zero) or runs (below) these are; zero: bits. `told` becomes what is wrong (FINE: nothing), containers, members, and
    how many bytes were read. The body has at least eight bytes, and its count was compared with its length.
    """
    told[:] = 0
    highs = _u32(body, 0)
    at = np.int64(8)
    previous = np.int64(-1)
    for _ in range(highs):
        if at + 4 > len(body):
            told[0] = CUT
            return
        high = _u32(body, at)
        if high <= previous:
            told[0] = ORDER_HIGH
            return
        previous = high
        at = _child(body, at + 4, high, keys, places, sizes, told)
        if told[0] != FINE:
            return
    told[3] = at


@helper
def _is_in(body: Array, at: Number, size: Number, wanted: Number) -> Number:
    """Whether a container has the value, by its lowest 16 bits."""
    if size == 0:
        return (body[at + (wanted >> 3)] >> (wanted & 7)) & 1 == 1
    width = 2 if size > 0 else 4
    low, left = at, abs(size)
    # Nothing is jumped over: both halves are one place and a length.
    while left > 1:
        half = left // 2
        low += width * half if _u16(body, low + width * half) <= wanted else 0
        left -= half
    start = _u16(body, low)
    if wanted < start:
        return False
    return wanted == start if size > 0 else wanted - start <= _u16(body, low + 2)


@kernel(types.void(
    array(uint64), array(int64), array(uint8), array(uint64), array(int64), array(int32), array(boolean, written=True),
))  # fmt: skip
def look_up(
    values: Array, containers: Array, body: Array, keys: Array, places: Array, sizes: Array, out: Array
) -> None:
    """Whether each value is a member, by a table that `scan` filled; `containers` are the first ones whose keys are not
    below those of the values, or as many as there are."""
    count = len(keys)
    for row in range(len(values)):
        at = containers[row]
        out[row] = (
            at < count
            and keys[at] == values[row] >> np.uint64(16)
            and _is_in(body, places[at], sizes[at], np.int64(values[row] & np.uint64(0xFFFF)))
        )
