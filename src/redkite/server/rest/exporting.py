"""REST: snapshots on their way out and in. A job is described by one endpoint, whichever way it goes."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.errors import MilvusException
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.exchange import (
    ExportInfo,
    ExportSnapshot,
    ExportStarted,
    GetExportSnapshotState,
    RestoreExternalSnapshot,
)
from redkite.server.rest.bodies import Body
from redkite.server.rest.exchange import Endpoint, Exchange, answer
from redkite.server.rest.keeping import JOB_STATES, JobReq, job_number, shown_restore


class ExportSnapshotReq(Body, frozen=True):
    required = ("collection_name", "snapshot_name", "target_s3_path")
    collection_name: str = ""
    snapshot_name: str = ""
    target_s3_path: str = ""
    external_spec: str = ""


class RestoreExternalSnapshotReq(Body, frozen=True):
    required = ("target_collection_name", "snapshot_metadata_uri")
    target_collection_name: str = ""
    target_db_name: str = ""
    snapshot_metadata_uri: str = msgspec.field(default="", name="snapshotMetadataURI")
    external_spec: str = ""


async def _export(exchange: Exchange, body: ExportSnapshotReq) -> bytes:
    request = ExportSnapshot(
        database=exchange.database,
        collection=body.collection_name,
        name=body.snapshot_name,
        target=body.target_s3_path,
        external_spec=body.external_spec,
    )
    started = await exchange.ask(request, ExportStarted)
    return answer({"jobId": str(started.job_id), "snapshotMetadataURI": started.uri})


async def _restore(exchange: Exchange, body: RestoreExternalSnapshotReq) -> bytes:
    request = RestoreExternalSnapshot(
        database=body.target_db_name or exchange.database,
        uri=body.snapshot_metadata_uri,
        target_collection=body.target_collection_name,
        external_spec=body.external_spec,
    )
    return answer({"jobId": str((await exchange.ask(request, rs.JobStarted)).job_id)})


async def _describe(exchange: Exchange, body: JobReq) -> bytes:
    """A restore's job, or an export's."""
    number = job_number("jobId", body.job_id)
    try:
        return answer(shown_restore(await exchange.ask(rq.GetRestoreSnapshotState(job_id=number), rs.RestoreJobInfo)))
    except MilvusException as error:
        try:
            found = await exchange.ask(GetExportSnapshotState(job_id=number), ExportInfo)
        except MilvusException:
            raise error from None
    return answer(_shown_export(found))


def _shown_export(job: ExportInfo) -> dict[str, Any]:
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
        "snapshotMetadataURI": job.uri,
        "files": job.files,
        "copiedFiles": job.copied_files,
        "bytes": job.bytes,
    }


ENDPOINTS = {
    "jobs/snapshot/export": Endpoint(ExportSnapshotReq, _export),
    "jobs/snapshot/restore_external": Endpoint(RestoreExternalSnapshotReq, _restore),
    "jobs/snapshot/describe": Endpoint(JobReq, _describe),
}
