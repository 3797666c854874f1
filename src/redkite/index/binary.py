"""Columns of binary vectors: bits packed into bytes, compared by counting them.

| metric | score of a row for a query | closer |
|---|---|---|
| HAMMING | bits that differ | smaller |
| JACCARD | 1 - bits in both / bits in either; 0 where neither has any | smaller |
| SUBSTRUCTURE | 0 where the row has every bit of the query; other rows are no answer | smaller |
| SUPERSTRUCTURE | 0 where the query has every bit of the row; other rows are no answer | smaller |
| MHJACCARD | part of the elements that are equal; rows that share no band are no answer | larger |

A row that is no answer has an infinite score, on the far side, and no search returns it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores
from redkite.index.threads import CORES, faiss, use_threads
from redkite.model.types import Metric

Bits = npt.NDArray[np.uint8]
"""(rows, dim / 8) bytes."""
Words = npt.NDArray[np.uint64]
_WORD = 8
_HOW = {Metric.HAMMING: 0, Metric.JACCARD: 1, Metric.SUBSTRUCTURE: 2, Metric.SUPERSTRUCTURE: 3}
"""As the kernels number them."""
NATIVE_QUERIES = 4
"""From this many queries the library, which compares several rows with several queries at a time, is faster."""
SPLIT_BYTES = 16_000_000
"""Bytes from which a scan for one query is split over the cores (some ms)."""
ALL: RowNumbers = np.empty(0, np.int64)
NO_COUNTS = ALL


@dataclass(frozen=True, slots=True)
class Signature:
    """What MinHash signatures consist of: elements of `element_bits`, and `bands` of as many elements as go."""

    element_bits: int = 8
    bands: int = 1

    @property
    def element(self) -> int:
        """Bytes of one element."""
        return self.element_bits // 8

    def band_elements(self, width: int) -> int:
        """Elements of one band in a signature of `width` bytes; those left over belong to none."""
        return max(1, width // self.element // self.bands)


class BinaryColumn:
    """`matrix` (rows, dim / 8) uint8."""

    __slots__ = ("_known_counts", "_known_words", "matrix", "signature")

    def __init__(self, matrix: Bits, signature: Signature | None = None) -> None:
        self.matrix = matrix
        self.signature = signature
        """What the vectors are under MHJACCARD."""
        self._known_words: Words | None = None
        self._known_counts: npt.NDArray[np.int64] | None = None

    @property
    def _words(self) -> Words:
        """The rows as words; a copy where they do not stand so."""
        words = self._known_words
        if words is None:
            words = self._known_words = _as_words(self.matrix)
        return words

    @property
    def _counts(self) -> npt.NDArray[np.int64]:
        """How many bits of each row are set."""
        from redkite.index.binary_kernels import count_bits

        counts = self._known_counts
        if counts is None:
            counts = np.empty(self.rows, np.int64)
            count_bits(self._words, counts)
            self._known_counts = counts
        return counts

    def tail(self, first: int) -> BinaryColumn:
        """The rows from `first` on; no copy."""
        made = BinaryColumn(self.matrix[first:], self.signature)
        words, counts = self._known_words, self._known_counts
        made._known_words = None if words is None else words[first:]
        made._known_counts = None if counts is None else counts[first:]
        return made

    def __len__(self) -> int:
        return len(self.matrix)

    @property
    def rows(self) -> int:
        return len(self.matrix)

    @property
    def nbytes(self) -> int:
        return self.matrix.nbytes

    @property
    def width(self) -> int:
        return int(self.matrix.shape[1])

    def signed(self, signature: Signature) -> BinaryColumn:
        """The same rows as MinHash signatures."""
        return BinaryColumn(self.matrix, signature)

    def search(self, queries: Bits, k: int, metric: Metric, pool: Executor | None = None) -> tuple[Scores, RowNumbers]:
        if metric is Metric.HAMMING and len(queries) >= NATIVE_QUERIES and self.rows and k:
            use_threads(len(queries) * self.matrix.size)
            wide, base = np.ascontiguousarray(queries), np.ascontiguousarray(self.matrix)
            _, near = faiss.knn_hamming(wide, base, min(k, self.rows))
            return self.ranked(queries, near, k, metric)
        if metric is not Metric.MHJACCARD:
            _ = self._words, self._counts  # made here, once, rather than by each thread
        scores = np.zeros((len(queries), k), np.float32)
        rows = np.full((len(queries), k), NO_ROW, np.int64)
        for at in range(len(queries)):
            some = self._scan(queries[at : at + 1], metric, pool)
            keep_best(some, None, metric, scores[at], rows[at])
        return scores, rows

    def ranked(self, queries: Bits, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        scores = np.zeros((len(queries), k), np.float32)
        winners = np.full((len(queries), k), NO_ROW, np.int64)
        for at, candidates in enumerate(found):
            rows = candidates[candidates >= 0]
            keep_best(self.scores(queries[at : at + 1], metric, rows), rows, metric, scores[at], winners[at])
        return scores, winners

    def scores(self, query: Bits, metric: Metric, rows: RowNumbers | None = None) -> Scores:
        scores = np.empty(self.rows if rows is None else len(rows), np.float32)
        if len(scores):
            self._score(query, metric, ALL if rows is None else np.ascontiguousarray(rows), scores)
        return scores

    def _scan(self, query: Bits, metric: Metric, pool: Executor | None) -> Scores:
        """Scores of all rows, a part of them on each core where that pays."""
        if pool is None or self.matrix.size < SPLIT_BYTES:
            return self.scores(query, metric)
        scores = np.empty(self.rows, np.float32)
        pieces = list(pairwise(np.linspace(0, self.rows, CORES + 1).astype(int).tolist()))
        parts = [(self.head(end).tail(start), scores[start:end]) for start, end in pieces]
        others = [pool.submit(part._score, query, metric, ALL, out) for part, out in parts[1:]]
        parts[0][0]._score(query, metric, ALL, parts[0][1])
        for future, (part, out) in zip(others, parts[1:], strict=True):
            # A part that no thread has begun yet, because all are busy, is not waited for.
            if future.cancel():
                part._score(query, metric, ALL, out)
            else:
                future.result()
        return scores

    def _score(self, query: Bits, metric: Metric, chosen: RowNumbers, out: Scores) -> None:
        """Scores of the chosen rows (no items: of the first ones) into `out`."""
        from redkite.index import binary_kernels as kernels

        if metric is Metric.MHJACCARD:
            signature = self.signature
            assert signature is not None, "signatures are compared as an index says"
            matrix, asked = np.ascontiguousarray(self.matrix), np.ascontiguousarray(query[0])
            elements = signature.band_elements(self.width)
            kernels.score_signatures(matrix, asked, signature.element, elements, chosen, out)
        else:
            counts = NO_COUNTS if metric is Metric.HAMMING else self._counts
            kernels.score_bits(_HOW[metric], self._words, counts, _as_words(query)[0], chosen, out)

    def gather(self, rows: RowNumbers) -> BinaryColumn:
        return BinaryColumn(self.matrix[rows], self.signature)

    def head(self, rows: int) -> BinaryColumn:
        made = BinaryColumn(self.matrix[:rows], self.signature)
        words, counts = self._known_words, self._known_counts
        made._known_words = None if words is None else words[:rows]
        made._known_counts = None if counts is None else counts[:rows]
        return made


def keep_best(some: Scores, candidates: RowNumbers | None, metric: Metric, scores: Scores, rows: RowNumbers) -> None:
    """Fill in the best of some scores, and their rows (None: they are of all rows, in order)."""
    from redkite.index.best import sort_best
    from redkite.index.binary_kernels import find_best

    if len(scores) == 0:
        return
    sign = 1.0 if metric.larger_is_closer else -1.0
    places = np.empty(len(rows), np.int64)
    size = find_best(some, sign, scores, places, 0)
    sort_best(scores, places, size)
    scores[:size] *= np.float32(sign)
    rows[:size] = places[:size] if candidates is None else candidates[places[:size]]


def _as_words(rows: Bits) -> Words:
    """Rows of bytes as rows of words, zeros behind; a view where they already stand so."""
    width = rows.shape[1]
    if width % _WORD == 0 and rows.flags.c_contiguous and rows.ctypes.data % _WORD == 0:
        return rows.view(np.uint64)
    words = np.zeros((len(rows), -(-width // _WORD)), np.uint64)
    words.view(np.uint8)[:, :width] = rows
    return words
