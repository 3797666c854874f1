"""Backups and restores under way: one after another, in the background."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Protocol

import msgspec

from redkite.env import Executor
from redkite.errors import InvalidParameter, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.results import BackupInfo, BackupJobInfo
from redkite.model.types import JobState

log = get_logger(__name__)

KEPT_JOBS = 256
"""Finished jobs that can still be asked for."""


class Outcome(msgspec.Struct, frozen=True):
    backup: BackupInfo
    restored: tuple[str, ...] = ()


class Report(Protocol):
    """Where work tells how far it is, in bytes."""

    def expect(self, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def check(self) -> None:
        """Raises when the work has to stop."""
        ...


class JobReport:
    """The report of a job."""

    def __init__(self, jobs: Jobs, job_id: int) -> None:
        self._jobs = jobs
        self.job_id = job_id

    def expect(self, total: int) -> None:
        self._jobs.update(self.job_id, total_bytes=total)

    def advance(self, count: int) -> None:
        self._jobs.update(self.job_id, done_bytes=self._jobs.find(self.job_id).done_bytes + count)

    def check(self) -> None:
        if self._jobs.closing:
            raise Unavailable("the database was closed before the job was done")


Work = Callable[[Report], Outcome]


class Jobs:
    """They live in memory: what a restart cuts off is done again, and finds what is there already."""

    def __init__(self, worker: Executor) -> None:
        self._worker = worker
        self._lock = Lock()
        self._jobs: dict[int, BackupJobInfo] = {}
        self.closing = False

    def start(self, job_id: int, kind: str, work: Work) -> None:
        with self._lock:
            over = [i for i, job in self._jobs.items() if job.state in (JobState.COMPLETED, JobState.FAILED)]
            for old in over[: max(0, len(over) - KEPT_JOBS + 1)]:
                del self._jobs[old]
            self._jobs[job_id] = BackupJobInfo(job_id=job_id, kind=kind, state=JobState.PENDING)
        self._worker.submit(self._run, job_id, work)

    def find(self, job_id: int) -> BackupJobInfo:
        with self._lock:
            found = self._jobs.get(job_id)
        if found is None:
            raise InvalidParameter(f"backup job {job_id} does not exist")
        return found

    def update(self, job_id: int, **fields: object) -> None:
        with self._lock:
            self._jobs[job_id] = msgspec.structs.replace(self._jobs[job_id], **fields)

    def close(self) -> None:
        """Stop at the next object."""
        self.closing = True
        self._worker.shutdown(wait=True)

    def _run(self, job_id: int, work: Work) -> None:
        report = JobReport(self, job_id)
        try:
            report.check()
            self.update(job_id, state=JobState.EXECUTING)
            made = work(report)
        except MilvusException as error:
            self.update(job_id, state=JobState.FAILED, code=error.code, reason=error.message)
        except Exception as error:  # whoever waits for the job has to learn that it is over
            log.exception("backup job %d failed", job_id)
            self.update(job_id, state=JobState.FAILED, code=MilvusException.default_code, reason=repr(error))
        else:
            self.update(job_id, state=JobState.COMPLETED, backup=made.backup, restored=made.restored)
