"""Requests about load states: what can be searched."""

from __future__ import annotations

from collections.abc import Callable

from redkite.coordinator.meta import CollectionMeta
from redkite.errors import (
    CollectionNotFound,
    CollectionNotLoaded,
    DatabaseNotFound,
    IndexNotFound,
    InvalidParameter,
    PartitionNotFound,
    PartitionNotLoaded,
    Unimplemented,
)
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import DataType, LoadState
from redkite.node.topology import Topology

DONE = rs.Done()
DEFAULT_RESOURCE_GROUP = "__default_resource_group"


class Loading:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(self, topology: Topology, changed: Callable[[], None]) -> None:
        self._topology = topology
        self._root = topology.root
        self._data = topology.data
        self._loads = topology.loads
        self._changed = changed

    def _find(self, request: rq.Request, collection: str) -> CollectionMeta:
        return self._root.find(request.database, collection)

    def load_collection(self, request: rq.LoadCollection) -> rs.Done:
        meta = self._find(request, request.collection)
        self._check_load(meta, request)
        self._loads.load(meta.collection_id, None)
        return self._reload(meta)

    def load_partitions(self, request: rq.LoadPartitions) -> rs.Done:
        meta = self._find(request, request.collection)
        if meta.has_partition_key:
            raise InvalidParameter("disable load partitions if partition key mode is used")
        if not request.partitions:
            raise InvalidParameter("no partition specified")
        wanted = [meta.need_partition(name).partition_id for name in request.partitions]
        self._check_load(meta, request)
        self._loads.load(meta.collection_id, wanted)
        return self._reload(meta)

    def _check_load(self, meta: CollectionMeta, request: rq.LoadCollection | rq.LoadPartitions) -> None:
        if request.replicas > 1:
            raise Unimplemented(f"replica_number={request.replicas}: this version keeps one replica")
        if any(group != DEFAULT_RESOURCE_GROUP for group in request.resource_groups):
            raise Unimplemented(f"resource_groups={list(request.resource_groups)}: this version has one resource group")
        every = {f.struct_name or f.name for f in meta.schema.fields if not f.is_dynamic}
        if (request.load_fields and set(request.load_fields) != every) or request.skip_dynamic_field:
            raise Unimplemented("load_fields and skip_load_dynamic_field: this version loads all fields")
        self._check_indexed(meta)

    def _check_indexed(self, meta: CollectionMeta) -> None:
        """Every float vector field wants an index. (Other vectors can be stored and read back, not searched.)"""
        indexed = {i.field for i in self._data.made_indexes(meta.collection_id)}
        bare = [
            f.name for f in meta.schema.vector_fields if f.data_type is DataType.FLOAT_VECTOR and f.name not in indexed
        ]
        if bare and not indexed:
            raise IndexNotFound.of_collection(meta.name)
        if bare:
            raise InvalidParameter(
                f"there is no vector index on field: [{' '.join(bare)}], please create index firstly"
            )

    def release_collection(self, request: rq.ReleaseCollection) -> rs.Done:
        meta = self._find(request, request.collection)
        self._loads.release(meta.collection_id, None, ())
        return self._reload(meta)

    def release_partitions(self, request: rq.ReleasePartitions) -> rs.Done:
        meta = self._find(request, request.collection)
        if meta.has_partition_key:
            raise InvalidParameter("disable release partitions if partition key mode is used")
        gone = [meta.need_partition(name).partition_id for name in request.partitions]
        self._loads.release(meta.collection_id, gone, [p.partition_id for p in meta.partitions])
        return self._reload(meta)

    def _reload(self, meta: CollectionMeta) -> rs.Done:
        self._changed()
        for shard in self._topology.shards(meta):
            shard.reload()
        return DONE

    def loading_progress(self, request: rq.GetLoadingProgress) -> rs.LoadProgress:
        meta = self._find(request, request.collection)
        entry = self._loads.entry(meta.collection_id)
        if entry is None:
            raise CollectionNotLoaded.named(meta.name)
        for name in request.partitions:
            if not entry.covers(meta.need_partition(name).partition_id):
                raise PartitionNotLoaded.named(name)
        return rs.LoadProgress(percent=100)

    def load_state(self, request: rq.GetLoadState) -> rs.LoadStateInfo:
        try:
            meta = self._find(request, request.collection)
        except (CollectionNotFound, DatabaseNotFound):
            return rs.LoadStateInfo(state=LoadState.NotExist)
        entry = self._loads.entry(meta.collection_id)
        loaded = entry is not None
        for name in request.partitions:
            partition = meta.partition(name)
            if partition is None:
                raise PartitionNotFound.named(name)
            loaded = loaded and entry is not None and entry.covers(partition.partition_id)
        return rs.LoadStateInfo(state=LoadState.Loaded if loaded else LoadState.NotLoad)
