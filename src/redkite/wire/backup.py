"""Backups: Redkite's own service."""

from __future__ import annotations

from typing import Any

from redkite.errors import InvalidParameter
from redkite.model import requests, results
from redkite.model.types import JobState
from redkite.wire.codec import Codec, codec, command, question

_PLACE = {"destination": "destination", "name": "name"}


def _decode_restore(message: Any, database: str) -> requests.RestoreBackup:
    return requests.RestoreBackup(
        database=database,
        destination=message.destination,
        name=message.name,
        collections=tuple(message.collections),
        renames=dict(message.renames),
        suffix=message.suffix,
        into_database=message.into_database,
    )


def _pack_restore(message: Any, request: requests.RestoreBackup) -> None:
    message.destination = request.destination
    message.name = request.name
    message.collections.extend(request.collections)
    message.renames.update(request.renames)
    message.suffix = request.suffix
    message.into_database = request.into_database


def _encode_started(message: Any, result: results.JobStarted) -> None:
    message.job_id = result.job_id


def _unpack_started(message: Any) -> results.JobStarted:
    return results.JobStarted(job_id=message.job_id)


def _fill(message: Any, backup: results.BackupInfo) -> None:
    message.name = backup.name
    message.created_ms = backup.created_ms
    message.timestamp = backup.timestamp
    message.objects = backup.objects
    message.bytes = backup.bytes
    message.copied_objects = backup.copied_objects
    message.copied_bytes = backup.copied_bytes
    for collection in backup.collections:
        message.collections.add(
            db_name=collection.database, name=collection.name, rows=collection.rows, bytes=collection.bytes
        )


def _read(message: Any) -> results.BackupInfo:
    return results.BackupInfo(
        name=message.name,
        created_ms=message.created_ms,
        timestamp=message.timestamp,
        collections=tuple(
            results.BackupCollection(database=c.db_name, name=c.name, rows=c.rows, bytes=c.bytes)
            for c in message.collections
        ),
        objects=message.objects,
        bytes=message.bytes,
        copied_objects=message.copied_objects,
        copied_bytes=message.copied_bytes,
    )


def _encode_list(message: Any, result: results.Backups) -> None:
    for backup in result.backups:
        _fill(message.backups.add(), backup)


def _unpack_list(message: Any) -> results.Backups:
    return results.Backups(backups=tuple(_read(backup) for backup in message.backups))


def _encode_job(message: Any, result: results.BackupJobInfo) -> None:
    message.job_id = result.job_id
    message.kind = result.kind
    message.state = int(result.state)
    message.done_bytes = result.done_bytes
    message.total_bytes = result.total_bytes
    message.reason = result.reason
    message.code = result.code
    message.restored.extend(result.restored)
    if result.backup is not None:
        _fill(message.backup, result.backup)


def _unpack_job(message: Any) -> results.BackupJobInfo:
    try:
        state = JobState(message.state)
    except ValueError:
        raise InvalidParameter(f"job state {message.state} is not known") from None
    return results.BackupJobInfo(
        job_id=message.job_id,
        kind=message.kind,
        state=state,
        done_bytes=message.done_bytes,
        total_bytes=message.total_bytes,
        reason=message.reason,
        code=message.code,
        backup=_read(message.backup) if message.HasField("backup") else None,
        restored=tuple(message.restored),
    )


CODECS: tuple[Codec[Any, Any], ...] = (
    question(
        "CreateBackup", requests.CreateBackup, results.JobStarted, _PLACE,
        {"databases": "databases", "collections": "collections"}, encode=_encode_started, unpack=_unpack_started,
    ),
    codec(
        "RestoreBackup", requests.RestoreBackup, results.JobStarted, decode=_decode_restore, pack=_pack_restore,
        encode=_encode_started, unpack=_unpack_started,
    ),
    question(
        "VerifyBackup", requests.VerifyBackup, results.JobStarted, _PLACE,
        encode=_encode_started, unpack=_unpack_started,
    ),
    command("DeleteBackup", requests.DeleteBackup, _PLACE),
    question(
        "ListBackups", requests.ListBackups, results.Backups, {"destination": "destination"},
        encode=_encode_list, unpack=_unpack_list,
    ),
    question(
        "GetBackupJob", requests.GetBackupJob, results.BackupJobInfo, {"job_id": "job_id"},
        encode=_encode_job, unpack=_unpack_job,
    ),
)  # fmt: skip
