"""Index builds and compactions as work that is sent to data nodes.

A streaming node has a `SharedDataNode` where a server of its own has a `DataNode`: the same methods, done by one of the
data nodes that are alive. One that dies, is cut off or cannot take it is left, and another gets the work; with none, it
is done here. Work may so be done twice at once: each try writes objects under names of its own, which are made of ids
that are given out once, and what nobody takes into the catalog is garbage. A data node stops what its asker does not
want any more, and what nobody is there to take.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar, Final

import msgspec
import numpy as np

from redkite.cluster.network import CALLER, Handler, Message, Network, NotReached, Remote, Unanswered, WrongPeer
from redkite.env import Env
from redkite.errors import DiskLimitExceeded, MemoryLimitExceeded, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.compaction_work import Compacted, CompactionWork
from redkite.node.data import DataNode
from redkite.node.memory import MemoryBudget
from redkite.segment.compaction import MadeSegment
from redkite.segment.deletes import Deletes
from redkite.segment.files import segment_prefix
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)

LOOK_SECONDS: Final = 0.25
"""How often whoever waits for work looks whether it is still wanted, and whoever does it still there."""
WORK_SECONDS: Final = 6 * 3600.0
"""No work takes longer."""
AT_A_TIME: Final = 8
"""Indexes that one streaming node has built elsewhere at a time."""
_SPARE_IDS: Final = 4
_ELSEWHERE: Final = (NotReached, Unanswered, WrongPeer, Unavailable, MemoryLimitExceeded, DiskLimitExceeded)
"""What another data node may be able to do all the same."""


# -- messages -----------------------------------------------------------------------------------
class BuildIndex(Message, frozen=True, kw_only=True):
    """Build an index over a segment and store it under a name."""

    idempotent: ClassVar[bool] = True

    work_id: int
    """Who asks again by the same gets the same answer."""
    meta: SegmentMeta
    index: IndexMeta
    schema: CollectionSchema
    name: str


class CompactSegments(Message, frozen=True, kw_only=True):
    """Make new segments of old ones, under the first of these ids."""

    idempotent: ClassVar[bool] = True

    work_id: int
    work: CompactionWork
    segment_ids: tuple[int, ...]
    index_number: int
    """Makes the names of the new segments' indexes."""


class StopWork(Message, frozen=True, kw_only=True):
    """It is not wanted any more. For work that is not known, nothing."""

    idempotent: ClassVar[bool] = True

    work_id: int


class BuiltIndex(msgspec.Struct, frozen=True):
    """None: it was stopped."""

    file: IndexFile | None

    @property
    def is_stopped(self) -> bool:
        return self.file is None


class MadeThere(msgspec.Struct, frozen=True, kw_only=True):
    """A `MadeSegment`, as it travels."""

    meta: SegmentMeta
    deleted_rows: np.ndarray[Any, Any]
    deleted_at: np.ndarray[Any, Any]
    sources: tuple[int, ...]
    moved: tuple[np.ndarray[Any, Any], ...]
    """For each of the sources, where each of its rows is here, or -1."""


class CompactedThere(msgspec.Struct, frozen=True, kw_only=True):
    """What was made, unless it was stopped."""

    is_stopped: bool = False
    made: tuple[MadeThere, ...] = ()
    newest_dropped: int = 0


class Stopping(msgspec.Struct, frozen=True):
    """Whether there was such work."""

    known: bool


# -- who asks -----------------------------------------------------------------------------------
DataNodes = Callable[[], Sequence[tuple[int, str]]]
"""(node id, address) of the data nodes that are alive and take work."""


