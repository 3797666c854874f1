"""Which loads may go on, and which wait for the others?

Loads of high priority run where they were asked for, any number at once. Those of low priority run one after another,
in the order in which they came, and only while no other is running; one that has begun stands back at each shard.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock

from redkite.env import Env, Executor
from redkite.errors import MilvusException, Unavailable
from redkite.logs import get_logger

log = get_logger(__name__)


class _Waiting:
    """One load that is not done: of some partitions, or of all (None)."""

    __slots__ = ("partitions",)

    def __init__(self, partitions: Collection[int] | None) -> None:
        self.partitions = partitions


class LoadQueue:
    """Safe from any thread. Collections are named by their ids."""

    def __init__(self, env: Env) -> None:
        self._tasks = env.tasks
        self._lock = Lock()
        self._beginning = Lock()
        """Held while a load begins, and while loads are taken back: either comes wholly before the other."""
        self._due: _Waiting | None = None
        """The one whose turn it is."""
        self._running = 0
        self._free: Future[None] | None = None
        """Ends when no load of high priority is running; None while none is."""
        self._waiting: dict[int, list[_Waiting]] = {}
        """The loads of each collection that are not done."""
        self._failed: dict[int, MilvusException] = {}
        self._worker: Executor | None = None
        self._closing = False

    @contextmanager
    def ahead(self) -> Iterator[None]:
        """While it lasts, loads of low priority wait."""
        with self._lock:
            self._running += 1
            if self._free is None:
                self._free = self._tasks.future()
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                free = self._free if not self._running else None
                if free is not None:
                    self._free = None
            if free is not None:
                free.set_result(None)

    def stand_back(self) -> None:
        """Wait until no load of high priority is running. Raises Unavailable when the database is closed meanwhile."""
        while True:
            with self._lock:
                free = self._free
            if self._closing:
                raise Unavailable("the database was closed before the collection was loaded")
            if free is None:
                return
            free.result()

    def put(self, collection_id: int, partitions: Collection[int] | None, load: Callable[[], object]) -> None:
        """Have a collection, or some of its partitions, loaded when its turn comes."""
        waiting = _Waiting(partitions)
        with self._lock:
            if self._closing:
                raise Unavailable("the database is closed")
            self._failed.pop(collection_id, None)
            self._waiting.setdefault(collection_id, []).append(waiting)
            if self._worker is None:
                self._worker = self._tasks.executor("loads of low priority", 1)
            worker = self._worker
        worker.submit(self._run, collection_id, waiting, load)

    def _run(self, collection_id: int, waiting: _Waiting, load: Callable[[], object]) -> None:
        try:
            self.stand_back()
            self._due = waiting
            if waiting in self._waiting.get(collection_id, ()):
                load()
        except MilvusException as error:
            log.warning("collection %d could not be loaded: %s", collection_id, error.message)
            with self._lock:
                self._failed[collection_id] = error
        except Exception as error:  # whatever it is, it is what those hear who ask
            log.exception("collection %d could not be loaded", collection_id)
            with self._lock:
                self._failed[collection_id] = Unavailable(f"the collection could not be loaded: {error!r}")
        finally:
            self._due = None
            with self._lock:
                left = [one for one in self._waiting.pop(collection_id, ()) if one is not waiting]
                if left:
                    self._waiting[collection_id] = left

    def begin(self, collection_id: int, load: Callable[[Collection[int] | None], object]) -> bool:
        """Have the load whose turn it is begin, with the partitions that it is of by now. False: it is not wanted any
        more."""
        with self._beginning:
            due = self._due
            if due is None or due not in self._waiting.get(collection_id, ()):
                return False
            load(due.partitions)
            return True

    def forget(self, collection_id: int) -> None:
        """Loads of a collection that have not begun are not wanted any more."""
        with self._beginning, self._lock:
            self._waiting.pop(collection_id, None)
            self._failed.pop(collection_id, None)

    def forget_some(self, collection_id: int, gone: Collection[int], existing: Collection[int]) -> None:
        """The same for these partitions; `existing` are all that the collection has."""
        with self._beginning, self._lock:
            left = self._waiting.pop(collection_id, [])
            for one in left:
                of = existing if one.partitions is None else one.partitions
                one.partitions = [partition for partition in of if partition not in gone]
            left = [one for one in left if one.partitions]
            if left:
                self._waiting[collection_id] = left

    def waits(self, collection_id: int, partition: int | None = None) -> bool:
        """Whether a partition of a collection, or anything of it (None), is still to be loaded."""
        return any(
            partition is None or one.partitions is None or partition in one.partitions
            for one in self._waiting.get(collection_id, ())
        )

    def failure(self, collection_id: int) -> MilvusException | None:
        """Why the last such load of a collection came to nothing."""
        return self._failed.get(collection_id)

    def close(self) -> None:
        """Loads that have not begun are given up."""
        with self._lock:
            self._closing = True
            self._waiting.clear()
            free, self._free = self._free, None
            worker = self._worker
        if free is not None:
            free.set_result(None)
        if worker is not None:
            worker.shutdown(wait=True)
