"""Searches that want more of the nearest rows than they answer: by groups, and within a radius.

The index of a segment gives the nearest rows, and more of them when these were too few, for as long as that costs less
than to compare every allowed row. What has to be without a gap (pages, ranges that begin somewhere) is compared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from redkite.index.base import NO_ROW, Queries, RowNumbers, Scores
from redkite.index.faiss_index import FaissIndex
from redkite.query.notes import Notes, count_allowed
from redkite.query.plan import SearchPlan
from redkite.segment.base import Segment

EXACT_FLOATS = 1_300_000
"""Up to this many allowed rows × dimensions, comparing them all costs no more than a graph walk (10,000 × 128 or
1,700 × 768: .15 ms)."""
WORTH = 2.0
"""A row that an index compares costs about so many of a scan: it lies anywhere."""
CANDIDATES = 4
"""An index looks at no fewer rows than so many times those that are wanted."""
WIDEST = 8.0
"""Under a filter the index looks farther by 1 / selectivity, at most so much."""

Nearest: TypeAlias = Callable[[Segment, SearchPlan, Queries], tuple[Scores, RowNumbers]]
"""Answers a plain search for one query (a batch of one) in one segment."""
COMPARED, ASKED = "compare every allowed row", "ask the index, for more while these are too few"


class Reaching:
    """How the rows of one search are come by, segment by segment."""

    def __init__(self, plan: SearchPlan, timestamp: int, nearest: Nearest, notes: Notes | None = None) -> None:
        self._plan = plan
        self._timestamp = timestamp
        self._nearest = nearest
        self._notes = notes

    @property
    def first(self) -> int:
        """How many rows are asked for at first."""
        grouping = self._plan.grouping
        return self._plan.limit if grouping is None else FIRST_LOOK * self._plan.limit * grouping.size

    def nearest(self, segment: Segment, query: Queries, count: int) -> tuple[Scores, RowNumbers] | None:
        """So many of the nearest rows, by the index, the best first, for one query (a batch of one). None where all are
        to be compared."""
        params = self._params(segment, count)
        if params is None:
            return None
        plain = msgspec.structs.replace(self._plan, grouping=None, within=None, limit=count, params=params)
        scores, rows = self._nearest(segment, plain, query)
        found = rows[0] != NO_ROW
        return scores[0][found], rows[0][found]

    def _params(self, segment: Segment, count: int) -> dict[str, int | float | str | bool] | None:
        """What the index of a segment is asked with for so many rows; None when it is not to be asked."""
        plan = self._plan
        within, grouping = plan.within, plan.grouping
        if plan.exact or plan.in_order or plan.after is not None or (within is not None and within.inner is not None):
            return None
        rows = segment.rows_at(self._timestamp)
        index = segment.index(plan.field)
        costs: object = index
        if index is None or not isinstance(costs, FaissIndex) or index.rows != rows:
            return None
        if grouping is not None and grouping.wanted is not None:
            return None
        allowed = count_allowed(segment, plan, self._timestamp)
        width = segment.vectors(plan.field, rows).column.width
        floats = allowed * width
        if count >= allowed or (allowed < rows and floats <= EXACT_FLOATS):
            return None
        params = index.widened(plan.params, count, 1)
        looked_at = max(1.0, costs.work(1, params) / width)
        if looked_at < CANDIDATES * count:
            params = index.widened(plan.params, count, CANDIDATES * count / looked_at)
        farther = min(rows / allowed, WIDEST)
        return dict(params) if WORTH * farther * costs.work(1, params) < floats else None

    def compare(self, segment: Segment) -> None:
        """Every allowed row is compared with one query."""
        if self._notes is not None:
            self._notes.add(COMPARED, 1, count_allowed(segment, self._plan, self._timestamp))

    def way(self, segment: Segment) -> str:
        """How it would begin."""
        return COMPARED if self._params(segment, self.first) is None else ASKED

    def close(self, segment: Segment) -> None:
        """That was all of this segment."""
        if self._notes is not None:
            self._notes.close(segment, self._plan, self._timestamp)


FIRST_LOOK = 4
"""Groups: at first, so many times the rows that an answer may have are looked at; and then …"""
WIDER = 8
"""… so many times more, until there are enough groups."""
