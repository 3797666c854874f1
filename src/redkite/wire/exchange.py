"""Snapshots that leave a database, and that come from another one."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import exchange, results
from redkite.model.types import JobState
from redkite.wire.codec import COLLECTION, Codec, question


def _encode_started(message: Any, result: exchange.ExportStarted) -> None:
    message.job_id = result.job_id
    message.snapshot_metadata_uri = result.uri


def _unpack_started(message: Any) -> exchange.ExportStarted:
    return exchange.ExportStarted(job_id=message.job_id, uri=message.snapshot_metadata_uri)


def _encode_info(message: Any, result: exchange.ExportInfo) -> None:
    info = message.info
    info.job_id = result.job_id
    info.snapshot_name = result.snapshot
    info.db_name = result.database
    info.collection_name = result.collection
    info.state = int(result.state)
    info.progress = result.progress
    info.reason = result.reason
    info.start_time = result.started_ms
    info.time_cost = result.took_ms
    info.total_files = result.files
    info.copied_files = result.copied_files
    info.total_bytes = result.bytes
    info.snapshot_metadata_uri = result.uri


def _unpack_info(message: Any) -> exchange.ExportInfo:
    info = message.info
    try:
        state = JobState(info.state)
    except ValueError:
        raise InvalidParameter(f"export state {info.state} is not known") from None
    return exchange.ExportInfo(
        job_id=info.job_id,
        snapshot=info.snapshot_name,
        database=info.db_name,
        collection=info.collection_name,
        state=state,
        progress=info.progress,
        reason=info.reason,
        started_ms=info.start_time,
        took_ms=info.time_cost,
        files=info.total_files,
        copied_files=info.copied_files,
        bytes=info.total_bytes,
        uri=info.snapshot_metadata_uri,
    )


def _encode_job(message: Any, result: results.JobStarted) -> None:
    message.job_id = result.job_id


def _unpack_job(message: Any) -> results.JobStarted:
    return results.JobStarted(job_id=message.job_id)


_EXPORT = {**COLLECTION, "name": "name", "target": "target_s3_path", "external_spec": "external_spec"}
_RESTORE = {
    "target_collection": "target_collection_name", "uri": "snapshot_metadata_uri",
    "external_spec": "external_spec",
}  # fmt: skip

CODECS: tuple[Codec[Any, Any], ...] = (
    question(
        "ExportSnapshot", exchange.ExportSnapshot, exchange.ExportStarted, _EXPORT,
        encode=_encode_started, unpack=_unpack_started,
    ),
    question(
        "GetExportSnapshotState", exchange.GetExportSnapshotState, exchange.ExportInfo, {"job_id": "job_id"},
        encode=_encode_info, unpack=_unpack_info,
    ),
    question(
        "RestoreExternalSnapshot", exchange.RestoreExternalSnapshot, results.JobStarted, _RESTORE,
        encode=_encode_job, unpack=_unpack_job,
    ),
)  # fmt: skip
