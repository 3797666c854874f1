"""Searches that come again with another query, from within this process.

Reading a request, finding its plan and all that stands around a search are most of a small one. Nothing of that depends
on the query, so it is done once, and holds while no metadata, no index and nothing that is loaded changes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from msgspec import structs

from redkite.coordinator.namespace import Namespace
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.node.topology import Topology
from redkite.proxy.plans import Planned
from redkite.proxy.quotas import Gate
from redkite.proxy.reads import Reads
from redkite.segment.evolution import SchemaMoved

MAX_KNOWN = 256


class _Known(NamedTuple):
    """Searches by their identity, each kept so that no other gets that, and how to answer it: None, not here."""

    space: Namespace
    plans: dict[tuple[Any, ...], Planned]
    searches: dict[int, tuple[rq.Search, Planned | None]]


class Repeats:
    """Plain searches for one query, of whoever may see everything. Safe from any thread."""

    def __init__(self, topology: Topology, reads: Reads, gate: Gate) -> None:
        self._root = topology.root
        self._reads = reads
        self._gate = gate
        self._known = _Known(self._root.space, reads.plans, {})

    def search(self, search: rq.Search, queries: rq.Queries) -> rs.Hits | None:
        """The answer to `search` with these queries; None where it has to be asked as others are."""
        reads, known = self._reads, self._known
        if known.space is not self._root.space or known.plans is not reads.plans:
            self._known = known = _Known(self._root.space, reads.plans, {})
        kept = known.searches.get(id(search))
        if kept is None:
            if queries.nq == 1:
                planned = self._planned(search, queries, known.space)
                if len(known.searches) >= MAX_KNOWN:
                    known.searches.clear()
                known.searches[id(search)] = search, planned
            return None
        planned = kept[1]
        if planned is None or queries.nq != 1:
            return None
        reads.counts.plans += 1
        try:
            return reads.straight(search, queries, planned)
        except SchemaMoved:  # behind the look at metadata
            return None

    def _planned(self, search: rq.Search, queries: rq.Queries, space: Namespace) -> Planned | None:
        """How the next one can be answered here. What is wrong with a search is for `call` to say, which is next."""
        if search.user or search.cluster or search.highlighter is not None or not self._gate.is_open(space):
            return None
        if search.function_score is not None or search.function_chains:
            return None
        planned = self._reads.planned(structs.replace(search, queries=queries))
        return None if planned.lone is None else planned
