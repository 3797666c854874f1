"""The compactor: asks what pays, merges or splits sealed segments in the background, and lets the shard swap them in.

A plan never changes what a read answers. Its new segments are written and indexed first; then the shard replaces the
old ones in one catalog commit and one view; then their objects are garbage. A process that dies in between leaves
either the old segments or the new ones, and objects that nobody names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import NamedTuple

from redkite.coordinator.compaction import (
    CompactionCoordinator,
    CompactionPlan,
    CompactionPolicy,
    Group,
    by_place,
    merges,
)
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.jobs import JobRecords, why
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.root import RootCoordinator
from redkite.env import Env, Timer
from redkite.errors import CollectionNotFound, MilvusException, StorageError
from redkite.logs import get_logger
from redkite.model.rules.property_rules import compacts_by_itself, retention_seconds
from redkite.model.schema import CollectionSchema
from redkite.model.segments import SegmentMeta
from redkite.model.timestamps import LOGICAL_BITS
from redkite.model.upkeep import CompactionKind
from redkite.node.compaction_work import CompactionWork, expired_until
from redkite.node.data import DataNode
from redkite.node.shard import Shard
from redkite.segment.compaction import MadeSegment, Source, open_source, survivors
from redkite.segment.files import segment_prefix
from redkite.spans import job
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)


class _Cancelled(Exception):
    """The sources are gone, or the database closes: nothing is to be done any more."""


class _Behind(NamedTuple):
    """A job that somebody asked for while segments that it is about were being compacted."""

    plan: CompactionPlan
    is_asked: Callable[[SegmentMeta], bool]
    policy: CompactionPolicy


class Compactor:
    """Plans run one after another on one thread. Safe from any thread."""

    def __init__(
        self,
        env: Env,
        store: ObjectStore,
        root: RootCoordinator,
        data: DataCoordinator,
        garbage: Garbage,
        data_node: DataNode,
        shard_of: Callable[[str], Shard | None],
        policy: CompactionPolicy,
        protected: Callable[[], frozenset[int]],
        records: JobRecords,
    ) -> None:
        """`shard_of` gives a channel's shard if it is open, `protected` the segments that snapshots want left alone."""
        self.policy = policy
        self._store = store
        self._root = root
        self._data = data
        self.jobs = CompactionCoordinator(data.allocate_id, records, self._are_there)
        self._garbage = garbage
        self._data_node = data_node
        self._shard_of = shard_of
        self._protected = protected
        self._closing = False
        self._lock = Lock()
        self._planning = Lock()
        """Held while it is decided what a job does."""
        self._swapping = Lock()
        """Held from the last look at what is protected until the swap."""
        self._quiet: dict[int, int] = {}
        """Collections that somebody is about to compact, and how many do."""
        self._to_check: set[str] = set()
        """Channels that are queued to be looked at."""
        self._behind: list[_Behind] = []
        """Jobs that wait for what is being compacted."""
        self._worker = env.tasks.executor("compact", 1)
        self._timer: Timer | None = None
        if policy.enabled and policy.automatic:
            data.when_flushed(self._after_flush)
            self._timer = env.tasks.every(policy.check_seconds, self._check_all, "compaction")

    def close(self) -> None:
        """Stop at the next step; what was not swapped in is swept at the next open."""
        with self._lock:
            self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._worker.shutdown(wait=True)

    # -- by itself ------------------------------------------------------------------------------
    def _after_flush(self, collection_id: int, channel: str) -> None:
        with self._lock:
            if not self._closing and channel not in self._to_check:
                self._worker.submit(self._check, collection_id, channel)
                self._to_check.add(channel)

    def _check_all(self) -> None:
        for meta in self._root.all_collections():
            for channel in meta.channels:
                if self._shard_of(channel) is not None:
                    self._after_flush(meta.collection_id, channel)

    def _check(self, collection_id: int, channel: str) -> None:
        """Compact what pays in one channel."""
        with self._lock:
            self._to_check.discard(channel)
        try:
            meta = self._root.find_by_id(collection_id)
        except CollectionNotFound:
            return
        if not compacts_by_itself(meta.properties) or collection_id in self._quiet:
            return
        busy = self.jobs.busy(collection_id) | self._protected()
        idle = [s for s in self._data.segments_of(collection_id, channel) if s.segment_id not in busy]
        groups = merges(idle, self.policy, eager=False)
        merged = {s.segment_id for group in groups for s in group}
        try:
            rest = [s for s in idle if s.segment_id not in merged]
            groups += [(s,) for s in self._worn(meta, rest, self.policy.droppable)]
        except MilvusException:
            # Segments that cannot be read now are looked at again next time.
            log.exception("what can be dropped from channel %s could not be counted", channel)
        _, plans = self.jobs.begin(CompactionKind.MIX, groups, self.policy)
        for plan in plans:
            self._run(plan)

    def _worn(self, meta: CollectionMeta, segments: Iterable[SegmentMeta], part: float) -> list[SegmentMeta]:
        """Segments of which more than nothing, and at least this part of their rows, can be dropped."""
        horizon = self.horizon(meta)
        expired = expired_until(meta.properties, horizon)
        found = []
        for segment in segments:
            if segment.deleted_rows >= max(1.0, part * segment.rows) or expired is not None:
                try:
                    source = self._open(segment, meta.schema)
                except _Cancelled:
                    continue
                dropped = segment.rows - len(survivors(source, horizon, expired).rows)
                if dropped and dropped >= part * segment.rows:
                    found.append(segment)
        return found

    def horizon(self, meta: CollectionMeta) -> int:
        """Rows deleted or expired up to this timestamp may be dropped."""
        return max(0, self._root.oracle.now() - (retention_seconds(meta.properties) * 1000 << LOGICAL_BITS))

    @contextmanager
    def quiet(self, collection_id: int) -> Iterator[None]:
        """Nothing of this collection begins by itself meanwhile: what a flush leaves is for the job that follows."""
        with self._lock:
            self._quiet[collection_id] = self._quiet.get(collection_id, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._quiet[collection_id] -= 1
                if not self._quiet[collection_id]:
                    del self._quiet[collection_id]

    # -- on request -----------------------------------------------------------------------------
    def start(
        self,
        meta: CollectionMeta,
        kind: CompactionKind,
        is_asked: Callable[[SegmentMeta], bool],
        policy: CompactionPolicy,
    ) -> tuple[int, int]:
        """Compact what there is to compact of the segments that are asked for: (job id, plans). Where some of them are
        being compacted, that may have begun before the last delete, or be of another kind: the job waits for it, and
        its plans are made then."""
        policy = policy.within(self._data_node.memory.limit)
        with self._planning:
            segments = self._asked(meta.collection_id, is_asked)
            if self.jobs.busy(meta.collection_id).isdisjoint(s.segment_id for s in segments):
                wanted = self._wanted(meta, kind, segments, policy)
                job_id, plans = self.jobs.begin(kind, wanted, policy, noted=True)
                self._submit(plans)
                return job_id, len(plans)
        waiting = self.jobs.begin_behind(kind, meta.collection_id, policy)
        with self._lock:
            self._behind.append(_Behind(waiting, is_asked, policy))
        self._go_on(meta.collection_id)  # what was being compacted may be done by now
        return waiting.job_id, 1

    def _asked(self, collection_id: int, is_asked: Callable[[SegmentMeta], bool]) -> list[SegmentMeta]:
        kept = self._protected()
        return [s for s in self._data.segments(collection_id) if s.segment_id not in kept and is_asked(s)]

    def _submit(self, plans: Sequence[CompactionPlan]) -> None:
        for number, plan in enumerate(plans):
            try:
                self._worker.submit(self._run, plan)
            except Exception as error:  # whatever keeps it from being done, nobody may wait for it
                for left in plans[number:]:
                    self.jobs.fail(left, why(error))
                raise

    def _go_on(self, collection_id: int) -> None:
        """When nothing of a collection is being compacted any more, it is the turn of those who wait for that."""
        with self._lock:
            if self._closing or self.jobs.busy(collection_id):
                return
            ready = [b for b in self._behind if b.plan.collection_id == collection_id]
            self._behind = [b for b in self._behind if b.plan.collection_id != collection_id]
            for behind in ready:
                self._worker.submit(self._decide, behind)

    def _decide(self, behind: _Behind) -> None:
        """Make the plans of a job that waited."""
        waiting, is_asked, policy = behind
        try:
            meta = self._root.find_by_id(waiting.collection_id)
            with self._planning:
                segments = self._asked(waiting.collection_id, is_asked)
                if self.jobs.busy(waiting.collection_id).isdisjoint(s.segment_id for s in segments):
                    wanted = self._wanted(meta, waiting.kind, segments, policy)
                    self._submit(self.jobs.decide(waiting, wanted, policy))
                    return
        except CollectionNotFound as error:
            self.jobs.fail(waiting, error.message)
        except Exception as error:  # as above
            log.exception("what is to be compacted of collection %d could not be decided", waiting.collection_id)
            self.jobs.fail(waiting, why(error))
        else:
            with self._lock:  # somebody was quicker
                self._behind.append(behind)
            self._go_on(waiting.collection_id)

    def _wanted(
        self, meta: CollectionMeta, kind: CompactionKind, segments: Sequence[SegmentMeta], policy: CompactionPolicy
    ) -> list[Group]:
        if kind is CompactionKind.CLUSTERING:
            places: dict[tuple[str, int], Group] = {}
            for group in by_place(segments):
                key = group[0].channel, group[0].partition_id
                places[key] = (*places.get(key, ()), *group)
            return [g for g in places.values() if any(s.level == 1 for s in g) or self._worn(meta, g, 0)]
        if kind is CompactionKind.LEVEL0:
            return [(s,) for s in self._worn(meta, segments, policy.droppable)]
        groups = merges(segments, policy, eager=True)
        merged = {s.segment_id for group in groups for s in group}
        return groups + [(s,) for s in self._worn(meta, (s for s in segments if s.segment_id not in merged), 0)]

    # -- one plan -------------------------------------------------------------------------------
    @job("compaction")
    def _run(self, plan: CompactionPlan) -> None:
        try:
            made = self._carried_out(plan)
        except _Cancelled:
            self.jobs.fail(plan, "cancelled: the segments are gone")
        except Exception as error:
            # The old segments stay as they are; the next check tries again.
            if not self._closing:
                log.exception("segments %s could not be compacted", plan.sources)
            self.jobs.fail(plan, why(error))
        else:
            self.jobs.complete(plan, made)
        self._go_on(plan.collection_id)

    def carry_out(self, plan: CompactionPlan) -> Future[list[int] | None]:
        """Carry out a plan that somebody else has made, when it has its turn: the ids of the new segments; None when
        the sources are gone."""
        return self._worker.submit(self._carry_out, plan)

    def _carry_out(self, plan: CompactionPlan) -> list[int] | None:
        try:
            return self._carried_out(plan)
        except _Cancelled:
            return None

    def _carried_out(self, plan: CompactionPlan) -> list[int]:
        owner = f"compaction-{plan.plan_id}"
        targets: list[int] = []
        try:
            made = [segment.meta.segment_id for segment in self._replace(plan, owner, targets)]
            targets += plan.sources
            return made
        finally:
            self._clear_away(owner, plan.collection_id, targets)

    def _clear_away(self, owner: str, collection_id: int, segment_ids: Iterable[int]) -> None:
        try:
            self._garbage.release(owner)
            for segment_id in segment_ids:
                self._discard(collection_id, segment_id)
        except Exception:  # what has been decided by now is decided
            log.exception("what a compaction has left is not removed")

    def _discard(self, collection_id: int, segment_id: int) -> None:
        try:
            self._garbage.discard_prefix(segment_prefix(collection_id, segment_id))
        except MilvusException:
            log.warning("objects of segment %d wait for the next open to be removed", segment_id, exc_info=True)

    def _replace(self, plan: CompactionPlan, owner: str, targets: list[int]) -> list[MadeSegment]:
        """Make the new segments and swap them in. `targets` become the ids of what is garbage then."""
        wanted = partial(self._still_wanted, plan)
        if not wanted():
            raise _Cancelled
        meta = self._root.find_by_id(plan.collection_id)
        shard = self._shard_of(plan.channel)
        if shard is None:
            raise _Cancelled
        # Whoever reads by an older schema than the new segments have is to be told, so the shard learns of it first.
        shard.follow(partial(self._root.current, meta))
        work = CompactionWork(
            kind=plan.kind,
            schema=meta.schema,
            properties=dict(meta.properties),
            horizon=self.horizon(meta),
            sources=tuple(self._held(plan, i, owner) for i in plan.sources),
            most_bytes=plan.most_bytes,
            most_rows=plan.most_rows,
            indexes=tuple(self._data.indexes(plan.collection_id)),
            least_indexed_rows=self._data.least_indexed_rows,
        )

        def new_id() -> int:
            targets.append(self._data.allocate_id())
            return targets[-1]

        done = self._data_node.compact(work, wanted, new_id)
        with self._swapping:
            if done is None or not wanted():
                raise _Cancelled
            written, made = list(targets), [m.meta.segment_id for m in done.made]
            # Whether a commit that fails is on disk is not known: then what was written is left to the next open.
            targets[:] = [target for target in written if target not in made]
            if not shard.replace(plan.sources, done.made, done.newest_dropped, self.jobs.completion(plan, made)):
                targets[:] = written
                raise _Cancelled
            return done.made

    @contextmanager
    def protecting(self) -> Iterator[None]:
        """Nothing is swapped meanwhile: what is protected then, and is there, stays."""
        with self._swapping:
            yield

    def _held(self, plan: CompactionPlan, segment_id: int, owner: str) -> SegmentMeta:
        """A segment as the catalog has it now, its objects held for `owner`: those that it still has once they are held
        stay. Raises _Cancelled when it is gone."""
        while True:
            segment = self._find(plan.collection_id, plan.channel, segment_id)
            self._garbage.hold(owner, segment.objects)
            if self._find(plan.collection_id, plan.channel, segment_id) == segment:
                return segment

    def _still_wanted(self, plan: CompactionPlan) -> bool:
        return not self._closing and self._are_there(plan) and self._protected().isdisjoint(plan.sources)

    def _are_there(self, plan: CompactionPlan) -> bool:
        here = {s.segment_id for s in self._data.segments_of(plan.collection_id, plan.channel)}
        return here.issuperset(plan.sources)

    def _open(self, segment: SegmentMeta, schema: CollectionSchema) -> Source:
        """Open a segment as the catalog has it now. Its deletes may be saved under a new name just then: once more.
        Raises _Cancelled when it is gone."""
        while True:
            try:
                return open_source(self._store, segment, schema)
            except StorageError:
                now = self._find(segment.collection_id, segment.channel, segment.segment_id)
                if now == segment:
                    raise
                segment = now

    def _find(self, collection_id: int, channel: str, segment_id: int) -> SegmentMeta:
        known = self._data.segments_of(collection_id, channel)
        found = next((s for s in known if s.segment_id == segment_id), None)
        if found is None:
            raise _Cancelled
        return found

    def wait_idle(self) -> None:
        """Come back when everything queued so far is done."""
        done: Future[None] = self._worker.submit(lambda: None)
        done.result()
