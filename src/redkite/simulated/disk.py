"""A disk that forgets at a crash what was not synced, and fails when told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from redkite.errors import DiskLimitExceeded, MilvusException, StorageError

Random = random.Random  # noqa: TID251  always made from a seed here
FaultKind = Literal["eio", "enospc", "short"]

SECTOR_BYTES = (512, 4096)
"""A write that was not synced is torn at a multiple of one of these."""


class SimulatedCrash(BaseException):
    """The process ended here. Not an `Exception`, so that no handler goes on."""


class Inode:
    """A file's bytes. Those before `synced` are durable; `old` is the durable content if that was cut or replaced.

    After a failed sync the bytes it was for are `lost`: they can be read until the power goes, and a later sync that
    succeeds does not save them. `reserved` is the size of the file where that is more than was written: what is between
    reads as zeros.
    """

    __slots__ = ("data", "lost", "old", "reserved", "synced")

    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0
        self.old: bytes | None = None
        self.lost: list[tuple[int, int]] = []
        self.reserved = 0

    def size(self) -> int:
        return max(len(self.data), self.reserved)

    def content(self) -> bytes:
        return bytes(self.data) + bytes(self.size() - len(self.data))

    def settle(self) -> None:
        """Whoever opens the file next finds what was reserved to be part of it."""
        self.data += bytes(self.size() - len(self.data))
        self.reserved = 0

    def cut(self, size: int) -> None:
        if size < self.synced:
            if self.old is None:
                self.old = bytes(self.data[: self.synced])
            self.synced = size
        del self.data[size:]
        self.reserved = 0
        self.lost = [(low, min(high, size)) for low, high in self.lost if low < size]

    def overwrite(self, data: bytes) -> None:
        if self.synced and self.old is None:
            self.old = bytes(self.data[: self.synced])
        self.data[: len(data)] = data

    def fail_sync(self) -> None:
        self.lost.append((self.synced, len(self.data)))

    def sync(self) -> None:
        self.synced = len(self.data)
        self.old = None

    def lose(self, rng: Random) -> None:
        """What a power loss leaves: the durable bytes, and any sectors of what came after."""
        if self.old is not None and rng.random() < 0.5:
            self.data = bytearray(self.old)
            self.reserved = 0
        else:
            for low, high in self.lost:
                self.data[low:high] = bytes(high - low)
            self._tear(rng)
        self.lost = []
        if rng.random() < 0.5:
            self.reserved = 0
        self.settle()
        self.sync()

    def _tear(self, rng: Random) -> None:
        first = self.synced
        sector = rng.choice(SECTOR_BYTES)
        at = rng.randint(first, len(self.data))
        keep = rng.choice((first, len(self.data), at, max(first, at - at % sector)))
        del self.data[keep:]
        if keep > first and rng.random() < 0.3:
            for start in range(first - first % sector, keep, sector):
                low, high = max(start, first), min(start + sector, keep)
                if rng.random() < 0.5:
                    self.data[low:high] = bytes(high - low)


Entries = dict[str, Inode | None]


class NameChange(NamedTuple):
    """A change of names that waits to become durable."""

    folders: frozenset[str]
    """Syncing any of these makes it durable."""
    gives: frozenset[str]
    """Paths it changes."""
    needs: frozenset[str]
    """Paths whose earlier changes must be durable with it."""
    apply: Callable[[Entries], None]


class SimulatedDisk:
    """The disk of one machine. It outlives the processes that use it.

    Names form one table of paths; None stands for a folder. Changes of names wait in order until a folder they
    touch is synced; a crash keeps none, all, or the first few of those that wait.
    """

    def __init__(self, seed: int = 0) -> None:
        self._rng = Random(f"disk {seed}")
        self._entries: Entries = {}
        self._durable: Entries = {}
        self._waiting: list[NameChange] = []
        self._tables: dict[str, SimulatedTable] = {}
        self._faults: dict[int, FaultKind] = {}
        self._crash_at = 0
        self.locks: dict[str, str] = {}
        self.operations = 0
        """File operations so far, reads included. The next one has this number plus one."""
        self.syncs = 0
        self.generation = 0
        self.crashed = False

    @property
    def catalog(self) -> SimulatedTable:
        return self.table("catalog")

    def table(self, name: str) -> SimulatedTable:
        """The pairs of a catalog; its commits are atomic and durable."""
        return self._tables.setdefault(name, SimulatedTable(self))

    def fail_at(self, operation: int, kind: FaultKind = "eio") -> None:
        """Make one operation, by its number, fail: `short` writes half before the disk turns out to be full."""
        self._faults[operation] = kind

    def crash_at(self, operation: int) -> None:
        """End the process at an operation, by its number; changes of it are made but not durable."""
        self._crash_at = operation

    def crash(self, rng: Random | None = None) -> None:
        """Cut the power now. Every handle, lock and volatile byte is gone; nothing works until `restart`."""
        rng = rng or self._rng
        kept = rng.choice((0, len(self._waiting), rng.randint(0, len(self._waiting))))
        for change in self._waiting[:kept]:
            change.apply(self._durable)
        self._waiting.clear()
        self._entries = dict(self._durable)
        for inode in self._entries.values():
            if inode is not None:
                inode.lose(rng)
        self.locks.clear()
        self.generation += 1
        self.crashed = True

    def restart(self, rng: Random | None = None) -> None:
        """Switch on again, after losing what a crash loses; pending faults are forgotten."""
        self.crash(rng)
        self.crashed = False
        self._crash_at = 0
        self._faults.clear()

    def step(self, path: str, action: str, generation: int | None = None) -> FaultKind | None:
        """Count an operation. Returns the fault it must suffer; raises when the process is over."""
        if self.crashed or (generation is not None and generation != self.generation):
            raise SimulatedCrash(f"the process is gone: {action} '{path}'")
        self.operations += 1
        return self._faults.pop(self.operations, None)

    def maybe_crash(self, path: str, action: str) -> None:
        """The second half of an operation: the process may end here, its changes being volatile."""
        if self.operations == self._crash_at:
            self.crashed = True
            raise SimulatedCrash(f"crash at operation {self.operations}: {action} '{path}'")

    # -- names ----------------------------------------------------------------------------------
    def inode(self, path: str) -> Inode | None:
        return self._entries.get(path)

    def is_folder(self, path: str) -> bool:
        return path in ("", "/", ".") or (path in self._entries and self._entries[path] is None)

    def exists(self, path: str) -> bool:
        return path in self._entries or self.is_folder(path)

    def below(self, path: str) -> list[str]:
        prefix = prefix_of(path)
        return [name for name in self._entries if name.startswith(prefix)]

    def change(self, paths: Iterable[str], apply: Callable[[Entries], None]) -> None:
        """Change names now; durable once the folder of one of the paths is synced."""
        apply(self._entries)
        gives = frozenset(paths)
        folders = frozenset(parent_of(path) for path in gives)
        self._waiting.append(NameChange(folders, gives, gives | folders, apply))

    def sync_names(self, folder: str) -> None:
        """Make the changes in a folder durable, and the earlier ones that they build on."""
        self.syncs += 1
        chosen, later = [], []
        needed: frozenset[str] = frozenset()
        for change in reversed(self._waiting):
            if folder in change.folders or change.gives & needed:
                chosen.append(change)
                needed |= change.needs
            else:
                later.append(change)
        for change in reversed(chosen):
            change.apply(self._durable)
        self._waiting = later[::-1]


def prefix_of(path: str) -> str:
    return path if path in ("", "/") else f"{path}/"


def parent_of(path: str) -> str:
    head, slash, _ = path.rpartition("/")
    return head or slash


class SimulatedTable:
    """Pairs with atomic commits, durable at once: what a catalog promises."""

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk
        self.entries: dict[str, bytes] = {}

    def apply(self, puts: Mapping[str, bytes], deletes: Iterable[str]) -> None:
        fault = self._disk.step("catalog", "commit")
        if fault is not None:
            raise failure("commit", "catalog", fault)
        self._disk.maybe_crash("catalog", "commit")
        entries = self.entries | dict(puts)
        for key in deletes:
            entries.pop(key, None)
        self.entries = entries


def failure(action: str, path: str, kind: FaultKind) -> MilvusException:
    if kind == "eio":
        return StorageError(f"cannot {action} '{path}': Input/output error")
    return DiskLimitExceeded(f"cannot {action} '{path}': No space left on device")
