"""An index over some rows of a segment: those that have a vector, of a field that may be null."""

from __future__ import annotations

import numpy as np

from redkite.index.base import NO_ROW, Bitmap, Queries, RowNumbers, Scores, SearchParams, VectorIndex
from redkite.model.types import Metric


class PartialIndex:
    """`held` are the rows that are in `inner`, ascending; without an `inner` there is none. Rows are numbered as the
    segment does."""

    def __init__(self, inner: VectorIndex | None, metric: Metric, held: RowNumbers, rows: int) -> None:
        self._inner = inner
        self._held = held
        self.rows = rows
        self.metric = metric
        self.approximate = inner is not None and inner.approximate
        self.takes_bitmap = inner is None or inner.takes_bitmap
        self._last: tuple[Bitmap, Bitmap | None] | None = None

    def search(
        self, queries: Queries, k: int, params: SearchParams, allowed: Bitmap | None
    ) -> tuple[Scores, RowNumbers]:
        if self._inner is None:
            return np.zeros((len(queries), k), np.float32), np.full((len(queries), k), NO_ROW, np.int64)
        inner_allowed = None if allowed is None else self._among_held(allowed)
        scores, places = self._inner.search(queries, k, params, inner_allowed)
        return scores, np.where(places >= 0, self._held[places], NO_ROW)

    def _among_held(self, allowed: Bitmap) -> Bitmap | None:
        """The allowed rows as `inner` numbers them; None when those are all it has."""
        last = self._last
        if last is not None and last[0] is allowed:
            return last[1]
        mask = np.unpackbits(allowed, count=self.rows, bitorder="little")[self._held]
        made = None if mask.all() else np.packbits(mask, bitorder="little")
        # The same filter mostly comes again, with the same array.
        self._last = (allowed, made)
        return made

    def widened(self, params: SearchParams, k: int, factor: float) -> SearchParams:
        return params if self._inner is None else self._inner.widened(params, k, factor)

    def memory(self) -> int:
        return self._held.nbytes + (0 if self._inner is None else self._inner.memory())
