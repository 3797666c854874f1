"""Requests about backups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from redkite.backup.jobs import Jobs, Work
from redkite.backup.place import resolve
from redkite.backup.repository import Manifest, check_backup_name
from redkite.backup.work import Target, create, delete, now, restore, verify, whole
from redkite.coordinator.meta import CollectionMeta
from redkite.errors import CollectionNotFound, DatabaseNotFound, InvalidParameter
from redkite.model import requests as rq
from redkite.model import results as rs
from redkite.model.decoding import from_msgpack
from redkite.model.inspection import BackupJobs, ListBackupJobs
from redkite.model.schema import DEFAULT_DATABASE
from redkite.node.topology import Topology

DONE = rs.Done()
_KINDS: Final[dict[str, type[rq.CreateBackup | rq.RestoreBackup | rq.VerifyBackup]]] = {
    kind.__name__: kind for kind in (rq.CreateBackup, rq.RestoreBackup, rq.VerifyBackup)
}


class Backups:
    """Each method answers one request class. `root`: backups may be made only below it; None: anywhere."""

    def __init__(self, topology: Topology, root: str | None) -> None:
        self._topology = topology
        self._root = root
        self.jobs = Jobs(topology.env.tasks.executor("backup", 1), topology.backup_jobs, topology.env.clock.now_ms)

    def create(self, request: rq.CreateBackup) -> rs.JobStarted:
        request = msgspec.structs.replace(request, name=request.name or self._new_name())
        return self._start("create", request)

    def restore(self, request: rq.RestoreBackup) -> rs.JobStarted:
        return self._start("restore", request)

    def verify(self, request: rq.VerifyBackup) -> rs.JobStarted:
        return self._start("verify", request)

    def _work(self, request: rq.CreateBackup | rq.RestoreBackup | rq.VerifyBackup) -> Work:
        """What a request asks for, when it is checked."""
        place = resolve(request.destination, self._root)
        name = check_backup_name(request.name)
        if isinstance(request, rq.CreateBackup):
            return partial(create, self._topology, place, name, now(self._topology, self._wanted(request)))
        if isinstance(request, rq.RestoreBackup):
            return partial(restore, self._topology, place, name, partial(_targets, request))
        return partial(verify, self._topology.env, place, name)

    def resume(self) -> None:
        """Do what another process was about to do."""
        self.jobs.take_over(lambda kind, request: self._work(from_msgpack(request, _KINDS[kind])))

    def delete(self, request: rq.DeleteBackup) -> rs.Done:
        place = resolve(request.destination, self._root)
        delete(self._topology.env, place, request.name)
        return DONE

    def whole(self, request: rq.ListBackups) -> rs.Backups:
        place = resolve(request.destination, self._root)
        return rs.Backups(backups=whole(self._topology.env, place))

    def job(self, request: rq.GetBackupJob) -> rs.BackupJobInfo:
        return self.jobs.find(request.job_id)

    def all_jobs(self, _request: ListBackupJobs) -> BackupJobs:
        return BackupJobs(jobs=self.jobs.all())

    def close(self) -> None:
        """Stop at the next object; what is unfinished leaves no backup and no collection."""
        self.jobs.close()

    def _start(self, kind: str, request: rq.CreateBackup | rq.RestoreBackup | rq.VerifyBackup) -> rs.JobStarted:
        work = self._work(request)
        job_id = self._topology.root.oracle.allocate_ids(1)
        self.jobs.start(job_id, kind, work, request=request)
        return rs.JobStarted(job_id=job_id)

    def _new_name(self) -> str:
        now = datetime.fromtimestamp(self._topology.env.clock.now_ms() / 1000, UTC)
        return f"backup-{now:%Y%m%dT%H%M%S}-{now.microsecond // 1000:03}"

    def _wanted(self, request: rq.CreateBackup) -> list[CollectionMeta]:
        """The collections to back up, in order of creation."""
        root = self._topology.root
        if not request.databases and not request.collections:
            return list(root.all_collections())
        found = [meta for database in request.databases for meta in root.list_collections(database)]
        for named in request.collections:
            database, name = split_name(named, request.database)
            found.append(root.find(database, name))
        return sorted({meta.collection_id: meta for meta in found}.values(), key=lambda meta: meta.collection_id)


def split_name(named: str, database: str) -> tuple[str, str]:
    """`database.collection`, or a collection of `database`."""
    before, dot, after = named.rpartition(".")
    return (before, after) if dot else (database or DEFAULT_DATABASE, named)


def _targets(request: rq.RestoreBackup, manifest: Manifest) -> list[Target]:
    """What of the backup is restored, and under which names."""
    images = {(i.collection.database, i.collection.name): i for i in manifest.images}
    wanted = _chosen(request, list(images))
    renames = {split_name(old, request.database): new for old, new in request.renames.items()}
    for database, name in renames:
        if (database, name) not in wanted:
            raise InvalidParameter(f"{database}.{name} is to be renamed, but is not restored")
    found = []
    for key in wanted:
        home = request.into_database or key[0]
        database, name = split_name(renames[key], home) if key in renames else (home, key[1] + request.suffix)
        found.append(Target(images[key], database, name))
    return found


def _chosen(request: rq.RestoreBackup, there: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    if not request.collections:
        return list(there)
    wanted = [split_name(named, request.database) for named in request.collections]
    for database, name in wanted:
        if (database, name) not in there:
            if database not in {known for known, _ in there}:
                raise DatabaseNotFound.named(database)
            raise CollectionNotFound.named(database, name)
    return _unique(wanted)


def _unique(keys: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(keys))
