"""Compaction and segments."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model import requests, results
from redkite.model.upkeep import (
    CompactionKind,
    CompactionPlanInfo,
    CompactionState,
    PlanState,
    SegmentInfo,
    SegmentLevel,
    SegmentState,
)
from redkite.wire.codec import Codec, codec, question


# -- compaction ---------------------------------------------------------------------------------
def _decode_compact(message: Any, database: str) -> requests.Compact:
    if message.timetravel:
        raise Unimplemented("timetravel of ManualCompaction: deleted rows are kept for collection.retention.seconds")
    return requests.Compact(
        database=database,
        collection=message.collection_name,
        collection_id=message.collectionID,
        clustering=message.majorCompaction,
        level0=message.l0Compaction,
        partition_id=message.partition_id,
        channel=message.channel,
        segment_ids=tuple(message.segment_ids),
        target_megabytes=message.target_size,
    )


def _pack_compact(message: Any, request: requests.Compact) -> None:
    message.collection_name = request.collection
    message.collectionID = request.collection_id
    message.majorCompaction = request.clustering
    message.l0Compaction = request.level0
    message.partition_id = request.partition_id
    message.channel = request.channel
    message.segment_ids.extend(request.segment_ids)
    message.target_size = request.target_megabytes


def _encode_job(message: Any, result: results.CompactionJob) -> None:
    message.compactionID = result.job_id
    message.compactionPlanCount = result.plans


def _unpack_job(message: Any) -> results.CompactionJob:
    return results.CompactionJob(job_id=message.compactionID, plans=message.compactionPlanCount)


def _encode_progress(message: Any, result: results.CompactionProgress) -> None:
    message.state = int(result.state)
    message.executingPlanNo = result.executing
    message.completedPlanNo = result.completed
    message.failedPlanNo = result.failed


def _unpack_progress(message: Any) -> results.CompactionProgress:
    return results.CompactionProgress(
        state=_known(CompactionState, message.state),
        executing=message.executingPlanNo,
        completed=message.completedPlanNo,
        failed=message.failedPlanNo + message.timeoutPlanNo,
    )


def _encode_plans(message: Any, result: results.CompactionPlans) -> None:
    message.state = int(result.state)
    for plan in result.plans:
        out = message.mergeInfos.add()
        out.sources.extend(plan.sources)
        out.target = plan.targets[0] if plan.targets else 0
        out.targets.extend(plan.targets)
        out.plan_id = plan.plan_id
        out.trigger_id = plan.job_id
        out.collection_id = plan.collection_id
        out.partition_id = plan.partition_id
        out.channel = plan.channel
        out.type = int(plan.kind)
        out.state = int(plan.state)
        out.failure_reason = plan.failure_reason


def _unpack_plans(message: Any) -> results.CompactionPlans:
    return results.CompactionPlans(
        state=_known(CompactionState, message.state), plans=tuple(_unpack_plan(info) for info in message.mergeInfos)
    )


def _unpack_plan(info: Any) -> CompactionPlanInfo:
    return CompactionPlanInfo(
        plan_id=info.plan_id,
        job_id=info.trigger_id,
        kind=_known(CompactionKind, info.type or CompactionKind.MIX),
        state=_known(PlanState, info.state),
        collection_id=info.collection_id,
        partition_id=info.partition_id,
        channel=info.channel,
        sources=tuple(info.sources),
        targets=tuple(info.targets) or ((info.target,) if info.target > 0 else ()),
        failure_reason=info.failure_reason,
    )


# -- segments -----------------------------------------------------------------------------------
# These two requests spell their database `dbName`, which the table of methods does not look for.
def _decode_persistent(message: Any, database: str) -> requests.ListPersistentSegments:
    return requests.ListPersistentSegments(
        database=message.dbName or database, collection=message.collectionName, states=tuple(message.states)
    )


def _pack_persistent(message: Any, request: requests.ListPersistentSegments) -> None:
    message.dbName = request.database
    message.collectionName = request.collection
    message.states.extend(request.states)


def _decode_loaded(message: Any, database: str) -> requests.ListLoadedSegments:
    return requests.ListLoadedSegments(database=message.dbName or database, collection=message.collectionName)


def _pack_loaded(message: Any, request: requests.ListLoadedSegments) -> None:
    message.dbName = request.database
    message.collectionName = request.collection


def _encode_persistent(message: Any, result: results.Segments) -> None:
    for segment in result.segments:
        out = message.infos.add()
        _write_common(out, segment)
        out.insert_channel = segment.insert_channel


def _encode_loaded(message: Any, result: results.Segments) -> None:
    for segment in result.segments:
        out = message.infos.add()
        _write_common(out, segment)
        out.mem_size = segment.mem_size
        out.index_name = segment.index_name
        out.indexID = segment.index_id
        out.nodeID = segment.node_ids[0] if segment.node_ids else 0
        out.nodeIds.extend(segment.node_ids)


def _write_common(out: Any, segment: SegmentInfo) -> None:
    out.segmentID = segment.segment_id
    out.collectionID = segment.collection_id
    out.partitionID = segment.partition_id
    out.num_rows = segment.num_rows
    out.state = int(segment.state)
    out.level = int(segment.level)
    out.is_sorted = segment.is_sorted
    out.storage_version = segment.storage_version


def _unpack_persistent(message: Any) -> results.Segments:
    return results.Segments(
        segments=tuple(_read_common(info, insert_channel=info.insert_channel) for info in message.infos)
    )


def _unpack_loaded(message: Any) -> results.Segments:
    return results.Segments(
        segments=tuple(
            _read_common(
                info, index_name=info.index_name, index_id=info.indexID, node_ids=tuple(info.nodeIds),
                mem_size=info.mem_size,
            )
            for info in message.infos
        )
    )  # fmt: skip


def _read_common(info: Any, **more: Any) -> SegmentInfo:
    return SegmentInfo(
        segment_id=info.segmentID,
        collection_id=info.collectionID,
        partition_id=info.partitionID,
        num_rows=info.num_rows,
        state=_known(SegmentState, info.state),
        level=_known(SegmentLevel, info.level),
        is_sorted=info.is_sorted,
        storage_version=info.storage_version,
        **more,
    )


def _known(kind: Any, number: int) -> Any:
    try:
        return kind(number)
    except ValueError:
        raise InvalidParameter(f"{kind.__name__} {number} is not known") from None


CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "ManualCompaction", requests.Compact, results.CompactionJob, decode=_decode_compact, pack=_pack_compact,
        encode=_encode_job, unpack=_unpack_job,
    ),
    question(
        "GetCompactionState", requests.GetCompactionState, results.CompactionProgress, {"job_id": "compactionID"},
        encode=_encode_progress, unpack=_unpack_progress,
    ),
    question(
        "GetCompactionStateWithPlans", requests.GetCompactionPlans, results.CompactionPlans,
        {"job_id": "compactionID", "collection": "collection_name", "collection_id": "collection_id"},
        encode=_encode_plans, unpack=_unpack_plans,
    ),
    codec(
        "GetPersistentSegmentInfo", requests.ListPersistentSegments, results.Segments,
        decode=_decode_persistent, pack=_pack_persistent, encode=_encode_persistent, unpack=_unpack_persistent,
    ),
    codec(
        "GetQuerySegmentInfo", requests.ListLoadedSegments, results.Segments,
        decode=_decode_loaded, pack=_pack_loaded, encode=_encode_loaded, unpack=_unpack_loaded,
    ),
)  # fmt: skip
