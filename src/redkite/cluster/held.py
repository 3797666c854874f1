"""What owners of shards ask of a query node, and the node's answers.

A segment is held for every owner that opened it: while a channel moves, the old owner and the new one both ask for its
segments, and what one closes stays for the other. Owners number what they open and close, so that a message that comes
late, twice or not at all changes nothing for long: with every beat an owner says what it counts on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from threading import Lock
from typing import ClassVar, Final

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.cluster.network import Handler, Message, NotReached
from redkite.coordinator.placing import cost_of
from redkite.env import Env
from redkite.errors import SegmentGone, Unavailable
from redkite.logs import get_logger
from redkite.model.schema import CollectionSchema
from redkite.model.segments import IndexFile, IndexMeta, SegmentMeta
from redkite.node.asked import AnyHeld, SearchHeld
from redkite.node.querying import QueryNode
from redkite.query.plan import QueryPartial, SearchPartial, SearchPlan, TextCounts
from redkite.query.straight import Straight, is_plain
from redkite.query.word_way import WordWay

log = get_logger(__name__)

ORPHAN_SECONDS: Final = 30.0
"""A segment whose owner is gone is kept so long: the channel's next owner will ask for it."""
LOADERS: Final = 4
"""Segments that are opened at a time."""
MAX_WAYS: Final = 1024


class Marks(msgspec.Struct, frozen=True):
    """Rows of a segment that are deleted, and since when."""

    segment_id: int
    rows: npt.NDArray[np.int64]
    stamps: npt.NDArray[np.uint64]

    @classmethod
    def joined(cls, marks: Sequence[Marks]) -> Marks:
        """Several of one segment as one."""
        rows, stamps = [one.rows for one in marks], [one.stamps for one in marks]
        return cls(marks[0].segment_id, np.concatenate(rows), np.concatenate(stamps))


class OpenSegment(Message, frozen=True, kw_only=True):
    """-> the index files that are damaged."""

    idempotent: ClassVar[bool] = True

    node_id: int
    by: int
    """The owner."""
    at: int
    """Grows with what this owner opens and closes."""
    meta: SegmentMeta
    schema: CollectionSchema
    marks: Marks
    indexes: tuple[IndexMeta, ...]


class CloseSegments(Message, frozen=True, kw_only=True):
    idempotent: ClassVar[bool] = True

    node_id: int
    by: int
    at: int
    segment_ids: tuple[int, ...]


class AttachIndex(Message, frozen=True, kw_only=True):
    idempotent: ClassVar[bool] = True

    node_id: int
    segment_id: int
    index: IndexMeta
    file: IndexFile


class DetachIndex(Message, frozen=True, kw_only=True):
    idempotent: ClassVar[bool] = True

    node_id: int
    segment_id: int
    index: IndexMeta


class MarkDeleted(Message, frozen=True, kw_only=True):
    idempotent: ClassVar[bool] = True

    node_id: int
    marks: tuple[Marks, ...]


class ReadHeld(Message, frozen=True, kw_only=True):
    """A read over segments, and deletes that the node may not know yet. -> what was found"""

    idempotent: ClassVar[bool] = True

    node_id: int
    marks: tuple[Marks, ...]
    held: AnyHeld


class Beat(Message, frozen=True, kw_only=True):
    """An owner lives, and counts on these segments. -> HeldState"""

    idempotent: ClassVar[bool] = True

    node_id: int
    by: int
    at: int
    """What was opened later is not among them."""
    segment_ids: tuple[int, ...]
    awaited: tuple[int, ...] = ()
    """Those of them of which it has not heard yet that they are open."""


class HeldState(msgspec.Struct, frozen=True):
    """How a query node does."""

    cost: int
    """Of all segments that it holds; see `coordinator.placing.cost_of`."""
    segments: int
    missing: tuple[int, ...]
    """Of those that the owner counts on."""
    pruned: int = 0
    idle: tuple[int, ...] = ()
    """Of those that the owner waits for, what nobody is opening here: the order to, or the answer, was lost."""


class _Kept:
    """One segment that is held, or about to be."""

    __slots__ = ("cost", "opened", "opening", "orphaned", "owners", "waiting")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        self.owners: dict[int, int] = {}
        """Owner -> the number under which it was opened."""
        self.waiting = 0
        """Orders to open it that nobody has begun to carry out."""
        self.opened = False
        self.opening: Future[list[IndexFile]] | None = None
        self.orphaned = 0.0
        """Since when it has no owner; 0 while it has."""


