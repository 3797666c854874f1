"""`measure_recall` and `advise_index`: what searches of a collection miss, and what other indexes would cost."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import msgspec
import numpy as np

from redkite.errors import InvalidParameter, MilvusException
from redkite.index.base import Queries, VectorColumn, VectorIndex
from redkite.index.registry import build, needs_build, open_index
from redkite.model import requests as rq
from redkite.model.advice import AdviseIndex, IndexAdvice, IndexAdvices, MeasureRecall, RecallReport
from redkite.model.batch import numbers_to_arrow
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexSpec
from redkite.model.structs import elements_of
from redkite.model.types import DataType, Metric
from redkite.node.topology import Topology
from redkite.proxy.explaining import recalls_of
from redkite.proxy.kinds import Asked
from redkite.proxy.plans import Planned
from redkite.proxy.reads import Reads
from redkite.proxy.rules.index_params import Value
from redkite.proxy.rules.index_rules import check_index
from redkite.proxy.rules.query_vectors import is_element
from redkite.proxy.rules.search_rules import check_search_params
from redkite.proxy.tuner import EFFORT, MOST_EFFORT
from redkite.query.plan import QueryPlan
from redkite.segment.vectors import stored_vectors

MAX_QUERIES = 1_000
MAX_SAMPLE = 200_000
LEAST_SAMPLE = 1_000
ASKED = 64
"""Queries that each index is asked."""
CONFIDENCE = 1.96
"""Standard deviations: 95 %."""
_DENSE: tuple[tuple[str, dict[str, str]], ...] = (
    ("FLAT", {}),
    ("HNSW", {"M": "16", "efConstruction": "200"}),
    ("HNSW_SQ", {"M": "16", "efConstruction": "200", "sq_type": "SQ8", "refine": "true", "refine_type": "FP16"}),
    ("IVF_FLAT", {}),
    ("IVF_SQ8", {}),
    ("IVF_RABITQ", {"refine": "true", "refine_type": "SQ8"}),
    ("SCANN", {}),
    ("DISKANN", {}),
)
_BINARY: tuple[tuple[str, dict[str, str]], ...] = (("BIN_FLAT", {}), ("BIN_IVF_FLAT", {}), ("HNSW", {}))
_SPARSE: tuple[tuple[str, dict[str, str]], ...] = (("SPARSE_INVERTED_INDEX", {}),)
_KINDS = {DataType.BINARY_VECTOR: _BINARY, DataType.SPARSE_FLOAT_VECTOR: _SPARSE}


class Advisor:
    """Answers in the caller's thread; a call takes from a fraction of a second to minutes."""

    def __init__(self, topology: Topology, reads: Reads) -> None:
        self._topology = topology
        self._reads = reads
        self._clock = topology.env.clock.monotonic

    def measure_recall(self, request: MeasureRecall) -> RecallReport:
        if not 1 <= request.queries <= MAX_QUERIES:
            raise InvalidParameter(f"queries [{request.queries}] is invalid, should be in range [1, {MAX_QUERIES}]")
        search = rq.Search(
            database=request.database, collection=request.collection, anns_field=request.anns_field,
            limit=request.limit, params=request.params, queries=_NO_QUERIES,
        )  # fmt: skip
        planned = self._reads.planned(search)
        plan = self._reads.expiring(planned.plan, planned.meta, 0)
        shards = self._topology.shards(planned.meta)
        asked = Asked(shards, self._reads.moment(planned.meta, shards, search))
        queries = self._reads.live.sample((plan.collection_id, plan.field), request.queries)
        source = "live" if queries else "stored"
        if not queries:
            rows = sum(shard.row_slots for shard in shards)
            made = self._reads.between(planned, asked, request.queries, rows)
            queries = [] if made is None else [made[np.array([at])] for at in range(len(made))]
        exact = msgspec.structs.replace(plan, exact=True, params={})
        recalls: list[float] = []
        for query in queries:
            found, true = (self._reads.hits(search, planned, one, asked, query) for one in (plan, exact))
            recalls += recalls_of(found, true, larger=plan.metric.larger_is_closer)
        recall = sum(recalls) / len(recalls) if recalls else 1.0
        low, high = wilson(recall * len(recalls) * request.limit, len(recalls) * request.limit)
        return RecallReport(
            recall=recall, low=low, high=high, queries=len(recalls), source=source, params=plan.params,
        )  # fmt: skip

    def advise(self, request: AdviseIndex) -> IndexAdvices:
        if not LEAST_SAMPLE <= request.sample <= MAX_SAMPLE:
            raise InvalidParameter(
                f"sample [{request.sample}] is invalid, should be in range [{LEAST_SAMPLE}, {MAX_SAMPLE}]"
            )
        if not 0 < request.recall <= 1:
            raise InvalidParameter(f"recall [{request.recall}] is invalid, should be more than 0 and at most 1")
        search = rq.Search(
            database=request.database, collection=request.collection, anns_field=request.anns_field,
            limit=request.limit, queries=_NO_QUERIES,
        )  # fmt: skip
        planned = self._reads.planned(search)
        field, metric = planned.field, planned.plan.metric
        if planned.plan.scoring is not None:
            raise InvalidParameter(
                f"advise_index has nothing to choose for field {field.name}: words have SPARSE_INVERTED_INDEX, "
                "whose algorithms all find the same rows"
            )
        column, queries = self._sample(planned, search, request.sample)
        trial = _Trial(column, queries, metric, min(request.limit, len(column)), request.recall, self._clock)
        advices = []
        compared = field.element_type if field.data_type is DataType._ARRAY_OF_VECTOR else field.data_type
        for name, params in _KINDS.get(compared, _DENSE):
            try:
                advices.append(trial.of(_spec(field, name, params, metric, len(column))))
            except MilvusException:
                continue  # it does not fit this field or metric
        return IndexAdvices(
            rows=len(column),
            queries=len(queries),
            metric=str(metric),
            advices=tuple(sorted(advices, key=lambda a: (not a.reaches, -a.searches_per_second))),
        )

    def _sample(self, planned: Planned, search: rq.Search, count: int) -> tuple[VectorColumn, Queries]:
        """Vectors of some rows, drawn at random, and queries to ask of them."""
        meta, field = planned.meta, planned.field
        shards = self._topology.shards(meta)
        asked = Asked(shards, self._reads.moment(meta, shards, search))
        rows = sum(shard.row_slots for shard in shards)
        share = min(0.999999, 1.1 * count / max(rows, 1))
        plan = QueryPlan(
            collection_id=meta.collection_id, schema=meta.schema, partitions=planned.plan.partitions, limit=count,
            filter=self._reads.condition(meta, f"random_sample({share:.12f})", {}), columns=(field.name,),
        )  # fmt: skip
        stored = asked.query(plan).column(0).drop_null()
        stored = elements_of(stored) if is_element(field) else stored
        column = stored_vectors(field, stored).column
        queries = self._reads.between(planned, asked, ASKED, rows)
        if queries is None or len(column) < 2:
            raise InvalidParameter(f"collection {meta.name} has no rows to try indexes on")
        return column, queries


