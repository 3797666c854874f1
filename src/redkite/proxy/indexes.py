"""Requests about indexes."""

from __future__ import annotations

from collections.abc import Callable

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import IndexNotFound, InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.rules.names import check_index_name
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexMeta
from redkite.model.types import IndexState
from redkite.node.topology import Topology
from redkite.proxy.rules.index_rules import check_index

DONE = rs.Done()


class Indexes:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(self, topology: Topology, changed: Callable[[], None]) -> None:
        self._topology = topology
        self._root = topology.root
        self._data = topology.data
        self._loads = topology.loads
        self._changed = changed

    def _find(self, request: rq.Request, collection: str) -> CollectionMeta:
        return self._root.find(request.database, collection)

    def create_index(self, request: rq.CreateIndex) -> rs.Done:
        check_index_name(request.index_name, self._topology.limits)
        stamp = self._root.oracle.allocate()

        def create(meta: CollectionMeta) -> CollectionMeta:
            field = self._index_field(meta, request.field)
            spec = check_index(field, request.params, self._topology.limits)
            self._data.create_index(meta.collection_id, field, request.index_name, request.params, spec, stamp)
            return meta

        # The field cannot be dropped between the check and the commit.
        meta = self._root.while_unchanged(request.database, request.collection, create)
        self._changed()
        for shard in self._topology.shards(meta):
            shard.build_all()
        return DONE

    @staticmethod
    def _index_field(meta: CollectionMeta, name: str) -> FieldSchema:
        field = meta.schema.field(name)
        if field is None or field.is_dynamic:
            raise InvalidParameter(f"cannot create index on non-exist field: {name}")
        return field

    def describe_index(self, request: rq.DescribeIndex) -> rs.Indexes:
        meta = self._find(request, request.collection)
        found = self._data.find_indexes(meta.collection_id, meta.name, request.index_name, request.field)
        return rs.Indexes(indexes=tuple(self._index_info(i) for i in found))

    def _index_info(self, index: IndexMeta) -> rs.IndexInfo:
        total = sum(s.rows for s in self._data.segments(index.collection_id))
        pending = self._data.pending_rows(index)
        return rs.IndexInfo(
            index_name=index.name,
            index_id=index.index_id,
            field=index.field,
            params=index.params,
            total_rows=total,
            indexed_rows=total - pending,
            pending_rows=pending,
            state=IndexState.IN_PROGRESS if pending else IndexState.FINISHED,
        )

    def drop_index(self, request: rq.DropIndex) -> rs.Done:
        meta = self._find(request, request.collection)
        try:
            found = self._data.find_indexes(meta.collection_id, meta.name, request.index_name, request.field)
        except IndexNotFound:
            return DONE
        for index in found:
            if self._loads.entry(meta.collection_id) is not None:
                raise InvalidParameter(f"vector index cannot be dropped on loaded collection: {meta.collection_id}")
            files = self._data.drop_index(index)
            self._changed()
            for shard in self._topology.open_shards(meta):
                shard.drop_index(index)
            self._topology.garbage.discard(file.object for file in files)
        return DONE
