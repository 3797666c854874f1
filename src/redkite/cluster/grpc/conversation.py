"""One connection on which much goes on at a time: read by one thread after the other, written by any."""

from __future__ import annotations

import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Lock
from typing import Any, Final, Generic, TypeVar

from redkite.cluster.grpc.ends import End
from redkite.cluster.grpc.lines import CHUNK, LARGE_CHUNK, Seal, joined, send_some, why_not_sealed
from redkite.cluster.grpc.pump import READ, WRITE, Job, Pump
from redkite.cluster.grpc.room import QUEUED_BYTES
from redkite.env import Buffer
from redkite.wire.http2 import ConnectionBroken

STALL_SECONDS: Final = 20.0
"""How long somebody may take nothing of what is sent."""
E = TypeVar("E", bound=End[Any])


class Conversation(ABC, Generic[E]):
    """Safe from any thread."""

    def __init__(self, pump: Pump, sock: socket.socket, end: E, seal: Seal | None, now: Callable[[], float]) -> None:
        """The socket does not block."""
        self._pump = pump
        self._socket = sock
        self._number = sock.fileno()
        self._seal = seal
        self._now = now
        self._lock = Lock()
        """Of everything below."""
        self._end = end
        self._unsent: list[Buffer] = []
        self._left = 0
        """Bytes of it, since …"""
        self._unsent_since = 0.0
        self._said = 0
        """Bytes of messages behind it."""
        self._heard = now()
        """When something came the last time."""
        self._is_reading = True
        self._is_closed = False

    def start(self) -> None:
        """Be called for what comes."""
        with self._lock:
            self._flush()
            try:
                self._pump.watch(self._number, self)
            except OSError as error:
                self._drop(str(error))
            self._is_read()

    # -- what arrives -------------------------------------------------------------------------------
    def ready(self) -> None:
        with self._lock:
            # Another thread reads when the event was of an earlier socket that had this number.
            if self._is_closed or self._is_reading:
                return
            self._is_reading = True
        data = self._read()
        with self._lock:
            try:
                jobs: Sequence[Job] = () if data is None else self._came(data)
                self._flush()
            except BaseException as error:  # a bug: nothing that comes can be trusted any more
                self._drop(f"{type(error).__name__}: {error}")
                raise
            finally:
                self._is_read()
        for job in jobs[1:]:
            self._pump.hand(job)
        if jobs:
            jobs[0]()

    def _read(self) -> bytes | None:
        """None: nothing has come. Empty: nothing ever will."""
        try:
            return self._socket.recv(LARGE_CHUNK if self._end.expects_much else CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _came(self, data: bytes) -> Sequence[Job]:
        """What has to be done about what has arrived. Under the lock."""
        if self._is_closed:
            return ()
        self._heard = self._now()
        self._take(data)
        return self._found()

    def _take(self, data: bytes) -> None:
        if not data:
            self._drop("it closed the connection")
            return
        end = self._end
        try:
            opened = data if self._seal is None else self._seal.opened(data)
            if opened:
                end.feed(opened)
        except ssl.SSLError as error:
            end.output = []  # nothing can be sealed any more
            self._flush()  # the alert that says so
            self._drop(why_not_sealed(error, data[:1]))
        except ConnectionBroken as error:
            end.go_away(end.last, error.code, str(error))
            self._flush()
            self._drop(str(error))

    @abstractmethod
    def _found(self) -> Sequence[Job]:
        """What has to be done about what has arrived, by as many threads. Under the lock."""

    @abstractmethod
    def _dropped(self, why: str) -> None:
        """The connection has ended. Under the lock."""

    def _is_read(self) -> None:
        """This thread does not read any more. Under the lock."""
        self._is_reading = False
        if self._is_closed:
            self._socket.close()
        else:
            self._pump.again(self._number, READ | WRITE if self._unsent else READ)

    # -- what is sent -------------------------------------------------------------------------------
    def _flush_soon(self) -> None:
        """Send what the end says, and be called when the socket takes the rest. Under the lock."""
        had = bool(self._unsent)
        self._flush()
        if self._unsent and not had and not self._is_reading:
            self._pump.again(self._number, READ | WRITE)

    def _flush(self) -> None:
        if self._is_closed:
            return
        try:
            while self._unsent or self._takes_output():
                send_some(self._socket, self._unsent)
                self._left = 0
        except BlockingIOError:
            left = sum(map(len, self._unsent))
            if left != self._left:
                self._left, self._unsent_since = left, self._now()
        except OSError as error:
            self._drop(error.strerror or str(error))

    def _takes_output(self) -> bool:
        """Take what the end says, once all that it said before is sent: until then it sees how much waits, and what
        is left only becomes less, so that a peer that takes nothing is noticed."""
        end, seal = self._end, self._seal
        output: Sequence[Buffer] = end.output if seal is None or seal.is_shaken else ()
        if output:
            end.output = []
            self._said = 0
        if seal is None:
            self._unsent = joined(output) if output else []
        else:
            sealed = seal.sealed(b"".join(output))
            self._unsent = [sealed] if sealed else []
        return bool(self._unsent)

    def _queues(self, size: int) -> bool:
        """Whether a message of so many bytes may wait behind what is not sent yet. Under the lock."""
        queued = self._left + self._said
        return not queued or queued + size <= QUEUED_BYTES

    def _stalls(self, now: float) -> bool:
        return bool(self._left) and now - self._unsent_since > STALL_SECONDS

    # -- its end ------------------------------------------------------------------------------------
    def close(self, why: str = "") -> None:
        with self._lock:
            self._drop(why)

    def _drop(self, why: str) -> None:
        """Under the lock. The socket is closed by whoever reads it: its number must not be another one's by then."""
        if self._is_closed:
            return
        self._is_closed = True
        self._pump.forget(self._number, self)
        with suppress(OSError):  # the other side was first
            self._socket.shutdown(socket.SHUT_RDWR)
        if not self._is_reading:
            self._socket.close()
        self._unsent, self._left, self._said = [], 0, 0
        self._dropped(why)
