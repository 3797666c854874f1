"""Another node, asked over connections of its own.

Who waits for an answer has a connection to itself meanwhile and reads it by itself: no other thread is woken. What is
asked without waiting shares one connection, whose answers the pump's threads bring.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, Final

import msgspec

from redkite.cluster.grpc.asking import Asked
from redkite.cluster.grpc.ends import DEADLINE_EXCEEDED, OK, RESOURCE_EXHAUSTED, UNIMPLEMENTED
from redkite.cluster.grpc.line import Cut, Late, Line
from redkite.cluster.grpc.lines import not_reached
from redkite.cluster.grpc.pump import GONE, Pump
from redkite.cluster.grpc.shared import LATE, Full, Shared
from redkite.cluster.network import ASK_SECONDS, NotReached, Unanswered, WrongPeer
from redkite.cluster.party import Party
from redkite.cluster.tls import Certificates
from redkite.env import away
from redkite.errors import MilvusException, ParameterTooLarge
from redkite.spans import carried
from redkite.wire.headers import literal

CONNECT_SECONDS: Final = 4.0
"""How long a connection may take to come about."""
AGAIN_SECONDS: Final = 0.5
"""Nobody tries to connect so soon after that has taken too long."""
IDLE_SECONDS: Final = 30.0
"""A connection that is not used for so long is closed."""
SOON_BYTES: Final = 1 << 16
"""A message of more has a connection to itself, also when nobody waits for its answer, …"""
SOON_SECONDS: Final = 2.0
"""… and so has one whose answer is waited for so shortly: the others' time is looked at now and then."""
LONGEST_SECONDS: Final = 3600.0
"""A call that goes on for longer is not answered, whatever its deadline."""
_MOST_BLOCKS: Final = 256
Ended = Asked | MilvusException | None
"""What a call has come to; None: its connection has ended."""
_Call = tuple[bytes, float, float, Callable[[Ended], None]]
"""Message, how long it waits, until when, who is told."""


