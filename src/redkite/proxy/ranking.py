"""Searches whose hits are ranked anew: hybrid ones, and those with a function score.

All searches of one request read one snapshot. Their hits travel as keys, scores and the columns that ranking looks at;
the output fields are taken once, for the winners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import InvalidParameter, StorageError
from redkite.filter import Filter, compile_filter
from redkite.functions.models import Models
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import arrow_to_numbers, needs_types, numbers_to_arrow, typed_rows
from redkite.model.schema import OFFSET_FIELD
from redkite.model.tuning import Explain, Tuning
from redkite.node.face import ShardFace, query_all
from redkite.node.topology import Topology
from redkite.proxy.explaining import Stopwatch
from redkite.proxy.kinds import Asked, gathered, keys_filter, shown_groups
from redkite.proxy.lapses import shards_to_read
from redkite.proxy.model_client import ModelClient
from redkite.proxy.plans import Planned
from redkite.proxy.ranking_words import boosts_words, chain_words, merge_words, ranker_words
from redkite.proxy.reads import Reads
from redkite.proxy.rules.chain_rules import Given, read_chains
from redkite.proxy.rules.model_rules import MODEL
from redkite.proxy.rules.query_vectors import comparable as comparable_queries
from redkite.proxy.rules.ranking_rules import (
    Ranking,
    Reranker,
    Rules,
    check_hybrid,
    read_ranking,
    read_scorer,
    read_strategy,
)
from redkite.proxy.rules.read_rules import check_round_decimal, check_same_collection, expand_output_fields
from redkite.query import fusion
from redkite.query.chains import Ask, Chain, MergeStep, Stages, model_column
from redkite.query.chains import run as run_chains
from redkite.query.fusion import Pool, RankedList, Rrf, Scored
from redkite.query.models import ModelRerank
from redkite.query.plan import GroupPlan, QueryPartial, QueryPlan, SearchPartial, SearchPlan
from redkite.query.ranked_groups import GroupRule, best_groups
from redkite.query.reduce import empty_rows, merge_rows
from redkite.query.rescoring import Decay, boosted, decayed
from redkite.query.sources import codes_of
from redkite.segment.expiry import Expiry
from redkite.segment.growing import rows_only

Request = rq.Search | rq.HybridSearch
Note = Callable[[str, int, int], None]
"""Is told what was done with how many hits, and how many were left."""
QUICK_SEARCHES = 4
FEWEST_CANDIDATES = 100
CANDIDATES = 10
"""Boosts look at so many times the rows that are wanted, and at no fewer than FEWEST_CANDIDATES."""
_GROUP = "\0group "
"""Columns of this name and a number hold the group of each hit."""
_WIDTHS = ("ef", "search_list", "reorder_k")
"""Parameters of indexes that must not be less than the rows wanted."""


class _Part(msgspec.Struct, frozen=True):
    """One search of a request."""

    planned: Planned
    search: rq.Search
    plan: SearchPlan
    keep: int
    """Rows of each query that it is to bring, after boosts; or groups."""
    round_decimal: int = -1


class _Snapshot(msgspec.Struct, frozen=True):
    """What all parts of a request read."""

    meta: CollectionMeta
    shards: Sequence[ShardFace]
    moment: int | None
    expiry: Expiry | None
    ask: Asked


class _Wanted(msgspec.Struct, frozen=True):
    """What the rows are ranked by, and how many of them, or of their groups, are answered."""

    ranking: Ranking
    limit: int
    offset: int
    ask: Ask
    """Has a model score texts."""
    group: GroupRule | None = None
    stages: Stages = Stages()
    note: Note | None = None
    """Of a request that explains itself."""

    def tell(self, how: str, given: int, left: int) -> None:
        if self.note is not None:
            self.note(how, given, left)


class Rankings:
    """Answers in the caller's thread."""

    def __init__(self, topology: Topology, reads: Reads, models: Models) -> None:
        self._topology = topology
        self._reads = reads
        self._ask: Ask = ModelClient(models).scores

    # -- requests -------------------------------------------------------------------------------
    def search(self, request: rq.Search) -> rs.Hits:
        """A plain search, ranked by functions when it names any."""
        if request.function_score is None and not request.function_chains:
            return self._reads.search(request)
        if request.page is not None:
            raise InvalidParameter("a function score is not permitted when using a search iterator")
        return self._scored(request) if request.function_score is not None else self._chained(request)

    def _chained(self, request: rq.Search) -> rs.Hits:
        """Steps over the hits of a search."""
        if request.grouping is not None:
            raise InvalidParameter("function_chains and group_by_field cannot be used together")
        meta = self._topology.root.find(request.database, request.collection)
        check_same_collection(meta, request.collection_id)
        stages = read_chains(
            request.function_chains, self._chain_rules(meta, request.queries.nq, request.filter_params)
        )
        shown = expand_output_fields(meta.schema, request.output_fields)[0]
        columns = tuple(dict.fromkeys((*stages.fields, *shown)))
        part = self._part(request, request.limit + request.offset, Ranking(), columns, wide=bool(stages.early))
        wanted = _Wanted(Ranking(), request.limit, request.offset, self._ask, stages=stages)
        return self._answer(meta, request, [part], wanted)

    def _chain_rules(
        self, meta: CollectionMeta, nq: int, filter_params: dict[str, Any] | None = None, lists: int = 1
    ) -> Given:
        return Given(meta.schema, nq, lists, filter_params or {}, self._topology.limits, self._topology.files.read)

    def _scored(self, request: rq.Search) -> rs.Hits:
        """Functions over the hits of a search."""
        assert request.function_score is not None, "the caller has looked"
        if request.function_chains:
            raise InvalidParameter("function_chains and function_score cannot be used together")
        meta = self._topology.root.find(request.database, request.collection)
        check_same_collection(meta, request.collection_id)
        ranking = read_ranking(request.function_score, self._rules(meta, request.filter_params, 1, request.queries.nq))
        columns = ranking.fields
        if ranking.boosts is None:
            columns = tuple(dict.fromkeys((*columns, *expand_output_fields(meta.schema, request.output_fields)[0])))
        part = self._part(request, request.limit + request.offset, ranking, columns)
        group = None if part.plan.grouping is None else GroupRule(part.plan.grouping.size)
        return self._answer(meta, request, [part], _Wanted(ranking, request.limit, request.offset, self._ask, group))

    def hybrid(self, request: rq.HybridSearch) -> rs.Hits:
        """Several searches, their hits ranked as one list."""
        meta = self._topology.root.find(request.database, request.collection)
        check_hybrid(request, self._topology.limits)
        ranking = self._ranking_of(meta, request)
        stages = self._stages_of(meta, request)
        columns = tuple(dict.fromkeys((*ranking.fields, *stages.fields)))
        wide = request.limit + request.offset
        parts = []
        for search in request.searches:
            check_round_decimal(search.round_decimal)
            keep = max(search.limit, wide)
            own = msgspec.structs.replace(
                search, tuning=_explaining(search.tuning, request.explain), database=request.database,
                collection=request.collection, limit=keep, offset=0,
                round_decimal=-1, partitions=search.partitions or request.partitions, grouping=request.grouping,
                as_of=request.as_of,
            )  # fmt: skip
            part = self._part(own, keep, ranking, columns, search.round_decimal, wide=bool(stages.early))
            parts.append(self._by_rows(part, columns) if part.plan.elements else part)
        grouping = None if request.grouping is None else parts[0].plan.grouping
        group = None if grouping is None else GroupRule(grouping.size, read_scorer(request.group_scorer))
        wanted = _Wanted(ranking, request.limit, request.offset, self._ask, group, stages)
        return self._answer(meta, request, parts, wanted)

    def _stages_of(self, meta: CollectionMeta, request: rq.HybridSearch) -> Stages:
        """The chains of a hybrid search."""
        if not request.function_chains:
            return Stages()
        if request.grouping is not None:
            raise InvalidParameter("function_chains and group_by_field cannot be used together")
        if request.function_score is not None:
            raise InvalidParameter("function_chains and function_score cannot be used together")
        lists = len(request.searches)
        rules = self._chain_rules(meta, request.searches[0].queries.nq, lists=lists)
        stages = read_chains(request.function_chains, rules)
        if stages.merge is not None and (request.strategy or request.rank_params):
            raise InvalidParameter("a hybrid search takes a rank strategy or a merge step, not both")
        return stages

    def is_quick(self, request: Request | rq.Query) -> bool:
        """Whether an event loop may run it: no other service is asked, and each search is quick."""
        if isinstance(request, rq.Query):
            return self._reads.is_quick(request)
        if request.highlighter is not None:
            return False
        functions = () if request.function_score is None else request.function_score.functions
        if functions and any(f.params.get("reranker", "").strip().lower() == MODEL for f in functions):
            return False
        if isinstance(request, rq.Search):
            return not request.function_chains and self._reads.is_quick(request)
        if request.function_chains:
            return False
        named = {"database": request.database, "collection": request.collection}
        searches = [msgspec.structs.replace(search, **named) for search in request.searches[:QUICK_SEARCHES]]
        return len(request.searches) <= QUICK_SEARCHES and all(map(self._reads.is_quick, searches))

    def _ranking_of(self, meta: CollectionMeta, request: rq.HybridSearch) -> Ranking:
        """What the request names; `rrf` when it names nothing that makes one list of many."""
        searches = request.searches
        own: Reranker | None = None
        if request.strategy or request.rank_params:
            own = read_strategy(request.strategy, request.rank_params, len(searches))
        if request.function_score is None:
            return Ranking(reranker=own or Rrf())
        rules = self._rules(meta, {}, len(searches), searches[0].queries.nq)
        ranking = read_ranking(request.function_score, rules)
        if ranking.reranker is not None and own is not None:
            raise InvalidParameter("a hybrid search takes a rank strategy or a rerank function, not both")
        return msgspec.structs.replace(ranking, reranker=ranking.reranker or own or Rrf())

    def _rules(self, meta: CollectionMeta, params: dict[str, Any], lists: int, nq: int) -> Rules:
        def condition(text: str) -> Filter | None:
            found = self._reads.condition(meta, text, params)
            if found is not None and found.sample is not None:
                raise InvalidParameter(f"random_sample cannot stand in the filter of a boost: {text}")
            return found

        random = self._topology.env.random
        return Rules(meta.schema, lists, nq, condition, partial(random.getrandbits, 63))

    def _part(
        self, search: rq.Search, keep: int, ranking: Ranking, columns: tuple[str, ...], round_decimal: int = -1,
        wide: bool = False,
    ) -> _Part:  # fmt: skip
        planned = self._reads.planned(msgspec.structs.replace(search, output_fields=()))
        if planned.plan.elements:
            columns = (*columns, OFFSET_FIELD)
        plan = msgspec.structs.replace(planned.plan, columns=columns)
        if ranking.boosts is not None or wide:
            plan = self._widened(plan, keep)
        return _Part(planned, search, plan, keep, round_decimal)

    def _by_rows(self, part: _Part, columns: tuple[str, ...]) -> _Part:
        """A search among elements beside others, which find rows: a row stands where the best of its elements does."""
        meta, search = part.planned.meta, part.search
        if search.grouping is not None:
            raise InvalidParameter(
                f"a hybrid search with an element-level search ({part.planned.field.name}) cannot be grouped: it finds "
                "each row once already"
            )
        grouping = rq.Grouping(fields=(meta.schema.primary.name,))
        planned = self._reads.planned(msgspec.structs.replace(search, output_fields=(), grouping=grouping))
        plan = msgspec.structs.replace(planned.plan, columns=columns, limit=part.plan.limit, params=part.plan.params)
        return msgspec.structs.replace(part, planned=planned, plan=plan)

    def _widened(self, plan: SearchPlan, keep: int) -> SearchPlan:
        """The plan with the candidates of what scores rows before the best are taken."""
        wide = max(keep, min(max(CANDIDATES * keep, FEWEST_CANDIDATES), self._topology.limits.max_topk))
        wider = {key: max(int(plan.params[key]), wide) for key in _WIDTHS if key in plan.params}
        return msgspec.structs.replace(plan, limit=wide, params={**plan.params, **wider})

    # -- the work -------------------------------------------------------------------------------
    def _answer(self, meta: CollectionMeta, request: Request, parts: Sequence[_Part], wanted: _Wanted) -> rs.Hits:
        watch = Stopwatch(self._topology) if parts[0].plan.explain else None
        check_round_decimal(request.round_decimal)
        columns, shown = expand_output_fields(meta.schema, request.output_fields)
        times = self._reads.times_of(meta, columns, request)
        shards = shards_to_read(self._topology, meta, request)
        moment = self._reads.moment(meta, shards, request)
        expiry = self._reads.expiring(parts[0].plan, meta, request.as_of).expiry
        snapshot = _Snapshot(meta, shards, moment, expiry, Asked(shards, moment))
        if watch is not None:
            wanted = msgspec.structs.replace(wanted, note=watch.ranked)
        lists = [RankedList(p.plan.metric, _boosted(self._searched(snapshot, p), p, wanted)) for p in parts]
        won = _won(lists, [part.keep for part in parts], wanted)
        if columns and set(columns) <= set(won.rows.schema.names):
            rows = won.rows.select(columns)
        else:
            rows = self._fetched(snapshot, won.ids, columns, [part.plan for part in parts])
        if needs_types(meta.schema, columns):
            rows = typed_rows(rows, meta.schema)
        scores = won.scores if request.round_decimal < 0 else np.round(won.scores, request.round_decimal)
        place = won.rows.schema.get_field_index(OFFSET_FIELD)
        return rs.Hits(
            element_indices=None if place < 0 else arrow_to_numbers(won.rows.column(place)),
            topks=won.topks,
            keys=won.keys,
            scores=scores,
            rows=rows if times is None else times.show(rows),
            output_fields=shown,
            primary_field=meta.schema.primary.name,
            collection=request.collection,
            session_timestamp=snapshot.ask.timestamp,
            reach=snapshot.ask.reach,
            groups=None if wanted.group is None else shown_groups(won, parts[0].plan),
            explanation=None if watch is None else watch.explanation(
                "search" if isinstance(request, rq.Search) else "hybrid", meta.name, [part.plan for part in parts],
                snapshot.ask.reports, len(shards), text=" ; ".join(p.search.filter for p in parts if p.search.filter),
                statistics=snapshot.ask.statistics,
            ),
        )  # fmt: skip

    def _searched(self, snapshot: _Snapshot, part: _Part) -> SearchPartial:
        """The hits of one part; the group of each, if there are groups, among its columns."""
        plan = msgspec.structs.replace(part.plan, expiry=snapshot.expiry)
        field = part.planned.field
        tuning = part.search.tuning
        if tuning is not None and tuning.recall and not plan.exact:
            plan = self._reads.tuned(plan, part.search, part.planned, snapshot.ask)
        given = self._reads.vectors_of(snapshot.meta, field, part.search, snapshot.shards, snapshot.moment)
        hits = gathered(plan, comparable_queries(field, given), snapshot.ask, self._reads.counts.times)
        if part.round_decimal >= 0:
            hits = msgspec.structs.replace(hits, scores=np.round(hits.scores, part.round_decimal))
        if plan.grouping is None:
            return hits
        if part.search.grouping is None:  # the groups are the rows
            return msgspec.structs.replace(hits, groups=None)
        return _with_groups(hits, plan.grouping)

    def _fetched(
        self, snapshot: _Snapshot, ids: pa.Array, columns: tuple[str, ...], plans: Sequence[SearchPlan]
    ) -> pa.RecordBatch:
        """Columns of the rows that have these keys, in their order."""
        meta = snapshot.meta
        if not columns or not len(ids):
            return empty_rows(meta.schema, columns) if columns else rows_only(len(ids))
        primary = meta.schema.primary.name
        text, keys = keys_filter(meta.schema, pc.unique(ids))
        plan = QueryPlan(
            collection_id=meta.collection_id,
            schema=meta.schema,
            filter=compile_filter(text, meta.schema, keys, limits=self._topology.limits),
            partitions=_union([plan.partitions for plan in plans]),
            limit=None,
            columns=(primary, *(name for name in columns if name != primary)),
            expiry=snapshot.expiry,
            whole=True,
        )
        partials: list[QueryPartial] = []
        for _, answers in query_all(snapshot.shards, plan, snapshot.moment or snapshot.ask.timestamp):
            partials += answers
        rows = merge_rows(partials, plan).rows if partials else None
        places = None if rows is None else pc.index_in(ids, rows.column(0))
        if rows is None or places is None or places.null_count:
            raise StorageError("rows of a search are not there any more: inconsistent requery result", 2200)
        return rows.select(columns).take(places)


