"""Objects: immutable blobs under names like `a/b/c`, written whole or not at all."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from redkite.env import Buffer, Executor, Files, Names
from redkite.errors import Conflict, Corruption, InvalidParameter, ObjectNotFound, StorageError
from redkite.storage.checksums import CHUNK_BYTES, READERS, crc32_of, file_crc32, joined_crc32

MAX_NAME_BYTES = 1024
_TEMPORARY = ".tmp"
_ADVICE = "`redkite doctor` says what can be done"
_FEW_PARTS = 4
"""So many are read by the caller alone."""


class ObjectInfo(msgspec.Struct, frozen=True):
    """What was stored."""

    size: int
    crc32: int
    etag: str
    """Changes with the content; what a conditional put compares."""


class FilePart(NamedTuple):
    """Some bytes of an object, and their checksum."""

    at: int
    length: int
    crc32: int


class ObjectStore(Protocol):
    """Every method may be called from any thread."""

    def put(self, name: str, buffers: Sequence[Buffer]) -> ObjectInfo:
        """Store the buffers, one after another, as one object; an older one is replaced. Durable on return."""
        ...

    def put_if(self, name: str, buffers: Sequence[Buffer], etag: str | None) -> ObjectInfo:
        """Store only if the object now there has this etag (None: if there is none). Raises `Conflict`."""
        ...

    def copy(self, name: str, target: str, *, share: bool = True) -> None:
        """Have an object under a second name, durably; one there is replaced. `share`: without writing its bytes anew,
        where the store can."""
        ...

    def info(self, name: str) -> ObjectInfo:
        """Size, checksum and etag of what is stored now (a folder store reads the object for it)."""
        ...

    def verify(self, name: str, size: int, crc32: int) -> None:
        """Read an object and raise `Corruption` unless it is what was stored, before anything makes sense of its bytes.

        An object that held once is not read again; a store opened without verification reads none.
        """
        ...

    def verify_parts(self, name: str, size: int, parts: Sequence[FilePart]) -> None:
        """The same for some parts of an object, and its size."""
        ...

    def vouch(self, name: str, size: int, crc32: int) -> None:
        """All parts of an object were found good: it need not be read as a whole."""
        ...

    @property
    def background(self) -> Executor | None:
        """Who compares what nobody waits for; None: nobody need."""
        ...

    def get(self, name: str) -> bytes:
        """The whole object. Raises `ObjectNotFound`, as all reads do."""
        ...

    def map(self, name: str) -> memoryview:
        """The object's bytes, mapped where the store can. They stay valid when the object is deleted."""
        ...

    def local_path(self, name: str) -> str | None:
        """A file that native code may open, or None where objects are no files."""
        ...

    def size(self, name: str) -> int: ...

    def exists(self, name: str) -> bool: ...

    def list(self, prefix: str = "") -> Names:
        """Names that begin with `prefix`, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Missing is not an error. After a power loss a deleted object may be back: delete it again."""
        ...

    def delete_prefix(self, prefix: str) -> None:
        """Delete every object whose name begins with `prefix`; all of them for the empty prefix."""
        ...


