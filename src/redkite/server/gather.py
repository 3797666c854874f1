"""Searches that differ in nothing but their vectors, and arrived together, answered by one call.

Much of a small search is what comes before and behind the index: names, plans, masks, merging. Searches of one turn of
the event loop share it; none waits for a search that has not arrived yet.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from redkite.model.reading import Queries, Search
from redkite.model.results import Hits

MOST_QUERIES = 64
"""A search of more queries shares its costs among them already; so does a call for so many."""
_REST = tuple(name for name in Search.__struct_fields__ if name not in ("queries", "params"))
_ALONE = ("filter_params", "page", "grouping", "order_by", "aggregation", "function_score", "function_chains")


def likeness(search: Search) -> tuple[Any, ...] | None:
    """Equal for searches that may share a call; None for one that has its call to itself."""
    queries = search.queries
    if queries.vectors is None or len(queries.vectors) >= MOST_QUERIES:
        return None
    if any(getattr(search, name) for name in _ALONE):
        return None
    rest = [getattr(search, name) for name in _REST]
    found = (queries.data_type, queries.vectors.shape[1], *search.params.items(), *map(_hashable, rest))
    try:
        hash(found)
    except TypeError:  # a parameter that is a list or a dict
        return None
    return found


def together(searches: list[Search]) -> Search:
    """One search for the queries of all of them, which are alike."""
    first = searches[0]
    vectors = np.concatenate([vectors for s in searches if (vectors := s.queries.vectors) is not None])
    queries = Queries(data_type=first.queries.data_type, vectors=vectors)
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
                ids=hits.ids[start:end],
                scores=hits.scores[start:end],
                rows=hits.rows.slice(start, end - start),
                recalls=hits.recalls[query:until],
            )
        )
        query = until
    return found


def _hashable(value: Any) -> Any:
    return () if value == {} else value
