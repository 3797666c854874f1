"""Groups of consumers of one topic."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Protocol

from redkite.errors import InvalidParameter
from redkite.storage.log import EARLIEST, LATEST, MIB, At, LogRecord


class Grouped(Protocol):
    """A topic, as its groups see it."""

    @property
    def start(self) -> int: ...

    @property
    def end(self) -> int: ...

    def read(self, position: int = 0) -> Iterator[LogRecord]: ...

    def acknowledged_by(self, name: str) -> int: ...

    def move_group(self, name: str, position: int, *, forward_only: bool = False) -> None: ...


class LocalGroup:
    """A group of a topic, which keeps where it is."""

    def __init__(self, topic: Grouped, name: str, position: int) -> None:
        self.name = name
        self._topic = topic
        self._lock = threading.Lock()
        self._position = position

    @property
    def position(self) -> int:
        return self._position

    @property
    def acknowledged(self) -> int:
        return self._topic.acknowledged_by(self.name)

    def poll(self, max_records: int = 1_000, max_bytes: int = 16 * MIB) -> list[LogRecord]:
        if max_records < 1:
            raise InvalidParameter(f"max_records must be at least 1, not {max_records}")
        found: list[LogRecord] = []
        room = max_bytes
        with self._lock:
            for record in self._topic.read(self._position):
                room -= record.payload.nbytes
                if found and room < 0:
                    break
                found.append(record)
                if len(found) == max_records:
                    break
            if found:
                self._position = found[-1].position + 1
        return found

    def acknowledge(self, position: int) -> None:
        if not 0 <= position < self._topic.end:
            raise InvalidParameter(f"cannot acknowledge {position}: the log ends at {self._topic.end}")
        with self._lock:
            self._topic.move_group(self.name, position + 1, forward_only=True)
            self._position = max(self._position, position + 1)

    def seek(self, at: At) -> None:
        with self._lock:
            position = resolve(self._topic, at)
            self._topic.move_group(self.name, position)
            self._position = position


def resolve(topic: Grouped, at: At) -> int:
    """The position that is meant. Raises InvalidParameter when it lies outside of the topic."""
    if at in (EARLIEST, LATEST):
        return topic.start if at == EARLIEST else topic.end
    if not isinstance(at, int) or not 0 <= at <= topic.end:
        raise InvalidParameter(
            f"a group cannot be at {at!r}: expected '{EARLIEST}', '{LATEST}' or a position from 0 to {topic.end}"
        )
    return max(at, topic.start)
