"""The loops that count the terms of texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int32, int64, uint32

from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_I8 = array(int64)
_DIGIT = 8
"""Bits that are sorted by at a time."""
_MOST_BITS = 10
"""Bits of terms by which they are spread: then there is about one of each kind, as terms are hashes."""
_CROWD = 48
"""So many of one kind, equal ones included, are not put in order one by one."""
_ROOM = 1 << 10


@helper
def _insert(keys: Array, count: Number) -> None:
    """Sort what is nearly sorted."""
    for i in range(1, count):
        key, at = keys[i], i
        while at > 0 and keys[at - 1] > key:
            keys[at] = keys[at - 1]
            at -= 1
        keys[at] = key


@helper
def _sort(keys: Array, spare: Array, count: Number, low: Number) -> None:
    """Sort by the 32 bits from `low` on."""
    totals = np.empty(1 << _DIGIT, np.int64)
    for shift in range(low, low + 32, _DIGIT):
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


@helper
def _in_order(given: Array, keys: Array, spare: Array, totals: Array, low: Number) -> None:
    """Put all of `given` into `keys`, ascending by the 32 bits from `low` on, which are hashes."""
    count, bits = len(given), 3
    while (1 << bits) < count and bits < _MOST_BITS:
        bits += 1
    shift = np.uint64(low + 32 - bits)
    totals[: 1 << bits] = 0
    for i in range(count):
        totals[given[i] >> shift] += 1
    before, most = 0, 0
    for kind in range(1 << bits):
        total = totals[kind]
        totals[kind] = before
        before += total
        most = max(most, total)
    for i in range(count):
        kind = given[i] >> shift
        keys[totals[kind]] = given[i]
        totals[kind] += 1
    if most <= _CROWD:
        _insert(keys, count)
    else:
        _sort(keys, spare, count, low)


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
    given, words, totals = np.empty(_ROOM, np.uint64), np.empty(_ROOM, np.int32), np.empty(1 << _MOST_BITS, np.int64)
    keys, spare = np.empty(_ROOM, np.uint64), np.empty(_ROOM, np.uint64)
    out, frequencies = 0, pairs.view(np.float32)
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
            given, keys = np.empty(2 * count, np.uint64), np.empty(2 * count, np.uint64)
            spare = np.empty(2 * count, np.uint64)
        count = 0
        for i in range(distinct):
            word = words[i]
            for at in range(term_starts[word], term_starts[word + 1]):
                given[count] = np.uint64(terms[at]) << np.uint64(32) | np.uint64(seen[word])
                count += 1
            seen[word] = 0
        _in_order(given[:count], keys, spare, totals, 32)
        i = 0
        while i < count:
            term, often = keys[i] >> np.uint64(32), np.int64(0)
            while i < count and keys[i] >> np.uint64(32) == term:
                often += np.int64(keys[i] & np.uint64(0xFFFF_FFFF))
                i += 1
            pairs[2 * out] = term
            frequencies[2 * out + 1] = often
            out += 1
        ends[text + 1] = out
    return out


@kernel(int64(_I8, array(uint32), array(uint32, written=True), array(int64, written=True)))
def count_equal(starts: Array, terms: Array, pairs: Array, ends: Array) -> Number:
    """The same of texts whose terms are `terms[starts[i]:starts[i + 1]]`, as often as they have them."""
    keys, spare = np.empty(_ROOM, np.uint32), np.empty(_ROOM, np.uint32)
    stops, totals = np.empty(_ROOM, np.int64), np.empty(1 << _MOST_BITS, np.int64)
    out, frequencies = 0, pairs.view(np.float32)
    for text in range(len(starts) - 1):
        count = starts[text + 1] - starts[text]
        if count > len(keys):
            keys, spare = np.empty(2 * count, np.uint32), np.empty(2 * count, np.uint32)
            stops = np.empty(2 * count, np.int64)
        _in_order(terms[starts[text] : starts[text + 1]], keys, spare, totals, 0)
        found: Number = 0
        for i in range(count):
            pairs[2 * (out + found)] = keys[i]
            stops[found] = i + 1
            # What stands there counts only if it is the last of equal ones: a branch would be guessed wrongly.
            found += i + 1 == count or keys[i + 1] != keys[i]
        begin = 0
        for i in range(found):
            frequencies[2 * (out + i) + 1] = stops[i] - begin
            begin = stops[i]
        out += found
        ends[text + 1] = out
    return out
