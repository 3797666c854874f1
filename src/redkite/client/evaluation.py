"""How well searches find what they should: recall, precision, reciprocal rank and nDCG over judged queries."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import ParamError
from redkite.model.batch import arrow_to_numbers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Gain = Literal["linear", "exponential"]
MEASURES = ("recall", "precision", "mrr", "ndcg")
_TITLES = ("recall", "precision", "MRR", "nDCG")
MAX_GRADE = 1000


class Measures(NamedTuple):
    """At one depth, over all judged queries."""

    recall: float
    """The part of a query's relevant documents that is among the first k."""
    precision: float
    """The part of the first k that is relevant; places that no hit takes count as not."""
    mrr: float
    """1 / the rank of the first relevant document among the first k; 0 when there is none."""
    ndcg: float
    """The discounted gain of the first k, as a part of the best there could be."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` found. `print` shows a table; the tuples hold a value for each of `k`."""

    collection: str
    queries: int
    """Those that were judged: with at least one relevant document."""
    unjudged: int
    """Those without, which say nothing and were left out."""
    k: tuple[int, ...]
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    mrr: tuple[float, ...]
    ndcg: tuple[float, ...]
    seconds: float
    """That the searches took, one batch after another."""
    names: tuple[Hashable, ...] = field(repr=False, default=())
    """Of the judged queries."""
    by_query: Mapping[str, Floats] = field(repr=False, compare=False, default_factory=dict)
    """Each measure of each query: (queries, k)."""

    def at(self, k: int) -> Measures:
        """The measures at one of the depths. Raises ParamError for others."""
        place = self._place(k)
        return Measures(self.recall[place], self.precision[place], self.mrr[place], self.ndcg[place])

    def worst(self, count: int = 10, measure: str = "ndcg", k: int | None = None) -> list[tuple[Hashable, float]]:
        """The queries with the least of a measure (at the largest depth unless `k` says), and it."""
        if measure not in self.by_query:
            raise ParamError(f"measure must be one of {', '.join(MEASURES)}, got {measure!r}")
        values = self.by_query[measure][:, self._place(self.k[-1] if k is None else k)]
        places = np.argsort(values, kind="stable")[:count].tolist()
        return [(self.names[place], float(values[place])) for place in places]

    def to_arrow(self) -> pa.Table:
        """A row for each query: its name and its measures, as `recall@10`."""
        columns: dict[str, Any] = {"query": pa.array(list(self.names))}
        for name, values in self.by_query.items():
            for place, k in enumerate(self.k):
                columns[f"{name}@{k}"] = pa.array(np.ascontiguousarray(values[:, place]))
        return pa.table(columns)

    def _place(self, k: int) -> int:
        if k not in self.k:
            raise ParamError(f"this was evaluated at {', '.join(map(str, self.k))}, not at {k}")
        return self.k.index(k)

    def __str__(self) -> str:
        left_out = f", {self.unjudged} unjudged" if self.unjudged else ""
        speed = f", {1000 * self.seconds / self.queries:.2f} ms a query" if self.queries else ""
        lines = [f"{self.collection}: {self.queries} queries{left_out}{speed}", _row("k", *_TITLES)]
        lines += [_row(str(k), *(f"{value:.4f}" for value in self.at(k))) for k in self.k]
        return "\n".join(lines)


def side_by_side(evaluations: Mapping[str, Evaluation], k: int | None = None) -> str:
    """A table with one line for each of several evaluations, at one depth (the largest unless `k` says)."""
    width = max(map(len, evaluations), default=0)
    depth = k if k is not None else max((one.k[-1] for one in evaluations.values()), default=0)
    lines = [" " * width + _row(f"k = {depth}", *_TITLES, "ms/query")]
    for name, one in evaluations.items():
        values = [f"{value:.4f}" for value in one.at(depth)]
        lines.append(f"{name:<{width}}" + _row("", *values, f"{1000 * one.seconds / max(one.queries, 1):.2f}"))
    return "\n".join(lines)


def _row(first: str, *rest: str) -> str:
    return f"{first:>7}" + "".join(f"{cell:>11}" for cell in rest)


