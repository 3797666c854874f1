"""One read over the segments of one node.

A search chooses, per segment and by the measured number of allowed rows, between comparing every allowed row and
walking the graph. A filter that is correlated with the vectors ruins a graph walk, whatever its selectivity; so the
neighbourhood of each query is probed first, and a walk that comes back short, or a query from a place where few rows
are allowed, is answered by comparing rows instead: at first all that are allowed, and once such answers have shown how
far away the neighbours are under this filter, those of the cells that near (`nearby.py`). A search never returns fewer
rows than match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from redkite.env import Executor
from redkite.index.base import NO_ROW, Queries, RowNumbers, Scores, VectorColumn, VectorIndex
from redkite.index.dense import FloatColumn
from redkite.index.exact import MATRIX_PRODUCT_QUERIES
from redkite.index.faiss_index import FaissIndex
from redkite.index.hnsw import HnswIndex
from redkite.index.threads import shared_out
from redkite.query.aggregates import gather
from redkite.query.allowed import Allowed, AllowedCache, allowed_rows
from redkite.query.comparing import prepared
from redkite.query.expired import expired_of
from redkite.query.grouping import search_groups
from redkite.query.iterate import search_in_order
from redkite.query.lazy import search_lazily
from redkite.query.nearby import PATIENCE, Nearby
from redkite.query.notes import Notes, count_allowed, noted
from redkite.query.ordering import assemble_ordered
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.reaching import EXACT_FLOATS, Reaching
from redkite.query.reduce import Found, assemble_hits, assemble_rows, hits_of_one
from redkite.query.sharing import pays_to_share
from redkite.query.timing import ReadTimes
from redkite.segment.base import Segment
from redkite.segment.elements import element_views
from redkite.spans import traced_function

NEARLY_ALL = 0.9
"""Above this share of allowed rows a filter cannot hide a neighbourhood from the walk for long: no probe."""
PROBE = 32
"""Neighbours looked at, allowed or not, to see whether the query lies where rows are allowed."""
POOR = 0.5
"""In a neighbourhood with less than this part of the expected allowed rows, the graph is not walked."""
WIDEST = 8.0
"""The walk is widened by 1 / selectivity, at most so much."""
LOOKS = 2
"""Cells are compared without a look around where that costs no more than so many walks of the graph: the look is one,
and in vain where few rows are allowed."""
FEW = 4
"""For more queries at once, walks share the cores and beat comparing the cells of one after another."""


class _Ask(NamedTuple):
    """One search, as each segment gets it."""

    plan: SearchPlan
    queries: Queries
    pool: Executor | None
    """Other threads for long scans."""
    notes: Notes | None = None
    times: ReadTimes | None = None

    def of(self, at: int) -> _Ask:
        """The same for one of the queries."""
        return self if len(self.queries) == 1 else self._replace(queries=self.queries[at : at + 1])

    def note(self, how: str, compared: int = 0) -> None:
        """Of all its queries; `compared` rows for each of them."""
        if self.notes is not None:
            self.notes.add(how, len(self.queries), compared * len(self.queries))

    def again(self) -> None:
        """An index found too few rows."""
        if self.times is not None:
            self.times.once_more()


def search_segments(
    segments: Sequence[Segment],
    plan: SearchPlan,
    queries: Queries,
    timestamp: int,
    pool: Executor | None = None,
    times: ReadTimes | None = None,
) -> SearchPartial:
    """Best `plan.limit` rows of all segments for each query. Long scans are split over `pool`; `times` counts steps."""
    if plan.elements:
        segments = element_views(segments, plan.field)
    if plan.explain:
        return _explained(segments, plan, queries, timestamp, pool)
    if _is_plain(plan):
        return _search(segments, _Ask(plan, queries, pool, None, times), timestamp)
    return _reached(segments, _Ask(plan, queries, pool, None, times), timestamp)


def _is_plain(plan: SearchPlan) -> bool:
    return plan.grouping is None and plan.after is None and not plan.in_order and plan.within is None


def _reached(segments: Sequence[Segment], ask: _Ask, timestamp: int) -> SearchPartial:
    """Groups, ranges and pages."""
    plan = ask.plan
    segments = [held.under(plan.schema) for held in segments]
    search = search_in_order if plan.grouping is None else search_groups
    return search(segments, plan, ask.queries, timestamp, _reaching(ask, timestamp))


def _reaching(ask: _Ask, timestamp: int) -> Reaching:
    def nearest(segment: Segment, plan: SearchPlan, query: Queries) -> tuple[Scores, RowNumbers]:
        return _timed(segment, ask._replace(plan=plan, queries=query), timestamp)

    return Reaching(ask.plan, timestamp, nearest, ask.notes)


def _search(segments: Sequence[Segment], ask: _Ask, timestamp: int) -> SearchPartial:
    plan = ask.plan
    segments = [held.under(plan.schema) for held in segments]

    def search(segment: Segment) -> Found:
        scores, rows = _timed(segment, ask, timestamp)
        if ask.notes is not None:
            ask.notes.close(segment, plan, timestamp)
        return Found(segment, scores, rows)

    if len(segments) == 1:
        return _search_one(segments[0], ask, timestamp)
    if ask.pool is not None and ask.notes is None and pays_to_share([_work(segment, ask) for segment in segments]):
        found = shared_out(ask.pool, search, segments)
    else:
        found = [search(segment) for segment in segments]
    times = ask.times
    begun = 0.0 if times is None else times.now()
    hits = assemble_hits(found, plan, len(ask.queries))
    if times is not None and found:
        times.took(times.reductions, begun)
    return hits


def _search_one(segment: Segment, ask: _Ask, timestamp: int) -> SearchPartial:
    plan, times = ask.plan, ask.times
    begun = 0.0 if times is None else times.now()
    found = Found(segment, *_search_segment(segment, ask, timestamp))
    if ask.notes is not None:
        ask.notes.close(segment, plan, timestamp)
    if times is None:
        return hits_of_one(found, plan)
    at = times.now()
    hits = hits_of_one(found, plan)
    times.searched(begun, at)
    return hits


def _timed(segment: Segment, ask: _Ask, timestamp: int) -> tuple[Scores, RowNumbers]:
    times = ask.times
    if times is None:
        return _search_segment(segment, ask, timestamp)
    begun = times.now()
    found = _search_segment(segment, ask, timestamp)
    times.took(times.segments, begun)
    return found


def _work(segment: Segment, ask: _Ask) -> int:
    """Multiply-adds of asking the segment's index, about; 0 where that is not known."""
    index: object = None if ask.plan.exact else segment.index(ask.plan.field)
    return index.work(len(ask.queries), ask.plan.params) if isinstance(index, FaissIndex) else 0