def _explaining(tuning: Tuning | None, explain: Explain) -> Tuning | None:
    """Of a part of a request that explains, or does not."""
    if not explain:
        return tuning
    return msgspec.structs.replace(tuning or Tuning(), explain=explain)


# -- groups -------------------------------------------------------------------------------------
def _with_groups(hits: SearchPartial, grouping: GroupPlan) -> SearchPartial:
    """The hits with the group of each in columns of their rows."""
    names = [*hits.rows.schema.names, *(f"{_GROUP}{at}" for at in range(len(grouping.sources)))]
    groups = [pa.nulls(0) for _ in grouping.sources] if hits.groups is None else hits.groups.columns
    rows = pa.RecordBatch.from_arrays([*hits.rows.columns, *groups], names)
    return msgspec.structs.replace(hits, rows=rows, groups=None)


def _best(pool: Pool, scored: Scored, limit: int, offset: int, group: GroupRule | None) -> SearchPartial:
    """The best rows of each query, or the best rows of its best groups."""
    if group is None:
        return fusion.answer(pool, scored, limit, offset)
    names = [name for name in pool.rows.schema.names if name.startswith(_GROUP)]
    groups = pool.rows.select(names)
    codes = codes_of(groups.columns) if len(pool) else np.empty(0, np.int64)
    places, topks = best_groups(pool, scored, codes, group, limit, offset)
    wanted = numbers_to_arrow(places)
    rows = fusion.taken(pool.rows, places)
    shown = groups.take(wanted) if len(places) else None
    return SearchPartial(topks, pool.ids.take(wanted), scored.scores[places], rows, shown)


