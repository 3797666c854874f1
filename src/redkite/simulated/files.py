"""The file operations of one process on a simulated disk."""

from __future__ import annotations

from collections.abc import Sequence

from redkite.env import AppendFile, Buffer, FileLock, Names
from redkite.errors import ObjectNotFound, StorageError
from redkite.simulated.disk import (
    Entries,
    FaultKind,
    Inode,
    SimulatedCrash,
    SimulatedDisk,
    failure,
    parent_of,
    prefix_of,
)


class SimulatedFiles:
    """Files of a simulated disk, in the hands of one process."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self.disk = disk
        self._generation = disk.generation

    def append(self, path: str) -> AppendFile:
        self._step(path, "open")
        inode = self.disk.inode(path)
        if inode is None:
            inode = self._create(path, "open")
        self.disk.maybe_crash(path, "open")
        inode.settle()
        return SimulatedAppendFile(self.disk, path, inode)

    def write_new(self, path: str, buffers: Sequence[Buffer]) -> None:
        disk = self.disk
        fault = self._fault(path, "write")
        if fault is not None and fault != "short":
            raise failure("write", path, fault)
        inode = disk.inode(path)
        if inode is None:
            inode = self._create(path, "write")
        inode.cut(0)
        data = b"".join(buffers)
        inode.data += data[: len(data) // 2] if fault else data
        if fault:
            raise failure("write", path, fault)
        disk.maybe_crash(path, "write")
        fault = self._fault(path, "sync")
        if fault is not None:
            inode.fail_sync()
            raise failure("sync", path, fault)
        disk.maybe_crash(path, "sync")
        inode.sync()
        disk.syncs += 1

    def overwrite(self, path: str, data: bytes) -> None:
        fault = self._fault(path, "overwrite")
        inode = self.disk.inode(path)
        if inode is None:
            inode = self._create(path, "overwrite")
        if fault is None:
            inode.overwrite(data)
            self.disk.maybe_crash(path, "overwrite")
            return
        if fault == "short":
            inode.overwrite(data[: len(data) // 2])
        raise failure("overwrite", path, fault)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        self._step(path, "read")
        self.disk.maybe_crash(path, "read")
        data = self._file(path, "read").content()
        return data[offset:] if length is None else data[offset : offset + length]

    def map(self, path: str) -> memoryview:
        self._step(path, "map")
        self.disk.maybe_crash(path, "map")
        return memoryview(self._file(path, "map").content())

    def local_path(self, path: str) -> str | None:  # noqa: ARG002  the same answer for all
        return None

    def truncate(self, path: str, size: int) -> None:
        self._step(path, "truncate")
        inode = self._file(path, "truncate")
        inode.settle()
        inode.cut(size)
        inode.data += bytes(size - len(inode.data))
        self.disk.maybe_crash(path, "truncate")

    def rename(self, old: str, new: str) -> None:
        self._step(old, "rename")
        disk = self.disk
        if not disk.exists(old):
            raise ObjectNotFound(f"cannot rename '{old}' to '{new}': No such file or directory")
        self._check_parent(new, "rename")
        if disk.is_folder(new) and (disk.below(new) or not disk.is_folder(old)):
            raise StorageError(f"cannot rename '{old}' to '{new}': Directory not empty")

        def apply(entries: Entries) -> None:
            for name in [name for name in entries if name == old or name.startswith(prefix_of(old))]:
                entries[new + name[len(old) :]] = entries.pop(name)

        disk.change((old, new, *disk.below(old)), apply)
        disk.maybe_crash(old, "rename")

    def link(self, old: str, new: str) -> bool:
        self._step(old, "link")
        disk = self.disk
        if not disk.exists(old) or disk.is_folder(old):
            raise ObjectNotFound(f"cannot link '{old}' to '{new}': No such file or directory")
        self._check_parent(new, "link")
        if disk.exists(new):
            raise StorageError(f"cannot link '{old}' to '{new}': File exists")

        def apply(entries: Entries) -> None:
            entries[new] = entries[old]

        disk.change((old, new), apply)
        disk.maybe_crash(old, "link")
        return True

    def remove(self, path: str) -> None:
        self._step(path, "remove")
        if self.disk.is_folder(path):
            raise StorageError(f"cannot remove '{path}': Is a directory")
        if self.disk.exists(path):
            self._forget(path)
        self.disk.maybe_crash(path, "remove")

    def remove_tree(self, path: str) -> None:
        """File by file, as the system does: a crash may come between."""
        for name in sorted(self.disk.below(path), reverse=True):
            self._step(name, "remove")
            self._forget(name)
            self.disk.maybe_crash(name, "remove")
        self._step(path, "remove")
        if self.disk.exists(path):
            self._forget(path)
        self.disk.maybe_crash(path, "remove")

    def list(self, path: str) -> Names:
        self._step(path, "list")
        self.disk.maybe_crash(path, "list")
        if self.disk.inode(path) is not None:
            raise StorageError(f"cannot list '{path}': Not a directory")
        prefix = prefix_of(path)
        return sorted(name[len(prefix) :] for name in self.disk.below(path) if "/" not in name[len(prefix) :])

    def walk(self, path: str) -> Names:
        self._step(path, "list")
        self.disk.maybe_crash(path, "list")
        prefix = prefix_of(path)
        return sorted(name[len(prefix) :] for name in self.disk.below(path) if self.disk.inode(name) is not None)

    def exists(self, path: str) -> bool:
        self._alive(path, "look for")
        return self.disk.exists(path)

    def size(self, path: str) -> int:
        self._alive(path, "read")
        return self._file(path, "read").size()

    def make_dirs(self, *paths: str, durable: bool = True) -> None:
        changed: dict[str, None] = {}
        for path in paths:
            self._alive(path, "create folder")
            there, missing = path, []
            while not self.disk.exists(there):
                missing.append(there)
                there = parent_of(there)
            if not self.disk.is_folder(there):
                raise StorageError(f"cannot create folder '{there}': Not a directory")
            for folder in reversed(missing):
                self._step(folder, "create folder")
                self._add(folder, None)
                self.disk.maybe_crash(folder, "create folder")
                changed[parent_of(folder)] = None
        for folder in changed if durable else ():
            self.disk.sync_names(folder)

    def sync_dir(self, path: str) -> None:
        self._step(path, "sync folder")
        if not self.disk.is_folder(path):
            raise ObjectNotFound(f"cannot sync folder '{path}': No such file or directory")
        self.disk.maybe_crash(path, "sync folder")
        self.disk.sync_names(path)

    def lock(self, path: str, note: str) -> FileLock | str:
        self._step(path, "lock")
        self._check_parent(path, "lock")
        self.disk.maybe_crash(path, "lock")
        held = self.disk.locks.setdefault(path, note)
        if held is not note:
            return held
        return SimulatedFileLock(self.disk, path)

    def _alive(self, path: str, action: str) -> None:
        if self.disk.crashed or self._generation != self.disk.generation:
            raise SimulatedCrash(f"the process is gone: {action} '{path}'")

    def _fault(self, path: str, action: str) -> FaultKind | None:
        return self.disk.step(path, action, self._generation)

    def _step(self, path: str, action: str) -> None:
        fault = self._fault(path, action)
        if fault is not None:
            raise failure(action, path, fault)

    def _file(self, path: str, action: str) -> Inode:
        inode = self.disk.inode(path)
        if inode is None:
            reason = "Is a directory" if self.disk.is_folder(path) else "No such file or directory"
            raise (StorageError if self.disk.is_folder(path) else ObjectNotFound)(f"cannot {action} '{path}': {reason}")
        return inode

    def _check_parent(self, path: str, action: str) -> None:
        if not self.disk.is_folder(parent_of(path)):
            raise ObjectNotFound(f"cannot {action} '{path}': No such file or directory")

    def _create(self, path: str, action: str) -> Inode:
        self._check_parent(path, action)
        if self.disk.is_folder(path):
            raise StorageError(f"cannot {action} '{path}': Is a directory")
        inode = Inode()
        self._add(path, inode)
        return inode

    def _add(self, path: str, what: Inode | None) -> None:
        def apply(entries: Entries) -> None:
            entries[path] = what

        self.disk.change((path,), apply)

    def _forget(self, path: str) -> None:
        def apply(entries: Entries) -> None:
            entries.pop(path, None)

        self.disk.change((path,), apply)


class SimulatedAppendFile:
    """Appends to a simulated file; dies with the process, and with its first failed write or sync."""

    def __init__(self, disk: SimulatedDisk, path: str, inode: Inode) -> None:
        self._disk = disk
        self._path = path
        self._inode = inode
        self._generation = disk.generation
        self._broken = False
        self._closed = False

    def write(self, buffers: Sequence[Buffer]) -> int:
        fault = self._begin("write")
        data = b"".join(buffers)
        if fault is not None:
            self._inode.data += data[: len(data) // 2 if fault == "short" else 0]
            self._broken = True
            raise failure("write", self._path, fault)
        self._inode.data += data
        self._disk.maybe_crash(self._path, "write")
        return len(data)

    def sync(self) -> None:
        fault = self._begin("sync")
        if fault is not None:
            self._broken = True
            self._inode.fail_sync()
            raise failure("sync", self._path, fault)
        self._disk.maybe_crash(self._path, "sync")
        self._inode.sync()
        self._disk.syncs += 1

    def reserve(self, size: int) -> bool:
        fault = self._begin("reserve")
        if fault in ("eio", "enospc"):
            raise failure("reserve", self._path, fault)
        if fault is None:
            self._inode.reserved = max(self._inode.reserved, len(self._inode.data) + size)
        self._disk.maybe_crash(self._path, "reserve")
        return fault is None

    def size(self) -> int:
        return len(self._inode.data)

    def close(self) -> None:
        if not self._closed and self._generation == self._disk.generation:
            self._inode.reserved = 0
        self._closed = True

    def _begin(self, action: str) -> FaultKind | None:
        if self._broken:
            raise StorageError(f"'{self._path}' cannot be written any more: an earlier write or sync failed")
        if self._closed:
            raise StorageError(f"'{self._path}' is closed")
        return self._disk.step(self._path, action, self._generation)


class SimulatedFileLock:
    def __init__(self, disk: SimulatedDisk, path: str) -> None:
        self._disk = disk
        self._path = path
        self._generation = disk.generation

    def release(self) -> None:
        if self._generation == self._disk.generation:
            self._disk.locks.pop(self._path, None)
