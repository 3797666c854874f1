"""Requests that the coordinator decides, sent there whole.

Whoever leads answers; the answer carries how far the catalog was by then, and the sender waits until it knows as much,
so that a client sees what it has just changed. Before the leader answers, every other node that lives has been told
what was changed, so that no client sees the past through another node either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any, ClassVar, Final, Protocol

import msgspec

from redkite.cluster.deciding import ONCE
from redkite.cluster.network import Handler, Message, NotReached, Remote, Unanswered
from redkite.cluster.retries import Retries
from redkite.env import Env, Executor
from redkite.errors import MilvusException, NotReady, Unavailable, UnknownOutcome
from redkite.model import analysis as an
from redkite.model import placement as pl
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.advice import AdviseIndex
from redkite.model.changes import AcknowledgeFeed, DropFeed, ListFeeds, ReadChanges
from redkite.model.describing import BatchDescribeCollection
from redkite.model.imports import DescribeImport, GetImportState, ListImports, ListImportTasks
from redkite.model.inspection import GetMetrics, ListBackupJobs
from redkite.model.replication import CountEverything, FreezeWrites, GetReplicateInfo, ReadReplication
from redkite.storage.followed import FollowedCatalog

LEADER_SECONDS: Final = 15.0
"""How long a request waits for somebody to lead."""
WORK_SECONDS: Final = 3600.0
"""How long the coordinator may take for one: a backup, or a collection that is loaded."""
REACH_SECONDS: Final = 10.0
_WAITERS: Final = 8
_NUMBER_BITS: Final = 62

LOOKING: Final = frozenset({
    rq.GetFlushState, rq.GetFlushAllState, rq.ShowCollections, rq.GetCollectionStatistics, rq.ShowPartitions,
    rq.GetPartitionStatistics, rq.GetLoadingProgress, rq.GetLoadState, rq.DescribeIndex, rq.GetIndexState,
    rq.GetIndexBuildProgress, rq.GetIndexStatistics, rq.ListIndexedSegments, rq.GetCompactionState,
    rq.GetCompactionPlans,
    rq.ListPersistentSegments, rq.ListLoadedSegments, rq.ListSnapshots, rq.DescribeSnapshot,
    rq.GetRestoreSnapshotState, rq.ListRestoreSnapshotJobs, rq.ListBackups, rq.GetBackupJob, rq.CheckHealth,
    pl.ListResourceGroups, pl.DescribeResourceGroup, pl.GetReplicas, an.ListFileResources, an.RunAnalyzer,
    an.ComputePhraseMatchSlop, BatchDescribeCollection, GetMetrics, ListBackupJobs, AdviseIndex,
    CountEverything, GetReplicateInfo, ListFeeds,
})  # fmt: skip
"""Requests that change nothing."""
WAITING: Final = frozenset({ReadChanges, ReadReplication})
"""Requests that may wait for what comes. They say the same when they are made twice, and nobody else sees that they
were made."""
REPEATABLE: Final = LOOKING | WAITING | ONCE | frozenset({
    rq.CreateCollection, rq.Flush, rq.FlushAll, rq.LoadCollection, rq.ReleaseCollection, rq.LoadPartitions,
    rq.ReleasePartitions, FreezeWrites, AcknowledgeFeed, DropFeed,
    DescribeImport, GetImportState, ListImports, ListImportTasks,
})  # fmt: skip
"""Requests that say the same when they are made twice, one after the other."""


class Forward(Message, frozen=True, kw_only=True):
    """-> Forwarded"""

    request: rq.Request
    number: int = 0
    """The request's own, the same each time it is sent; 0: it changes nothing."""
    tried: int = 0
    """How often it was sent before."""


class Forwarded(msgspec.Struct, frozen=True):
    result: Any
    """A Result."""
    revision: int
    """Of the catalog, when it was answered; 0 when nothing had changed."""


