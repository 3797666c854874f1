"""How the coordinator that leads carries out requests that change something: under keys, and so that they are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Final

from redkite.coordinator.broadcast import (
    Acknowledged,
    Broadcaster,
    DropData,
    DropIndexFiles,
    DropPartitionRows,
    Follow,
    Key,
    TruncateTo,
    Work,
    collection_key,
    collection_of,
    decided,
    with_task,
)
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import CollectionNotFound, Conflict, MilvusException, NotFound
from redkite.model import access as ac
from redkite.model import function_changes as fc
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.schema import DEFAULT_DATABASE
from redkite.model.segments import IndexMeta
from redkite.model.service import Service
from redkite.node.face import ShardFace
from redkite.node.implied import settle_indexes
from redkite.node.topology import Topology
from redkite.proxy.definitions import drop_data
from redkite.segment.files import segment_prefix
from redkite.storage.coordination import Fenced
from redkite.storage.followed import FollowedCatalog

_TRIES: Final = 5
_ALONE: Final = (
    rq.DropCollection, rq.RenameCollection, rq.TruncateCollection, rq.AddCollectionField, rq.AddCollectionStructField,
    rq.DropCollectionField, rq.AlterCollectionField, rq.AlterCollection, fc.AddFunctionField, fc.DropFunctionField,
    fc.AlterFunction, rq.CreatePartition, rq.DropPartition, rq.CreateIndex, rq.AlterIndex, rq.DropIndex,
)  # fmt: skip
"""What nobody else may do anything to a collection meanwhile."""
_SHARED: Final = (
    rq.LoadCollection, rq.ReleaseCollection, rq.LoadPartitions, rq.ReleasePartitions, rq.Compact, rq.CreateSnapshot,
    rq.DropSnapshot, rq.CreateAlias, rq.AlterAlias,
)  # fmt: skip
"""What may be done side by side, but not while the collection changes."""
_FOLLOWED: Final = (
    rq.AddCollectionField, rq.AddCollectionStructField, rq.DropCollectionField, rq.AlterCollectionField,
    rq.AlterCollection, fc.AddFunctionField, fc.DropFunctionField, fc.AlterFunction, rq.CreatePartition,
    rq.CreateIndex, rq.AlterIndex,
)  # fmt: skip
"""What the owners of a collection's shards take over."""
_DATABASES: Final = (rq.CreateDatabase, rq.DropDatabase, rq.AlterDatabase)
_ACCESS: Final = (
    ac.CreateUser, ac.UpdateUser, ac.DropUser, ac.CreateApiKey, ac.DropApiKey, ac.CreateRole, ac.AlterRole, ac.DropRole,
    ac.BindRole, ac.OperatePrivilege, ac.OperatePrivilegeV2, ac.CreatePrivilegeGroup, ac.DropPrivilegeGroup,
    ac.ChangePrivilegeGroup, ac.RestoreAccess, ac.CreateRowPolicy, ac.DropRowPolicy,
)  # fmt: skip


ONCE: Final = frozenset({*_ALONE, *_DATABASES, *_ACCESS, rq.CreateAlias, rq.DropAlias, rq.AlterAlias}) - {
    ac.CreateApiKey  # nobody remembers what it has answered
}
"""Changes that say nothing but that they are done: made again, such a one is done once."""


class Begun:
    """Whether a request has committed anything."""

    __slots__ = ("commits",)

    def __init__(self) -> None:
        self.commits = 0


_BEGUN: ContextVar[Begun | None] = ContextVar("redkite_request_begun", default=None)


@contextmanager
def watching() -> Iterator[Begun]:
    """Counts what this thread commits meanwhile by a `TaskedCatalog`, or may have committed."""
    begun = Begun()
    token = _BEGUN.set(begun)
    try:
        yield begun
    finally:
        _BEGUN.reset(token)


class TaskedCatalog(FollowedCatalog):
    """The catalog of the coordinator that leads: a commit that decides a change carries its task."""

    def __init__(self, followed: FollowedCatalog) -> None:
        super().__init__(followed._copy, followed._store, followed.fence)

    def commit(
        self,
        puts: Mapping[str, bytes],
        deletes: Iterable[str] = (),
        expect: Mapping[str, bytes | None] | None = None,
    ) -> None:
        gone = list(deletes)
        puts = with_task(puts, gone)
        try:
            super().commit(puts, gone, expect)
        except (Conflict, Fenced):
            raise
        except MilvusException:
            self._done(puts)  # perhaps
            raise
        self._done(puts)

    def _done(self, puts: Mapping[str, bytes]) -> None:
        decided(puts)
        begun = _BEGUN.get()
        if begun is not None:
            begun.commits += 1


