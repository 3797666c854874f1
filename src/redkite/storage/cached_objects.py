"""Copies of far objects on this machine's disk, as many as may be there; the longest unused ones go first.

An object never changes, so a copy is good for ever once its checksum was compared; copies outlive the process. Several
threads that want one object have it fetched once. What is mapped stays until it is let go, also beyond the limit. When
the disk is full, or nothing can go, objects are read from afar as if there were no cache, and `health` says so.
"""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from typing import BinaryIO, Final, Protocol, runtime_checkable

import msgspec

from redkite.env import Buffer, Env, Executor, FileLock, Names
from redkite.errors import Corruption, DiskLimitExceeded, MilvusException, ObjectNotFound, StorageError
from redkite.logs import get_logger
from redkite.storage.checksums import crc32, file_crc32
from redkite.storage.objects import FilePart, ObjectInfo, ObjectStore, check_object_name

log = get_logger(__name__)

PIECE_BYTES: Final = 8 << 20
FETCHERS: Final = 8
TRIES: Final = 3
SLOTS: Final = 256
_OBJECTS, _TEMPORARY, _ORDER, _LOCK = "objects", "tmp", "order", "LOCK"


@runtime_checkable
class _Streaming(Protocol):
    """A store that gives an object in pieces."""

    def reader(self, name: str) -> BinaryIO: ...


class CacheFigures(msgspec.Struct, frozen=True):
    """What a cache has done since it was opened."""

    held_bytes: int
    objects: int
    hits: int
    fetched: int
    fetched_bytes: int
    evicted: int
    uncached: int
    """Reads that went past it since there was no room."""