class HeldService:
    """The handlers of one query node. Safe from any thread."""

    def __init__(
        self,
        env: Env,
        node: QueryNode,
        let_go: Callable[[Iterable[SegmentMeta]], None] = lambda _: None,
        wanted: Callable[[SegmentMeta], None] = lambda _: None,
    ) -> None:
        """`wanted` is told which segment is about to be opened, `let_go` which are not held any more."""
        self._env = env
        self._node = node
        self._let_go = let_go
        self._wanted = wanted
        self._lock = Lock()
        self._marking = Lock()
        """Deletes have one writer at a time."""
        self._kept: dict[int, _Kept] = {}
        self._metas: dict[int, SegmentMeta] = {}
        self._coming: dict[int, SegmentMeta] = {}
        """What is being opened."""
        self._closed_at: dict[tuple[int, int], int] = {}
        """(owner, segment) -> the number under which it was closed, until its next beat."""
        self._ways: dict[tuple[int, tuple[int, ...]], Straight | WordWay] = {}
        self._loaders = env.tasks.executor("open segments", LOADERS)
        self._refused = ""
        """Why nothing new is opened; empty: it is."""

    def handlers(self) -> Mapping[type, Handler]:
        return {
            OpenSegment: self.open,
            CloseSegments: self.close_segments,
            AttachIndex: self.attach,
            DetachIndex: self.detach,
            MarkDeleted: self.mark,
            ReadHeld: self.read,
            Beat: self.beat,
        }

    # -- what is held ---------------------------------------------------------------------------
    def open(self, message: OpenSegment) -> Future[list[IndexFile]]:
        self._check(message.node_id)
        meta = message.meta
        with self._lock:
            if self._closed_at.get((message.by, meta.segment_id), 0) > message.at:
                raise SegmentGone(f"segment {meta.segment_id} was closed again")
            kept = self._kept.get(meta.segment_id)
            if kept is None:
                if self._refused:
                    raise Unavailable(self._refused)
                kept = self._kept[meta.segment_id] = _Kept(cost_of(meta))
            kept.owners[message.by] = max(message.at, kept.owners.get(message.by, 0))
            kept.orphaned = 0.0
            kept.waiting += 1
            if kept.opening is not None and not kept.opened:
                waiting = kept.opening  # two owners at once: the later one brings what it knows when that is done
                return self._loaders.submit(self._after, waiting, message, kept)
            if not kept.opened:
                self._coming[meta.segment_id] = meta
                self._wanted(meta)
            kept.opening = self._loaders.submit(self._open, message, kept)
            return kept.opening

    def _after(self, waiting: Future[list[IndexFile]], message: OpenSegment, kept: _Kept) -> list[IndexFile]:
        waiting.exception()
        with self._lock:
            if not kept.opened:  # the first one has failed: it is still about to be opened, for this owner
                self._coming[message.meta.segment_id] = message.meta
        return self._open(message, kept)

    def _open(self, message: OpenSegment, kept: _Kept) -> list[IndexFile]:
        meta, marks = message.meta, message.marks
        with self._lock:
            kept.waiting -= 1
        if kept.opened and self._is_same(meta, message.schema):
            self._bring(message)
            return []
        try:
            damaged = self._node.load_segment(meta, message.schema, (marks.rows, marks.stamps), message.indexes)
        except BaseException:
            with self._lock:
                self._coming.pop(meta.segment_id, None)
                if not kept.opened and self._kept.get(meta.segment_id) is kept:
                    if kept.owners.get(message.by) == message.at:
                        del kept.owners[message.by]
                    if not kept.waiting:  # else another owner's order is next
                        del self._kept[meta.segment_id]
            raise
        with self._lock:
            self._coming.pop(meta.segment_id, None)
            self._metas[meta.segment_id] = meta
            kept.opened, kept.cost = True, cost_of(meta)
            self._ways.clear()  # some may go through what was there before
            gone = self._kept.get(meta.segment_id) is not kept
        if gone:  # closed by everybody while it was opened
            self._release([meta.segment_id])
        return damaged

    def _is_same(self, meta: SegmentMeta, schema: CollectionSchema) -> bool:
        """Whether what is held is the same rows, so that only deletes and indexes have to be brought."""
        known = self._metas.get(meta.segment_id)
        return (
            known is not None
            and (known.rows_object, known.stamp) == (meta.rows_object, meta.stamp)
            and self._node.holds(meta.segment_id, schema.version)
        )

    def _bring(self, message: OpenSegment) -> None:
        """Deletes and indexes of a segment that another owner had opened."""
        meta, known = message.meta, self._metas[message.meta.segment_id]
        self._mark([message.marks])
        by_id = {index.index_id: index for index in message.indexes}
        for file in meta.indexes:
            if file not in known.indexes and file.index_id in by_id:
                self._node.attach_index(meta.segment_id, by_id[file.index_id], file)
        with self._lock:
            self._metas[meta.segment_id] = meta

    def close_segments(self, message: CloseSegments) -> None:
        self._check(message.node_id)
        with self._lock:
            gone = []
            for segment_id in message.segment_ids:
                self._closed_at[message.by, segment_id] = message.at
                gone += self._leave(segment_id, message.by, message.at)
        self._release(gone)

    def _leave(self, segment_id: int, owner: int, at: int) -> list[int]:
        """An owner does not count on a segment since `at`; the segment, if nobody does. Under the lock."""
        kept = self._kept.get(segment_id)
        if kept is None or kept.owners.get(owner, at + 1) > at:
            return []
        del kept.owners[owner]
        if kept.owners:
            return []
        del self._kept[segment_id]
        return [segment_id]

    def _release(self, segment_ids: list[int]) -> None:
        if not segment_ids:
            return
        self._node.release_segments(segment_ids)
        with self._lock:
            metas = [self._metas.pop(i) for i in segment_ids if i in self._metas and i not in self._kept]
            self._ways.clear()
        self._let_go(metas)

    def attach(self, message: AttachIndex) -> None:
        self._check(message.node_id)
        self._node.attach_index(message.segment_id, message.index, message.file)
        with self._lock:
            meta, kept = self._metas.get(message.segment_id), self._kept.get(message.segment_id)
            if meta is not None and message.file not in meta.indexes:
                meta = msgspec.structs.replace(meta, indexes=(*meta.indexes, message.file))
                self._metas[message.segment_id] = meta
                if kept is not None:
                    kept.cost = cost_of(meta)

    def detach(self, message: DetachIndex) -> None:
        self._check(message.node_id)
        self._node.detach_index(message.segment_id, message.index)

    def mark(self, message: MarkDeleted) -> None:
        self._check(message.node_id)
        self._mark(message.marks)

    def _mark(self, marks: Iterable[Marks]) -> None:
        with self._marking:
            for one in marks:
                self._node.apply_deletes(one.segment_id, one.rows, one.stamps)

    # -- reads ----------------------------------------------------------------------------------
    def read(self, message: ReadHeld) -> SearchPartial | QueryPartial | TextCounts:
        self._check(message.node_id)
        if message.marks:
            self._mark(message.marks)
        held = message.held
        if isinstance(held, SearchHeld) and held.plan.scoring is None and is_plain(held.plan):
            found = self._straight(held)
            if found is not None:
                return found
        return held.of(self._node)

    def _straight(self, held: SearchHeld) -> SearchPartial | None:
        """The straight way, kept by the identity of its plan, which it holds."""
        key = (id(held.plan), held.segment_ids)
        way = self._ways.get(key)
        if way is None or not way.stands():
            way = self._new_way(key, held.plan)
        return None if way is None else way.search(held.queries, held.timestamp)

    def _new_way(self, key: tuple[int, tuple[int, ...]], plan: SearchPlan) -> Straight | WordWay | None:
        way = self._node.straight(key[1], plan)
        if way is not None:
            with self._lock:
                if len(self._ways) >= MAX_WAYS:
                    self._ways.clear()
                if all(i in self._kept for i in key[1]):
                    self._ways[key] = way
        return way

    # -- owners ---------------------------------------------------------------------------------
    def beat(self, message: Beat) -> HeldState:
        self._check(message.node_id)
        counted, owner, at = set(message.segment_ids), message.by, message.at
        gone: list[int] = []
        with self._lock:
            for segment_id in [i for i, kept in self._kept.items() if owner in kept.owners and i not in counted]:
                gone += self._leave(segment_id, owner, at)
            self._closed_at = {k: n for k, n in self._closed_at.items() if k[0] != owner or n > at}
            missing = tuple(i for i in counted if i not in self._kept)
            for segment_id in counted:
                kept = self._kept.get(segment_id)
                if kept is not None:
                    kept.owners.setdefault(owner, at)
                    kept.orphaned = 0.0
            idle = tuple(i for i in message.awaited if i not in self._kept or self._kept[i].opened)
            cost = sum(kept.cost for kept in self._kept.values())
            state = HeldState(cost, len(self._kept), missing, self._node.pruned, idle)
        self._release(gone)
        return state

    def forget_owners(self, alive: Iterable[int]) -> None:
        """Only these owners are there. What the others had opened is kept for a while, for those that come after."""
        there, now = set(alive), self._env.clock.monotonic()
        with self._lock:
            for kept in self._kept.values():
                kept.owners = {owner: at for owner, at in kept.owners.items() if owner in there}
            self._closed_at = {k: n for k, n in self._closed_at.items() if k[0] in there}
            gone = []
            for segment_id, kept in list(self._kept.items()):
                if kept.owners:
                    continue
                kept.orphaned = kept.orphaned or now
                if now - kept.orphaned >= ORPHAN_SECONDS:
                    gone.append(segment_id)
                    del self._kept[segment_id]
        self._release(gone)

    # -- this node ------------------------------------------------------------------------------
    def refuse(self, why: str) -> None:
        """Open nothing new from now on."""
        self._refused = why

    @property
    def segment_ids(self) -> tuple[int, ...]:
        """Of everything that somebody counts on, or may again."""
        return tuple(self._kept)

    @property
    def metas(self) -> tuple[SegmentMeta, ...]:
        """Of what is open or being opened, as the owners have said."""
        with self._lock:
            return (*self._metas.values(), *self._coming.values())

    @property
    def is_asked_for(self) -> bool:
        """Whether any owner counts on this node."""
        with self._lock:
            return any(kept.owners for kept in self._kept.values())

    def _check(self, node_id: int) -> None:
        """A node that was started anew at the address of another is not that other."""
        if node_id != self._node.node_id:
            raise NotReached(f"node {node_id} is not here any more: node {self._node.node_id} is")

    def close(self) -> None:
        self._loaders.shutdown(wait=False)
