"""Requests about snapshots that leave a database, and that come from another one.

An exported snapshot is a backup of one collection, as it was at the snapshot's moment: the same checks hold of it, and
exports to one place share the objects they have in common.
"""

from __future__ import annotations

import re
from functools import partial

from redkite.backup.jobs import Jobs
from redkite.backup.pieces import pieces_of
from redkite.backup.place import open_place, resolve
from redkite.backup.repository import Manifest, Repository, distinct, manifest_uri, split_manifest_uri
from redkite.backup.work import Target, create, restore
from redkite.coordinator.jobs import why
from redkite.coordinator.restores import RestoreJob
from redkite.env import Executor
from redkite.errors import InvalidParameter, Unavailable
from redkite.logs import get_logger
from redkite.model import results as rs
from redkite.model.exchange import (
    ExportInfo,
    ExportSnapshot,
    ExportStarted,
    GetExportSnapshotState,
    RestoreExternalSnapshot,
)
from redkite.model.types import JobState
from redkite.node.topology import Topology

log = get_logger(__name__)

_STRANGE = re.compile(r"[^A-Za-z0-9_.-]")
_NAME_LENGTH = 100


class Exchange:
    """Each method answers one request class. `root`: places must be below it; None: anywhere."""

    def __init__(self, topology: Topology, root: str | None, jobs: Jobs) -> None:
        self._topology = topology
        self._root = root
        self._jobs = jobs
        self._worker: Executor = topology.env.tasks.executor("bring", 1)
        self._closing = False

    # -- out ------------------------------------------------------------------------------------
    def export(self, request: ExportSnapshot) -> ExportStarted:
        _refuse_spec(request.external_spec)
        topology = self._topology
        meta = topology.root.find(request.database, request.collection)
        snapshot = topology.snapshots.find(meta.collection_id, request.name)
        place = resolve(request.target, self._root)
        if not place:
            raise InvalidParameter("the target of an export must be given: a folder or a URL")
        job_id = topology.root.oracle.allocate_ids(1)
        name = f"{_STRANGE.sub('_', snapshot.name)[:_NAME_LENGTH]}-{job_id}"
        uri = manifest_uri(place, name)
        image = snapshot.image
        about = rs.SnapshotExport(
            snapshot=snapshot.name,
            database=meta.database,
            collection=meta.name,
            uri=uri,
            objects=len(distinct(piece for segment in image.segments for piece in pieces_of(segment))),
        )
        # The snapshot may be dropped while it is copied; what it names stays for the job.
        topology.garbage.hold(f"export/{job_id}", image.objects)
        work = partial(create, topology, place, name, lambda _: (image.timestamp, [image]))
        try:
            self._jobs.start(job_id, "export", work, about, lambda: topology.garbage.release(f"export/{job_id}"))
        except BaseException:
            topology.garbage.release(f"export/{job_id}")
            raise
        return ExportStarted(job_id=job_id, uri=uri)

    def export_state(self, request: GetExportSnapshotState) -> ExportInfo:
        job = self._jobs.find(request.job_id, "export")
        about = job.export
        if about is None:
            raise InvalidParameter(f"export job {request.job_id} does not exist")
        over = job.state is JobState.COMPLETED
        share = 100 * job.done_bytes // job.total_bytes if job.total_bytes else 0
        return ExportInfo(
            job_id=job.job_id,
            snapshot=about.snapshot,
            collection=about.collection,
            database=about.database,
            state=job.state,
            progress=100 if over else min(99, share),
            reason=job.reason,
            started_ms=job.started_ms,
            took_ms=job.took_ms,
            files=about.objects,
            copied_files=about.objects if over else job.done_objects,
            bytes=job.total_bytes,
            uri=about.uri,
        )

    # -- in -------------------------------------------------------------------------------------
    def restore(self, request: RestoreExternalSnapshot) -> rs.JobStarted:
        _refuse_spec(request.external_spec)
        topology = self._topology
        place, name = split_manifest_uri(request.uri)
        place = resolve(place, self._root)
        manifest = Repository(open_place(topology.env, place), place).manifest(name)
        if len(manifest.images) != 1:
            raise InvalidParameter(f"'{request.uri}' holds {len(manifest.images)} collections: it is no snapshot")
        database = topology.root.describe_database(request.database).name
        topology.root.check_adoptable(database, request.target_collection)
        job_id = topology.root.oracle.allocate_ids(1)
        job = topology.restores.start(job_id, name, database, request.target_collection)
        with topology.restores.told(job_id):
            self._worker.submit(self._bring, job, place, name)
        return rs.JobStarted(job_id=job_id)

    def _bring(self, job: RestoreJob, place: str, name: str) -> None:
        jobs = self._topology.restores

        def targets(manifest: Manifest) -> list[Target]:
            return [Target(manifest.images[0], job.database, job.collection)]

        try:
            jobs.progress(job.job_id, 0)
            restore(self._topology, place, name, targets, _Progress(self, job.job_id))
            jobs.complete(job.job_id)
        except Exception as error:  # whoever waits for the job has to learn that it is over
            if not self._closing:
                log.warning("snapshot %s could not be brought from %s", name, place, exc_info=error)
            jobs.fail(job.job_id, why(error))

    @property
    def closing(self) -> bool:
        return self._closing

    def note(self, job_id: int, percent: int) -> None:
        self._topology.restores.progress(job_id, percent)

    def close(self) -> None:
        """Stop at the next object; what is unfinished leaves no collection."""
        self._closing = True
        self._worker.shutdown(wait=True)


class _Progress:
    """How far a restore is, told to its job."""

    def __init__(self, exchange: Exchange, job_id: int) -> None:
        self._exchange = exchange
        self._job_id = job_id
        self._total = self._done = 0

    def expect(self, total: int) -> None:
        self._total = total

    def advance(self, count: int) -> None:
        self._done += count
        self._exchange.note(self._job_id, min(99, 100 * self._done // self._total) if self._total else 0)

    def check(self) -> None:
        if self._exchange.closing:
            raise Unavailable("the database was closed before the restore was done")


def _refuse_spec(spec: str) -> None:
    if spec:
        raise InvalidParameter("external_spec is not supported: credentials of a store come from the environment")