class _Entry:
    __slots__ = ("pins", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.pins = 0
        """Mappings that are still used, and paths that native code was given."""


def open_cache(below: ObjectStore, env: Env, path: str, limit: int) -> CachedObjects:
    """A cache of at most `limit` bytes in a folder of `path` that no other process uses: the first that is free, so
    that a node that is started again finds what one before it had. Raises StorageError when there is none."""
    for slot in range(SLOTS):
        root = f"{path}/{slot}"
        env.files.make_dirs(root)
        lock = env.files.lock(f"{root}/{_LOCK}", "a cache of objects")
        if not isinstance(lock, str):
            return CachedObjects(below, env, root, limit, lock)
    raise StorageError(f"no folder in '{path}' is free for a cache: {SLOTS} processes use it already")


class CachedObjects:
    """An `ObjectStore` over another. Writes go through; what is written is read from here afterwards."""

    def __init__(self, below: ObjectStore, env: Env, root: str, limit: int, lock: FileLock | None = None) -> None:
        self._below = below
        self._env = env
        self._files = env.files
        self._root = root
        self._limit = limit
        self._file_lock = lock
        self._lock = Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        """The longest unused first."""
        self._given: set[str] = set()
        """Objects whose paths native code was given: they stay until `let_go`."""
        self._unused: deque[_Entry] = deque()
        """Of mappings that ended: noted without a lock, since that may happen anywhere."""
        self._held = 0
        self._fetching: dict[str, Future[bool]] = {}
        self._sound: dict[str, tuple[int, int]] = {}
        self._numbers = itertools.count()
        self._fetchers = env.tasks.executor("fetch objects", FETCHERS)
        self._hits = self._fetched = self._fetched_bytes = self._evicted = self._uncached = 0
        self._full = ""
        """Why the last object could not be kept; empty: it could. And …"""
        self._lacking = 0
        """… its bytes."""
        self._open()

    def _open(self) -> None:
        files, root = self._files, self._root
        files.remove_tree(f"{root}/{_TEMPORARY}")
        files.make_dirs(f"{root}/{_TEMPORARY}")
        files.make_dirs(f"{root}/{_OBJECTS}")
        there = set(files.walk(f"{root}/{_OBJECTS}"))
        order: list[str] = []
        with suppress(MilvusException, msgspec.DecodeError):  # then nobody knows what was used when
            order = msgspec.json.decode(files.read(f"{root}/{_ORDER}"), type=list[str])
        known = [name for name in order if name in there]
        for name in [*sorted(there.difference(known)), *known]:
            size = files.size(self._path(name))
            self._entries[name] = _Entry(size)
            self._held += size
        with self._lock:
            gone = self._too_many(0)
        self._remove(gone)

    def _path(self, name: str) -> str:
        check_object_name(name)
        return f"{self._root}/{_OBJECTS}/{name}"

    # -- reading --------------------------------------------------------------------------------
    def map(self, name: str) -> memoryview:
        if self._local(name):
            try:
                view = self._files.map(self._path(name))
            except ObjectNotFound:
                pass  # it went between the two looks
            else:
                self._pin(name, view)
                return view
        return self._below.map(name)

    def get(self, name: str) -> bytes:
        if self._local(name):
            with suppress(ObjectNotFound):  # it went between the two looks
                return self._files.read(self._path(name))
        return self._below.get(name)

    def local_path(self, name: str) -> str | None:
        if not self._local(name):
            return None
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return None
            if name not in self._given:
                self._given.add(name)
                entry.pins += 1
        return self._files.local_path(self._path(name))

    def let_go(self, names: Iterable[str]) -> None:
        """Native code uses the files of these objects no more."""
        with self._lock:
            for name in names:
                if name in self._given:
                    self._given.discard(name)
                    self._entries[name].pins -= 1

    def fetch_soon(self, names: Iterable[str]) -> None:
        """Fetch objects that will be wanted, in this order, several at a time. Who wants one meanwhile waits for it."""
        for name in names:
            with self._lock:
                if name in self._entries or name in self._fetching:
                    continue
            with suppress(MilvusException):  # the cache is being closed; who wants the object is told
                self._fetchers.submit(self._fetch_quietly, name)

    def _fetch_quietly(self, name: str) -> None:
        with suppress(MilvusException):  # whoever reads the object tries again, and is told
            self._local(name)

    def _pin(self, name: str, view: memoryview) -> None:
        """Keep the file while the mapping is used. Files in memory are no mappings, and cost nothing here."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return
            try:
                weakref.finalize(view.obj, self._unused.append, entry)
            except TypeError:
                return
            entry.pins += 1

    def _local(self, name: str) -> bool:
        """Have an object here; False when there is no room for it."""
        while True:
            with self._lock:
                if name in self._entries:
                    self._entries.move_to_end(name)
                    self._hits += 1
                    return True
                waiting = self._fetching.get(name)
                if waiting is None:
                    mine: Future[bool] = self._env.tasks.future()
                    self._fetching[name] = mine
                    break
            if not waiting.result():
                return False
        try:
            kept = self._fetch(name)
        except BaseException as error:
            self._ended(name)
            mine.set_exception(error)
            raise
        self._ended(name)
        mine.set_result(kept)
        return kept

    def _ended(self, name: str) -> None:
        with self._lock:
            self._fetching.pop(name, None)

    def _fetch(self, name: str) -> bool:
        size = self._below.size(name)
        if not self._make_room(size):
            with self._lock:
                self._uncached += 1
                self._full, self._lacking = f"no room for an object of {size} bytes within {self._limit}", size
            return False
        for attempt in range(TRIES):
            try:
                self._keep(name, self._pieces(name, size), size)
            except DiskLimitExceeded as error:
                self._full, self._lacking = error.message, size
                self._remove(self._evict_all())
            except ObjectNotFound:
                raise
            except StorageError as error:
                if attempt == TRIES - 1:
                    raise
                log.warning("object %s did not come whole, and is fetched anew: %s", name, error.message)
            else:
                self._full = ""
                return True
        with self._lock:
            self._uncached += 1
        return False

    def _pieces(self, name: str, size: int) -> Iterator[Buffer]:
        if size > PIECE_BYTES and isinstance(self._below, _Streaming):
            with self._below.reader(name) as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        else:
            yield self._below.map(name)

    def _keep(self, name: str, pieces: Iterable[Buffer], size: int) -> None:
        """Write a copy, whole or not at all. Its checksum is known then."""
        temporary = f"{self._root}/{_TEMPORARY}/{next(self._numbers)}"
        crc = written = 0
        try:
            file = self._files.append(temporary)
            try:
                for piece in pieces:
                    written += file.write([piece])
                    crc = crc32(piece, crc)
            finally:
                file.close()
            if written != size:
                raise StorageError(f"object '{name}' came with {written} bytes of {size}")
            path = self._path(name)
            self._files.make_dirs(path.rpartition("/")[0])
            self._files.rename(temporary, path)
        except BaseException:
            self._files.remove(temporary)
            raise
        with self._lock:
            before = self._entries.pop(name, None)
            entry = self._entries[name] = _Entry(size)
            entry.pins = before.pins if before is not None else 0
            self._held += size - (before.size if before is not None else 0)
            self._sound[name] = (size, crc)
            self._fetched += 1
            self._fetched_bytes += size

    # -- room -----------------------------------------------------------------------------------
    def _make_room(self, size: int) -> bool:
        with self._lock:
            gone = self._too_many(size)
            fits = self._held + size <= self._limit
        self._remove(gone)
        return fits

    def _count_unused(self) -> None:
        while self._unused:
            self._unused.popleft().pins -= 1

    def _too_many(self, size: int) -> Names:
        """Take away entries until one of this size fits; their names. Under the lock."""
        self._count_unused()
        gone: Names = []
        if size <= self._limit:
            for name, entry in list(self._entries.items()):
                if self._held + size <= self._limit:
                    break
                if entry.pins <= 0:
                    self._take_away(name, entry)
                    gone.append(name)
        return gone

    def _evict_all(self) -> Names:
        with self._lock:
            self._count_unused()
            gone = [name for name, entry in self._entries.items() if entry.pins <= 0]
            for name in gone:
                self._take_away(name, self._entries[name])
            return gone

    def _take_away(self, name: str, entry: _Entry) -> None:
        del self._entries[name]
        self._sound.pop(name, None)
        self._held -= entry.size
        self._evicted += 1

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            try:
                self._files.remove(self._path(name))
            except MilvusException:
                log.warning("a copy of object %s could not be removed", name, exc_info=True)

    def _drop(self, name: str) -> None:
        with self._lock:
            entry = self._entries.pop(name, None)
            self._sound.pop(name, None)
            self._given.discard(name)
            if entry is not None:
                self._held -= entry.size
        if entry is not None:
            self._remove([name])

    # -- checksums ------------------------------------------------------------------------------
    def verify(self, name: str, size: int, crc32: int) -> None:
        def is_sound() -> bool:
            known = self._sound.get(name)
            if known is None:
                known = file_crc32(self._files, self._path(name))
                with self._lock:
                    if known == (size, crc32) and name in self._entries:
                        self._sound[name] = known
            return known == (size, crc32)

        self._compared(name, is_sound, lambda: self._below.verify(name, size, crc32))

    def verify_parts(self, name: str, size: int, parts: Sequence[FilePart]) -> None:
        def is_sound() -> bool:
            path = self._path(name)
            return self._files.size(path) == size and all(
                crc32(self._files.read(path, part.at, part.length)) == part.crc32 for part in parts
            )

        self._compared(name, is_sound, lambda: self._below.verify_parts(name, size, parts))

    def _compared(self, name: str, is_sound: Callable[[], bool], afar: Callable[[], None]) -> None:
        """Compare the copy; one that is damaged is fetched anew, once. What cannot be kept is compared where it is."""
        for attempt in range(2):
            try:
                if not self._local(name):
                    afar()
                    return
                if is_sound():
                    return
            except ObjectNotFound as error:
                raise Corruption(f"object '{name}' is missing") from error
            if attempt == 0:
                log.warning("the copy of object %s is damaged, and is fetched anew", name)
            self._drop(name)
        raise Corruption(f"object '{name}' does not match its checksum")

    def vouch(self, name: str, size: int, crc32: int) -> None:
        with self._lock:
            if name in self._entries:
                self._sound[name] = (size, crc32)

    @property
    def background(self) -> Executor | None:
        """Copies are compared whole when they are fetched: there is nothing left to do."""
        return None

    # -- the others -----------------------------------------------------------------------------
    def put(self, name: str, buffers: Sequence[Buffer]) -> ObjectInfo:
        stored = self._below.put(name, buffers)
        self._keep_written(name, buffers, stored.size)
        return stored

    def _keep_written(self, name: str, buffers: Sequence[Buffer], size: int) -> None:
        self._drop(name)
        if not self._make_room(size):
            return
        try:
            self._keep(name, buffers, size)
            self._full = ""
        except MilvusException as error:  # the object is stored; only the copy is not
            self._full, self._lacking = error.message, size

    def put_if(self, name: str, buffers: Sequence[Buffer], etag: str | None) -> ObjectInfo:
        stored = self._below.put_if(name, buffers, etag)
        self._drop(name)  # such an object may change again, by others
        return stored

    def copy(self, name: str, target: str, *, share: bool = True) -> None:
        self._below.copy(name, target, share=share)
        self._drop(target)

    def info(self, name: str) -> ObjectInfo:
        return self._below.info(name)

    def size(self, name: str) -> int:
        with self._lock:
            entry = self._entries.get(name)
        return entry.size if entry is not None else self._below.size(name)

    def exists(self, name: str) -> bool:
        return self._below.exists(name)

    def list(self, prefix: str = "") -> Names:
        return self._below.list(prefix)

    def delete(self, name: str) -> None:
        self._below.delete(name)
        self._drop(name)

    def delete_prefix(self, prefix: str) -> None:
        self._below.delete_prefix(prefix)
        with self._lock:
            gone = [name for name in self._entries if name.startswith(prefix)]
        for name in gone:
            self._drop(name)

    # -- how it does ----------------------------------------------------------------------------
    def figures(self) -> CacheFigures:
        with self._lock:
            return CacheFigures(
                self._held, len(self._entries), self._hits, self._fetched, self._fetched_bytes, self._evicted,
                self._uncached,
            )  # fmt: skip

    def health(self) -> tuple[str, ...]:
        """Why objects are read without it; nothing when all is well. Who has no objects to keep would not see that
        there is room again, so it is looked for here."""
        if self._full and self._has_room_again():
            self._full = ""
        return (f"the cache at {self._root} keeps nothing new: {self._full}",) if self._full else ()

    def _has_room_again(self) -> bool:
        """Whether what could not be kept could be now. Takes nothing away."""
        size = self._lacking
        with self._lock:
            self._count_unused()
            if sum(entry.size for entry in self._entries.values() if entry.pins > 0) + size > self._limit:
                return False
        temporary = f"{self._root}/{_TEMPORARY}/{next(self._numbers)}"
        try:
            file = self._files.append(temporary)
            try:
                if not file.reserve(size):
                    file.write([bytes(min(size, PIECE_BYTES))])
            finally:
                file.close()
                self._files.remove(temporary)
        except MilvusException:
            return False
        return True

    def close(self) -> None:
        """Note what was used last. Copies stay."""
        self._fetchers.shutdown(wait=False)
        with self._lock:
            order = list(self._entries)
        try:
            self._files.write_new(f"{self._root}/{_ORDER}", [msgspec.json.encode(order)])
        except MilvusException:
            log.warning("the order of the cache at %s could not be noted", self._root, exc_info=True)
        if self._file_lock is not None:
            self._file_lock.release()
