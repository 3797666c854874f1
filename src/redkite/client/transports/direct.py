"""A server over plain sockets: the same messages as gRPC's own library sends, for a third of its processor time.

A blocking unary call needs little of gRPC: one request frame, one reply, one thread that waits. Each call has a
connection to itself while it lasts; idle ones are kept for the next.
"""

from __future__ import annotations

import os
import socket
import time
import weakref
from threading import Lock

from redkite.client.transports import retry
from redkite.client.transports.base import called_again, remaining
from redkite.client.transports.blocks import Blocks, result
from redkite.client.transports.http2 import Aborted, Buffer, Exchange, Refused
from redkite.client.transports.repeat import repeated
from redkite.client.transports.speech import CONNECT_TIMEOUT, Speech, before
from redkite.errors import MilvusException, Timeout, Unavailable, WireError
from redkite.model.requests import Queries, Request, Search
from redkite.model.results import Hits, Result
from redkite.wire import encode_pieces

MAX_IDLE = 64
"""Connections kept for later calls, at most."""
_CHUNK = 1 << 18
_SMALL = 1 << 16
_AT_ONCE = 256
"""Buffers in one call of the system, at most."""
_SILENCE_MS = 20_000
"""A peer that acknowledges nothing for so long is gone."""


class DirectTransport:
    """Blocking calls from any thread to a server without TLS. A forked child connects anew by itself."""

    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._idle: list[_Line] = []
        self._lock = Lock()
        self._closed = False
        self._blocks = Blocks(speech)
        _ALIVE.add(self)

    def connect(self, deadline: float | None = None) -> None:
        """Greet the server, waiting for it for ten seconds at most.

        Raises ConnectError when no server answers, or what the server says (such as 800 for a missing database).
        """
        limit = before(deadline, CONNECT_TIMEOUT)
        request = self._speech.connect_request()
        pause = 0.02
        while True:
            try:
                self._speech.connected(self._once(request, limit))
                return
            except (Unavailable, Timeout) as error:
                if isinstance(error, Timeout) or time.monotonic() + pause > limit:
                    self.close()
                    raise self._speech.unreachable(error) from error
            except MilvusException:
                self.close()
                raise
            time.sleep(pause)
            pause = min(pause * 2, 0.5)

    def call(self, request: Request, deadline: float | None) -> Result:
        return repeated(self._once, request, deadline)

    def again(self, search: Search, queries: Queries, deadline: float | None) -> Hits:
        return called_again(self, search, queries, deadline)

    def _once(self, request: Request, deadline: float | None) -> Result:
        method, data = encode_pieces(request)
        left = remaining(deadline)
        block = self._blocks.block(method, request, left)
        line = self._line(left)
        try:
            reply = line.exchange(block, data, deadline)
        except BaseException:
            line.close()
            raise
        status = line.status
        self._keep(line)
        return result(self._speech, request, status, reply)

    # -- connections --------------------------------------------------------------------------
    def _line(self, timeout: float | None) -> _Line:
        """An idle connection that is still alive, or a new one."""
        while True:
            try:
                line = self._idle.pop()
            except IndexError:
                return _Line(self._speech.endpoint.address, timeout)
            if line.alive():
                return line
            line.close()

    def _keep(self, line: _Line) -> None:
        if self._closed or not line.usable or len(self._idle) >= MAX_IDLE:
            line.close()
        else:
            self._idle.append(line)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()

    def forget(self) -> None:
        """Start afresh in a forked child: the connections are the parent's."""
        self._lock = Lock()
        idle, self._idle = self._idle, []
        for line in idle:
            line.close()


class _Line:
    """A connection, used by one call at a time."""

    def __init__(self, address: str, timeout: float | None) -> None:
        self._timeout = timeout
        self._exchange = Exchange()
        try:
            self._socket = _dial(address, timeout)
        except TimeoutError as error:
            raise Timeout("the server was not reached within the timeout") from error
        except OSError as error:
            raise retry.NeverSent(f"failed to connect to {address}: {error}") from error

    @property
    def usable(self) -> bool:
        return self._exchange.usable

    @property
    def status(self) -> tuple[int, str]:
        """gRPC's own status of the last call, 0 for success, and its text."""
        return self._exchange.status

    def alive(self) -> bool:
        """Whether an idle connection can carry a call: takes in what the server said meanwhile."""
        try:
            self._wait_at_most(None)
            while True:
                data = self._socket.recv(_CHUNK, socket.MSG_DONTWAIT)
                if not data:
                    return False
                self._exchange.feed(data)
        except BlockingIOError:
            return self._exchange.usable
        except (OSError, WireError, Refused, Aborted):
            return False

    def exchange(self, block: bytes, message: list[Buffer], deadline: float | None) -> bytes | None:
        """Make one call; its message, if it has one. On any error the connection is to be closed."""
        exchange = self._exchange
        exchange.begin(block, message)
        try:
            while True:
                self._send(deadline)
                if exchange.finished:
                    return exchange.message
                self._wait_at_most(remaining(deadline))
                data = self._socket.recv(_CHUNK)
                if not data:
                    raise Unavailable("the server closed the connection during the call")
                exchange.feed(data)
        except TimeoutError as error:
            raise Timeout("the call did not finish within its timeout") from error
        except Refused as error:
            raise retry.NeverSent(str(error)) from error
        except (Aborted, OSError) as error:
            raise Unavailable(f"the connection was lost during the call: {error}") from error

    def _send(self, deadline: float | None) -> None:
        output = self._exchange.output
        if not output:
            return
        self._wait_at_most(remaining(deadline))
        if len(output) > 1 and sum(map(len, output)) <= _SMALL:
            self._socket.sendall(b"".join(output))
        else:
            for at in range(0, len(output), _AT_ONCE):
                self._send_all(output[at : at + _AT_ONCE])
        output.clear()

    def _send_all(self, buffers: list[Buffer]) -> None:
        """Send from where the bytes are: the blocks of a large insert are not copied together."""
        while buffers:
            sent = self._socket.sendmsg(buffers)
            gone = 0
            while gone < len(buffers) and sent >= len(buffers[gone]):
                sent -= len(buffers[gone])
                gone += 1
            buffers = buffers[gone:]
            if sent:
                buffers[0] = memoryview(buffers[0])[sent:]

    def _wait_at_most(self, seconds: float | None) -> None:
        if seconds != self._timeout:
            self._socket.settimeout(seconds)
            self._timeout = seconds

    def close(self) -> None:
        self._socket.close()

    def __del__(self) -> None:
        """A client that nobody closed leaves no socket behind for the interpreter to complain of."""
        if hasattr(self, "_socket"):  # else nobody was reached
            self.close()


def _dial(address: str, timeout: float | None) -> socket.socket:
    if address.startswith("unix:"):
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            line.settimeout(timeout)
            line.connect(address.removeprefix("unix:").removeprefix("//"))
        except OSError:
            line.close()
            raise
        return line
    host, _, port = address.rpartition(":")
    line = socket.create_connection((host.strip("[]"), int(port)), timeout)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_MS)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENCE_MS // 2000)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _SILENCE_MS // 4000)
    return line


_ALIVE: weakref.WeakSet[DirectTransport] = weakref.WeakSet()


def _after_fork() -> None:
    for transport in list(_ALIVE):
        transport.forget()


os.register_at_fork(after_in_child=_after_fork)
