"""The loops that number words: runs of letters in texts, each looked up among the words known so far.

Bytes are read eight at a time, from wherever they begin: arrays of `EIGHTS` are views of bytes, one item for each byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import int32, int64, types, uint8, uint64

from redkite.native import array, helper, kernel

Array = Any
Number = Any
"""numba infers the types of helpers; what is passed from Python is said in the signatures."""
_types: Any = types
_U1, _I8 = array(uint8), array(int64)
EIGHTS = _types.Array(uint64, 1, "A", readonly=True, aligned=False)
EIGHT = 8
_KNOWN = (array(uint64, written=True), array(uint8, written=True), EIGHTS, array(int64, written=True))
"""The parts of a vocabulary: its slots, the bytes of its words one after another, twice, and where each word ends. A
slot is a key and behind it the word's number plus one; 0 there is a free one."""
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_LONG = np.uint64(0xFF << 56)
"""Words of less than eight bytes are their own keys, with their size in the eighth. The others have this there, and a
hash below."""
ALONE = 128
"""Bytes below this are characters; a character of several bytes has none of them."""


@helper
def _point(data: Array, at: Number) -> tuple[Number, Number]:
    """The character of several bytes that begins at `at`, and where the next one begins."""
    first = np.int64(data[at])
    if first < 0xE0:
        return (first & 0x1F) << 6 | np.int64(data[at + 1]) & 0x3F, at + 2
    middle = (np.int64(data[at + 1]) & 0x3F) << 6 | np.int64(data[at + 2]) & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | middle, at + 3
    return (first & 0x07) << 18 | middle << 6 | np.int64(data[at + 3]) & 0x3F, at + 4


@helper
def find_edges(
    data: Array, at: Number, until: Number, table: Array, alone: Array, edges: Array, count: Number
) -> Number:
    """Where words begin and end between two places, in turns, behind the first `count` edges; how many there are."""
    before: Number = 0
    while at < until:
        edges[count] = at
        if data[at] < ALONE:
            inside = np.int64(alone[data[at]])
            at += 1
        else:
            point, at = _point(data, at)
            inside = np.int64(table[point])
        # What stands there counts only if something changes: a branch would be guessed wrongly at every word.
        count += inside ^ before
        before = inside
    edges[count] = until
    return count + before


@helper
def _long_key(eights: Array, begin: Number, end: Number) -> Number:
    """The key of a word of eight bytes or more."""
    key = np.uint64(0)
    for at in range(begin, end - EIGHT, EIGHT):
        key = (key ^ eights[at]) * _SPREAD
        key ^= key >> np.uint64(32)
    return (key ^ eights[end - EIGHT]) * _SPREAD | _LONG


@helper
def _place(key: Number, mask: Number) -> Number:
    """Where among the slots the search for a key begins."""
    mixed = (key ^ key >> np.uint64(32)) * _SPREAD
    return np.int64(mixed >> np.uint64(32)) & mask


@helper
def _is(eights: Array, begin: Number, size: Number, known: Array, at: Number) -> Number:
    """Whether eight bytes or more are those at another place."""
    for i in range(0, size - EIGHT, EIGHT):
        if eights[begin + i] != known[at + i]:
            return False
    return eights[begin + size - EIGHT] == known[at + size - EIGHT]


@kernel(
    _types.UniTuple(int64, 2)(
        _U1, EIGHTS, _I8, int64, _U1, *_KNOWN, int64, array(int64, written=True), array(int32, written=True)
    )
)
def number_words(
    data: Array, eights: Array, bounds: Array, first: int, table: Array, slots: Array, letters: Array,
    letter_eights: Array, ends: Array, known: int, starts: Array, codes: Array,
) -> tuple[Number, Number]:  # fmt: skip
    """The numbers of the words of the texts from `first` on, into `codes`; where those of each text begin, into
    `starts`, whose item `first` is there. A word is a longest run of characters whose place in `table` is 1, not 0;
    `data` is valid UTF-8, with some bytes behind it that are no letters.

    Stops before a text whose words might not all find room among those known. (the text where it stopped, how many
    words are known then).
    """
    mask, alone, edges = len(slots) // 2 - 1, table[:ALONE].copy(), np.empty(1 << 10, np.int64)
    for text in range(first, len(bounds) - 1):
        size, count = bounds[text + 1] - bounds[text], starts[text]
        if 4 * (known + (size + 1) // 2) > len(slots) or ends[known] + size + EIGHT > len(letters):
            return text, known
        if size >= len(edges):
            edges = np.empty(2 * size, np.int64)
        found = find_edges(data, bounds[text], bounds[text + 1], table, alone, edges, 0)
        for i in range(0, found, 2):
            begin, size = edges[i], edges[i + 1] - edges[i]
            if size < EIGHT:
                free = np.uint64(EIGHT * (EIGHT - size))
                key = (eights[begin] << free) >> np.uint64(EIGHT) | np.uint64(size) << np.uint64(56)
            else:
                key = _long_key(eights, begin, begin + size)
            place = _place(key, mask)
            number: Number = np.int64(slots[2 * place + 1])
            while number != 0:
                if slots[2 * place] == key:
                    at = ends[number - 1]
                    if size < EIGHT or (ends[number] - at == size and _is(eights, begin, size, letter_eights, at)):
                        break
                place = (place + 1) & mask
                number = np.int64(slots[2 * place + 1])
            if number == 0:
                at = ends[known]
                letters[at : at + size] = data[begin : begin + size]
                known += 1
                number = known
                ends[known] = at + size
                slots[2 * place], slots[2 * place + 1] = key, known
            codes[count] = number - 1
            count += 1
        starts[text + 1] = count
    return len(bounds) - 1, known


@kernel(types.void(array(uint64), array(uint64, written=True)))
def move_words(slots: Array, into: Array) -> None:
    """Put all words of some slots into more, which are free."""
    mask = len(into) // 2 - 1
    for at in range(0, len(slots), 2):
        if slots[at + 1] != 0:
            place = _place(slots[at], mask)
            while into[2 * place + 1] != 0:
                place = (place + 1) & mask
            into[2 * place], into[2 * place + 1] = slots[at], slots[at + 1]