def _won(lists: Sequence[RankedList], keep: Sequence[int], wanted: _Wanted) -> SearchPartial:
    """The rows that make the answer; `keep` says how many rows of each list go on after its early chains."""
    stages = wanted.stages
    if stages.early:
        lists = [_early(found, most, wanted) for found, most in zip(lists, keep, strict=True)]
    if stages.merge is None and not stages.late and not stages.post:
        pool = fusion.pool(lists)
        scored = _scored(pool, wanted.ranking.reranker, wanted.ask)
        won = _best(pool, scored, wanted.limit, wanted.offset, wanted.group)
        if wanted.ranking.reranker is not None:
            wanted.tell(ranker_words(wanted.ranking.reranker), _count(lists), len(won.scores))
        return won
    hits, larger = _one_list(lists, wanted)
    hits = _cut(_chained("L2_RERANK", stages.late, hits, larger, wanted), wanted.limit, wanted.offset)
    return _chained("POST_PROCESS", stages.post, hits, larger, wanted)


def _count(lists: Sequence[RankedList]) -> int:
    return sum(len(found.hits.scores) for found in lists)


def _chained(stage: str, chains: Sequence[Chain], hits: SearchPartial, larger: bool, wanted: _Wanted) -> SearchPartial:
    left = run_chains(chains, hits, larger, wanted.ask)
    if chains:
        wanted.tell(chain_words(stage, chains), len(hits.scores), len(left.scores))
    return left


