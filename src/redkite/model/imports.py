"""Imports: files that become rows of a collection, all at once. Requests, what a job says of itself, and its states."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import msgspec

from redkite.errors import ImportFailed
from redkite.model.request import Request
from redkite.model.results import Result

EXTENSIONS: Final = (".parquet", ".json", ".jsonl", ".ndjson", ".npy", ".csv")
"""What a file is, by the end of its name."""


class ImportState(IntEnum):
    """Of a job, and of one of its files. Numbers are Milvus's."""

    NONE = 0
    PENDING = 1
    PRE_IMPORTING = 2
    IMPORTING = 3
    FAILED = 4
    COMPLETED = 5
    INDEX_BUILDING = 6
    SORTING = 7
    UNCOMMITTED = 8
    """All rows are written and none can be seen: somebody has to say `CommitImport`."""
    COMMITTING = 9

    @property
    def is_over(self) -> bool:
        return self in (ImportState.COMPLETED, ImportState.FAILED)

    @property
    def shown(self) -> str:
        """The state by the name that clients see."""
        return _SHOWN.get(self, "Importing")


_SHOWN: Final = {
    ImportState.NONE: "None", ImportState.PENDING: "Pending", ImportState.FAILED: "Failed",
    ImportState.COMPLETED: "Completed", ImportState.UNCOMMITTED: "Uncommitted", ImportState.COMMITTING: "Committing",
}  # fmt: skip


class ImportFiles(Request, frozen=True):
    """-> ImportStarted. Begins to make rows of files, in the background."""

    collection: str
    groups: tuple[tuple[str, ...], ...]
    """Each is one file, or the NumPy files of some rows, one for each field."""
    partition: str = ""
    """Empty: the default one, or that of each row's partition key."""
    options: dict[str, str] = {}


class Import(ImportFiles, frozen=True):
    """-> ImportStarted. The same, as Milvus's older call has it: with a flat list of files."""


class ImportStarted(Result, frozen=True):
    job_id: int


class DescribeImport(Request, frozen=True):
    """-> ImportInfo."""

    job_id: int
    collection: str = ""
    """Whose job it is, where that matters to who may ask: told by the job, whatever the caller says. Here and below."""


class GetImportState(DescribeImport, frozen=True):
    """-> ImportInfo. The same, as Milvus's older call has it: it says less."""


class ListImports(Request, frozen=True):
    """-> ImportInfos. The jobs of a collection, or of the database."""

    collection: str = ""
    limit: int = 0
    """0: all there are."""


class ListImportTasks(ListImports, frozen=True):
    """-> ImportInfos. The same, as Milvus's older call has it."""


class CommitImport(Request, frozen=True):
    """-> Done. Makes the rows of a job visible that was begun with `auto_commit` false."""

    job_id: int
    collection: str = ""


class AbortImport(Request, frozen=True):
    """-> Done. Gives such a job up: nothing of it stays."""

    job_id: int
    collection: str = ""


class ImportedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One group of a job."""

    name: str
    """Names, with commas between them."""
    size: int = 0
    state: ImportState = ImportState.PENDING
    rows: int = 0
    """Read so far."""
    total_rows: int = 0
    """0 while not known."""
    completed_ms: int = 0
    reason: str = ""


class ImportInfo(Result, frozen=True):
    """How far a job is. Times in milliseconds since the epoch, 0 for what has not happened."""

    job_id: int
    database: str
    collection: str
    collection_id: int
    partition: str
    state: ImportState
    progress: int
    """Percent."""
    rows: int
    total_rows: int
    size: int
    """Of all files, in bytes."""
    created_ms: int
    completed_ms: int
    reason: str
    """Why it failed."""
    files: tuple[ImportedFile, ...]


class ImportInfos(Result, frozen=True):
    jobs: tuple[ImportInfo, ...]


def path_of(file: str) -> str:
    """A name without the settings that a URL may have."""
    return file.partition("?")[0] if "://" in file else file


def extension(file: str) -> str:
    """What a file is, by the end of its name. Raises ImportFailed for what cannot be imported."""
    found = next((end for end in EXTENSIONS if path_of(file).endswith(end)), None)
    if found is None:
        raise ImportFailed(f"unexpected file type, files=[{file}]: known are {', '.join(EXTENSIONS)}")
    return found


def grouped(files: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """A flat list of files as groups: NumPy files belong together, any other file stands alone."""
    if files and all(path_of(file).endswith(".npy") for file in files):
        return (tuple(files),)
    return tuple((file,) for file in files)
