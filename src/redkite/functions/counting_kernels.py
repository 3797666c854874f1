"""The loops that count the terms of texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int32, int64, types, uint32

from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_types: Any = types
_I8 = array(int64)
_FEW = 48
"""So many are sorted one by one."""
_DIGIT = 8
"""Bits that more are sorted by at a time."""
_ROOM = 1 << 10


@helper
def _insert(keys: Array, count: Number) -> None:
    """Sort a few."""
    for i in range(1, count):
        key, at = keys[i], i
        while at > 0 and keys[at - 1] > key:
            keys[at] = keys[at - 1]
            at -= 1
        keys[at] = key


@helper
def _sort(keys: Array, spare: Array, count: Number) -> None:
    """Sort by the upper 32 bits."""
    totals = np.empty(1 << _DIGIT, np.int64)
    for shift in range(32, 64, _DIGIT):
        totals[:] = 0
        for i in range(count):
            totals[(keys[i] >> np.uint64(shift)) & np.uint64(0xFF)] += 1
        before = 0
        for digit in range(len(totals)):
            total = totals[digit]
            totals[digit] = before
            before += total
        for i in range(count):
            digit = (keys[i] >> np.uint64(shift)) & np.uint64(0xFF)
            spare[totals[digit]] = keys[i]
            totals[digit] += 1
        keys, spare = spare, keys  # an even number of times: the result is where it was


@kernel(
    int64(
        _I8, array(int32), _I8, array(uint32), array(int32, written=True), array(uint32, written=True),
        array(int64, written=True),
    )
)  # fmt: skip
def count_terms(
    starts: Array, codes: Array, term_starts: Array, terms: Array, seen: Array, pairs: Array, ends: Array
) -> Number:  # fmt: skip
    """For each text the terms of its words, ascending, and how often it has each, as (uint32, float32) `pairs`; how
    many there are up to the end of each text, into `ends`. How many there are of all.

    The words of text i are `codes[starts[i]:starts[i + 1]]`, the terms of word c `terms[term_starts[c]:term_starts[c +
    1]]`. `seen`: a zero for each word, and so again afterwards.
    """
    keys, spare, words = np.empty(_ROOM, np.uint64), np.empty(_ROOM, np.uint64), np.empty(_ROOM, np.int32)
    out, value = 0, np.empty(1, np.float32)
    for text in range(len(starts) - 1):
        if starts[text + 1] - starts[text] > len(words):
            words = np.empty(2 * (starts[text + 1] - starts[text]), np.int32)
        distinct, count = 0, 0
        for at in range(starts[text], starts[text + 1]):
            word = codes[at]
            if seen[word] == 0:
                words[distinct] = word
                distinct += 1
                count += term_starts[word + 1] - term_starts[word]
            seen[word] += 1
        if count > len(keys):
            keys, spare = np.empty(2 * count, np.uint64), np.empty(2 * count, np.uint64)
        count = 0
        for i in range(distinct):
            word = words[i]
            for at in range(term_starts[word], term_starts[word + 1]):
                keys[count] = np.uint64(terms[at]) << np.uint64(32) | np.uint64(seen[word])
                count += 1
            seen[word] = 0
        if count <= _FEW:
            _insert(keys, count)
        else:
            _sort(keys, spare, count)
        i = 0
        while i < count:
            term, often = keys[i] >> np.uint64(32), np.int64(0)
            while i < count and keys[i] >> np.uint64(32) == term:
                often += np.int64(keys[i] & np.uint64(0xFFFF_FFFF))
                i += 1
            value[0] = float32(often)
            pairs[2 * out] = term
            pairs[2 * out + 1] = value.view(np.uint32)[0]
            out += 1
        ends[text + 1] = out
    return out
