"""`recall=0.95` instead of `ef` or `nprobe`: the effort that finds that much, measured on the collection at hand.

Queries that were really asked are the sample where there are enough of them; else points between stored vectors. Each
is answered exactly, and the effort doubled until the index finds the wanted part of the answers, with the filter and in
the partitions of the search. What was measured is kept until the collection has grown by half or has another index.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from threading import Lock

import msgspec
import numpy as np

from redkite.index.base import Queries
from redkite.index.effort import MEASURED
from redkite.model import results as rs
from redkite.model.segments import IndexMeta
from redkite.proxy.explaining import recalls_of
from redkite.proxy.rules.index_params import Value
from redkite.query.plan import SearchPlan

EFFORT = {
    **dict.fromkeys(("HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "AUTOINDEX"), "ef"),
    **dict.fromkeys(("IVF_FLAT", "IVF_SQ8", "IVF_PQ", "IVF_RABITQ", "BIN_IVF_FLAT", "SCANN"), "nprobe"),
    "DISKANN": "search_list",
    "ANNOY": "ef",
}
"""The parameter, as resolved, that a search by each index type is widened by."""
EFFORTS = frozenset({"ef", "nprobe", "search_list", "search_list_size", "search_k", "level"})
"""What users call them."""
MOST_EFFORT = 4096
SAMPLE = 48
"""Queries that recall is measured on."""
LIVE = 256
"""Queries of one field that are remembered."""
REMEMBERED_FIELDS = 256
GROWN = 1.5
KNOWN = 1024
_FIRST = np.zeros(1, np.int64)

Search = Callable[[SearchPlan, Queries], rs.Hits]
Field = tuple[int, str]
"""(collection id, vector field)"""


class _Known(msgspec.Struct, frozen=True):
    index_id: int
    rows: int
    params: dict[str, Value] | None
    """None: only comparing every row finds that much."""


class LiveQueries:
    """The last queries of each vector field. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: OrderedDict[Field, deque[Queries]] = OrderedDict()

    def saw(self, field: Field, queries: Queries) -> None:
        known = self._seen.get(field)
        if known is None:
            with self._lock:
                known = self._seen.setdefault(field, deque(maxlen=LIVE))
                if len(self._seen) > REMEMBERED_FIELDS:
                    self._seen.popitem(last=False)
        # One of many is copied: a view would keep the others in memory.
        known.append(queries if len(queries) == 1 else queries[_FIRST])

    def sample(self, field: Field, count: int) -> list[Queries]:
        """The last `count` of them; fewer when there were not so many."""
        return list(self._seen.get(field, ()))[-count:]


class Tuner:
    """Safe from any thread; two that ask for the same at once may both measure it."""

    def __init__(self, live: LiveQueries) -> None:
        self._live = live
        self._known: dict[tuple[Field, int, float, frozenset[int] | None, str], _Known] = {}
        """By what is searched, for how many, how well, where, and the filter's text: templates of other values are the
        same filter."""

    def params(
        self,
        plan: SearchPlan,
        index: IndexMeta,
        recall: float,
        rows: int,
        search: Search,
        stored: Callable[[int], Queries | None],
    ) -> dict[str, Value] | None:
        """Index parameters with which a search by `plan` finds `recall` of the neighbours; None when only comparing
        every row does. `rows` are indexed; `search` answers a plan; `stored` gives so many queries made of stored
        vectors."""
        effort = EFFORT.get(index.spec.kind or index.spec.index_type)
        if effort is None or not rows:
            return plan.params  # nothing is missed
        field = (plan.collection_id, plan.field)
        key = (field, plan.limit, recall, plan.partitions, "" if plan.filter is None else plan.filter.text)
        known = self._known.get(key)
        if known is not None and known.index_id == index.index_id and known.rows <= rows <= known.rows * GROWN:
            return known.params
        queries = self._queries(field, stored)
        if queries is None:
            return plan.params
        params = _least(plan, effort, index, recall, queries, search)
        if len(self._known) >= KNOWN:
            self._known = {}
        self._known[key] = _Known(index.index_id, rows, params)
        return params

    def _queries(self, field: Field, stored: Callable[[int], Queries | None]) -> Queries | None:
        live = self._live.sample(field, SAMPLE)
        if len(live) == SAMPLE and isinstance(live[0], np.ndarray):
            return np.ascontiguousarray(np.concatenate(live))
        return stored(SAMPLE)


def _least(
    plan: SearchPlan, effort: str, index: IndexMeta, recall: float, queries: Queries, search: Search
) -> dict[str, Value] | None:
    bare = msgspec.structs.replace(plan, columns=(), explain="")
    exact = search(msgspec.structs.replace(bare, exact=True, params={}), queries)
    most = int(index.spec.build.get("nlist", MOST_EFFORT))
    at = 1 if effort == "nprobe" else max(plan.limit, 8)
    while True:
        params = {**_named(plan.params), effort: min(at, max(most, plan.limit))}
        found = search(msgspec.structs.replace(bare, params=params), queries)
        told = recalls_of(found, exact, larger=plan.metric.larger_is_closer)
        if sum(told) / len(told) >= recall:
            return params
        if at >= most:
            return None
        at *= 2


def _named(params: dict[str, Value]) -> dict[str, Value]:
    """Without what lets an index raise its effort."""
    return {key: value for key, value in params.items() if key != MEASURED}
