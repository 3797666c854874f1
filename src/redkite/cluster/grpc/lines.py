"""A socket to another node, plain or by TLS, and the words for what goes wrong with it."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Sequence
from typing import Final

from redkite.cluster.network import NotReached
from redkite.env import Buffer

CHUNK: Final = 1 << 16
LARGE_CHUNK: Final = 1 << 20
_JOINED: Final = 1 << 16
_AT_ONCE: Final = 64
"""Buffers in one call of the system."""
_UNHEARD_MS: Final = 20_000
"""A peer's machine that acknowledges nothing for so long is gone."""
_SILENT_SECONDS: Final = 60
"""After so long without a word its machine is asked for a sign of life, also where nothing is to be sent."""
_IP_MISMATCH: Final = frozenset({62, 64})
_EXPIRED: Final = 10


class Seal:
    """TLS of one connection, in memory. Under the connection's lock."""

    def __init__(self, context: ssl.SSLContext, host: str = "") -> None:
        """As the one that asks `host`; empty: as the one that is asked."""
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        if host:
            self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        else:
            self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.is_shaken = False

    def shake(self) -> None:
        """Go on with the handshake. Raises SSLError."""
        try:
            self._tls.do_handshake()
            self.is_shaken = True
        except ssl.SSLWantReadError:
            return

    def sealed(self, data: bytes) -> bytes:
        """Bytes to send: those that the handshake wants, and these."""
        if data:
            self._tls.write(data)
        return self._out.read()

    def opened(self, data: bytes) -> bytes:
        """What arrived, in the clear; None of it as long as the handshake goes on. Raises SSLError."""
        self._in.write(data)
        if not self.is_shaken:
            self.shake()
            if not self.is_shaken:
                return b""
        found = []
        try:
            while piece := self._tls.read(LARGE_CHUNK):
                found.append(piece)
        except ssl.SSLWantReadError:
            pass  # the rest of a record is to come
        return found[0] if len(found) == 1 else b"".join(found)


def prepare(sock: socket.socket) -> None:
    """Small messages go at once, and a machine that is gone is noticed."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNHEARD_MS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _SILENT_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _UNHEARD_MS // 2000)


def wait_at_most(sock: socket.socket, seconds: float) -> None:
    """A blocking socket comes back with BlockingIOError after so long."""
    whole = int(seconds)
    span = struct.pack("ll", whole, max(1, int((seconds - whole) * 1e6)))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, span)


def joined(pieces: Sequence[Buffer]) -> list[Buffer]:
    """Few buffers: small ones in one."""
    if len(pieces) == 1:
        return [pieces[0]]
    if sum(map(len, pieces)) <= _JOINED:
        return [b"".join(pieces)]
    found: list[Buffer] = []
    small: list[Buffer] = []
    for piece in pieces:
        if len(piece) < _JOINED:
            small.append(piece)
            continue
        if small:
            found.append(b"".join(small))
            small = []
        found.append(piece)
    if small:
        found.append(b"".join(small))
    return found


def send_some(sock: socket.socket, buffers: list[Buffer]) -> None:
    """Send all, and take away what was sent. Raises BlockingIOError where the socket takes nothing more, OSError."""
    while buffers:
        send_once(sock, buffers)


def send_once(sock: socket.socket, buffers: list[Buffer]) -> None:
    """What the socket takes in one call of the system. Raises the same."""
    if len(buffers) == 1:
        sent = sock.send(buffers[0])
    else:
        sent = sock.sendmsg(buffers[:_AT_ONCE])
    at = 0
    while at < len(buffers) and sent >= len(buffers[at]):
        sent -= len(buffers[at])
        at += 1
    del buffers[:at]
    if sent:
        buffers[0] = memoryview(buffers[0])[sent:]


def reached(address: str, seconds: float) -> socket.socket:
    """A connection. Raises NotReached with the reason, TimeoutError."""
    host, _, port = address.rpartition(":")
    try:
        sock = socket.create_connection((host.strip("[]"), int(port)), seconds)
    except ConnectionRefusedError:
        raise not_reached(address, "connection refused: nobody listens there") from None
    except socket.gaierror:
        raise not_reached(address, "its name is not known") from None
    except TimeoutError:
        raise
    except (OSError, ValueError) as error:
        raise not_reached(address, str(error)) from None
    prepare(sock)
    return sock


def not_reached(address: str, why: str) -> NotReached:
    return NotReached(f"{address} cannot be reached: {why}")


def why_not_sealed(error: ssl.SSLError, first: bytes) -> str:
    """Why TLS did not come about. `first`: what the other side has said first."""
    if first and first[0] not in (0x14, 0x15, 0x16, 0x17):
        return "it does not speak TLS, and this node does"
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _IP_MISMATCH:
            return "its certificate is for another address"
        return "a certificate has expired" if error.verify_code == _EXPIRED else _FOREIGN
    said = (error.reason or str(error)).upper()
    if "EXPIRED" in said:
        return "a certificate has expired"
    if "UNKNOWN_CA" in said or "CERTIFICATE" in said:
        return _FOREIGN
    return said.lower().replace("_", " ")


_FOREIGN: Final = "the certificates are not of one authority"