def _explained(
    segments: Sequence[Segment], plan: SearchPlan, queries: Queries, timestamp: int, pool: Executor | None
) -> SearchPartial:
    """The answer, or for a mere plan none, with notes on how it was come by."""
    silent = msgspec.structs.replace(plan, explain="")
    segments = [held.under(plan.schema) for held in segments]
    notes = Notes()
    ask = _Ask(silent, queries, pool, notes)
    if plan.explain == "plan":
        reaching = _reaching(ask, timestamp)
        for segment in segments:
            how = _way(segment, plan, timestamp) if _is_plain(plan) else reaching.way(segment)
            notes.add(how, len(queries))
            notes.close(segment, plan, timestamp)
        found = search_segments([], silent, queries, timestamp)
    else:
        found = (_search if _is_plain(plan) else _reached)(segments, ask, timestamp)
    return msgspec.structs.replace(found, reports=tuple(notes.reports))


def _way(segment: Segment, plan: SearchPlan, timestamp: int) -> str:
    """How a segment would be searched, as far as that is known before."""
    rows = segment.rows_at(timestamp)
    column, _ = segment.vectors(plan.field, rows)
    index = None if plan.exact else segment.index(plan.field)
    allowed = count_allowed(segment, plan, timestamp)
    if index is None or index.rows != rows:
        return "compare every allowed row"
    if allowed == rows:
        return "ask the index"
    if allowed * column.width <= EXACT_FLOATS or not index.takes_bitmap:
        return "compare every allowed row: there are few"
    if not index.approximate:
        return "ask the index for allowed rows"
    return "look around each query, then ask the index for allowed rows or compare those nearby"


