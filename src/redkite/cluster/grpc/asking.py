"""The end of a connection that asks: which calls are under way on it, and what they were answered."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

from redkite.cluster.grpc.ends import OK, PREFIX, RESOURCE_EXHAUSTED, UNKNOWN, Body, End
from redkite.env import Buffer
from redkite.wire.headers import literal
from redkite.wire.http2 import (
    CANCEL,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FRAME,
    HEADERS,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    ConnectionBroken,
)

_LAST_STREAM: Final = (1 << 31) - 3
_OK_HEAD: Final = literal(b":status", b"200") + literal(b"content-type", b"application/grpc")
_OK_TAIL: Final = literal(b"grpc-status", b"0")
"""What nodes answer when all is well: not worth to be taken apart."""
_HEAD_WORD: Final = len(_OK_HEAD) << 8 | HEADERS
_TAIL_WORD: Final = len(_OK_TAIL) << 8 | HEADERS
_HEAD_SIZE: Final = FRAME.size + len(_OK_HEAD)


class Asked(Body):
    """One call. Ends with the bytes of its answer, or with a status of gRPC and why."""

    __slots__ = ("answer", "is_refused", "number", "status", "why")

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.answer: bytes | None = None
        self.status = -1
        """-1: none has come."""
        self.why = ""
        self.is_refused = False
        """It was not looked at, and never will be."""


class AskingEnd(End[Asked]):
    """Used by one thread at a time. What has ended is in `ended`, until somebody takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.output.insert(0, PREFACE)
        self.ended: list[Asked] = []
        self.is_usable = True
        """Whether more may be asked."""
        self._next = 1
        self._limit = 0

    def begin(self, block: bytes, message: Buffer, limit: int) -> Asked:
        """Ask. An answer of more than `limit` bytes ends the call."""
        asked = Asked()
        number = asked.number = self._next
        self._next += 2
        self.is_usable = self.is_usable and number < _LAST_STREAM
        self.streams[number] = asked
        self._limit = limit
        self._send(number, block, message, b"")
        return asked

    def give_up(self, asked: Asked) -> None:
        """Nobody waits for the answer any longer."""
        if self.streams.get(asked.number) is asked:
            self.reset(asked.number, CANCEL)

    def _whole(self, data: bytes) -> int:
        at = 0
        while len(data) - at > _HEAD_SIZE and data.startswith(_OK_HEAD, at + FRAME.size):
            word, flags, number = FRAME.unpack_from(data, at)
            asked = self.streams.get(number)
            if word != _HEAD_WORD or flags != END_HEADERS or asked is None or asked.size:
                break
            message = self._short_message(data, at + _HEAD_SIZE, number, 0)
            if message is None or len(message) > self._limit:
                break
            tail = at + _HEAD_SIZE + FRAME.size + PREFIX.size + len(message)
            stop = tail + FRAME.size + len(_OK_TAIL)
            if data[tail:stop] != FRAME.pack(_TAIL_WORD, END_HEADERS | END_STREAM, number) + _OK_TAIL:
                break
            self._count(PREFIX.size + len(message))
            asked.status, asked.answer = OK, message
            del self.streams[number]
            if number in self._unsent:
                self.reset(number, CANCEL)
            self.ended.append(asked)
            at = stop
        return at

    def _begun(self, number: int, block: bytes, is_last: bool) -> None:
        asked = self.streams.get(number)
        if block == _OK_TAIL:
            status, why = OK, ""
        elif block == _OK_HEAD:
            return
        else:
            headers = dict(self.read_block(block))
            told = headers.get(b"grpc-status")
            status = int(told) if told is not None and told.isdigit() and len(told) < 4 else -1
            why = unquote(headers.get(b"grpc-message", b"").decode(errors="replace"))
            if is_last and status < 0:
                status, why = UNKNOWN, f"HTTP status {headers.get(b':status', b'?').decode(errors='replace')}"
        if asked is None:
            return
        if status >= 0:
            asked.status, asked.why = status, why
        if is_last:
            self._ended(number, asked)

    def _grew(self, number: int, stream: Asked) -> None:
        if stream.size > self._limit + PREFIX.size:
            self.reset(number, ENHANCE_YOUR_CALM)
            stream.status, stream.why = RESOURCE_EXHAUSTED, f"an answer of more than {self._limit} bytes"
            self.ended.append(stream)

    def _ended(self, number: int, stream: Asked) -> None:
        del self.streams[number]
        if number in self._unsent:  # answered before all of it was there, and nobody wants the rest
            self.reset(number, CANCEL)
        if stream.status == OK:
            stream.answer = stream.message()
            if stream.answer is None:
                stream.status, stream.why = UNKNOWN, "the answer is not one whole message"
        elif stream.status < 0:
            stream.status, stream.why = UNKNOWN, "the answer has no status"
        self.ended.append(stream)

    def _reset(self, number: int, code: int) -> None:
        stream = self.streams.pop(number, None)
        if stream is not None:
            stream.is_refused = code == REFUSED_STREAM
            stream.status, stream.why = UNKNOWN, f"the call was broken off (HTTP/2 error {code})"
            self.ended.append(stream)

    def _leaves(self, last: int) -> None:
        self.is_usable = False
        for number in [number for number in self.streams if number > last]:
            self._unsent.pop(number, None)
            self._reset(number, REFUSED_STREAM)

    def feed(self, data: bytes) -> None:
        if not self.greeted and data[:4] in (b"HTTP", b"\x15\x03\x01\x00", b"\x15\x03\x03\x00"):
            is_http1 = data[:1] == b"H"
            why = "something else than a node listens there" if is_http1 else "it speaks TLS, and this node does not"
            raise ConnectionBroken(PROTOCOL_ERROR, why)
        super().feed(data)