def _early(found: RankedList, keep: int, wanted: _Wanted) -> RankedList:
    """The hits that early chains leave of one search, the first of them."""
    larger = found.metric.larger_is_closer
    left = _chained("L0_RERANK and L1_RERANK", wanted.stages.early, found.hits, larger, wanted)
    return RankedList(found.metric, _cut(left, keep, 0))


def _one_list(lists: Sequence[RankedList], wanted: _Wanted) -> tuple[SearchPartial, bool]:
    """What late chains begin with, and whether its larger scores are the better ones."""
    merge = wanted.stages.merge
    if merge is None and len(lists) == 1 and wanted.ranking.reranker is None:
        return lists[0].hits, lists[0].metric.larger_is_closer
    pool = fusion.pool(lists)
    if merge is not None:
        scored, how = _merged(pool, merge), merge_words(merge)
    else:
        scored = _scored(pool, wanted.ranking.reranker, wanted.ask)
        how = "" if wanted.ranking.reranker is None else ranker_words(wanted.ranking.reranker)
    if how:
        wanted.tell(how, _count(lists), len(pool))
    return fusion.answer(pool, scored, len(pool)), scored.larger_is_closer


def _merged(pool: Pool, merge: MergeStep) -> Scored:
    if isinstance(merge.ranker, fusion.Rrf | fusion.Weighted):
        return fusion.fuse(pool, merge.ranker)
    values = fusion.comparable(pool, normalized=merge.norm_score)
    return Scored(fusion.combined(pool, values, merge.ranker).astype(np.float32))


