"""Which protocol does a new connection speak? One port, told by the first bytes.

`PRI * HTTP/2` is gRPC; the name of an HTTP method is HTTP/1.1; anything else gets a short answer and is closed.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus

from redkite.wire.http2 import PREFACE

FIRST_BYTES_SECONDS = 10.0
"""How long a connection may stay silent before it says what it wants."""
MAX_CONNECTIONS = 10_000
BACKLOG = 1024
"""Connections that wait to be accepted."""
_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT ")
_TLS_HANDSHAKE = 0x16
_TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x28"
"""What a TLS client understands as a refusal: fatal, handshake failure."""
_KEEPALIVE_SECONDS = 60

ProtocolFactory = Callable[[], asyncio.Protocol]


class Listener:
    """The connections of one port. `http2` and `http1` make the protocol of a connection once it is known;
    `others` counts the connections they made that are still open."""

    def __init__(
        self,
        http2: ProtocolFactory,
        http1: ProtocolFactory,
        others: Callable[[], int],
        first_bytes_seconds: float = FIRST_BYTES_SECONDS,
    ) -> None:
        self.http2 = http2
        self.http1 = http1
        self.first_bytes_seconds = first_bytes_seconds
        self.undecided: set[FirstBytes] = set()
        self._others = others
        self._servers: list[asyncio.Server] = []

    @property
    def is_full(self) -> bool:
        return len(self.undecided) + self._others() >= MAX_CONNECTIONS

    async def open(self, listening: socket.socket, *, shared: bool = False, tls: ssl.SSLContext | None = None) -> None:
        """Accept connections of a listening socket; of a `shared` one, one at a time, so that others get theirs. With
        `tls` they are encrypted, and what is told by the first bytes is what is inside."""
        loop = asyncio.get_running_loop()
        taken = 1 if shared else BACKLOG
        self._servers.append(await loop.create_server(lambda: FirstBytes(self), sock=listening, backlog=taken, ssl=tls))
        listening.listen(BACKLOG)

    def close(self) -> None:
        """Accept nothing more; connections that have not said what they are end now."""
        for server in self._servers:
            server.close()
        for connection in list(self.undecided):
            connection.abort()


class FirstBytes(asyncio.Protocol):
    """A connection until it is known what it speaks."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        _keep_alive(transport)
        listener = self._listener
        if listener.is_full:
            self._answer(503, f"this server has {MAX_CONNECTIONS} connections, its limit")
            return
        listener.undecided.add(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(listener.first_bytes_seconds, self.abort)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._decided()
        self._transport = None

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        received = self._received = self._received + data
        if received.startswith(PREFACE):
            self._become(self._listener.http2())
        elif received.startswith(_METHODS):
            self._become(self._listener.http1())
        elif received[0] == _TLS_HANDSHAKE:
            transport.write(_TLS_ALERT)
            transport.close()
        elif not _may_become(received):
            self._answer(400, "this port speaks gRPC (HTTP/2 without TLS) and HTTP/1.1")

    def abort(self) -> None:
        """End a connection that did not say what it wants."""
        if self._transport is not None:
            self._transport.abort()

    def _become(self, protocol: asyncio.Protocol) -> None:
        assert self._transport is not None
        self._decided()
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._received)

    def _answer(self, status: int, text: str) -> None:
        assert self._transport is not None
        body = text.encode() + b"\n"
        phrase = HTTPStatus(status).phrase.encode()
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
            % (status, phrase, len(body), body)
        )
        self._transport.close()

    def _decided(self) -> None:
        self._listener.undecided.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _may_become(received: bytes) -> bool:
    """More bytes could still make this the start of a protocol we speak."""
    return any(known.startswith(received) for known in (PREFACE, *_METHODS))


def _keep_alive(transport: asyncio.Transport) -> None:
    """Let the system find out that a peer vanished without a word."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS // 4)
