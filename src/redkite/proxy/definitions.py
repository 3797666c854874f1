"""Requests about collections, partitions, aliases, databases, load states and indexes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from redkite.coordinator.broadcast import decide
from redkite.coordinator.meta import CollectionMeta, PartitionMeta
from redkite.errors import InvalidParameter, MilvusException
from redkite.functions.registry import Functions
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.describing import BatchDescribeCollection, CollectionInfos
from redkite.model.rules.names import check_alias
from redkite.model.rules.numbers import truth
from redkite.model.rules.property_rules import NO_FUNCTION_CHECK
from redkite.model.schema import DEFAULT_DATABASE
from redkite.model.segments import LoadEntry, SegmentMeta
from redkite.node.topology import Topology
from redkite.proxy.rules.analyzer_rules import with_analyzers, without_files
from redkite.segment.files import segment_prefix

DONE = rs.Done()
_MOST_INFOS = 1_000
"""Collections whose description is kept, as long as nothing about them changes."""


class Definitions:
    """Each method answers one request class. `changed` is called when plans made before no longer hold."""

    def __init__(self, topology: Topology, changed: Callable[[], None], functions: Functions) -> None:
        self._topology = topology
        self._functions = functions
        self._root = topology.root
        self._data = topology.data
        self._loads = topology.loads
        self._changed = changed
        self._infos: dict[int, tuple[CollectionMeta, rs.CollectionInfo]] = {}

    def _find(self, request: rq.Request, collection: str) -> CollectionMeta:
        return self._root.find(request.database, collection)

    def _refresh(self, meta: CollectionMeta) -> None:
        """Tell open shards what their collection looks like now."""
        self._topology.follow(meta)

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
        trusting = truth(request.properties.get(NO_FUNCTION_CHECK, "false"))
        schema = with_analyzers(request.schema, self._topology.files)
        self._functions.probe(schema, ask=not trusting)  # before any lock: services take their time
        self._root.create_collection(
            request.database,
            schema,
            request.shards,
            request.partitions,
            request.consistency_level,
            request.properties,
            check=self._functions.check,
        )
        return DONE

    def drop_collection(self, request: rq.DropCollection) -> rs.Done:
        if self._root.exists(request.database, request.collection):
            found = self._find(request, request.collection)
            self._topology.snapshots.check_collection_droppable(found.collection_id)
        meta = self._root.drop_collection(request.database, request.collection)
        if meta is not None:
            self._changed()
            drop_data(self._topology, meta.collection_id, meta.channels)
        return DONE

    def has_collection(self, request: rq.HasCollection) -> rs.Flag:
        return rs.Flag(value=self._root.exists(request.database, request.collection))

    def describe_collection(self, request: rq.DescribeCollection) -> rs.CollectionInfo:
        if request.collection or not request.collection_id:
            meta = self._find(request, request.collection)
        else:
            meta = self._root.find_by_id(request.collection_id)
        known = self._infos.get(meta.collection_id)
        if known is None or known[0] is not meta:
            if len(self._infos) >= _MOST_INFOS:
                self._infos = {}
            known = self._infos[meta.collection_id] = (meta, self._info(meta))
        return known[1]

    def _info(self, meta: CollectionMeta) -> rs.CollectionInfo:
        return rs.CollectionInfo(
            schema=msgspec.structs.replace(meta.schema, fields=without_files(meta.schema.user_fields)),
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

    def describe_collections(self, request: BatchDescribeCollection) -> CollectionInfos:
        asked = [rq.DescribeCollection(database=request.database, collection=name) for name in request.collections]
        asked += [
            rq.DescribeCollection(database=request.database, collection="", collection_id=number)
            for number in request.collection_ids
        ]
        return CollectionInfos(found=tuple(self._described(one) for one in asked))

    def _described(self, request: rq.DescribeCollection) -> rs.CollectionInfo | MilvusException:
        try:
            return self.describe_collection(request)
        except MilvusException as error:
            return error

    def show_collections(self, request: rq.ShowCollections) -> rs.Collections:
        known = self._root.list_collections(request.database)
        if request.names:
            named = {self._find(request, name).collection_id for name in request.names}
            known = tuple(m for m in known if m.collection_id in named)
        return rs.Collections(
            collections=tuple(
                rs.CollectionBrief(
                    name=m.name,
                    collection_id=m.collection_id,
                    created_timestamp=m.created_timestamp,
                    shards=m.shards,
                    loaded_percent=self._percent(m.collection_id),
                )
                for m in known
                if not request.loaded_only or self._loads.entry(m.collection_id) is not None
            )
        )

    def _percent(self, collection_id: int) -> int:
        """How much of a collection is loaded."""
        progress = self._loads.progress(collection_id)
        if progress is not None:
            return progress.percent
        return 0 if self._loads.entry(collection_id) is None else 100

    def rename_collection(self, request: rq.RenameCollection) -> rs.Done:
        self._root.rename_collection(request.database, request.collection, request.new_name, request.new_database)
        return DONE

    def truncate_collection(self, request: rq.TruncateCollection) -> rs.Done:
        meta = self._find(request, request.collection)
        decide()
        for shard in self._topology.shards(meta):
            self._delete_objects(shard.truncate(self._root.oracle.allocate))
        return DONE

    def collection_statistics(self, request: rq.GetCollectionStatistics) -> rs.RowCount:
        meta = self._find(request, request.collection)
        return rs.RowCount(rows=sum(shard.rows() for shard in self._topology.shards(meta)))

    def _delete_objects(self, segments: Iterable[SegmentMeta]) -> None:
        for segment in segments:
            self._topology.garbage.discard_prefix(segment_prefix(segment.collection_id, segment.segment_id))

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
        by_name = bool(request.collection) or not request.collection_id
        meta = self._find(request, request.collection) if by_name else self._root.find_by_id(request.collection_id)
        entry = self._loads.entry(meta.collection_id)
        named = {meta.need_partition(name).partition_id for name in request.names}
        return rs.Partitions(
            partitions=tuple(
                rs.PartitionBrief(
                    name=p.name,
                    partition_id=p.partition_id,
                    created_timestamp=p.created_timestamp,
                    loaded_percent=self._percent(meta.collection_id) if _covers(entry, p) else 0,
                )
                for p in meta.partitions
                if (not named or p.partition_id in named) and (not request.loaded_only or _covers(entry, p))
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
        check_alias(request.alias, self._topology.limits)
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


def _covers(entry: LoadEntry | None, partition: PartitionMeta) -> bool:
    return entry is not None and entry.covers(partition.partition_id)


def _for_each(channels: Iterable[str], act: Callable[[str], object]) -> None:
    for channel in channels:
        act(channel)


def drop_data(
    topology: Topology,
    collection_id: int,
    channels: Iterable[str],
    each: Callable[[Iterable[str], Callable[[str], object]], None] = _for_each,
) -> None:
    """Forget everything of a collection that no longer exists. Safe to repeat. `each` has channels do their part."""
    topology.loads.release(collection_id, None, ())
    topology.snapshots.drop_collection(collection_id)
    each(channels, lambda channel: topology.owner(channel).drop_channel(channel))
    topology.data.drop_collection(collection_id, channels)
    topology.garbage.discard_prefix(f"segments/{collection_id}/")