def _cut(hits: SearchPartial, limit: int, offset: int) -> SearchPartial:
    queries = np.repeat(np.arange(len(hits.topks)), hits.topks)
    kept, topks = fusion.cut(queries, len(hits.topks), limit, offset)
    ids = hits.ids.take(numbers_to_arrow(kept))
    return SearchPartial(topks, ids, hits.scores[kept], fusion.taken(hits.rows, kept))


# -- scores -------------------------------------------------------------------------------------
def _boosted(hits: SearchPartial, part: _Part, wanted: _Wanted) -> SearchPartial:
    """The best rows after boosts."""
    boosts = wanted.ranking.boosts
    if boosts is None:
        return hits
    with np.errstate(over="ignore"):
        scores = boosted(hits.scores, hits.rows, boosts, part.plan.schema).astype(np.float32)
    pool = fusion.pool([RankedList(part.plan.metric, msgspec.structs.replace(hits, scores=scores))])
    group = None if part.search.grouping is None else GroupRule(max(1, part.search.grouping.size))
    best = _best(pool, _scored(pool, None, None), part.keep, 0, group)
    wanted.tell(boosts_words(boosts, part.plan.field), len(hits.scores), len(best.scores))
    return best


def _scored(pool: Pool, reranker: Reranker | None, ask: Ask | None) -> Scored:
    """The rows of all lists, by the reranker; None: by the scores of the only list."""
    if reranker is None:
        (metric,) = pool.metrics
        return Scored(fusion.combined(pool, pool.scores, "max").astype(np.float32), metric.larger_is_closer)
    if isinstance(reranker, Decay):
        return decayed(pool, reranker)
    if isinstance(reranker, ModelRerank):
        assert ask is not None, "boosts ask no model"
        return _modelled(pool, reranker, ask)
    return fusion.fuse(pool, reranker)


def _modelled(pool: Pool, model: ModelRerank, ask: Ask) -> Scored:
    scores = model_column(model, pool.rows.column(model.field), pool.queries, ask)
    return Scored(scores.astype(np.float32))


def _union(partitions: Sequence[frozenset[int] | None]) -> frozenset[int] | None:
    """The partitions that any of some searches reads; None: all."""
    named = [p for p in partitions if p is not None]
    return frozenset[int]().union(*named) if len(named) == len(partitions) else None