_NO_QUERIES = rq.Queries(data_type=DataType.NONE, ids=numbers_to_arrow(np.zeros(1, np.int64)))


def _spec(field: FieldSchema, name: str, params: dict[str, str], metric: Metric, rows: int) -> IndexSpec:
    lists = {"nlist": str(max(1, int(2 * sqrt(rows))))} if name.startswith(("IVF", "BIN_IVF", "SCANN")) else {}
    return check_index(field, {"index_type": name, "metric_type": str(metric), **lists, **params})


class _Trial:
    """Builds and asks one index after another, over the same rows and with the same queries."""

    def __init__(
        self, column: VectorColumn, queries: Queries, metric: Metric, limit: int, recall: float,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._column = column
        self._queries = queries
        self._metric = metric
        self._limit = limit
        self._wanted = recall
        self._clock = clock
        self._true, _ = column.search(queries, limit, metric, None)

    def of(self, spec: IndexSpec) -> IndexAdvice:
        shown = dict(spec.build)
        if not needs_build(spec):
            _, speed = self._asked(lambda query: self._column.search(query, self._limit, self._metric, None))
            return IndexAdvice(
                index_type=spec.index_type, params=shown, search_params={}, recall=1.0, searches_per_second=speed,
                bytes_per_row=0.0, build_seconds=0.0, reaches=True,
            )  # fmt: skip
        began = self._clock()
        data = build(spec, self._column, lambda: True, 1)
        took = self._clock() - began
        index = open_index(spec, None, data, self._column)
        params, recall, speed = self._least(spec, index)
        return IndexAdvice(
            index_type=spec.index_type, params=shown, search_params=params, recall=recall, searches_per_second=speed,
            bytes_per_row=len(data) / len(self._column), build_seconds=took, reaches=recall >= self._wanted,
        )  # fmt: skip

    def _least(self, spec: IndexSpec, index: VectorIndex) -> tuple[dict[str, Value], float, float]:
        """The search parameters of least effort that find enough, what they find, and how fast."""
        effort = EFFORT.get(spec.index_type)
        most = min(int(spec.build.get("nlist", MOST_EFFORT)), max(len(self._column), self._limit))
        at = 1 if effort == "nprobe" else max(self._limit, 8)
        while True:
            given: dict[str, Any] = {} if effort is None else {effort: min(at, max(most, self._limit))}
            params = check_search_params(spec, given, self._limit)
            recall, speed = self._asked(lambda query: self._indexed(index, query, params))  # noqa: B023  called now
            if effort is None or recall >= self._wanted or at >= most:
                return params, recall, speed
            at *= 2

    def _indexed(self, index: VectorIndex, query: Queries, params: dict[str, Value]) -> tuple[Any, Any]:
        _, found = index.search(query, self._limit, params, None)
        return self._column.ranked(query, found, self._limit, self._metric)

    def _asked(self, search: Callable[[Queries], tuple[Any, Any]]) -> tuple[float, float]:
        """(the part of the true neighbours found, searches a second), asked one by one."""
        began = self._clock()
        answers = [search(self._queries[np.array([at])]) for at in range(len(self._queries))]
        took = max(self._clock() - began, 1e-9)
        sign = -1 if self._metric.larger_is_closer else 1
        right = sum(
            int(np.count_nonzero((sign * scores[0] <= sign * true[-1]) & (rows[0] >= 0)))
            for (scores, rows), true in zip(answers, self._true, strict=True)
        )
        return min(1.0, right / self._true.size), len(answers) / took


def wilson(hits: float, trials: int) -> tuple[float, float]:
    """Between which shares the true one lies when `hits` of `trials` are seen (Wilson, 1927)."""
    if not trials:
        return 0.0, 1.0
    share, square = hits / trials, CONFIDENCE**2
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = CONFIDENCE * sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / (1 + square / trials)
    return max(0.0, centre - half), min(1.0, centre + half)
