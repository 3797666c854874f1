"""An index over the vectors of lists, asked for lists: each vector of a query finds its nearest, and the rows these are
of are the candidates."""

from __future__ import annotations

import numpy as np

from redkite.index.base import NO_ROW, Bitmap, RowNumbers, Scores, SearchParams, VectorIndex
from redkite.index.building import whole
from redkite.index.lists import ListColumn, VectorLists, spread
from redkite.model.types import Metric

EACH = 32
"""Elements that each vector of a query finds, for each row that is wanted."""
LEAST, MOST = 512, 8192
"""At least, and at most, so many elements."""
COMPARED = 2
"""One row is compared for so many elements."""
_OF_EFFORT = {"ef": 8, "search_list": 8, "nprobe": 64}
"""At least so many elements for each unit of the effort that a search names: who asks for more gets more."""
_WIDTH = "elements"
"""Of a search that is made wider for the sake of a filter: how many elements it finds all the same."""


class ListIndex:
    """`inner` is over the elements of `column`; None where it has none. Rows are numbered as the segment does."""

    approximate = True

    def __init__(self, inner: VectorIndex | None, column: ListColumn, metric: Metric) -> None:
        self.inner = inner
        self.rows = len(column)
        self.metric = metric
        self.takes_bitmap = inner is None or inner.takes_bitmap
        self._column = column
        self._last: tuple[Bitmap, Bitmap] | None = None

    def search(
        self, queries: VectorLists, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        width = self._width(k, params)
        wide = max(k, width // COMPARED)
        rows = np.full((len(queries), wide), NO_ROW, np.int64)
        scores = np.zeros(rows.shape, np.float32)
        if self.inner is None:
            return scores, rows
        column, kind = self._column, self.metric.of_elements
        most = min(width, column.elements)
        own = {name: value for name, value in params.items() if name != _WIDTH}
        effort = self.inner.widened(own, most, 1) if self.inner.approximate else own
        elements_allowed = None if allowed is None else self._elements_of(allowed)
        _, found = self.inner.search(queries.matrix, most, effort, elements_allowed)
        with np.errstate(invalid="ignore"):  # what stands at NO_ROW is nothing
            exact, found = column.flat.ranked(queries.matrix, found, found.shape[1], kind)
        closeness = exact if kind.larger_is_closer else -exact
        for at in range(len(queries)):
            tokens = slice(queries.starts[at], queries.starts[at + 1])
            best, ranks = self._rows_of(closeness[tokens], found[tokens], wide)
            rows[at, : len(best)], scores[at, : len(best)] = best, ranks
        filled = max(k, int(np.count_nonzero(rows != NO_ROW, axis=1).max(initial=0)))
        return scores[:, :filled], rows[:, :filled]

    @staticmethod
    def _width(k: int, params: SearchParams) -> int:
        """How many elements each vector of a query finds."""
        if _WIDTH in params:
            return whole(params, _WIDTH)
        asked = (count * whole(params, name) for name, count in _OF_EFFORT.items())
        return max(k, min(MOST, max(EACH * k, LEAST, *asked)))

    def _rows_of(self, closeness: Scores, found: RowNumbers, most: int) -> tuple[RowNumbers, Scores]:
        """The rows that the vectors of one query found elements of, the most promising first, and what their scores
        are at most: a vector that found nothing in a row is as close to it as to the last element that it found."""
        present = found >= 0
        token, place = np.nonzero(present)
        if not len(token):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        near = closeness[token, place]
        row = np.searchsorted(self._column.starts, found[token, place], "right") - 1
        # Each vector's elements are in order: the first of a row is its best.
        _, firsts = np.unique(row * len(found) + token, return_index=True)
        floors = np.where(present, closeness, np.inf).min(axis=1)
        floors[~np.isfinite(floors)] = 0
        rows, places = np.unique(row[firsts], return_inverse=True)
        gained = np.bincount(places, weights=near[firsts] - floors[token[firsts]])
        order = np.argsort(-gained, kind="stable")[:most]
        return rows[order], (gained[order] + floors.sum()).astype(np.float32)

    def _elements_of(self, allowed: Bitmap) -> Bitmap:
        """The elements of allowed rows."""
        last = self._last
        if last is not None and last[0] is allowed:
            return last[1]
        rows = np.flatnonzero(np.unpackbits(allowed, count=self.rows, bitorder="little"))
        mask = np.zeros(self._column.elements, np.bool_)
        mask[spread(self._column.starts, rows)[1]] = True
        made = np.packbits(mask, bitorder="little")
        # The same filter mostly comes again, with the same array.
        self._last = (allowed, made)
        return made

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        if self.inner is None:
            return params
        return {**self.inner.widened(params, k, factor), _WIDTH: self._width(k, params)}

    def memory(self) -> int:
        return 0 if self.inner is None else self.inner.memory()
