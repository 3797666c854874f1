"""The log: topics of ordered records. What is acknowledged here is what the database remembers.

This is what a log on this machine and one on many (Kafka, Pulsar) can both keep. So positions increase but need not be
dense, acknowledging is of everything up to a position, and a record is delivered to a group again when its consumer
went away before acknowledging it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from redkite.env import Buffer

EARLIEST: Final = "earliest"
"""The first record that is still kept."""
LATEST: Final = "latest"
"""Behind the last durable record."""
At = int | Literal["earliest", "latest"]

MIB = 1 << 20


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much a log keeps, and how much may wait to be written."""

    page_bytes: int = 64 * MIB
    """A topic is kept in pages (files); a new one is begun when the last is this large. Whole pages are forgotten."""
    retention_bytes: int = -1
    """Of pages that nobody wants any more, keep at most so many bytes of each topic."""
    retention_seconds: float = -1
    """Keep a page at most this long after nobody wants it any more. With both at -1 it goes at once."""
    queue_bytes: int = 256 * MIB
    """Bytes of appends that may wait to be durable, over all topics. Further appends wait, …"""
    queue_seconds: float = 10.0
    """… and after this long get an error."""

    def within(self, limit: int) -> LogSettings:
        """The same where the queue must not take more than an eighth of so many bytes of memory (0: of any number)."""
        return msgspec.structs.replace(self, queue_bytes=min(self.queue_bytes, limit // 8)) if limit else self


class LogRecord(NamedTuple):
    position: int
    """A later record of the topic has a larger one. `position + 1` stands for everything behind this record."""
    payload: memoryview
    """The record's bytes, read-only, checked against their checksum."""


class Room(Protocol):
    """Room that a log keeps for records to come."""

    def give_back(self) -> None:
        """What was not used; nothing the second time."""
        ...


class Group(Protocol):
    """Consumers that share the records of a topic. Where they are is remembered; other groups know nothing of it.

    A record counts as consumed when it is acknowledged. After a restart `poll` goes on behind the last acknowledged
    record: each record is delivered at least once. Every method may be called from any thread; of records polled by
    several threads at once each goes to one of them.
    """

    @property
    def name(self) -> str: ...

    @property
    def position(self) -> int:
        """`poll` goes on here."""
        ...

    @property
    def acknowledged(self) -> int:
        """Everything before this position is acknowledged, durably."""
        ...

    def poll(self, max_records: int = 1_000, max_bytes: int = 16 * MIB) -> list[LogRecord]:
        """The next records, in order; none when all were delivered. A single record may be longer than `max_bytes`."""
        ...

    def acknowledge(self, position: int) -> None:
        """The record at `position` and all before it are consumed, and `poll` gives none of them again. Durable when it
        returns; never goes backwards."""
        ...

    def seek(self, at: At) -> None:
        """Go on at another position: what comes before it counts as acknowledged, nothing from it on does. Durable
        when it returns. A position that is kept no more stands for the first one that is."""
        ...


class Topic(Protocol):
    """One ordered sequence of records. Every method may be called from any thread."""

    @property
    def end(self) -> int:
        """The position behind the last durable record."""
        ...

    @property
    def start(self) -> int:
        """The first position still kept; equals `end` when nothing is."""
        ...

    @property
    def unapplied(self) -> str:
        """Why a durable record was not applied, if so. Nothing is written until whoever applies has caught up with the
        log, and says so by `resume`."""
        ...

    def resume(self) -> None: ...

    def append(
        self,
        buffers: Sequence[Buffer],
        on_durable: Callable[[int], None] | None = None,
        answer: Callable[[], Any] | None = None,
        room: Room | None = None,
    ) -> Future[Any]:
        """Append one record made of the buffers, in order; the future gives its position once it is durable, or what
        `answer` returns when it is asked then. Nobody need write it before the future is waited for.

        The buffers are not copied and must not change until the future is done. `on_durable(position)` is called
        in log order, never twice at once for one topic, before the future is done: a waiter that is woken sees its
        effect. After an exception in it nothing more is written until `resume`: what is behind may build on what was
        not applied. Records of appends that failed are never acknowledged, but may be found after a restart. The future
        cannot be cancelled.

        When too much waits to be written, the call waits, and raises RateLimited if that does not help in time;
        called from `on_durable` it never waits. With `room`, which `Log.reserve` gave for a record of this topic that
        is not shorter, it does neither, and what is known beforehand to have no place on the disk was refused there.
        """
        ...

    def read(self, position: int = 0) -> Iterator[LogRecord]:
        """The records from `position` (or `start`, if that is later) that are durable at the time of the call."""
        ...

    def refresh(self) -> int:
        """Look for what another process has appended since, or forgotten; returns `end`. The process that writes the
        log knows without looking."""
        ...

    def truncate(self, position: int) -> None:
        """Records before `position` are not needed for recovery any more. They go when every group has acknowledged
        them, too, and retention does not keep them longer; how many have gone is seen in `start`. Durable when it
        returns."""
        ...

    def group(self, name: str, at: At = EARLIEST) -> Group:
        """The group of that name; one that does not exist is created at `at`, durably. The same object each time."""
        ...

    def groups(self) -> list[str]:
        """Names of the groups, sorted. Each of them keeps what it has not acknowledged from being forgotten."""
        ...

    def drop_group(self, name: str) -> None:
        """Forget a group, durably. Missing is not an error."""
        ...

    def close(self) -> None:
        """Wait for the appends under way, then give back the file."""
        ...


class Log(Protocol):
    def topic(self, name: str) -> Topic:
        """The topic of that name, created at its first append. Each call gives the same object until it is closed."""
        ...

    def reserve(self, wanted: Mapping[str, int]) -> Room:
        """Room for one record of so many bytes in each of these topics, or in none of them: raises RateLimited,
        DiskLimitExceeded, ParameterTooLarge, and StorageError for a topic that takes no writes. Nobody else appends to
        them until the records that it is for have been appended, or it is given back."""
        ...

    def topics(self) -> list[str]:
        """Names of the topics that hold or held records, sorted."""
        ...

    def drop(self, name: str) -> None:
        """Forget a topic, its records and its groups, durably. Missing is not an error."""
        ...

    def close(self) -> None: ...
