"""Which restores of snapshots were asked for, and how far each is. They are remembered over restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import msgspec

from redkite.coordinator.jobs import KEPT_JOBS, why
from redkite.coordinator.meta import Meta
from redkite.errors import InvalidParameter, MilvusException
from redkite.logs import get_logger
from redkite.model.types import JobState
from redkite.storage.catalog import Catalog

log = get_logger(__name__)

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
    source: int = 0
    """The collection that the snapshot is of."""
    rewrite: bool = False
    made: int = 0
    """The id of the collection that it is about to make known: by that, and not by its name, it is known later."""

    @property
    def is_over(self) -> bool:
        return self.state in (JobState.COMPLETED, JobState.FAILED)


class RestoreJobs:
    """Beginnings and ends are durable, progress is not. Safe from any thread."""

    def __init__(self, catalog: Catalog, now_ms: Callable[[], int], *, resumes: bool = False) -> None:
        """`resumes`: what another process did not finish is done here, rather than told as failed."""
        self._catalog = catalog
        self._now_ms = now_ms
        self._resumes = resumes
        self._lock = Lock()
        self._jobs = {job.job_id: job for _, value in catalog.scan(_JOBS) for job in [RestoreJob.from_bytes(value)]}
        self._left = tuple(job.job_id for job in self._jobs.values() if not job.is_over)
        """What another process did not finish: who takes over may have begun others by then."""
        for job in list(self._jobs.values()):
            if not job.is_over and not self.is_resumed(job):
                self._end(job, JobState.FAILED, "the database was closed before the restore was done")

    def is_resumed(self, job: RestoreJob) -> bool:
        """Whether another process does it when this one does not."""
        return self._resumes and bool(job.source)

    def unfinished(self) -> list[RestoreJob]:
        """Those that another process was about to do, and nobody has taken over yet."""
        known, self._left = [self._jobs.get(job_id) for job_id in self._left], ()
        return [job for job in known if job is not None and not job.is_over]

    def start(
        self, job_id: int, snapshot: str, database: str, collection: str, source: int = 0, *, rewrite: bool = False
    ) -> RestoreJob:
        """`source` is the collection of the snapshot, where that is in this database."""
        job = RestoreJob(
            job_id=job_id,
            snapshot=snapshot,
            database=database,
            collection=collection,
            started_ms=self._now_ms(),
            source=source,
            rewrite=rewrite,
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

    def making(self, job_id: int, collection_id: int) -> None:
        """Note what is about to be made known."""
        with self._lock:
            job = msgspec.structs.replace(self._jobs[job_id], made=collection_id)
            self._catalog.commit({f"{_JOBS}{job_id}": job.to_bytes()})
            self._jobs = {**self._jobs, job_id: job}

    def complete(self, job_id: int) -> None:
        with self._lock:
            self._end(msgspec.structs.replace(self._jobs[job_id], progress=100), JobState.COMPLETED, "")

    def fail(self, job_id: int, reason: str) -> None:
        """Where that cannot be noted now, it is told all the same; after a restart as cut off. Of a job that another
        process would do again nothing is told then, and what kept it from being noted is raised."""
        with self._lock:
            over = self._over(self._jobs[job_id], JobState.FAILED, reason)
            try:
                self._note(over)
            except MilvusException as error:
                if self.is_resumed(over):
                    raise
                log.warning("how restore job %d ended could not be noted: %s", job_id, error.message)
                self._jobs = {**self._jobs, job_id: over}

    @contextmanager
    def told(self, job_id: int) -> Iterator[None]:
        """A job that cannot be begun has failed."""
        try:
            yield
        except Exception as error:
            self.fail(job_id, why(error))
            raise

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
        self._note(self._over(job, state, reason))

    def _over(self, job: RestoreJob, state: JobState, reason: str) -> RestoreJob:
        return msgspec.structs.replace(job, state=state, reason=reason, took_ms=self._now_ms() - job.started_ms)

    def _note(self, over: RestoreJob) -> None:
        self._catalog.commit({f"{_JOBS}{over.job_id}": over.to_bytes()})
        self._jobs = {**self._jobs, over.job_id: over}
