"""What a connection knows of one request and its answer."""

from __future__ import annotations

import math
from typing import Any

from redkite.wire.headers import Header

_SMALL_CHUNK = 512


class Stream:
    """One request and its answer. `body` holds the chunks as they came, `size` their sum; `target`, `call`, `deadline`,
    `encoding` and `is_unknown` are the subclass's."""

    __slots__ = (
        "answered", "body", "call", "complete", "counted", "deadline", "encoding", "headers", "id", "is_unknown",
        "since", "size", "target", "unsent", "window",
    )  # fmt: skip

    def __init__(self, stream_id: int, headers: list[Header], window: int) -> None:
        self.id = stream_id
        self.headers = headers
        self.body: list[bytes | bytearray | memoryview] = []
        self.size = 0
        self.counted = 0
        self.since = 0.0
        self.target = ""
        self.call: Any = None
        self.deadline = math.inf
        self.encoding = b""
        self.is_unknown = False
        self.complete = False
        self.answered = False
        self.window = window
        self.unsent: Unsent | None = None

    def keep(self, chunk: bytes | memoryview) -> None:
        """Add a chunk to the body. One that comes in crumbs does not become a million objects."""
        body = self.body
        if len(chunk) >= _SMALL_CHUNK or not body:
            body.append(chunk)
        elif isinstance(body[-1], bytearray):
            body[-1] += chunk
        else:
            body.append(bytearray(chunk))
        self.size += len(chunk)


class Unsent:
    """The part of an answer that waits for the peer's window."""

    __slots__ = ("body", "position", "trailers")

    def __init__(self, body: memoryview, trailers: bytes) -> None:
        self.body = body
        self.position = 0
        self.trailers = trailers
