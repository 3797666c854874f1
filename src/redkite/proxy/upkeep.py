"""Requests about compaction and segments."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from redkite.coordinator.compaction import NOTHING_TO_DO, CompactionPlan
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import CollectionNotLoaded, InvalidParameter, ServiceError
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.segments import IndexMeta, SegmentMeta
from redkite.model.upkeep import (
    CompactionKind,
    CompactionPlanInfo,
    CompactionState,
    PlanState,
    SegmentInfo,
    SegmentLevel,
    SegmentState,
)
from redkite.node.face import ShardFace
from redkite.node.topology import Topology

LARGEST_TARGET = 1024 * 1024 * 1024
"""Bytes of the largest segment that compaction makes. Larger targets mean this one."""
STORAGE_VERSION = 1
_MEGABYTE = 1024 * 1024
_DISABLED = 2
_NO_CLUSTERING = 2304
_LEVELS = {1: SegmentLevel.L1, 2: SegmentLevel.L2}


class Upkeep:
    """Each method answers one request class."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._root = topology.root
        self._data = topology.data
        self._compactor = topology.compactor

    # -- compaction -----------------------------------------------------------------------------
    def compact(self, request: rq.Compact) -> rs.CompactionJob:
        if not self._compactor.policy.enabled:
            raise ServiceError("compaction disabled", _DISABLED)
        meta = self._collection(request, request.collection, request.collection_id)
        kind = _kind(meta, request)
        policy = self._compactor.policy
        if request.target_megabytes < 0:
            raise InvalidParameter(f"target_size must not be negative, but got {request.target_megabytes}")
        if request.target_megabytes:
            policy = policy.sized(min(request.target_megabytes * _MEGABYTE, LARGEST_TARGET))
        with self._compactor.quiet(meta.collection_id):
            for shard in self._topology.shards(meta):
                shard.flush(self._root.oracle.allocate)
            job_id, plans = self._compactor.start(meta, kind, partial(_is_asked_for, request), policy)
        return rs.CompactionJob(job_id=job_id, plans=plans)

    def _collection(self, request: rq.Request, name: str, collection_id: int) -> CollectionMeta:
        return self._root.find(request.database, name) if name else self._root.find_by_id(collection_id)

    def compaction_state(self, request: rq.GetCompactionState) -> rs.CompactionProgress:
        plans = self._compactor.jobs.plans(request.job_id)
        return rs.CompactionProgress(
            state=_state(plans, done=request.job_id == NOTHING_TO_DO),
            executing=sum(p.state is PlanState.EXECUTING for p in plans),
            completed=sum(p.state is PlanState.COMPLETED for p in plans),
            failed=sum(p.state is PlanState.FAILED for p in plans),
        )

    def compaction_plans(self, request: rq.GetCompactionPlans) -> rs.CompactionPlans:
        if request.job_id:
            plans = self._compactor.jobs.plans(request.job_id)
            state = _state(plans, done=request.job_id == NOTHING_TO_DO)
        else:
            meta = self._collection(request, request.collection, request.collection_id)
            plans = self._compactor.jobs.plans_of(meta.collection_id)
            state = _state(plans, done=True)
        return rs.CompactionPlans(state=state, plans=tuple(_plan_info(p) for p in plans))

    # -- segments -------------------------------------------------------------------------------
    def persistent_segments(self, request: rq.ListPersistentSegments) -> rs.Segments:
        meta = self._root.find(request.database, request.collection)
        wanted = set(request.states) or {SegmentState.FLUSHED}
        found = [_info(s) for s in self._data.segments(meta.collection_id)]
        for shard in self._topology.shards(meta):
            found += _growing(meta, shard)
        return rs.Segments(segments=tuple(s for s in found if s.state in wanted))

    def loaded_segments(self, request: rq.ListLoadedSegments) -> rs.Segments:
        meta = self._root.find(request.database, request.collection)
        if self._topology.loads.entry(meta.collection_id) is None:
            raise CollectionNotLoaded.named(meta.name)
        found = []
        for shard in self._topology.shards(meta):
            served, here = shard.served(), {s.segment_id: s for s in shard.segments()}
            for placement in served:
                held = (here[i] for i in placement.segment_ids if i in here)
                found += [self._loaded(s, placement.node_id) for s in held]
            found += _growing(meta, shard)
        return rs.Segments(segments=tuple(found))

    def _loaded(self, segment: SegmentMeta, node_id: int) -> SegmentInfo:
        index = _index_over(segment, self._data.made_indexes(segment.collection_id))
        return _info(
            segment,
            index_name="" if index is None else index.name,
            index_id=0 if index is None else index.index_id,
            node_ids=(node_id,),
            mem_size=segment.size + sum(f.size for f in segment.indexes),
        )


