"""The frames of HTTP/2 (RFC 9113): their numbers, and what may stand in them."""

from __future__ import annotations

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME = 16_384
MAX_WINDOW = (1 << 31) - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 0x1, 0x4, 0x8, 0x20, 0x1

NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR = 0x0, 0x1, 0x3, 0x5, 0x6
REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0x7, 0x8, 0x9, 0xB

TABLE_SIZE_SETTING, PUSH_SETTING, MAX_STREAMS_SETTING, INITIAL_WINDOW_SETTING = 0x1, 0x2, 0x3, 0x4
MAX_FRAME_SETTING, MAX_LIST_SETTING = 0x5, 0x6
FRAME = Struct(">IBI")  # length << 8 | type, flags, stream id
SETTING = Struct(">HI")
PAIR = Struct(">II")
SETTINGS_ACK = FRAME.pack(SETTINGS, ACK, 0)


class ConnectionBroken(Exception):
    """The peer broke the protocol; `code` goes into the GOAWAY."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def unpadded(payload: bytes) -> bytes:
    """What a padded frame holds."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionBroken(PROTOCOL_ERROR, "the padding of a frame is longer than the frame")
    return payload[1 : len(payload) - payload[0]]
