"""The loops over binary vectors: bits counted a word at a time, MinHash signatures compared an element at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import float32, int64, types, uint8, uint64

from redkite.index.best import BEST, offer
from redkite.native import array, helper, kernel, matrix

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
HAMMING, JACCARD, SUBSTRUCTURE, SUPERSTRUCTURE = range(4)
"""How rows are compared."""
SWEEP = 32
"""Scores compared with the worst of the best at a time."""
_OUT = array(float32, written=True)
_NEVER = np.float32(np.inf)


@helper
def _bits(word: Number) -> Number:
    """How many bits are set; the compiler knows the one instruction that does this."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@helper
def _shared(words: Array, row: Number, query: Array) -> Number:
    both = 0
    for at in range(len(query)):
        both += _bits(words[row, at] & query[at])
    return both


@helper
def _apart(words: Array, row: Number, query: Array) -> Number:
    apart = 0
    for at in range(len(query)):
        apart += _bits(words[row, at] ^ query[at])
    return apart


@kernel(types.void(matrix(uint64), array(int64, written=True)))
def count_bits(words: Array, out: Array) -> None:
    """How many bits of each row are set."""
    for row in range(len(out)):
        total = 0
        for at in range(words.shape[1]):
            total += _bits(words[row, at])
        out[row] = total


@kernel(types.void(int64, matrix(uint64), array(int64), array(uint64), array(int64), _OUT))
def score_bits(how: int, words: Array, counts: Array, query: Array, chosen: Array, out: Array) -> None:
    """Distances of the `chosen` rows, as many as `out` has room for (no items: of the first rows); infinite for rows
    that are no answer. `counts` of the rows' bits are wanted for all but HAMMING."""
    asked = 0
    for at in range(len(query)):
        asked += _bits(query[at])
    # One loop for each way of comparing: a choice within would cost as much as a comparison.
    if how == HAMMING:
        for i in range(len(out)):
            out[i] = _apart(words, i if len(chosen) == 0 else chosen[i], query)
        return
    for i in range(len(out)):
        out[i] = _shared(words, i if len(chosen) == 0 else chosen[i], query)
    for i in range(len(out)):
        count = counts[i if len(chosen) == 0 else chosen[i]]
        if how == JACCARD:
            either = count + asked - np.int64(out[i])
            out[i] = np.float32(1 - np.int64(out[i]) / either) if either else np.float32(0)
        else:
            out[i] = np.float32(0) if out[i] == (asked if how == SUBSTRUCTURE else count) else _NEVER


@kernel(int64(array(float32), float32, *BEST))
def find_best(scores: Array, sign: float, best_scores: Array, best_rows: Array, size: Number) -> Number:
    """The best of some scores, those with an infinite one left out; with a `sign` of -1 small ones are better. How many
    there are."""
    for base in range(0, len(scores), SWEEP):
        until = min(base + SWEEP, len(scores))
        most = -_NEVER
        for i in range(base, until):
            most = max(most, sign * scores[i])
        if size == len(best_scores) and most <= best_scores[0]:
            continue
        for i in range(base, until):
            score = sign * scores[i]
            if score > -_NEVER and (size < len(best_scores) or score > best_scores[0]):
                size = offer(best_scores, best_rows, size, score, i)
    return size


@helper
def _same(signatures: Array, row: Number, query: Array, element: Number, rows: Number) -> tuple[Number, Number]:
    """How many elements, each of `element` bytes, are equal, and in how many bands of `rows` elements all are."""
    equal, bands, run, left = 0, 0, 0, rows
    for at in range(0, len(query), element):
        same = 1
        for byte in range(at, at + element):
            if signatures[row, byte] != query[byte]:
                same = 0
                break
        equal += same
        run += same
        left -= 1
        if left == 0:
            bands += run == rows
            run, left = 0, rows
    return equal, bands


@kernel(types.void(matrix(uint8), array(uint8), int64, int64, array(int64), _OUT))
def score_signatures(signatures: Array, query: Array, element: int, rows: int, chosen: Array, out: Array) -> None:
    """The part of a signature's elements that are equal, of the `chosen` rows, as many as `out` has room for (no items:
    of the first rows); minus infinity for rows that share no band of `rows` elements with the query."""
    for i in range(len(out)):
        equal, bands = _same(signatures, i if len(chosen) == 0 else chosen[i], query, element, rows)
        out[i] = np.float32(equal / (len(query) // element)) if bands else -_NEVER


@kernel(types.void(matrix(uint8), int64, int64, int64, array(uint64, written=True)))
def hash_bands(signatures: Array, bytes_before: int, bytes_of_band: int, seed: int, out: Array) -> None:
    """A hash of one band of each signature."""
    for row in range(len(signatures)):
        value = np.uint64(0xCBF29CE484222325) ^ np.uint64(seed)
        for at in range(bytes_before, bytes_before + bytes_of_band):
            value = (value ^ np.uint64(signatures[row, at])) * np.uint64(0x100000001B3)
        value ^= value >> np.uint64(32)
        value *= np.uint64(0x9E3779B97F4A7C15)
        out[row] = value ^ (value >> np.uint64(29))