class GrpcRemote:
    """Safe from any thread."""

    def __init__(
        self,
        party: Party,
        pump: Pump,
        certificates: Certificates | None,
        address: str,
        path: str,
        limit: int,
        threads: int,
    ) -> None:
        """`threads` may wait for answers on behalf of those who do not."""
        self.address = address
        self._party = party
        self._pump = pump
        self._certificates = certificates
        self._limit = limit
        self._most_threads = threads
        self._now = party.env.clock.monotonic
        self._lock = Lock()
        self._asking = party.env.tasks.executor(f"asking-{address}", threads + 1)
        self._threads_out = 0
        self._closed = False
        self._idle: list[Line] = []
        self._lines: set[Line] = set()
        self._shared: Shared | None = None
        self._shares: set[Shared] = set()
        """That, and those before it on which answers are waited for."""
        self._connecting = False
        self._waiting: list[_Call] = []
        """For the shared connection."""
        self._out_of_reach_until = 0.0
        self._head = b"".join((
            literal(b":method", b"POST"), literal(b":scheme", b"http" if certificates is None else b"https"),
            literal(b":path", path.encode()), literal(b":authority", address.encode()), literal(b"te", b"trailers"),
            literal(b"content-type", b"application/grpc"),
        ))  # fmt: skip
        self._blocks: dict[float, bytes] = {}

    # -- asking -------------------------------------------------------------------------------------
    def ask(self, message: msgspec.Struct, timeout: float | None = None) -> Any:
        seconds = ASK_SECONDS if timeout is None else timeout
        frame = self._frame(message, seconds)
        with away():
            return self._asked(frame, type(message).__name__, seconds)

    def ask_soon(self, message: msgspec.Struct, timeout: float | None = None) -> Future[Any]:
        seconds = ASK_SECONDS if timeout is None else timeout
        frame, name = self._frame(message, seconds), type(message).__name__
        if (len(frame) > SOON_BYTES or seconds < SOON_SECONDS) and self._takes_thread():
            try:
                return self._asking.submit(self._asked_there, frame, name, seconds)
            except MilvusException:  # this node is closing, as the other way finds out, too
                self._gives_thread()
        answer: Future[Any] = self._party.env.tasks.future()
        begun = self._now()
        arrived = carried(partial(self._arrived, answer, name, seconds, begun))
        call: _Call = (frame, seconds, begun + seconds, arrived)
        self._begin((*call[:-1], partial(self._once_more, call)))
        return answer

    def _takes_thread(self) -> bool:
        with self._lock:
            if self._threads_out >= self._most_threads or self._closed:
                return False
            self._threads_out += 1
            return True

    def _gives_thread(self) -> None:
        with self._lock:
            self._threads_out -= 1

    def _asked_there(self, frame: bytes, name: str, seconds: float) -> Any:
        try:
            return self._asked(frame, name, seconds)
        finally:
            self._gives_thread()

    def _frame(self, message: msgspec.Struct, seconds: float) -> bytes:
        frame = self._party.asking(message, seconds)
        if len(frame) > self._limit:
            raise ParameterTooLarge(
                f"a {type(message).__name__} of {len(frame)} bytes is more than {self._limit} between nodes"
            )
        return frame

    def _block(self, seconds: float) -> bytes:
        """The headers of a call that waits so long."""
        found = self._blocks.get(seconds)
        if found is None:
            wanted = max(1, round(min(seconds, LONGEST_SECONDS) * 1000))
            found = self._head + literal(b"grpc-timeout", b"%dm" % wanted)
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            self._blocks[seconds] = found
        return found

    # -- one that waits -----------------------------------------------------------------------------
    def _asked(self, frame: bytes, name: str, seconds: float) -> Any:
        begun = self._now()
        try:
            value = self._party.told(self._exchanged(frame, name, seconds, begun + seconds))
        except MilvusException as error:
            self._party.traffic.asked(name, self._now() - begun, error)
            raise
        ended = self._now()
        self._party.traffic.asked(name, ended - begun, None)
        return value

    def _exchanged(self, frame: bytes, name: str, seconds: float, until: float) -> bytes:
        while True:
            line = self._line(name, seconds, until)
            try:
                asked = line.exchange(self._block(seconds), frame, until, self._limit)
            except BaseException as error:
                self._end(line)
                if isinstance(error, Late):
                    raise self._late(name, seconds) from None
                if isinstance(error, Cut):
                    raise self._cut(name, str(error)) from None
                raise
            was_new = not line.used
            if line.is_gone or not line.end.is_usable or asked.is_refused:
                self._end(line)
            else:
                line.used = self._now()
                self._idle.append(line)
            if was_new or not asked.is_refused:  # else its node was about to leave, and another one may be there now
                return self._answer(asked, name, seconds)

    def _line(self, name: str, seconds: float, until: float) -> Line:
        """One that nobody uses, or a new one."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                break
            if not line.is_gone:
                return line
            self._end(line)
        try:
            line = self._new(min(CONNECT_SECONDS, until - self._now()))
        except Late:
            if self._now() >= until:
                raise self._late(name, seconds) from None
            raise not_reached(self.address, f"it did not answer within {CONNECT_SECONDS:g} s") from None
        line.when_gone = self._gone
        with self._lock:
            closed = self._closed
            if not closed:
                self._lines.add(line)
        try:
            if closed:
                raise self._has_closed()
            self._pump.watch(line.socket.fileno(), line, GONE)
        except BaseException as error:
            self._end(line)
            if isinstance(error, OSError):
                raise not_reached(self.address, str(error)) from None
            raise
        return line

    def _has_closed(self) -> NotReached:
        return NotReached(f"{self.address} cannot be asked: this node has closed")

    def _new(self, seconds: float) -> Line:
        """Raises NotReached, Late."""
        if self._closed:
            raise self._has_closed()
        if seconds <= 0:
            raise Late
        if self._now() < self._out_of_reach_until:
            raise not_reached(self.address, f"it did not answer within {CONNECT_SECONDS:g} s, just now")
        context = None if self._certificates is None else self._certificates.contexts()[1]
        try:
            return Line(self.address, context, self._now, seconds)
        except Late:
            if seconds >= CONNECT_SECONDS:
                self._out_of_reach_until = self._now() + AGAIN_SECONDS
            raise

    def _end(self, line: Line) -> None:
        with self._lock:
            self._lines.discard(line)
        self._pump.forget(line.socket.fileno(), line)
        line.close()

    def _gone(self, line: Line) -> None:
        """The other side has closed one: whoever uses it finds out by himself."""
        with suppress(ValueError):
            self._idle.remove(line)
            self._end(line)

    # -- those that nobody waits for ------------------------------------------------------------------
    def _begin(self, call: _Call) -> None:
        while True:
            shared = self._shared
            if shared is not None and self._sent(shared, call):
                return
            with self._lock:
                if self._shared is not shared:  # there is a new one meanwhile
                    continue
                self._waiting.append(call)
                if self._connecting:
                    return
                self._connecting = True
                break
        try:
            self._asking.submit(self._connect)
        except MilvusException as error:  # this node has closed
            self._connected(None, NotReached(f"{self.address} cannot be asked: {error.message}"))

    def _once_more(self, call: _Call, end: Ended) -> None:
        """What was not looked at met a node that was about to leave, and another one may be there now."""
        if isinstance(end, Asked) and end.is_refused:
            self._begin(call)
        else:
            call[-1](end)

    def _sent(self, shared: Shared, call: _Call) -> bool:
        """False: it is to be sent on another connection."""
        frame, seconds, until, arrived = call
        try:
            return shared.begin(self._block(seconds), frame, until, arrived)
        except Full:
            self._pump.hand(partial(arrived, not_reached(self.address, "it does not take what waits for it already")))
            return True

    def _connect(self) -> None:
        """Make the connection that is shared, on a thread that may wait."""
        try:
            shared = Shared(self._new(CONNECT_SECONDS), self._pump, self._now, self._limit)
        except Late:
            error = not_reached(self.address, f"it did not answer within {CONNECT_SECONDS:g} s")
            self._connected(None, error)
        except MilvusException as failed:
            self._connected(None, failed)
        except Exception as failed:  # noqa: BLE001  whatever it is, those that wait have to be told
            self._connected(None, not_reached(self.address, str(failed)))
        else:
            shared.start()
            self._connected(shared, None)

    def _connected(self, shared: Shared | None, error: MilvusException | None) -> None:
        with self._lock:
            self._shared = shared
            if shared is not None:
                self._shares.add(shared)
            self._connecting = False
            waiting, self._waiting = self._waiting, []
            closed = self._closed
        if shared is not None and closed:
            shared.close()
        if error is None:  # nobody was asked either where it has ended already
            error = not_reached(self.address, "it closed the connection")
        for call in waiting:
            if shared is None or not self._sent(shared, call):
                call[-1](error)

    def _arrived(self, answer: Future[Any], name: str, seconds: float, begun: float, end: Ended) -> None:
        try:
            if isinstance(end, MilvusException):
                raise end
            if end is None:
                raise self._cut(name, "the connection was closed")
            value = self._party.told(self._answer(end, name, seconds))
        except Exception as error:  # noqa: BLE001  whatever it is, somebody waits for it
            self._party.traffic.asked(name, self._now() - begun, error)
            answer.set_exception(error)
        else:
            self._party.traffic.asked(name, self._now() - begun, None)
            answer.set_result(value)

    # -- what it came to ------------------------------------------------------------------------------
    def _answer(self, asked: Asked, name: str, seconds: float) -> bytes:
        if asked.status == OK and asked.answer is not None:
            return asked.answer
        if asked is LATE or asked.status == DEADLINE_EXCEEDED:
            raise self._late(name, seconds)
        if asked.is_refused:
            raise not_reached(self.address, "it takes nothing new: it is being closed, or has too much to do")
        if asked.status == RESOURCE_EXHAUSTED:
            raise ParameterTooLarge(f"{name} to {self.address}, or its answer: {asked.why[:200]}")
        if asked.status == UNIMPLEMENTED:
            raise WrongPeer(f"something else than a node of Redkite listens at {self.address}")
        raise self._cut(name, asked.why)

    def _late(self, name: str, seconds: float) -> Unanswered:
        return Unanswered(f"{self.address} did not answer {name} within {seconds:g} s")

    def _cut(self, name: str, why: str) -> Unanswered:
        return Unanswered(f"{self.address} went away before it answered {name}: {why[:200]}")

    # -- its connections ------------------------------------------------------------------------------
    def look(self, now: float) -> None:
        """Give up what takes too long, and connections that nobody uses. To be called twice a second."""
        with self._lock:
            shares = [*self._shares]
        for shared in shares:
            shared.look(now)
            if shared.is_closed:
                with self._lock:
                    self._shares.discard(shared)
        for line in [*self._idle]:
            if line.is_gone or now - line.used > IDLE_SECONDS:
                self._gone(line)

    @property
    def is_used(self) -> bool:
        """Whether anything is open to it, or asked of it."""
        return bool(self._lines or self._shares or self._waiting or self._threads_out or self._connecting)

    def after_fork(self) -> None:
        """In a child: what is open is the parent's, and nothing more is asked."""
        self._lock = Lock()
        self._closed = True
        self._idle, self._lines, self._shares, self._waiting = [], set(), set(), []
        self._shared, self._connecting, self._threads_out = None, False, 0

    def abandon(self) -> None:
        """Everything that was asked fails; what is asked from now on connects anew."""
        with self._lock:
            self._shared = None
            shares, self._shares = self._shares, set()
            lines, self._lines = self._lines, set()
        for shared in shares:
            shared.close()
        for line in lines:
            line.cut()
            self._gone(line)

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self.abandon()
        self._asking.shutdown(wait=False)