class Reach(Message, frozen=True, kw_only=True):
    """-> int: the revision of the catalog that the node knows, and has told all its parts. Waits for the one that is
    named."""

    idempotent: ClassVar[bool] = True
    revision: int
    seconds: float = REACH_SECONDS


class NotLeading(NotReady):
    """The node that was asked to decide does not lead (any more, or yet). Nothing was done."""


class Leader(Protocol):
    """Who leads, as far as that is known here."""

    def remote(self) -> Remote | None: ...


def reach_handler(catalog: FollowedCatalog) -> Mapping[type, Handler]:
    """Answers `Reach`."""

    def reach(message: Reach) -> int:
        catalog.wait_for(message.revision, message.seconds)
        return catalog.revision

    return {Reach: reach}


class Forwarder:
    """Sends requests to whoever leads. Safe from any thread; nobody waits in one."""

    def __init__(self, env: Env, leader: Leader, catalog: FollowedCatalog) -> None:
        self._tasks = env.tasks
        self._random = env.random
        self._now: Callable[[], float] = env.clock.monotonic
        self._leader = leader
        self._catalog = catalog
        self._retries = Retries(env.tasks)
        self._waiters: Executor = env.tasks.executor("forwarded", _WAITERS)

    def send(self, request: rq.Request) -> Future[rs.Result]:
        """The leader's answer, when what it has seen is known here."""
        answer: Future[rs.Result] = self._tasks.future()
        number = 0 if type(request) in LOOKING | WAITING else self._new_number()
        self._send(Forward(request=request, number=number), self._now() + LEADER_SECONDS, answer)
        return answer

    def _new_number(self) -> int:
        return self._random.getrandbits(_NUMBER_BITS) or 1

    def _send(self, message: Forward, deadline: float, answer: Future[rs.Result]) -> None:
        remote = self._leader.remote()
        if remote is None:
            error = NotReady("no coordinator leads at present: the request was not done")
            self._failed(message, deadline, answer, error)
            return
        try:
            asked = remote.ask_soon(message, WORK_SECONDS)
        except NotReached as error:
            self._failed(message, deadline, answer, error)
            return
        except Exception as error:  # noqa: BLE001  what cannot be sent at all: it is the answer
            answer.set_exception(error)
            return
        asked.add_done_callback(partial(self._arrived, message, deadline, answer))

    def _arrived(self, message: Forward, deadline: float, answer: Future[rs.Result], asked: Future[Forwarded]) -> None:
        error = asked.exception()
        if error is not None:
            self._failed(message, deadline, answer, error)
            return
        reply = asked.result()
        if reply.revision <= self._catalog.revision:
            answer.set_result(reply.result)
            return
        try:
            self._waiters.submit(self._reach, reply, answer)
        except Unavailable:  # closed just now: it was done, and nobody asks here what came of it
            answer.set_result(reply.result)

    def _reach(self, reply: Forwarded, answer: Future[rs.Result]) -> None:
        try:
            self._catalog.wait_for(reply.revision, REACH_SECONDS)
        except MilvusException as error:
            answer.set_exception(error)
        else:
            answer.set_result(reply.result)

    def _failed(self, message: Forward, deadline: float, answer: Future[rs.Result], error: BaseException) -> None:
        kind = type(message.request)
        if isinstance(error, Unanswered) and kind not in REPEATABLE:
            name = kind.__name__
            answer.set_exception(
                UnknownOutcome(f"the coordinator went away during {name}: it may have been done or not")
            )
            return
        may_help = isinstance(error, NotReady | NotReached | Unanswered) and not self._retries.is_closed
        if may_help and self._now() < deadline:
            again = msgspec.structs.replace(message, tried=message.tried + 1)
            self._retries.later(partial(self._send, again, deadline, answer))
        else:
            answer.set_exception(error)

    def close(self) -> None:
        """Requests that wait for a leader are told that there is none."""
        self._retries.close()
        self._waiters.shutdown(wait=False)
