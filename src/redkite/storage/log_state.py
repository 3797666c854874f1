"""What is remembered of a topic beside its records: groups, and how far it may be forgotten. One small file, replaced
as a whole.

magic 8 · format u32 · crc u32 of the rest · MessagePack
"""

from __future__ import annotations

import struct
import zlib

import msgspec

from redkite.env import Files
from redkite.errors import Corruption, StorageError
from redkite.storage.log_pages import STATE, TEMPORARY

FORMAT = 1
_MAGIC = b"RKTSTA\r\n"
_HEAD = struct.Struct("<8sII")


class TopicState(msgspec.Struct, frozen=True, kw_only=True):
    truncated: int = 0
    """Records before this position are not needed for recovery."""
    groups: dict[str, int] = {}
    """Each group has acknowledged what comes before its position."""
    unwanted: dict[int, int] = {}
    """Pages, by their base, that nobody wants, and since when (milliseconds since 1970)."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(TopicState).decode


def load_state(files: Files, folder: str) -> TopicState:
    """Raises `Corruption` when the file does not hold. Without a file nothing is remembered."""
    path = f"{folder}/{STATE}"
    if not files.exists(path):
        return TopicState()
    data = files.read(path)
    if len(data) < _HEAD.size or data[: len(_MAGIC)] != _MAGIC:
        raise Corruption(f"'{path}' is damaged: it does not begin as the state of a topic does")
    _, version, crc = _HEAD.unpack_from(data)
    if crc != zlib.crc32(data[_HEAD.size :], version):
        raise Corruption(f"'{path}' is damaged: its checksum does not hold")
    if version > FORMAT:
        raise StorageError(f"'{path}' has format {version}, written by a newer Redkite; this one reads up to {FORMAT}")
    try:
        return _decode(data[_HEAD.size :])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corruption(f"'{path}' is damaged: {error}") from error


def save_state(files: Files, folder: str, state: TopicState) -> None:
    """Durable when it returns. After an error either the old or the new state is found."""
    path = f"{folder}/{STATE}"
    body = _encode(state)
    files.make_dirs(folder)
    files.remove(path + TEMPORARY)
    files.write_new(path + TEMPORARY, [_HEAD.pack(_MAGIC, FORMAT, zlib.crc32(body, FORMAT)), body])
    files.rename(path + TEMPORARY, path)
    files.sync_dir(folder)
