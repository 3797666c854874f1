"""How a process writes to shards that are elsewhere: pieces to owners, each with an id, so that none is done twice.

Each piece is atomic. What depends on rows that are there (partial upserts, conditions, deletes by filter) is decided by
each shard's owner for the keys of that shard, in a turn of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, ClassVar, Final, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from redkite.cluster.network import Message
from redkite.cluster.shards.calling import CalledShard
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Tasks
from redkite.filter import Filter
from redkite.functions.registry import Functions
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.batch import arrow_type
from redkite.model.one_row import OneRow
from redkite.model.schema import CollectionSchema
from redkite.node.face import ShardFace
from redkite.node.records import Parts, Rows
from redkite.node.topology import Topology
from redkite.proxy.changes import Fill
from redkite.proxy.parted import partly_written
from redkite.proxy.pending import when_all
from redkite.proxy.reads import Reads
from redkite.proxy.routing import Partition, shard_keys, shard_numbers
from redkite.proxy.rules.row_rules import RowRules
from redkite.proxy.writes import Routed, Writes

R = TypeVar("R")
KEYS: Final = "redkite_keys"
"""The parameter of filters that name keys."""
WRITE_SECONDS: Final = 30.0
"""How long a write goes after the owner of its channel, which may be dying meanwhile."""


class Write(Message, frozen=True, kw_only=True):
    """A write to one shard. May be sent again: who remembers its id does not do it again."""

    idempotent: ClassVar[bool] = True
    channel: str
    write_id: int
    sent: int
    """Timestamp of the sender, before it was first sent."""
    doubtful: bool = False
    """Whether it was sent before and nobody said what came of it."""


class InsertRows(Write, frozen=True, kw_only=True):
    """-> Wrote. Rows, partition by partition, as `schema` had them checked."""

    parts: Parts
    rows: pa.RecordBatch | OneRow
    schema: CollectionSchema


class DeleteKeys(Write, frozen=True, kw_only=True):
    """-> Wrote."""

    keys: pa.Array


class ChangeRows(Write, frozen=True, kw_only=True):
    """-> Wrote. A partial or conditional upsert of rows of this shard."""

    request: rq.Upsert
    """Without rows, …"""
    rows: pa.RecordBatch
    """… which were checked by …"""
    schema: CollectionSchema
    partition: int | None


class DeleteFound(Write, frozen=True, kw_only=True):
    """-> Wrote. What passes a filter in this shard."""

    request: rq.Delete


class FillRows(Write, frozen=True, kw_only=True):
    """-> Wrote. Values of a function for rows of this shard."""

    fill: Fill
    schema: CollectionSchema


class Wrote(msgspec.Struct, frozen=True):
    timestamp: int
    count: int


class WritesThere(CalledShard):
    """The part of a remote shard that writes."""

    def insert(
        self,
        parts: Parts,
        rows: Rows,
        allocate: Callable[[], int],
        answer: Callable[[int], R],
        schema: CollectionSchema | None = None,
    ) -> Future[R]:
        """See `ShardFace.insert`. The owner stamps it; `allocate` gives the id of the write."""
        written = self.insert_rows(parts, rows, schema or self.collection.schema, allocate())
        return when_all(self._caller.tasks, [written], lambda: answer(written.result().timestamp))

    def insert_rows(self, parts: Parts, rows: Rows, schema: CollectionSchema, sent: int) -> Future[Wrote]:
        """Rows of this shard."""
        return self._sent(InsertRows, sent, parts=parts, rows=rows, schema=schema)

    def delete_keys(self, keys: pa.Array, sent: int) -> Future[Wrote]:
        """Delete rows of keys of this shard."""
        return self._sent(DeleteKeys, sent, keys=keys)

    def change_rows(
        self, request: rq.Upsert, rows: pa.RecordBatch, schema: CollectionSchema, partition: int | None, sent: int
    ) -> Future[Wrote]:
        """An upsert of rows of this shard that depends on what is there."""
        return self._sent(ChangeRows, sent, request=request, rows=rows, schema=schema, partition=partition)

    def delete_found(self, request: rq.Delete, sent: int) -> Future[Wrote]:
        """Delete what passes in this shard."""
        return self._sent(DeleteFound, sent, request=request)

    def fill_rows(self, fill: Fill, schema: CollectionSchema, sent: int) -> Future[Wrote]:
        """Values of a function for rows of this shard."""
        return self._sent(FillRows, sent, fill=fill, schema=schema)

    def _sent(self, kind: type[Write], sent: int, **what: Any) -> Future[Wrote]:
        message = kind(channel=self.channel, write_id=self._caller.new_id(), sent=sent, **what)
        return self._caller.send(self.channel, message, WRITE_SECONDS)


class RemoteWrites(Writes):
    """Writes to shards of other machines."""

    def __init__(self, topology: Topology, reads: Reads, functions: Functions) -> None:
        super().__init__(topology, reads, functions)
        self._tasks: Tasks = topology.env.tasks
        self._now: Callable[[], int] = topology.root.oracle.allocate

    def is_quick(self, meta: CollectionMeta) -> bool:  # noqa: ARG002  whatever is open
        """Owners open shards, and what is sent to them answers a future."""
        return True

    def write_several(self, meta: CollectionMeta, ids: pa.Array, routed: Sequence[Routed]) -> Future[rs.Result]:
        """Each shard its piece. One that fails while others have theirs makes it PartlyWritten."""
        shards, sent = self._shards(meta), self._now()
        writes = {n: shards[n].insert_rows(parts, rows, meta.schema, sent) for n, parts, rows in routed}
        return self._together(meta, ids, writes, partial(_mutation, ids, len(ids)))

    def change(
        self, meta: CollectionMeta, request: rq.Upsert, rows: pa.RecordBatch, partition: Partition, rules: RowRules
    ) -> Future[rs.Result]:
        """See `Writes.change`: each owner looks after the rows of its shard, by rules of its own."""
        del rules
        assert partition is None or isinstance(partition, int), "one partition is named, or none"
        assert isinstance(request.rows, pa.RecordBatch), "it depends on what is there"
        keys = rows.column(meta.schema.primary.name)
        shards, sent = self._shards(meta), self._now()
        writes = {}
        for number, here in _places(meta, keys):
            some = msgspec.structs.replace(
                request, user="", rows=request.rows.slice(0, 0), condition=_of_rows(request.condition, here)
            )
            part = rows if here is None else rows.take(pa.array(here))
            writes[number] = shards[number].change_rows(some, part, meta.schema, partition, sent)
        return self._together(meta, keys, writes, partial(_mutation, keys, len(keys)))

    def delete_named(self, meta: CollectionMeta, keys: pa.Array) -> Future[rs.Result]:
        shards, sent = self._shards(meta), self._now()
        writes = {n: shards[n].delete_keys(some, sent) for n, some in shard_keys(meta, keys) if len(some)}
        none = pa.array([], arrow_type(meta.schema.primary))
        if not writes:
            return self._done(_mutation(none, 0, sent))
        return self._together(meta, keys, writes, partial(_mutation, none, len(keys)))

    def delete_found(self, meta: CollectionMeta, request: rq.Delete, condition: Filter) -> Future[rs.Result]:
        shards, sent = self._shards(meta), self._now()
        request = msgspec.structs.replace(request, user="")
        none = pa.array([], arrow_type(meta.schema.primary))
        if condition.primary_keys is None:
            writes = {n: shard.delete_found(request, sent) for n, shard in enumerate(shards)}
            return self._together(meta, none, writes, lambda at: _counted(none, writes, at))
        keys = pa.array(condition.primary_keys, none.type)
        writes = {}
        for number, here in _places(meta, keys):
            some = keys if here is None else keys.take(pa.array(here))
            part = msgspec.structs.replace(
                request,
                filter=f"{meta.schema.primary.name} in {{{KEYS}}}",
                filter_params={KEYS: some.to_pylist()},
                condition=_of_rows(request.condition, here),
            )
            writes[number] = shards[number].delete_found(part, sent)
        if not writes:
            return self._done(_mutation(none, 0, sent))
        if request.condition is None:  # keys that are named count, there or not
            return self._together(meta, keys, writes, partial(_mutation, none, len(keys)))
        return self._together(meta, keys, writes, lambda at: _counted(none, writes, at))

    def fill(self, meta: CollectionMeta, fill: Fill) -> Future[rs.Result]:
        """See `Changes.fill`: each owner looks after the rows of its shard."""
        keys = fill.rows.column(meta.schema.primary.name)
        shards, sent = self._shards(meta), self._now()
        writes = {}
        for number, here in _places(meta, keys):
            some = fill
            if here is not None:
                wanted = pa.array(here)
                some = msgspec.structs.replace(fill, rows=fill.rows.take(wanted), values=fill.values.take(wanted))
            writes[number] = shards[number].fill_rows(some, meta.schema, sent)
        return self._together(meta, keys, writes, lambda _: rs.Done()) if writes else self._done(rs.Done())

    def _shards(self, meta: CollectionMeta) -> list[WritesThere]:
        return [_there(shard) for shard in self._topology.shards(meta)]

    def _together(
        self,
        meta: CollectionMeta,
        keys: pa.Array,
        writes: Mapping[int, Future[Wrote]],
        answer: Callable[[int], rs.Result],
    ) -> Future[rs.Result]:
        """`answer(the newest timestamp)` when all are done; `keys` are those of the rows."""
        numbers, futures = list(writes), list(writes.values())

        def parted(failed: list[int], error: BaseException) -> BaseException:
            return partly_written(meta, keys, {meta.channels[numbers[at]] for at in failed}, error)

        return when_all(self._tasks, futures, lambda: answer(max(f.result().timestamp for f in futures)), parted)


def _there(shard: ShardFace) -> WritesThere:
    assert isinstance(shard, WritesThere), "shards of a cluster are asked at their owners"
    return shard


def _mutation(ids: pa.Array, count: int, timestamp: int) -> rs.Result:
    return rs.Mutation(ids=ids, count=count, timestamp=timestamp)


def _counted(none: pa.Array, writes: Mapping[int, Future[Wrote]], timestamp: int) -> rs.Result:
    return _mutation(none, sum(write.result().count for write in writes.values()), timestamp)


def _places(meta: CollectionMeta, keys: pa.Array) -> list[tuple[int, np.ndarray[Any, Any] | None]]:
    """Shard numbers, and which of the keys each has, in their order; None: all."""
    if meta.shards == 1:
        return [(0, None)] if len(keys) else []
    numbers = shard_numbers(meta, keys)
    return [(int(number), np.flatnonzero(numbers == number)) for number in np.unique(numbers)]


def _of_rows(condition: rq.Condition | None, here: np.ndarray[Any, Any] | None) -> rq.Condition | None:
    """What a condition says of some of the rows."""
    if condition is None or here is None or len(condition.versions) <= 1:
        return condition
    versions = condition.versions
    within = [versions[at] for at in here.tolist() if at < len(versions)]
    return msgspec.structs.replace(condition, versions=tuple(within))