def _kind(meta: CollectionMeta, request: rq.Compact) -> CompactionKind:
    if not request.clustering:
        return CompactionKind.LEVEL0 if request.level0 else CompactionKind.MIX
    if request.level0:
        raise InvalidParameter("a compaction is either of clustering or of level zero, not both")
    if not any(f.is_clustering_key for f in meta.schema.fields):
        raise ServiceError("collection not support clustering compaction", _NO_CLUSTERING)
    return CompactionKind.CLUSTERING


def _is_asked_for(request: rq.Compact, segment: SegmentMeta) -> bool:
    return (
        request.partition_id in (0, segment.partition_id)
        and request.channel in ("", segment.channel)
        and (not request.segment_ids or segment.segment_id in request.segment_ids)
    )


def _state(plans: Iterable[CompactionPlan], *, done: bool) -> CompactionState:
    """`done`: without any plan there is nothing left to do; else nothing is known of it."""
    states = {p.state for p in plans}
    if PlanState.EXECUTING in states:
        return CompactionState.Executing
    return CompactionState.Completed if states or done else CompactionState.UndefiedState


def _plan_info(plan: CompactionPlan) -> CompactionPlanInfo:
    return CompactionPlanInfo(
        plan_id=plan.plan_id,
        job_id=plan.job_id,
        kind=plan.kind,
        state=plan.state,
        collection_id=plan.collection_id,
        partition_id=plan.partition_id,
        channel=plan.channel,
        sources=plan.sources,
        targets=plan.targets,
        failure_reason=plan.reason,
    )


def _info(
    segment: SegmentMeta,
    index_name: str = "",
    index_id: int = 0,
    node_ids: tuple[int, ...] = (),
    mem_size: int = 0,
) -> SegmentInfo:
    return SegmentInfo(
        segment_id=segment.segment_id,
        collection_id=segment.collection_id,
        partition_id=segment.partition_id,
        num_rows=segment.rows,
        state=SegmentState.FLUSHED,
        level=_LEVELS[segment.level],
        is_sorted=not segment.order_object,
        storage_version=STORAGE_VERSION,
        insert_channel=segment.channel,
        index_name=index_name,
        index_id=index_id,
        node_ids=node_ids,
        mem_size=mem_size,
    )


def _growing(meta: CollectionMeta, shard: ShardFace) -> list[SegmentInfo]:
    return [
        SegmentInfo(
            segment_id=growing.segment_id,
            collection_id=meta.collection_id,
            partition_id=growing.partition_id,
            num_rows=growing.rows,
            state=SegmentState.GROWING,
            level=SegmentLevel.L1,
            is_sorted=False,
            storage_version=STORAGE_VERSION,
            insert_channel=shard.channel,
            mem_size=growing.size,
        )
        for growing in shard.growing()
    ]


def _index_over(segment: SegmentMeta, indexes: Iterable[IndexMeta]) -> IndexMeta | None:
    built = [i for i in indexes if segment.index(i.index_id) is not None]
    return min(built, key=lambda i: i.spec.is_scalar, default=None)
