"""One query at a time against an index and the vectors behind it: what is the same for every query is done before.

A small search is over in some forty microseconds, of which much would go into finding out what is known beforehand: the
native settings, where the vectors lie, which function compares them. The answers are those of `VectorIndex.search` and
`VectorColumn.ranked`, to the last bit; those of `Refined`, where both are one.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import gt, lt
from typing import Final, TypeAlias

import numpy as np

from redkite.index.base import RowNumbers, Scores, SearchParams, VectorColumn, VectorIndex, Vectors
from redkite.index.dense import FloatColumn
from redkite.index.faiss_index import FaissIndex
from redkite.index.refined import Refined
from redkite.index.scoring import Candidates, best_alone
from redkite.index.threads import use_threads
from redkite.model.types import Metric

_FEW: Final = 64
"""Numbers that Python compares quicker than numpy."""


Near: TypeAlias = tuple[Scores, RowNumbers, bool]
"""The best rows of one query: (k,) scores and row numbers, best first, and whether equal scores may be among them,
whose order is not settled yet."""


class Alone:
    """Searches for the best `k` rows by the same parameters, one query each. Safe from any thread."""

    __slots__ = ("_before", "_column", "_k", "_kept", "_metric", "_near", "_score", "_spare", "_width")

    def __init__(
        self, index: FaissIndex, column: FloatColumn, metric: Metric, params: SearchParams, k: int,
        refined: Refined | None,
    ) -> None:  # fmt: skip
        """`refined`: both as one, where they can be that."""
        self._kept = index, refined  # whose native memory is searched
        self._column = column
        self._score: Callable[[Vectors, Candidates], None] | None = None
        if refined is None:
            self._width, self._near = index.alone(params, k)
            self._score = column.alone(metric, self._width)
        else:
            self._width, self._near = k, refined.alone(params, k)
        self._spare: list[Candidates] = []
        """Where a search may write that keeps nothing of it."""
        self._metric = metric
        self._k = k
        self._before = gt if metric.larger_is_closer else lt

    def search(self, query: Vectors) -> Near | None:
        """The answer to a (1, dim) query; None when the index found fewer rows than were asked for."""
        if not query.flags.c_contiguous:
            query = np.ascontiguousarray(query)
        use_threads(0)
        width, k, spare = self._width, self._k, self._spare
        try:
            found = spare.pop() if spare else Candidates(width)
        except IndexError:  # another thread took the last one
            found = Candidates(width)
        self._near(query, found)
        rows, scores = found.rows, found.scores
        if rows.item(width - 1) < 0:
            return self._of_fewer(query, rows)
        if self._score is not None:
            self._score(query, found)
        if width == k <= _FEW:
            values = scores.tolist()
            if all(map(self._before, values, values[1:])):
                return scores, rows, False
        best_scores, best_rows = best_alone(scores, rows, k, self._metric)
        spare.append(found)
        return best_scores, best_rows, True

    def _of_fewer(self, query: Vectors, rows: RowNumbers) -> Near | None:
        """The answer out of rows whose last ones are NO_ROW."""
        if rows.item(self._k - 1) < 0:
            return None
        scores, best = self._column.ranked(query, rows[None], self._k, self._metric)
        return scores[0], best[0], True


def alone(
    index: VectorIndex, column: VectorColumn, metric: Metric, params: SearchParams, k: int, refined: Refined | None
) -> Alone | None:
    """Searches by these parameters; None where they cannot be prepared. `refined`: both as one, if they can be."""
    if isinstance(index, FaissIndex) and isinstance(column, FloatColumn) and 0 < k <= column.rows:
        return Alone(index, column, metric, params, k, refined)
    return None
