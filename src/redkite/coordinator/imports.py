"""Which imports were asked for, and how far each is.

Beginnings and ends are durable. A job that a restart cut off has failed and left nothing; in a cluster the next
coordinator does it from its beginning, and so that nobody sees it go back, its progress is durable there as well. One
that only waits to be committed still does, and what it wrote is held for it. That a job is complete is recorded in the
very commit that makes its rows visible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final

import msgspec

from redkite.coordinator.garbage import Garbage
from redkite.coordinator.jobs import KEPT_JOBS, JobRecords
from redkite.coordinator.meta import Meta
from redkite.errors import ImportFailed, MilvusException
from redkite.logs import get_logger
from redkite.model.imports import ImportedFile, ImportState
from redkite.model.segments import SegmentMeta
from redkite.storage.catalog import Catalog

log = get_logger(__name__)

_FAILED: Final = "importing data failed"
CUT_OFF: Final = f"the process ended before the import was done, nothing of it was stored: {_FAILED}"


class ImportJob(Meta, frozen=True, kw_only=True):
    """One import. `database` and `collection` are the names at its beginning."""

    job_id: int
    database: str
    collection: str
    collection_id: int
    partition: str
    groups: tuple[tuple[str, ...], ...]
    options: dict[str, str]
    created_ms: int
    state: ImportState = ImportState.PENDING
    progress: int = 0
    """Percent."""
    files: tuple[ImportedFile, ...] = ()
    reason: str = ""
    """Why it failed."""
    completed_ms: int = 0
    segments: tuple[SegmentMeta, ...] = ()
    """What waits to be committed."""
    user: str = ""
    """Who asked for it, where users are known."""

    @property
    def owner(self) -> str:
        """Under which its objects are held."""
        return f"import/{self.job_id}"

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def objects(self) -> frozenset[str]:
        return frozenset(name for segment in self.segments for name in segment.objects)


class ImportJobs:
    """Safe from any thread."""

    def __init__(
        self, catalog: Catalog, garbage: Garbage, now_ms: Callable[[], int], most: int, *, resumes: bool = False
    ) -> None:
        """At most `most` jobs may be unfinished. `resumes`: what is not done here is done by another process."""
        self._records = JobRecords(catalog, "import", resumes=resumes)
        self.imported_rows = 0
        """Of jobs that were completed since the start."""
        self._garbage = garbage
        self._now_ms = now_ms
        self._most = most
        self._lock = Lock()
        self._jobs = {job_id: ImportJob.from_bytes(record) for job_id, record in self._records.all()}
        self._left = tuple(job.job_id for job in self._jobs.values() if not job.state.is_over)
        """What another process did not finish: who takes over may have begun others by then."""
        for job in self._jobs.values():
            if job.state is ImportState.UNCOMMITTED:
                garbage.hold(job.owner, job.objects)

    def fail_cut_off(self, exists: Callable[[int], bool]) -> None:
        """Jobs that another process was about to do, and did not, and those whose collection is gone: only for the one
        that writes the database."""
        for job in list(self._jobs.values()):
            if job.state.is_over:
                continue
            if not exists(job.collection_id):
                self.fail(job.job_id, f"collection {job.collection} has been dropped: {_FAILED}")
            elif job.state is not ImportState.UNCOMMITTED:
                self.fail(job.job_id, CUT_OFF)

    def take_over(self, exists: Callable[[int], bool]) -> list[ImportJob]:
        """The jobs that another process was about to do, to be done from their beginning; nothing of them was stored.
        Those whose collection is gone have failed."""
        left, known = [], [self._jobs.get(job_id) for job_id in self._left]
        self._left = ()
        for job in known:
            if job is None or job.state.is_over:
                continue
            if exists(job.collection_id):
                is_left = job.state not in (ImportState.UNCOMMITTED, ImportState.COMMITTING)
            else:
                is_left = not self._has_failed(job, f"collection {job.collection} has been dropped: {_FAILED}")
            if is_left:
                left.append(self.update(job.job_id, state=ImportState.PENDING, files=()))
        return left

    # -- asking ---------------------------------------------------------------------------------
    @property
    def resumes(self) -> bool:
        """Whether another process does what is not done here."""
        return self._records.resumes

    def find(self, job_id: int) -> ImportJob:
        found = self._jobs.get(job_id)
        if found is None:
            raise ImportFailed(f"import job does not exist, jobID={job_id}")
        return found

    def known(self, job_id: int) -> ImportJob | None:
        return self._jobs.get(job_id)

    def of_database(self, database: str) -> list[ImportJob]:
        """The oldest first."""
        return sorted((j for j in self._jobs.values() if j.database == database), key=lambda j: j.job_id)

    # -- changing -------------------------------------------------------------------------------
    def start(self, job: ImportJob) -> None:
        """Remember a new job, durably. Raises ImportFailed when there are too many."""
        with self._lock:
            over = sorted(i for i, j in self._jobs.items() if j.state.is_over)
            if len(self._jobs) - len(over) >= self._most:
                raise ImportFailed(f"the number of import jobs has reached the limit of {self._most}, try again later")
            gone = over[: max(0, len(over) - KEPT_JOBS + 1)]
            self._records.save(job.job_id, job.to_bytes(), gone)
            self._jobs = {**{i: j for i, j in self._jobs.items() if i not in set(gone)}, job.job_id: job}

    def update(self, job_id: int, **fields: object) -> ImportJob:
        """What is known of a job, until the process ends."""
        with self._lock:
            job = msgspec.structs.replace(self._jobs[job_id], **fields)
            self._jobs = {**self._jobs, job_id: job}
            return job

    def goes_on(self, job_id: int, progress: int, **fields: object) -> None:
        """How far a job is. What is said of it never goes back, also by who begins it anew: so where that may be
        another process it is durable before it is said, and what cannot be written now is said later."""
        known = self.find(job_id)
        if progress > known.progress and self._records.resumes:
            try:
                self._records.save(job_id, msgspec.structs.replace(known, progress=progress, files=()).to_bytes())
            except MilvusException as error:
                log.warning("how far import job %d is could not be noted: %s", job_id, error.message)
                progress = 0
        self.update(job_id, progress=max(progress, known.progress), **fields)

    def wait_for_commit(self, job_id: int, segments: Sequence[SegmentMeta]) -> None:
        """Everything is written: keep it, over restarts too, until somebody says what is to become of it. Nobody is
        told so before it is durable."""
        waits = {"state": ImportState.UNCOMMITTED, "progress": 99, "segments": tuple(segments)}
        job = msgspec.structs.replace(self.find(job_id), **waits)
        self._garbage.hold(job.owner, job.objects)
        self._records.save(job_id, job.to_bytes())
        self.update(job_id, **waits)

    def completed(self, job_id: int) -> tuple[ImportJob, dict[str, bytes]]:
        """The job as it is once complete, and its record, to be committed together with its rows."""
        now = self._now_ms()
        job = msgspec.structs.replace(
            self.find(job_id),
            state=ImportState.COMPLETED,
            progress=100,
            completed_ms=now,
            segments=(),
            files=tuple(
                msgspec.structs.replace(
                    file, state=ImportState.COMPLETED, total_rows=file.rows, completed_ms=file.completed_ms or now
                )
                for file in self.find(job_id).files
            ),
        )
        return job, {self._records.key(job_id): job.to_bytes()}

    def is_complete(self, job: ImportJob) -> None:
        """It was committed."""
        with self._lock:
            self._jobs = {**self._jobs, job.job_id: job}
            self.imported_rows += sum(file.rows for file in job.files)
        self._garbage.release(job.owner)

    def fail(self, job_id: int, reason: str) -> None:
        """The job is over and left nothing. Where another process would do it again, that is durable before anybody is
        told; raises what kept it from being so. One that the catalog has as complete is that."""
        job = self.find(job_id)
        if job.state is ImportState.COMPLETED:
            log.error("what follows the end of import job %d failed, its rows are there: %s", job_id, reason)
            return
        files = tuple(
            f if f.state.is_over else msgspec.structs.replace(f, state=ImportState.FAILED, reason=reason)
            for f in job.files
        )
        failed = msgspec.structs.replace(
            job,
            state=ImportState.FAILED,
            progress=0,
            reason=reason,
            completed_ms=self._now_ms(),
            segments=(),
            files=files,
        )
        if self._records.resumes:
            known = self._records.get(job_id)
            if known is not None and ImportJob.from_bytes(known).state is ImportState.COMPLETED:
                failed = ImportJob.from_bytes(known)  # by a commit of which nobody was told how it ended
            else:
                self._records.replace(job_id, failed.to_bytes(), known)
        else:
            self._records.note(job_id, failed.to_bytes())
        with self._lock:
            self._jobs = {**self._jobs, job_id: failed}
        self._garbage.release(job.owner)

    def _has_failed(self, job: ImportJob, reason: str) -> bool:
        """Whether it could be noted that a job is over."""
        try:
            self.fail(job.job_id, reason)
        except MilvusException as error:
            log.warning("the end of import job %d could not be noted: %s", job.job_id, error.message)
            return False
        return True
