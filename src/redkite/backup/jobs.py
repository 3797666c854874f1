"""Backups and restores under way: one after another, in the background."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Protocol

import msgspec

from redkite import spans
from redkite.coordinator.jobs import KEPT_JOBS, JobRecords, why
from redkite.env import Executor
from redkite.errors import Corruption, InvalidParameter, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.decoding import from_msgpack
from redkite.model.request import Request
from redkite.model.results import BackupInfo, BackupJobInfo, SnapshotExport
from redkite.model.types import JobState

log = get_logger(__name__)

CUT_OFF = "the process ended before the job was known to be done: ask for it again, it goes on with what is there"


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
        """Another object is there."""
        known = self._jobs.find(self.job_id)
        self._jobs.update(self.job_id, done_bytes=known.done_bytes + count, done_objects=known.done_objects + 1)

    def check(self) -> None:
        if self._jobs.closing:
            raise Unavailable("the database was closed before the job was done")


Work = Callable[[Report], Outcome]


OVER = (JobState.COMPLETED, JobState.FAILED)


class _Asked(msgspec.Struct, frozen=True):
    """What a record of a job has beside the job: what was asked, for whoever has to begin it anew."""

    request_kind: str = ""
    request: bytes = b""


class Jobs:
    """Beginnings and ends are durable, progress is not. What a restart cut off has failed, and says why."""

    def __init__(self, worker: Executor, records: JobRecords, now_ms: Callable[[], int]) -> None:
        self._worker = worker
        self._now_ms = now_ms
        self._records = records
        self._lock = Lock()
        self._jobs: dict[int, BackupJobInfo] = {}
        self._asked: dict[int, tuple[str, bytes]] = {}
        """What was asked of jobs that another process did not finish."""
        self._resumed: set[int] = set()
        """Jobs that another process does when this one does not."""
        self.closing = False
        for job_id, record in records.all():
            job, asked = _decoded(record)
            self._jobs[job_id] = job
            if job.state in OVER:
                continue
            if records.resumes and asked.request_kind:
                self._asked[job_id] = asked.request_kind, asked.request
            else:
                self._end(job_id, state=JobState.FAILED, code=Unavailable.default_code, reason=CUT_OFF)

    def start(
        self,
        job_id: int,
        kind: str,
        work: Work,
        export: SnapshotExport | None = None,
        after: Callable[[], None] | None = None,
        request: Request | None = None,
    ) -> None:
        """`after` is called when the work is over, however it ended. `request` is what whoever comes after this process
        needs, to do the work in its place."""
        job = BackupJobInfo(job_id=job_id, kind=kind, state=JobState.PENDING, started_ms=self._now_ms(), export=export)
        with self._lock:
            over = [i for i, job in self._jobs.items() if job.state in OVER]
            gone = over[: max(0, len(over) - KEPT_JOBS + 1)]
            kept = msgspec.structs.asdict(job)
            if request is not None:
                if self._records.resumes:
                    self._resumed.add(job_id)
                kept |= {"request_kind": type(request).__name__, "request": msgspec.msgpack.encode(request)}
            self._records.save(job_id, msgspec.msgpack.encode(kept), gone)
            for old in gone:
                del self._jobs[old]
            self._jobs[job_id] = job
        try:
            self._worker.submit(self._run, job_id, work, after)
        except Exception as error:  # nobody will do it, and nobody may wait for it
            self._end(job_id, state=JobState.FAILED, code=_code(error), reason=why(error))
            raise

    def take_over(self, work_of: Callable[[str, bytes], Work]) -> None:
        """Do from its beginning what another process did not finish; `work_of` makes it of what was asked."""
        asked, self._asked = self._asked, {}
        self._resumed |= asked.keys()
        for job_id, (kind, request) in asked.items():
            log.info("backup job %d goes on here, from its beginning", job_id)
            try:
                self._worker.submit(self._run, job_id, work_of(kind, request), None)
            except MilvusException as error:
                self._end(job_id, state=JobState.FAILED, code=error.code, reason=why(error))

    def find(self, job_id: int, what: str = "backup") -> BackupJobInfo:
        with self._lock:
            found = self._jobs.get(job_id)
        if found is None:
            raise InvalidParameter(f"{what} job {job_id} does not exist")
        return found

    def all(self) -> tuple[BackupJobInfo, ...]:
        """Those that are remembered, the oldest first."""
        with self._lock:
            return tuple(sorted(self._jobs.values(), key=lambda job: job.job_id))

    def update(self, job_id: int, **fields: object) -> None:
        with self._lock:
            self._jobs[job_id] = msgspec.structs.replace(self._jobs[job_id], **fields)

    def _end(self, job_id: int, **fields: object) -> None:
        self.update(job_id, took_ms=max(0, self._now_ms() - self.find(job_id).started_ms), **fields)
        self._records.note(job_id, msgspec.msgpack.encode(self.find(job_id)))

    def close(self) -> None:
        """Stop at the next object."""
        self.closing = True
        self._worker.shutdown(wait=True)

    @spans.job("backup job")
    def _run(self, job_id: int, work: Work, after: Callable[[], None] | None) -> None:
        report = JobReport(self, job_id)
        try:
            report.check()
            self.update(job_id, state=JobState.EXECUTING)
            made = work(report)
        except Exception as error:  # whoever waits for the job has to learn that it is over
            if not isinstance(error, MilvusException):
                log.exception("backup job %d failed", job_id)
            if self.closing and job_id in self._resumed:
                return
            self._end(job_id, state=JobState.FAILED, code=_code(error), reason=why(error))
        else:
            self._end(job_id, state=JobState.COMPLETED, backup=made.backup, restored=made.restored)
        finally:
            if after is not None:
                after()


def _code(error: Exception) -> int:
    return error.code if isinstance(error, MilvusException) else MilvusException.default_code


def _decoded(record: bytes) -> tuple[BackupJobInfo, _Asked]:
    try:
        return from_msgpack(record, BackupJobInfo), from_msgpack(record, _Asked)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"catalog entry is no record of a backup job: {error}") from error
