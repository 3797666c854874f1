"""Who is alive, who leads: keys that last as long as the process that put them holds its lease."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from redkite.errors import StorageError


class Fence(NamedTuple):
    """A key that must be the one created at a revision, as the key of a leader is: else nothing is committed."""

    key: bytes
    revision: int


class Fenced(StorageError):
    """Somebody else leads since. This process must not decide anything any more."""

    default_code = 2

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message, code)


class Lease(Protocol):
    """A promise to be alive, renewed in the background. Its keys go with it."""

    number: int
    """What the store calls it."""

    @property
    def is_held(self) -> bool:
        """Judged by this process's own clock from when it last asked, so never true when somebody else may have been
        given what depends on it."""
        ...

    @property
    def held_until(self) -> float:
        """Until when it is held, if it is not renewed, by this process's monotonic clock. One that was lost: until when
        it was certainly held."""
        ...

    def when_lost(self, tell: Callable[[], None]) -> None:
        """Called once, from any thread, when the lease is known to be lost; at once if it is. Not after `close`."""
        ...

    def close(self) -> None:
        """Give it up: its keys are gone when this returns, if anybody can be reached, and soon if not."""
        ...


class Watched(Protocol):
    def close(self) -> None:
        """Nothing is told when this has returned, unless it is called from what is told."""
        ...


class Coordination(Protocol):
    """Every method may be called from any thread. Keys are text, as `nodes/query/3`."""

    def lease(self, seconds: float) -> Lease:
        """Raises Unavailable when nobody gives one."""
        ...

    def claim(self, key: str, value: bytes, lease: Lease) -> int | None:
        """Put a key that is not there; None when it is. The number grows with each claim of the key: a term."""
        ...

    def fence(self, key: str, term: int) -> Fence:
        """What holds as long as the key is the one of that claim."""
        ...

    def put(self, key: str, value: bytes, lease: Lease) -> None: ...

    def remove(self, key: str) -> None:
        """Missing is not an error."""
        ...

    def present(self, prefix: str) -> dict[str, bytes]:
        """What is there now."""
        ...

    def watch(self, prefix: str, tell: Callable[[Mapping[str, bytes]], None]) -> Watched:
        """Call `tell` with what is there, soon, and whenever it changes: always the whole, newest state, from one
        thread. States that lasted shortly may be left out."""
        ...
