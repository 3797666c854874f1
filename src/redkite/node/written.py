"""Writes that a shard remembers by their ids, so that one that is sent again is not done again.

An id stands in the header of its record. Who opens the shard anew reads it from the log; what lies before the
checkpoint is not known by id any more, and a write that may lie there is not done again but refused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, Final, NamedTuple

from redkite.env import Tasks
from redkite.errors import UnknownOutcome
from redkite.node.records import WRITE_ID, RecordHeader

MOST_REMEMBERED: Final = 16_384
"""Beside those whose writers still wait."""
_LOOKS: Final = 8
"""At so many of the oldest it is looked, for each that comes, whether they can be forgotten."""


class Logged(NamedTuple):
    """A write as its record tells it."""

    timestamp: int
    rows: int


class Written:
    """Of one shard. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[int, tuple[int, Logged | Future[Any]]] = OrderedDict()
        """Id -> when it was sent, at the latest, and what came of it."""
        self._since: int | None = None
        """Of writes that were sent later all are known."""

    def begin(self, newest: int) -> None:
        """Of writes that were sent after this timestamp, which no record before the checkpoint exceeds, all will be
        known once the log is read: who logs one gives it a later timestamp."""
        self._since = newest

    def replayed(self, header: RecordHeader, rows: int) -> None:
        """A record was read from the log."""
        with self._lock:
            if self._since is None:
                self._since = header.timestamp - 1
            if header.write_id and header.write_id not in self._known:
                self._put(header.write_id, header.timestamp, Logged(header.timestamp, rows))

    def once(
        self,
        tasks: Tasks,
        write_id: int,
        sent: int,
        now: int,
        write: Callable[[], Future[Any]],
        told: Callable[[Logged], Any],
        *,
        doubtful: bool,
    ) -> Future[Any]:
        """What comes of a write: of `write()`, or of the same write when it came before; `told` makes the answer of
        what was read from the log. `doubtful`: it may have been done although nobody has said so; then UnknownOutcome
        is raised where it cannot be known. `sent` and `now` are timestamps."""
        answer: Future[Any] = tasks.future()
        with self._lock:
            if self._since is None:
                self._since = now
            known = self._known.get(write_id)
            if known is None:
                if doubtful and sent <= self._since:
                    raise UnknownOutcome.of_write()
                self._put(write_id, sent, answer)
        if known is not None:
            found = known[1]
            if isinstance(found, Future):
                return found
            answer.set_result(told(found))
            return answer
        before = WRITE_ID.set(write_id)
        try:
            written = write()
        except BaseException as error:  # noqa: BLE001  it is the answer, also to the same write sent again
            self._forget(write_id)
            answer.set_exception(error)
            return answer
        finally:
            WRITE_ID.reset(before)
        written.add_done_callback(lambda done: _settle(done, answer))
        return answer

    def _forget(self, write_id: int) -> None:
        """Nothing was logged: when it comes again it is looked at again."""
        with self._lock:
            self._known.pop(write_id, None)

    def _put(self, write_id: int, sent: int, found: Logged | Future[Any]) -> None:
        for _ in range(_LOOKS):  # not for ever: while the log stands still all of them may wait
            if len(self._known) < MOST_REMEMBERED:
                break
            oldest, (when, what) = self._known.popitem(last=False)
            if isinstance(what, Future) and not what.done():
                self._known[oldest] = when, what  # it goes to the end: its writer still waits
            else:
                self._since = max(self._since or 0, when)
        self._known[write_id] = sent, found


def _settle(done: Future[Any], answer: Future[Any]) -> None:
    error = done.exception()
    if error is None:
        answer.set_result(done.result())
    else:
        answer.set_exception(error)
