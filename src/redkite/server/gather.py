"""Searches that differ in nothing but their vectors or texts, and arrived together, answered by one call.

Much of a small search is what comes before and behind the index: names, plans, masks, merging. Searches of one turn of
the event loop share it; none waits for a search that has not arrived yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from redkite.model.reading import Queries, Search
from redkite.model.results import Hits
from redkite.model.types import DataType

T = TypeVar("T")
MOST_QUERIES = 64
"""A search of more queries shares its costs among them already; so does a call for so many."""
MOST_BYTES = 4096
"""Longer search texts have their call to themselves."""
_REST = tuple(name for name in Search.__struct_fields__ if name not in ("queries", "params"))
_ALONE = (
    "filter_params", "page", "grouping", "order_by", "aggregation", "function_score", "function_chains", "highlighter",
)  # fmt: skip


def likeness(search: Search) -> tuple[Any, ...] | None:
    """Equal for searches that may share a call; None for one that has its call to itself."""
    queries = search.queries
    texts = queries.data_type is DataType.VARCHAR and sum(map(len, queries.raw)) <= MOST_BYTES
    if (queries.vectors is None and not texts) or queries.nq >= MOST_QUERIES:
        return None
    if any(getattr(search, name) for name in _ALONE):
        return None
    rest = [getattr(search, name) for name in _REST]
    dim = 0 if queries.vectors is None else queries.vectors.shape[1]
    found = (queries.data_type, dim, queries.of_elements, *search.params.items(), *map(_hashable, rest))
    try:
        hash(found)
    except TypeError:  # a parameter that is a list or a dict
        return None
    return found


def alike(gathered: Sequence[tuple[Search, T]]) -> list[list[tuple[Search, T]]]:
    """The searches that may share a call, each with what came along with it; one that may not is by itself."""
    groups: dict[tuple[Any, ...], list[tuple[Search, T]]] = {}
    single: list[list[tuple[Search, T]]] = []
    for search, more in gathered:
        kind = likeness(search)
        if kind is None:
            single.append([(search, more)])
        else:
            groups.setdefault(kind, []).append((search, more))
    return [*groups.values(), *single]


def together(searches: list[Search]) -> Search:
    """One search for the queries of all of them, which are alike."""
    first = searches[0]
    if first.queries.vectors is None:
        raw = tuple(text for s in searches for text in s.queries.raw)
        queries = Queries(data_type=first.queries.data_type, raw=raw)
    else:
        vectors = np.concatenate([vectors for s in searches if (vectors := s.queries.vectors) is not None])
        queries = msgspec.structs.replace(first.queries, vectors=vectors)
    return msgspec.structs.replace(first, queries=queries)


def apart(hits: Hits, searches: list[Search]) -> list[Hits]:
    """The answer of each search out of that of all."""
    found = []
    ends = np.concatenate([[0], np.cumsum(hits.topks)])
    query = 0
    for search in searches:
        until = query + search.queries.nq
        start, end = int(ends[query]), int(ends[until])
        found.append(
            msgspec.structs.replace(
                hits,
                topks=hits.topks[query:until],
                keys=hits.keys[start:end],
                scores=hits.scores[start:end],
                rows=hits.rows.slice(start, end - start),
                recalls=hits.recalls[query:until],
                element_indices=None if hits.element_indices is None else hits.element_indices[start:end],
            )
        )
        query = until
    return found


def _hashable(value: Any) -> Any:
    return () if value == {} else value
