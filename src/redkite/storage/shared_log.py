"""The log in a broker that many machines share."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from redkite.env import Env
from redkite.errors import StorageError
from redkite.storage.broker import Broker
from redkite.storage.catalog import Catalog
from redkite.storage.log import MIB
from redkite.storage.log_answers import check_name
from redkite.storage.log_backlog import Backlog
from redkite.storage.log_room import Keeping, LocalRoom
from redkite.storage.shared_format import Session
from redkite.storage.shared_topic import SharedTopic

_APPLIERS: Final = 4


class SharedLogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait for the broker, and how long."""

    queue_bytes: int = 256 * MIB
    """Bytes of appends that may wait to be durable, over all topics. Further appends wait, …"""
    queue_seconds: float = 10.0
    """… and after this long get an error."""
    patience_seconds: float = 15.0
    """What the broker does not answer within this time, it does not."""


class SharedLog:
    """A `Log`. `positions` keeps where groups are: brokers forget those that are idle. `term_of` gives the term under
    which this process writes a topic; None where it only reads."""

    def __init__(
        self,
        env: Env,
        broker: Broker,
        positions: Catalog,
        term_of: Callable[[str], int] | None = None,
        settings: SharedLogSettings | None = None,
    ) -> None:
        self._env = env
        self._broker, self._positions = broker, positions
        self._term_of = term_of
        self.settings = settings or SharedLogSettings()
        self.backlog = Backlog(env.tasks, self.settings.queue_bytes, self.settings.queue_seconds, lambda: None)
        self._lock = threading.Lock()
        self._topics: dict[str, SharedTopic] = {}
        self._closed = False
        self._sessions = itertools.count(1)
        self._appliers = env.tasks.executor("redkite-log", _APPLIERS)
        self._settlers = env.tasks.executor("redkite-log-settling", 2)
        self._timer = env.tasks.every(self.settings.patience_seconds / 4, self._check, "log patience")

    def topic(self, name: str) -> SharedTopic:
        check_name(name, "topic")
        with self._lock:
            if self._closed:
                raise StorageError("the log is closed")
            topic = self._topics.get(name)
            if topic is None or topic.closed:
                next_session = None if self._term_of is None else self._next_session
                topic = self._topics[name] = SharedTopic(
                    self._env, self._broker, name, self._appliers, self._settlers, self.backlog, self._positions,
                    next_session, self.settings.patience_seconds,
                )  # fmt: skip
            return topic

    def _next_session(self, name: str) -> Session:
        assert self._term_of is not None
        return Session(self._term_of(name), next(self._sessions))

    def _check(self) -> None:
        with self._lock:
            topics = list(self._topics.values())
        for topic in topics:
            topic.check()

    def reserve(self, wanted: Mapping[str, int]) -> LocalRoom:
        """Room in the queue: a broker keeps none."""
        topics: dict[Keeping, int] = {self.topic(name): length for name, length in wanted.items()}
        return LocalRoom(self.backlog, topics)

    def topics(self) -> list[str]:
        return sorted(self._broker.topics())

    def drop(self, name: str) -> None:
        check_name(name, "topic")
        if self._term_of is None:
            raise StorageError(f"cannot drop the log's topic '{name}': the log is open for reading only")
        with self._lock:
            topic = self._topics.pop(name, None)
        if topic is not None:
            topic.abandon()
        self._broker.drop(name)
        self._positions.commit({}, [key for key, _ in self._positions.scan(f"{name}/")])

    def close(self) -> None:
        """The broker is its owner's."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            topics = list(self._topics.values())
        self._timer.cancel()
        try:
            for topic in topics:
                topic.close()
        finally:
            self._settlers.shutdown()
            self._appliers.shutdown()