class SharedDataNode(DataNode):
    """What a streaming node asks for data work. Does it itself where nobody else does."""

    def __init__(
        self,
        node_id: int,
        env: Env,
        store: ObjectStore,
        threads: int,
        memory: MemoryBudget,
        network: Network,
        data_nodes: DataNodes,
        new_id: Callable[[], int],
    ) -> None:
        """`new_id` gives ids that nobody else in the cluster gets, ever."""
        super().__init__(node_id, env, store, threads, memory, AT_A_TIME)
        self._network = network
        self._data_nodes = data_nodes
        self._new_id = new_id
        self._here = env.tasks.executor(f"data-work-{node_id}", 1)
        """Builds that are done in this process: one at a time, as many as there are asked for."""
        self._lock = threading.Lock()
        self._given: dict[int, int] = {}
        """Data node -> how much of our work it has."""

    def index_name(self, meta: SegmentMeta, index: IndexMeta) -> str:
        return _index_name(meta, index, self._new_id())

    def make_index(
        self, meta: SegmentMeta, index: IndexMeta, schema: CollectionSchema, wanted: Callable[[], bool]
    ) -> IndexFile | None:
        def message() -> BuildIndex:
            number = self._new_id()
            return BuildIndex(
                work_id=number, meta=meta, index=index, schema=schema, name=_index_name(meta, index, number)
            )

        there = self._done_elsewhere(message, wanted)
        if there is not None:
            built: BuiltIndex = there
            return built.file
        if not wanted():
            return None
        return self._here.submit(self.build_here, meta, index, schema, wanted).result()

    def compact(self, work: CompactionWork, wanted: Callable[[], bool], new_id: Callable[[], int]) -> Compacted | None:
        ids: list[int] = []
        most = _SPARE_IDS + 2 * sum(s.rows for s in work.sources) // max(1, work.most_rows)
        most += 2 * sum(s.size for s in work.sources) // max(1, work.most_bytes)

        def message() -> CompactSegments:
            ids[:] = [new_id() for _ in range(most)]
            number = self._new_id()
            return CompactSegments(work_id=number, work=work, segment_ids=tuple(ids), index_number=number)

        there = self._done_elsewhere(message, wanted)
        if there is None:
            return super().compact(work, wanted, new_id) if wanted() else None
        done: CompactedThere = there
        return Compacted([_as_made(one) for one in done.made], done.newest_dropped)

    def close(self) -> None:
        super().close()
        self._here.shutdown(wait=True)

    # -- elsewhere ------------------------------------------------------------------------------
    def _done_elsewhere(self, message: Callable[[], Message], wanted: Callable[[], bool]) -> Any:
        """The reply of a data node; None when none could do it, or nobody wants it any more. A new message, so with new
        names, goes to each that is asked."""
        tried: set[int] = set()
        while not self._closing and wanted():
            chosen = self._least_busy(tried)
            if chosen is None:
                return None
            node_id, address = chosen
            tried.add(node_id)
            try:
                reply = self._asked(self._network.connect(address), node_id, message(), wanted)
            except _ELSEWHERE as error:
                log.warning("data node %d at %s did not do its work: %s", node_id, address, error.message)
            else:
                if reply is not None and not reply.is_stopped:
                    return reply
            finally:
                self._take_back(node_id)
        return None

    def _least_busy(self, tried: set[int]) -> tuple[int, str] | None:
        """Counts as given what it chooses."""
        alive = [one for one in self._data_nodes() if one[0] not in tried]
        with self._lock:
            if not alive:
                return None
            chosen = min(alive, key=lambda one: (self._given.get(one[0], 0), one[0]))
            self._given[chosen[0]] = self._given.get(chosen[0], 0) + 1
            return chosen

    def _take_back(self, node_id: int) -> None:
        """It has one piece less of our work."""
        with self._lock:
            self._given[node_id] -= 1
            if not self._given[node_id]:
                del self._given[node_id]

    def _asked(self, remote: Remote, node_id: int, message: Any, wanted: Callable[[], bool]) -> Any:
        """None when it is not wanted any more."""
        reply = remote.ask_soon(message, WORK_SECONDS)
        while True:
            try:
                return reply.result(LOOK_SECONDS)
            except TimeoutError:
                if reply.done():
                    raise
            if self._closing or not wanted():
                remote.ask_soon(StopWork(work_id=message.work_id))
                return None
            if all(one[0] != node_id for one in self._data_nodes()):
                remote.ask_soon(StopWork(work_id=message.work_id))
                raise Unanswered(f"node {node_id} is gone or gives up its work")


def _index_name(meta: SegmentMeta, index: IndexMeta, number: int) -> str:
    return f"{segment_prefix(meta.collection_id, meta.segment_id)}index-{index.index_id}-{number}"


def _as_made(one: MadeThere) -> MadeSegment:
    deletes = Deletes.from_entries(one.deleted_rows.copy(), one.deleted_at.copy(), one.meta.rows)
    return MadeSegment(one.meta, deletes, list(zip(one.sources, one.moved, strict=True)))


