"""The log: topics of ordered records. What is acknowledged here is what the database remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from redkite.env import Buffer


class LogRecord(NamedTuple):
    position: int
    """Dense within a topic: the first record ever is 0, the next 1, and so on."""
    payload: memoryview
    """The record's bytes, read-only, checked against their checksum."""


class Topic(Protocol):
    """One ordered sequence of records. Every method may be called from any thread."""

    @property
    def end(self) -> int:
        """The position after the last durable record."""
        ...

    @property
    def start(self) -> int:
        """The first position still kept; equals `end` when nothing is."""
        ...

    def append(self, buffers: Sequence[Buffer], on_durable: Callable[[int], None] | None = None) -> Future[int]:
        """Append one record made of the buffers, in order; the future gives its position once it is durable.

        The buffers are not copied and must not change until the future is done. `on_durable(position)` is called
        in log order, never twice at once for one topic, before the future is done: a waiter that is woken sees its
        effect. An exception in it fails that future only. Records of appends that failed are never acknowledged,
        but may be found after a restart. The future cannot be cancelled.
        """
        ...

    def read(self, position: int = 0) -> Iterator[LogRecord]:
        """The records from `position` (or `start`, if that is later) that are durable at the time of the call."""
        ...

    def truncate(self, position: int) -> None:
        """Records before `position` may be forgotten; how many are is seen in `start`. Durable when it returns."""
        ...

    def close(self) -> None:
        """Wait for the appends under way, then give back the file."""
        ...


class Log(Protocol):
    def topic(self, name: str) -> Topic:
        """The topic of that name, created at its first append. Each call gives the same object until it is closed."""
        ...

    def topics(self) -> list[str]:
        """Names of the topics that hold or held records, sorted."""
        ...

    def drop(self, name: str) -> None:
        """Forget a topic and its records, durably. Missing is not an error."""
        ...

    def close(self) -> None: ...
