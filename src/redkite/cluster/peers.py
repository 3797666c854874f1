"""Query nodes of other machines, as the owner of shards sees them.

Deletes are not sent one by one: they wait here, and go with the next read that concerns their segment, or with the next
beat. So a write never waits for a query node, and no read misses a delete that came before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from redkite.cluster.held import (
    AttachIndex,
    Beat,
    CloseSegments,
    DetachIndex,
    HeldState,
    MarkDeleted,
    Marks,
    OpenSegment,
    ReadHeld,
)
from redkite.cluster.membership import NodeRecord
from redkite.cluster.network import Message, Network, NotReached, Unanswered
from redkite.cluster.seen import serving_nodes
from redkite.coordinator.loads import QueryCoordinator
from redkite.coordinator.placing import Piece, balanced
from redkite.env import Env, away
from redkite.errors import MilvusException, SegmentGone, Timeout, Unavailable
from redkite.index.base import Vectors
from redkite.logs import get_logger
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.asked import AnyHeld, CountHeld, Held, QueryHeld, SearchHeld
from redkite.node.copies import DistantPeer, DistantPeers, Placed, ReadPolicy
from redkite.node.face import Answer
from redkite.node.serving import Serving
from redkite.query.plan import QueryPartial, QueryPlan, SearchPartial, SearchPlan, TextCounts
from redkite.query.straight import Straight
from redkite.query.word_way import WordWay
from redkite.segment.deletes import RowNumbers

log = get_logger(__name__)

OPEN_SECONDS: Final = 600.0
"""A large segment takes its time to come from the store."""
READ_SECONDS: Final = 60.0
"""A node that is alive may read so long; one that is not is noticed by its lease and its beats."""
BEAT_SECONDS: Final = 0.5
BEAT_LIMIT_SECONDS: Final = 5.0
LOST_SECONDS: Final = 2.0
"""An answer that a node's beats say is not to come is waited for so long: it may be on its way."""
BALANCE_BEATS: Final = 20
MOVES: Final = 8
"""Segments of one collection that are moved in one round of balance."""
PLACERS: Final = 8
"""Shards that are placed at a time: each waits until its segments are open, and others should not wait for those. More
would have so much opened at once that the last came too late."""
MANY_MARKS: Final = 64
Stamps = npt.NDArray[np.uint64]


