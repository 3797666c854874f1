"""Searches by groups: the best hits of each of the best groups.

The groups of a query are those of its best rows; so only as many rows are looked at as it takes to meet enough groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.index.base import Queries, RowNumbers, Scores
from redkite.model.batch import numbers_to_arrow
from redkite.query.plan import GroupPlan, SearchPartial, SearchPlan
from redkite.query.reaching import WIDER, Reaching
from redkite.query.reduce import concat_rows, empty_hits, take_from
from redkite.query.scanning import nearest, rank_of, scan
from redkite.query.sources import Codes, codes_of, group_starts, segment_values, sortable
from redkite.segment.base import Segment
from redkite.segment.growing import rows_only


class _Part(NamedTuple):
    """What one segment has for one query."""

    owner: int
    query: int
    scores: Scores
    rows: RowNumbers
    groups: list[pa.Array]


class Chosen(NamedTuple):
    """Which hits make the answer, in its order, and how many each query has."""

    places: RowNumbers
    topks: npt.NDArray[np.int64]


def search_groups(
    segments: Sequence[Segment], plan: SearchPlan, queries: Queries, timestamp: int, reaching: Reaching
) -> SearchPartial:
    """The best hits of the best `plan.limit` groups of all segments for each query."""
    grouping = _grouping(plan)
    nq = len(queries)
    parts: list[_Part] = []
    for owner, segment in enumerate(segments):
        for query in range(nq):
            part = _part_of(segment, (owner, query), plan, queries[np.array([query])], timestamp, reaching)
            parts += [part] if len(part.rows) else []
        reaching.close(segment)
    if not parts:
        return no_groups(plan, nq)
    lengths = [len(part.rows) for part in parts]
    owners = np.repeat([part.owner for part in parts], lengths)
    asked = np.repeat([part.query for part in parts], lengths)
    scores = np.concatenate([part.scores for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    ids = pa.concat_arrays([segments[part.owner].keys(part.rows) for part in parts])
    groups = [pa.concat_arrays([part.groups[at] for part in parts]) for at in range(len(grouping.sources))]
    places, topks = choose(asked, rank_of(plan, scores), sortable(ids), codes_of(groups), plan.limit, grouping.size, nq)
    wanted = numbers_to_arrow(places)
    return SearchPartial(
        topks,
        ids.take(wanted),
        scores[places],
        take_from(segments, owners[places], rows[places], plan.columns, plan.schema),
        _batch([group.take(wanted) for group in groups]),
    )


def merge_groups(partials: Sequence[SearchPartial], plan: SearchPlan) -> SearchPartial:
    """Merge the answers of several nodes."""
    if len(partials) == 1:
        return partials[0]
    grouping = _grouping(plan)
    asked = np.concatenate([np.repeat(np.arange(len(p.topks)), p.topks) for p in partials])
    scores = np.concatenate([p.scores for p in partials])
    ids = pa.concat_arrays([p.ids for p in partials])
    batches = [p.groups for p in partials if p.groups is not None and p.groups.num_rows]
    if not batches:
        return partials[0]
    groups = pa.concat_batches(batches)
    codes = codes_of(groups.columns)
    nq = len(partials[0].topks)
    places, topks = choose(asked, rank_of(plan, scores), sortable(ids), codes, plan.limit, grouping.size, nq)
    wanted = numbers_to_arrow(places)
    rows = concat_rows([p.rows for p in partials]).take(wanted) if plan.columns else rows_only(len(places))
    return SearchPartial(topks, ids.take(wanted), scores[places], rows, groups.take(wanted))


def skip_groups(partial: SearchPartial, offset: int) -> SearchPartial:
    """Without the first `offset` groups of each query."""
    if not offset or partial.groups is None or not len(partial.scores):
        return partial
    asked = np.repeat(np.arange(len(partial.topks)), partial.topks)
    kept = np.flatnonzero(group_numbers(asked, partial.groups) >= offset)
    return take_hits(partial, kept, np.bincount(asked[kept], minlength=len(partial.topks)))


def take_hits(partial: SearchPartial, places: RowNumbers, topks: npt.NDArray[np.int64]) -> SearchPartial:
    """Some of the hits, in the order of `places`."""
    wanted = numbers_to_arrow(places)
    rows = partial.rows.take(wanted) if partial.rows.num_columns else rows_only(len(places))
    groups = None if partial.groups is None else partial.groups.take(wanted)
    return SearchPartial(topks, partial.ids.take(wanted), partial.scores[places], rows, groups)


def groups_of(partial: SearchPartial) -> list[pa.RecordBatch]:
    """The groups of each query, the best first."""
    assert partial.groups is not None, "a search by groups says the group of each hit"
    ends = np.cumsum(partial.topks).tolist()
    found = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        batch = partial.groups.slice(start, end - start)
        firsts = np.unique(codes_of(batch.columns), return_index=True)[1] if batch.num_rows else np.empty(0, np.int64)
        found.append(batch.take(numbers_to_arrow(np.sort(firsts))))
    return found


def group_numbers(asked: npt.NDArray[np.int64], groups: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """For hits in the order of an answer: which group of its query each belongs to, counted from 0."""
    begins = group_starts(asked, groups.columns) == np.arange(len(asked))
    numbers = np.cumsum(begins) - 1
    result: npt.NDArray[np.int64] = numbers - numbers[np.searchsorted(asked, asked)]
    return result


def choose(
    asked: npt.NDArray[np.int64], rank: Scores, keys: npt.NDArray[Any], codes: Codes, limit: int, size: int, nq: int
) -> Chosen:
    """The best `size` hits of each of the best `limit` groups of each query: groups by their best hit, hits by rank, of
    equal rank by key. `asked` says which query each hit is of, `codes` which group."""
    order = np.lexsort((keys, rank, asked))
    query, code = asked[order], codes[order]
    pair = query * (int(code.max()) + 1) + code
    # Hits of one group of one query side by side, each group in the order of its hits.
    together = np.argsort(pair, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(pair[together]) != 0]))
    lengths = np.diff(np.concatenate([starts, [len(together)]]))
    nth, first = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    nth[together] = np.arange(len(together)) - np.repeat(starts, lengths)
    first[together] = np.repeat(together[starts], lengths)
    # A group's number is how many groups of its query have a better first hit.
    begun = np.cumsum(nth == 0)
    number = begun[first] - begun[np.searchsorted(query, query)]
    kept = np.flatnonzero((nth < size) & (number < limit))
    kept = kept[np.lexsort((nth[kept], number[kept], query[kept]))]
    return Chosen(order[kept], np.bincount(query[kept], minlength=nq))


def no_groups(plan: SearchPlan, nq: int) -> SearchPartial:
    """No hits."""
    none = empty_hits(plan, nq)
    return SearchPartial(none.topks, none.ids, none.scores, none.rows, None)


# -- one segment --------------------------------------------------------------------------------
def _part_of(
    segment: Segment, place: tuple[int, int], plan: SearchPlan, query: Queries, timestamp: int, reaching: Reaching
) -> _Part:
    grouping = _grouping(plan)
    width = reaching.first
    while (by_index := reaching.nearest(segment, query, width)) is not None:
        chosen = _chosen_of(segment, place, plan, *by_index)
        if _is_enough(chosen, plan.limit, grouping):
            return chosen
        width *= WIDER
    reaching.compare(segment)
    scores, rows = scan(segment, plan, query, timestamp)
    if grouping.wanted is not None:
        groups = _values(segment, grouping, rows)
        kept = np.flatnonzero(_is_wanted(groups, grouping.wanted))
        taken = [group.take(numbers_to_arrow(kept)) for group in groups]
        return _best_groups(segment, place, plan, _Part(*place, scores[kept], rows[kept], taken))
    rank = rank_of(plan, scores)
    while True:
        near = nearest(rank, width)
        chosen = _chosen_of(segment, place, plan, scores[near], rows[near])
        if len(near) == len(rows) or _is_enough(chosen, plan.limit, grouping):
            return chosen
        width *= WIDER


def _chosen_of(segment: Segment, place: tuple[int, int], plan: SearchPlan, scores: Scores, rows: RowNumbers) -> _Part:
    """The best groups among some rows."""
    part = _Part(*place, scores, rows, _values(segment, _grouping(plan), rows))
    return _best_groups(segment, place, plan, part)


def _is_enough(chosen: _Part, limit: int, grouping: GroupPlan) -> bool:
    """Whether there are enough groups, and all full where they have to be."""
    if grouping.strict:
        return len(chosen.rows) == limit * grouping.size
    return len(np.unique(codes_of(chosen.groups))) >= limit


def _best_groups(segment: Segment, place: tuple[int, int], plan: SearchPlan, part: _Part) -> _Part:
    if not len(part.rows):
        return part
    keys = sortable(segment.keys(part.rows))
    one = np.zeros(len(part.rows), np.int64)
    rank = rank_of(plan, part.scores)
    places, _ = choose(one, rank, keys, codes_of(part.groups), plan.limit, _grouping(plan).size, 1)
    wanted = numbers_to_arrow(places)
    return _Part(*place, part.scores[places], part.rows[places], [group.take(wanted) for group in part.groups])


def _is_wanted(groups: list[pa.Array], wanted: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    both = [pa.concat_arrays([some, all_of]) for some, all_of in zip(wanted.columns, groups, strict=True)]
    codes = codes_of(both)
    count = wanted.num_rows
    found: npt.NDArray[np.bool_] = np.isin(codes[count:], codes[:count])
    return found


def _values(segment: Segment, grouping: GroupPlan, rows: RowNumbers) -> list[pa.Array]:
    return [segment_values(segment, source, rows) for source in grouping.sources]


def _batch(groups: list[pa.Array]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(groups, [f"group {at}" for at in range(len(groups))])


def _grouping(plan: SearchPlan) -> GroupPlan:
    assert plan.grouping is not None, "the plan of a search by groups says which groups"
    return plan.grouping