class CarryingOut:
    """What is done for tasks, any number of times."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def __call__(self, work: Work, done: Acknowledged) -> None:
        if isinstance(work, DropData):
            drop_data(self._topology, work.collection_id, work.channels, done.each)
            return
        try:
            meta = self._topology.root.find_by_id(collection_of(work))
        except CollectionNotFound:
            return  # dropped since, and all of it with it
        act: Callable[[ShardFace], object]
        if isinstance(work, DropPartitionRows):
            act = partial(_without_partition, work.partition_id)
        elif isinstance(work, TruncateTo):
            act = partial(self._truncate, work.timestamp)
        elif isinstance(work, DropIndexFiles):
            act = partial(_without_index, work.index)
        else:
            act = _built
        done.each(meta.channels, lambda channel: act(self._shard(meta, channel)))
        if isinstance(work, DropPartitionRows):
            self._drop_segments(meta.collection_id, work.partition_id)
        if isinstance(work, DropPartitionRows | Follow):
            topology, current = self._topology, self._topology.root.current(meta)
            settle_indexes(topology.data, topology.garbage, current, topology.open_shards(current))

    def _shard(self, meta: CollectionMeta, channel: str) -> ShardFace:
        """A shard that has taken over what its collection is now."""
        topology = self._topology
        current = topology.root.current(meta)
        shard = topology.streaming.owner(channel).shard(current, channel)
        shard.follow(partial(topology.root.current, current))
        return shard

    def _drop_segments(self, collection_id: int, partition_id: int) -> None:
        topology = self._topology
        gone = topology.data.remove_segments(collection_id, lambda s: s.partition_id == partition_id)
        for segment in gone:
            topology.garbage.discard_prefix(segment_prefix(segment.collection_id, segment.segment_id))

    def _truncate(self, timestamp: int, shard: ShardFace) -> None:
        topology = self._topology
        if shard.readable_from < timestamp:  # else it was done before
            for segment in shard.truncate(topology.root.oracle.allocate):
                topology.garbage.discard_prefix(segment_prefix(segment.collection_id, segment.segment_id))


def _without_partition(partition_id: int, shard: ShardFace) -> None:
    shard.forget([partition_id])


def _without_index(index: IndexMeta, shard: ShardFace) -> None:
    shard.drop_index(index)


def _built(shard: ShardFace) -> None:
    shard.build_all()


class Deciding:
    """Answers requests as `proxy` does. Changes are had under their keys, and are carried out whole."""

    def __init__(
        self, proxy: Service, topology: Topology, broadcaster: Broadcaster, refresh: Callable[[], object]
    ) -> None:
        """`refresh` has everything here that anybody has committed."""
        self._proxy, self._topology = proxy, topology
        self._refresh = refresh
        self._root = topology.root
        self.broadcaster = broadcaster

    def call(self, request: rq.Request, number: int = 0) -> rs.Result:
        """`number` is the request's own, of one in `ONCE`; 0: it has none."""
        keys = self._keys(request)
        if not keys:
            return _now(self._proxy.call(request))
        meta = self._meta(request)
        if meta is not None:
            self.broadcaster.finish_earlier(meta.collection_id)
        return self.broadcaster.change(
            keys, lambda: self._work(request), lambda: self._decided(request), number, self._again if number else None
        )

    def _again(self) -> rs.Result:
        """The request was decided when it was made before: by this coordinator, or by one that went away meanwhile."""
        self.broadcaster.resume()
        return rs.Done()

    def _decided(self, request: rq.Request) -> rs.Result:
        """A change of what somebody else has changed since it was read is tried again with what it is now."""
        for _ in range(_TRIES):
            try:
                return _now(self._proxy.call(request))
            except Conflict:
                self._refresh()
        return _now(self._proxy.call(request))

    # -- keys -----------------------------------------------------------------------------------
    def _keys(self, request: rq.Request) -> list[Key]:
        if isinstance(request, _ACCESS):
            return [Key("access/all", alone=True)]
        home = request.database or DEFAULT_DATABASE
        if isinstance(request, _DATABASES):
            return [Key(f"database/{home}", alone=True)]
        database = Key(f"database/{home}")
        if isinstance(request, rq.CreateCollection):
            return [database, Key(f"name/{home}/{request.schema.name}", alone=True)]
        if isinstance(request, rq.DropAlias):
            return [database, Key(f"name/{home}/{request.alias}", alone=True)]
        if not isinstance(request, (*_ALONE, *_SHARED)):
            return []
        meta = self._meta(request)
        if meta is None:
            return [database]
        keys = [database, collection_key(meta.collection_id, alone=isinstance(request, _ALONE))]
        if isinstance(request, rq.CreateAlias | rq.AlterAlias):
            keys.append(Key(f"name/{home}/{request.alias}", alone=True))
        elif isinstance(request, rq.DropCollection):
            keys.append(Key(f"name/{home}/{meta.name}", alone=True))
        elif isinstance(request, rq.RenameCollection):
            there = request.new_database or home
            keys += [Key(f"database/{there}"), Key(f"name/{home}/{meta.name}", alone=True)]
            keys.append(Key(f"name/{there}/{request.new_name}", alone=True))
        return keys

    def _meta(self, request: rq.Request) -> CollectionMeta | None:
        name: str = getattr(request, "collection", "")
        if not name:
            return None
        try:
            return self._root.find(request.database, name)
        except NotFound:
            return None

    # -- what is to be done when it is decided -----------------------------------------------------
    def _work(self, request: rq.Request) -> list[Work]:
        meta = self._meta(request) if isinstance(request, _ALONE) else None
        if meta is None:
            return []
        number = meta.collection_id
        if isinstance(request, rq.DropCollection):
            return [DropData(collection_id=number, channels=meta.channels)]
        if isinstance(request, rq.DropPartition):
            partition = meta.partition(request.partition)
            return (
                []
                if partition is None
                else [DropPartitionRows(collection_id=number, partition_id=partition.partition_id)]
            )
        if isinstance(request, rq.TruncateCollection):
            return [TruncateTo(collection_id=number, timestamp=self._root.oracle.allocate())]
        if isinstance(request, rq.DropIndex):
            try:
                found = self._topology.data.find_indexes(number, meta.name, request.index_name, request.field)
            except NotFound:
                return []
            return [DropIndexFiles(index=index) for index in found]
        return [Follow(collection_id=number)] if isinstance(request, _FOLLOWED) else []


def _now(found: rs.Result | Future[rs.Result]) -> rs.Result:
    return found.result() if isinstance(found, Future) else found
