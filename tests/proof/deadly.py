"""Points at which a process ends itself with SIGKILL: before, half-way through or after the n-th call of one kind.

rename:after:3:objects      after the third rename of a path that contains `objects`
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable, Sequence
from typing import Any

from redkite.env import AppendFile, Buffer, Env

PLACES = ("log", "objects", "")
CALLS = {
    "write": ("before", "half", "after"),
    "sync": ("before", "after"),
    "write_new": ("before", "half", "after"),
    "rename": ("before", "after"),
    "sync_dir": ("before", "after"),
    "make_dirs": ("before", "after"),
    "remove": ("before", "after"),
    "remove_tree": ("before", "after"),
    "append": ("before", "after"),
    "overwrite": ("before", "half", "after"),
    "commit": ("before", "after"),
}
"""Calls of the file system, and `commit` of the catalog, with the moments at which a process may end."""


def choose(rng: random.Random) -> str:
    """A point: early calls are likelier than late ones."""
    call = rng.choice(list(CALLS))
    place = "" if call == "commit" else rng.choice(PLACES)
    return f"{call}:{rng.choice(CALLS[call])}:{min(int(rng.expovariate(1 / 12)) + 1, 80)}:{place}"


class Death:
    """Counts the calls that match a point and ends the process at the right one."""

    def __init__(self, point: str) -> None:
        self.call, self.moment, number, self.place = point.split(":")
        self._left = int(number)
        self._lock = threading.Lock()

    def due(self, call: str, path: str) -> bool:
        if call != self.call or self.place not in path:
            return False
        with self._lock:
            self._left -= 1
            return self._left == 0

    def around(self, call: str, path: str, act: Callable[[], Any], half: Callable[[], Any] | None = None) -> Any:
        if not self.due(call, path):
            return act()
        if self.moment == "before":
            die()
        if self.moment == "half" and half is not None:
            half()
            die()
        result = act()
        die()
        return result


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def half_of(buffers: Sequence[Buffer]) -> list[bytes]:
    whole = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
    return [whole[: len(whole) // 2]]


class DeadlyFiles:
    """The file system of an `Env`; calls that no point names pass through."""

    def __init__(self, files: Any, death: Death) -> None:
        self._files = files
        self._death = death

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._files, name)
        if name not in CALLS:
            return call
        death = self._death

        def guarded(path: str, *arguments: Any, **options: Any) -> Any:
            half = None
            if name == "write_new":
                half = lambda: call(path, half_of(arguments[0]))
            if name == "overwrite":
                half = lambda: call(path, arguments[0][: len(arguments[0]) // 2])
            made = death.around(name, path, lambda: call(path, *arguments, **options), half)
            return DeadlyFile(path, made, death) if name == "append" else made

        return guarded


class DeadlyFile:
    """A file that grows."""

    def __init__(self, path: str, file: AppendFile, death: Death) -> None:
        self._path = path
        self._file = file
        self._death = death

    def write(self, buffers: Sequence[Buffer]) -> Any:
        half = lambda: self._file.write(half_of(buffers))
        return self._death.around("write", self._path, lambda: self._file.write(buffers), half)

    def sync(self) -> None:
        self._death.around("sync", self._path, self._file.sync)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def env(point: str) -> Env:
    """The real world, with one deadly point in it."""
    from redkite.storage.sqlite_catalog import SqliteCatalog

    real = Env.real()
    death = Death(point)
    commit = SqliteCatalog.commit

    def guarded(self: SqliteCatalog, *arguments: Any, **options: Any) -> None:
        death.around("commit", "catalog", lambda: commit(self, *arguments, **options))

    SqliteCatalog.commit = guarded  # type: ignore[method-assign]
    files: Any = DeadlyFiles(real.files, death)
    return Env(clock=real.clock, random=real.random, files=files, tasks=real.tasks)
