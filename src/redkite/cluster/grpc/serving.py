"""The server of a node: takes messages from any number of connections, and answers them.

A thread that finds a message on a connection answers it by itself, while the next thread waits for what comes then.
Handlers that answer a future hold no thread.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Final

from redkite.cluster.grpc.answering import AnsweringEnd, Question
from redkite.cluster.grpc.conversation import Conversation
from redkite.cluster.grpc.ends import DEADLINE_EXCEEDED
from redkite.cluster.grpc.lines import Seal, prepare
from redkite.cluster.grpc.pump import Job, Pump
from redkite.cluster.grpc.room import Room
from redkite.cluster.network import Handler
from redkite.cluster.party import Party
from redkite.cluster.tls import Certificates
from redkite.errors import Unavailable
from redkite.logs import get_logger

_log = get_logger(__name__)

WORKERS: Final = 128
"""Messages that one node answers at a time; further ones wait."""
CLOSE_SECONDS: Final = 5.0
"""How long calls that are running may go on when a node closes."""
STRANGER_SECONDS: Final = 10.0
"""How long somebody who has connected may take to speak as a node does."""
_BACKLOG: Final = 512
_GONE_ALREADY: Final = frozenset({
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH,
    errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.EINTR,
})  # fmt: skip
"""What `accept` says of a connection that ended while it waited: the next one may be well."""
_Asked = tuple["Connection", Question, bytes, float]


class GrpcServing:
    """One listening socket, and everybody who has come by it."""

    def __init__(
        self,
        party: Party,
        pump: Pump,
        certificates: Certificates | None,
        address: str,
        handlers: Mapping[type, Handler],
        path: str,
        limit: int,
    ) -> None:
        """Answers messages of up to `limit` bytes to the method `path`. Raises Unavailable."""
        self.party = party
        self.pump = pump
        self.certificates = certificates
        self.path = path
        self.limit = limit
        self.now = party.env.clock.monotonic
        self._handlers = dict(handlers)
        self._lock = Lock()
        self._running = 0
        self.room = Room()
        self._waiting: deque[_Asked] = deque()
        self._connections: set[Connection] = set()
        self._closed = False
        self._all_answered: Future[None] | None = None
        host, _, port = address.rpartition(":")
        try:
            self._socket = _listening(host.strip("[]"), int(port))
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"{address} cannot be listened at: it is taken, or no address of this machine ({error})"
            ) from None
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        self._socket.setblocking(False)
        self._number = self._socket.fileno()
        self._timer = party.env.tasks.every(STRANGER_SECONDS / 2, self._look, "connections of nodes")
        pump.watch(self._number, self)

    def ready(self) -> None:
        """Somebody connects."""
        while True:
            try:
                sock, where = self._socket.accept()
            except BlockingIOError:
                break  # those were all
            except OSError as error:
                if error.errno in _GONE_ALREADY:
                    continue
                if not self._closed:  # too many open files, perhaps: `_look` goes on
                    _log.warning("connections of other nodes have to wait: %s", error)
                return
            try:
                self._came(sock, f"{where[0]}:{where[1]}")
            except OSError as error:
                sock.close()
                _log.info("a connection of another node ended before it began: %s", error)
        self.pump.again(self._number)

    def _came(self, sock: socket.socket, where: str) -> None:
        sock.setblocking(False)
        prepare(sock)
        connection = Connection(self, sock, where)
        with self._lock:
            if self._closed:  # while it was accepted: nobody would ever close it
                sock.close()
                return
            self._connections.add(connection)
        connection.start()

    def gone(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
        self.answered()

    # -- messages -----------------------------------------------------------------------------------
    def take(self, asked: _Asked) -> None:
        """Answer, in this thread, or in one that is through with its own."""
        with self._lock:
            if self._running >= WORKERS:
                self._waiting.append(asked)
                return
            self._running += 1
        following: _Asked | None = asked
        while following is not None:
            try:
                if following[0].waits_for(following[1]):
                    self._answer(*following)
            except Exception:  # noqa: BLE001  one message must not take a place away from all others for ever
                _log.exception("a message of another node was not answered")
            self.room.add(-len(following[2]))
            with self._lock:
                following = self._waiting.popleft() if self._waiting else None
                if following is None:
                    self._running -= 1

    def _answer(self, connection: Connection, question: Question, message: bytes, came: float) -> None:
        if question.seconds is not None and self.now() >= came + question.seconds:
            connection.fail(question.number, DEADLINE_EXCEEDED, "nobody waits for it any longer")
            return
        self.party.answer(message, self._handlers, connection.where, partial(connection.answer, question.number))

    def answered(self) -> None:
        """Something was answered, or nobody waits for it: perhaps it was the last, and this node closes."""
        waiting = self._all_answered
        if waiting is None:
            return
        with self._lock:
            is_last = self._all_answered is waiting and all(one.is_idle() for one in self._connections)
            if is_last:
                self._all_answered = None
        if is_last:
            waiting.set_result(None)

    # -- its end ------------------------------------------------------------------------------------
    def after_fork(self) -> None:
        """In a child: it listens no more, so that the address is free when its parent ends."""
        self._lock = Lock()
        self._closed = True
        self._connections = set()
        self._socket.close()

    def _look(self) -> None:
        now = self.now()
        for connection in [*self._connections]:
            connection.look(now)
        if not self._closed:
            self.pump.again(self._number)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._timer.cancel()
        self.pump.forget(self._number, self)
        self._socket.close()
        ended: Future[None] = self.party.env.tasks.future()
        self._all_answered = ended
        for connection in [*self._connections]:
            connection.leave()
        self.answered()
        with suppress(TimeoutError):  # they have had their time
            ended.result(CLOSE_SECONDS)
        self._all_answered = None
        for connection in [*self._connections]:
            connection.close()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=_BACKLOG)


class Connection(Conversation[AnsweringEnd]):
    """Somebody who asks."""

    def __init__(self, serving: GrpcServing, sock: socket.socket, where: str) -> None:
        certificates = serving.certificates
        seal = None if certificates is None else Seal(certificates.contexts()[0])
        end = AnsweringEnd(serving.path, serving.limit, self._fits)
        super().__init__(serving.pump, sock, end, seal, serving.now)
        self.where = where
        self._arriving = 0
        """Bytes of messages that have not come whole, as the room has counted them."""
        self._serving = serving
        self._since = serving.now()

    def _fits(self, size: int) -> bool:
        """Whether there is room for a message, and for its answer. Under the lock."""
        return self._serving.room.takes(size) and self._queues(0)

    def _found(self) -> Sequence[Job]:
        end = self._end
        if end.streams or self._arriving:
            self._count(end.arriving())
        if not end.questions:
            return ()
        questions, end.questions = end.questions, []
        self._serving.room.add(sum(len(message) for _, message in questions))
        return [partial(self._serving.take, (self, one, message, self._heard)) for one, message in questions]

    def _count(self, arriving: int) -> None:
        self._serving.room.add(arriving - self._arriving)
        self._arriving = arriving

    def _dropped(self, why: str) -> None:  # noqa: ARG002  whoever asked knows
        self._end.open.clear()
        self._end.streams.clear()
        self._count(0)
        self._pump.hand(partial(self._serving.gone, self))

    def answer(self, number: int, message: bytes) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._end.answer(number, message)
            self._said += len(message)
            self._flush_soon()
        self._serving.answered()

    def fail(self, number: int, status: int, text: str) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._end.fail(number, status, text)
            self._flush_soon()
        self._serving.answered()

    def waits_for(self, question: Question) -> bool:
        return question.number in self._end.open

    def is_idle(self) -> bool:
        end = self._end
        return self._is_closed or (end.is_answered() and not self._unsent and not (end.greeted and end.output))

    def look(self, now: float) -> None:
        """End what does not come further."""
        with self._lock:
            if self._stalls(now) or (not self._end.greeted and now - self._since > STRANGER_SECONDS):
                self._drop("it takes too long")

    def leave(self) -> None:
        """Take nothing new."""
        with self._lock:
            if not self._is_closed:
                self._end.leave()
                self._flush_soon()
