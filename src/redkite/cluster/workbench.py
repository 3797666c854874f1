"""The work of one data node: queued, done at a workplace, stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeAlias

from redkite.cluster.network import CALLER, Handler
from redkite.cluster.work_messages import (
    BuildIndex,
    CompactSegments,
    Done,
    IsAtWork,
    Known,
    ReadFiles,
    StopWork,
    Work,
    WriteSegment,
)
from redkite.env import Env
from redkite.errors import MilvusException, Unavailable

REMEMBERED: Final = 1024
"""Pieces that are over and whose messages, should they come again, are not done again."""

Workplace: TypeAlias = Callable[[Work, Callable[[], bool]], Done]
"""Does a piece of work while the caller waits, as long as it is wanted. Raises MilvusException."""


class Workbench:
    """Safe from any thread."""

    def __init__(self, env: Env, node_id: int, place: Workplace, is_there: Callable[[int], bool], hands: int) -> None:
        """`is_there`: whether a node is alive. So many `hands` work at a time, and as many write segments, for which
        there is no queue: rows that wait to be written are in somebody's memory."""
        self.place = place
        self._is_there = is_there
        self._hands = env.tasks.executor(f"work-{node_id}", hands)
        self._writing = hands
        self._writers = env.tasks.executor(f"write-segments-{node_id}", hands)
        self._lock = threading.Lock()
        self._work: dict[int, _Piece] = {}
        self._over: dict[int, None] = {}
        """The oldest first."""
        self.done = self.failed = self.stopped = 0
        self._closing = False

    def handlers(self) -> dict[type, Handler]:
        """What the node answers."""
        return {
            BuildIndex: self.take, CompactSegments: self.take, WriteSegment: self.take, ReadFiles: self.take,
            StopWork: self.stop, IsAtWork: self.is_at,
        }  # fmt: skip

    @property
    def pieces(self) -> int:
        """Queued or being done."""
        with self._lock:
            return len(self._work)

    def take(self, work: Work) -> Future[Any]:
        """The reply to come. The same work asked for again is done once."""
        caller = CALLER.get()
        writes = isinstance(work, WriteSegment)
        with self._lock:
            known = self._work.get(work.work_id)
            if known is not None:
                return known.reply
            if self._closing:
                raise Unavailable("this data node takes no more work")
            if work.work_id in self._over:  # its names are not written a second time
                raise Unavailable(f"piece of work {work.work_id} was done, or given up, before")
            if writes and sum(piece.writes for piece in self._work.values()) >= self._writing:
                raise Unavailable(f"this data node is writing {self._writing} segments already")
            piece = _Piece(None if caller is None else caller.node_id, writes)
            self._work[work.work_id] = piece
            piece.reply = (self._writers if writes else self._hands).submit(self._do, work, piece)
            return piece.reply

    def _do(self, work: Work, piece: _Piece) -> Done:
        def wanted() -> bool:
            return not (piece.is_stopped or self._closing) and (piece.asker is None or self._is_there(piece.asker))

        try:
            reply = self.place(work, wanted)
        except MilvusException:
            self.failed += 1
            raise
        else:
            self.done += not reply.is_stopped
            self.stopped += reply.is_stopped
            return reply
        finally:
            with self._lock:
                self._work.pop(work.work_id, None)
                self._forget_oldest()
                self._over[work.work_id] = None

    def _forget_oldest(self) -> None:
        while len(self._over) >= REMEMBERED:
            del self._over[next(iter(self._over))]

    def stop(self, message: StopWork) -> Known:
        """Answers whether there was such work."""
        with self._lock:
            piece = self._work.get(message.work_id)
            if piece is None:  # should it come yet, it is not begun
                self._forget_oldest()
                self._over[message.work_id] = None
                return Known(False)
        piece.is_stopped = True
        return Known(True)

    def is_at(self, message: IsAtWork) -> Known:
        with self._lock:
            return Known(message.work_id in self._work)

    def close(self) -> None:
        """Stop at the next step; whoever waits asks elsewhere."""
        self._closing = True
        self._hands.shutdown(wait=True)
        self._writers.shutdown(wait=True)


class _Piece:
    """One piece of work."""

    __slots__ = ("asker", "is_stopped", "reply", "writes")

    def __init__(self, asker: int | None, writes: bool) -> None:
        self.asker = asker
        self.writes = writes
        self.is_stopped = False
        self.reply: Future[Any] = Future()
