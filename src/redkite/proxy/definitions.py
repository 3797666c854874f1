"""Requests about collections, partitions, aliases, databases, load states and indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

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
from redkite.model.rules.names import check_index_name
from redkite.model.schema import DEFAULT_DATABASE, FieldSchema
from redkite.model.segments import IndexMeta, SegmentMeta
from redkite.model.types import DataType, IndexState, LoadState
from redkite.node.topology import Topology
from redkite.proxy.rules.index_rules import check_index
from redkite.segment.files import segment_prefix

DONE = rs.Done()
DEFAULT_RESOURCE_GROUP = "__default_resource_group"


class Definitions:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(self, topology: Topology, changed: Callable[[], None]) -> None:
        self._topology = topology
        self._root = topology.root
        self._data = topology.data
        self._loads = topology.loads
        self._changed = changed

    def _find(self, request: rq.Request, collection: str) -> CollectionMeta:
        return self._root.find(request.database, collection)

    def _refresh(self, meta: CollectionMeta) -> None:
        """Tell open shards what their collection looks like now."""
        current = self._root.find_by_id(meta.collection_id)
        for shard in self._topology.open_shards(current):
            shard.collection = current

    # -- databases ------------------------------------------------------------------------------
    def create_database(self, request: rq.CreateDatabase) -> rs.Done:
        self._root.create_database(request.database, request.properties)
        return DONE

    def drop_database(self, request: rq.DropDatabase) -> rs.Done:
        self._root.drop_database(request.database)
        return DONE

    def list_databases(self, _: rq.ListDatabases) -> rs.Databases:
        found = self._root.list_databases()
        return rs.Databases(
            names=tuple(d.name for d in found),
            ids=tuple(d.database_id for d in found),
            created_timestamps=tuple(d.created_timestamp for d in found),
        )

    def describe_database(self, request: rq.DescribeDatabase) -> rs.DatabaseInfo:
        found = self._root.describe_database(request.database)
        return rs.DatabaseInfo(
            name=found.name,
            database_id=found.database_id,
            created_timestamp=found.created_timestamp,
            properties=found.properties,
        )

    # -- collections ----------------------------------------------------------------------------
    def create_collection(self, request: rq.CreateCollection) -> rs.Done:
        self._root.create_collection(
            request.database,
            request.schema,
            request.shards,
            request.partitions,
            request.consistency_level,
            request.properties,
        )
        return DONE

    def drop_collection(self, request: rq.DropCollection) -> rs.Done:
        meta = self._root.drop_collection(request.database, request.collection)
        if meta is not None:
            self._changed()
            drop_data(self._topology, meta.collection_id, meta.channels)
        return DONE

    def has_collection(self, request: rq.HasCollection) -> rs.Flag:
        return rs.Flag(value=self._root.exists(request.database, request.collection))

    def describe_collection(self, request: rq.DescribeCollection) -> rs.CollectionInfo:
        if request.collection:
            meta = self._find(request, request.collection)
        else:
            meta = self._root.find_by_id(request.collection_id)
        return rs.CollectionInfo(
            schema=msgspec.structs.replace(meta.schema, fields=meta.schema.user_fields),
            collection_id=meta.collection_id,
            database=meta.database,
            shards=meta.shards,
            partitions=len(meta.partitions),
            aliases=meta.aliases,
            consistency_level=meta.consistency_level,
            created_timestamp=meta.created_timestamp,
            update_timestamp=meta.update_timestamp,
            properties=meta.properties,
            virtual_channels=meta.channels,
            physical_channels=meta.physical_channels,
        )

    def show_collections(self, request: rq.ShowCollections) -> rs.Collections:
        return rs.Collections(
            collections=tuple(
                rs.CollectionBrief(
                    name=m.name,
                    collection_id=m.collection_id,
                    created_timestamp=m.created_timestamp,
                    shards=m.shards,
                    loaded_percent=100 if self._loads.entry(m.collection_id) else 0,
                )
                for m in self._root.list_collections(request.database)
                if not request.loaded_only or self._loads.entry(m.collection_id) is not None
            )
        )

    def rename_collection(self, request: rq.RenameCollection) -> rs.Done:
        self._root.rename_collection(request.database, request.collection, request.new_name, request.new_database)
        return DONE

    def truncate_collection(self, request: rq.TruncateCollection) -> rs.Done:
        meta = self._find(request, request.collection)
        for shard in self._topology.shards(meta):
            self._delete_objects(shard.truncate(self._root.oracle.allocate))
        return DONE

    def collection_statistics(self, request: rq.GetCollectionStatistics) -> rs.RowCount:
        meta = self._find(request, request.collection)
        return rs.RowCount(rows=sum(shard.rows() for shard in self._topology.shards(meta)))

    def _delete_objects(self, segments: Iterable[SegmentMeta]) -> None:
        for segment in segments:
            self._topology.store.delete_prefix(segment_prefix(segment.collection_id, segment.segment_id))

    # -- partitions -----------------------------------------------------------------------------
    def create_partition(self, request: rq.CreatePartition) -> rs.Done:
        self._root.create_partition(request.database, request.collection, request.partition)
        self._refresh(self._find(request, request.collection))
        return DONE

    def drop_partition(self, request: rq.DropPartition) -> rs.Done:
        meta = self._find(request, request.collection)
        partition = meta.partition(request.partition)
        entry = self._loads.entry(meta.collection_id)
        if partition is not None and entry is not None and entry.covers(partition.partition_id):
            raise InvalidParameter("partition cannot be dropped, partition is loaded, please release it first")
        dropped = self._root.drop_partition(request.database, request.collection, request.partition)
        if dropped is not None:
            self._refresh(meta)
            for shard in self._topology.open_shards(meta):
                shard.forget([dropped.partition_id])
            gone = self._data.remove_segments(meta.collection_id, lambda s: s.partition_id == dropped.partition_id)
            self._delete_objects(gone)
        return DONE

    def has_partition(self, request: rq.HasPartition) -> rs.Flag:
        return rs.Flag(value=self._root.has_partition(request.database, request.collection, request.partition))

    def show_partitions(self, request: rq.ShowPartitions) -> rs.Partitions:
        meta = self._find(request, request.collection)
        entry = self._loads.entry(meta.collection_id)
        return rs.Partitions(
            partitions=tuple(
                rs.PartitionBrief(
                    name=p.name,
                    partition_id=p.partition_id,
                    created_timestamp=p.created_timestamp,
                    loaded_percent=100 if entry is not None and entry.covers(p.partition_id) else 0,
                )
                for p in meta.partitions
            )
        )

    def partition_statistics(self, request: rq.GetPartitionStatistics) -> rs.RowCount:
        meta = self._find(request, request.collection)
        within = frozenset([meta.need_partition(request.partition).partition_id])
        return rs.RowCount(rows=sum(shard.rows(within) for shard in self._topology.shards(meta)))

    # -- aliases --------------------------------------------------------------------------------
    def create_alias(self, request: rq.CreateAlias) -> rs.Done:
        self._root.create_alias(request.database, request.collection, request.alias)
        return DONE

    def drop_alias(self, request: rq.DropAlias) -> rs.Done:
        self._root.drop_alias(request.database, request.alias)
        return DONE

    def alter_alias(self, request: rq.AlterAlias) -> rs.Done:
        self._root.alter_alias(request.database, request.collection, request.alias)
        return DONE

    def describe_alias(self, request: rq.DescribeAlias) -> rs.AliasInfo:
        return self._root.describe_alias(request.database, request.alias)

    def list_aliases(self, request: rq.ListAliases) -> rs.Aliases:
        return rs.Aliases(
            aliases=self._root.list_aliases(request.database, request.collection),
            collection=request.collection,
            database=request.database or DEFAULT_DATABASE,
        )

    # -- load states ----------------------------------------------------------------------------
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
        every = {f.name for f in meta.schema.user_fields}
        if (request.load_fields and set(request.load_fields) != every) or request.skip_dynamic_field:
            raise Unimplemented("load_fields and skip_load_dynamic_field: this version loads all fields")
        self._check_indexed(meta)

    def _check_indexed(self, meta: CollectionMeta) -> None:
        """Every float vector field wants an index. (Other vectors can be stored and read back, not searched.)"""
        indexed = {i.field for i in self._data.indexes(meta.collection_id)}
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

    # -- indexes --------------------------------------------------------------------------------
    def create_index(self, request: rq.CreateIndex) -> rs.Done:
        check_index_name(request.index_name, self._topology.limits)
        meta = self._find(request, request.collection)
        field = self._index_field(meta, request.field)
        spec = check_index(field, request.params, self._topology.limits)
        self._data.create_index(
            meta.collection_id, field, request.index_name, request.params, spec, self._root.oracle.allocate()
        )
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
            for file in files:
                self._topology.store.delete(file.object)
        return DONE


def drop_data(topology: Topology, collection_id: int, channels: Iterable[str]) -> None:
    """Forget everything of a collection that no longer exists. Safe to repeat."""
    topology.loads.release(collection_id, None, ())
    for channel in channels:
        topology.owner(channel).drop_channel(channel)
    topology.data.drop_collection(collection_id, channels)
    topology.store.delete_prefix(f"segments/{collection_id}/")
