"""The face of a vector index, and the numeric conventions all of them share."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from redkite.env import Executor
from redkite.model.types import Metric

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int64]
Bitmap = npt.NDArray[np.uint8]
"""Allowed rows, packed little-endian: row r is bit r % 8 of byte r // 8."""

Queries = Any
"""What the rows of a column are compared with: (nq, dim) float32 for dense vectors, (nq, dim / 8) uint8 for binary
ones, `SparseRows` for sparse ones, lists of vectors for lists. All have a length, `queries[mask or row numbers]` and
`tobytes()`."""
SearchParams = dict[str, int | float | str | bool]
"""How an index is to search (`ef`, `nprobe` …); whichever it knows."""
NO_ROW = -1


class VectorColumn(Protocol):
    """The vectors of a segment's rows, or of some of them. Immutable, safe from any thread.

    A row without a vector holds zeros, or nothing; whoever asks leaves it out.
    """

    @property
    def rows(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """Bytes of the vectors as they are kept."""
        ...

    @property
    def width(self) -> int:
        """Numbers compared per row, about: to guess costs."""
        ...

    def __len__(self) -> int: ...

    def search(self, queries: Queries, k: int, metric: Metric, pool: Executor | None) -> tuple[Scores, RowNumbers]:
        """Compare all rows: the best `k` per query as two (nq, k) arrays, exact scores and row numbers, best first,
        NO_ROW where there are fewer. A long scan for few queries is split over `pool`."""
        ...

    def ranked(self, queries: Queries, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        """Score (nq, any width) candidate rows exactly, NO_ROW skipped, and keep the best `k`: as `search` answers."""
        ...

    def scores(self, query: Queries, metric: Metric, rows: RowNumbers | None = None) -> Scores:
        """Exact scores of all or these rows for one query (a batch of one). A row's score is the same wherever it
        stands and whichever others are asked for."""
        ...

    def gather(self, rows: RowNumbers) -> VectorColumn:
        """The vectors of some rows in one piece."""
        ...

    def head(self, rows: int) -> VectorColumn:
        """The first rows; no copy."""
        ...


class VectorIndex(Protocol):
    """An immutable index over the rows of one sealed segment. Safe to search from any thread."""

    rows: int
    metric: Metric
    approximate: bool
    """Whether a row may be missed that belongs to the answer."""
    takes_bitmap: bool
    """Whether `search` can be told which rows are allowed."""

    def search(
        self, queries: Queries, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        """Best `k` rows per query, best first, NO_ROW where there are fewer: two (nq, `k`) arrays, or wider ones when
        the index ranks coarsely and wants more candidates to be compared.

        Scores here only rank; exact ones are computed from the vectors of the winners (`VectorColumn.ranked`).
        """
        ...

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        """The parameters of a search for `k` rows that makes about `factor` times the effort. Only approximate indexes
        are asked."""
        ...

    def memory(self) -> int:
        """Bytes held, mapped ones included."""
        ...


def fingerprint(queries: Queries) -> str:
    """A text that is the same for the same queries."""
    return str(queries.tobytes().hex())


LEAST_SQUARE, MOST_SQUARE = 1e-18, 1e18
"""Squared lengths whose products single precision still holds, and holds well."""


def lengths_of(vectors: Vectors) -> Scores:
    """Euclidean length of each row, 1 for a zero row: what to divide by."""
    with np.errstate(over="ignore"):  # what is too long for single precision is measured in double
        squares = np.vecdot(vectors, vectors)
    lengths: Scores = np.sqrt(squares)
    odd = ~((squares >= LEAST_SQUARE) & (squares <= MOST_SQUARE))
    if not odd.any():
        return lengths
    wide = vectors[odd].astype(np.float64)
    lengths[odd] = np.minimum(np.sqrt(np.vecdot(wide, wide)), np.finfo(np.float32).max)
    lengths[lengths == 0] = 1
    return lengths


def normalized(vectors: Vectors) -> Vectors:
    """Rows of length 1; a zero row stays zero."""
    if len(vectors) == 1:  # the everyday query, for which numpy's fixed costs are felt
        square = np.vdot(vectors, vectors)
        if LEAST_SQUARE <= square <= MOST_SQUARE:
            return vectors / math.sqrt(square)
    result: Vectors = vectors / lengths_of(vectors)[:, None]
    return result
