"""A connection to another node for all that is asked without waiting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from redkite.cluster.grpc.asking import Asked, AskingEnd
from redkite.cluster.grpc.conversation import Conversation
from redkite.cluster.grpc.line import SILENT_SECONDS, Line
from redkite.cluster.grpc.pump import Job, Pump

Arrived = Callable[[Asked | None], None]
"""Told the end of a call, once, in a thread of the pump or in that which cuts; None: the connection ended before."""
LATE: Final = Asked()
"""What a call has come to that was not answered in its time."""


class Full(Exception):
    """Too much waits to be sent already."""


class Shared(Conversation[AskingEnd]):
    """Made of a line that nobody uses. To be started."""

    def __init__(self, line: Line, pump: Pump, now: Callable[[], float], limit: int) -> None:
        line.socket.setblocking(False)
        super().__init__(pump, line.socket, line.end, line.seal, now)
        self._limit = limit
        self._calls: dict[int, tuple[Arrived, float]] = {}
        """By the number of their streams: who is told, and until when it waits."""
        self._pinged = 0.0

    @property
    def is_usable(self) -> bool:
        return not self._is_closed and self._end.is_usable

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def begin(self, block: bytes, message: bytes, until: float, arrived: Arrived) -> bool:
        """Ask; False: it is too late for this connection, and nothing was asked. Raises Full, and nothing was asked."""
        with self._lock:
            if not self.is_usable:
                return False
            if not self._queues(len(message)):
                raise Full
            asked = self._end.begin(block, message, self._limit)
            self._calls[asked.number] = arrived, until
            self._said += len(message)
            self._flush_soon()
        return True

    def _found(self) -> Sequence[Job]:
        end = self._end
        self._pinged = 0.0
        if not end.ended:
            return ()
        ended, end.ended = end.ended, []
        return [partial(self._calls.pop(one.number)[0], one) for one in ended if one.number in self._calls]

    def _dropped(self, why: str) -> None:  # noqa: ARG002  whoever asked is told that it is cut
        calls, self._calls = self._calls, {}
        for arrived, _ in calls.values():
            self._pump.hand(partial(arrived, None))

    def look(self, now: float) -> None:
        """Give up calls whose time is over, and a connection of which nothing is heard."""
        with self._lock:
            if self._is_closed:
                return
            for number, (arrived, until) in [*self._calls.items()]:
                if now >= until:
                    del self._calls[number]
                    self._pump.hand(partial(arrived, LATE))  # the timer has others to look after
                    stream = self._end.streams.get(number)
                    if stream is not None:
                        self._end.give_up(stream)
            if self._pinged and now - self._pinged > SILENT_SECONDS:
                self._drop("nothing is heard of it")
            elif now - self._heard > SILENT_SECONDS and not self._pinged:
                self._pinged = now
                self._end.ping()
            if self._stalls(now):
                self._drop("it takes nothing")
            if not self._end.is_usable and not self._calls:
                self._drop("it is done with")
            self._flush_soon()