def _search_segment(segment: Segment, ask: _Ask, timestamp: int) -> tuple[Scores, RowNumbers]:
    plan = ask.plan
    rows = segment.rows_at(timestamp)
    column, valid = segment.vectors(plan.field, rows)
    index = None if plan.exact else segment.index(plan.field)
    column, index = prepared(column, index, plan, segment.index(plan.field))
    if plan.lazy_filter and index is not None and index.rows == rows:
        found = search_lazily(segment, index, column, plan, ask.queries, timestamp)
        if found is not None:
            return found
    if plan.filter is None and valid is None and segment.deletes.count == 0 and plan.expiry is None:
        allowed = None
    else:
        nullable = plan.field if valid is not None else ""
        allowed = allowed_rows(segment, plan.filter, nullable, timestamp, plan.expiry)
    if index is None or index.rows != rows:
        return _exact(segment, column, allowed, ask)
    if allowed is None:
        return _indexed(segment, index, column, None, ask)
    if allowed.count * column.width <= EXACT_FLOATS or not index.takes_bitmap:
        return _exact(segment, column, allowed, ask)
    if index.approximate:
        return _filtered(segment, index, column, allowed, ask)
    return _indexed(segment, index, column, allowed, ask)


def _exact(segment: Segment, column: VectorColumn, allowed: Allowed | None, ask: _Ask) -> tuple[Scores, RowNumbers]:
    plan, queries, pool = ask.plan, ask.queries, ask.pool
    ask.note("compare every allowed row", len(column) if allowed is None else allowed.count)
    if allowed is None or allowed.count == len(column):
        return column.search(queries, plan.limit, plan.metric, pool)
    gathered = allowed.gathered(plan.field, column, segment.cache)
    near, _ = prepared(gathered.column, None, plan)
    scores, places = near.search(queries, plan.limit, plan.metric, pool)
    if places[:, -1].min(initial=0) >= 0:
        return scores, gathered.rows[places]
    rows = np.full_like(places, NO_ROW)
    present = places >= 0
    rows[present] = gathered.rows[places[present]]
    return scores, rows


def _indexed(
    segment: Segment, index: VectorIndex, column: VectorColumn, allowed: Allowed | None, ask: _Ask
) -> tuple[Scores, RowNumbers]:
    """Ask the index, and compare rows one by one for the queries where it came back short."""
    plan, queries = ask.plan, ask.queries
    ask.note("ask the index" if allowed is None else "ask the index for allowed rows")
    wanted = min(plan.limit, index.rows if allowed is None else allowed.count)
    _, candidates = index.search(queries, wanted, plan.params, None if allowed is None else allowed.bitmap)
    scores, rows = column.ranked(queries, candidates, plan.limit, plan.metric)
    if not index.approximate or not wanted:
        return scores, rows
    last = rows[:, wanted - 1]
    # For one query without numpy: its fixed cost is felt in a small search.
    if last[0] < 0 or (len(last) > 1 and bool((last < 0).any())):
        ask.again()
        short = last < 0
        scores[short], rows[short] = _exact(segment, column, allowed, ask._replace(queries=queries[short]))
    return scores, rows


