"""The straight way of a search by words: one sealed segment is the whole collection, and none of its rows is deleted.

What the collection says about words is in the segment's inverted lists then, so statistics and search are one call.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from redkite.index.alone import Near
from redkite.index.base import NO_ROW
from redkite.index.bm25 import Bm25
from redkite.index.sparse import SparseColumn
from redkite.index.sparse_lists import SparseLists
from redkite.model.requests import Queries
from redkite.model.sparse import SparseRows
from redkite.query.comparing import lists_of
from redkite.query.plan import SearchPartial, SearchPlan
from redkite.query.reduce import Found, hits_alone, hits_of_one
from redkite.query.text_counts import count_segments
from redkite.query.timing import ReadTimes
from redkite.segment.base import Segment

_EVER = (1 << 63) - 1
_SCORE, _ROW = np.dtype(np.float32), np.dtype(np.int64)
_NO_DIMS, _NO_WEIGHTS = np.empty(0, np.uint32), np.empty(0, np.float32)


class WordWay:
    """One plan over one segment. Safe from any thread."""

    def __init__(
        self, segment: Segment, column: SparseColumn, lists: SparseLists, plan: SearchPlan, times: ReadTimes
    ) -> None:
        from redkite.index.word_search import search_words
        from redkite.native import entry_of

        scoring = plan.scoring
        assert scoring is not None, "the caller has looked"
        self.plan = plan
        self._times = times
        self._segment = segment
        self._index = segment.index(plan.field)
        self._newest = int(segment.timestamps(lists.count)[-1])
        counts = count_segments([segment], plan, _NO_DIMS, _EVER)
        average = counts.tokens / counts.rows if counts.rows else 0.0
        norms = column.scored_by(Bm25(counts.rows, average, scoring.k1, scoring.b), lists).norms
        self._search: Callable[..., int] = entry_of(search_words)
        self._lists = (
            lists.dims, lists.starts, lists.rows, lists.values, lists.block_starts, lists.block_bounds, norms.lengths,
        )  # fmt: skip
        self._formula = counts.rows, scoring.k1, norms.base, norms.slope, norms.least
        self._wanted = min(plan.limit, lists.count)
        # Once with a look at the types of what is the same for every search.
        search_words(*self._lists, _NO_DIMS, _NO_WEIGHTS, *self._formula, np.empty(1, _SCORE), np.empty(1, _ROW))
        # Equal scores are in the order of rows: where keys ascend, in that of keys.
        self._by_key = _keys_ascend(segment, lists.count)

    @cached_property
    def _nothing(self) -> SearchPartial:
        """What is answered to one query whose words no row has."""
        scores, rows = np.zeros((1, 1), np.float32), np.full((1, 1), NO_ROW, np.int64)
        return hits_of_one(Found(self._segment, scores, rows), self.plan)

    def stands(self) -> bool:
        """Whether the segment has still this index, and nothing deleted."""
        segment = self._segment
        return not segment.deletes.count and segment.index(self.plan.field) is self._index

    def taken(self, queries: Queries) -> SparseRows | None:
        """The queries, if they are words that were read."""
        return queries.sparse

    def search(self, queries: SparseRows, timestamp: int) -> SearchPartial | None:
        """The answer as of `timestamp`, if the way stood after that was taken; None for an earlier time."""
        if timestamp < self._newest:
            return None
        times = self._times
        begun = times.now()
        if len(queries.starts) == 2:
            near = self._best_of_one(queries)
            searched = times.now()
            hits = hits_alone(self._segment, near, self.plan) if len(near[0]) else self._nothing
        else:
            found = self._best_of_all(queries)
            searched = times.now()
            hits = hits_of_one(found, self.plan)
        times.went_straight(begun, searched)
        return hits

    def _best_of_one(self, queries: SparseRows) -> Near:
        """The best rows for the only query, which may be none."""
        scores, rows = np.empty(self._wanted, _SCORE), np.empty(self._wanted, _ROW)
        count = self._search(*self._lists, *queries.row(0), *self._formula, scores, rows)
        if count < self._wanted:
            scores, rows = scores[:count], rows[:count]
        return scores, rows, not self._by_key

    def _best_of_all(self, queries: SparseRows) -> Found:
        scores = np.zeros((len(queries), self._wanted), np.float32)
        rows = np.full((len(queries), self._wanted), NO_ROW, np.int64)
        for at in range(len(queries)):
            self._search(*self._lists, *queries.row(at), *self._formula, scores[at], rows[at])
        return Found(self._segment, scores, rows)


def _keys_ascend(segment: Segment, rows: int) -> bool:
    """Whether the rows of a segment lie in the order of integer keys."""
    primary = segment.schema.primary
    if not primary.data_type.is_integer:
        return False
    keys, _ = segment.columns(rows).numbers(primary.name)
    return bool(np.greater_equal(keys[1:], keys[:-1]).all())


def word_way(segment: Segment, plan: SearchPlan, times: ReadTimes) -> WordWay | None:
    """The way of a plain plan through a sealed segment as it is now; None when there is none."""
    scoring = plan.scoring
    rows = segment.rows_at(_EVER)
    if scoring is None or scoring.partitions != plan.partitions or plan.params or plan.ignore_growing:
        return None
    if not rows or segment.deletes.count:
        return None
    column = segment.vectors(plan.field, rows).column
    lists = lists_of(column, segment.index(plan.field)) if isinstance(column, SparseColumn) else None
    if lists is None or not isinstance(column, SparseColumn):
        return None
    return WordWay(segment, column, lists, plan, times)
