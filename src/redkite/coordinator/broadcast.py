"""Changes that concern many: done by one coordinator, or by the next one, and never by half.

A change takes the keys of what it is about, shared or alone, so that what excludes another waits for it. The commit
that decides it carries a task: what everybody concerned has to be told, or has to do. When all of them have
acknowledged it, channel by channel, the task is gone. A coordinator that dies in between leaves the task in the
catalog; whoever leads next carries it out before it decides anything. So a change has not happened at all, or it is
carried out everywhere, however often that is tried: what is done for a task may be done twice.

The same commit says which request was decided, for as long as whoever made it may make it again: then it is not decided
twice, and not called impossible because it has happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Final, TypeVar

import msgspec

from redkite.coordinator.meta import Meta
from redkite.env import Clock, Env, Tasks, away
from redkite.errors import Corruption, MilvusException, Unavailable
from redkite.logs import get_logger
from redkite.model.segments import IndexMeta
from redkite.storage.catalog import Catalog
from redkite.storage.coordination import Fenced

log = get_logger(__name__)
T = TypeVar("T")

_TASKS: Final = "broadcast/"
_REQUESTS: Final = "decided/"
REMEMBER_MS: Final = 300_000
"""How long it is known of a request that it was decided."""
_DECIDES: Final = ("root/", "index/", "load/", "access/")
"""A commit that changes one of these decides; others (ids, jobs) do not."""
LOCK_SECONDS: Final = 60.0
_FORGET_AT_ONCE: Final = 64
_LONG_WAIT: Final = 1.0
"""A change that waits longer for a key is logged."""


# -- locks --------------------------------------------------------------------------------------
class Key(msgspec.Struct, frozen=True, order=True):
    """Something that a change is about."""

    name: str
    """As `collection/447`; what is before the first `/` is its kind."""
    alone: bool = False
    """Nobody else may have it meanwhile. Else others may who share it."""

    @property
    def kind(self) -> str:
        return self.name.partition("/")[0]


class Waits(msgspec.Struct, frozen=True):
    """How long changes waited for keys of one kind."""

    taken: int = 0
    waited: int = 0
    """So many of those had to wait."""
    seconds: float = 0.0
    """Together."""
    longest: float = 0.0

    def and_one(self, seconds: float) -> Waits:
        return Waits(self.taken + 1, self.waited + (seconds > 0), self.seconds + seconds, max(self.longest, seconds))


class _Held:
    """One key: who has it, and who waits, first come first."""

    __slots__ = ("alone", "shared", "waiting")

    def __init__(self) -> None:
        self.shared = 0
        self.alone = False
        self.waiting: deque[tuple[bool, Future[None]]] = deque()

    def has_room(self, alone: bool) -> bool:
        return not self.alone and not (alone and self.shared)

    def take(self, alone: bool) -> None:
        if alone:
            self.alone = True
        else:
            self.shared += 1

    def leave(self, alone: bool) -> None:
        if alone:
            self.alone = False
        else:
            self.shared -= 1


class ResourceLocks:
    """Keys that are had shared or alone. Who comes first is served first, so nobody waits for ever. Safe from any
    thread."""

    def __init__(self, tasks: Tasks, clock: Clock) -> None:
        self._tasks, self._clock = tasks, clock
        self._lock = Lock()
        self._held: dict[str, _Held] = {}
        self._waits: dict[str, Waits] = {}

    @property
    def waits(self) -> dict[str, Waits]:
        """By kinds of keys."""
        return dict(self._waits)

    @contextmanager
    def holding(self, keys: Iterable[Key], seconds: float = LOCK_SECONDS) -> Iterator[None]:
        """Have all these keys. Raises Unavailable when others have one for so long."""
        taken: list[Key] = []
        try:
            for key in _merged(keys):  # in one order for everybody: nobody waits for one who waits for them
                self._take(key, seconds)
                taken.append(key)
            yield
        finally:
            for key in reversed(taken):
                self._leave(key)

    def _take(self, key: Key, seconds: float) -> None:
        with self._lock:
            held = self._held.setdefault(key.name, _Held())
            if not held.waiting and held.has_room(key.alone):
                held.take(key.alone)
                self._note(key, 0.0)
                return
            turn: Future[None] = self._tasks.future()
            held.waiting.append((key.alone, turn))
        since = self._clock.monotonic()
        try:
            with away():
                turn.result(seconds)
        except TimeoutError:
            with self._lock:
                was_late = (key.alone, turn) in held.waiting
                if was_late:
                    held.waiting.remove((key.alone, turn))
                ready = self._wake(key.name, held)
            for other in ready:
                other.set_result(None)
            if was_late:
                raise Unavailable(f"another change of '{key.name}' takes longer than {seconds:g} s") from None
        with self._lock:
            self._note(key, self._clock.monotonic() - since)

    def _leave(self, key: Key) -> None:
        with self._lock:
            held = self._held[key.name]
            held.leave(key.alone)
            ready = self._wake(key.name, held)
        for turn in ready:
            turn.set_result(None)

    def _wake(self, name: str, held: _Held) -> list[Future[None]]:
        """Give the key to whoever comes next; they are told outside of the lock."""
        ready = []
        while held.waiting and held.has_room(held.waiting[0][0]):
            alone, turn = held.waiting.popleft()
            held.take(alone)
            ready.append(turn)
        if not held.waiting and not held.alone and not held.shared:
            self._held.pop(name, None)
        return ready

    def _note(self, key: Key, seconds: float) -> None:
        self._waits[key.kind] = self._waits.get(key.kind, Waits()).and_one(seconds)
        if seconds > _LONG_WAIT:
            log.info("a change waited %.1f s for '%s'", seconds, key.name)


def _merged(keys: Iterable[Key]) -> list[Key]:
    """Each name once, sorted: alone where it is wanted alone anywhere."""
    wanted: dict[str, bool] = {}
    for key in keys:
        wanted[key.name] = wanted.get(key.name, False) or key.alone
    return [Key(name, alone) for name, alone in sorted(wanted.items())]


# -- tasks --------------------------------------------------------------------------------------
class DropData(Meta, frozen=True, kw_only=True, tag="drop data"):
    """A collection is gone: forget everything of it."""

    collection_id: int
    channels: tuple[str, ...]


class DropPartitionRows(Meta, frozen=True, kw_only=True, tag="drop partition"):
    collection_id: int
    partition_id: int


class TruncateTo(Meta, frozen=True, kw_only=True, tag="truncate"):
    """Drop every row up to a timestamp."""

    collection_id: int
    timestamp: int


class DropIndexFiles(Meta, frozen=True, kw_only=True, tag="drop index"):
    index: IndexMeta


class Follow(Meta, frozen=True, kw_only=True, tag="follow"):
    """A collection has changed: its fields, its partitions, its indexes."""

    collection_id: int


def collection_of(work: Work) -> int:
    """The collection that a task is about."""
    return work.index.collection_id if isinstance(work, DropIndexFiles) else work.collection_id


def collection_key(collection_id: int, *, alone: bool) -> Key:
    return Key(f"collection/{collection_id}", alone)


Work = DropData | DropPartitionRows | TruncateTo | DropIndexFiles | Follow


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is decided, and that not everybody concerned has acknowledged."""

    task_id: int
    created_ms: int
    work: Work
    acknowledged: tuple[str, ...] = ()
    """Channels that have done their part, as far as it was noted: they are not asked again."""

    @property
    def key(self) -> str:
        return f"{_TASKS}{self.task_id}"


