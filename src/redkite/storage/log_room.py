"""Room for records that belong together, taken for all of them before the first is appended."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final, Protocol

from redkite.errors import ParameterTooLarge
from redkite.storage.log_backlog import Backlog, Place
from redkite.storage.log_writer import MAX_RECORD_BYTES

APPEND_BYTES: Final = 64
"""What an append costs in memory beside its payload, roughly."""


def check_length(length: int) -> None:
    if length > MAX_RECORD_BYTES:
        raise ParameterTooLarge(f"a log record of {length} bytes exceeds {MAX_RECORD_BYTES}")


class Keeping(Protocol):
    """A topic, as far as it keeps room."""

    def keep_room(self, length: int) -> None: ...

    def keep_no_room(self) -> None: ...


class LocalRoom:
    """A place in the queue and on the disk for one record of each topic. All are there, or `__init__` raises and none
    is taken."""

    def __init__(self, backlog: Backlog, wanted: Mapping[Keeping, int]) -> None:
        self._backlog = backlog
        self._lock = threading.Lock()
        self._left: dict[Keeping, int] = {}
        self._place = Place()
        """In the queue: that of all which are left."""
        for length in wanted.values():
            check_length(length)
        size = sum(wanted.values()) + APPEND_BYTES * len(wanted)
        try:
            backlog.enter(size, self._place)
            for topic, length in wanted.items():
                topic.keep_room(length)
                self._left[topic] = length
        except BaseException:
            self.give_back()
            raise

    def use(self, topic: Keeping, length: int, place: Place) -> bool:
        """A record takes its room, in `place`; what it does not need is given back. False when it has none, or needs
        more."""
        with self._lock:
            kept = self._left.get(topic, -1)
            if length > kept:
                return False
            del self._left[topic]
            self._backlog.pass_on(self._place, place, length + APPEND_BYTES, kept - length)
        return True

    def give_back(self) -> None:
        with self._lock:
            left, self._left = self._left, {}
        for topic in left:
            topic.keep_no_room()
        self._backlog.leave(self._place)
