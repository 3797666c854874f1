"""Which restores of snapshots were asked for, and how far each is. They are remembered over restarts."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import msgspec

from redkite.coordinator.jobs import KEPT_JOBS
from redkite.coordinator.meta import Meta
from redkite.errors import InvalidParameter
from redkite.model.types import JobState
from redkite.storage.catalog import Catalog

_JOBS = "restore-job/"


class RestoreJob(Meta, frozen=True, kw_only=True):
    """One restore. `database` and `collection` are the target's."""

    job_id: int
    snapshot: str
    database: str
    collection: str
    started_ms: int
    state: JobState = JobState.PENDING
    progress: int = 0
    """Percent."""
    reason: str = ""
    """Why it failed."""
    took_ms: int = 0

    @property
    def is_over(self) -> bool:
        return self.state in (JobState.COMPLETED, JobState.FAILED)


class RestoreJobs:
    """Beginnings and ends are durable, progress is not. Safe from any thread."""

    def __init__(self, catalog: Catalog, now_ms: Callable[[], int]) -> None:
        self._catalog = catalog
        self._now_ms = now_ms
        self._lock = Lock()
        self._jobs = {job.job_id: job for _, value in catalog.scan(_JOBS) for job in [RestoreJob.from_bytes(value)]}
        for job in list(self._jobs.values()):
            if not job.is_over:
                self._end(job, JobState.FAILED, "the database was closed before the restore was done")

    def start(self, job_id: int, snapshot: str, database: str, collection: str) -> RestoreJob:
        job = RestoreJob(
            job_id=job_id, snapshot=snapshot, database=database, collection=collection, started_ms=self._now_ms()
        )
        with self._lock:
            over = sorted(i for i, j in self._jobs.items() if j.is_over)
            gone = over[: max(0, len(over) - KEPT_JOBS + 1)]
            self._catalog.commit({f"{_JOBS}{job_id}": job.to_bytes()}, [f"{_JOBS}{i}" for i in gone])
            self._jobs = {**{i: j for i, j in self._jobs.items() if i not in set(gone)}, job_id: job}
        return job

    def progress(self, job_id: int, percent: int) -> None:
        with self._lock:
            job = self._jobs[job_id]
            self._jobs = {
                **self._jobs,
                job_id: msgspec.structs.replace(job, state=JobState.EXECUTING, progress=percent),
            }

    def complete(self, job_id: int) -> None:
        with self._lock:
            self._end(msgspec.structs.replace(self._jobs[job_id], progress=100), JobState.COMPLETED, "")

    def fail(self, job_id: int, reason: str) -> None:
        with self._lock:
            self._end(self._jobs[job_id], JobState.FAILED, reason)

    def find(self, job_id: int) -> RestoreJob:
        found = self._jobs.get(job_id)
        if found is None:
            raise InvalidParameter(f"restore job {job_id} does not exist")
        return found

    def into(self, database: str, collection: str = "") -> list[RestoreJob]:
        """Jobs whose target is in that database (and of that name), the oldest first."""
        mine = (j for j in self._jobs.values() if j.database == database and collection in ("", j.collection))
        return sorted(mine, key=lambda j: j.job_id)

    def _end(self, job: RestoreJob, state: JobState, reason: str) -> None:
        over = msgspec.structs.replace(job, state=state, reason=reason, took_ms=self._now_ms() - job.started_ms)
        self._catalog.commit({f"{_JOBS}{job.job_id}": over.to_bytes()})
        self._jobs = {**self._jobs, job.job_id: over}