class RemotePeer:
    """A `QueryPeer` over the network. Safe from any thread."""

    def __init__(self, env: Env, node_id: int, address: str, owner: int, network: Network, at: Iterator[int]) -> None:
        """`at` numbers whatever this owner says to any node, so that one that went and came again knows older ones."""
        self.node_id = node_id
        self.address = address
        self.owner = owner
        self.is_failing = False
        self.pruned = 0
        self.heard = env.clock.monotonic()
        """When it had answered every beat."""
        self._env = env
        self._remote = network.connect(address)
        self._abandon = network.abandon
        self._lock = Lock()
        self._at = at
        self._number = next(at)
        self._held: dict[int, int] = {}
        """Segments that are counted on, and under which number they were opened."""
        self._opening: dict[int, Future[Any]] = {}
        self._idle: dict[int, float] = {}
        """Of these, what the node is not busy with by its own account, and since when that is known."""
        self._marks: dict[int, list[Marks]] = {}
        """Deletes that the node may not know."""
        self._waiting: set[Future[Any]] = set()
        self._waited_here = 0
        """Messages whose answers threads wait for within the network."""
        self._cuts = 0
        """How often it was waited for in vain."""
        self._gone = ""
        self.beaten: Future[HeldState] | None = None
        """The beat that is under way, …"""
        self.beaten_at = 0
        """… and what it was numbered."""

    @property
    def outstanding(self) -> int:
        """Messages that it has not answered yet."""
        return len(self._waiting) + self._waited_here

    # -- asking ---------------------------------------------------------------------------------
    def send(self, message: Message, seconds: float) -> Future[Any]:
        """Ends with NotReached when the node is known to be gone, whatever became of the call."""
        outer: Future[Any] = self._env.tasks.future()
        with self._lock:
            gone = self._gone
            if not gone:
                self._waiting.add(outer)
        if gone:
            outer.set_exception(NotReached(gone))
            return outer
        try:
            inner = self._remote.ask_soon(message, seconds)
        except MilvusException as error:
            self._finish(outer, None, error)
        else:
            inner.add_done_callback(partial(self._arrived, outer))
        return outer

    def _arrived(self, outer: Future[Any], inner: Future[Any]) -> None:
        error = inner.exception()
        self._finish(outer, None if error else inner.result(), error)

    def _finish(self, outer: Future[Any], reply: Any, error: BaseException | None) -> None:
        with self._lock:
            self._waiting.discard(outer)
        with suppress(InvalidStateError):  # the node was given up meanwhile
            if error is None:
                outer.set_result(reply)
            else:
                outer.set_exception(error)

    def ask_soon(self, held: Held[Any]) -> Future[Any]:
        assert isinstance(held, SearchHeld | QueryHeld | CountHeld)
        try:
            marks = self._marks_for(held.segment_ids)
        except SegmentGone as error:
            return self._refused(error)
        asked = self.send(ReadHeld(node_id=self.node_id, marks=marks, held=held), READ_SECONDS)
        if marks:
            asked.add_done_callback(partial(self._answered, marks))
        return asked

    def ask(self, held: Held[Any], seconds: float) -> Any:
        assert isinstance(held, SearchHeld | QueryHeld | CountHeld)
        with self._lock:
            if self._gone:
                raise NotReached(self._gone)
            marks = self._marks_of(held.segment_ids)
            self._waited_here += 1
            cuts = self._cuts
        try:
            found = self._remote.ask(ReadHeld(node_id=self.node_id, marks=marks, held=held), min(seconds, READ_SECONDS))
        except Unanswered as error:
            if self._cuts != cuts:  # the connection was closed under it
                raise NotReached(error.message) from None
            raise
        finally:
            with self._lock:
                self._waited_here -= 1
        if marks:
            self._known(marks)
        return found

    def _refused(self, error: MilvusException) -> Future[Any]:
        refused: Future[Any] = self._env.tasks.future()
        refused.set_exception(error)
        return refused

    def _answered(self, marks: tuple[Marks, ...], asked: Future[Any]) -> None:
        if asked.exception() is None:
            self._known(marks)

    def give_up(self, why: str) -> None:
        """The node is gone: whoever waits for it is told at once."""
        self._gone = why
        self.cut(why)

    def cut(self, why: str) -> None:
        """Wait for nothing that it was asked, and count on nothing that it holds."""
        with self._lock:
            waiting, self._waiting = self._waiting, set()
            self._marks, self._held = {}, {}
            self._cuts += 1
            is_asked = self._waited_here > 0
        if is_asked:
            self._abandon(self.address)
        for future in waiting:
            with suppress(InvalidStateError):  # its answer came at the same moment
                future.set_exception(NotReached(why))

    # -- segments -------------------------------------------------------------------------------
    def load_segment(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, Stamps],
        indexes: Iterable[IndexMeta],
    ) -> list[IndexFile]:
        return self.load_soon(meta, schema, deleted, indexes)()

    def load_soon(
        self,
        meta: SegmentMeta,
        schema: CollectionSchema,
        deleted: tuple[RowNumbers, Stamps],
        indexes: Iterable[IndexMeta],
    ) -> Answer[list[IndexFile]]:
        segment_id = meta.segment_id
        with self._lock:
            at = self._held[segment_id] = self._number = next(self._at)
        message = OpenSegment(
            node_id=self.node_id, by=self.owner, at=at, meta=meta, schema=schema, marks=Marks(segment_id, *deleted),
            indexes=tuple(indexes),
        )  # fmt: skip
        asked = self.send(message, OPEN_SECONDS)
        with self._lock:
            self._opening[segment_id] = asked

        def answer() -> list[IndexFile]:
            try:
                with away():
                    damaged = asked.result()
            except MilvusException as error:
                with self._lock:
                    if self._held.get(segment_id) == at:
                        del self._held[segment_id]
                if isinstance(error, SegmentGone | Timeout):
                    raise Unavailable(error.message) from error
                raise
            finally:
                with self._lock:
                    if self._opening.get(segment_id) is asked:
                        del self._opening[segment_id]
                        self._idle.pop(segment_id, None)
            return list(damaged)

        return answer

    def release_segments(self, segment_ids: Iterable[int]) -> None:
        """Said, not waited for: what the node does not hear it learns by the next beat."""
        gone = tuple(segment_ids)
        with self._lock:
            at = self._number = next(self._at)
            for segment_id in gone:
                self._held.pop(segment_id, None)
                self._marks.pop(segment_id, None)
        self.send(CloseSegments(node_id=self.node_id, by=self.owner, at=at, segment_ids=gone), READ_SECONDS)

    def attach_index(self, segment_id: int, index: IndexMeta, file: IndexFile) -> None:
        """Said, not waited for: until it is there, searches compare every row."""
        asked = self.send(
            AttachIndex(node_id=self.node_id, segment_id=segment_id, index=index, file=file), OPEN_SECONDS
        )
        asked.add_done_callback(partial(self._attached, segment_id))

    def _attached(self, segment_id: int, asked: Future[Any]) -> None:
        error = asked.exception()
        if error is not None:
            log.warning("segment %d is searched exactly by node %d: %s", segment_id, self.node_id, error)

    def detach_index(self, segment_id: int, index: IndexMeta) -> None:
        self.send(DetachIndex(node_id=self.node_id, segment_id=segment_id, index=index), READ_SECONDS)

    # -- deletes --------------------------------------------------------------------------------
    def apply_deletes(self, segment_id: int, rows: RowNumbers, timestamps: Stamps) -> None:
        with self._lock:
            if self._gone or segment_id not in self._held:
                return
            known = self._marks.setdefault(segment_id, [])
            known.append(Marks(segment_id, np.array(rows), np.array(timestamps)))
            if len(known) >= MANY_MARKS:
                self._marks[segment_id] = [Marks.joined(known)]

    def _marks_for(self, segment_ids: Sequence[int]) -> tuple[Marks, ...]:
        with self._lock:
            return () if self._gone else self._marks_of(segment_ids)  # sending says that it is gone

    def _marks_of(self, segment_ids: Sequence[int]) -> tuple[Marks, ...]:
        """Under the lock. Raises SegmentGone where a segment is not counted on any more, and its deletes are not kept:
        an old view may still name this node, which would answer with rows that are deleted."""
        held = self._held
        if any(i not in held for i in segment_ids):
            raise SegmentGone(f"node {self.node_id} is not counted on for segments that a read wants of it")
        return tuple(one for i in segment_ids for one in self._marks.get(i, ())) if self._marks else ()

    def _known(self, marks: Iterable[Marks]) -> None:
        """The node has applied these."""
        with self._lock:
            for one in marks:
                left = [mark for mark in self._marks.get(one.segment_id, ()) if mark is not one]
                if left:
                    self._marks[one.segment_id] = left
                else:
                    self._marks.pop(one.segment_id, None)

    # -- beats ----------------------------------------------------------------------------------
    def beat(self) -> Future[HeldState]:
        """Say that this owner lives and what it counts on, and bring the deletes that no read has brought."""
        with self._lock:
            marks = tuple(one for waiting in self._marks.values() for one in waiting)
            held, awaited = tuple(self._held), tuple(i for i in self._opening if i in self._held)
            at = self._number
        if marks:
            sent = self.send(MarkDeleted(node_id=self.node_id, marks=marks), READ_SECONDS)
            sent.add_done_callback(lambda done: None if done.exception() else self._known(marks))
        beat = Beat(node_id=self.node_id, by=self.owner, at=at, segment_ids=held, awaited=awaited)
        self.beaten_at = at
        self.beaten = self.send(beat, BEAT_LIMIT_SECONDS)
        return self.beaten

    def lost(self, missing: Iterable[int], at: int) -> list[int]:
        """Those of the missing segments that were opened there up to a number, and not closed since."""
        with self._lock:
            gone = [i for i in missing if self._held.get(i, at + 1) <= at and i not in self._opening]
            for segment_id in gone:
                del self._held[segment_id]
                self._marks.pop(segment_id, None)
        return gone

    def uncounted(self, segment_ids: Iterable[int]) -> list[int]:
        """Those that it is not counted on for."""
        with self._lock:
            return [i for i in segment_ids if i not in self._held]

    def idle(self, segment_ids: Iterable[int], at: int) -> None:
        """Nobody there opens these, of those that were ordered up to a number: after a while the order, or its answer,
        is taken for lost, and whoever waits for it is told."""
        now = self._env.clock.monotonic()
        with self._lock:
            known = {i for i in segment_ids if i in self._opening and self._held.get(i, at + 1) <= at}
            self._idle = {i: self._idle.get(i, now) for i in known}
            lost = [self._opening[i] for i, since in self._idle.items() if now - since >= LOST_SECONDS]
        for asked in lost:
            self._finish(asked, None, Unanswered(f"what node {self.node_id} was asked to open came to nothing"))

    # -- reads that are waited for ----------------------------------------------------------------
    def _read(self, held: AnyHeld) -> Any:
        with away():
            return self.ask_soon(held).result()

    def search(self, segment_ids: Sequence[int], plan: SearchPlan, queries: Vectors, timestamp: int) -> SearchPartial:
        found: SearchPartial = self._read(SearchHeld(tuple(segment_ids), plan, queries, timestamp))
        return found

    def count_words(
        self, segment_ids: Sequence[int], plan: SearchPlan, dims: npt.NDArray[np.uint32], timestamp: int
    ) -> TextCounts:
        found: TextCounts = self._read(CountHeld(tuple(segment_ids), plan, dims, timestamp))
        return found

    def query(self, segment_ids: Sequence[int], plan: QueryPlan, timestamp: int) -> QueryPartial:
        found: QueryPartial = self._read(QueryHeld(tuple(segment_ids), plan, timestamp))
        return found

    def straight(self, segment_ids: Sequence[int], plan: SearchPlan) -> Straight | WordWay | None:  # noqa: ARG002
        """None: it is for the node to go that way."""
        return None