class FolderObjects:
    """Objects as files below a folder that one process writes.

    The etag is made of size and crc32. Conditional puts are atomic among the users of one instance; those that make an
    object, among all processes.
    """

    def __init__(
        self,
        files: Files,
        root: str,
        *,
        verify: bool = True,
        writes: bool = True,
        readers: Executor | None = None,
        writer: str = "",
    ) -> None:
        """`writes` False: nothing will be written here, and what another process is writing is left alone. `readers`
        read large objects when their checksums are compared. Several processes may write a folder whose names are each
        written once, if each has a name of its own as `writer`."""
        self._files = files
        self._readers = readers
        self._root = root
        self._verify = verify
        self._sound: dict[str, tuple[int, int]] = {}
        """Size and crc32 of objects that were written or read in whole since the store was opened."""
        self._numbers = itertools.count()
        self._conditional = threading.Lock()
        self._temporary = f"{root}/{_TEMPORARY}/{writer}" if writer else f"{root}/{_TEMPORARY}"
        if writes:
            files.remove_tree(self._temporary)
            files.make_dirs(self._temporary, durable=False)

    def put(self, name: str, buffers: Sequence[Buffer]) -> ObjectInfo:
        return self._put(name, buffers, self._files.rename)

    def _put(self, name: str, buffers: Sequence[Buffer], move: Callable[[str, str], None]) -> ObjectInfo:
        """`move` gives what is written its name."""
        path = self._path(name)
        folder = path.rpartition("/")[0]
        temporary = f"{self._temporary}/{next(self._numbers)}"
        try:
            self._files.write_new(temporary, buffers)
            self._files.make_dirs(folder)
            move(temporary, path)
        except BaseException:
            self._files.remove(temporary)
            raise
        self._files.sync_dir(folder)
        stored = _describe(*crc32_of(buffers))
        self._sound[name] = (stored.size, stored.crc32)
        return stored

    def put_if(self, name: str, buffers: Sequence[Buffer], etag: str | None) -> ObjectInfo:
        with self._conditional:
            try:
                found: str | None = self.info(name).etag
            except ObjectNotFound:
                found = None
            if found != etag:
                raise Conflict(f"object '{name}' has etag {found}, expected {etag}")
            return self._put(name, buffers, self._move_to_new if etag is None else self._files.rename)

    def _move_to_new(self, old: str, new: str) -> None:
        """Once, whichever process tries it, where the disk has links. Raises Conflict when somebody was quicker."""
        try:
            linked = self._files.link(old, new)
        except StorageError:
            if self._files.exists(new):
                raise Conflict(f"'{new}' has just been made by somebody else") from None
            raise
        if linked:
            self._files.remove(old)
        else:
            self._files.rename(old, new)

    def copy(self, name: str, target: str, *, share: bool = True) -> None:
        path = self._path(target)
        if not (share and self._link(self._path(name), path)):
            self.put(target, [self.map(name)])
        elif name in self._sound:
            self._sound[target] = self._sound[name]

    def _link(self, old: str, new: str) -> bool:
        folder = new.rpartition("/")[0]
        temporary = f"{self._temporary}/{next(self._numbers)}"
        self._files.make_dirs(folder)
        if not self._files.link(old, temporary):
            return False
        try:
            self._files.rename(temporary, new)
        except BaseException:
            self._files.remove(temporary)
            raise
        self._files.sync_dir(folder)
        return True

    def info(self, name: str) -> ObjectInfo:
        return _describe(*file_crc32(self._files, self._path(name), self._readers))

    def verify(self, name: str, size: int, crc32: int) -> None:
        if not self._verify or self._sound.get(name) == (size, crc32):
            return
        try:
            found = file_crc32(self._files, self._path(name), self._readers)
        except ObjectNotFound as error:
            raise Corruption(f"object '{name}' is missing; {_ADVICE}") from error
        if found != (size, crc32):
            what = f"has {found[0]} bytes instead of {size}" if found[0] != size else "does not match its checksum"
            raise Corruption(f"object '{name}' {what}; {_ADVICE}")
        self._sound[name] = found

    def verify_parts(self, name: str, size: int, parts: Sequence[FilePart]) -> None:
        if not self._verify or self._sound.get(name, (-1, 0))[0] == size:
            return
        path = self._path(name)
        try:
            held = self._files.size(path)
            pieces = [(part.at + at, min(CHUNK_BYTES, part.length - at)) for part in parts for at in _steps(part)]
            if self._readers is None or len(pieces) < _FEW_PARTS:
                found = [_read(self._files, path, *piece) for piece in pieces]
            else:
                readers = self._readers
                waiting = [readers.submit(_read_all, self._files, path, pieces[n::READERS]) for n in range(READERS)]
                shares = [job.result() for job in waiting]
                found = [shares[n % READERS][n // READERS] for n in range(len(pieces))]
        except ObjectNotFound as error:
            raise Corruption(f"object '{name}' is missing; {_ADVICE}") from error
        if held != size:
            raise Corruption(f"object '{name}' has {held} bytes instead of {size}; {_ADVICE}")
        checked = iter(found)
        for part in parts:
            crc = 0
            for _ in _steps(part):
                crc = joined_crc32(crc, *next(checked))
            if crc != part.crc32:
                raise Corruption(f"object '{name}' does not match its checksum; {_ADVICE}")

    def vouch(self, name: str, size: int, crc32: int) -> None:
        if self._verify:
            self._sound[name] = (size, crc32)

    @property
    def background(self) -> Executor | None:
        return self._readers if self._verify else None

    def get(self, name: str) -> bytes:
        return self._files.read(self._path(name))

    def map(self, name: str) -> memoryview:
        return self._files.map(self._path(name))

    def local_path(self, name: str) -> str | None:
        return self._files.local_path(self._path(name))

    def size(self, name: str) -> int:
        return self._files.size(self._path(name))

    def exists(self, name: str) -> bool:
        return self._files.exists(self._path(name))

    def list(self, prefix: str = "") -> Names:
        check_object_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        base = f"{folder}/" if folder else ""
        below = self._files.walk(f"{self._root}/{folder}" if folder else self._root)
        names = (base + name for name in below if base or not name.startswith(f"{_TEMPORARY}/"))
        return [name for name in names if name.startswith(prefix)]

    def delete(self, name: str) -> None:
        self._sound.pop(name, None)
        self._files.remove(self._path(name))

    def delete_prefix(self, prefix: str) -> None:
        check_object_prefix(prefix)
        if prefix.endswith("/"):
            for name in list(self._sound):
                if name.startswith(prefix):
                    self._sound.pop(name, None)
            self._files.remove_tree(f"{self._root}/{prefix.rstrip('/')}")
            return
        for name in self.list(prefix):
            self.delete(name)

    def _path(self, name: str) -> str:
        check_object_name(name)
        return f"{self._root}/{name}"


def _steps(part: FilePart) -> range:
    return range(0, part.length, CHUNK_BYTES)


def _read(files: Files, path: str, at: int, length: int) -> tuple[int, int]:
    """(bytes, checksum) of some bytes of a file."""
    data = files.read(path, at, length)
    return len(data), crc32_of([data])[1]


def _read_all(files: Files, path: str, pieces: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [_read(files, path, *piece) for piece in pieces]


def check_object_name(name: str) -> None:
    """Raise InvalidParameter for what is no name for an object."""
    if not name or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidParameter(f"{name!r} is no name for an object: its length must be 1 to {MAX_NAME_BYTES} bytes")
    _check_parts(name, name.split("/"))


def check_object_prefix(prefix: str) -> None:
    """Raise InvalidParameter for what no name begins with."""
    if prefix:
        _check_parts(prefix, prefix.removesuffix("/").split("/"))


def _check_parts(name: str, parts: Sequence[str]) -> None:
    """No part may be empty or hidden, so that no name leads out of the store or to its temporary files."""
    if "\0" in name or any(not part or part.startswith(".") for part in parts):
        raise InvalidParameter(f"{name!r} is no name for an object: parts may not be empty nor begin with a dot")


def _describe(size: int, crc: int) -> ObjectInfo:
    return ObjectInfo(size, crc, f"{size:x}-{crc:08x}")
