"""Files that become rows, on the server's side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from redkite.client import arguments
from redkite.client.session import Operation, Session, Wait, ask, backoff
from redkite.errors import ImportFailed, ParamError, from_code
from redkite.model import results
from redkite.model.imports import (
    AbortImport,
    CommitImport,
    DescribeImport,
    ImportedFile,
    ImportFiles,
    ImportInfo,
    ImportInfos,
    ImportStarted,
    ImportState,
    ListImports,
    grouped,
)

PathLike = str | os.PathLike[str]
Files = PathLike | Sequence[PathLike] | Sequence[Sequence[PathLike]]
"""A file, files, or groups of files that belong together, as NumPy's do."""


@dataclass(frozen=True, slots=True)
class ImportFileInfo:
    """One file of an import, or the NumPy files of some rows. `completed_ms` is in milliseconds since the epoch, 0
    while it is not done."""

    name: str
    size: int
    state: str
    imported_rows: int
    total_rows: int
    completed_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class ImportJobInfo:
    """How far an import is: `state` is `Pending`, `Importing`, `Completed` or `Failed`, and where it has to be
    committed also `Uncommitted` or `Committing`; `progress` in percent; `reason` says why it failed."""

    job_id: int
    db_name: str
    collection_name: str
    partition_name: str
    state: str
    progress: int
    imported_rows: int
    total_rows: int
    file_size: int
    created_ms: int
    completed_ms: int
    reason: str
    files: list[ImportFileInfo]


Progress = Callable[[ImportJobInfo], None]
"""Called now and then with how far the import is."""


def import_files(
    session: Session,
    collection_name: str,
    files: Files,
    partition_name: str,
    sep: str | None,
    nullkey: str | None,
    auto_commit: bool,
    job_timeout: float | None,
    progress: Progress | None,
) -> Operation[ImportJobInfo]:
    """Import files, and come back when their rows are there."""
    job_id = yield from start_import(
        session, collection_name, files, partition_name, sep, nullkey, auto_commit, job_timeout
    )
    return (yield from wait_for_import(session, job_id, progress))


def start_import(
    session: Session,
    collection_name: str,
    files: Files,
    partition_name: str,
    sep: str | None,
    nullkey: str | None,
    auto_commit: bool,
    job_timeout: float | None,
) -> Operation[int]:
    """Begin an import; its id."""
    options: dict[str, str] = {}
    if sep is not None:
        options["sep"] = arguments.optional_name("sep", sep)
    if nullkey is not None:
        options["nullkey"] = arguments.optional_name("nullkey", nullkey)
    if not arguments.flag("auto_commit", auto_commit):
        options["auto_commit"] = "false"
    if job_timeout is not None:
        options["timeout"] = f"{_seconds(job_timeout):.3f}s"
    request = ImportFiles(
        database=session.database,
        collection=arguments.name("collection_name", collection_name),
        partition=arguments.optional_name("partition_name", partition_name),
        groups=_groups(files),
        options=options,
    )
    started = yield from ask(request, ImportStarted)
    return started.job_id


def wait_for_import(session: Session, job_id: int, progress: Progress | None) -> Operation[ImportJobInfo]:
    """Come back when an import is over, or waits to be committed. Raises ImportFailed."""
    request = DescribeImport(database=session.database, job_id=arguments.integer("job_id", job_id))
    for delay in backoff():
        info = yield from ask(request, ImportInfo)
        if progress is not None:
            progress(_shown(info))
        if info.state is ImportState.FAILED:
            raise from_code(ImportFailed.default_code, info.reason)
        if info.state in (ImportState.COMPLETED, ImportState.UNCOMMITTED):
            return _shown(info)
        yield Wait(delay)
    raise AssertionError("backoff never ends")


def describe_import(session: Session, job_id: int) -> Operation[ImportJobInfo]:
    request = DescribeImport(database=session.database, job_id=arguments.integer("job_id", job_id))
    return _shown((yield from ask(request, ImportInfo)))


def list_imports(session: Session, collection_name: str | None) -> Operation[list[ImportJobInfo]]:
    request = ListImports(
        database=session.database, collection=arguments.optional_name("collection_name", collection_name)
    )
    found = yield from ask(request, ImportInfos)
    return list(map(_shown, found.jobs))


def commit_import(session: Session, job_id: int) -> Operation[None]:
    request = CommitImport(database=session.database, job_id=arguments.integer("job_id", job_id))
    yield from ask(request, results.Done)


def abort_import(session: Session, job_id: int) -> Operation[None]:
    request = AbortImport(database=session.database, job_id=arguments.integer("job_id", job_id))
    yield from ask(request, results.Done)


def _groups(files: object) -> tuple[tuple[str, ...], ...]:
    if isinstance(files, str | os.PathLike):
        return ((_path(files),),)
    given: list[object] = list(files) if isinstance(files, Iterable) else [files]
    if all(isinstance(file, str | os.PathLike) for file in given):
        return grouped([_path(file) for file in given])
    groups = []
    for group in given:
        if isinstance(group, str | os.PathLike) or not isinstance(group, Iterable):
            raise ParamError(f"`files` are paths, or lists of paths; among them is {type(group).__name__}")
        groups.append(tuple(_path(file) for file in group))
    return tuple(groups)


def _path(file: object) -> str:
    if not isinstance(file, str | os.PathLike):
        raise ParamError(f"`files` are paths, or lists of paths, not {type(file).__name__}")
    return os.fspath(file)


def _seconds(value: float) -> float:
    given: object = value
    if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
        raise ParamError(f"job_timeout {value!r} is no number of seconds")
    return float(given)


def _shown(info: ImportInfo) -> ImportJobInfo:
    return ImportJobInfo(
        job_id=info.job_id,
        db_name=info.database,
        collection_name=info.collection,
        partition_name=info.partition,
        state=info.state.shown,
        progress=info.progress,
        imported_rows=info.rows,
        total_rows=info.total_rows,
        file_size=info.size,
        created_ms=info.created_ms,
        completed_ms=info.completed_ms,
        reason=info.reason,
        files=list(map(_shown_file, info.files)),
    )


def _shown_file(file: ImportedFile) -> ImportFileInfo:
    return ImportFileInfo(
        name=file.name,
        size=file.size,
        state=file.state.shown,
        imported_rows=file.rows,
        total_rows=file.total_rows,
        completed_ms=file.completed_ms,
        reason=file.reason,
    )
