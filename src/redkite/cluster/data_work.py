"""Index builds, compactions, imports and the writing of segments as work that is sent to data nodes.

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
from math import inf
from typing import Any, Final, NamedTuple

from redkite.cluster.import_work import Desks
from redkite.cluster.network import Handler, Network, NotReached, Remote, Unanswered, WrongPeer
from redkite.cluster.rows_given import KeptKeys, Offer, RowsGiven
from redkite.cluster.work_messages import (
    BuildIndex,
    BuiltIndex,
    CompactedThere,
    CompactSegments,
    GiveRows,
    ImportedThere,
    IsAtWork,
    MadeThere,
    ReadFiles,
    StopWork,
    Work,
    WorkLost,
    WriteSegment,
    WrittenThere,
)
from redkite.cluster.work_node import index_name
from redkite.env import Env
from redkite.errors import DiskLimitExceeded, MemoryLimitExceeded, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.compaction_work import Compacted, CompactionWork
from redkite.node.data import DataNode, WrittenSegment
from redkite.node.memory import MemoryBudget
from redkite.proxy.import_reading import ImportDesk, ImportMade, ImportTask, MakeSegments
from redkite.segment.compaction import MadeSegment
from redkite.segment.deletes import Deletes
from redkite.segment.files import Place
from redkite.segment.growing import GrowingSegment
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)

LOOK_SECONDS: Final = 0.25
"""How often whoever waits for work looks whether it is still wanted, and whoever does it still there."""
PULSE_SECONDS: Final = 2.0
MOST_MISSED: Final = 3
"""How often whoever does it is asked whether it does, and so many times it may not say so, one after another."""
WORK_SECONDS: Final = 6 * 3600.0
"""No work takes longer."""
WRITE_SECONDS: Final = 60.0
"""Nor does the writing of a segment elsewhere, all tries together: somebody waits for that."""
LEAST_BYTES = 1 << 20
"""Fewer bytes of rows are written where they are: see `benchmarks/results/flush.md`."""
MOST_LOST: Final = 3
"""A piece is given up, and done here, once the process that did it was lost so many times."""
AT_A_TIME: Final = 8
"""Indexes that one streaming node has built elsewhere at a time."""
WRITTEN_SECONDS: Final = 3600.0
"""So long a segment that was written, and could not be committed, is committed rather than written anew: what nobody
names is deleted after a day."""
_SPARE_IDS: Final = 4
_ELSEWHERE: Final = (NotReached, Unanswered, WrongPeer, Unavailable, MemoryLimitExceeded, DiskLimitExceeded)
"""What another data node may be able to do all the same."""


DataNodes = Callable[[], Sequence[tuple[int, str]]]
"""(node id, address) of the data nodes that are alive and take work."""


class _Kept(NamedTuple):
    """A segment that was written elsewhere."""

    made: WrittenSegment
    version: int
    """Of the schema of its rows."""
    at: float


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
        address: Callable[[], str],
        *,
        is_far: bool = False,
    ) -> None:
        """`new_id` gives ids that nobody else in the cluster gets, ever; others reach this node at `address`. `is_far`:
        reading a part of an object costs as much as all of it."""
        super().__init__(node_id, env, store, threads, memory, AT_A_TIME)
        self._network = network
        self._data_nodes = data_nodes
        self._new_id = new_id
        self._address = address
        self._clock = env.clock
        self._here = env.tasks.executor(f"data-work-{node_id}", 1)
        """Builds that are done in this process: one at a time, as many as there are asked for."""
        self._lock = threading.Lock()
        self._given: dict[int, int] = {}
        """Data node -> how much of our work it has."""
        self._last = 0
        """The data node that was chosen last."""
        self._rows = RowsGiven(memory)
        self._desks = Desks()
        self._keys = KeptKeys(memory) if is_far else None
        self._written: dict[int, _Kept] = {}
        """By segment id."""

    def handlers(self) -> dict[type, Handler]:
        """What data nodes ask while they work."""
        return {GiveRows: self._rows.give, **self._desks.handlers()}

    def index_name(self, meta: SegmentMeta, index: IndexMeta) -> str:
        return index_name(meta, index, self._new_id())

    def make_index(
        self, meta: SegmentMeta, index: IndexMeta, schema: CollectionSchema, wanted: Callable[[], bool]
    ) -> IndexFile | None:
        def message() -> BuildIndex:
            number = self._new_id()
            name = index_name(meta, index, number)
            return BuildIndex(work_id=number, meta=meta, index=index, schema=schema, name=name)

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

    # -- segments -------------------------------------------------------------------------------
    def write_segment(
        self,
        collection_id: int,
        channel: str,
        segment: GrowingSegment,
        wanted: Callable[[], bool],
        indexes: Sequence[IndexMeta] = (),
    ) -> WrittenSegment | None:
        if segment.size < LEAST_BYTES or not self._data_nodes():
            return super().write_segment(collection_id, channel, segment, wanted, indexes)
        now = self._clock.monotonic()
        with self._lock:
            self._written = {i: one for i, one in self._written.items() if now - one.at < WRITTEN_SECONDS}
            known = self._written.get(segment.segment_id)
        if known is not None and known.made.meta.rows == segment.rows and known.version == segment.schema.version:
            return known.made
        made = self._written_elsewhere(
            Place(collection_id, segment.partition_id, channel, segment.segment_id), segment, wanted
        )
        if made is None:
            return super().write_segment(collection_id, channel, segment, wanted, indexes) if wanted() else None
        self.tallies.flushed(made.meta.rows, made.meta.size)
        with self._lock:
            self._written[segment.segment_id] = _Kept(WrittenSegment(made.meta), segment.schema.version, now)
        return made

    def _written_elsewhere(
        self, place: Place, segment: GrowingSegment, wanted: Callable[[], bool]
    ) -> WrittenSegment | None:
        batch, stamps = segment.batch(segment.rows), segment.timestamps(segment.rows)

        def message(offer: Offer) -> WriteSegment:
            number = self._new_id()
            self._rows.promise(offer, number)
            return WriteSegment(
                work_id=number, place=place, schema=segment.schema, rows=segment.rows, size=offer.size,
                address=self._address(),
            )  # fmt: skip

        with self._rows.offered(batch, stamps) as offer:
            # Whatever keeps others from writing it may not be so here.
            there = self._done_elsewhere(lambda: message(offer), wanted, (MilvusException,), WRITE_SECONDS)
        if there is None:
            return None
        done: WrittenThere = there
        assert done.meta is not None, "it was not stopped"
        return WrittenSegment(
            done.meta, None if self._keys is None else self._keys.of(batch, segment.schema, done.meta)
        )

    # -- imports --------------------------------------------------------------------------------
    def importing(self, here: MakeSegments) -> MakeSegments:
        """How segments are made of files: by a data node, or else as it is done here."""

        def make(task: ImportTask, desk: ImportDesk) -> ImportMade:
            there = self._imported_elsewhere(task, desk)
            desk.go_on()
            return here(task, desk) if there is None else there

        return make

    def _imported_elsewhere(self, task: ImportTask, desk: ImportDesk) -> ImportMade | None:
        def wanted() -> bool:
            try:
                desk.go_on()
            except MilvusException:  # whoever keeps the job says so, once nothing is under way
                return False
            return True

        with self._desks.serving() as opened:

            def message() -> ReadFiles:
                number = self._new_id()
                opened(number, desk)
                return ReadFiles(work_id=number, task=task, address=self._address())

            there = self._done_elsewhere(message, wanted)
        if there is None:
            return None
        done: ImportedThere = there
        return done.made

    def close(self) -> None:
        super().close()
        self._here.shutdown(wait=True)

    # -- elsewhere ------------------------------------------------------------------------------
    def _done_elsewhere(
        self,
        message: Callable[[], Work],
        wanted: Callable[[], bool],
        elsewhere: tuple[type[MilvusException], ...] = _ELSEWHERE,
        seconds: float = inf,
    ) -> Any:
        """The reply of a data node; None when none could do it within so many seconds, or nobody wants it any more. A
        new message, so with new names, goes to each that is asked. Of these errors another is asked `elsewhere`."""
        tried: set[int] = set()
        lost = 0
        until = self._clock.monotonic() + seconds
        while not self._closing and wanted() and self._clock.monotonic() < until:
            chosen = self._least_busy(tried)
            if chosen is None:
                return None
            node_id, address = chosen
            tried.add(node_id)
            try:
                reply = self._asked(self._network.connect(address), node_id, message(), wanted, until)
            except elsewhere as error:
                log.warning("data node %d at %s did not do its work: %s", node_id, address, error.message)
                if isinstance(error, WorkLost):
                    lost += 1
                    if lost < MOST_LOST:  # it has others
                        tried.discard(node_id)
            else:
                if reply is not None and not reply.is_stopped:
                    return reply
            finally:
                self._take_back(node_id)
        return None

    def _least_busy(self, tried: set[int]) -> tuple[int, str] | None:
        """Counts as given what it chooses. Of those that have as little to do, they take turns."""
        alive = [one for one in self._data_nodes() if one[0] not in tried]
        with self._lock:
            if not alive:
                return None
            chosen = min(alive, key=lambda one: (self._given.get(one[0], 0), one[0] <= self._last, one[0]))
            self._last = chosen[0]
            self._given[chosen[0]] = self._given.get(chosen[0], 0) + 1
            return chosen

    def _take_back(self, node_id: int) -> None:
        """It has one piece less of our work."""
        with self._lock:
            self._given[node_id] -= 1
            if not self._given[node_id]:
                del self._given[node_id]

    def _asked(self, remote: Remote, node_id: int, work: Work, wanted: Callable[[], bool], until: float) -> Any:
        """None when it is not wanted any more."""
        clock = self._clock
        reply = remote.ask_soon(work, min(WORK_SECONDS, until - clock.monotonic()))
        pulse = _Pulse(remote, work.work_id, clock.monotonic())
        try:
            while True:
                try:
                    return reply.result(LOOK_SECONDS)
                except TimeoutError:
                    if reply.done():
                        raise
                if self._closing or not wanted():
                    remote.ask_soon(StopWork(work_id=work.work_id))
                    return None
                if all(one[0] != node_id for one in self._data_nodes()):
                    raise Unanswered(f"node {node_id} is gone or gives up its work")
                if not pulse.beats(clock.monotonic()):
                    raise Unanswered(f"node {node_id} does not say that it is at its work")
        except Unanswered:
            remote.ask_soon(StopWork(work_id=work.work_id))
            raise


class _Pulse:
    """Whether who took a piece of work says that he has it, whenever he is asked."""

    def __init__(self, remote: Remote, work_id: int, now: float) -> None:
        self._remote, self._message = remote, IsAtWork(work_id=work_id)
        self._next = now + PULSE_SECONDS
        self._answer: Future[Any] | None = None
        self._missed = 0

    def beats(self, now: float) -> bool:
        """Called every now and then. False when he has not said so for some time."""
        answer = self._answer
        if answer is not None and answer.done():
            self._answer = None
            self._next = now + PULSE_SECONDS
            is_there = answer.exception() is None and answer.result().known
            self._missed = 0 if is_there else self._missed + 1
        elif answer is None and now >= self._next:
            self._answer = self._remote.ask_soon(self._message, PULSE_SECONDS)
        return self._missed < MOST_MISSED


def _as_made(one: MadeThere) -> MadeSegment:
    deletes = Deletes.from_entries(one.deleted_rows.copy(), one.deleted_at.copy(), one.meta.rows)
    return MadeSegment(one.meta, deletes, list(zip(one.sources, one.moved, strict=True)))
