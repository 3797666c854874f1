"""Requests about indexes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import CollectionAlreadyLoaded, IndexNotFound, InvalidParameter
from redkite.index.registry import require
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.rules.names import check_index_name
from redkite.model.schema import FieldSchema
from redkite.model.segments import IndexMeta
from redkite.model.types import IndexState
from redkite.node.topology import Topology
from redkite.proxy.backfill import Backfills
from redkite.proxy.rules.index_rules import check_index, check_named, check_properties_of, means_key
from redkite.proxy.rules.scalar_index_rules import default_name

DONE = rs.Done()


class Indexes:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(self, topology: Topology, changed: Callable[[], None], backfills: Backfills) -> None:
        self._topology = topology
        self._backfills = backfills
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
            field = self._index_field(meta, request)
            key = "" if field.name == request.field else request.field
            spec = check_index(field, request.params, self._topology.limits, key)
            require(spec)
            name = request.index_name or default_name(field, spec)
            shown = request.as_sent or request.params
            self._data.create_index(meta.collection_id, field, name, shown, spec, stamp)
            return meta

        # The field cannot be dropped between the check and the commit.
        meta = self._root.while_unchanged(request.database, request.collection, create)
        self._changed()
        for shard in self._topology.shards(meta):
            shard.build_all()
        return DONE

    @staticmethod
    def _index_field(meta: CollectionMeta, request: rq.CreateIndex) -> FieldSchema:
        """The field, or the dynamic field where a key of it is named."""
        field = meta.schema.field(request.field)
        if field is None and means_key(request.params):
            field = meta.schema.dynamic_field
        if field is None or (field.is_dynamic and not means_key(request.params)):
            raise InvalidParameter(f"cannot create index on non-exist field: {request.field}")
        return field

    def describe_index(self, request: rq.DescribeIndex) -> rs.Indexes:
        meta = self._find(request, request.collection)
        found = self._data.find_indexes(meta.collection_id, meta.name, request.index_name, request.field)
        return rs.Indexes(indexes=tuple(self._told(meta, i) for i in found))

    def indexed_segments(self, request: rq.ListIndexedSegments) -> rs.SegmentNumbers:
        """The sealed segments over which one of the indexes is built."""
        meta = self._find(request, request.collection)
        found = self._data.find_indexes(meta.collection_id, meta.name, request.index_name, request.field)
        segments = self._data.segments(meta.collection_id)
        built = {s.segment_id for s in segments for index in found if s.index(index.index_id) is not None}
        return rs.SegmentNumbers(segment_ids=tuple(sorted(built)))

    def _told(self, meta: CollectionMeta, index: IndexMeta) -> rs.IndexInfo:
        """How an index is; over a field whose function is still at work, how far that is."""
        info = self._index_info(index)
        filling = self._backfills.of(meta, index.field)
        if filling is None:
            return info
        total = sum(shard.rows() for shard in self._topology.open_shards(meta))
        pending = max(info.pending_rows, total - filling.rows, 1)
        return msgspec.structs.replace(
            info,
            total_rows=max(total, pending),
            indexed_rows=max(total, pending) - pending,
            pending_rows=pending,
            state=IndexState.FAILED if filling.reason else IndexState.IN_PROGRESS,
            fail_reason=filling.reason,
        )

    def _index_info(self, index: IndexMeta) -> rs.IndexInfo:
        total = sum(s.rows for s in self._data.segments(index.collection_id))
        pending = self._data.pending_rows(index)
        failed = self._failure(index) if pending else ""
        state = IndexState.FAILED if failed else IndexState.IN_PROGRESS if pending else IndexState.FINISHED
        return rs.IndexInfo(
            index_name=index.name,
            index_id=index.index_id,
            field=index.shown_field,
            params=_shown_params(index),
            total_rows=total,
            indexed_rows=total - pending,
            pending_rows=pending,
            state=state,
            fail_reason=failed,
        )

    def _failure(self, index: IndexMeta) -> str:
        """Why one of the builds of an index did not succeed; empty when all did, or may yet."""
        live = {s.segment_id for s in self._data.segments(index.collection_id)}
        reasons = (
            reason
            for node in self._topology.data_nodes
            for (segment_id, index_id), reason in node.failures.copy().items()
            if index_id == index.index_id and segment_id in live
        )
        return next(reasons, "")

    def alter_index(self, request: rq.AlterIndex) -> rs.Done:
        meta = self._find(request, request.collection)
        (index,) = self._data.find_indexes(meta.collection_id, meta.name, check_named(request.index_name), "")
        check_properties_of(index.spec, request.properties, request.delete_keys)
        if self._loads.entry(meta.collection_id) is not None:
            raise CollectionAlreadyLoaded(
                "can't alter index on loaded collection, please release the collection first: "
                f"collection already loaded[collection={meta.name}]"
            )
        kept = {key: value for key, value in index.params.items() if key not in request.delete_keys}
        self._data.alter_index(index, kept | request.properties)
        for shard in self._topology.open_shards(meta):
            shard.build_all()  # builds under way were of the index as it was, and stop
        return DONE

    def drop_index(self, request: rq.DropIndex) -> rs.Done:
        meta = self._find(request, request.collection)
        try:
            found = self._data.find_indexes(meta.collection_id, meta.name, request.index_name, request.field)
        except IndexNotFound:
            return DONE
        for index in found:
            if not index.spec.is_scalar and self._loads.entry(meta.collection_id) is not None:
                raise InvalidParameter(f"vector index cannot be dropped on loaded collection: {meta.collection_id}")
            self.remove(meta, index)
        return DONE

    def remove(self, meta: CollectionMeta, index: IndexMeta) -> None:
        """Drop an index, whatever it is over."""
        files = self._data.drop_index(index)
        self._changed()
        for shard in self._topology.open_shards(meta):
            shard.drop_index(index)
        self._topology.garbage.discard(file.object for file in files)


def _shown_params(index: IndexMeta) -> dict[str, str]:
    """As the user sent them; of an index over vectors also the type and the metric that nobody named."""
    if index.spec.metric is None:
        return {"index_type": index.spec.index_type} | {k: v for k, v in index.params.items() if v}
    return {"index_type": index.spec.index_type, "metric_type": str(index.spec.metric)} | index.params
