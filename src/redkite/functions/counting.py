"""How often each text has each term, many texts at a time: no object is made of a word that was seen before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.errors import InvalidParameter
from redkite.model.sparse import PAIR_BYTES
from redkite.text.analyzer import Pipeline
from redkite.text.characters import Table
from redkite.text.filters.base import Words
from redkite.text.texts import Texts
from redkite.text.tokens import token_hashes
from redkite.text.vocabulary import Vocabulary

MAX_WORDS = 1 << 18
MAX_BYTES = 1 << 24
"""Of words that are remembered."""
MAX_PAIRS = (1 << 31) // PAIR_BYTES - 1
"""Of one write: more do not fit one column."""
_PART = 8
"""If one of so many words is not of ASCII, all are numbered."""
_BEFORE = bytes(8)
"""Words are read by the eight bytes before a place, and the first one, too."""
Int64s = npt.NDArray[np.int64]
Terms = npt.NDArray[np.uint32]


class _Terms:
    """The terms that words become: those of word n are `terms[starts[n]:starts[n + 1]]`."""

    def __init__(self) -> None:
        self.starts = np.zeros(1, np.int64)
        self.terms = np.empty(0, np.uint32)
        self.seen = np.empty(0, np.int32)
        """A zero for each word, between counts."""
        self.one_each = True
        """Whether every word becomes one term."""
        self.words = 0

    def add(self, words: Words, count: int) -> None:
        """What becomes of `count` more words."""
        hashes = np.array(token_hashes(words.words), np.uint32)
        each = np.bincount(np.array(words.sources, np.int64), minlength=count)
        self.one_each = self.one_each and bool((each == 1).all())
        before, held = self.words, int(self.starts[self.words])
        self.words += count
        self.starts = _with_room(self.starts, before + 1, count)
        self.seen = _with_room(self.seen, before, count)
        self.terms = _with_room(self.terms, held, len(hashes))
        np.cumsum(each, out=self.starts[before + 1 : self.words + 1])
        self.starts[before + 1 : self.words + 1] += held
        self.terms[held : held + len(hashes)] = hashes

    def most_pairs(self, codes: npt.NDArray[np.int32]) -> int:
        """How many terms words become, equal ones counted apart."""
        return len(codes) if self.one_each else int(np.diff(self.starts)[codes].sum())


class TermCounter:
    """For analyzers whose words are runs of characters. Safe from any thread.

    Where the filters make small letters at most of words of ASCII, the term of such a word is computed from its bytes,
    and nothing is remembered. All other words are numbered, and what becomes of each is remembered.
    """

    def __init__(self, analyzer: Pipeline, table: Table) -> None:
        """`table`: of each character, whether it belongs to words."""
        self._analyzer = analyzer
        self._table = table
        self._lowers = analyzer.lowers_ascii
        self._lock = Lock()
        self.is_ready = False
        """Whether it has counted before: the first time takes a while."""
        self._forget()

    def column(self, texts: Texts) -> pa.Array:
        """For each text pairs of (uint32 term, float32 how often), terms ascending, as a binary column. Raises
        InvalidParameter for texts that are not valid or too many for one column."""
        plain = texts.data.isascii()
        if not plain:
            texts.check()
        read = None if self._lowers is None else self._read(texts, self._lowers, plain)
        ends = np.zeros(len(texts) + 1, np.int64)
        found, pairs = self._count_words(texts, ends) if read is None else _count_terms(*read, ends)
        self.is_ready = True
        if found > MAX_PAIRS:
            raise InvalidParameter(f"the texts of one write have {found} words, more than {MAX_PAIRS}")
        buffers = [None, pa.py_buffer((ends * PAIR_BYTES).astype(np.int32)), pa.py_buffer(pairs[: 2 * found])]
        return pa.Array.from_buffers(pa.binary(), len(texts), buffers)

    # -- word by word ---------------------------------------------------------------------------
    def _count_words(self, texts: Texts, ends: Int64s) -> tuple[int, Terms]:
        from redkite.functions.counting_kernels import count_terms

        with self._numbered(texts) as (starts, codes):
            known = self._terms
            pairs = np.empty(2 * known.most_pairs(codes), np.uint32)
            found = count_terms(starts, codes, known.starts, known.terms, known.seen, pairs, ends)
        return found, pairs

    @contextmanager
    def _numbered(self, texts: Texts) -> Iterator[tuple[Int64s, npt.NDArray[np.int32]]]:
        """Where the words of each text begin, and their numbers, of which all is known until it is left."""
        with self._lock:
            try:
                numbered = self._words.numbers(texts)
                self._look_at_new()
            except BaseException:
                self._forget()  # or the words of a text that was refused would be looked at again for the next one
                raise
            yield numbered
            if len(self._words) > MAX_WORDS or self._words.word_bytes > MAX_BYTES:
                self._forget()

    def _forget(self) -> None:
        self._words = Vocabulary(self._table)
        self._terms = _Terms()

    def _look_at_new(self) -> None:
        """Have the filters say what becomes of words that were not there the last time."""
        first, count = self._terms.words, len(self._words)
        if first < count:
            self._terms.add(self._analyzer.made_of(self._words.words(first)), count - first)

    # -- by their bytes -------------------------------------------------------------------------
    def _read(self, texts: Texts, lower: bool, plain: bool) -> tuple[Int64s, Terms] | None:
        """Where the terms of each text begin, and the terms, in the order of the words. None for texts of which too
        many words are not of ASCII. `plain`: none is."""
        from redkite.text.term_kernels import find_terms

        padded, size = _BEFORE + texts.data, len(texts.data)
        before = np.ndarray((size + 1,), np.uint64, padded, strides=(1,))
        most = (size + len(texts)) // 2 + 1
        starts, terms = np.empty(len(texts) + 1, np.int64), np.empty(most, np.uint32)
        others = np.empty((0 if plain else most, 3), np.int64)
        data, table = np.frombuffer(padded, np.uint8)[len(_BEFORE) :], self._table.view(np.uint8)
        rest = find_terms(data, before, texts.bounds, table, lower, plain, starts, terms, others.reshape(-1))
        terms = terms[: starts[-1]]
        if rest * _PART > len(terms) or (rest and not self._put_others(texts, others[:rest], terms)):
            return None
        return starts, terms

    def _put_others(self, texts: Texts, others: Int64s, terms: Terms) -> bool:
        """Fill the terms of other words in; whether each of these has one."""
        spelled = [texts.data[begin:end] for begin, end in others[:, 1:].tolist()]
        bounds = np.zeros(len(spelled) + 1, np.int64)
        np.cumsum([len(word) for word in spelled], out=bounds[1:])
        with self._numbered(Texts(b"".join(spelled), bounds)) as (_, codes):
            if not self._terms.one_each:
                return False
            terms[others[:, 0]] = self._terms.terms[codes]
        return True


def _count_terms(starts: Int64s, terms: Terms, ends: Int64s) -> tuple[int, Terms]:
    from redkite.functions.counting_kernels import count_equal

    pairs = np.empty(2 * len(terms), np.uint32)
    return count_equal(starts, terms, pairs, ends), pairs


def _with_room(held: npt.NDArray[Any], used: int, more: int) -> npt.NDArray[Any]:
    """An array that begins with the `used` items of another and has room for more, zeros until then."""
    if used + more <= len(held):
        return held
    grown = np.zeros(2 * (used + more), held.dtype)
    grown[:used] = held[:used]
    return grown