def _filtered(
    segment: Segment, index: VectorIndex, column: VectorColumn, allowed: Allowed, ask: _Ask
) -> tuple[Scores, RowNumbers]:
    """Ask the index for the allowed rows, with more effort the fewer they are, and compare rows one by one for the
    queries where that will not do."""
    plan, queries = ask.plan, ask.queries
    share = segment.vectors(plan.field, len(column)).share(allowed.count)
    if len(queries) <= FEW:
        reach = allowed.reach(plan.field)
        if reach.is_learning or reach.part * allowed.count * column.width <= LOOKS * EXACT_FLOATS:
            return _compared(segment, column, allowed, ask)
    if share >= NEARLY_ALL:
        scores, rows = _walked(index, column, allowed, share, ask)
    else:
        scores, rows = _looked_around(index, column, allowed, share, ask)
    short = rows[:, min(plan.limit, allowed.count) - 1] < 0
    if short.any():
        ask.again()
        scores[short], rows[short] = _compared(segment, column, allowed, ask._replace(queries=queries[short]))
    return scores, rows


def _looked_around(
    index: VectorIndex, column: VectorColumn, allowed: Allowed, share: float, ask: _Ask
) -> tuple[Scores, RowNumbers]:
    """Look at the rows around each query, allowed or not. Where enough of them are allowed they are the answer, where
    some are the index is asked for others, and where few are there is no answer yet."""
    plan, queries = ask.plan, ask.queries
    enough = isinstance(index, HnswIndex) and index.is_fine and share * PROBE >= plan.limit
    near = _neighbourhood(index, 1 / share if enough else 1, ask)
    passing = allowed.mask[near] & (near >= 0)
    found = np.count_nonzero(passing, axis=1)
    rich = (found >= plan.limit) & enough
    poor = ~rich & (found < share * POOR * near.shape[1])
    scores = np.zeros((len(queries), plan.limit), np.float32)
    rows = np.full((len(queries), plan.limit), NO_ROW, np.int64)
    if rich.any():
        first = np.argsort(~passing[rich], axis=1, kind="stable")[:, : plan.limit]  # nearest first, as they were found
        candidates = np.take_along_axis(near[rich], first, axis=1)
        scores[rich], rows[rich] = column.ranked(queries[rich], candidates, plan.limit, plan.metric)
    others = ~(rich | poor)
    if others.any():
        scores[others], rows[others] = _walked(index, column, allowed, share, ask._replace(queries=queries[others]))
    return scores, rows


def _neighbourhood(index: VectorIndex, effort: float, ask: _Ask) -> RowNumbers:
    """Rows near the queries, allowed or not: PROBE for each, or more. `effort`: as many times that of the search."""
    ask.note(f"look at the {PROBE} nearest rows, allowed or not")
    params = index.widened(ask.plan.params, PROBE, effort)
    coarse: object = index
    if isinstance(coarse, FaissIndex):
        params = {**params, "refine_k": 1}  # nobody compares these rows once more
    _, near = index.search(ask.queries, PROBE, params, None)
    return near


def _walked(
    index: VectorIndex, column: VectorColumn, allowed: Allowed, share: float, ask: _Ask
) -> tuple[Scores, RowNumbers]:
    """Ask the index for the allowed rows."""
    plan, queries = ask.plan, ask.queries
    ask.note("ask the index for allowed rows, with more effort")
    wanted = min(plan.limit, allowed.count)
    wider = index.widened(plan.params, wanted, min(1 / share, WIDEST))
    _, candidates = index.search(queries, wanted, wider, allowed.bitmap)
    return column.ranked(queries, candidates, plan.limit, plan.metric)


def _compared(segment: Segment, column: VectorColumn, allowed: Allowed, ask: _Ask) -> tuple[Scores, RowNumbers]:
    """Compare the allowed rows of the cells near each query. All of them, as long as it is not known how far the
    neighbours are under this filter, and for many queries, where all cost less."""
    plan, queries, pool = ask.plan, ask.queries, ask.pool
    cache: AllowedCache | None = segment.cache
    few = allowed.count < plan.limit or len(queries) >= MATRIX_PRODUCT_QUERIES
    if cache is None or pool is None or few or not isinstance(column, FloatColumn):
        return _exact(segment, column, allowed, ask)
    reach = allowed.reach(plan.field)
    reach.scans += len(queries)
    cells = cache.cells(segment, plan.field, plan.metric, pool) if reach.scans > PATIENCE else None
    if cells is None or not column.matrix.flags.c_contiguous:
        return _exact(segment, column, allowed, ask)
    nearby = allowed.nearby(plan.field, cells)
    if not reach.known():
        scores, rows = _exact(segment, column, allowed, ask)
        reach.learn(*nearby.slacks(queries, scores, rows))
        return scores, rows
    every = [_within_reach(segment, column, allowed, nearby, ask.of(at)) for at in range(len(queries))]
    return np.concatenate([scores for scores, _ in every]), np.concatenate([rows for _, rows in every])