# -- judgements -----------------------------------------------------------------------------------
class Judgements:
    """Which documents are relevant to which query, as columns: one entry for each pair of query and document."""

    def __init__(self, queries: Ints, documents: pa.Array, grades: Floats) -> None:
        """Entries of one query and one document become the one of the largest grade; those of grade 0 are none."""
        kept = grades > 0
        queries, grades = queries[kept], grades[kept]
        documents = documents.filter(pa.array(kept))
        if pa.types.is_integer(documents.type):
            documents = documents.cast(pa.int64())  # as keys are
        coded = documents.dictionary_encode()
        self.documents: pa.Array = coded.dictionary
        codes = arrow_to_numbers(coded.indices).astype(np.int64)
        keys = queries * max(len(self.documents), 1) + codes
        order = np.lexsort((grades, keys))
        keys, grades = keys[order], grades[order]
        last = np.append(keys[1:] != keys[:-1], True) if len(keys) else np.empty(0, np.bool_)
        self._keys: Ints = keys[last]
        self._grades: Floats = grades[last]

    @property
    def queries(self) -> Ints:
        """The query of each entry, ascending."""
        queries: Ints = self._keys // max(len(self.documents), 1)
        return queries

    @property
    def grades(self) -> Floats:
        return self._grades

    def of(self, queries: Ints, ids: pa.Array) -> Floats:
        """The grade of each hit: 0 for those that are not judged relevant. Raises ParamError when documents are named
        by other things than hits are."""
        if not len(self._keys) or not len(ids):
            return np.zeros(len(ids))
        if pa.types.is_integer(ids.type) != pa.types.is_integer(self.documents.type):
            raise ParamError(f"qrels name documents by {self.documents.type}, but the hits have {ids.type}")
        found = pc.index_in(ids.cast(self.documents.type), value_set=self.documents)
        codes = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        keys = queries * len(self.documents) + codes
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        graded: Floats = np.where((codes >= 0) & (self._keys[places] == keys), self._grades[places], 0.0)
        return graded


def read_judgements(qrels: Any, names: Sequence[Hashable] | None, count: int) -> Judgements:
    """Judgements as users hold them. `names` are those of the queries; None: they go by their place, from 0."""
    if hasattr(qrels, "column_names"):
        return _from_table(qrels, names, count)
    places = {name: place for place, name in enumerate(names)} if names is not None else None
    if isinstance(qrels, Mapping):
        pairs = [(_place(name, places, count), judged) for name, judged in qrels.items()]
    elif isinstance(qrels, Sequence) and not isinstance(qrels, str | bytes):
        if len(qrels) != count:
            raise ParamError(f"qrels has {len(qrels)} entries for {count} queries")
        pairs = list(enumerate(qrels))
    else:
        raise ParamError(f"qrels must be a dict, a list or a table, got {type(qrels).__name__}")
    for _, judged in pairs:
        if isinstance(judged, str | bytes) or not isinstance(judged, Collection):
            raise ParamError(
                "qrels must hold, for each query, a dict {document: grade} or a list of relevant documents"
            )
    sizes = [len(judged) for _, judged in pairs]
    queries = np.repeat(np.array([place for place, _ in pairs], np.int64), sizes)
    documents = list(chain.from_iterable(judged for _, judged in pairs))
    given = chain.from_iterable(_grades(judged) for _, judged in pairs)
    return Judgements(queries, _ids(documents), _checked(np.fromiter(given, np.float64, len(documents))))


def _grades(judged: Any) -> Iterable[float]:
    return judged.values() if isinstance(judged, Mapping) else (1.0 for _ in judged)


def _from_table(qrels: Any, names: Sequence[Hashable] | None, count: int) -> Judgements:
    """An Arrow table with the columns `query`, `document` and perhaps `grade`."""
    columns = set(qrels.column_names)
    if not {"query", "document"} <= columns:
        raise ParamError("a table of qrels needs the columns `query`, `document` and, unless all are 1, `grade`")
    queries, documents = (pa.chunked_array(qrels.column(name)).combine_chunks() for name in ("query", "document"))
    if names is not None:
        queries = pc.index_in(queries, value_set=pa.array(list(names)))
    places = queries.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    if len(places) and (places.min() < 0 or places.max() >= count):
        raise ParamError("qrels judge a query that is not among the queries")
    grades = np.ones(len(documents))
    if "grade" in columns:
        grades = qrels.column("grade").to_numpy().astype(np.float64)
    return Judgements(places, documents, _checked(grades))


