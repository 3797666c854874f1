"""REST: named snapshots and backups. Ids of jobs and pins travel as text."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.types import JobState
from redkite.server.rest.bodies import Body, OptionalCollectionNameReq
from redkite.server.rest.exchange import Endpoint, Exchange, answer

JOB_STATES = {
    JobState.NONE: "None", JobState.PENDING: "Pending", JobState.EXECUTING: "Executing",
    JobState.COMPLETED: "Completed", JobState.FAILED: "Failed",
}  # fmt: skip


# -- bodies -------------------------------------------------------------------------------------
class SnapshotReq(Body, frozen=True):
    required = ("collection_name", "snapshot_name")
    collection_name: str = ""
    snapshot_name: str = ""


class CreateSnapshotReq(SnapshotReq, frozen=True):
    description: str = ""
    compaction_protection_seconds: int = 0


class RestoreSnapshotReq(Body, frozen=True):
    required = ("collection_name", "snapshot_name", "target_collection_name")
    collection_name: str = ""
    snapshot_name: str = ""
    target_collection_name: str = ""
    target_db_name: str = ""
    rewrite_data: bool = False


class PinSnapshotReq(SnapshotReq, frozen=True):
    ttl_seconds: int = 0


class UnpinSnapshotReq(Body, frozen=True):
    required = ("pin_id",)
    pin_id: str | int = ""


class JobReq(Body, frozen=True):
    required = ("job_id",)
    job_id: str | int = ""


class DestinationReq(Body, frozen=True):
    required = ("destination",)
    destination: str = ""


class BackupReq(Body, frozen=True):
    required = ("destination", "backup_name")
    destination: str = ""
    backup_name: str = ""


class CreateBackupReq(Body, frozen=True):
    required = ("destination",)
    destination: str = ""
    backup_name: str = ""
    collection_names: tuple[str, ...] = ()
    db_names: tuple[str, ...] = ()


class RestoreBackupReq(BackupReq, frozen=True):
    collection_names: tuple[str, ...] = ()
    renames: dict[str, str] = {}
    suffix: str = ""
    into_db_name: str = ""


# -- snapshots ----------------------------------------------------------------------------------
async def _create_snapshot(exchange: Exchange, body: CreateSnapshotReq) -> bytes:
    return await exchange.tell(
        rq.CreateSnapshot(
            database=exchange.database,
            collection=body.collection_name,
            name=body.snapshot_name,
            description=body.description,
            compaction_protection_seconds=body.compaction_protection_seconds,
        )
    )


async def _drop_snapshot(exchange: Exchange, body: SnapshotReq) -> bytes:
    return await exchange.tell(
        rq.DropSnapshot(database=exchange.database, collection=body.collection_name, name=body.snapshot_name)
    )


async def _list_snapshots(exchange: Exchange, body: OptionalCollectionNameReq) -> bytes:
    request = rq.ListSnapshots(database=exchange.database, collection=body.collection_name)
    return answer((await exchange.ask(request, rs.Snapshots)).names)


async def _describe_snapshot(exchange: Exchange, body: SnapshotReq) -> bytes:
    request = rq.DescribeSnapshot(database=exchange.database, collection=body.collection_name, name=body.snapshot_name)
    found = await exchange.ask(request, rs.SnapshotInfo)
    return answer(
        {
            "snapshotName": found.name,
            "description": found.description,
            "collectionName": found.collection,
            "partitionNames": found.partitions,
            "createTs": found.created_ms,
            "s3Location": found.location,
            "timestamp": str(found.timestamp),
        }
    )


async def _restore_snapshot(exchange: Exchange, body: RestoreSnapshotReq) -> bytes:
    request = rq.RestoreSnapshot(
        database=exchange.database,
        collection=body.collection_name,
        name=body.snapshot_name,
        target_collection=body.target_collection_name,
        target_database=body.target_db_name,
        rewrite_data=body.rewrite_data,
    )
    return _started(await exchange.ask(request, rs.JobStarted))


async def _pin(exchange: Exchange, body: PinSnapshotReq) -> bytes:
    request = rq.PinSnapshotData(
        database=exchange.database,
        collection=body.collection_name,
        name=body.snapshot_name,
        ttl_seconds=body.ttl_seconds,
    )
    return answer({"pinId": str((await exchange.ask(request, rs.PinId)).pin_id)})


async def _unpin(exchange: Exchange, body: UnpinSnapshotReq) -> bytes:
    return await exchange.tell(rq.UnpinSnapshotData(pin_id=job_number("pinId", body.pin_id)))


async def _list_restores(exchange: Exchange, body: OptionalCollectionNameReq) -> bytes:
    request = rq.ListRestoreSnapshotJobs(database=exchange.database, collection=body.collection_name)
    found = await exchange.ask(request, rs.RestoreJobInfos)
    return answer({"records": [shown_restore(job) for job in found.jobs]})


def shown_restore(job: rs.RestoreJobInfo) -> dict[str, Any]:
    """A job that restores a snapshot, as it is listed."""
    return {
        "jobId": str(job.job_id),
        "snapshotName": job.snapshot,
        "dbName": job.database,
        "collectionName": job.collection,
        "state": JOB_STATES[job.state],
        "progress": job.progress,
        "reason": job.reason,
        "startTime": job.started_ms,
        "timeCost": job.took_ms,
    }


# -- backups ------------------------------------------------------------------------------------
async def _create_backup(exchange: Exchange, body: CreateBackupReq) -> bytes:
    request = rq.CreateBackup(
        database=exchange.database,
        destination=body.destination,
        name=body.backup_name,
        databases=body.db_names,
        collections=body.collection_names,
    )
    return _started(await exchange.ask(request, rs.JobStarted))


async def _restore_backup(exchange: Exchange, body: RestoreBackupReq) -> bytes:
    request = rq.RestoreBackup(
        database=exchange.database,
        destination=body.destination,
        name=body.backup_name,
        collections=body.collection_names,
        renames=body.renames,
        suffix=body.suffix,
        into_database=body.into_db_name,
    )
    return _started(await exchange.ask(request, rs.JobStarted))


async def _verify_backup(exchange: Exchange, body: BackupReq) -> bytes:
    request = rq.VerifyBackup(destination=body.destination, name=body.backup_name)
    return _started(await exchange.ask(request, rs.JobStarted))


async def _delete_backup(exchange: Exchange, body: BackupReq) -> bytes:
    return await exchange.tell(rq.DeleteBackup(destination=body.destination, name=body.backup_name))


async def _list_backups(exchange: Exchange, body: DestinationReq) -> bytes:
    found = await exchange.ask(rq.ListBackups(destination=body.destination), rs.Backups)
    return answer([_shown_backup(backup) for backup in found.backups])


async def _describe_job(exchange: Exchange, body: JobReq) -> bytes:
    job = await exchange.ask(rq.GetBackupJob(job_id=job_number("jobId", body.job_id)), rs.BackupJobInfo)
    shown: dict[str, Any] = {
        "jobId": str(job.job_id),
        "kind": job.kind,
        "state": JOB_STATES[job.state],
        "doneBytes": job.done_bytes,
        "totalBytes": job.total_bytes,
        "reason": job.reason,
    }
    if job.backup is not None:
        shown["backup"] = _shown_backup(job.backup)
    if job.kind == "restore":
        shown["restored"] = job.restored
    return answer(shown)


def _shown_backup(backup: rs.BackupInfo) -> dict[str, Any]:
    return {
        "backupName": backup.name,
        "createTime": backup.created_ms,
        "timestamp": str(backup.timestamp),
        "objects": backup.objects,
        "bytes": backup.bytes,
        "copiedObjects": backup.copied_objects,
        "copiedBytes": backup.copied_bytes,
        "collections": [
            {"dbName": c.database, "collectionName": c.name, "rows": c.rows, "bytes": c.bytes}
            for c in backup.collections
        ],
    }


# -- ids ----------------------------------------------------------------------------------------
def _started(job: rs.JobStarted) -> bytes:
    return answer({"jobId": str(job.job_id)})


def job_number(key: str, value: str | int) -> int:
    """An id that came as text or as a number."""
    try:
        return int(value)
    except ValueError:
        raise InvalidParameter(f"{key} {value!r} is not a number") from None


ENDPOINTS = {
    "snapshots/create": Endpoint(CreateSnapshotReq, _create_snapshot),
    "snapshots/drop": Endpoint(SnapshotReq, _drop_snapshot),
    "snapshots/list": Endpoint(OptionalCollectionNameReq, _list_snapshots),
    "snapshots/describe": Endpoint(SnapshotReq, _describe_snapshot),
    "snapshots/restore": Endpoint(RestoreSnapshotReq, _restore_snapshot),
    "snapshots/pin": Endpoint(PinSnapshotReq, _pin),
    "snapshots/unpin": Endpoint(UnpinSnapshotReq, _unpin),
    "jobs/snapshot/list": Endpoint(OptionalCollectionNameReq, _list_restores),
    "backups/create": Endpoint(CreateBackupReq, _create_backup),
    "backups/restore": Endpoint(RestoreBackupReq, _restore_backup),
    "backups/verify": Endpoint(BackupReq, _verify_backup),
    "backups/delete": Endpoint(BackupReq, _delete_backup),
    "backups/list": Endpoint(DestinationReq, _list_backups),
    "jobs/backup/describe": Endpoint(JobReq, _describe_job),
}
