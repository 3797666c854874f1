"""Answers that are sent while they are made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Streamed:
    """The envelope of a success, its rows in pieces that are made when they are wanted. Read once."""

    pieces: Iterator[bytes]
    more: dict[str, Any]
    """What stands beside the rows."""

    def parts(self) -> Iterator[bytes]:
        """What is sent, in order."""
        begin = b'{"code":0,"data":['
        for piece in self.pieces:
            yield begin + piece
            begin = b","
        if begin != b",":
            yield begin
        yield b"]" + (b"," + orjson.dumps(self.more, option=orjson.OPT_SERIALIZE_NUMPY)[1:] if self.more else b"}")


Content = bytes | Streamed
