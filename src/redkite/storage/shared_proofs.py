"""Proofs that nobody else had begun to write a topic: messages that count for nothing and come back to who sent them.

Who asks is served by a message that is sent later. One that is under way serves nobody who comes meanwhile; these have
the next one together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final

from redkite.env import Env
from redkite.errors import MilvusException

AGAIN_SECONDS: Final = 0.25
"""What has not come back for so long may be lost: the next one is not kept waiting for it."""


class Proofs:
    """Of one topic. Safe from any thread."""

    def __init__(self, env: Env, send: Callable[[int], None]) -> None:
        """`send` sends the message of a number; it may raise."""
        self._tasks, self._clock = env.tasks, env.clock
        self._send = send
        self._lock = threading.Lock()
        self._number = 0
        """Of the last message that was sent."""
        self._sent_at = 0.0
        self._under_way: list[tuple[int, Future[None]]] = []
        """By the numbers of their messages."""
        self._next: Future[None] | None = None
        """Of those who wait for a message that is not sent yet."""

    def ask(self) -> Future[None]:
        """Done when a message came back that was sent after this call."""
        with self._lock:
            if self._next is None:
                self._next = self._tasks.future()
            asked = self._next
        self._go_on()
        return asked

    def _go_on(self) -> None:
        """Send the next message, unless nobody wants one or it had better wait for the one before."""
        now = self._clock.monotonic()
        with self._lock:
            asked = self._next
            if asked is None or (self._under_way and now < self._sent_at + AGAIN_SECONDS):
                return
            self._next, self._sent_at = None, now
            self._number += 1
            number = self._number
            self._under_way.append((number, asked))
        try:
            self._send(number)
        except MilvusException as error:
            self.fail(error)

    def came_back(self, number: int) -> None:
        """The message of a number was read in the topic, and nobody else's session before it."""
        with self._lock:
            proven = [asked for sent, asked in self._under_way if sent <= number]
            self._under_way = [(sent, asked) for sent, asked in self._under_way if sent > number]
        for asked in proven:
            asked.set_result(None)
        self._go_on()

    def fail(self, error: MilvusException) -> None:
        """Nothing comes back any more of what was sent."""
        with self._lock:
            failed = [asked for _, asked in self._under_way]
            if self._next is not None:
                failed.append(self._next)
            self._under_way, self._next = [], None
        for asked in failed:
            asked.set_exception(error)
