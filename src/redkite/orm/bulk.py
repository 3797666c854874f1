"""Imports of files, by the functions that Milvus's older classes have for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from redkite.orm.connections import connections

if TYPE_CHECKING:
    from redkite.client.operations.imports import ImportJobInfo


@dataclass(frozen=True, slots=True)
class BulkInsertState:
    """How far one import is. `state` is one of the numbers below, `create_timestamp` in seconds since 1970."""

    ImportPending: ClassVar[int] = 0
    ImportFailed: ClassVar[int] = 1
    ImportStarted: ClassVar[int] = 2
    ImportPersisted: ClassVar[int] = 5
    ImportCompleted: ClassVar[int] = 6
    ImportFailedAndCleaned: ClassVar[int] = 7
    ImportUnknownState: ClassVar[int] = 100

    task_id: int
    state: int
    state_name: str
    row_count: int
    progress: int
    failed_reason: str
    files: str
    collection_name: str
    partition_name: str
    create_timestamp: int
    ids: tuple[int, ...] = ()
    """Redkite does not tell which ids it gave: query them."""

    @property
    def infos(self) -> dict[str, str]:
        """The same as texts, as they travel."""
        given = {
            "progress_percent": str(self.progress),
            "failed_reason": self.failed_reason,
            "files": self.files,
            "collection": self.collection_name,
            "partition": self.partition_name,
        }
        return {key: value for key, value in given.items() if value}

    @property
    def create_time_str(self) -> str:
        return datetime.fromtimestamp(self.create_timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S")


_STATES = {
    "Pending": (BulkInsertState.ImportPending, "Pending"),
    "Failed": (BulkInsertState.ImportFailed, "Failed"),
    "Completed": (BulkInsertState.ImportCompleted, "Completed"),
}
_STARTED = (BulkInsertState.ImportStarted, "Started")


def do_bulk_insert(
    collection_name: str,
    files: Sequence[str],
    partition_name: str | None = None,
    timeout: float | None = None,
    using: str = "default",
    *,
    sep: str | None = None,
    nullkey: str | None = None,
) -> int:
    """Begin to make rows of files that the server can read, and return the id of the job. NumPy files belong together;
    each other file stands alone."""
    client = connections.client(using)
    return client.start_import(collection_name, list(files), partition_name or "", timeout, sep=sep, nullkey=nullkey)


def get_bulk_insert_state(task_id: int, timeout: float | None = None, using: str = "default") -> BulkInsertState:
    """How far an import is."""
    return _state(connections.client(using).describe_import(task_id, timeout))


def list_bulk_insert_tasks(
    limit: int = 0, collection_name: str | None = None, timeout: float | None = None, using: str = "default"
) -> list[BulkInsertState]:
    """The imports of a collection, or of the database; with a limit, the latest."""
    found = connections.client(using).list_imports(collection_name, timeout)
    return list(map(_state, found[-limit:] if limit > 0 else found))


def _state(job: ImportJobInfo) -> BulkInsertState:
    state, name = _STATES.get(job.state, _STARTED)
    return BulkInsertState(
        task_id=job.job_id,
        state=state,
        state_name=name,
        row_count=job.imported_rows,
        progress=job.progress,
        failed_reason=job.reason,
        files=",".join(file.name for file in job.files),
        collection_name=job.collection_name,
        partition_name=job.partition_name,
        create_timestamp=job.created_ms // 1000,
    )
