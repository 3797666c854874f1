"""The allowed rows near a query: which cells to compare, and how far to look, learned from exact answers."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from redkite.index.base import RowNumbers, Scores, VectorColumn, Vectors
from redkite.index.cells import Cells, closest_in
from redkite.index.dense import FloatColumn
from redkite.model.types import Metric

PATIENCE = 8
"""Searches of one filter that are answered by comparing all allowed rows before cells are made."""
MEASURED = 16
"""Exact answers that are looked at before anything is left out."""
REMEMBERED = 64
AGAIN = 128
"""One search in so many is answered exactly all the same, in case the questions have changed."""
INSIDE = 0.99
"""Of the neighbours in the remembered answers, so many lie within reach …"""
MARGIN = 1.25
"""… and the reach is lengthened by so much."""

Shares = npt.NDArray[np.float64]


class Reach:
    """How far the neighbours of a query are, counted in allowed rows by the distance of their cells."""

    __slots__ = ("_answers", "_limit", "_since", "scans", "share")

    def __init__(self) -> None:
        self._answers: deque[Shares] = deque(maxlen=REMEMBERED)
        self._limit = 0
        self._since = 0
        self.scans = 0
        """Searches that the graph was not asked for."""
        self.share: float | None = None
        """Part of the allowed rows that has to be compared; None while too little is known."""

    def known_for(self, limit: int) -> bool:
        """Whether a search for `limit` rows may rely on it. Sometimes it says no, so that it is measured again."""
        if self.share is None or limit > self._limit:
            return False
        self._since += 1
        return self._since % AGAIN != 0

    def learn(self, shares: Shares, limit: int) -> None:
        """Take in, for each neighbour of some exact answers, how many allowed rows are in its cell and nearer ones."""
        if limit > self._limit:
            self._answers.clear()
            self._limit, self.share = limit, None
        self._answers.extend(shares)
        if len(self._answers) >= MEASURED:
            self.share = min(1.0, MARGIN * float(np.quantile(np.concatenate(self._answers), INSIDE, method="higher")))


class Gathered:
    """The vectors of some rows in one piece."""

    __slots__ = ("column", "rows")

    def __init__(self, rows: RowNumbers, column: VectorColumn) -> None:
        self.rows = rows
        self.column = column


class Nearby:
    """The allowed rows of one segment cell by cell: `rows[starts[c]:starts[c + 1]]` are those of cell c."""

    __slots__ = ("_counts", "_starts", "cells", "rows")

    def __init__(self, cells: Cells, rows: RowNumbers) -> None:
        own = cells.cell_of[rows]
        self.cells = cells
        self._counts = np.bincount(own, minlength=len(cells.centres))
        self._starts = np.concatenate([[0], np.cumsum(self._counts)])
        self.rows: RowNumbers = rows[np.argsort(own, kind="stable")]
        """In the order of the cells."""

    def shares(self, queries: Vectors, found: RowNumbers) -> Shares:
        """For each row in (nq, k) exact answers: the part of the allowed rows in its cell and in those nearer."""
        order = self.cells.nearest(queries)
        within = np.empty(order.shape)
        np.put_along_axis(within, order, np.cumsum(self._counts[order], axis=1) / len(self.rows), axis=1)
        return np.take_along_axis(within, self.cells.cell_of[found].astype(np.int64), axis=1)

    def search(
        self, column: FloatColumn, kept: FloatColumn | None, queries: Vectors, share: float, k: int, metric: Metric
    ) -> tuple[Scores, RowNumbers]:
        """Best `k` rows per query of the nearest cells that hold `share` of the allowed rows, and at least `k`.

        `column` is the segment's; `kept` that of `rows` in one piece, if somebody keeps them. There are `k` rows.
        """
        least = max(k, int(share * len(self.rows)))
        order = self.cells.nearest(queries)
        enough = (np.cumsum(self._counts[order], axis=1) < least).sum(axis=1) + 1
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        for at, query in enumerate(queries):
            spans = self._spans(order[at, : enough[at]])
            if kept is not None:
                lengths = kept.lengths if metric is Metric.COSINE else None
                places = closest_in(spans, kept.matrix, lengths, query, k, metric)
            else:
                within = np.concatenate([np.arange(start, end) for start, end in spans])
                some = column.gather(self.rows[within])
                lengths = some.lengths if metric is Metric.COSINE else None
                places = within[closest_in([(0, len(some))], some.matrix, lengths, query, k, metric)]
            found = column.ranked(query[None], self.rows[places][None], k, metric)
            scores[at : at + 1], rows[at : at + 1] = found
        return scores, rows

    def _spans(self, cells: RowNumbers) -> list[tuple[int, int]]:
        """Where the rows of some cells are, neighbouring spans joined."""
        cells = np.sort(cells[self._counts[cells] > 0])
        starts, ends = self._starts[cells], self._starts[cells + 1]
        breaks = np.flatnonzero(starts[1:] != ends[:-1])
        firsts = np.concatenate([[0], breaks + 1])
        lasts = np.concatenate([breaks, [len(cells) - 1]])
        return list(zip(starts[firsts].tolist(), ends[lasts].tolist(), strict=True))
