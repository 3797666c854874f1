"""Filters of reads, bound to their collections: each text once, until its schema changes."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from redkite.coordinator.meta import CollectionMeta
from redkite.filter import Filter, compile_filter
from redkite.model.schema import CollectionSchema
from redkite.node.tallies import Durations
from redkite.node.topology import Topology

MAX_FILTERS = 1024


class Conditions:
    """Safe from any thread: two that bind the same filter at once both have it."""

    def __init__(self, topology: Topology) -> None:
        self._root = topology.root
        self._limits = topology.limits
        self._known: dict[tuple[int, str, tzinfo], tuple[CollectionSchema, Filter]] = {}
        self.parsing = Durations(topology.env.clock)
        """Of filters that were not known yet."""

    def of(self, meta: CollectionMeta, text: str, params: dict[str, Any]) -> Filter | None:
        """The bound filter, None when every row passes; kept by its text, unless its values come apart."""
        if not text:
            return None
        zone = self._root.zone_of(meta)
        if params:
            with self.parsing.timed():
                condition = compile_filter(text, meta.schema, params, zone=zone)
            return None if condition.always_true else condition
        known = self._known.get((meta.collection_id, text, zone))
        if known is None or known[0] is not meta.schema:
            if len(self._known) >= MAX_FILTERS:
                self._known = {}
            with self.parsing.timed():
                known = (meta.schema, compile_filter(text, meta.schema, limits=self._limits, zone=zone))
            self._known[meta.collection_id, text, zone] = known
        return None if known[1].always_true else known[1]
