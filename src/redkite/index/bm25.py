"""BM25 over sparse vectors of term frequencies (Robertson and others, 1994).

score(row, query) = sum over the query's terms of qtf · idf · tf · (k1 + 1) / (tf + k1 · (1 - b + b · length / average))
with idf = ln(1 + (rows - df + 0.5) / (df + 0.5)); a row's length is the sum of its frequencies. The statistics are the
caller's: those of one segment are not those of a collection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from redkite.index.base import Scores
from redkite.index.sparse_lists import SparseLists

Counts = npt.NDArray[np.int64]
K1, B = 1.2, 0.75
"""What counts where nothing is said."""
_TINY = float(np.finfo(np.float32).tiny)


class Norms(NamedTuple):
    """What is added below the fraction of a row r: base + slope · lengths[r], in single precision. Without lengths,
    values count as they are."""

    lengths: Scores
    base: float
    slope: float
    least: float
    """Of all rows; negative where there are none."""


NO_NORMS = Norms(np.empty(0, np.float32), 0.0, 0.0, -1.0)


@dataclass(frozen=True, slots=True)
class Bm25:
    """What scores depend on besides a row and a query."""

    rows: int
    """Of the whole collection."""
    average: float
    """Length of its rows."""
    k1: float = K1
    b: float = B

    def weights(self, frequencies: Scores, document_frequencies: Counts) -> Scores:
        """What the terms of a query weigh: `frequencies` in the query, and how many rows have each."""
        from redkite.index.word_search import weigh

        weights: Scores = np.empty(len(frequencies), np.float32)
        weigh(np.ascontiguousarray(frequencies, np.float32), document_frequencies, self.rows, self.k1, weights)
        return weights

    def norms(self, lengths: Scores, shortest: float) -> Norms:
        """For rows of these lengths, none below `shortest`."""
        # A row whose only values are zeros would divide nothing by nothing.
        base = max(self.k1 * (1 - self.b), _TINY)
        slope = self.k1 * self.b / self.average if self.average > 0 else 0.0
        return Norms(lengths, base, slope, base + slope * shortest)


def document_frequencies(lists: SparseLists, dims: npt.NDArray[np.uint32]) -> Counts:
    """How many rows have each dimension."""
    at = np.minimum(np.searchsorted(lists.dims, dims), max(0, len(lists.dims) - 1))
    if len(lists.dims) == 0:
        return np.zeros(len(dims), np.int64)
    starts = lists.starts
    counts: Counts = np.where(lists.dims[at] == dims, starts[at + 1] - starts[at], 0)
    return counts