def _as_sent(made: MadeSegment) -> MadeThere:
    rows, stamps = made.deletes.entries()
    return MadeThere(
        meta=made.meta, deleted_rows=rows, deleted_at=stamps, sources=tuple(source for source, _ in made.origin),
        moved=tuple(np.ascontiguousarray(rows) for _, rows in made.origin),
    )  # fmt: skip


# -- who does it --------------------------------------------------------------------------------
class WorkNode(DataNode):
    """Does what messages ask, with the names that they give."""

    def __init__(self, node_id: int, env: Env, store: ObjectStore, threads: int, memory: MemoryBudget) -> None:
        super().__init__(node_id, env, store, threads, memory)
        self._number = threading.local()

    def index_name(self, meta: SegmentMeta, index: IndexMeta) -> str:
        return _index_name(meta, index, self._number.value)

    def do(self, message: BuildIndex | CompactSegments, wanted: Callable[[], bool]) -> BuiltIndex | CompactedThere:
        """One piece of work, in the caller's thread."""
        if isinstance(message, BuildIndex):
            self._number.value = message.work_id
            return BuiltIndex(self.build_here(message.meta, message.index, message.schema, wanted))
        self._number.value = message.index_number
        done = self.compact(message.work, wanted, iter(message.segment_ids).__next__)
        if done is None:
            return CompactedThere(is_stopped=True)
        return CompactedThere(made=tuple(map(_as_sent, done.made)), newest_dropped=done.newest_dropped)


Workplace = Callable[[BuildIndex | CompactSegments, Callable[[], bool]], BuiltIndex | CompactedThere]
"""Does a piece of work while the caller waits, as long as it is wanted. Raises MilvusException."""


class Workbench:
    """The work of one data node: queued, done at a workplace, stopped. Safe from any thread."""

    def __init__(self, env: Env, node_id: int, place: Workplace, is_there: Callable[[int], bool], hands: int) -> None:
        """`is_there`: whether a node is alive. So many `hands` work at a time."""
        self.place = place
        self._is_there = is_there
        self._hands = env.tasks.executor(f"work-{node_id}", hands)
        self._lock = threading.Lock()
        self._work: dict[int, _Piece] = {}
        self.done = self.failed = self.stopped = 0
        self._closing = False

    def handlers(self) -> dict[type, Handler]:
        """What the node answers."""
        return {BuildIndex: self.take, CompactSegments: self.take, StopWork: self.stop}

    @property
    def pieces(self) -> int:
        """Queued or being done."""
        with self._lock:
            return len(self._work)

    def take(self, message: BuildIndex | CompactSegments) -> Future[Any]:
        """The reply to come. The same work asked for again is done once."""
        caller = CALLER.get()
        with self._lock:
            known = self._work.get(message.work_id)
            if known is not None:
                return known.reply
            if self._closing:
                raise Unavailable("this data node takes no more work")
            piece = _Piece(None if caller is None else caller.node_id)
            self._work[message.work_id] = piece
            piece.reply = self._hands.submit(self._do, message, piece)
            return piece.reply

    def _do(self, message: BuildIndex | CompactSegments, piece: _Piece) -> BuiltIndex | CompactedThere:
        def wanted() -> bool:
            return not (piece.is_stopped or self._closing) and (piece.asker is None or self._is_there(piece.asker))

        try:
            reply = self.place(message, wanted)
        except MilvusException:
            self.failed += 1
            raise
        else:
            self.done += wanted()
            self.stopped += not wanted()
            return reply
        finally:
            with self._lock:
                self._work.pop(message.work_id, None)

    def stop(self, message: StopWork) -> Stopping:
        with self._lock:
            piece = self._work.get(message.work_id)
        if piece is not None:
            piece.is_stopped = True
        return Stopping(piece is not None)

    def close(self) -> None:
        """Stop at the next step; whoever waits asks elsewhere."""
        self._closing = True
        self._hands.shutdown(wait=True)


class _Piece:
    """One piece of work."""

    __slots__ = ("asker", "is_stopped", "reply")

    def __init__(self, asker: int | None) -> None:
        self.asker = asker
        self.is_stopped = False
        self.reply: Future[Any] = Future()
