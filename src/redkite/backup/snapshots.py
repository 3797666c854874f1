"""Requests about named snapshots."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from redkite.backup.adopt import bring, commit, image_bytes
from redkite.backup.capture import capture
from redkite.backup.pieces import Piece
from redkite.coordinator.ends import Ends
from redkite.coordinator.jobs import why
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.restores import RestoreJob
from redkite.coordinator.snapshots import CollectionImage, SnapshotMeta
from redkite.env import Executor
from redkite.errors import InvalidParameter, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.rules.names import check_snapshot_name
from redkite.model.timestamps import physical_ms
from redkite.node.topology import Topology

log = get_logger(__name__)

DONE = rs.Done()


class Snapshots:
    """Each method answers one request class. Restores run one after another in the background."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._snapshots = topology.snapshots
        self._jobs = topology.restores
        self._worker: Executor = topology.env.tasks.executor("restore", 1)
        self._closing = False
        self._ends = Ends(topology.env.tasks, "restore", self._fail)

    def _find(self, request: rq.Request, collection: str) -> CollectionMeta:
        return self._topology.root.find(request.database, collection)

    # -- snapshots ------------------------------------------------------------------------------
    def create(self, request: rq.CreateSnapshot) -> rs.Done:
        check_snapshot_name(request.name, self._topology.limits)
        seconds, most = request.compaction_protection_seconds, self._topology.limits.max_compaction_protection_seconds
        if seconds < 0:
            raise InvalidParameter("compaction_protection_seconds must be non-negative")
        if seconds > most:
            raise InvalidParameter(f"compaction_protection_seconds must not exceed {most}")
        meta = self._find(request, request.collection)
        self._snapshots.check_name_free(meta.collection_id, request.name)
        snapshot_id = self._topology.root.oracle.allocate_ids(1)
        owner = f"capture/{snapshot_id}"
        try:
            while not self._add(request, meta, snapshot_id, owner):
                pass  # a compaction that had begun took segments away that are to be protected
        finally:
            self._topology.garbage.release(owner)
        return DONE

    def _add(self, request: rq.CreateSnapshot, meta: CollectionMeta, snapshot_id: int, owner: str) -> bool:
        """Capture the collection, hold its objects for `owner`, record it; False: what is to be protected is gone."""
        topology, seconds = self._topology, request.compaction_protection_seconds
        timestamp, (image,) = capture(topology, [meta], lambda names: topology.garbage.hold(owner, names))
        now = physical_ms(timestamp)
        made = SnapshotMeta(
            snapshot_id=snapshot_id,
            name=request.name,
            description=request.description,
            created_ms=now,
            protected_until_ms=now + 1000 * seconds if seconds else 0,
            image=image,
        )
        with topology.compactor.protecting():
            there = {segment.segment_id for segment in topology.data.segments(meta.collection_id)}
            if seconds and not there.issuperset(segment.segment_id for segment in image.segments):
                return False
            self._snapshots.add(made)
        return True

    def drop(self, request: rq.DropSnapshot) -> rs.Done:
        check_snapshot_name(request.name, self._topology.limits)
        self._snapshots.drop(self._find(request, request.collection).collection_id, request.name)
        return DONE

    def names(self, request: rq.ListSnapshots) -> rs.Snapshots:
        if request.collection:
            metas = [self._find(request, request.collection)]
        else:
            metas = list(self._topology.root.list_collections(request.database))
        found = [s for meta in metas for s in self._snapshots.of_collection(meta.collection_id)]
        return rs.Snapshots(names=tuple(s.name for s in sorted(found, key=lambda s: s.snapshot_id)))

    def describe(self, request: rq.DescribeSnapshot) -> rs.SnapshotInfo:
        check_snapshot_name(request.name, self._topology.limits)
        meta = self._find(request, request.collection)
        found = self._snapshots.find(meta.collection_id, request.name)
        return rs.SnapshotInfo(
            name=found.name,
            description=found.description,
            collection=meta.name,
            partitions=tuple(p.name for p in found.image.collection.partitions),
            created_ms=found.created_ms,
            location=found.key,
            timestamp=found.image.timestamp,
        )

    def pin(self, request: rq.PinSnapshotData) -> rs.PinId:
        meta = self._find(request, request.collection)
        pin_id = self._topology.root.oracle.allocate_ids(1)
        self._snapshots.pin(meta.collection_id, request.name, pin_id, request.ttl_seconds)
        return rs.PinId(pin_id=pin_id)

    def unpin(self, request: rq.UnpinSnapshotData) -> rs.Done:
        self._snapshots.unpin(request.pin_id)
        return DONE

    # -- restores -------------------------------------------------------------------------------
    def restore(self, request: rq.RestoreSnapshot) -> rs.JobStarted:
        check_snapshot_name(request.name, self._topology.limits)
        source = self._find(request, request.collection)
        snapshot = self._snapshots.find(source.collection_id, request.name)
        database = self._topology.root.describe_database(request.target_database or source.database).name
        self._topology.root.check_adoptable(database, request.target_collection)
        job_id = self._topology.root.oracle.allocate_ids(1)
        # The snapshot may be dropped while it is restored; what it names stays for the job.
        self._topology.garbage.hold(f"restore/{job_id}", snapshot.image.objects)
        try:
            job = self._jobs.start(
                job_id, snapshot.name, database, request.target_collection, source.collection_id,
                rewrite=request.rewrite_data,
            )  # fmt: skip
            with self._jobs.told(job_id):
                self._worker.submit(self._run, job, snapshot.image, request.rewrite_data)
        except BaseException:
            self._topology.garbage.release(f"restore/{job_id}")
            raise
        return rs.JobStarted(job_id=job_id)

    def resume(self) -> None:
        """Do what another process was about to do: what it had copied is brought once more, under other names."""
        root = self._topology.root
        for job in self._jobs.unfinished():
            try:
                snapshot = self._snapshots.find(job.source, job.snapshot)
            except MilvusException as error:
                self._ends.failed(job.job_id, why(error))
                continue
            if self._is_made(job) or root.exists(job.database, job.collection):
                self._ends.failed(job.job_id, f"collection {job.collection} already exists")
                continue
            log.info("restore job %d goes on here, from its beginning", job.job_id)
            self._topology.garbage.hold(f"restore/{job.job_id}", snapshot.image.objects)
            self._worker.submit(self._run, job, snapshot.image, job.rewrite)

    def restore_state(self, request: rq.GetRestoreSnapshotState) -> rs.RestoreJobInfo:
        return _shown(self._jobs.find(request.job_id))

    def restore_jobs(self, request: rq.ListRestoreSnapshotJobs) -> rs.RestoreJobInfos:
        database = self._topology.root.describe_database(request.database).name
        return rs.RestoreJobInfos(jobs=tuple(_shown(job) for job in self._jobs.into(database, request.collection)))

    def _run(self, job: RestoreJob, image: CollectionImage, rewrite: bool) -> None:
        try:
            fetch = self._copier(job.job_id, image_bytes(image), rewrite)
            self._jobs.progress(job.job_id, 0)
            made = bring(self._topology, image, job.database, job.collection, fetch)
            self._jobs.making(job.job_id, made.collection.collection_id)
            commit(self._topology, made)
            self._topology.shards(made.collection)  # indexes that were not built yet are from here on
            self._jobs.complete(job.job_id)
        except Exception as error:  # whoever waits for the job has to learn that it is over
            if not self._closing:
                log.warning("snapshot %s could not be restored", job.snapshot, exc_info=error)
            if not (self._closing and self._jobs.is_resumed(job)):
                self._ends.failed(job.job_id, why(error))
        finally:
            self._topology.garbage.release(f"restore/{job.job_id}")

    def _is_made(self, job: RestoreJob) -> bool:
        return any(meta.collection_id == job.made for meta in self._topology.root.all_collections())

    def _fail(self, job_id: int, reason: str) -> None:
        """Note why a job failed; that it is complete where all but the word of it was there."""
        if self._is_made(self._jobs.find(job_id)):
            self._jobs.complete(job_id)
        else:
            self._jobs.fail(job_id, reason)

    def _copier(self, job_id: int, total: int, rewrite: bool) -> Callable[[Piece, str], None]:
        store = self._topology.store
        done = 0

        def fetch(piece: Piece, name: str) -> None:
            nonlocal done
            if self._closing:
                raise Unavailable("the database was closed before the restore was done")
            store.verify(piece.name, piece.size, piece.crc)
            store.copy(piece.name, name, share=not rewrite)
            done += piece.size
            self._jobs.progress(job_id, min(99, 100 * done // total) if total else 0)

        return fetch

    def close(self) -> None:
        """Stop at the next object; an unfinished restore leaves no collection."""
        self._closing = True
        self._ends.close()
        self._worker.shutdown(wait=True)


def _shown(job: RestoreJob) -> rs.RestoreJobInfo:
    fields = msgspec.structs.asdict(job)
    return rs.RestoreJobInfo(**{name: fields[name] for name in rs.RestoreJobInfo.__struct_fields__})
