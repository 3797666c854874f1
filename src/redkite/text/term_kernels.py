"""The loops that make terms of words as they stand in texts: the CRC-32 of a word's bytes, eight of them at a time.

A register of CRC-32 that is zero stays zero over zeros. So a word is read from its end back: its first bytes, one to
eight of them, with zeros before them, then eight by eight.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import boolean, int64, types, uint8, uint32

from redkite.native import array, helper, kernel
from redkite.text.tokens import HASHED_BYTES
from redkite.text.vocabulary_kernels import ALONE, EIGHT, EIGHTS, find_edges

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_types: Any = types
_I8 = array(int64)
_ROOM = 1 << 12
"""Edges of words that are looked at together, if not one text has more."""
_POLYNOMIAL = 0xEDB8_8320
_ONES = np.uint64(0xFFFF_FFFF)
_BYTE = np.uint64(0xFF)
_HIGH_BITS = np.uint64(0x8080_8080_8080_8080)
_LOW_BITS = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
_BEHIND_Z = np.uint64((0x7F - ord("Z")) * 0x0101_0101_0101_0101)
_FROM_A = np.uint64((0x80 - ord("A")) * 0x0101_0101_0101_0101)
"""Added to seven bits of each byte: the eighth says whether it is behind Z, and from A on."""


def _registers() -> npt.NDArray[np.uint32]:
    """(8 · 256,) what a byte makes of an empty register with 0 to 7 zeros behind it."""
    made = np.empty((EIGHT, 256), np.uint32)
    made[0] = np.arange(256)
    for _ in range(8):
        made[0] = np.where(made[0] & 1, made[0] >> 1 ^ np.uint32(_POLYNOMIAL), made[0] >> 1)
    for zeros in range(1, EIGHT):
        made[zeros] = made[zeros - 1] >> 8 ^ made[0][made[zeros - 1] & 0xFF]
    return made.reshape(-1)


_REGISTERS = _registers()
_SHIFTED_OUT = np.array([0xFFFF_FFFF >> 8 * size if size < 4 else 0 for size in range(EIGHT + 1)], np.uint64)
"""What is left of the register that all begin with, all ones, behind so many bytes."""


@helper
def _register(eight: Number) -> Number:
    """What eight bytes make of an empty register."""
    found = _REGISTERS[7 * 256 + np.int64(eight & _BYTE)]
    found ^= _REGISTERS[6 * 256 + np.int64((eight >> np.uint64(8)) & _BYTE)]
    found ^= _REGISTERS[5 * 256 + np.int64((eight >> np.uint64(16)) & _BYTE)]
    found ^= _REGISTERS[4 * 256 + np.int64((eight >> np.uint64(24)) & _BYTE)]
    found ^= _REGISTERS[3 * 256 + np.int64((eight >> np.uint64(32)) & _BYTE)]
    found ^= _REGISTERS[2 * 256 + np.int64((eight >> np.uint64(40)) & _BYTE)]
    found ^= _REGISTERS[1 * 256 + np.int64((eight >> np.uint64(48)) & _BYTE)]
    return np.uint64(found ^ _REGISTERS[np.int64(eight >> np.uint64(56))])


@helper
def _lower(eight: Number) -> Number:
    """Eight bytes with the letters A to Z as small ones."""
    low = eight & _LOW_BITS
    capital = ((low + _BEHIND_Z) ^ (low + _FROM_A)) & ~eight & _HIGH_BITS
    return eight | capital >> np.uint64(2)


@helper
def _read_words(
    before: Array, edges: Array, words: Number, lower: Number, longer: Array, terms: Array, first: Number
) -> None:
    """The terms of words between these edges, into `terms` from the `first` on."""
    more: Number = 0
    for i in range(words):
        begin, end = edges[2 * i], min(edges[2 * i + 1], edges[2 * i] + HASHED_BYTES)
        size = ((end - begin - 1) & (EIGHT - 1)) + 1
        free = np.uint64(EIGHT * (EIGHT - size))
        eight = (before[begin + size] >> free) << free
        if lower:
            eight = _lower(eight)
        terms[first + i] = _register(eight ^ _ONES << free) ^ _SHIFTED_OUT[size]
        # Words that go on come later: a branch would be guessed wrongly at each of them.
        longer[more] = i
        more += begin + size < end
    for j in range(more):
        i = longer[j]
        begin, end = edges[2 * i], min(edges[2 * i + 1], edges[2 * i] + HASHED_BYTES)
        at, register = begin + ((end - begin - 1) & (EIGHT - 1)) + 1, np.uint64(terms[first + i])
        while at < end:
            at += EIGHT
            eight = before[at]
            if lower:
                eight = _lower(eight)
            register = _register(eight ^ register)
        terms[first + i] = register
    for i in range(first, first + words):
        # The largest number is no dimension; it becomes 0.
        terms[i] = terms[i] ^ np.uint32(_ONES) if terms[i] != 0 else np.uint32(0)


@helper
def _is_ascii(before: Array, begin: Number, end: Number) -> Number:
    size = ((end - begin - 1) & (EIGHT - 1)) + 1
    seen = before[begin + size] >> np.uint64(EIGHT * (EIGHT - size))
    for at in range(begin + size + EIGHT, end + 1, EIGHT):
        seen |= before[at]
    return seen & _HIGH_BITS == 0


@kernel(
    int64(
        array(uint8), EIGHTS, _I8, array(uint8), boolean, boolean, array(int64, written=True),
        array(uint32, written=True), array(int64, written=True),
    )
)  # fmt: skip
def find_terms(
    data: Array, before: Array, bounds: Array, table: Array, lower: bool, plain: bool, starts: Array, terms: Array,
    others: Array,
) -> Number:  # fmt: skip
    """The terms of the words of texts, and where those of each text begin. A word is a longest run of characters whose
    place in `table` is 1, not 0; `lower`: its letters count as small ones. `before`: the eight bytes before each place
    of `data`, which is valid UTF-8; `plain`: it is ASCII.

    How many words are not of ASCII alone, and have no term yet; which of all words each of them is, where it begins
    and where it ends, into `others`.
    """
    alone, edges, longer = table[:ALONE].copy(), np.empty(_ROOM, np.int64), np.empty(_ROOM, np.int64)
    found, done, rest, first = 0, 0, 0, 0
    texts = len(bounds) - 1
    starts[0] = 0
    for text in range(texts):
        size = bounds[text + 1] - bounds[text]
        if size >= len(edges):  # there are none yet
            edges, longer = np.empty(2 * size, np.int64), np.empty(size, np.int64)
        found = find_edges(data, bounds[text], bounds[text + 1], table, alone, edges, found)
        starts[text + 1] = done + found // 2
        if text + 1 < texts and found + bounds[text + 2] - bounds[text + 1] < len(edges):
            continue  # many words are read together
        _read_words(before, edges, found // 2, lower, longer, terms, done)
        for other in range(text + 1 if plain else first, text + 1):
            # Words are looked at one by one in few texts.
            if bounds[other] == bounds[other + 1] or _is_ascii(before, bounds[other], bounds[other + 1]):
                continue
            for word in range(starts[other], starts[other + 1]):
                begin, end = edges[2 * (word - done)], edges[2 * (word - done) + 1]
                if not _is_ascii(before, begin, end):
                    others[3 * rest], others[3 * rest + 1], others[3 * rest + 2] = word, begin, end
                    rest += 1
        first, done, found = text + 1, done + found // 2, 0
    return rest
