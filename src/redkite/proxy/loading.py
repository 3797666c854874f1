"""Requests about load states: what can be searched."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import msgspec

from redkite.coordinator.loads import Progress
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import (
    CollectionNotFound,
    CollectionNotLoaded,
    DatabaseNotFound,
    IndexNotFound,
    InvalidParameter,
    PartitionNotFound,
    PartitionNotLoaded,
)
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.rules.load_rules import fields_to_load, groups_to_load
from redkite.model.schema import DEFAULT_RESOURCE_GROUP
from redkite.model.segments import LoadEntry
from redkite.model.types import DataType, LoadPriority, LoadState
from redkite.node.topology import Topology
from redkite.proxy.load_queue import LoadQueue

DONE = rs.Done()


def _nothing() -> None:
    """Nobody is waited for."""


def _covers(entry: LoadEntry | None, partition: int) -> bool:
    return entry is not None and entry.covers(partition)


class Loading:
    """Each method answers one request class. `changed` is called when plans made before no longer hold; `again` answers
    a request whose turn has come."""

    def __init__(
        self, topology: Topology, changed: Callable[[], None], queue: LoadQueue, again: Callable[[rq.Request], object]
    ) -> None:
        self._queue = queue
        self._again = again
        self._topology = topology
        self._root = topology.root
        self._data = topology.data
        self._loads = topology.loads
        self._changed = changed

    def _find(self, request: rq.Request, collection: str) -> CollectionMeta:
        return self._root.find(request.database, collection)

    def load_collection(self, request: rq.LoadCollection) -> rs.Done:
        meta = self._find(request, request.collection)
        return self._load(meta, request, None)

    def load_partitions(self, request: rq.LoadPartitions) -> rs.Done:
        meta = self._find(request, request.collection)
        if meta.has_partition_key:
            raise InvalidParameter("disable load partitions if partition key mode is used")
        if not request.partitions:
            raise InvalidParameter("no partition specified")
        return self._load(meta, request, [meta.need_partition(name).partition_id for name in request.partitions])

    def _load(
        self, meta: CollectionMeta, request: rq.LoadCollection | rq.LoadPartitions, partitions: list[int] | None
    ) -> rs.Done:
        database = self._root.describe_database(meta.database).properties
        groups = groups_to_load(request.replicas, request.resource_groups, meta.properties, database)
        entry = self._loads.entry(meta.collection_id)
        if entry is not None and not any(groups) and len(groups) == len(entry.copies):
            groups = ()  # as many as there are, and nobody says where: they stay
        named = [name or DEFAULT_RESOURCE_GROUP for name in groups]
        fields = fields_to_load(meta.schema, request.load_fields, request.skip_dynamic_field)
        if request.refresh and entry is not None:
            fields = entry.fields
        self._check_indexed(meta)
        if request.refresh and entry is None:
            raise CollectionNotLoaded.named(meta.name)
        self._loads.check_groups(named or ([DEFAULT_RESOURCE_GROUP] if entry is None else []))
        if request.priority is LoadPriority.LOW:
            due = msgspec.structs.replace(request, priority=LoadPriority.DUE)
            self._queue.put(meta.collection_id, partitions, lambda: self._load_late(meta, due))
            return DONE

        def load(of: Collection[int] | None) -> LoadEntry:
            return self._loads.load(meta.collection_id, of, named, fields)

        if request.priority is LoadPriority.DUE:
            begin = partial(self._queue.begin, meta.collection_id, load)
            return self._load_now(meta, partitions, begin, self._queue.stand_back)
        with self._queue.ahead():
            return self._load_now(meta, partitions, lambda: load(partitions) is not None, _nothing)

    def _load_now(
        self,
        meta: CollectionMeta,
        partitions: list[int] | None,
        begin: Callable[[], bool],
        before_each: Callable[[], None],
    ) -> rs.Done:
        """`begin` has it noted what is loaded, unless that is not wanted any more."""
        old = self._loads.entry(meta.collection_id)
        if old is None:
            with self._loads.loading(meta.collection_id, len(meta.channels)) as progress:
                return self._reload(meta, progress, before_each) if begin() else DONE
        asked = [p.partition_id for p in meta.partitions] if partitions is None else partitions
        fresh = [partition for partition in asked if not old.covers(partition)]
        if not fresh:
            return self._reload(meta, before_each=before_each) if begin() else DONE
        try:
            with self._loads.arriving(meta.collection_id, fresh):
                return self._reload(meta, before_each=before_each) if begin() else DONE
        finally:
            self._changed()  # reads that were planned meanwhile go without them

    def _load_late(self, meta: CollectionMeta, request: rq.LoadCollection | rq.LoadPartitions) -> None:
        """What was asked for with low priority, under the name that the collection has by now."""
        try:
            now = self._root.find_by_id(meta.collection_id)
            self._again(msgspec.structs.replace(request, database=now.database, collection=now.name))
            self._root.find_by_id(meta.collection_id)
        except CollectionNotFound:  # dropped before, or meanwhile
            self._loads.release(meta.collection_id, None, ())

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
        self._queue.forget(meta.collection_id)
        self._loads.release(meta.collection_id, None, ())
        return self._reload(meta)

    def release_partitions(self, request: rq.ReleasePartitions) -> rs.Done:
        meta = self._find(request, request.collection)
        if meta.has_partition_key:
            raise InvalidParameter("disable release partitions if partition key mode is used")
        gone = [meta.need_partition(name).partition_id for name in request.partitions]
        existing = [p.partition_id for p in meta.partitions]
        self._queue.forget_some(meta.collection_id, gone, existing)
        self._loads.release(meta.collection_id, gone, existing)
        return self._reload(meta)

    def _reload(
        self, meta: CollectionMeta, progress: Progress | None = None, before_each: Callable[[], None] = _nothing
    ) -> rs.Done:
        self._changed()
        for shard in self._topology.shards(meta):
            before_each()
            shard.reload()
            if progress is not None:
                progress.done += 1
        return DONE

    def loading_progress(self, request: rq.GetLoadingProgress) -> rs.LoadProgress:
        meta = self._find(request, request.collection)
        entry = self._loads.entry(meta.collection_id)
        wanted = [meta.need_partition(name) for name in request.partitions]
        missing = [one for one in wanted if not _covers(entry, one.partition_id)]
        waits = self._queue.waits(meta.collection_id)
        if entry is None or missing:
            if waits and all(self._queue.waits(meta.collection_id, one.partition_id) for one in missing):
                return rs.LoadProgress(percent=0, refresh_percent=0)
            failure = self._queue.failure(meta.collection_id)
            raise failure or (
                CollectionNotLoaded.named(meta.name) if entry is None else PartitionNotLoaded.named(missing[0].name)
            )
        progress = self._loads.progress(meta.collection_id)
        percent = 100 if progress is None else progress.percent
        if waits and not wanted:  # of a collection of which a part is loaded already
            late = [
                one
                for one in meta.partitions
                if not _covers(entry, one.partition_id) and self._queue.waits(meta.collection_id, one.partition_id)
            ]
            percent = min(percent, 100 * (len(meta.partitions) - len(late)) // len(meta.partitions))
        return rs.LoadProgress(percent=percent, refresh_percent=0 if waits else 100)

    def load_state(self, request: rq.GetLoadState) -> rs.LoadStateInfo:
        try:
            meta = self._find(request, request.collection)
        except (CollectionNotFound, DatabaseNotFound):
            return rs.LoadStateInfo(state=LoadState.NotExist)
        entry = self._loads.entry(meta.collection_id)
        loaded, waits = entry is not None, self._queue.waits(meta.collection_id)
        for name in request.partitions:
            partition = meta.partition(name)
            if partition is None:
                raise PartitionNotFound.named(name)
            loaded = loaded and _covers(entry, partition.partition_id)
            waits = waits and self._queue.waits(meta.collection_id, partition.partition_id)
        if not loaded and waits:
            return rs.LoadStateInfo(state=LoadState.Loading)
        if loaded and self._loads.progress(meta.collection_id) is not None:
            return rs.LoadStateInfo(state=LoadState.Loading)
        return rs.LoadStateInfo(state=LoadState.Loaded if loaded else LoadState.NotLoad)
