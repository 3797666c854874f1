"""Named snapshots of collections."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import requests, results
from redkite.model.types import JobState
from redkite.wire.codec import COLLECTION, Codec, command, question

_NAMED = {**COLLECTION, "name": "name"}


def _encode_names(message: Any, result: results.Snapshots) -> None:
    message.snapshots.extend(result.names)


def _unpack_names(message: Any) -> results.Snapshots:
    return results.Snapshots(names=tuple(message.snapshots))


def _encode_info(message: Any, result: results.SnapshotInfo) -> None:
    message.name = result.name
    message.description = result.description
    message.collection_name = result.collection
    message.partition_names.extend(result.partitions)
    message.create_ts = result.created_ms
    message.s3_location = result.location
    message.timestamp = result.timestamp


def _unpack_info(message: Any) -> results.SnapshotInfo:
    return results.SnapshotInfo(
        name=message.name,
        description=message.description,
        collection=message.collection_name,
        partitions=tuple(message.partition_names),
        created_ms=message.create_ts,
        location=message.s3_location,
        timestamp=message.timestamp,
    )


def _encode_started(message: Any, result: results.JobStarted) -> None:
    message.job_id = result.job_id


def _unpack_started(message: Any) -> results.JobStarted:
    return results.JobStarted(job_id=message.job_id)


def _fill_job(info: Any, job: results.RestoreJobInfo) -> None:
    info.job_id = job.job_id
    info.snapshot_name = job.snapshot
    info.db_name = job.database
    info.collection_name = job.collection
    info.state = int(job.state)
    info.progress = job.progress
    info.reason = job.reason
    info.start_time = job.started_ms
    info.time_cost = job.took_ms


def _read_job(info: Any) -> results.RestoreJobInfo:
    try:
        state = JobState(info.state)
    except ValueError:
        raise InvalidParameter(f"restore state {info.state} is not known") from None
    return results.RestoreJobInfo(
        job_id=info.job_id,
        snapshot=info.snapshot_name,
        database=info.db_name,
        collection=info.collection_name,
        state=state,
        progress=info.progress,
        reason=info.reason,
        started_ms=info.start_time,
        took_ms=info.time_cost,
    )


def _encode_job(message: Any, result: results.RestoreJobInfo) -> None:
    _fill_job(message.info, result)


def _unpack_job(message: Any) -> results.RestoreJobInfo:
    return _read_job(message.info)


def _encode_jobs(message: Any, result: results.RestoreJobInfos) -> None:
    for job in result.jobs:
        _fill_job(message.jobs.add(), job)


def _unpack_jobs(message: Any) -> results.RestoreJobInfos:
    return results.RestoreJobInfos(jobs=tuple(_read_job(info) for info in message.jobs))


def _encode_pin(message: Any, result: results.PinId) -> None:
    message.pin_id = result.pin_id


def _unpack_pin(message: Any) -> results.PinId:
    return results.PinId(pin_id=message.pin_id)


_CREATE = {
    **_NAMED, "description": "description", "compaction_protection_seconds": "compaction_protection_seconds",
}  # fmt: skip
_RESTORE = {
    **_NAMED, "target_collection": "target_collection_name", "target_database": "target_db_name",
    "rewrite_data": "rewrite_data",
}  # fmt: skip

CODECS: tuple[Codec[Any, Any], ...] = (
    command("CreateSnapshot", requests.CreateSnapshot, _CREATE),
    command("DropSnapshot", requests.DropSnapshot, _NAMED),
    question(
        "ListSnapshots", requests.ListSnapshots, results.Snapshots, COLLECTION,
        encode=_encode_names, unpack=_unpack_names,
    ),
    question(
        "DescribeSnapshot", requests.DescribeSnapshot, results.SnapshotInfo, _NAMED,
        encode=_encode_info, unpack=_unpack_info,
    ),
    question(
        "RestoreSnapshot", requests.RestoreSnapshot, results.JobStarted, _RESTORE,
        encode=_encode_started, unpack=_unpack_started,
    ),
    question(
        "GetRestoreSnapshotState", requests.GetRestoreSnapshotState, results.RestoreJobInfo, {"job_id": "job_id"},
        encode=_encode_job, unpack=_unpack_job,
    ),
    question(
        "ListRestoreSnapshotJobs", requests.ListRestoreSnapshotJobs, results.RestoreJobInfos, COLLECTION,
        encode=_encode_jobs, unpack=_unpack_jobs,
    ),
    question(
        "PinSnapshotData", requests.PinSnapshotData, results.PinId, {**_NAMED, "ttl_seconds": "ttl_seconds"},
        encode=_encode_pin, unpack=_unpack_pin,
    ),
    command("UnpinSnapshotData", requests.UnpinSnapshotData, {"pin_id": "pin_id"}),
)  # fmt: skip
