"""What has become of words before: the same come again and again, in texts that are stored and that are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from redkite.model.requests import Queries
from redkite.model.sparse import SparseRows
from redkite.model.types import DataType
from redkite.text.analyzer import Pipeline
from redkite.text.texts import Texts
from redkite.text.tokens import Tokens, token_hashes

MAX_WORDS = 1 << 18
"""Words whose hashes are kept."""
Hashes = npt.NDArray[np.uint32]
Codes = npt.NDArray[Any]

MAX_KEPT = 1 << 16
MAX_ASKED = 1 << 12
"""Searches for one piece that are kept."""
MAX_CHARACTERS = 64
"""Longer pieces are not kept."""
MAX_TEXT = 2048
"""Longer texts are read as a whole."""


class TermMemo:
    """For analyzers whose words are the same with and without the text beyond a space. Safe from any thread."""

    def __init__(self, analyze: Callable[[Sequence[str]], Tokens]) -> None:
        self._analyze = analyze
        self._known: dict[str, tuple[int, ...]] = {"": ()}
        self._asked: dict[str, Queries] = {}
        """By whole texts that are one piece."""

    def queries(self, texts: Sequence[str]) -> Queries | None:
        """The terms of each text and how often it has them; None for texts that are too long for this."""
        if len(texts) == 1 and (known := self._asked.get(texts[0])) is not None:
            return known
        starts, dims, counts = [0], list[int](), list[int]()
        for text in texts:
            if len(text) > MAX_TEXT:
                return None
            terms = self._terms(text.split(" "))
            for term in sorted(terms):
                dims.append(term)
                counts.append(terms[term])
            starts.append(len(dims))
        rows = SparseRows(np.array(starts, np.int64), np.array(dims, np.uint32), np.array(counts, np.float32))
        made = Queries(data_type=DataType.SPARSE_FLOAT_VECTOR, sparse=rows)
        if len(texts) == 1 and len(texts[0]) <= MAX_CHARACTERS and " " not in texts[0]:
            for column in (rows.starts, rows.indices, rows.values):
                column.setflags(write=False)
            if len(self._asked) >= MAX_ASKED:
                self._asked = {}
            self._asked[texts[0]] = made
        return made

    def _terms(self, pieces: list[str]) -> dict[int, int]:
        known, found = self._known, dict[int, int]()
        try:
            for piece in pieces:
                for term in known[piece]:
                    found[term] = found.get(term, 0) + 1
        except KeyError:
            return self._terms_of_new(pieces)
        return found

    def _terms_of_new(self, pieces: list[str]) -> dict[int, int]:
        """The same where some have not been asked for before."""
        known = self._known
        fresh = sorted({piece for piece in pieces if piece not in known})
        tokens = self._analyze(fresh)
        hashes = tokens.hashes()[tokens.codes].tolist()
        bounds = tokens.starts.tolist()
        made = {piece: tuple(hashes[bounds[at] : bounds[at + 1]]) for at, piece in enumerate(fresh)}
        found = dict[int, int]()
        for piece in pieces:
            for term in made[piece] if piece in made else known[piece]:
                found[term] = found.get(term, 0) + 1
        kept = {piece: terms for piece, terms in made.items() if len(piece) <= MAX_CHARACTERS}
        if len(known) + len(kept) > MAX_KEPT:
            self._known = {"": (), **kept}  # who is looking keeps the one that it has
        else:
            known.update(kept)
        return found


class HashMemo:
    """The hashes of what an analyzer makes of words. Safe from any thread."""

    def __init__(self, analyzer: Pipeline) -> None:
        self._analyzer = analyzer
        self._known: dict[str, int | tuple[int, ...]] = {}

    def hashed(self, texts: Texts) -> tuple[Codes, Codes, Hashes]:
        """Where the words of each text begin (and the last end), which each of them is, and the hashes of all."""
        raw = self._analyzer.cut(texts)
        vocabulary = raw.vocabulary
        found: list[Any] = list(map(self._known.get, vocabulary))
        if None in found:
            found = self._with_new(vocabulary, found)
        try:
            return raw.starts, raw.codes, np.fromiter(found, np.uint32, len(found))
        except TypeError:  # not one of each: words were dropped, or became several
            if not any(one for one in found if isinstance(one, tuple)):
                return _without_dropped(raw, found)
            return _expanded(raw, [one if isinstance(one, tuple) else (one,) for one in found])

    def _with_new(self, vocabulary: list[str], found: list[Any]) -> list[Any]:
        """What is found of each word, once those that nobody has seen before, None so far, are looked at."""
        fresh = [word for word, one in zip(vocabulary, found, strict=True) if one is None]
        hashes = dict(zip(fresh, self._made_of(fresh), strict=True))
        known = self._known
        if len(known) + len(fresh) > MAX_WORDS:
            self._known = known = {}  # who is looking keeps the one that it has
        # Very long words are not kept.
        short = max(map(len, fresh)) <= MAX_CHARACTERS
        known.update(hashes if short else {word: one for word, one in hashes.items() if len(word) <= MAX_CHARACTERS})
        new = iter(hashes.values())
        return [next(new) if one is None else one for one in found]

    def _made_of(self, words: list[str]) -> list[Any]:
        """The hash of what becomes of each word; several of them where that is not one word."""
        made = self._analyzer.made_of(words)
        if len(made.sources) == len(words) and made.sources == list(range(len(words))):
            return token_hashes(made.words)
        several: list[list[int]] = [[] for _ in words]
        for source, one in zip(made.sources, token_hashes(made.words), strict=True):
            several[source].append(one)
        return [each[0] if len(each) == 1 else tuple(each) for each in several]


def _without_dropped(raw: Tokens, found: list[Any]) -> tuple[Codes, Codes, Hashes]:
    """Where some words are dropped, and the others one each."""
    kept = np.array([one != () for one in found], np.bool_)
    stays = kept[raw.codes]
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(stays)])
    codes = (np.cumsum(kept) - 1)[raw.codes[stays]]
    hashes = [one for one in found if one != ()]
    return before[raw.starts], codes, np.fromiter(hashes, np.uint32, len(hashes))


def _expanded(raw: Tokens, hashes: list[tuple[int, ...]]) -> tuple[Codes, Codes, Hashes]:
    counts = np.array(list(map(len, hashes)), np.int64)
    firsts = np.cumsum(counts) - counts
    made = counts[raw.codes]
    total = np.concatenate([np.zeros(1, np.int64), np.cumsum(made)])
    of = np.repeat(np.arange(len(made)), made)
    codes = firsts[raw.codes[of]] + np.arange(len(of)) - total[of]
    return total[raw.starts], codes, np.array([term for each in hashes for term in each], np.uint32)
