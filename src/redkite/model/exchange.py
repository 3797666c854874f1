"""Snapshots on their way out of a database and into one: requests that `requests.py` does not list, and results."""

from __future__ import annotations

from redkite.model.request import Request
from redkite.model.results import Result
from redkite.model.types import JobState


class ExportSnapshot(Request, frozen=True):
    """-> ExportStarted. Copies what a snapshot holds to a folder or a store of objects, in the background."""

    collection: str
    name: str
    target: str
    """A folder or URL, as backups have."""
    external_spec: str = ""
    """Milvus's JSON of credentials. None can be given here: they come from the environment."""


class ExportStarted(Result, frozen=True):
    job_id: int
    uri: str
    """Where the exported snapshot is described once the job is done: what `RestoreExternalSnapshot` takes."""


class GetExportSnapshotState(Request, frozen=True):
    """-> ExportInfo."""

    job_id: int


class ExportInfo(Result, frozen=True):
    job_id: int
    snapshot: str
    collection: str
    database: str
    state: JobState
    progress: int
    """Percent."""
    reason: str
    """Why it failed."""
    started_ms: int
    took_ms: int
    files: int
    copied_files: int
    bytes: int
    uri: str


class RestoreExternalSnapshot(Request, frozen=True):
    """-> JobStarted. `database` and `target_collection` say what it becomes. How far it is: GetRestoreSnapshotState."""

    uri: str
    """Of an exported snapshot."""
    target_collection: str
    external_spec: str = ""
    """As of `ExportSnapshot`."""
