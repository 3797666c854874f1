"""Who decides what is compacted, and who remembers it? Policy and jobs; the work is done elsewhere.

The policy is made of functions of segment records. Jobs that somebody asked for are noted in the catalog: after a
restart a plan is complete if that was noted, in the commit that replaced its segments; else it failed, and whoever
wants it asks again. What is compacted by itself lives in memory only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from threading import Lock

import msgspec

from redkite.coordinator.jobs import KEPT_JOBS, JobRecords
from redkite.errors import Corruption
from redkite.model.decoding import from_msgpack
from redkite.model.segments import SegmentMeta
from redkite.model.upkeep import CompactionKind, PlanState

NOTHING_TO_DO = -1
"""The id of a job without plans."""
CUT_OFF = "the database was closed, or its process ended, before this was done: ask for it again"
GONE = "the database was closed, or its process ended, before this was done, and the segments are gone since"


MEMORY_SHARE = 1 / 8
"""A new segment has at most this part of the memory there may be: while it is made it is there about twice."""


class CompactionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What is compacted by itself, and how large segments become."""

    enabled: bool = True
    automatic: bool = True
    """Look after every flush and every `check_seconds`."""
    rows: int = 262_144
    bytes: int = 256 * 1024 * 1024
    """A new segment has at most so many rows and bytes."""
    small: float = 0.5
    """A segment below this part of both is merged with others."""
    full: float = 0.85
    """Small segments that fill a new one to this part are merged at once; fewer of them …"""
    merge_at: int = 4
    """… when there are so many of similar size."""
    droppable: float = 0.2
    """A segment with this part of its rows deleted for good or expired is written anew."""
    check_seconds: float = 60.0

    def within(self, limit: int) -> CompactionPolicy:
        """The same where a merge must not take more than a part of so many bytes of memory (0: of any number)."""
        if not limit:
            return self
        return msgspec.structs.replace(self, bytes=min(self.bytes, max(1, int(limit * MEMORY_SHARE))))

    def sized(self, target_bytes: int) -> CompactionPolicy:
        """The same for segments of another size."""
        return msgspec.structs.replace(self, bytes=target_bytes, rows=1 << 31, small=1.0)


class CompactionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Some segments of one channel and partition, to be replaced by new ones. Without any: what there is to do is
    decided when others are done."""

    plan_id: int
    job_id: int
    kind: CompactionKind
    collection_id: int
    partition_id: int
    channel: str
    sources: tuple[int, ...]
    most_bytes: int
    most_rows: int
    state: PlanState = PlanState.EXECUTING
    targets: tuple[int, ...] = ()
    reason: str = ""
    """Why it failed."""


# -- policy -------------------------------------------------------------------------------------
Group = tuple[SegmentMeta, ...]


def by_place(segments: Iterable[SegmentMeta]) -> list[Group]:
    """Segments that may be merged with each other: of one channel, partition and level, the oldest rows first."""
    found: dict[tuple[str, int, int], list[SegmentMeta]] = {}
    for segment in sorted(segments, key=lambda s: (s.min_timestamp, s.segment_id)):
        found.setdefault((segment.channel, segment.partition_id, segment.level), []).append(segment)
    return [tuple(group) for group in found.values()]


def merges(segments: Iterable[SegmentMeta], policy: CompactionPolicy, *, eager: bool) -> list[Group]:
    """Which small segments to merge: all of them (`eager`), or those whose merging pays.

    It pays when they fill a new segment, or when enough of them are about as large as the rest together: so a row is
    written anew a number of times that grows with the logarithm of the collection, however often it is flushed.
    Segments split by the clustering key stay as they are.
    """
    found = []
    for group in by_place(segments):
        small = [s for s in group if s.level == 1 and _is_small(s, policy)]
        packed = _pack(small, policy)
        if eager:
            found += [g for g in packed if len(g) > 1]
            continue
        found += [g for g in packed if len(g) > 1 and _fill(g, policy) >= policy.full]
        rest = [s for g in packed if len(g) == 1 or _fill(g, policy) < policy.full for s in g]
        found += _similar(rest, policy)
    return found


def _is_small(segment: SegmentMeta, policy: CompactionPolicy) -> bool:
    return segment.rows < policy.rows * policy.small and segment.size < policy.bytes * policy.small


def _fill(group: Sequence[SegmentMeta], policy: CompactionPolicy) -> float:
    return max(sum(s.rows for s in group) / policy.rows, sum(s.size for s in group) / policy.bytes)


def _pack(segments: Sequence[SegmentMeta], policy: CompactionPolicy) -> list[Group]:
    """Neighbours in time that fit into one segment."""
    groups: list[Group] = []
    for segment in segments:
        last = groups[-1] if groups else ()
        if last and _fill((*last, segment), policy) <= 1:
            groups[-1] = (*last, segment)
        else:
            groups.append((segment,))
    return groups


def _similar(segments: Sequence[SegmentMeta], policy: CompactionPolicy) -> list[Group]:
    """The largest number of the smallest segments in which none outweighs the others together."""
    by_size = sorted(segments, key=lambda s: (s.rows, s.segment_id))
    for count in range(len(by_size), policy.merge_at - 1, -1):
        some = by_size[:count]
        if some[-1].rows <= sum(s.rows for s in some[:-1]) and _fill(some, policy) <= 1:
            return [tuple(sorted(some, key=lambda s: (s.min_timestamp, s.segment_id)))]
    return []


# -- jobs ---------------------------------------------------------------------------------------
class CompactionCoordinator:
    """Jobs and their plans. No segment is in two plans that run. Safe from any thread."""

    def __init__(
        self, allocate_id: Callable[[], int], records: JobRecords, is_there: Callable[[CompactionPlan], bool]
    ) -> None:
        """`is_there`: are the sources of a plan still segments?"""
        self._allocate_id = allocate_id
        self._records = records
        self._lock = Lock()
        self._plans: OrderedDict[int, OrderedDict[int, CompactionPlan]] = OrderedDict()
        """By job id, then by plan id."""
        self._noted: set[int] = set()
        """Jobs that are in the catalog."""
        for job_id, record in records.all():
            self._recover(job_id, _decoded(record), is_there)

    def _recover(
        self, job_id: int, plans: Sequence[CompactionPlan], is_there: Callable[[CompactionPlan], bool]
    ) -> None:
        """Take over a job of the process before, whose plans are all over by now."""
        ended = [plan if plan.state is not PlanState.EXECUTING else _ended(plan, is_there(plan)) for plan in plans]
        self._plans[job_id] = OrderedDict((plan.plan_id, plan) for plan in ended)
        self._noted.add(job_id)
        if ended != list(plans):
            self._records.note(job_id, _encode(ended))

    def busy(self, collection_id: int) -> frozenset[int]:
        """Segments that are being compacted."""
        with self._lock:
            return self._busy(collection_id)

    def running(self, collection_id: int) -> list[CompactionPlan]:
        """Plans that are not finished."""
        with self._lock:
            return self._running(collection_id)

    def _busy(self, collection_id: int) -> frozenset[int]:
        return frozenset(segment for plan in self._running(collection_id) for segment in plan.sources)

    def _running(self, collection_id: int) -> list[CompactionPlan]:
        plans = (plan for job in self._plans.values() for plan in job.values())
        return [plan for plan in plans if plan.state is PlanState.EXECUTING and plan.collection_id == collection_id]

    def begin(
        self, kind: CompactionKind, groups: Iterable[Group], policy: CompactionPolicy, *, noted: bool = False
    ) -> tuple[int, list[CompactionPlan]]:
        """A job of one plan for each group, those left out that hold a segment of another plan. Without any plan the
        id is `NOTHING_TO_DO`. `noted`: it is known over restarts."""
        groups = list(groups)
        if not groups:
            return NOTHING_TO_DO, []
        with self._lock:
            job_id = self._allocate_id()
            plans = self._planned(job_id, kind, groups, policy)
            if not plans:
                return NOTHING_TO_DO, []
            if noted:
                self._records.save(job_id, _encode(plans.values()), self._forget_old())
                self._noted.add(job_id)
            else:
                self._forget_old()
            self._plans[job_id] = plans
            return job_id, list(plans.values())

    def _planned(
        self, job_id: int, kind: CompactionKind, groups: Iterable[Group], policy: CompactionPolicy
    ) -> OrderedDict[int, CompactionPlan]:
        plans: OrderedDict[int, CompactionPlan] = OrderedDict()
        for group in groups:
            first = group[0]
            sources = tuple(s.segment_id for s in group)
            taken = {i for p in plans.values() for i in p.sources} | self._busy(first.collection_id)
            if taken.isdisjoint(sources):
                plan_id = self._allocate_id()
                plans[plan_id] = CompactionPlan(
                    plan_id=plan_id,
                    job_id=job_id,
                    kind=kind,
                    collection_id=first.collection_id,
                    partition_id=first.partition_id,
                    channel=first.channel,
                    sources=sources,
                    most_bytes=policy.bytes,
                    most_rows=policy.rows,
                )
        return plans

    def begin_behind(self, kind: CompactionKind, collection_id: int, policy: CompactionPolicy) -> CompactionPlan:
        """A job that is known over restarts and waits for what runs: it has one plan, without segments, until `decide`
        says which."""
        with self._lock:
            plan = CompactionPlan(
                plan_id=self._allocate_id(),
                job_id=self._allocate_id(),
                kind=kind,
                collection_id=collection_id,
                partition_id=0,
                channel="",
                sources=(),
                most_bytes=policy.bytes,
                most_rows=policy.rows,
            )
            self._records.save(plan.job_id, _encode([plan]), self._forget_old())
            self._noted.add(plan.job_id)
            self._plans[plan.job_id] = OrderedDict({plan.plan_id: plan})
            return plan

    def decide(
        self, waiting: CompactionPlan, groups: Iterable[Group], policy: CompactionPolicy
    ) -> list[CompactionPlan]:
        """What a job that waited has to do; where that is nothing, it is complete."""
        with self._lock:
            plans = self._planned(waiting.job_id, waiting.kind, groups, policy)
            if plans:
                self._records.save(waiting.job_id, _encode(plans.values()))
                self._plans[waiting.job_id] = plans
        if not plans:
            self.complete(waiting, ())
        return list(plans.values())

    def _forget_old(self) -> list[int]:
        """Forget finished jobs when there are many; those of them that are in the catalog."""
        finished = [
            job_id
            for job_id, plans in self._plans.items()
            if all(p.state is not PlanState.EXECUTING for p in plans.values())
        ]
        gone = finished[: max(0, len(finished) - KEPT_JOBS)]
        for job_id in gone:
            del self._plans[job_id]
        noted = self._noted.intersection(gone)
        self._noted -= noted
        return sorted(noted)

    def completion(self, plan: CompactionPlan, targets: Iterable[int]) -> dict[str, bytes]:
        """What the catalog is to have when a plan is complete: committed with the swap, it is never told otherwise."""
        done = msgspec.structs.replace(plan, state=PlanState.COMPLETED, targets=tuple(targets))
        with self._lock:
            if plan.job_id not in self._noted:
                return {}
            job = {**self._plans.get(plan.job_id, {}), plan.plan_id: done}
            return {self._records.key(plan.job_id): _encode(job.values())}

    def complete(self, plan: CompactionPlan, targets: Iterable[int]) -> None:
        self._end(msgspec.structs.replace(plan, state=PlanState.COMPLETED, targets=tuple(targets)))

    def fail(self, plan: CompactionPlan, reason: str) -> None:
        self._end(msgspec.structs.replace(plan, state=PlanState.FAILED, reason=reason))

    def _end(self, plan: CompactionPlan) -> None:
        with self._lock:
            job = self._plans.get(plan.job_id)
            if job is not None and plan.plan_id in job:
                job[plan.plan_id] = plan
                if plan.job_id in self._noted:
                    self._records.note(plan.job_id, _encode(job.values()))

    def plans(self, job_id: int) -> tuple[CompactionPlan, ...]:
        """The plans of a job; none when the job is not known (any more)."""
        with self._lock:
            return tuple(self._plans.get(job_id, {}).values())

    def plans_of(self, collection_id: int) -> tuple[CompactionPlan, ...]:
        """All plans of a collection that are remembered, the oldest first."""
        with self._lock:
            every = (plan for job in self._plans.values() for plan in job.values())
            return tuple(plan for plan in every if plan.collection_id == collection_id)


# -- how jobs are kept --------------------------------------------------------------------------
def _encode(plans: Iterable[CompactionPlan]) -> bytes:
    return msgspec.msgpack.encode(list(plans))


def _decoded(record: bytes) -> list[CompactionPlan]:
    try:
        return from_msgpack(record, list[CompactionPlan])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"catalog entry is no record of compaction plans: {error}") from error


def _ended(plan: CompactionPlan, is_there: bool) -> CompactionPlan:
    """How a plan ended whose process did: had its segments been replaced, it would have been noted as complete."""
    return msgspec.structs.replace(plan, state=PlanState.FAILED, reason=CUT_OFF if is_there else GONE)
