"""A connection to another node, for one call at a time: whoever waits for the answer reads it by himself."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from redkite.cluster.grpc.asking import Asked, AskingEnd
from redkite.cluster.grpc.lines import (
    CHUNK,
    LARGE_CHUNK,
    Seal,
    joined,
    not_reached,
    reached,
    send_once,
    wait_at_most,
    why_not_sealed,
)
from redkite.env import Buffer
from redkite.wire.http2 import ConnectionBroken

SILENT_SECONDS: Final = 4.0
"""A connection is asked for a sign of life after so long without one, and given up after as long again."""


class Cut(Exception):
    """The connection has ended, and why."""


class Late(Exception):
    """It took longer than it may."""


class Line:
    """Connected, and greeted by a node."""

    def __init__(self, address: str, context: ssl.SSLContext | None, now: Callable[[], float], seconds: float) -> None:
        """Raises NotReached with the reason, Late after `seconds`."""
        self.end = AskingEnd()
        self.is_gone = False
        """Not to be used any more."""
        self.used = 0.0
        """When, the last time."""
        self.when_gone: Callable[[Line], None] = _nothing
        self._now = now
        until = now() + seconds
        try:
            self.socket = reached(address, seconds)
        except TimeoutError:
            raise Late from None
        self.seal: Seal | None = None
        self._patience = 0.0
        try:
            if context is not None:
                self.seal = Seal(context, address.rpartition(":")[0].strip("[]"))
            self._greet(address, until)
        except BaseException:
            self.socket.close()
            raise

    def _greet(self, address: str, until: float) -> None:
        """Only who has said its settings is a node, and has taken this one's certificate."""
        self.socket.settimeout(None)
        first = b""
        try:
            if self.seal is not None:
                self.seal.shake()
            while not self.end.greeted:
                self._flush(until)
                self._wait(until)
                try:
                    data = self.socket.recv(CHUNK)
                except BlockingIOError:
                    continue
                first = first or data[:1]
                if not data:
                    raise not_reached(address, "it closed the connection without a word")
                self._take(data)
            if not self.end.is_usable:
                raise not_reached(address, "it takes nothing new: it is being closed")
        except ssl.SSLError as error:
            with suppress(OSError, Late):  # the alert that says so
                self._flush(until)
            raise not_reached(address, why_not_sealed(error, first)) from None
        except ConnectionBroken as error:
            raise not_reached(address, str(error)) from None
        except OSError as error:
            raise not_reached(address, error.strerror or str(error)) from None

    # -- a call -------------------------------------------------------------------------------------
    def exchange(self, block: bytes, message: Buffer, until: float, limit: int) -> Asked:
        """What a call has come to. Raises Late, Cut; then the line is of no use any more."""
        end = self.end
        try:
            asked = end.begin(block, message, limit)
            self._flush(until)
            is_asked = False
            while not end.ended:
                self._wait(until)
                try:
                    data = self.socket.recv(LARGE_CHUNK if end.expects_much else CHUNK)
                except BlockingIOError:
                    if is_asked:
                        raise Cut("nothing is heard of it") from None
                    is_asked = True
                    end.ping()
                    self._flush(until)
                    continue
                is_asked = False
                if not data:
                    raise Cut("the connection was closed")
                self._take(data)
                if end.output:
                    self._flush(until)
        except (ssl.SSLError, ConnectionBroken) as error:
            raise Cut(str(error)) from None
        except OSError as error:
            raise Cut(error.strerror or str(error)) from None
        end.ended.clear()
        return asked

    def _wait(self, until: float) -> None:
        """Have the socket come back in time. Raises Late when that is over."""
        left = until - self._now()
        if left <= 0:
            raise Late
        patience = min(left, SILENT_SECONDS)
        if patience != self._patience:
            wait_at_most(self.socket, patience)
            self._patience = patience

    def _take(self, data: bytes) -> None:
        opened = data if self.seal is None else self.seal.opened(data)
        if opened:
            self.end.feed(opened)

    def _flush(self, until: float) -> None:
        output, seal = self.end.output, self.seal
        if seal is not None:
            if seal.is_shaken:
                self.end.output = []
            buffers: list[Buffer] = [seal.sealed(b"".join(output) if seal.is_shaken else b"")]
            if not buffers[0]:
                return
        else:
            self.end.output = []
            buffers = joined(output)
        while buffers:
            self._wait(until)  # a peer that takes a little now and then does not make the time longer
            with suppress(BlockingIOError):
                send_once(self.socket, buffers)

    # -- its end ------------------------------------------------------------------------------------
    def ready(self) -> None:
        """The other side has ended it."""
        self.is_gone = True
        self.when_gone(self)

    def cut(self) -> None:
        """Whoever uses it is told at once."""
        self.is_gone = True
        with suppress(OSError):  # it was closed meanwhile
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.is_gone = True
        self.socket.close()


def _nothing(_: Line) -> None:
    """Nobody wants to know."""
