"""The loops of MinHash: runs of words or characters hashed, and the least of many hashes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int64, types, uint8, uint32, uint64

from redkite.native import array, helper, kernel, matrix

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_P1 = np.uint64(0x9E3779B185EBCA87)
_P2 = np.uint64(0xC2B2AE3D27D4EB4F)
_P3 = np.uint64(0x165667B19E3779F9)
_P4 = np.uint64(0x85EBCA77C2B2AE63)
_P5 = np.uint64(0x27D4EB2F165667C5)
"""The constants of XXH64."""
_NONE = np.uint32(0xFFFFFFFF)


@helper
def _turned(value: Number, bits: Number) -> Number:
    return (value << np.uint64(bits)) | (value >> np.uint64(64 - bits))


@helper
def _word(data: Array, at: Number, size: Number) -> Number:
    """`size` bytes, the least significant first."""
    value = np.uint64(0)
    for place in range(size):
        value |= np.uint64(data[at + place]) << np.uint64(8 * place)
    return value


@helper
def _round(lane: Number, value: Number) -> Number:
    return _turned(lane + value * _P2, 31) * _P1


@helper
def _mixed(value: Number) -> Number:
    """Every bit of the result depends on every bit of the value."""
    value ^= value >> np.uint64(33)
    value *= _P2
    value ^= value >> np.uint64(29)
    value *= _P3
    return value ^ (value >> np.uint64(32))


@helper
def _xxh64(data: Array, start: Number, end: Number, seed: Number) -> Number:
    """XXH64 of the bytes from start to end."""
    size, at = end - start, start
    if size >= 32:
        one, two, three, four = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while at + 32 <= end:
            one = _round(one, _word(data, at, 8))
            two = _round(two, _word(data, at + 8, 8))
            three = _round(three, _word(data, at + 16, 8))
            four = _round(four, _word(data, at + 24, 8))
            at += 32
        value = _turned(one, 1) + _turned(two, 7) + _turned(three, 12) + _turned(four, 18)
        for lane in (one, two, three, four):
            value = (value ^ _round(np.uint64(0), lane)) * _P1 + _P4
    else:
        value = seed + _P5
    value += np.uint64(size)
    while at + 8 <= end:
        value = _turned(value ^ _round(np.uint64(0), _word(data, at, 8)), 27) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        value = _turned(value ^ (_word(data, at, 4) * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        value = _turned(value ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    return _mixed(value)


@kernel(types.void(array(uint8), array(int64), uint64, array(uint64, written=True)))
def hash_texts(data: Array, starts: Array, seed: Number, out: Array) -> None:
    """XXH64 of each text; text i is data[starts[i]:starts[i + 1]], UTF-8."""
    for text in range(len(out)):
        out[text] = _xxh64(data, starts[text], starts[text + 1], seed)


@kernel(
    types.void(
        array(uint64), array(int64), int64, array(uint64), array(uint64), matrix(uint32, written=True)
    )
)  # fmt: skip
def least_hashes(units: Array, starts: Array, size: Number, factors: Array, terms: Array, out: Array) -> None:
    """The MinHash signature of each text: out (texts, hashes).

    The units of text i, words or characters by their hashes, are units[starts[i]:starts[i + 1]]. Each run of `size`
    units is one shingle; a shorter text is one shingle as a whole, and an empty one has none.
    """
    for text in range(len(out)):
        least = out[text]
        least[:] = _NONE
        start, end = starts[text], starts[text + 1]
        runs = end - start - size + 1
        if runs < 1:
            runs = 1 if end > start else 0
        for run in range(runs):
            value = np.uint64(0)
            for at in range(start + run, min(start + run + size, end)):
                value = _mixed(value * _P1 + units[at])
            for place in range(len(factors)):
                hashed = np.uint32((value * factors[place] + terms[place]) >> np.uint64(32))
                least[place] = min(least[place], hashed)
