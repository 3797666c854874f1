"""Bytes between nodes: a body and the buffers it speaks of, in one piece that is taken apart without a copy.

offset  bytes
0       4        "RKN" and the version of the protocol
4       4        body length B
8       4        number of buffers N
12      4        zero
16      8 * N    length of each buffer
        B        the body
        …        the buffers, each at the next multiple of 64 bytes
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from redkite.cluster.network import WrongPeer
from redkite.env import Buffer
from redkite.errors import WireError

PROTOCOL = 5
"""Raised with every change of what nodes say to each other."""
_MAGIC = b"RKN"
_HEAD = struct.Struct("<3sBIII")
_ALIGN = 64
_ZEROS = bytes(_ALIGN)
MAX_BUFFERS = 1 << 20


def join_frame(body: bytes, buffers: Sequence[Buffer]) -> bytes:
    """One frame."""
    head = _HEAD.pack(_MAGIC, PROTOCOL, len(body), len(buffers), 0)
    if not buffers:
        return head + body
    sizes = [memoryview(b).nbytes for b in buffers]
    pieces: list[Buffer] = [head, struct.pack(f"<{len(sizes)}Q", *sizes), body]
    at = _HEAD.size + 8 * len(sizes) + len(body)
    for buffer, size in zip(buffers, sizes, strict=True):
        pad = -at % _ALIGN
        pieces += [_ZEROS[:pad], buffer]
        at += pad + size
    return b"".join(pieces)


def split_frame(frame: Buffer) -> tuple[memoryview, list[memoryview]]:
    """Body and buffers, as views. Raises WireError for what is no frame, WrongPeer for one of another version."""
    view = memoryview(frame)
    if len(view) < _HEAD.size:
        raise WireError(f"a message between nodes has {len(view)} bytes: too few")
    magic, protocol, length, count, zero = _HEAD.unpack_from(view)
    if magic != _MAGIC:
        raise WireError("a message between nodes does not begin as one")
    if protocol != PROTOCOL:
        raise WrongPeer(f"the other node speaks version {protocol} of the protocol between nodes, this one {PROTOCOL}")
    begin = _HEAD.size + 8 * count
    if zero or count > MAX_BUFFERS or begin + length > len(view):
        raise WireError("a message between nodes ends too early")
    sizes = struct.unpack_from(f"<{count}Q", view, _HEAD.size)
    at = begin + length
    buffers = []
    for size in sizes:
        at += -at % _ALIGN
        if at + size > len(view):
            raise WireError("a message between nodes ends too early")
        buffers.append(view[at : at + size])
        at += size
    if at != len(view):
        raise WireError(f"a message between nodes has {len(view) - at} bytes too many")
    return view[begin : begin + length], buffers
