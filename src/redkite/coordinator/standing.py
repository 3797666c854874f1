"""What this cluster is among clusters, and whether anything may be changed here: what the catalog says of it, and which
changes are under way in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

import msgspec

from redkite.env import Tasks
from redkite.errors import Conflict, Corruption, StandbyMode, Unavailable
from redkite.model.decoding import from_msgpack
from redkite.model.replication import Checkpoint, ReplicateConfiguration
from redkite.storage.change_notes import ChangeNotes

STATE: Final = "replication/state"
"""The catalog's key."""
_TRIES: Final = 20


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered, in the catalog."""

    configuration: ReplicateConfiguration = ReplicateConfiguration()
    source: str = ""
    """Whom this follows; empty: it is a primary."""
    position: str = ""
    """How far, in the source's feed."""
    timestamp: int = 0
    salvage: Checkpoint | None = None
    frozen: str = ""
    """Why nothing may be written, if so."""
    handed_over_by: str = ""
    """The former source, which has exactly what was here when it stepped back."""
    stepped_back: str = ""
    """The former target, which is to hear everything that was written here before it is the primary."""

    @property
    def refusal(self) -> str:
        """Why nothing may be changed; empty: it may."""
        if self.frozen or not self.source:
            return self.frozen
        return f"this cluster follows '{self.source}', and takes what is written there"


class Standing:
    """Each process of a cluster has one, and each sees in the catalog what another has said. Safe from any thread."""

    def __init__(self, tasks: Tasks, catalog: ChangeNotes) -> None:
        self._tasks = tasks
        self._catalog = catalog
        self._lock = Lock()
        self._known: tuple[bytes | None, State] | None = None
        """What the catalog had when it was read last, or when this process changed it."""
        self._running = 0
        """Changes under way."""
        self._idle: Future[None] | None = None
        self.elsewhere: Callable[[float], None] | None = None
        """Waits for the changes under way in other processes of this cluster, so many seconds. Raises Unavailable."""

    # -- what is said ---------------------------------------------------------------------------
    @property
    def state(self) -> State:
        return self._read()[1]

    def _read(self) -> tuple[bytes | None, State]:
        known = self._known
        if known is not None and not self._catalog.is_followed:
            return known
        raw = self._catalog.get(STATE)
        if known is None or raw != known[0]:
            self._known = known = (raw, State() if raw is None else _decoded(raw))
        return known

    def save(self, **fields: Any) -> State:
        """Change some of it, durably; of two who change the same at once, the later one wins."""
        for _ in range(_TRIES):
            raw, state = self._read()
            made = msgspec.structs.replace(state, **fields)
            data = msgspec.msgpack.encode(made)
            try:
                self._catalog.commit({STATE: data}, expect={STATE: raw})
            except Conflict:
                self._known = None
                continue
            self._known = (data, made)
            return made
        raise Conflict("what this cluster is among clusters is changed by too many at once")

    # -- what is under way ----------------------------------------------------------------------
    def begin(self) -> None:
        """A change begins, and `end` says when it is over. Raises StandbyMode where nothing may be changed."""
        with self._lock:
            refusal = self.state.refusal
            if refusal:
                raise StandbyMode(f"replicate violation: can't operate on the collection under standby mode: {refusal}")
            self._running += 1

    def end(self) -> None:
        with self._lock:
            self._running -= 1
            idle = None if self._running else self._idle
            if idle is not None:
                self._idle = None
        if idle is not None:
            idle.set_result(None)

    @contextmanager
    def change(self) -> Iterator[None]:
        """Of what nobody asks for at that moment: rows of an import, say. Raises StandbyMode."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def quiet(self) -> Future[None]:
        """Done when no change is under way in this process. Where none may begin, none is from then on."""
        with self._lock:
            if self._running:
                self._idle = self._idle or self._tasks.future()
                return self._idle
        done: Future[None] = self._tasks.future()
        done.set_result(None)
        return done

    def stand_still(self, seconds: float) -> None:
        """Wait until no change is under way anywhere. None may begin any more: the catalog says so. Raises
        Unavailable."""
        try:
            self.quiet().result(seconds)
        except TimeoutError:
            raise Unavailable(f"{self._running} changes under way have not ended in {seconds:g} s") from None
        if self.elsewhere is not None:
            self.elsewhere(seconds)


def _decoded(raw: bytes) -> State:
    try:
        return from_msgpack(raw, State)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"the catalog's entry {STATE} cannot be read: {error}") from error
