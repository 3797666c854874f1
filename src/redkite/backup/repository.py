"""How backups lie at their destination.

    backups/<name>.backup     one line of JSON with the SHA-256 of the rest, one line of JSON that says what the backup
                              holds, and the images of its collections (msgpack); written last
    objects/<object>-<size>-<crc>   what the segments are made of, shared by all backups of the destination

A backup is there when its manifest is. Objects that no manifest names were left by one that was cut off: the next
backup uses what it needs of them and removes the others.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import msgspec

from redkite.backup.pieces import Piece, pieces_of
from redkite.coordinator.snapshots import CollectionImage
from redkite.errors import BackupNotFound, Conflict, Corruption, InvalidParameter, ObjectNotFound, StorageError
from redkite.logs import get_logger
from redkite.model.decoding import from_json, from_msgpack
from redkite.model.results import BackupInfo
from redkite.storage.objects import ObjectStore

log = get_logger(__name__)

FORMAT = 1
_MANIFESTS = "backups/"
_SUFFIX = ".backup"
_OBJECTS = "objects/"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


class _Seal(msgspec.Struct, frozen=True):
    redkite_backup: int
    sha256: str


class _Body(msgspec.Struct, frozen=True):
    images: tuple[CollectionImage, ...]
    databases: dict[str, dict[str, str]]


class Manifest(msgspec.Struct, frozen=True):
    """One whole backup. `databases` gives the properties of those its collections are in."""

    info: BackupInfo
    images: tuple[CollectionImage, ...]
    databases: dict[str, dict[str, str]]

    @property
    def pieces(self) -> Iterator[Piece]:
        return (piece for image in self.images for segment in image.segments for piece in pieces_of(segment))

    def to_bytes(self) -> bytes:
        info = msgspec.json.encode(self.info)
        rest = info + b"\n" + msgspec.msgpack.encode(_Body(self.images, self.databases))
        seal = _Seal(FORMAT, hashlib.sha256(rest).hexdigest())
        return msgspec.json.encode(seal) + b"\n" + rest

    @staticmethod
    def from_bytes(data: bytes, what: str) -> Manifest:
        first, _, rest = data.partition(b"\n")
        try:
            seal = from_json(first, _Seal)
            if seal.redkite_backup > FORMAT:
                raise StorageError(
                    f"{what} has format {seal.redkite_backup}, written by a newer Redkite; this one reads {FORMAT}"
                )
            if hashlib.sha256(rest).hexdigest() != seal.sha256:
                raise Corruption(f"{what} does not match its checksum")
            info, _, body = rest.partition(b"\n")
            decoded = from_msgpack(body, _Body)
            return Manifest(from_json(info, BackupInfo), decoded.images, decoded.databases)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Corruption(f"{what} cannot be read: {error}") from error


def check_backup_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f"Invalid backup name: {name!r}. A backup name has up to 128 letters, digits, underscores, dots and "
            "dashes, and begins with a letter, a digit or an underscore"
        )
    return name


class Repository:
    """The backups at one destination. Writing is for whoever holds its lock."""

    def __init__(self, store: ObjectStore, place: str) -> None:
        self._store = store
        self.place = place

    # -- manifests ------------------------------------------------------------------------------
    def names(self) -> list[str]:
        """Of the backups whose manifest is there, damaged or not; sorted."""
        found = self._store.list(_MANIFESTS)
        return [n.removeprefix(_MANIFESTS).removesuffix(_SUFFIX) for n in found if n.endswith(_SUFFIX)]

    def manifest(self, name: str) -> Manifest:
        """Raises BackupNotFound, or Corruption when it is damaged."""
        try:
            data = self._store.get(_manifest_object(check_backup_name(name)))
        except ObjectNotFound:
            raise BackupNotFound.named(self.place, name) from None
        return Manifest.from_bytes(data, f"the manifest of backup '{name}' at '{self.place}'")

    def whole(self) -> tuple[BackupInfo, ...]:
        """Whole backups, the oldest first. One whose manifest is damaged is told to the log."""
        found = []
        for name in self.names():
            try:
                found.append(self.manifest(name).info)
            except Corruption as error:
                log.warning("%s; it is not listed", error.message)
        return tuple(sorted(found, key=lambda info: (info.timestamp, info.name)))

    def check_free(self, name: str) -> None:
        if self._store.exists(_manifest_object(check_backup_name(name))):
            raise InvalidParameter(f"backup {name} already exists at '{self.place}'")

    def add(self, manifest: Manifest) -> None:
        """The last step of a backup."""
        try:
            self._store.put_if(_manifest_object(manifest.info.name), [manifest.to_bytes()], None)
        except Conflict as error:
            raise InvalidParameter(f"backup {manifest.info.name} already exists at '{self.place}'") from error

    def remove(self, name: str) -> None:
        """Delete a backup, damaged or not, then the objects that it alone needed."""
        manifest = _manifest_object(check_backup_name(name))
        if not self._store.exists(manifest):
            raise BackupNotFound.named(self.place, name)
        self._store.delete(manifest)
        self.clean()

    # -- objects --------------------------------------------------------------------------------
    def has(self, piece: Piece) -> bool:
        """Whether an object is there, in its full size."""
        try:
            return self._store.size(_stored_object(piece)) == piece.size
        except ObjectNotFound:
            return False

    def put(self, piece: Piece, content: memoryview) -> None:
        """Store an object. Raises Corruption when the bytes given are not what they should be."""
        name = _stored_object(piece)
        stored = self._store.put(name, [content])
        if (stored.size, stored.crc32) != (piece.size, piece.crc):
            self._store.delete(name)
            raise Corruption(f"object '{piece.name}' of the database does not match its checksum: it is not backed up")

    def read(self, piece: Piece) -> memoryview:
        """An object's bytes, unchecked. Raises Corruption when it is missing."""
        try:
            return self._store.map(_stored_object(piece))
        except ObjectNotFound:
            raise Corruption(f"object '{_stored_object(piece)}' at '{self.place}' is missing") from None

    def damage(self, piece: Piece) -> str:
        """What is wrong with an object; empty when nothing is."""
        name = _stored_object(piece)
        try:
            found = self._store.info(name)
        except ObjectNotFound:
            return f"object '{name}' is missing"
        if (found.size, found.crc32) == (piece.size, piece.crc):
            return ""
        return f"object '{name}' is damaged"

    def clean(self) -> int:
        """Delete objects that no backup needs; returns how many. Nothing when a manifest cannot be read: it may need
        any of them."""
        needed: set[str] = set()
        for name in self.names():
            try:
                needed.update(_stored_object(piece) for piece in self.manifest(name).pieces)
            except Corruption as error:
                log.warning("%s; objects that no backup needs stay until it is deleted", error.message)
                return 0
        useless = [name for name in self._store.list(_OBJECTS) if name not in needed]
        for name in useless:
            self._store.delete(name)
        return len(useless)


def distinct(pieces: Iterator[Piece]) -> Sequence[Piece]:
    """Each stored object once."""
    return list({_stored_object(piece): piece for piece in pieces}.values())


def _manifest_object(name: str) -> str:
    return f"{_MANIFESTS}{name}{_SUFFIX}"


def _stored_object(piece: Piece) -> str:
    return f"{_OBJECTS}{piece.name}-{piece.size:x}-{piece.crc:08x}"


def manifest_uri(place: str, name: str) -> str:
    """Where the manifest of a backup is."""
    path, mark, settings = place.partition("?")
    return f"{path.rstrip('/')}/{_manifest_object(name)}{mark}{settings}"


def split_manifest_uri(uri: str) -> tuple[str, str]:
    """The place and the name of a backup. Raises InvalidParameter."""
    path, mark, settings = uri.partition("?")
    place, between, name = path.rpartition(f"/{_MANIFESTS}")
    if not place or not between or not name.endswith(_SUFFIX):
        raise InvalidParameter(f"'{uri}' is no exported snapshot: its URI ends in '/{_MANIFESTS}<name>{_SUFFIX}'")
    return f"{place}{mark}{settings}", check_backup_name(name.removesuffix(_SUFFIX))