class Acknowledged:
    """Which of the channels that a task concerns have done their part."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.channels = set(known)

    def each(self, channels: Iterable[str], act: Callable[[str], object]) -> None:
        """Have each of them do it that has not. Where one cannot, the others do all the same, and its error is raised
        in the end."""
        failed: MilvusException | None = None
        for channel in channels:
            if channel in self.channels:
                continue
            try:
                act(channel)
            except Fenced:
                raise
            except MilvusException as error:
                failed = failed or error
            else:
                self.channels.add(channel)
        if failed is not None:
            raise failed


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Task).decode


def read_tasks(catalog: Catalog) -> list[Task]:
    """Those that are not carried out yet, the oldest first."""
    try:
        tasks = [_decode(value) for _, value in catalog.scan(_TASKS)]
    except msgspec.MsgspecError as error:
        raise Corruption(f"the catalog's entries under {_TASKS} cannot be read: {error}") from error
    return sorted(tasks, key=lambda task: task.task_id)


class _Pending:
    """What waits for the commit that decides: tasks, and the mark of the request."""

    __slots__ = ("commit", "is_decided", "marks")

    def __init__(self, marks: dict[str, bytes], commit: Callable[[Mapping[str, bytes]], None]) -> None:
        self.marks = marks
        self.commit = commit
        self.is_decided = False


_PENDING: ContextVar[_Pending | None] = ContextVar("redkite_pending_task", default=None)


def with_task(puts: Mapping[str, bytes], deletes: Iterable[str]) -> Mapping[str, bytes]:
    """What a commit puts, and the task of the change that is under way in this thread if the commit decides it. Call
    `decided` when it is committed."""
    pending = _PENDING.get()
    if pending is None or pending.is_decided or not any(key.startswith(_DECIDES) for key in (*puts, *deletes)):
        return puts
    return {**puts, **pending.marks}


def decided(puts: Mapping[str, bytes]) -> None:
    """These were committed, or may have been."""
    pending = _PENDING.get()
    if pending is not None and any(key in puts for key in pending.marks):
        pending.is_decided = True


def decide() -> None:
    """The change that is under way in this thread is decided here, by no other commit. Nothing where changes are not
    broadcast."""
    pending = _PENDING.get()
    if pending is not None and not pending.is_decided and pending.marks:
        pending.commit(pending.marks)
        pending.is_decided = True


class Broadcaster:
    """Carries out changes. Safe from any thread."""

    def __init__(
        self,
        env: Env,
        catalog: Catalog,
        allocate_id: Callable[[], int],
        carry_out: Callable[[Work, Acknowledged], None],
    ) -> None:
        """`catalog` adds tasks to the commits that decide (`with_task`). `carry_out` has everybody concerned do their
        part who has not, and returns when all have."""
        self._clock = env.clock
        self._catalog, self._allocate_id = catalog, allocate_id
        self._carry_out = carry_out
        self.locks = ResourceLocks(env.tasks, env.clock)
        self._taking = Lock()
        self._mine: set[int] = set()
        """Tasks that are being carried out here."""

    def change(
        self,
        keys: Iterable[Key],
        work: Callable[[], Iterable[Work]],
        act: Callable[[], T],
        request: int = 0,
        again: Callable[[], T] | None = None,
    ) -> T:
        """Decide and carry out a change. `work`: what is to be done when it is decided, asked for once the keys are
        had. `act` decides it by a commit, or by `decide`, and carries it out as well: what it leaves undone is left to
        `resume`. `request`: a number that nobody else's has; one that was decided before is answered by `again`."""
        keys = list(keys)
        with self.locks.holding(keys):
            self._check_finished(keys)
            if again is not None and self._catalog.get(f"{_REQUESTS}{request}") is not None:
                return again()
            now = self._clock.now_ms()
            tasks = [Task(task_id=self._allocate_id(), created_ms=now, work=one) for one in work()]
            marks = {task.key: _encode(task) for task in tasks}
            if again is not None:
                marks[f"{_REQUESTS}{request}"] = b"%d" % now
            pending = _Pending(marks, self._catalog.commit)
            self._mine.update(task.task_id for task in tasks)
            token = _PENDING.set(pending)
            try:
                result = act()
            finally:
                _PENDING.reset(token)
                self._mine.difference_update(task.task_id for task in tasks)
            if pending.is_decided:
                self._acknowledged(tasks)
            return result

    def forget_requests(self) -> None:
        """Of those that were decided so long ago that nobody makes them again."""
        oldest = self._clock.now_ms() - REMEMBER_MS
        gone = [key for key, data in self._catalog.scan(_REQUESTS) if int(data) < oldest]
        if gone:
            self._catalog.commit({}, gone[:_FORGET_AT_ONCE])

    def _acknowledged(self, tasks: Iterable[Task]) -> None:
        """All concerned have done their part."""
        try:
            self._catalog.commit({}, [task.key for task in tasks])
        except Fenced:
            raise
        except MilvusException as error:
            log.warning("a task that is carried out stays for now: %s", error.message)

    def _go_on_with(self, task: Task) -> None:
        """Carry out what is left of a task, and note who has done it."""
        acknowledged = Acknowledged(task.acknowledged)
        try:
            self._carry_out(task.work, acknowledged)
        except MilvusException:
            if acknowledged.channels != set(task.acknowledged):
                noted = msgspec.structs.replace(task, acknowledged=tuple(sorted(acknowledged.channels)))
                self._catalog.commit({task.key: _encode(noted)})
            raise
        self._acknowledged([task])

    @property
    def waiting(self) -> list[Task]:
        """Tasks that were left undone."""
        return [task for task in read_tasks(self._catalog) if task.task_id not in self._mine]

    def finish_earlier(self, collection_id: int) -> None:
        """Have nothing left undone of a collection, if that can be. Not while keys are held."""
        if any(collection_of(task.work) == collection_id for task in self.waiting):
            self.resume(collection_id)

    def _check_finished(self, keys: Iterable[Key]) -> None:
        """Raises Unavailable when an earlier change of what is held cannot be carried out now."""
        names = {key.name for key in keys}
        for task in self.waiting:
            if collection_key(collection_of(task.work), alone=True).name in names:
                raise Unavailable(
                    f"an earlier change of collection {collection_of(task.work)} is decided and cannot be carried out "
                    "yet: some of the nodes concerned do not answer"
                )

    def resume(self, collection_id: int | None = None) -> int:
        """Carry out what was left undone, by this coordinator or one before it, in the order of the decisions; of one
        collection, or of all. How many tasks are still to be carried out."""
        blocked: set[int] = set()
        for task in self.waiting:
            concerned = collection_of(task.work)
            if concerned in blocked or collection_id not in (None, concerned):
                continue  # what comes later of a collection waits for what came before
            with self._taking:
                if task.task_id in self._mine:
                    blocked.add(concerned)
                    continue
                self._mine.add(task.task_id)
            try:
                with self.locks.holding([collection_key(concerned, alone=True)]):
                    if self._catalog.get(task.key) is not None:
                        self._go_on_with(task)
            except Fenced:
                raise
            except MilvusException as error:
                log.warning("task %d could not be carried out yet: %s", task.task_id, error.message)
                blocked.add(concerned)
            finally:
                self._mine.discard(task.task_id)
        return len(self.waiting)
