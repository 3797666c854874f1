"""Searches that filter rows as they are found, the closest first, instead of all rows before: for filters that take
longer than the search, and that many rows pass.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from redkite.filter import ArrowColumns
from redkite.index.base import NO_ROW, Queries, RowNumbers, Scores, VectorColumn, VectorIndex
from redkite.query.allowed import allowed_rows
from redkite.query.plan import SearchPlan
from redkite.segment.base import Segment

FIRST_LOOK = 4
"""Rows asked for at first, for each that is wanted."""
WIDER = 4
LARGEST_SHARE = 0.1
"""When more than this part of a segment would have to be looked at, the whole of it is filtered after all."""
EFFORT = "ef"


def search_lazily(
    segment: Segment, index: VectorIndex, column: VectorColumn, plan: SearchPlan, queries: Queries, timestamp: int
) -> tuple[Scores, RowNumbers] | None:
    """As `VectorColumn.search` answers, of the rows that pass; None where this does not pay, or cannot be done."""
    condition = plan.filter
    if condition is None or condition.sample is not None or EFFORT not in plan.params:
        return None
    width = FIRST_LOOK * plan.limit
    while width <= LARGEST_SHARE * index.rows:
        effort = {**plan.params, EFFORT: max(width, int(plan.params[EFFORT]))}
        _, found = index.search(queries, width, effort, None)
        kept = _passing(segment, plan, found, timestamp)
        if bool((np.count_nonzero(kept, axis=1) >= plan.limit).all()):
            return column.ranked(queries, np.where(kept, found, NO_ROW), plan.limit, plan.metric)
        width *= WIDER
    return None


def _passing(segment: Segment, plan: SearchPlan, found: RowNumbers, timestamp: int) -> npt.NDArray[np.bool_]:
    """Which of the rows that were found are there and pass the filter."""
    assert plan.filter is not None, "there is something to pass"
    rows, total = np.unique(found[found != NO_ROW]), segment.rows_at(timestamp)
    _, valid = segment.vectors(plan.field, total)
    there = allowed_rows(segment, None, plan.field if valid is not None else "", timestamp, plan.expiry)
    passing = plan.filter.evaluate(ArrowColumns(segment.take(rows, tuple(plan.filter.fields)), plan.schema))
    if there is not None:
        passing &= there.mask[rows]
    mask = np.zeros(total + 1, np.bool_)  # the last one stands for no row
    mask[rows[passing]] = True
    kept: npt.NDArray[np.bool_] = mask[found]
    return kept