def _within_reach(
    segment: Segment, column: FloatColumn, allowed: Allowed, nearby: Nearby, ask: _Ask
) -> tuple[Scores, RowNumbers]:
    """Compare the allowed rows of the cells near the only query; all of them where these hold most."""
    plan, reach = ask.plan, allowed.reach(ask.plan.field)
    found = nearby.search(column, allowed.kept(plan.field), ask.queries, reach, plan.limit)
    if found is None:
        return _exact(segment, column, allowed, ask)
    scores, rows, compared = found
    ask.note("compare the allowed rows of the cells nearby", compared)
    return scores, rows


def query_segments(segments: Sequence[Segment], plan: QueryPlan, timestamp: int) -> QueryPartial:
    """Rows of all segments that pass, the `plan.limit` smallest primary keys, in ascending order."""
    segments = [held.under(plan.schema) for held in segments]
    if plan.explain:
        silent = msgspec.structs.replace(plan, explain="")
        keyed = plan.filter is not None and plan.filter.primary_keys is not None
        how = "look the keys up" if keyed else "take all rows" if plan.filter is None else "evaluate the filter"
        run = plan.explain == "analyze"
        notes = noted(segments, plan, timestamp, how, int(run and not keyed and plan.filter is not None))
        found = query_segments(segments if run else [], silent, timestamp)
        return msgspec.structs.replace(found, reports=tuple(notes.reports))
    if plan.count:
        return QueryPartial(sum(_count(s, plan, timestamp) for s in segments))
    matching = [(s, _matching(s, plan, timestamp)) for s in segments]
    if plan.aggregates is not None:
        return gather(matching, plan.aggregates)
    if plan.order:
        return assemble_ordered([(s, rows) for s, rows in matching if len(rows)], plan)
    return assemble_rows([(s, rows) for s, rows in matching if len(rows)], plan)


def _count(segment: Segment, plan: QueryPlan, timestamp: int) -> int:
    keyed = _by_key(segment, plan, timestamp)
    if keyed is not None:
        return len(keyed)
    allowed = allowed_rows(segment, plan.filter, "", timestamp, plan.expiry)
    return segment.rows_at(timestamp) if allowed is None else allowed.count


def _matching(segment: Segment, plan: QueryPlan, timestamp: int) -> RowNumbers:
    keyed = _by_key(segment, plan, timestamp)
    if keyed is not None:
        return keyed
    allowed = allowed_rows(segment, plan.filter, "", timestamp, plan.expiry)
    return np.arange(segment.rows_at(timestamp)) if allowed is None else allowed.rows


def _by_key(segment: Segment, plan: QueryPlan, timestamp: int) -> RowNumbers | None:
    """Rows of the wanted primary keys, found without a scan; None when the filter asks for more than keys."""
    if plan.filter is None or plan.filter.primary_keys is None:
        return None
    rows = segment.find(plan.filter.primary_keys, timestamp)
    if rows is None:
        return None
    visible = segment.rows_at(timestamp)
    alive = segment.deletes.alive(visible, timestamp)
    expired = expired_of(segment, plan.expiry, visible, None)
    if expired is not None:
        rows = expired.keep(rows)
    return np.sort(rows if alive is None else rows[alive[rows]])


traced_function(
    __name__, _search_segment, "segment", lambda segment, _ask, _timestamp: {"redkite.segment": segment.segment_id}
)
