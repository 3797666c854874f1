"""The end of a connection that answers: what was asked on it and is not answered yet."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from redkite.cluster.grpc.ends import (
    INTERNAL,
    PREFIX,
    RESOURCE_EXHAUSTED,
    UNIMPLEMENTED,
    Body,
    End,
)
from redkite.env import Buffer
from redkite.wire.headers import literal, plain
from redkite.wire.http2 import (
    END_HEADERS,
    END_STREAM,
    FRAME,
    HEADERS,
    NO_ERROR,
    PREFACE,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    ConnectionBroken,
)

MOST_STREAMS: Final = 100_000
"""Messages of one connection that are not answered yet."""
_MOST_KNOWN: Final = 256
_HEAD: Final = literal(b":status", b"200") + literal(b"content-type", b"application/grpc")
_TAIL: Final = literal(b"grpc-status", b"0")
_TIMEOUT: Final = re.compile(rb"([0-9]{1,8})([HMSmun])")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def _always(_: int) -> bool:
    """There is room."""
    return True


class Question(Body):
    """A message that came whole, or is about to."""

    __slots__ = ("number", "seconds", "whole")

    def __init__(self, number: int, seconds: float | None) -> None:
        super().__init__()
        self.number = number
        self.seconds = seconds
        """How long the answer is waited for; None: nobody said."""
        self.whole = 0
        """Bytes that it says it has; 0 before it has said so."""


class AnsweringEnd(End[Question]):
    """Used by one thread at a time. What has come whole is in `questions`, until somebody takes it."""

    def __init__(self, path: str, limit: int, fits: Callable[[int], bool] = _always) -> None:
        """Takes messages of up to `limit` bytes for one method; `fits` says of each whether there is room for it."""
        super().__init__()
        self._fits = fits
        self.questions: list[tuple[Question, bytes]] = []
        self.open: set[int] = set()
        """Streams whose answers are waited for."""
        self._path = path.encode()
        self._limit = limit
        self._knows_peer = False
        self._known: dict[bytes, float | None] = {}
        """Header blocks that leave the table alone, and what they say: a node's are alike."""
        self._is_leaving = False

    def feed(self, data: bytes) -> None:
        if not self._knows_peer:
            data = self._rest + data
            if len(data) < len(PREFACE) and PREFACE.startswith(data):
                self._rest = data
                return
            if not data.startswith(PREFACE):
                raise ConnectionBroken(PROTOCOL_ERROR, "not an HTTP/2 connection preface")
            self._knows_peer, self._rest, data = True, b"", data[len(PREFACE) :]
        super().feed(data)

    def _whole(self, data: bytes) -> int:
        at = 0
        while len(data) - at > FRAME.size and not self._is_leaving and len(self.open) < MOST_STREAMS:
            word, flags, number = FRAME.unpack_from(data, at)
            start = at + FRAME.size
            stop = start + (word >> 8)
            if word & 0xFF != HEADERS or flags != END_HEADERS or number <= self.last or not number & 1:
                break
            block = data[start:stop]
            if block not in self._known:
                break
            message = self._short_message(data, stop, number, END_STREAM)
            if message is None or len(message) > self._limit or not self._fits(len(message)):
                break
            self.last = number
            self.open.add(number)
            self._count(PREFIX.size + len(message))
            self.questions.append((Question(number, self._known[block]), message))
            at = stop + FRAME.size + PREFIX.size + len(message)
        return at

    # -- questions ----------------------------------------------------------------------------------
    def _begun(self, number: int, block: bytes, is_last: bool) -> None:
        if number <= self.last:  # trailers, which say nothing here
            self.read_block(block)
            stream = self.streams.get(number)
            if stream is not None and is_last:
                self._ended(number, stream)
            return
        if not number & 1:
            raise ConnectionBroken(PROTOCOL_ERROR, f"stream id {number} is not a client's")
        self.last = number
        try:
            seconds = self._known[block]
        except KeyError:
            found = self._looked_at(block)
            if isinstance(found, bytes):
                self.open.add(number)
                self._refuse(number, found)
                return
            seconds = found
        if self._is_leaving or len(self.open) >= MOST_STREAMS:
            self.reset(number, REFUSED_STREAM)
            return
        self.open.add(number)
        stream = self.streams[number] = Question(number, seconds)
        if is_last:
            self._ended(number, stream)

    def _looked_at(self, block: bytes) -> float | bytes | None:
        """How long the answer of a call is waited for; the block that refuses it."""
        spelled = plain(block)
        headers = dict(self.read_block(block) if spelled is None else spelled)
        if not headers.get(b"content-type", b"").startswith(b"application/grpc"):
            return literal(b":status", b"415")
        if headers.get(b":path") != self._path:
            return refusal(UNIMPLEMENTED, "nodes answer another method")
        timeout = headers.get(b"grpc-timeout")
        seconds = None
        if timeout is not None:
            match = _TIMEOUT.fullmatch(timeout)
            if match is None:
                return refusal(INTERNAL, "the timeout of the call cannot be read")
            seconds = int(match[1]) * _UNITS[match[2]]
        if spelled is not None and len(self._known) < _MOST_KNOWN:
            self._known[block] = seconds
        return seconds

    def _grew(self, number: int, stream: Question) -> None:
        if not stream.whole and stream.size >= PREFIX.size:
            stream.whole = self._announced(stream)
            if not self._fits(stream.whole):
                self.open.discard(number)
                self.reset(number, REFUSED_STREAM)
                return
        if stream.size > self._limit + PREFIX.size:
            self._refuse(number, refusal(RESOURCE_EXHAUSTED, f"a message of more than {self._limit} bytes"))

    def _announced(self, stream: Question) -> int:
        """How many bytes the beginning of a message says that it has; those of more than may be will be refused."""
        first = stream.chunks[0] if len(stream.chunks[0]) >= PREFIX.size else b"".join(stream.chunks)
        length: int = PREFIX.unpack_from(first)[1]
        return min(length, self._limit)

    def arriving(self) -> int:
        """Bytes that messages have which have not come whole."""
        return sum(max(stream.whole, stream.size) for stream in self.streams.values())

    def _ended(self, number: int, stream: Question) -> None:
        del self.streams[number]
        message = stream.message()
        if message is None:
            self._refuse(number, refusal(INTERNAL, "the request is not one whole message"))
        else:
            stream.chunks = []
            self.questions.append((stream, message))

    def _reset(self, number: int, code: int) -> None:  # noqa: ARG002  whatever the reason, nobody waits
        if number > self.last:
            raise ConnectionBroken(PROTOCOL_ERROR, "a reset of no stream")
        self.streams.pop(number, None)
        self.open.discard(number)

    def _leaves(self, last: int) -> None:
        """It still takes its answers."""

    # -- answers ------------------------------------------------------------------------------------
    def answer(self, number: int, message: Buffer) -> None:
        """Nothing is sent when nobody waits any more."""
        if number in self.open:
            self.open.discard(number)
            self._send(number, _HEAD, message, _TAIL)

    def fail(self, number: int, status: int, text: str) -> None:
        """The same with a status of gRPC."""
        self._refuse(number, refusal(status, text))

    def _refuse(self, number: int, block: bytes) -> None:
        if number not in self.open:
            return
        self.open.discard(number)
        self.output += (FRAME.pack(len(block) << 8 | HEADERS, END_HEADERS | END_STREAM, number), block)
        if self.streams.pop(number, None) is not None:
            self.reset(number, NO_ERROR)

    def leave(self) -> None:
        """Take nothing new."""
        self._is_leaving = True
        self.go_away(self.last)

    def is_answered(self) -> bool:
        return not self.open and not self._unsent


def refusal(status: int, text: str) -> bytes:
    """The headers of an answer that has no message."""
    return (
        literal(b":status", b"200")
        + literal(b"content-type", b"application/grpc")
        + literal(b"grpc-status", str(status).encode())
        + literal(b"grpc-message", quote(text, safe=" '(),-./:;").encode())
    )
