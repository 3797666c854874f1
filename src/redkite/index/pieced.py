"""A column of dense vectors that lie in several places, looked at where they are: nothing is copied to search it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from redkite.env import Executor
from redkite.index.base import NO_ROW, RowNumbers, Scores, Vectors
from redkite.index.dense import DenseColumn
from redkite.index.scoring import best_of
from redkite.index.threads import CORES, LARGE_CALL, shared_out
from redkite.model.types import Metric


class PiecedColumn:
    """Columns of one kind, the rows of each behind those of the one before. See `VectorColumn`."""

    def __init__(self, pieces: Sequence[DenseColumn]) -> None:
        """At least one, each of at least one row."""
        self._pieces = pieces
        self._starts = np.cumsum([0, *(piece.rows for piece in pieces)])
        self.rows = int(self._starts[-1])
        self.width = pieces[0].width

    def __len__(self) -> int:
        return self.rows

    @property
    def nbytes(self) -> int:
        return sum(piece.nbytes for piece in self._pieces)

    def search(self, queries: Vectors, k: int, metric: Metric, pool: Executor | None) -> tuple[Scores, RowNumbers]:
        if pool is None or len(queries) * self.rows * self.width < LARGE_CALL:
            found = [self._search(0, len(self._pieces), queries, k, metric)]
        else:
            cuts = np.unique(np.linspace(0, len(self._pieces), CORES + 1).astype(int)).tolist()
            found = shared_out(pool, lambda span: self._search(*span, queries, k, metric), list(pairwise(cuts)))
        return _best(found, k, metric)

    def _search(self, first: int, last: int, queries: Vectors, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        """The best of some pieces."""
        found: list[tuple[Scores, RowNumbers]] = []
        for piece, start in zip(self._pieces[first:last], self._starts[first:last].tolist(), strict=True):
            scores, rows = piece.search(queries, min(k, piece.rows), metric, None)
            found.append((scores, np.where(rows == NO_ROW, NO_ROW, rows + start)))
        return _best(found, k, metric)

    def ranked(self, queries: Vectors, found: RowNumbers, k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
        rows = np.unique(found[found != NO_ROW])
        places = np.where(found == NO_ROW, NO_ROW, np.searchsorted(rows, found))
        if not len(rows):
            return np.zeros((len(found), k), np.float32), np.full((len(found), k), NO_ROW, np.int64)
        scores, best = self.gather(rows).ranked(queries, places, k, metric)
        return scores, np.where(best == NO_ROW, NO_ROW, rows[best])

    def scores(self, query: Vectors, metric: Metric, rows: RowNumbers | None = None) -> Scores:
        if rows is not None:
            return self.gather(rows).scores(query, metric)
        return np.concatenate([piece.scores(query, metric) for piece in self._pieces])

    def gather(self, rows: RowNumbers) -> DenseColumn:
        first = self._pieces[0]
        out = np.empty((len(rows), self.width), first.matrix.dtype)
        owners = np.searchsorted(self._starts, rows, "right") - 1
        for owner in np.unique(owners).tolist():
            here = owners == owner
            out[here] = self._pieces[owner].matrix[rows[here] - self._starts[owner]]
        return type(first)(out)

    def head(self, rows: int) -> PiecedColumn:
        whole = int(np.searchsorted(self._starts, rows, "right")) - 1
        left = rows - int(self._starts[whole])
        return PiecedColumn([*self._pieces[:whole], *([self._pieces[whole].head(left)] if left else [])])


def _best(found: Sequence[tuple[Scores, RowNumbers]], k: int, metric: Metric) -> tuple[Scores, RowNumbers]:
    scores, rows = zip(*found, strict=True)
    return best_of(np.concatenate(scores, axis=1), np.concatenate(rows, axis=1), k, metric)
