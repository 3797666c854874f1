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
from math import ceil
from threading import Lock

import msgspec

from redkite.coordinator.compaction import (
    MEMORY_SHARE,
    NOTHING_TO_DO,
    CompactionCoordinator,
    CompactionPlan,
    CompactionPolicy,
    Group,
    by_place,
    merges,
)
from redkite.coordinator.data import DataCoordinator
from redkite.coordinator.garbage import Garbage
from redkite.coordinator.jobs import JobRecords
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
from redkite.node.data import DataNode
from redkite.node.shard import Shard
from redkite.segment.compaction import (
    Expired,
    MadeSegment,
    Part,
    Source,
    merge,
    open_source,
    split_by_key,
    split_in_order,
    survivors,
)
from redkite.segment.expiry import expired_rows, expiry_at
from redkite.segment.files import segment_prefix
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)


class _Cancelled(Exception):
    """The sources are gone, or the database closes: nothing is to be done any more."""


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
        self._quiet: dict[int, int] = {}
        """Collections that somebody is about to compact, and how many do."""
        self._to_check: set[str] = set()
        """Channels that are queued to be looked at."""
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
                self._to_check.add(channel)
                self._worker.submit(self._check, collection_id, channel)

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
        expired = _expired(meta, horizon)
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
        segments: Sequence[SegmentMeta],
        policy: CompactionPolicy,
    ) -> tuple[int, int]:
        """Compact what there is to compact of these segments: (job id, plans). When all there is to do is being done
        already, the job that does it."""
        policy = policy.within(self._data_node.memory.limit)
        busy = self.jobs.busy(meta.collection_id) | self._protected()
        idle = [s for s in segments if s.segment_id not in busy]
        job_id, plans = self.jobs.begin(kind, self._wanted(meta, kind, idle, policy), policy, noted=True)
        if not plans:
            running = self.jobs.running(meta.collection_id)
            return (running[-1].job_id, len(running)) if running else (NOTHING_TO_DO, 0)
        for plan in plans:
            self._worker.submit(self._run, plan)
        return job_id, len(plans)

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
    def _run(self, plan: CompactionPlan) -> None:
        owner = f"compaction-{plan.plan_id}"
        targets: list[int] = []
        try:
            made = self._replace(plan, owner, targets)
        except _Cancelled:
            self.jobs.fail(plan, "cancelled: the segments are gone")
        except Exception as error:
            # The old segments stay as they are; the next check tries again.
            if not self._closing:
                log.exception("segments %s could not be compacted", plan.sources)
            self.jobs.fail(plan, str(error))
        else:
            self._garbage.release(owner)
            for source in plan.sources:
                self._discard(plan.collection_id, source)
            self.jobs.complete(plan, [m.meta.segment_id for m in made])
            return
        self._garbage.release(owner)
        for target in targets:
            self._discard(plan.collection_id, target)

    def _discard(self, collection_id: int, segment_id: int) -> None:
        try:
            self._garbage.discard_prefix(segment_prefix(collection_id, segment_id))
        except MilvusException:
            log.warning("objects of segment %d wait for the next open to be removed", segment_id, exc_info=True)

    def _replace(self, plan: CompactionPlan, owner: str, targets: list[int]) -> list[MadeSegment]:
        """Make the new segments and swap them in. `targets` are the ids of what is garbage should it fail."""
        wanted = partial(self._still_wanted, plan)
        if not wanted():
            raise _Cancelled
        meta = self._root.find_by_id(plan.collection_id)
        shard = self._shard_of(plan.channel)
        if shard is None:
            raise _Cancelled
        # Whoever reads by an older schema than the new segments have is to be told, so the shard learns of it first.
        shard.follow(partial(self._root.current, meta))
        horizon = self.horizon(meta)
        known = [self._find(plan.collection_id, plan.channel, i) for i in plan.sources]
        sources = [self._open(segment, meta.schema, owner) for segment in known]
        expired = _expired(meta, horizon)
        parts = [survivors(source, horizon, expired) for source in sources]
        made = []
        for group, level in self._groups(plan, parts, meta.schema):
            if not wanted():
                raise _Cancelled
            segment_id = self._data.allocate_id()
            targets.append(segment_id)
            with self._data_node.memory.work("compaction", int(2 * sum(map(_bytes, group)))):
                segment = merge(self._store, meta.schema, group, segment_id, level)
            made.append(self._indexed(segment, meta.schema, wanted))
        if not wanted():
            raise _Cancelled
        written, targets[:] = list(targets), []
        # Whether a commit that fails is on disk is not known: then what was written is left to the next open.
        if not shard.replace(plan.sources, made, _newest_dropped(parts, horizon)):
            targets[:] = written
            raise _Cancelled
        return made

    def _still_wanted(self, plan: CompactionPlan) -> bool:
        return not self._closing and self._are_there(plan) and self._protected().isdisjoint(plan.sources)

    def _are_there(self, plan: CompactionPlan) -> bool:
        here = {s.segment_id for s in self._data.segments_of(plan.collection_id, plan.channel)}
        return here.issuperset(plan.sources)

    def _open(self, segment: SegmentMeta, schema: CollectionSchema, owner: str = "") -> Source:
        """Open a segment as the catalog has it now, its objects held for `owner`. Its deletes may be saved under a new
        name just then: once more. Raises _Cancelled when it is gone."""
        while True:
            if owner:
                self._garbage.hold(owner, segment.objects)
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

    def _groups(
        self, plan: CompactionPlan, parts: Sequence[Part], schema: CollectionSchema
    ) -> list[tuple[Sequence[Part], int]]:
        """What goes into which new segment, and the level of each."""
        kept = [p for p in parts if len(p.rows)]
        if not kept:
            return []
        room = plan.most_bytes
        if self._data_node.memory.limit:  # sources may be from a time when the limit was a larger one
            room = min(room, int(self._data_node.memory.limit * MEMORY_SHARE))
        width = max(1.0, sum(p.source.meta.size for p in kept) / sum(p.source.meta.rows for p in kept))
        most = max(1, min(plan.most_rows, ceil(room / width)))
        key = next((f.name for f in schema.fields if f.is_clustering_key), None)
        if plan.kind is CompactionKind.CLUSTERING and key is not None:
            return [(group, 2) for group in split_by_key(kept, key, most)]
        level = kept[0].source.meta.level
        if not self._data_node.memory.limit:
            return [(kept, level)]
        return [(group, level) for group in split_in_order(kept, most)]

    def _indexed(self, made: MadeSegment, schema: CollectionSchema, wanted: Callable[[], bool]) -> MadeSegment:
        """With every index that its collection has, so that no search gets slower by the swap."""
        meta = made.meta
        for index in self._data.indexes(meta.collection_id):
            if self._data.wants_build(meta, index):
                file = self._data_node.make_index(meta, index, schema, wanted)
                if file is None:
                    raise _Cancelled
                meta = msgspec.structs.replace(meta, indexes=(*meta.indexes, file))
        return MadeSegment(meta, made.deletes, made.origin)

    def wait_idle(self) -> None:
        """Come back when everything queued so far is done."""
        done: Future[None] = self._worker.submit(lambda: None)
        done.result()


def _bytes(part: Part) -> float:
    """What its rows take, about."""
    return part.source.meta.size * len(part.rows) / max(1, part.source.meta.rows)


def _expired(meta: CollectionMeta, horizon: int) -> Expired | None:
    """Which rows had expired at the horizon; None when rows of this collection do not expire."""
    if expiry_at(meta.properties, horizon) is None:
        return None
    return lambda batch, stamps: expired_rows(batch, stamps, meta.properties, horizon)


def _newest_dropped(parts: Iterable[Part], horizon: int) -> int:
    """From when on a read misses nothing of what is left out: the newest delete among it, the horizon where a row had
    expired."""
    newest = 0
    for source, kept in parts:
        if len(kept) < source.meta.rows:
            dropped = source.deleted.copy()
            dropped[kept] = 0
            newest = max(newest, min(int(dropped.max()), horizon))
    return newest
