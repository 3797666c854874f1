"""The face of a vector index, and the numeric conventions all of them share."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from redkite.model.types import Metric

Vectors = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
RowNumbers = npt.NDArray[np.int64]
Bitmap = npt.NDArray[np.uint8]
"""Allowed rows, packed little-endian: row r is bit r % 8 of byte r // 8."""

NO_ROW = -1


class VectorIndex(Protocol):
    """An immutable index over the rows of one sealed segment. Safe to search from any thread."""

    rows: int
    metric: Metric
    approximate: bool

    def search(
        self, queries: Vectors, k: int, params: dict[str, int], allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        """Best `k` rows per query: two (nq, k) arrays, best first, NO_ROW where there are fewer.

        Scores here only rank; exact ones are computed from the raw vectors of the winners (`exact.score_rows`).
        """
        ...

    def memory(self) -> int:
        """Bytes held, mapped ones included."""
        ...


def lengths_of(vectors: Vectors) -> Scores:
    """Euclidean length of each row, 1 for a zero row: what to divide by."""
    lengths: Scores = np.sqrt(np.vecdot(vectors, vectors))
    lengths[lengths == 0] = 1
    return lengths


def normalized(vectors: Vectors) -> Vectors:
    """Rows of length 1; a zero row stays zero."""
    result: Vectors = vectors / lengths_of(vectors)[:, None]
    return result
