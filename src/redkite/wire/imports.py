"""Imports: Milvus's three calls, and Redkite's own, which say more."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import imports as im
from redkite.model.imports import ImportState
from redkite.wire.codec import Codec, codec, command, question

_STATES = {
    ImportState.PENDING: 0, ImportState.FAILED: 1, ImportState.COMPLETED: 6,
}  # fmt: skip
_STARTED = 2
_READ = {0: ImportState.PENDING, 1: ImportState.FAILED, 6: ImportState.COMPLETED, _STARTED: ImportState.IMPORTING}


# -- Milvus's ------------------------------------------------------------------------------------
def _decode_import(message: Any, database: str) -> im.Import:
    return im.Import(
        database=database,
        collection=message.collection_name,
        partition=message.partition_name,
        groups=im.grouped(message.files),
        options={pair.key: pair.value for pair in message.options},
    )


def _pack_import(message: Any, request: im.Import) -> None:
    message.collection_name = request.collection
    message.partition_name = request.partition
    message.files.extend(file for group in request.groups for file in group)
    for key, value in request.options.items():
        message.options.add(key=key, value=value)


def _encode_tasks(message: Any, result: im.ImportStarted) -> None:
    message.tasks.append(result.job_id)


def _unpack_tasks(message: Any) -> im.ImportStarted:
    return im.ImportStarted(job_id=message.tasks[0] if message.tasks else 0)


def _encode_state(message: Any, job: im.ImportInfo) -> None:
    message.state = _STATES.get(job.state, _STARTED)
    message.row_count = job.rows
    message.id = job.job_id
    message.collection_id = job.collection_id
    message.create_ts = job.created_ms // 1000
    infos = {
        "progress_percent": str(job.progress),
        "failed_reason": job.reason,
        "files": ",".join(file.name for file in job.files),
        "collection": job.collection,
        "partition": job.partition,
    }
    for key, value in infos.items():
        if value:
            message.infos.add(key=key, value=value)


def _unpack_state(message: Any) -> im.ImportInfo:
    infos = {pair.key: pair.value for pair in message.infos}
    return im.ImportInfo(
        job_id=message.id,
        database="",
        collection=infos.get("collection", ""),
        collection_id=message.collection_id,
        partition=infos.get("partition", ""),
        state=_READ.get(message.state, ImportState.NONE),
        progress=int(infos.get("progress_percent", "0") or 0),
        rows=message.row_count,
        total_rows=0,
        size=0,
        created_ms=message.create_ts * 1000,
        completed_ms=0,
        reason=infos.get("failed_reason", ""),
        files=(),
    )


def _encode_states(message: Any, result: im.ImportInfos) -> None:
    for job in result.jobs:
        _encode_state(message.tasks.add(), job)


def _unpack_states(message: Any) -> im.ImportInfos:
    return im.ImportInfos(jobs=tuple(map(_unpack_state, message.tasks)))


# -- Redkite's -----------------------------------------------------------------------------------
def _decode_groups(message: Any, database: str) -> im.ImportFiles:
    return im.ImportFiles(
        database=database,
        collection=message.collection_name,
        partition=message.partition_name,
        groups=tuple(tuple(group.files) for group in message.groups),
        options=dict(message.options),
    )


def _pack_groups(message: Any, request: im.ImportFiles) -> None:
    message.collection_name = request.collection
    message.partition_name = request.partition
    for group in request.groups:
        message.groups.add(files=group)
    message.options.update(request.options)


def _encode_job_id(message: Any, result: im.ImportStarted) -> None:
    message.job_id = result.job_id


def _unpack_job_id(message: Any) -> im.ImportStarted:
    return im.ImportStarted(job_id=message.job_id)


def _encode_job(message: Any, result: im.ImportInfo) -> None:
    _fill_job(message.job, result)


def _fill_job(message: Any, job: im.ImportInfo) -> None:
    message.job_id = job.job_id
    message.db_name = job.database
    message.collection_name = job.collection
    message.collection_id = job.collection_id
    message.partition_name = job.partition
    message.state = int(job.state)
    message.progress = job.progress
    message.rows = job.rows
    message.total_rows = job.total_rows
    message.size = job.size
    message.created_time = job.created_ms
    message.completed_time = job.completed_ms
    message.reason = job.reason
    for file in job.files:
        message.files.add(
            name=file.name, size=file.size, state=int(file.state), rows=file.rows, total_rows=file.total_rows,
            completed_time=file.completed_ms, reason=file.reason,
        )  # fmt: skip


def _unpack_job(message: Any) -> im.ImportInfo:
    return _read_job(message.job)


def _read_job(job: Any) -> im.ImportInfo:
    return im.ImportInfo(
        job_id=job.job_id,
        database=job.db_name,
        collection=job.collection_name,
        collection_id=job.collection_id,
        partition=job.partition_name,
        state=_state(job.state),
        progress=job.progress,
        rows=job.rows,
        total_rows=job.total_rows,
        size=job.size,
        created_ms=job.created_time,
        completed_ms=job.completed_time,
        reason=job.reason,
        files=tuple(
            im.ImportedFile(
                name=file.name, size=file.size, state=_state(file.state), rows=file.rows, total_rows=file.total_rows,
                completed_ms=file.completed_time, reason=file.reason,
            )
            for file in job.files
        ),
    )  # fmt: skip


def _state(number: int) -> ImportState:
    try:
        return ImportState(number)
    except ValueError:
        raise InvalidParameter(f"import state {number} is not known") from None


def _encode_jobs(message: Any, result: im.ImportInfos) -> None:
    for job in result.jobs:
        _fill_job(message.jobs.add(), job)


def _unpack_jobs(message: Any) -> im.ImportInfos:
    return im.ImportInfos(jobs=tuple(map(_read_job, message.jobs)))


_JOB = {"job_id": "job_id"}
_LISTED = {"collection": "collection_name", "limit": "limit"}

CODECS: tuple[Codec[Any, Any], ...] = (
    codec(
        "Import", im.Import, im.ImportStarted,
        decode=_decode_import, pack=_pack_import, encode=_encode_tasks, unpack=_unpack_tasks,
    ),
    question(
        "GetImportState", im.GetImportState, im.ImportInfo, {"job_id": "task"},
        encode=_encode_state, unpack=_unpack_state,
    ),
    question(
        "ListImportTasks", im.ListImportTasks, im.ImportInfos, _LISTED, encode=_encode_states, unpack=_unpack_states
    ),
    codec(
        "ImportFiles", im.ImportFiles, im.ImportStarted,
        decode=_decode_groups, pack=_pack_groups, encode=_encode_job_id, unpack=_unpack_job_id,
    ),
    question("DescribeImport", im.DescribeImport, im.ImportInfo, _JOB, encode=_encode_job, unpack=_unpack_job),
    question("ListImports", im.ListImports, im.ImportInfos, _LISTED, encode=_encode_jobs, unpack=_unpack_jobs),
    command("CommitImport", im.CommitImport, _JOB),
    command("AbortImport", im.AbortImport, _JOB),
)  # fmt: skip