class QueryNodes(DistantPeers):
    """The query nodes of a cluster, for one owner of shards. Nodes come and go by `see`."""

    def __init__(
        self,
        env: Env,
        network: Network,
        owner: int,
        loads: QueryCoordinator,
        shards: Callable[[], Iterable[Serving]],
        policy: ReadPolicy,
        *,
        lease_seconds: float,
    ) -> None:
        """`owner` is this node; `shards` are those that it owns now. A node that does not answer for `lease_seconds` is
        taken for dead here, whatever others say."""
        super().__init__(env, policy)
        self._network = network
        self._owner = owner
        self._loads = loads
        self._shards = shards
        self._lease_seconds = lease_seconds
        self._lock = Lock()
        self._numbers = itertools.count(1)
        self._peers: dict[int, RemotePeer] = {}
        self._records: dict[int, NodeRecord] = {}
        self._down: set[int] = set()
        """Nodes that others take for alive and that do not answer here."""
        self._placing: dict[int, Future[None]] = {}
        """By the identity of the shards."""
        self._work = env.tasks.executor("placing", PLACERS)
        self._balancing: Future[int] | None = None
        """The last round of balance."""
        self._beats = 0
        self._closed = False
        self._timer = env.tasks.every(BEAT_SECONDS, self._beat, "query nodes")

    def __getitem__(self, node_id: int) -> DistantPeer:
        return self._peers[node_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._peers)

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def peers(self) -> tuple[RemotePeer, ...]:
        return tuple(self._peers.values())

    # -- who there is ---------------------------------------------------------------------------
    def see(self, records: Iterable[NodeRecord]) -> None:
        """Take over which query nodes there are. What those served that are gone is placed anew, soon."""
        found = {record.node_id: record for record in records}
        with self._lock:
            if self._closed:
                return
            gone = [peer for number, peer in self._peers.items() if number not in found]
            kept = {number: peer for number, peer in self._peers.items() if number in found}
            for number, record in found.items():
                if number not in kept:
                    kept[number] = RemotePeer(
                        self.env, number, record.address, self._owner, self._network, self._numbers
                    )
            changed = self._records != found
            self._peers, self._records = kept, found
            self._down &= set(found)
        for peer in gone:
            peer.give_up(f"query node {peer.node_id} at {peer.address} is gone")
        if changed:
            self._tell_loads()
            self._after(peer.node_id for peer in gone)

    def _tell_loads(self) -> None:
        with self._lock:
            there = [record for number, record in self._records.items() if number not in self._down]
        self._loads.see(
            serving_nodes(there),
            [record.node_id for record in there if record.draining],
            {record.node_id: record.memory_bytes for record in there},
        )

    def _after(self, gone: Iterable[int]) -> None:
        """Nodes are gone, or have come: have every shard placed by what there is now."""
        lost = list(gone)
        for shard in self._shards():
            for node in lost:
                shard.lose(node)
            self.place_soon(shard)

    def place_all(self) -> None:
        """What is loaded, or where, has changed: have every shard placed by it, soon."""
        for shard in self._shards():
            self.place_soon(shard)

    def place_soon(self, shard: Placed) -> Future[None]:
        with self._lock:
            waiting = self._placing.get(id(shard))
            if waiting is None:
                waiting = self._placing[id(shard)] = self._work.submit(self._place, shard)
            return waiting

    def _place(self, shard: Placed) -> None:
        with self._lock:
            self._placing.pop(id(shard), None)  # who asks from now on is served by the next round
        try:
            shard.place()
        except MilvusException as error:
            log.warning("segments could not be placed: %s", error.message)

    # -- who fails ------------------------------------------------------------------------------
    def has_failed(self, peer: DistantPeer, error: MilvusException) -> None:
        peer.is_failing = True
        if isinstance(error, NotReached):
            self._take_down(peer, error.message)

    def has_lost(self, peer: DistantPeer) -> None:
        """Its next beat says what it does not hold: the view of the read may only have been an old one."""
        if isinstance(peer, RemotePeer):
            self._beat_one(peer)
            self._count_on(peer)

    def _count_on(self, peer: RemotePeer) -> None:
        """Have what shards count on a node for, and it is not kept here that they do, placed anew."""
        for shard in self._shards():
            lost = peer.uncounted(piece.segment_id for piece in shard.pieces() if peer.node_id in piece.on.values())
            if lost:
                shard.lose(peer.node_id, lost)
                self.place_soon(shard)

    def _take_down(self, peer: DistantPeer, why: str) -> None:
        with self._lock:
            is_former, is_down = self._peers.get(peer.node_id) is not peer, peer.node_id in self._down
            if not is_former:
                self._down.add(peer.node_id)
        for shard in self._shards() if is_former else ():
            shard.lose_former(peer)
        if is_former or is_down:
            return
        log.warning("query node %d does not answer: %s", peer.node_id, why)
        if isinstance(peer, RemotePeer):
            peer.cut(why)
        self._tell_loads()
        self._after([peer.node_id])

    # -- beats ----------------------------------------------------------------------------------
    def _beat(self) -> None:
        for peer in self.peers:
            self._beat_one(peer)
        self._beats += 1
        if self._beats % BALANCE_BEATS == 0 and (self._balancing is None or self._balancing.done()):
            with suppress(MilvusException):  # this node is about to close
                self._balancing = self._work.submit(self.balance)

    def _beat_one(self, peer: RemotePeer) -> None:
        beaten, now = peer.beaten, self.env.clock.monotonic()
        if beaten is None or (beaten.done() and beaten.exception() is None):
            peer.heard = now  # nothing is waited for, however late this beat is
        elif now - peer.heard > self._lease_seconds:
            peer.is_failing = True
            self._take_down(peer, f"nothing was heard of it for {self._lease_seconds:g} s")
        if beaten is None or beaten.done():
            peer.beat().add_done_callback(partial(self._heard, peer, peer.beaten_at))

    def _heard(self, peer: RemotePeer, at: int, asked: Future[HeldState]) -> None:
        error = asked.exception()
        if error is not None:
            if isinstance(error, MilvusException):
                self.has_failed(peer, error)
            return
        state = asked.result()
        peer.heard, peer.is_failing, peer.pruned = self.env.clock.monotonic(), False, state.pruned
        self._loads.note(peer.node_id, state.cost)
        lost = peer.lost(state.missing, at)
        peer.idle(state.idle, at)
        with self._lock:
            back = peer.node_id in self._down and self._peers.get(peer.node_id) is peer
            self._down.discard(peer.node_id)
        if back:
            self._tell_loads()
        if lost:
            log.warning("query node %d does not hold %d segments any more", peer.node_id, len(lost))
        for shard in self._shards() if back or lost else ():
            if lost:
                shard.lose(peer.node_id, lost)
            self.place_soon(shard)

    # -- balance --------------------------------------------------------------------------------
    def balance(self) -> int:
        """Move segments of this node's shards from query nodes that have much to such that have little; how many."""
        by_collection: dict[int, list[tuple[Serving, list[Piece]]]] = {}
        for shard in self._shards():
            by_collection.setdefault(shard.collection.collection_id, []).append((shard, shard.pieces()))
        for shard in self._shards():
            if shard.short():
                self.place_soon(shard)
        moved = 0
        for collection_id, shards in by_collection.items():
            replicas = self._loads.replicas_for(collection_id)
            pieces = [piece for _, found in shards for piece in found]
            if all(len(nodes) < 2 for nodes in replicas.values()) or not pieces:
                continue
            moves = balanced(pieces, replicas, self._loads.weights, self._loads.sizes, most=MOVES)
            for shard, found in shards:
                here = {piece.segment_id for piece in found}
                wanted = [move for move in moves if move.segment_id in here]
                if wanted:
                    try:
                        moved += shard.move(wanted)
                    except MilvusException as error:
                        log.warning("segments could not be moved: %s", error.message)
        return moved

    def health(self) -> tuple[str, ...]:
        """What is wrong with the query nodes, as seen from here."""
        short = sum(shard.short() for shard in self._shards())
        reasons = [f"query node {number} does not answer node {self._owner}" for number in sorted(self._down)]
        if short:
            reasons.append(f"{short} segments lack a query node for one of their replicas")
        return tuple(reasons)

    def close(self) -> None:
        """Ask nobody any more."""
        with self._lock:
            self._closed = True
        self._timer.cancel()
        for peer in self.peers:
            peer.give_up("this node is being closed")
        self._work.shutdown(wait=False)
