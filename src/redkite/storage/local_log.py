"""The log in files of this machine: a folder for each topic, in which pages follow one another."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

from redkite.env import Env, Executor, Timer
from redkite.errors import MilvusException, StorageError
from redkite.logs import get_logger
from redkite.storage.board import Board
from redkite.storage.local_topic import LocalTopic
from redkite.storage.log import LogSettings, Topic
from redkite.storage.log_answers import check_name
from redkite.storage.log_backlog import Backlog
from redkite.storage.log_follow import FollowedTopic
from redkite.storage.log_room import Keeping, LocalRoom

_logger = get_logger("log")

SWEEP_SECONDS = 60.0
"""How often pages are looked for that retention keeps no longer."""
_DROPPED = ".dropped"


class LocalLog:
    """All topics below one folder. One process may have it open for writing, and any number beside it read-only: their
    topics show what was there at their last `refresh`, and refuse to be changed."""

    def __init__(
        self,
        env: Env,
        root: str,
        settings: LogSettings | None = None,
        *,
        read_only: bool = False,
        committers: int = 4,
        executor: str = "log",
        board: Board | None = None,
    ) -> None:
        """On the `board`, if there is one, the writer says how far topics are durable, and readers look there."""
        self._env = env
        self._root = root
        self._settings = settings or LogSettings()
        self.backlog = Backlog(env.tasks, self._settings.queue_bytes, self._settings.queue_seconds, self._start_all)
        self._board = board
        self._lock = threading.Lock()
        self._topics: dict[str, LocalTopic | FollowedTopic] = {}
        self._closed = False
        self._executor: Executor | None = None
        self._sweeper: Timer | None = None
        if not read_only:
            self._executor = env.tasks.executor(f"redkite-{executor}", committers)
            env.files.make_dirs(root)
            env.files.remove_tree(f"{root}/{_DROPPED}")

    def topic(self, name: str) -> Topic:
        check_name(name, "topic")
        with self._lock:
            if self._closed:
                raise StorageError(f"the log '{self._root}' is closed")
            topic = self._topics.get(name)
            if topic is None or topic.closed:
                topic = self._topics[name] = self._open(name)
            return topic

    def _open(self, name: str) -> LocalTopic | FollowedTopic:
        folder, board = f"{self._root}/{name}", self._board
        if self._executor is None:
            published = None if board is None else partial(board.read, name)
            return FollowedTopic(self._env.files, folder, published)
        if self._sweeper is None and self._settings.retention_seconds >= 0:
            self._sweeper = self._env.tasks.every(SWEEP_SECONDS, self.sweep, "log-retention")
        topic = LocalTopic(self._env, folder, self._executor, self._settings, self.backlog)
        if board is not None:
            topic.on_commit = partial(board.publish, name)
        return topic

    def reserve(self, wanted: Mapping[str, int]) -> LocalRoom:
        topics: dict[Keeping, int] = {}
        for name, length in wanted.items():
            topic = self.topic(name)
            if not isinstance(topic, LocalTopic):
                raise StorageError(f"cannot write to the log '{self._root}': it is open for reading only")
            topics[topic] = length
        return LocalRoom(self.backlog, topics)

    def topics(self) -> list[str]:
        return [name for name in self._env.files.list(self._root) if not name.startswith(".")]

    def _start_all(self) -> None:
        """Have everything written that waits for somebody to want it."""
        with self._lock:
            topics = list(self._topics.values())
        for topic in topics:
            if isinstance(topic, LocalTopic):
                topic.do_elsewhere()

    def sweep(self) -> None:
        """Remove pages that retention keeps no longer, of all topics that are open."""
        with self._lock:
            topics = list(self._topics.values())
        for topic in topics:
            if isinstance(topic, LocalTopic) and not topic.closed:
                try:
                    topic.sweep()
                except MilvusException as error:  # they stay until the next time
                    _logger.warning("old pages were not removed: %s", error.message)

    def drop(self, name: str) -> None:
        check_name(name, "topic")
        if self._executor is None:
            raise StorageError(f"cannot drop a topic of the log '{self._root}': it is open for reading only")
        with self._lock:
            topic = self._topics.pop(name, None)
        if isinstance(topic, LocalTopic):
            topic.abandon()
        files, folder = self._env.files, f"{self._root}/{name}"
        if not files.exists(folder):
            return
        graveyard = f"{self._root}/{_DROPPED}"
        files.make_dirs(graveyard)
        files.remove_tree(f"{graveyard}/{name}")
        files.rename(folder, f"{graveyard}/{name}")
        files.sync_dir(self._root)
        files.remove_tree(f"{graveyard}/{name}")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            topics = list(self._topics.values())
        if self._sweeper is not None:
            self._sweeper.cancel()
        try:
            for topic in topics:
                topic.close()
        finally:
            if self._executor is not None:
                self._executor.shutdown()
