"""The allowed rows near a query: which cells to compare, and how far to look, learned from exact answers."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from redkite.index.base import RowNumbers, Scores, VectorColumn, Vectors
from redkite.index.cells import Cells
from redkite.index.dense import FloatColumn
from redkite.index.scoring import closeness
from redkite.model.types import Metric

PATIENCE = 8
"""Searches of one filter that are answered by comparing all allowed rows before cells are made."""
MEASURED = 24
"""Exact answers that are looked at before anything is left out."""
REMEMBERED = 64
AGAIN = 128
"""One search in so many is answered exactly all the same, in case the questions have changed."""
INSIDE = 0.99
"""Of the neighbours in the remembered answers, so many lie within reach."""
USUAL = 0.9
"""The part of the remembered questions whose neighbours are as near as usual."""
LENGTHENED = 0.5
"""For each distance beyond that."""
FIRST = 4
"""Allowed rows compared for each one wanted, before it is known how near the others must be."""
SPARE = 4
"""Rows scored exactly beyond those wanted: their order was found by lengths that are rounded."""
FARTHEST = 0.75
"""Where cells within reach hold more than this part of the allowed rows, picking them gains nothing."""
LATELY = 0.05
"""Weight of the last search in the mean of those before."""


class Reach:
    """How far to look for the neighbours of a query under one filter.

    A row is found when its cell is within reach. So what counts is by how much the centres of cells are farther from a
    query than those of their rows which are its neighbours: the `slack`. It does not depend on how many neighbours are
    wanted, and little on how far they are, which each search finds out for itself.
    """

    __slots__ = ("_answers", "_far", "_since", "part", "scans", "slack")

    def __init__(self) -> None:
        self._answers: deque[tuple[Scores, float]] = deque(maxlen=REMEMBERED)
        self._far = 0.0
        self._since = 0
        self.scans = 0
        """Searches that the graph was not asked for."""
        self.slack: float | None = None
        """None while too little is known."""
        self.part = math.inf
        """Of the allowed rows, what searches have compared lately; infinite before it is known how far to look."""

    @property
    def is_learning(self) -> bool:
        """Whether exact answers are taken in, and some more are wanted."""
        return self.slack is None and bool(self._answers)

    def known(self) -> bool:
        """Whether a search may rely on it. Sometimes it says no, so that it is measured again."""
        if self.slack is None:
            return False
        self._since += 1
        return self._since % AGAIN != 0

    def learn(self, slacks: Scores, distances: Scores) -> None:
        """Take in, for each neighbour in (nq, k) exact answers, by how much its cell's centre is farther, and how far
        it is itself."""
        self._answers.extend(zip(np.nan_to_num(slacks, nan=np.inf), distances.max(axis=1).tolist(), strict=True))
        if len(self._answers) >= MEASURED:
            every = np.concatenate([some for some, _ in self._answers])
            if self.slack is None:
                self.part = 0.0  # which the searches to come will tell
            with np.errstate(invalid="ignore"):  # of what is infinitely far
                self.slack = float(np.quantile(every, INSIDE, method="higher"))
                self._far = float(np.quantile([far for _, far in self._answers], USUAL))

    def bound(self, distance: float) -> float:
        """How far centres may be for a query whose neighbours are no farther than that. One that is farther from its
        neighbours than those before it looks farther."""
        assert self.slack is not None, "it is known how far to look"
        return distance + self.slack + LENGTHENED * max(0.0, distance - self._far)

    def compared(self, part: float) -> None:
        """Take in what a search has cost."""
        self.part += LATELY * (part - self.part)


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
        self._starts = np.cumsum(self._counts) - self._counts
        self.rows: RowNumbers = rows[np.argsort(own, kind="stable")]
        """In the order of the cells."""

    def slacks(self, queries: Vectors, scores: Scores, found: RowNumbers) -> tuple[Scores, Scores]:
        """For each row in (nq, k) exact answers: by how much the centre of its cell is farther, and how far it is."""
        centres = np.stack([self.cells.distances(self.cells.asked(query[None])) for query in queries])
        own = np.take_along_axis(centres, self.cells.cell_of[found].astype(np.int64), axis=1)
        distances = self.cells.distances_scored(queries, scores)
        with np.errstate(invalid="ignore"):  # `learn` takes what is unknown for infinitely far
            return own - distances, distances

    def search(
        self, column: FloatColumn, kept: FloatColumn | None, query: Vectors, reach: Reach, k: int
    ) -> tuple[Scores, RowNumbers, int] | None:
        """Best `k` allowed rows for one (1, dim) query of the cells within reach, and how many rows were compared; None
        when the cells hold too many.

        `column` is the segment's; `kept` that of `rows` in one piece, if somebody keeps them. There are `k` rows.
        """
        cells, most = self.cells, FARTHEST * len(self.rows)
        asked = cells.asked(query)
        far = cells.distances(asked)
        order = np.argsort(far)
        held = np.cumsum(self._counts[order])
        first = int(np.searchsorted(held, FIRST * k)) + 1
        if first > len(held) or held[first - 1] > most:
            reach.compared(1.0)
            return None
        near = self._places(order[:first])
        close = self._closeness(column, kept, asked, near)
        bound = reach.bound(cells.distance(float(np.partition(close, k - 1)[k - 1])))
        within = int(np.searchsorted(far[order], bound, "right"))
        if within > first:
            if held[within - 1] > most:
                reach.compared(1.0)
                return None
            others = self._places(order[first:within])
            near = np.concatenate([near, others])
            close = np.concatenate([close, self._closeness(column, kept, asked, others)])
        reach.compared(len(near) / len(self.rows))
        wanted = min(k + SPARE, len(near))
        best = near[np.argpartition(close, wanted - 1)[:wanted]]
        if kept is None:
            return *column.ranked(query, self.rows[best][None], k, cells.metric), len(near)
        scores, places = kept.ranked(query, best[None], k, cells.metric)
        return scores, self.rows[places], len(near)

    def _closeness(self, column: FloatColumn, kept: FloatColumn | None, asked: Vectors, places: RowNumbers) -> Scores:
        """Of some of `rows`."""
        if kept is not None:
            column = kept
        else:
            places = self.rows[places]
        close = closeness(column.matrix, places, asked, self.cells.metric)
        if self.cells.metric is Metric.COSINE:
            close /= column.lengths[places]
        return close

    def _places(self, cells: RowNumbers) -> RowNumbers:
        """Where the rows of some cells are among `rows`."""
        counts = self._counts[cells]
        ends = np.cumsum(counts)
        places: RowNumbers = np.arange(ends[-1]) + np.repeat(self._starts[cells] - (ends - counts), counts)
        return places
