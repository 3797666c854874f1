"""Requests that change the fields or properties of a collection that exists.

The commit of the root coordinator is the moment of the change. After it, shards are told; a read or a write that comes
before that brings them up to date itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from redkite.coordinator.function_changes import with_altered_function, with_function, without_function
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.schema_changes import (
    with_field,
    with_field_params,
    with_properties,
    with_struct,
    without_field,
)
from redkite.errors import CollectionAlreadyLoaded, InvalidParameter
from redkite.functions.registry import Functions
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.rules.change_rules import touches_mmap
from redkite.model.rules.numbers import truth
from redkite.model.rules.property_rules import NO_FUNCTION_CHECK
from redkite.node.topology import Topology
from redkite.proxy.backfill import Backfills
from redkite.proxy.indexes import Indexes
from redkite.proxy.rules.analyzer_rules import check_languages, check_not_a_language, with_analyzer
from redkite.proxy.rules.index_rules import check_index

DONE = rs.Done()


class Evolution:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(
        self,
        topology: Topology,
        changed: Callable[[], None],
        functions: Functions,
        indexes: Indexes,
        backfills: Backfills,
    ) -> None:
        self._topology = topology
        self._backfills = backfills
        self._functions = functions
        self._indexes = indexes
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
        field = with_analyzer(request.field, self._topology.files)

        def change(meta: CollectionMeta) -> CollectionMeta:
            check_languages(meta.schema, field)
            return with_field(meta, field, self._root.zone_of(meta), self._limits)

        return self._change(request, request.collection, change)

    def add_struct(self, request: rq.AddCollectionStructField) -> rs.Done:
        return self._change(request, request.collection, lambda meta: with_struct(meta, request.field, self._limits))

    def drop_field(self, request: rq.DropCollectionField) -> rs.Done:
        if not request.field and not request.field_id:
            raise InvalidParameter("neither the name nor the id of the field to drop is given")

        def change(meta: CollectionMeta) -> CollectionMeta:
            check_not_a_language(meta.schema, request.field, request.field_id)
            indexed = [index.field for index in self._topology.data.made_indexes(meta.collection_id)]
            return without_field(meta, request.field, request.field_id, indexed)

        return self._change(request, request.collection, change)

    def add_function(self, request: rq.AddFunctionField) -> rs.Done:
        """The function, its field, and the index over that."""
        if request.index_params:
            check_index(msgspec.structs.replace(request.field, is_function_output=True), request.index_params)

        def change(meta: CollectionMeta) -> CollectionMeta:
            changed = with_function(meta, request.field, request.function, self._limits)
            self._functions.check(changed.schema)
            return changed

        asked = change(self._root.find(request.database, request.collection)).schema
        self._functions.probe(msgspec.structs.replace(asked, functions=asked.functions[-1:]), ask=True)
        self._change(request, request.collection, change)
        self._backfills.begin()
        if not request.index_params:
            return DONE
        return self._indexes.create_index(
            rq.CreateIndex(
                database=request.database, collection=request.collection, field=request.field.name.strip(),
                index_name=request.index_name, params=request.index_params,
            )
        )  # fmt: skip

    def alter_function(self, request: rq.AlterFunction) -> rs.Done:
        """Other parameters of a function that asks a model, which is asked once before."""
        found = self._root.find(request.database, request.collection)
        changed = with_altered_function(found, request.name, request.function)
        trusting = truth(found.properties.get(NO_FUNCTION_CHECK, "false"))
        asked = msgspec.structs.replace(changed.schema, functions=(request.function,))
        self._functions.probe(asked, ask=not trusting)
        done = self._change(
            request, request.collection, lambda meta: with_altered_function(meta, request.name, request.function)
        )
        self._backfills.begin()
        return done

    def drop_function(self, request: rq.DropFunctionField) -> rs.Done:
        """The function, its field, and the index over that."""
        before = self._root.find(request.database, request.collection)
        self._change(request, request.collection, lambda meta: without_function(meta, request.function))
        gone = {name for f in before.schema.functions if f.name == request.function for name in f.output_field_names}
        for index in self._topology.data.indexes(before.collection_id):
            if index.field in gone:
                self._indexes.remove(before, index)
        return DONE

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
