"""Named snapshots of collections."""

from __future__ import annotations

from dataclasses import dataclass

from redkite.client import arguments
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.model import requests, results
from redkite.model.exchange import (
    ExportInfo,
    ExportSnapshot,
    ExportStarted,
    GetExportSnapshotState,
    RestoreExternalSnapshot,
)
from redkite.model.types import JobState

_STATES = {
    JobState.NONE: "RestoreSnapshotNone",
    JobState.PENDING: "RestoreSnapshotPending",
    JobState.EXECUTING: "RestoreSnapshotExecuting",
    JobState.COMPLETED: "RestoreSnapshotCompleted",
    JobState.FAILED: "RestoreSnapshotFailed",
}


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One snapshot. `create_ts` is in milliseconds since the epoch; `timestamp` is the hybrid timestamp whose rows the
    snapshot holds, as `as_of=` takes it."""

    name: str
    description: str
    collection_name: str
    partition_names: list[str]
    create_ts: int
    s3_location: str
    timestamp: int


@dataclass(frozen=True, slots=True)
class RestoreSnapshotJobInfo:
    """One restore. `db_name` and `collection_name` are the target's; `progress` in percent; `start_time` and
    `time_cost` in milliseconds."""

    job_id: int
    snapshot_name: str
    db_name: str
    collection_name: str
    state: str
    progress: int
    reason: str
    start_time: int
    time_cost: int


@dataclass(frozen=True, slots=True)
class ExportSnapshotJobInfo:
    """One export. `snapshot_metadata_uri` is what `restore_external_snapshot` takes; `progress` in percent;
    `start_time` and `time_cost` in milliseconds."""

    job_id: int
    snapshot_name: str
    db_name: str
    collection_name: str
    state: str
    progress: int
    reason: str
    start_time: int
    time_cost: int
    total_files: int
    copied_files: int
    total_bytes: int
    snapshot_metadata_uri: str


def create_snapshot(
    session: Session,
    snapshot_name: str,
    collection_name: str,
    db_name: str,
    description: str,
    compaction_protection_seconds: int,
) -> Operation[None]:
    request = requests.CreateSnapshot(
        database=_database(session, db_name),
        collection=arguments.name("collection_name", collection_name),
        name=arguments.name("snapshot_name", snapshot_name),
        description=arguments.optional_name("description", description),
        compaction_protection_seconds=_natural("compaction_protection_seconds", compaction_protection_seconds),
    )
    yield from ask(request, results.Done)


def drop_snapshot(session: Session, snapshot_name: str, collection_name: str, db_name: str) -> Operation[None]:
    request = requests.DropSnapshot(
        database=_database(session, db_name),
        collection=arguments.name("collection_name", collection_name),
        name=arguments.name("snapshot_name", snapshot_name),
    )
    yield from ask(request, results.Done)


def list_snapshots(session: Session, collection_name: str | None, db_name: str) -> Operation[list[str]]:
    request = requests.ListSnapshots(
        database=_database(session, db_name), collection=arguments.optional_name("collection_name", collection_name)
    )
    found = yield from ask(request, results.Snapshots)
    return list(found.names)


def describe_snapshot(
    session: Session, snapshot_name: str, collection_name: str, db_name: str
) -> Operation[SnapshotInfo]:
    request = requests.DescribeSnapshot(
        database=_database(session, db_name),
        collection=arguments.name("collection_name", collection_name),
        name=arguments.name("snapshot_name", snapshot_name),
    )
    found = yield from ask(request, results.SnapshotInfo)
    return SnapshotInfo(
        name=found.name,
        description=found.description,
        collection_name=found.collection,
        partition_names=list(found.partitions),
        create_ts=found.created_ms,
        s3_location=found.location,
        timestamp=found.timestamp,
    )


def restore_snapshot(
    session: Session,
    snapshot_name: str,
    source_collection_name: str,
    target_collection_name: str,
    source_db_name: str,
    target_db_name: str,
    rewrite_data: bool,
) -> Operation[int]:
    request = requests.RestoreSnapshot(
        database=_database(session, source_db_name),
        collection=arguments.name("source_collection_name", source_collection_name),
        name=arguments.name("snapshot_name", snapshot_name),
        target_collection=arguments.name("target_collection_name", target_collection_name),
        target_database=_database(session, target_db_name),
        rewrite_data=arguments.flag("rewrite_data", rewrite_data),
    )
    job = yield from ask(request, results.JobStarted)
    return job.job_id


def get_restore_snapshot_state(session: Session, job_id: int) -> Operation[RestoreSnapshotJobInfo]:
    request = requests.GetRestoreSnapshotState(database=session.database, job_id=_positive("job_id", job_id))
    return _shown((yield from ask(request, results.RestoreJobInfo)))


def list_restore_snapshot_jobs(
    session: Session, collection_name: str | None, db_name: str
) -> Operation[list[RestoreSnapshotJobInfo]]:
    request = requests.ListRestoreSnapshotJobs(
        database=_database(session, db_name), collection=arguments.optional_name("collection_name", collection_name)
    )
    found = yield from ask(request, results.RestoreJobInfos)
    return [_shown(job) for job in found.jobs]


def export_snapshot(
    session: Session, snapshot_name: str, collection_name: str, target_path: str, db_name: str
) -> Operation[int]:
    request = ExportSnapshot(
        database=_database(session, db_name),
        collection=arguments.name("collection_name", collection_name),
        name=arguments.name("snapshot_name", snapshot_name),
        target=arguments.name("target_path", target_path),
    )
    started = yield from ask(request, ExportStarted)
    return started.job_id


def get_export_snapshot_state(session: Session, job_id: int) -> Operation[ExportSnapshotJobInfo]:
    request = GetExportSnapshotState(database=session.database, job_id=_positive("job_id", job_id))
    job = yield from ask(request, ExportInfo)
    return ExportSnapshotJobInfo(
        job_id=job.job_id,
        snapshot_name=job.snapshot,
        db_name=job.database,
        collection_name=job.collection,
        state=_STATES[job.state].replace("Restore", "Export"),
        progress=job.progress,
        reason=job.reason,
        start_time=job.started_ms,
        time_cost=job.took_ms,
        total_files=job.files,
        copied_files=job.copied_files,
        total_bytes=job.bytes,
        snapshot_metadata_uri=job.uri,
    )


def restore_external_snapshot(
    session: Session, snapshot_metadata_uri: str, target_collection_name: str, target_db_name: str
) -> Operation[int]:
    request = RestoreExternalSnapshot(
        database=_database(session, target_db_name),
        uri=arguments.name("snapshot_metadata_uri", snapshot_metadata_uri),
        target_collection=arguments.name("target_collection_name", target_collection_name),
    )
    job = yield from ask(request, results.JobStarted)
    return job.job_id


def pin_snapshot_data(
    session: Session, snapshot_name: str, collection_name: str, db_name: str, ttl_seconds: int
) -> Operation[int]:
    request = requests.PinSnapshotData(
        database=_database(session, db_name),
        collection=arguments.name("collection_name", collection_name),
        name=arguments.name("snapshot_name", snapshot_name),
        ttl_seconds=_natural("ttl_seconds", ttl_seconds),
    )
    pin = yield from ask(request, results.PinId)
    return pin.pin_id


def unpin_snapshot_data(session: Session, pin_id: int) -> Operation[None]:
    request = requests.UnpinSnapshotData(database=session.database, pin_id=_positive("pin_id", pin_id))
    yield from ask(request, results.Done)


def _database(session: Session, db_name: str) -> str:
    return arguments.optional_name("db_name", db_name) or session.database


def _natural(argument: str, value: int) -> int:
    number = arguments.integer(argument, value)
    if number < 0:
        raise ParamError(f"{argument} must be a non-negative integer")
    return number


def _positive(argument: str, value: int) -> int:
    number = arguments.integer(argument, value)
    if number <= 0:
        raise ParamError(f"{argument} must be a positive integer")
    return number


def _shown(job: results.RestoreJobInfo) -> RestoreSnapshotJobInfo:
    return RestoreSnapshotJobInfo(
        job_id=job.job_id,
        snapshot_name=job.snapshot,
        db_name=job.database,
        collection_name=job.collection,
        state=_STATES[job.state],
        progress=job.progress,
        reason=job.reason,
        start_time=job.started_ms,
        time_cost=job.took_ms,
    )
