"""Evaluation: the searches of many queries, and what they should have found."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from redkite.client import arguments
from redkite.client.evaluation import (
    MEASURES,
    Evaluation,
    Gain,
    Judgements,
    Ranking,
    measured,
    read_judgements,
)
from redkite.client.operations.hybrid import HybridOptions, hybrid_search
from redkite.client.operations.kinds import SearchOptions, split_options
from redkite.client.operations.reads import search
from redkite.client.ranking import AnnSearchRequest
from redkite.client.results import SearchResult
from redkite.client.session import Operation, Session
from redkite.errors import ParamError

Searching = Mapping[str, Any] | Callable[[Any], Any] | None
"""Arguments of `search`, arguments of `hybrid_search` (with `reqs`), or a function from queries to hits."""
MAX_BATCH = 1024
OPTIONS = ("search", "k", "id_field", "gain", "batch_size", "timeout")
"""What `evaluate` takes by name."""
_PLAIN = (
    "filter", "search_params", "partition_names", "anns_field", "offset", "round_decimal", "filter_params",
    "consistency_level", "ignore_growing", "guarantee_timestamp", "as_of", "timezone", "time_fields",
)  # fmt: skip
"""What `search` takes beside what an evaluation sets itself."""
_HYBRID = ("reqs", "ranker", "partition_names")


class Task(NamedTuple):
    """What is to be evaluated, checked."""

    queries: Any
    """Those that are judged, in order: a list or a matrix."""
    names: tuple[Hashable, ...]
    unjudged: int
    places: list[int]
    """Of the judged among all queries."""
    judgements: Judgements
    k: tuple[int, ...]
    id_field: str
    gain: Gain
    batch: int

    @property
    def limit(self) -> int:
        return self.k[-1]

    def batches(self) -> Iterator[tuple[int, Any]]:
        """(the place of the first, the queries)"""
        return ((at, self.queries[at : at + self.batch]) for at in range(0, len(self.names), self.batch))


def task_of(queries: Any, qrels: Any, k: int | Sequence[int], id_field: str | None, gain: str, batch_size: int) -> Task:
    """Raises ParamError for what does not fit together."""
    named = isinstance(queries, Mapping)
    names: list[Hashable] | None = list(queries) if named else None
    held: Any = list(queries.values()) if named else queries
    if isinstance(held, str | bytes) or not hasattr(held, "__len__") or not hasattr(held, "__getitem__"):
        raise ParamError("queries must be a list, a matrix or a dict {name: query}")
    count = len(held)
    judgements = read_judgements(qrels, names, count)
    judged = np.unique(judgements.queries).tolist()
    if not judged:
        raise ParamError("qrels name no relevant document for any of the queries")
    if gain not in ("linear", "exponential"):
        raise ParamError(f"gain must be 'linear' or 'exponential', got {gain!r}")
    batch = arguments.integer("batch_size", batch_size)
    if not 1 <= batch <= MAX_BATCH:
        raise ParamError(f"batch_size must be from 1 to {MAX_BATCH}, got {batch}")
    chosen = held[judged] if isinstance(held, np.ndarray) else [held[place] for place in judged]
    return Task(
        queries=chosen,
        names=tuple(judged if names is None else (names[place] for place in judged)),
        unjudged=count - len(judged),
        places=judged,
        judgements=judgements,
        k=_depths(k),
        id_field=arguments.optional_name("id_field", id_field),
        gain="linear" if gain == "linear" else "exponential",
        batch=batch,
    )


def _depths(k: int | Sequence[int]) -> tuple[int, ...]:
    given: list[Any] = [k] if isinstance(k, int) else list(k)
    if not given or not all(isinstance(one, int) and not isinstance(one, bool) and one >= 1 for one in given):
        raise ParamError(f"k must be a number from 1, or several, got {k!r}")
    return tuple(sorted(set(given)))


def evaluate(session: Session, collection_name: str, task: Task, searching: Mapping[str, Any]) -> Operation[Ranking]:
    """The hits of all judged queries, searched as the arguments say."""
    results: list[SearchResult] = []
    make = _hybrid(searching) if "reqs" in searching else _plain(searching)
    for at, some in task.batches():
        result = yield from make(session, collection_name, task, at, some)
        results.append(result)
    return ranking_of(results, task)


_Make = Callable[[Session, str, Task, int, Any], Operation[SearchResult]]


def _plain(searching: Mapping[str, Any]) -> _Make:
    known, rest = split_options(searching, SearchOptions)
    _refuse("search", rest, _PLAIN)
    given: dict[str, Any] = {name: rest.get(name) for name in _PLAIN}

    def make(session: Session, collection: str, task: Task, _at: int, some: Any) -> Operation[SearchResult]:
        return search(session, collection, some, limit=task.limit, output_fields=_output(task), options=known, **given)

    return make


def _hybrid(searching: Mapping[str, Any]) -> _Make:
    known, rest = split_options(searching, HybridOptions)
    _refuse("hybrid_search", rest, _HYBRID)
    reqs: Any = rest["reqs"]
    if not isinstance(reqs, list | tuple) or not all(isinstance(one, AnnSearchRequest) for one in reqs):
        raise ParamError("reqs of a hybrid search must be a list of AnnSearchRequest")

    def make(session: Session, collection: str, task: Task, at: int, some: Any) -> Operation[SearchResult]:
        partitions: Any = rest.get("partition_names")
        ranker: Any = rest.get("ranker")
        parts = [_part(one, task, at, len(some)) for one in reqs]
        return hybrid_search(session, collection, parts, ranker, task.limit, _output(task), partitions, known)

    return make


def _part(given: AnnSearchRequest, task: Task, at: int, count: int) -> AnnSearchRequest:
    """One search of a hybrid one, with its data for these queries. Data of None stands for the queries themselves."""
    part = copy(given)
    part.limit = max(given.limit, task.limit)
    if given.data is None:
        part.data = task.queries[at : at + count]
        return part
    wanted = len(task.names) + task.unjudged
    if len(given.data) != wanted:
        raise ParamError(f"the request for {given.anns_field} brings {len(given.data)} queries, not {wanted}")
    places = task.places[at : at + count]
    part.data = given.data[places] if isinstance(given.data, np.ndarray) else [given.data[place] for place in places]
    return part


def _refuse(method: str, given: Mapping[str, object], known: Sequence[str]) -> None:
    for name in given:
        if name not in known:
            raise ParamError(f"an evaluation cannot pass `{name}` to {method}()")


def _output(task: Task) -> list[str] | None:
    return [task.id_field] if task.id_field else None


# -- from hits to measures ------------------------------------------------------------------------
def ranking_of(results: Sequence[Any], task: Task) -> Ranking:
    """The hits of all batches: each a `SearchResult`, or for each query a list of ids or of hits. Raises ParamError
    for anything else."""
    pieces = [_piece(result, task) for result in results]
    topks = np.concatenate([piece.topks for piece in pieces])
    if len(topks) != len(task.names):
        raise ParamError(f"{len(task.names)} queries were searched, but there are {len(topks)} lists of hits")
    kept = [piece.ids for piece in pieces if len(piece.ids)]
    try:
        ids = pa.chunked_array(kept).combine_chunks() if kept else pa.array([], pa.int64())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise ParamError("hits must all be named by integers, or all by strings") from None
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.chunk(0) if ids.num_chunks else pa.array([], ids.type)
    ranking = Ranking(topks, ids)
    return ranking.distinct() if task.id_field or not _from_redkite(results) else ranking


def _from_redkite(results: Sequence[Any]) -> bool:
    return all(isinstance(result, SearchResult) for result in results)


def _piece(result: Any, task: Task) -> Ranking:
    if isinstance(result, SearchResult):
        columns = result.to_arrow()
        name = task.id_field or columns.column_names[1]
        if name not in columns.column_names:
            raise ParamError(f"id_field {name} is not among the output fields of the hits")
        ids = columns.column(name).combine_chunks()
        queries = columns.column("query").to_numpy()
        topks = np.bincount(queries, minlength=len(result)).astype(np.int64)
        return Ranking(topks, ids.chunk(0) if isinstance(ids, pa.ChunkedArray) else ids)
    if isinstance(result, str | bytes | Mapping) or not hasattr(result, "__iter__"):
        raise ParamError("a function that is evaluated must give, for each query, a list of ids or of hits")
    lists = [list(hits) for hits in result]
    named = [_id(hit, task.id_field) for hit in chain.from_iterable(lists)]
    try:
        ids = pa.array(named) if named else pa.array([], pa.int64())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise ParamError("a function that is evaluated must give, for each query, a list of ids or of hits") from None
    return Ranking(np.array([len(hits) for hits in lists], np.int64), ids)


def _id(hit: Any, field: str) -> Any:
    """An id, or that of a hit as Redkite or Milvus's SDK gives it."""
    if not isinstance(hit, Mapping):
        return hit
    if field:
        entity = hit.get("entity", {})
        return entity[field] if field in entity else hit.get(field)
    return hit["id"] if "id" in hit else next(iter(hit.values()))


def evaluation(collection_name: str, task: Task, ranking: Ranking, seconds: float) -> Evaluation:
    """What the hits are worth."""
    places = np.array(task.places, np.int64)
    spread = np.zeros(len(task.names) + task.unjudged, np.int64)
    spread[places] = ranking.topks
    by_query = {
        name: values[places]
        for name, values in measured(Ranking(spread, ranking.ids), task.judgements, task.k, task.gain).items()
    }
    means = {name: tuple(by_query[name].mean(axis=0).tolist()) for name in MEASURES}
    return Evaluation(
        collection=collection_name,
        queries=len(task.names),
        unjudged=task.unjudged,
        k=task.k,
        seconds=seconds,
        names=task.names,
        by_query=by_query,
        **means,
    )
