"""Requests that change the fields or properties of a collection that exists.

The commit of the root coordinator is the moment of the change. After it, shards are told; a read or a write that comes
before that brings them up to date itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.schema_changes import with_field, with_field_params, with_properties, without_field
from redkite.errors import CollectionAlreadyLoaded, InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.rules.change_rules import touches_mmap
from redkite.node.topology import Topology

DONE = rs.Done()


class Evolution:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(self, topology: Topology, changed: Callable[[], None]) -> None:
        self._topology = topology
        self._root = topology.root
        self._limits = topology.limits
        self._changed = changed

    def _change(
        self, request: rq.Request, collection: str, change: Callable[[CollectionMeta], CollectionMeta]
    ) -> rs.Done:
        meta = self._root.change_collection(request.database, collection, change)
        self._changed()
        self._topology.follow(meta)
        return DONE

    def add_field(self, request: rq.AddCollectionField) -> rs.Done:
        return self._change(
            request,
            request.collection,
            lambda meta: with_field(meta, request.field, self._root.zone_of(meta), self._limits),
        )

    def drop_field(self, request: rq.DropCollectionField) -> rs.Done:
        if not request.field and not request.field_id:
            raise InvalidParameter("neither the name nor the id of the field to drop is given")

        def change(meta: CollectionMeta) -> CollectionMeta:
            indexed = [index.field for index in self._topology.data.indexes(meta.collection_id)]
            return without_field(meta, request.field, request.field_id, indexed)

        return self._change(request, request.collection, change)

    def alter_field(self, request: rq.AlterCollectionField) -> rs.Done:
        def change(meta: CollectionMeta) -> CollectionMeta:
            self._check_mapping(meta, (*request.properties, *request.delete_keys))
            return with_field_params(meta, request.field, request.properties, request.delete_keys, self._limits)

        return self._change(request, request.collection, change)

    def alter_collection(self, request: rq.AlterCollection) -> rs.Done:
        def change(meta: CollectionMeta) -> CollectionMeta:
            self._check_mapping(meta, (*request.properties, *request.delete_keys))
            return with_properties(meta, request.properties, request.delete_keys, self._limits)

        return self._change(request, request.collection, change)

    def _check_mapping(self, meta: CollectionMeta, keys: Iterable[str]) -> None:
        if touches_mmap(keys) and self._topology.loads.entry(meta.collection_id) is not None:
            raise CollectionAlreadyLoaded(
                f"can not alter mmap properties if collection loaded: collection already loaded[collection={meta.name}]"
            )

    def alter_database(self, request: rq.AlterDatabase) -> rs.Done:
        if bool(request.properties) == bool(request.delete_keys):
            raise InvalidParameter("either properties to set or keys to delete are to be given")
        self._root.alter_database(request.database, request.properties, request.delete_keys)
        self._changed()
        return DONE
