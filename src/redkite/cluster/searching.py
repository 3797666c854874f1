"""Searches of a proxy that no thread waits for: sent to the owners of all shards, merged when the last has answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from redkite.cluster.shards.calling import Caller
from redkite.cluster.shards.reading import READ_SECONDS, CountShard, SearchShard
from redkite.coordinator.meta import CollectionMeta
from redkite.env import Tasks
from redkite.index.base import Queries
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import ConsistencyLevel
from redkite.node.face import moment_after
from redkite.node.topology import Topology
from redkite.proxy.kinds import PLAIN, Asked
from redkite.proxy.lapses import lapse_of
from redkite.proxy.pending import when_all
from redkite.proxy.plans import Planned
from redkite.proxy.reads import Reads
from redkite.proxy.rules.query_vectors import comparable
from redkite.proxy.rules.read_rules import check_same_collection, is_far_ahead
from redkite.query.plan import SearchPartial, SearchPlan

_WAITS: Final = (
    "tuning", "page", "grouping", "order_by", "aggregation", "function_score", "function_chains", "highlighter",
    "as_of", "hints",
)  # fmt: skip
"""What makes a search more than one question to each shard, or may."""
_NO_PARTITIONS: Final[frozenset[int]] = frozenset()


class _Arrived(Asked):
    """What the shards have answered."""

    def __init__(self, answers: Sequence[tuple[int, list[SearchPartial]]]) -> None:
        super().__init__((), None)
        self.timestamp = max(stamp for stamp, _ in answers)
        self._partials = [partial for _, found in answers for partial in found]
        self._reached(self._partials)

    def __call__(self, plan: SearchPlan, queries: Queries) -> list[SearchPartial]:  # noqa: ARG002  they were asked
        return self._partials


class Searching:
    """Safe from any thread."""

    def __init__(self, tasks: Tasks, topology: Topology, reads: Reads, caller: Caller) -> None:
        self._tasks = tasks
        self._topology = topology
        self._reads = reads
        self._caller = caller
        self._now: Callable[[], int] = topology.root.oracle.now

    @staticmethod
    def fits(request: rq.Request) -> bool:
        """Whether a search may be one that `begin` takes, judged by what it says."""
        if not isinstance(request, rq.Search) or request.queries.vectors is None:
            return False
        return not any(getattr(request, name) for name in _WAITS)

    def begin(self, request: rq.Search) -> Future[rs.Result] | None:
        """The hits, later; None for a search that has to wait in between."""
        planned = self._reads.planned(request)
        meta = planned.meta
        check_same_collection(meta, request.collection_id)
        plan = self._reads.expiring(planned.plan, meta, 0)
        if planned.kind != PLAIN or plan.scoring is not None or plan.grouping is not None or plan.explain:
            return None
        if is_far_ahead(request.guarantee_timestamp, self._now()):
            return None  # the owners are asked first, whose clocks may be ahead
        queries = comparable(planned.field, request.queries)
        self._reads.live.saw((plan.collection_id, plan.field), queries)
        if _wants_moment(meta, request):
            return self._heard_first(request, planned, plan, queries)
        return self._send(request, planned, plan, queries, None)

    def _heard_first(
        self, request: rq.Search, planned: Planned, plan: SearchPlan, queries: Queries
    ) -> Future[rs.Result]:
        answer: Future[rs.Result] = self._tasks.future()
        heard = [
            self._caller.send(channel, CountShard(channel=channel, partitions=_NO_PARTITIONS), try_seconds=READ_SECONDS)
            for channel in planned.meta.channels
        ]

        def chosen(done: Future[int]) -> None:
            error = done.exception()
            if error is not None:
                answer.set_exception(error)
                return
            try:
                found = self._send(request, planned, plan, queries, done.result())
            except Exception as failure:  # noqa: BLE001  it is the answer
                answer.set_exception(failure)
                return
            found.add_done_callback(lambda found: _pass_on(found, answer))

        def choice() -> int:
            return moment_after([one.result() for one in heard], self._now(), request.guarantee_timestamp)

        moment: Future[int] = when_all(self._tasks, heard, choice)
        moment.add_done_callback(chosen)
        return answer

    def _send(
        self, request: rq.Search, planned: Planned, plan: SearchPlan, queries: Queries, moment: int | None
    ) -> Future[rs.Result]:
        lapse = lapse_of(planned.meta, request)
        asked = [
            self._caller.send(
                channel,
                SearchShard(channel=channel, timestamp=moment, lapse=lapse, plan=plan, queries=queries),
                try_seconds=READ_SECONDS,
            )
            for channel in planned.meta.channels
        ]

        def hits() -> rs.Result:
            arrived = _Arrived([one.result() for one in asked])
            return self._reads.hits(request, planned, plan, arrived, queries)

        return when_all(self._tasks, asked, hits)


def _wants_moment(meta: CollectionMeta, request: rq.Search) -> bool:
    """Whether one moment is chosen that all shards are read at, for which their owners have to be heard; else each is
    read at its newest, which has everything that was acknowledged."""
    level = meta.consistency_level if request.consistency_level is None else request.consistency_level
    return len(meta.channels) > 1 and level not in (ConsistencyLevel.Eventually, ConsistencyLevel.Bounded)


def _pass_on(done: Future[Any], answer: Future[Any]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