def _place(name: Hashable, places: Mapping[Hashable, int] | None, count: int) -> int:
    place = name if places is None else places.get(name)
    if not isinstance(place, int) or not 0 <= place < count:
        raise ParamError(f"qrels judge the query {name!r}, which is not among the queries")
    return place


def _ids(documents: list[Any]) -> pa.Array:
    try:
        return pa.array(documents) if documents else pa.array([], pa.int64())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        raise ParamError("documents in qrels must all be named by integers, or all by strings") from None


def _checked(grades: Floats) -> Floats:
    if not np.isfinite(grades).all() or (grades < 0).any() or (grades > MAX_GRADE).any():
        raise ParamError(f"grades in qrels must be numbers from 0 to {MAX_GRADE}")
    return grades


# -- measures -------------------------------------------------------------------------------------
class Ranking(NamedTuple):
    """The hits of queries, flat: query i has `topks[i]` of them, the best first."""

    topks: Ints
    ids: pa.Array

    def distinct(self) -> Ranking:
        """Of hits of one query with the same id the first."""
        queries = np.repeat(np.arange(len(self.topks)), self.topks)
        coded = self.ids.dictionary_encode()
        keys = queries * max(len(coded.dictionary), 1) + arrow_to_numbers(coded.indices).astype(np.int64)
        _, first = np.unique(keys, return_index=True)
        if len(first) == len(keys):
            return self
        first.sort()
        topks = np.bincount(queries[first], minlength=len(self.topks)).astype(np.int64)
        return Ranking(topks, self.ids.take(pa.array(first)))


def measured(ranking: Ranking, judgements: Judgements, k: Sequence[int], gain: Gain) -> dict[str, Floats]:
    """Each measure of each query: (queries, k). A query without a relevant document has NaN."""
    count = len(ranking.topks)
    queries = np.repeat(np.arange(count, dtype=np.int64), ranking.topks)
    ranks = _ranks(queries)
    graded = judgements.of(queries, ranking.ids)
    relevant = np.bincount(judgements.queries, minlength=count).astype(np.float64)
    relevant[relevant == 0] = np.nan
    best = np.argsort(-judgements.grades, kind="stable")
    best = best[np.argsort(judgements.queries[best], kind="stable")]
    ideal_queries, ideal = judgements.queries[best], judgements.grades[best]
    ideal_ranks = _ranks(ideal_queries)
    out = {name: np.empty((count, len(k))) for name in MEASURES}
    first = np.full(count, np.inf)
    hit_queries, places = np.unique(queries[graded > 0], return_index=True)
    first[hit_queries] = ranks[graded > 0][places]
    for at, depth in enumerate(k):
        near = ranks < depth
        among: Ints = np.bincount(queries[near & (graded > 0)], minlength=count)
        out["recall"][:, at] = among / relevant
        out["precision"][:, at] = among / depth
        out["mrr"][:, at] = np.where(first < depth, 1 / (first + 1), 0)
        ideal_near = ideal_ranks < depth
        gained = _discounted(queries[near], ranks[near], graded[near], count, gain)
        possible = _discounted(ideal_queries[ideal_near], ideal_ranks[ideal_near], ideal[ideal_near], count, gain)
        with np.errstate(invalid="ignore"):
            out["ndcg"][:, at] = gained / possible
    return out


def _ranks(queries: Ints) -> Ints:
    """The place of each entry among those of its query, from 0. Entries of a query stand together."""
    starts = np.flatnonzero(np.append(True, queries[1:] != queries[:-1])) if len(queries) else np.empty(0, np.int64)
    sizes = np.diff(np.append(starts, len(queries)))
    ranks: Ints = np.arange(len(queries)) - np.repeat(starts, sizes)
    return ranks


def _discounted(queries: Ints, ranks: Ints, grades: Floats, count: int, gain: Gain) -> Floats:
    gains = grades if gain == "linear" else np.exp2(grades) - 1
    sums: Any = np.bincount(queries, gains / np.log2(ranks + 2), minlength=count)
    discounted: Floats = sums.astype(np.float64, copy=False)
    return discounted
