"""A store of objects whose operations are counted, as Milvus counts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Final, Literal, TypeAlias, TypeVar

from redkite.env import Buffer, Clock, Executor, Names
from redkite.errors import Conflict, ObjectNotFound
from redkite.query.timing import Bins
from redkite.storage.objects import FilePart, ObjectInfo, ObjectStore

T = TypeVar("T")

Kind: TypeAlias = Literal["get", "put", "stat", "walk", "remove", "copy"]
KINDS: Final[tuple[Kind, ...]] = ("get", "put", "stat", "walk", "remove", "copy")


class Operations:
    """Of one kind."""

    __slots__ = ("failed", "lasted", "sizes")

    def __init__(self) -> None:
        self.lasted = Bins()
        """Those that succeeded."""
        self.sizes = Bins()
        """Bytes of what was read or written."""
        self.failed = 0


class CountedObjects:
    """Passes everything on. Safe from any thread, as what is below it.

    That there is no such object, or that somebody else was quicker, is an answer and no failure.
    """

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._now = clock.monotonic
        self._lock = Lock()
        self._counted: dict[Kind, Operations] = {kind: Operations() for kind in KINDS}

    def counted(self) -> Iterator[tuple[Kind, Operations]]:
        """What was done by now; nothing of a kind that was never done."""
        return ((kind, found) for kind, found in self._counted.items() if found.lasted.total or found.failed)

    def _count(self, kind: Kind, work: Callable[[], T], size_of: Callable[[T], int] | None = None) -> T:
        begun = self._now()
        of = self._counted[kind]
        try:
            done = work()
        except (Conflict, ObjectNotFound):
            self._add(of, begun, None)
            raise
        except BaseException:
            with self._lock:
                of.failed += 1
            raise
        self._add(of, begun, None if size_of is None else size_of(done))
        return done

    def _add(self, of: Operations, begun: float, size: int | None) -> None:
        passed = self._now() - begun
        with self._lock:
            of.lasted.add(passed)
            if size is not None:
                of.sizes.put(size)

    # -- writes ---------------------------------------------------------------------------------
    def put(self, name: str, buffers: Sequence[Buffer]) -> ObjectInfo:
        return self._count("put", lambda: self._store.put(name, buffers), _stored)

    def put_if(self, name: str, buffers: Sequence[Buffer], etag: str | None) -> ObjectInfo:
        return self._count("put", lambda: self._store.put_if(name, buffers, etag), _stored)

    def copy(self, name: str, target: str, *, share: bool = True) -> None:
        self._count("copy", lambda: self._store.copy(name, target, share=share))

    def delete(self, name: str) -> None:
        self._count("remove", lambda: self._store.delete(name))

    def delete_prefix(self, prefix: str) -> None:
        self._count("remove", lambda: self._store.delete_prefix(prefix))

    # -- reads ----------------------------------------------------------------------------------
    def get(self, name: str) -> bytes:
        return self._count("get", lambda: self._store.get(name), len)

    def map(self, name: str) -> memoryview:
        return self._count("get", lambda: self._store.map(name), _mapped)

    def info(self, name: str) -> ObjectInfo:
        return self._count("stat", lambda: self._store.info(name))

    def size(self, name: str) -> int:
        return self._count("stat", lambda: self._store.size(name))

    def exists(self, name: str) -> bool:
        return self._count("stat", lambda: self._store.exists(name))

    def list(self, prefix: str = "") -> Names:
        return self._count("walk", lambda: self._store.list(prefix))

    # -- what is no operation of its own ----------------------------------------------------------
    def verify(self, name: str, size: int, crc32: int) -> None:
        self._store.verify(name, size, crc32)

    def verify_parts(self, name: str, size: int, parts: Sequence[FilePart]) -> None:
        self._store.verify_parts(name, size, parts)

    def vouch(self, name: str, size: int, crc32: int) -> None:
        self._store.vouch(name, size, crc32)

    @property
    def background(self) -> Executor | None:
        return self._store.background

    def local_path(self, name: str) -> str | None:
        return self._store.local_path(name)


def _stored(info: ObjectInfo) -> int:
    return info.size


def _mapped(data: memoryview) -> int:
    return data.nbytes
