"""Making, checking and restoring backups: the steps, in the order that keeps every promise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from redkite.backup.adopt import Adoption, bring, commit, forget, image_bytes
from redkite.backup.capture import capture
from redkite.backup.jobs import Outcome, Report
from redkite.backup.pieces import Piece, pieces_of
from redkite.backup.place import Touch, open_place, writing
from redkite.backup.repository import Manifest, Repository, check_backup_name, distinct
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.snapshots import CollectionImage
from redkite.env import Env
from redkite.errors import BackupNotFound, Corruption, DatabaseNotFound, InvalidParameter
from redkite.model.results import BackupCollection, BackupInfo
from redkite.model.rules.names import check_collection_name, check_database_name
from redkite.model.timestamps import physical_ms
from redkite.node.topology import Topology
from redkite.segment.files import open_deletes

# -- create -------------------------------------------------------------------------------------
Hold = Callable[[Iterable[str]], None]
Take = Callable[[Hold], tuple[int, Sequence[CollectionImage]]]
"""Gives a moment and images of collections at it, what they name held from being deleted."""


def now(topology: Topology, collections: Sequence[CollectionMeta]) -> Take:
    """Collections as they are when the backup is made."""
    return lambda hold: capture(topology, collections, hold)


def create(topology: Topology, place: str, name: str, take: Take, report: Report) -> Outcome:
    """A whole backup, or an error and no backup. Leftovers of one that was cut off are used or removed."""
    owner = f"backup/{topology.data.allocate_id()}"
    with writing(topology.env, place) as (store, touch):
        repository = Repository(store, place)
        repository.check_free(name)
        try:
            timestamp, images = take(lambda names: topology.garbage.hold(owner, names))
            pieces = distinct(p for image in images for segment in image.segments for p in pieces_of(segment))
            copied = _copy_missing(topology, repository, pieces, touch, report)
            info = BackupInfo(
                name=name,
                created_ms=physical_ms(timestamp),
                timestamp=timestamp,
                collections=tuple(_described(topology, image) for image in images),
                objects=len(pieces),
                bytes=sum(piece.size for piece in pieces),
                copied_objects=len(copied),
                copied_bytes=sum(piece.size for piece in copied),
            )
            homes = {image.collection.database for image in images}
            databases = {home: topology.root.describe_database(home).properties for home in homes}
            repository.add(Manifest(info, tuple(images), databases))
            repository.clean()
        finally:
            topology.garbage.release(owner)
    return Outcome(info)


def _copy_missing(
    topology: Topology, repository: Repository, pieces: Sequence[Piece], touch: Touch, report: Report
) -> list[Piece]:
    missing = [piece for piece in pieces if not repository.has(piece)]
    report.expect(sum(piece.size for piece in missing))
    for piece in missing:
        report.check()
        touch()
        repository.put(piece, topology.store.map(piece.name))
        report.advance(piece.size)
    return missing


def _described(topology: Topology, image: CollectionImage) -> BackupCollection:
    alive = 0
    for segment in image.segments:
        _, stamps = open_deletes(topology.store, segment).entries()
        alive += segment.rows - int(np.count_nonzero(stamps <= np.uint64(image.timestamp)))
    return BackupCollection(
        database=image.collection.database, name=image.collection.name, rows=alive, bytes=image_bytes(image)
    )


# -- verify -------------------------------------------------------------------------------------
def verify(env: Env, place: str, name: str, report: Report) -> Outcome:
    """Read everything; Corruption names all that is damaged."""
    repository = Repository(open_place(env, place), place)
    manifest = repository.manifest(name)
    pieces = distinct(manifest.pieces)
    report.expect(sum(piece.size for piece in pieces))
    damage = []
    for piece in pieces:
        report.check()
        found = repository.damage(piece)
        if found:
            damage.append(found)
        report.advance(piece.size)
    if damage:
        raise Corruption(f"backup '{name}' at '{place}': {'; '.join(damage)}")
    return Outcome(manifest.info)


# -- list and delete ----------------------------------------------------------------------------
def whole(env: Env, place: str) -> tuple[BackupInfo, ...]:
    """The whole backups at a place, the oldest first."""
    return Repository(open_place(env, place), place).whole()


def delete(env: Env, place: str, name: str) -> None:
    """Delete a backup and what it alone needs."""
    if check_backup_name(name) not in Repository(open_place(env, place), place).names():
        raise BackupNotFound.named(place, name)  # rather than make a folder for the lock
    with writing(env, place) as (store, _):
        Repository(store, place).remove(name)


# -- restore ------------------------------------------------------------------------------------
class Target(NamedTuple):
    """A collection of the backup, and what it is to be called."""

    image: CollectionImage
    database: str
    name: str


def restore(
    topology: Topology, place: str, name: str, choose: Callable[[Manifest], list[Target]], report: Report
) -> Outcome:
    """New collections, all of them or, when an object is damaged or a name taken, none."""
    repository = Repository(open_place(topology.env, place), place)
    manifest = repository.manifest(name)
    targets = choose(manifest)
    _check_targets(topology, targets)
    report.expect(sum(image_bytes(target.image) for target in targets))
    brought: list[Adoption] = []
    try:
        for target in targets:
            fetch = _fetcher(topology, repository, name, report)
            brought.append(bring(topology, target.image, target.database, target.name, fetch))
        _make_databases(topology, manifest, targets)
    except BaseException:
        for adoption in brought:
            forget(topology, adoption.collection.collection_id)
        raise
    restored = []
    for adoption in brought:
        commit(topology, adoption)
        topology.shards(adoption.collection)  # indexes that were not built yet are from here on
        restored.append(f"{adoption.collection.database}.{adoption.collection.name}")
    return Outcome(manifest.info, tuple(restored))


def _check_targets(topology: Topology, targets: Sequence[Target]) -> None:
    seen: set[tuple[str, str]] = set()
    known = {database.name for database in topology.root.list_databases()}
    for target in targets:
        key = target.database, target.name
        if key in seen:
            raise InvalidParameter(f"two collections would become {target.database}.{target.name}")
        seen.add(key)
        if target.database in known:
            topology.root.check_adoptable(target.database, target.name)
        else:
            check_database_name(target.database, topology.limits)
            check_collection_name(target.name, topology.limits)


def _make_databases(topology: Topology, manifest: Manifest, targets: Sequence[Target]) -> None:
    for target in targets:
        try:
            topology.root.describe_database(target.database)
        except DatabaseNotFound:
            properties = manifest.databases.get(target.image.collection.database, {})
            topology.root.create_database(target.database, properties)


def _fetcher(topology: Topology, repository: Repository, backup: str, report: Report) -> Callable[[Piece, str], None]:
    def fetch(piece: Piece, name: str) -> None:
        report.check()
        stored = topology.store.put(name, [repository.read(piece)])
        if (stored.size, stored.crc32) != (piece.size, piece.crc):
            raise Corruption(f"backup '{backup}' cannot be restored: {repository.damage(piece)}")
        report.advance(piece.size)

    return fetch
