"""How an owner answers writes to its shards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

import pyarrow as pa

from redkite.cluster.network import Handler, Unanswered
from redkite.cluster.shards.handling import begun, owned
from redkite.cluster.shards.writing import ChangeRows, DeleteFound, DeleteKeys, FillRows, InsertRows, Write, Wrote
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Executor
from redkite.errors import MilvusException, NotOwner, TopicClosed, Unavailable
from redkite.filter import compile_filter
from redkite.functions.registry import Functions
from redkite.node.memory import nothing
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.node.written import Logged
from redkite.proxy.changes import Changes
from redkite.proxy.pending import when_all
from redkite.proxy.reads import Reads
from redkite.proxy.rules.row_rules import rules_of
from redkite.segment.evolution import SchemaMoved
from redkite.storage.coordination import Fenced


class OwnerNode(Protocol):
    """A node that owns channels."""

    topology: Topology
    """Of what it knows; its streaming nodes are itself."""

    def own_shard(self, channel: str, *, by_log: bool = False) -> Shard:
        """The shard, open and as new as its collection. Raises NotOwner. `by_log`: also where only the log knows that
        this node owns it, which takes no record of any other."""
        ...

    def open_shard(self, channel: str, *, by_log: bool = False) -> Shard | None:
        """The shard if it is open. Raises NotOwner."""
        ...

    def prove(self, channel: str) -> None:
        """Come back when it is certain that nobody else had answered for a channel by the time of the call. Raises
        NotOwner."""
        ...


class WritingService:
    """Answers `writing` messages. Safe from any thread."""

    def __init__(self, node: OwnerNode, reads: Reads, functions: Functions, worker: Executor) -> None:
        """`worker` runs what waits for other writes."""
        topology = node.topology
        self._node = node
        self._topology = topology
        self._standing = topology.standing
        self._functions = functions
        self._allocate: Callable[[], int] = topology.root.oracle.allocate
        self._changes = Changes(topology, reads, self._allocate)
        self._worker = worker

    def handlers(self) -> Mapping[type, Handler]:
        return {
            InsertRows: self._at_once(self._insert),
            DeleteKeys: self._at_once(self._delete),
            ChangeRows: self._later(self._change),
            DeleteFound: self._later(self._delete_found),
            FillRows: self._later(self._fill),
        }

    def _at_once(self, write: Callable[[Shard, Any], Future[Wrote]]) -> Handler:
        """A write that does not wait for those before it."""
        return owned(lambda message: self._once(message, write))

    def _later(self, write: Callable[[Shard, Any], Future[Wrote]]) -> Handler:
        """A write that does, on another thread; its answer is a future of a future."""

        def looking(shard: Shard, message: Any) -> Future[Wrote]:
            try:
                return write(shard, message)
            except MilvusException:
                self._check_owned(shard)
                raise

        def handle(message: Write) -> Future[Any]:
            answer: Future[Any] = self._topology.env.tasks.future()
            begun(self._worker, self._chained, message, looking, answer)
            return answer

        return handle

    def _chained(self, message: Write, write: Callable[[Shard, Any], Future[Wrote]], answer: Future[Any]) -> None:
        try:
            written = owned(lambda _: self._once(message, write))(message)
        except BaseException as error:  # noqa: BLE001  it is the answer
            answer.set_exception(error)
            return
        written.add_done_callback(partial(_pass_on, answer))

    def _once(self, message: Write, write: Callable[[Shard, Any], Future[Wrote]]) -> Future[Wrote]:
        shard = self._node.own_shard(message.channel, by_log=True)
        oracle = self._topology.root.oracle
        written = shard.written.once(
            self._topology.env.tasks,
            message.write_id,
            message.sent,
            oracle.now(),
            lambda: self._admitted(shard, message, write),
            _told,
            doubtful=message.doubtful,
        )
        answer: Future[Wrote] = self._topology.env.tasks.future()
        written.add_done_callback(partial(self._translated, shard, message, answer))
        return answer

    def _admitted(self, shard: Shard, message: Write, write: Callable[[Shard, Any], Future[Wrote]]) -> Future[Wrote]:
        """Within the memory there is for writes, until it is applied. Its proxy may not have heard yet that nothing may
        be written: what comes then is refused here."""
        self._standing.begin()
        done = nothing
        try:
            done = self._topology.memory.admit(_bytes_of(message))
            future = write(shard, message)
        except BaseException:
            done()
            self._standing.end()
            raise
        future.add_done_callback(lambda _: self._after(shard, done))
        return future

    def _after(self, shard: Shard, done: Callable[[], None]) -> None:
        self._standing.end()
        if done is not nothing:
            done()
        self._topology.streaming.owner(shard.channel).seal_if_full(shard)

    def _check_owned(self, shard: Shard) -> None:
        """What was found by looking says nothing where the channel was let go of meanwhile, or the process stood still
        until another was its owner: nothing was logged, and that one looks at what it has. Raises NotOwner."""
        self._node.prove(shard.channel)
        if self._node.own_shard(shard.channel, by_log=True) is not shard:
            raise NotOwner.of(shard.channel)

    def _translated(self, shard: Shard, message: Write, answer: Future[Wrote], done: Future[Wrote]) -> None:
        """A write that met the next owner of its channel, or was under way when the channel was let go of, may be in
        the log or not: the next owner knows. One of a single record that met a log that was closed already is not."""
        error = done.exception()
        if isinstance(error, TopicClosed) and isinstance(message, InsertRows | DeleteKeys):
            answer.set_exception(NotOwner.of(message.channel))
        elif isinstance(error, Fenced | TopicClosed) or (type(error) is Unavailable and self._is_gone(shard)):
            answer.set_exception(Unanswered(f"the channel has another owner: {error}"))
        else:
            _pass_on(answer, done)

    def _is_gone(self, shard: Shard) -> bool:
        """Whether the channel was let go of."""
        try:
            return self._node.open_shard(shard.channel, by_log=True) is not shard
        except NotOwner:
            return True

    # -- the writes -------------------------------------------------------------------------------
    def _insert(self, shard: Shard, message: InsertRows) -> Future[Wrote]:
        count = message.rows.num_rows
        return shard.insert(
            message.parts, message.rows, self._allocate, lambda timestamp: Wrote(timestamp, count), message.schema
        )

    def _delete(self, shard: Shard, message: DeleteKeys) -> Future[Wrote]:
        with shard.turn():
            timestamp = self._allocate()
            logged = shard.log_keys(message.keys, timestamp)
        return self._wrote(shard, [logged], timestamp, len(message.keys))

    def _change(self, shard: Shard, message: ChangeRows) -> Future[Wrote]:
        meta = shard.collection
        if meta.schema.version != message.schema.version:
            raise SchemaMoved.named(meta.name)
        rules = rules_of(meta.schema, self._topology.limits, self._functions)
        shards = {_number(meta, shard): shard}
        timestamp, logged = self._changes.upsert(meta, shards, message.request, message.rows, message.partition, rules)
        return self._wrote(shard, [future for _, future in logged], timestamp, message.rows.num_rows)

    def _fill(self, shard: Shard, message: FillRows) -> Future[Wrote]:
        meta = shard.collection
        if meta.schema.version != message.schema.version:
            return self._wrote(shard, [], 0, 0)  # the next pass finds them
        rules = rules_of(meta.schema, self._topology.limits, self._functions)
        timestamp, logged = self._changes.fill(meta, {_number(meta, shard): shard}, message.fill, rules)
        return self._wrote(shard, [future for _, future in logged], timestamp, message.fill.rows.num_rows)

    def _delete_found(self, shard: Shard, message: DeleteFound) -> Future[Wrote]:
        meta, request = shard.collection, message.request
        zone = self._topology.root.zone_of(meta)
        condition = compile_filter(request.filter, meta.schema, request.filter_params, purpose="delete", zone=zone)
        shards = {_number(meta, shard): shard}
        keys, (timestamp, logged) = self._changes.delete(meta, shards, request, condition)
        return self._wrote(shard, [future for _, future in logged], timestamp, len(keys))

    def _wrote(self, shard: Shard, logged: list[Future[int]], timestamp: int, count: int) -> Future[Wrote]:
        if logged:
            return when_all(self._topology.env.tasks, logged, lambda: Wrote(timestamp, count))
        self._check_owned(shard)
        done: Future[Wrote] = self._topology.env.tasks.future()
        done.set_result(Wrote(timestamp, count))
        return done


def _number(meta: CollectionMeta, shard: Shard) -> int:
    return meta.channels.index(shard.channel)


def _bytes_of(message: Write) -> int:
    if isinstance(message, InsertRows | ChangeRows):
        return message.rows.nbytes
    return int(message.keys.nbytes) if isinstance(message, DeleteKeys) and isinstance(message.keys, pa.Array) else 0


def _told(logged: Logged) -> Wrote:
    return Wrote(logged.timestamp, logged.rows)


def _pass_on(answer: Future[Any], done: Future[Any]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
