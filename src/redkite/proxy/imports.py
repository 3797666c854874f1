"""Requests about imports: who asks for one, how far it is, and whether what it wrote is to be seen."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

import msgspec

from redkite import spans
from redkite.coordinator.ends import Ends
from redkite.coordinator.imports import ImportJob, ImportJobs
from redkite.env import Executor
from redkite.errors import ImportFailed, InvalidParameter, MilvusException, NotFound, Unavailable
from redkite.functions.registry import Functions
from redkite.logs import get_logger
from redkite.model import results as rs
from redkite.model.imports import (
    AbortImport,
    CommitImport,
    DescribeImport,
    GetImportState,
    Import,
    ImportFiles,
    ImportInfo,
    ImportInfos,
    ImportStarted,
    ImportState,
    ListImports,
    ListImportTasks,
)
from redkite.model.request import Request
from redkite.model.schema import DEFAULT_DATABASE
from redkite.node.topology import Topology
from redkite.proxy.import_files import ImportFolder
from redkite.proxy.import_reading import ImportReader, MakeSegments
from redkite.proxy.importing import ImportWork, Pace, commit_import, discard
from redkite.proxy.rules.import_rules import check_groups, read_options

log = get_logger(__name__)

_ABORTED = "the import was aborted: importing data failed"
_CLOSED = "the database was closed before the import was done: nothing of it was stored"


class Imports:
    """Each method answers one request class. Jobs run one after another in the background."""

    def __init__(
        self,
        topology: Topology,
        functions: Functions,
        roots: tuple[str, ...] | None,
        pace: Pace,
        shared: Callable[[MakeSegments], MakeSegments],
    ) -> None:
        """`roots`: folders and URLs below which files may be named; None: anywhere. `pace` says how long to wait.
        `shared`: by whom segments are made where others can do what is done here."""
        self._pace = pace
        self._topology = topology
        self._folder = ImportFolder(topology.env, roots)
        reader = ImportReader(topology.env, topology.store, topology.memory, functions, self._folder)
        self._make = shared(reader.make)
        self._jobs: ImportJobs = topology.imports
        self._worker: Executor = topology.env.tasks.executor("import", 1)
        self._lock = Lock()
        self._aborted: set[int] = set()
        self._closing = False
        self._ends = Ends(topology.env.tasks, "import", self._jobs.fail)

    def table(self) -> dict[type[Request], Callable[[Any], rs.Result]]:
        """One method for each class of request."""
        return {
            ImportFiles: self.start,
            Import: self.start,
            DescribeImport: self.describe,
            GetImportState: self.describe,
            ListImports: self.listed,
            ListImportTasks: self.listed,
            CommitImport: self.commit,
            AbortImport: self.abort,
        }

    # -- asking for one -------------------------------------------------------------------------
    def start(self, request: ImportFiles) -> ImportStarted:
        topology = self._topology
        meta = topology.root.find(request.database, request.collection)
        check_groups(request.groups, topology.limits)
        read_options(request.options)
        for group in request.groups:
            for file in group:
                self._folder.check(file)
        if request.partition:
            if meta.has_partition_key:
                raise ImportFailed("not allow to set partition name for collection with partition key")
            meta.need_partition(request.partition)
        job = ImportJob(
            job_id=topology.root.oracle.allocate_ids(1),
            database=meta.database,
            collection=meta.name,
            collection_id=meta.collection_id,
            partition=request.partition,
            groups=request.groups,
            options=dict(request.options),
            created_ms=topology.env.clock.now_ms(),
            user=request.user,
        )
        self._jobs.start(job)
        self._worker.submit(self._run, job)
        return ImportStarted(job_id=job.job_id)

    def resume(self) -> None:
        """Do what another process was about to do. Rows are committed together with the end of their job, so none of
        them come twice."""
        known = {meta.collection_id for meta in self._topology.root.all_collections()}
        for job in self._jobs.take_over(known.__contains__):
            log.info("import job %d of collection %s goes on here, from its beginning", job.job_id, job.collection)
            self._worker.submit(self._run, job)

    @spans.job("import")
    def _run(self, job: ImportJob) -> None:
        def go_on() -> None:
            if self._closing:
                raise Unavailable(_CLOSED)
            if job.job_id in self._aborted:
                raise ImportFailed("the import was aborted")

        try:
            go_on()
            ImportWork(self._topology, self._make, self._jobs, job, go_on, self._pace).run()
            self._give_up_late(job.job_id)
        except MilvusException as error:
            self._end(job.job_id, error.message)
        except Exception as error:  # whoever waits for the job has to learn that it is over
            log.exception("import job %d failed", job.job_id)
            self._end(job.job_id, f"{error!r}: importing data failed")
        finally:
            self._aborted.discard(job.job_id)

    def named(self, request: Request) -> Request:
        """A request about a job, with the database and collection of that job: what it takes to ask is about those."""
        if not isinstance(request, DescribeImport | CommitImport | AbortImport):
            return request
        job = self._jobs.known(request.job_id)
        if job is None:
            return msgspec.structs.replace(request, collection="")
        try:
            name = self._topology.root.find_by_id(job.collection_id).name
        except NotFound:
            name = job.collection
        return msgspec.structs.replace(request, database=job.database, collection=name)

    def _give_up_late(self, job_id: int) -> None:
        """Somebody wanted a job aborted when it had just stopped to look."""
        with self._lock:
            job = self._jobs.find(job_id)
            if job_id in self._aborted and job.state is ImportState.UNCOMMITTED and self._end(job_id, _ABORTED):
                self._discard(job)

    def _end(self, job_id: int, reason: str) -> bool:
        """A job has failed, or is left to another process, as this one closes; whether it is over."""
        if self._closing and self._jobs.resumes:
            return False
        return self._ends.failed(job_id, reason)

    def _discard(self, job: ImportJob) -> None:
        """What a job that has failed left. Raises ImportFailed for one that turned out to be complete."""
        state = self._jobs.find(job.job_id).state
        if state is not ImportState.FAILED:
            raise ImportFailed(f"cannot abort job {job.job_id} in state {state.shown}")
        discard(self._topology, job.collection_id, [segment.segment_id for segment in job.segments])

    # -- how far it is --------------------------------------------------------------------------
    def describe(self, request: DescribeImport) -> ImportInfo:
        return _info(self._jobs.find(request.job_id))

    def listed(self, request: ListImports) -> ImportInfos:
        """The newest first, where only some are wanted; in the end always the oldest first."""
        database = request.database or DEFAULT_DATABASE
        self._topology.root.describe_database(database)
        found = self._jobs.of_database(database)
        if request.collection:
            collection_id = self._topology.root.find(database, request.collection).collection_id
            found = [job for job in found if job.collection_id == collection_id]
        if request.limit < 0:
            raise InvalidParameter(f"limit {request.limit} is less than 0")
        return ImportInfos(jobs=tuple(_info(job) for job in found[-request.limit :]))

    # -- what becomes of it ---------------------------------------------------------------------
    def commit(self, request: CommitImport) -> rs.Done:
        """Comes back when the rows can be seen."""
        with self._lock:
            job = self._uncommitted(request.job_id, "commit")
            self._jobs.update(job.job_id, state=ImportState.COMMITTING)
            try:
                commit_import(self._topology, self._jobs, job.job_id, job.segments, unique=False)
            except (ImportFailed, NotFound) as error:  # its collection or partition is gone, and what it wrote as well
                self._end(job.job_id, error.message)
                raise
            except MilvusException:
                self._jobs.update(job.job_id, state=ImportState.UNCOMMITTED)
                raise
        return rs.Done()

    def abort(self, request: AbortImport) -> rs.Done:
        with self._lock:
            job = self._jobs.find(request.job_id)
            if read_options(job.options).auto_commit:
                raise ImportFailed(f"job {job.job_id} was not begun with auto_commit=false: it cannot be aborted")
            if job.state.is_over:
                raise ImportFailed(f"cannot abort job {job.job_id} in state {job.state.shown}")
            if job.state is not ImportState.UNCOMMITTED:
                self._aborted.add(job.job_id)  # whoever does it stops at the next rows
                return rs.Done()
            self._jobs.fail(job.job_id, _ABORTED)
            self._discard(job)
        return rs.Done()

    def _uncommitted(self, job_id: int, what: str) -> ImportJob:
        job = self._jobs.find(job_id)
        if read_options(job.options).auto_commit:
            raise ImportFailed(f"job {job_id} was not begun with auto_commit=false: there is nothing to {what}")
        if job.state is not ImportState.UNCOMMITTED:
            raise ImportFailed(f"cannot {what} job {job_id} in state {job.state.shown}")
        return job

    def close(self) -> None:
        """Stop at the next rows. What is unfinished leaves nothing."""
        self._closing = True
        self._worker.shutdown(wait=True)
        self._ends.close()


def _info(job: ImportJob) -> ImportInfo:
    return ImportInfo(
        job_id=job.job_id,
        database=job.database,
        collection=job.collection,
        collection_id=job.collection_id,
        partition=job.partition,
        state=job.state,
        progress=job.progress,
        rows=job.rows,
        total_rows=sum(file.total_rows for file in job.files),
        size=sum(file.size for file in job.files),
        created_ms=job.created_ms,
        completed_ms=job.completed_ms,
        reason=job.reason,
        files=job.files,
    )
