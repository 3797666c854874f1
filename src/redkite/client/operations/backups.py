"""Backups of whole databases or of some collections."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from redkite.client import arguments
from redkite.client.session import Operation, Session, Wait, ask, backoff
from redkite.errors import Unexpected, from_code
from redkite.model import requests, results
from redkite.model.results import BackupInfo
from redkite.model.types import JobState

Progress = Callable[[int, int], None]
"""Called now and then with the bytes done and the bytes there are to do."""
Destination = str | os.PathLike[str]


def create_backup(
    session: Session,
    destination: Destination,
    name: str | None,
    collections: str | Sequence[str] | None,
    databases: str | Sequence[str] | None,
    progress: Progress | None,
) -> Operation[BackupInfo]:
    """Make a backup, and come back when it is whole."""
    request = requests.CreateBackup(
        database=session.database,
        destination=_place(destination),
        name=arguments.optional_name("name", name),
        collections=arguments.names("collections", collections),
        databases=arguments.names("databases", databases),
    )
    job = yield from _finished(session, request, progress)
    return _backup_of(job)


def restore_backup(
    session: Session,
    destination: Destination,
    name: str,
    collections: str | Sequence[str] | None,
    renames: Mapping[str, str] | None,
    suffix: str,
    into_database: str,
    progress: Progress | None,
) -> Operation[list[str]]:
    """Make collections out of a backup, and come back when they are there; their names as `database.collection`."""
    request = requests.RestoreBackup(
        database=session.database,
        destination=_place(destination),
        name=arguments.name("name", name),
        collections=arguments.names("collections", collections),
        renames=arguments.texts("renames", renames),
        suffix=arguments.optional_name("suffix", suffix),
        into_database=arguments.optional_name("into_database", into_database),
    )
    job = yield from _finished(session, request, progress)
    return list(job.restored)


def verify_backup(
    session: Session, destination: Destination, name: str, progress: Progress | None
) -> Operation[BackupInfo]:
    """Read all of a backup; raises Corruption naming what is damaged."""
    request = requests.VerifyBackup(
        database=session.database, destination=_place(destination), name=arguments.name("name", name)
    )
    job = yield from _finished(session, request, progress)
    return _backup_of(job)


def list_backups(session: Session, destination: Destination) -> Operation[list[BackupInfo]]:
    request = requests.ListBackups(database=session.database, destination=_place(destination))
    found = yield from ask(request, results.Backups)
    return list(found.backups)


def delete_backup(session: Session, destination: Destination, name: str) -> Operation[None]:
    request = requests.DeleteBackup(
        database=session.database, destination=_place(destination), name=arguments.name("name", name)
    )
    yield from ask(request, results.Done)


def _place(destination: Destination) -> str:
    return arguments.name("destination", os.fspath(destination))


def _finished(
    session: Session, request: requests.Request, progress: Progress | None
) -> Operation[results.BackupJobInfo]:
    started = yield from ask(request, results.JobStarted)
    state = requests.GetBackupJob(database=session.database, job_id=started.job_id)
    for delay in backoff():
        job = yield from ask(state, results.BackupJobInfo)
        if progress is not None:
            progress(job.done_bytes, job.total_bytes)
        if job.state is JobState.COMPLETED:
            return job
        if job.state is JobState.FAILED:
            raise from_code(job.code, job.reason)
        yield Wait(delay)
    raise AssertionError("backoff never ends")


def _backup_of(job: results.BackupJobInfo) -> BackupInfo:
    if job.backup is None:
        raise Unexpected(f"backup job {job.job_id} is over and says nothing of its backup")
    return job.backup
