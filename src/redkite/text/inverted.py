"""Which texts hold which word, and where: an inverted index with positions, in memory or mapped from a file.

It is a few arrays: for each word the texts that it occurs in, once for each occurrence, in order. What is asked of it
is answered for all texts at once, without looking at any of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.text.analyzer import Analyzer
from redkite.text.words import Numbers, Words, sorted_words, united

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]

BLOCK_TEXTS = 65_536
BLOCK_BYTES = 8 << 20
"""So many texts, or so much of them, are analysed at a time."""
_FAR = 1 << 30
"""More moves than any phrase takes."""


@dataclass(frozen=True, slots=True, eq=False)
class Inverted:
    """The occurrences of word w are those from `offsets[w]` to `offsets[w + 1]`: `rows` says in which text each lies,
    ascending, `positions` where in it, ascending within a text."""

    words: Words
    offsets: npt.NDArray[np.uint32]
    rows: npt.NDArray[np.uint32]
    positions: Array
    """uint16, or uint32 where that is too narrow."""
    texts: int
    """How many texts, those without any word included."""

    @property
    def nbytes(self) -> int:
        return self.words.nbytes + self.offsets.nbytes + self.rows.nbytes + self.positions.nbytes

    @property
    def counts(self) -> Numbers:
        """How often each word occurs."""
        offsets = self.offsets.astype(np.int64)
        counts: Numbers = offsets[1:] - offsets[:-1]
        return counts

    # -- questions --------------------------------------------------------------------------------
    def any_of(self, words: Sequence[str], least: int = 1) -> Mask:
        """(texts,) where at least so many of some words occur; one that is given twice counts twice."""
        given = Counter(words)
        known = {number: given[word] for word, number in self.words.find_all(given).items() if number >= 0}
        if least <= 1:
            return self.having(known)
        if sum(known.values()) < least:
            return np.zeros(self.texts, np.bool_)
        found = np.zeros(self.texts, np.int64)
        for number, weight in known.items():
            found[_distinct(self._rows_of(number))] += weight
        mask: Mask = found >= least
        return mask

    def having(self, numbers: Iterable[int]) -> Mask:
        """(texts,) where any of these words occurs."""
        mask = np.zeros(self.texts, np.bool_)
        for number in numbers:
            mask[self._rows_of(number)] = True
        return mask

    def near(self, words: Sequence[str], distance: int) -> Mask:
        """(texts,) where a word occurs that is at most so many edits away from one of some words."""
        close = [self.words.near(word, distance) for word in dict.fromkeys(words)]
        return self.having(np.unique(np.concatenate([np.zeros(0, np.int64), *close])).tolist())

    def phrase(self, words: Sequence[str], places: Sequence[int], slop: int) -> Mask:
        """(texts,) where the words stand as `places` says, but for `slop` moves.

        Somewhere in the text stands each word, moved from its place in the phrase by some positions; the least and the
        greatest of these numbers differ by at most `slop`. So one word more between two of them takes one move, and
        two neighbours that have changed places take two.
        """
        mask = np.zeros(self.texts, np.bool_)
        wanted = self._lists(words, places)
        if wanted:
            from redkite.text import phrase_kernels

            numbers, moved = (np.array(column, np.int64) for column in zip(*wanted, strict=True))
            starts, stops = self.offsets[numbers].astype(np.int64), self.offsets[numbers + 1].astype(np.int64)
            narrow = self.positions.dtype == np.uint16
            find = phrase_kernels.find_narrow if narrow else phrase_kernels.find_wide
            find(self.rows, self.positions, starts, stops, moved, min(slop, _FAR), mask)
        return mask

    def _lists(self, words: Sequence[str], places: Sequence[int]) -> list[tuple[int, int]]:
        """The numbers of the words of a phrase and their places, the rarest word first; nothing when one does not
        occur. Of a word that is given twice in one place, once is enough."""
        known = self.words.find_all(dict.fromkeys(words))
        if -1 in known.values():
            return []
        wanted = dict.fromkeys((known[word], place) for word, place in zip(words, places, strict=True))
        return sorted(wanted, key=lambda one: int(self.offsets[one[0] + 1]) - int(self.offsets[one[0]]))

    def _rows_of(self, number: int) -> Array:
        return self.rows[int(self.offsets[number]) : int(self.offsets[number + 1])]

    # -- together ---------------------------------------------------------------------------------
    def and_more(self, more: Inverted) -> Inverted:
        """These texts and more behind them."""
        words, mine, theirs = united(self.words, more.words)
        codes = np.concatenate([np.repeat(mine, self.counts), np.repeat(theirs, more.counts)])
        rows = np.concatenate([self.rows, more.rows + np.uint32(self.texts)])
        kind = np.promote_types(self.positions.dtype, more.positions.dtype)
        positions = np.concatenate([self.positions.astype(kind), more.positions.astype(kind)])
        return _ordered(words, codes, rows, positions, self.texts + more.texts)


def _distinct(rows: Array) -> Array:
    """Ascending numbers, each once."""
    return rows[np.concatenate([[True], rows[1:] != rows[:-1]])] if len(rows) else rows


# -- making ---------------------------------------------------------------------------------------
def invert(texts: pa.Array, analyzer: Analyzer, wanted: Callable[[], bool] = lambda: True) -> Inverted | None:
    """The index of some texts, in which null has no word; None when `wanted` says no, which is asked between blocks."""
    plain = texts.dictionary_decode() if pa.types.is_dictionary(texts.type) else texts
    known: dict[str, int] = {}
    codes, positions, counts = [np.zeros(0, np.int32)], [np.zeros(0, np.uint16)], [np.zeros(0, np.int64)]
    for start, size in _blocks(plain):
        if not wanted():
            return None
        tokens = analyzer.analyze(plain.slice(start, size))
        renamed = np.fromiter((known.setdefault(word, len(known)) for word in tokens.vocabulary), np.int32)
        codes.append(renamed[tokens.codes])
        positions.append(_narrow(tokens.positions))
        counts.append(tokens.counts)
    if not wanted():
        return None
    words, ranks = sorted_words(known)
    rows = np.repeat(np.arange(len(plain), dtype=np.uint32), np.concatenate(counts))
    found = ranks.astype(np.uint32)[np.concatenate(codes)]
    codes.clear()
    return _ordered(words, found, rows, np.concatenate(positions), len(plain))


def _blocks(texts: pa.Array) -> Iterable[tuple[int, int]]:
    """(start, size) of neighbouring texts that are analysed together."""
    each = max(1, texts.nbytes // max(1, len(texts)))
    size = max(1, min(BLOCK_TEXTS, BLOCK_BYTES // each))
    return ((start, min(size, len(texts) - start)) for start in range(0, len(texts), size))


def _ordered(words: Words, codes: Array, rows: Array, positions: Array, texts: int) -> Inverted:
    """Occurrences in the order of texts and positions, put in the order of words."""
    # Word and occurrence in one number: sorting it keeps the order within a word.
    keys = np.empty(len(codes), "<u8")
    halves = keys.view("<u4").reshape(-1, 2)
    halves[:, 0] = np.arange(len(codes), dtype=np.uint32)
    halves[:, 1] = codes
    keys.sort()
    order = halves[:, 0].copy()
    offsets = np.zeros(len(words) + 1, np.uint32)
    np.cumsum(np.bincount(codes, minlength=len(words)), out=offsets[1:])
    return Inverted(words, offsets, rows[order], positions[order], texts)


def _narrow(numbers: Array) -> Array:
    """Numbers from 0 in no more bytes than they need."""
    return numbers.astype(np.uint16 if numbers.max(initial=0) < 1 << 16 else np.uint32)
