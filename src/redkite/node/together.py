"""One write over several shards, which is refused by all of them or by none.

What can be known before is known before the first record is appended: every piece is encoded, the memory of the log's
queue is there for all of them, and so is the room on the disk. Only then does the write have a timestamp. A disk that
fails later may still part the pieces: the error then says which shards have theirs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from typing import Protocol, TypeAlias

import pyarrow as pa

from redkite.errors import MilvusException
from redkite.model.schema import CollectionSchema
from redkite.node import records
from redkite.node.shard import Shard
from redkite.node.topology import Topology
from redkite.storage.log import Room

Logged: TypeAlias = tuple[int, list[tuple[Shard, Future[int]]]]
"""The timestamp of a write, and what each shard will say when it is durable and visible."""


class _Append(Protocol):
    def __call__(self, *, timestamp: int, room: Room | None) -> Future[int]: ...


class Piece:
    """What one shard has to log of a write, encoded."""

    __slots__ = ("append", "shard", "size")

    def __init__(self, shard: Shard, size: int, append: _Append) -> None:
        self.shard = shard
        self.size = size
        """Bytes of the record, at most."""
        self.append = append


def rows_piece(shard: Shard, parts: records.Parts, rows: pa.RecordBatch, schema: CollectionSchema) -> Piece:
    """Rows that were checked by a schema; see `Shard.log_rows`."""
    body = records.encode_rows(rows, schema)
    keys = records.keys_of(rows, schema)
    append = partial(shard.log_rows, parts, rows, schema=schema, keys=keys, body=body)
    return Piece(shard, records.size_with_header(parts, body), append)


def keys_piece(shard: Shard, keys: pa.Array) -> Piece:
    """Primary keys to delete."""
    body = records.encode_keys(keys)
    return Piece(shard, records.size_with_header((), body), partial(shard.log_keys, keys, body=body))


def log_together(topology: Topology, pieces: Iterable[Piece], allocate: Callable[[], int]) -> Logged:
    """Log them at one timestamp, in a turn of all their shards."""
    pieces = list(pieces)
    if len(pieces) < 2:
        timestamp = allocate()
        return timestamp, [(p.shard, p.append(timestamp=timestamp, room=None)) for p in pieces]
    with ExitStack() as kept:
        rooms = _reserve(topology, pieces, kept)
        timestamp = allocate()
        first, *others = pieces
        logged = [(first.shard, first.append(timestamp=timestamp, room=rooms[first.shard.channel]))]
        return timestamp, logged + [(p.shard, _append(p, timestamp, rooms[p.shard.channel])) for p in others]


def _append(piece: Piece, timestamp: int, room: Room) -> Future[int]:
    """What cannot be appended any more, since its topic has just failed, is told like what could not be written."""
    try:
        return piece.append(timestamp=timestamp, room=room)
    except MilvusException as error:
        failed: Future[int] = Future()
        failed.set_exception(error)
        return failed


def _reserve(topology: Topology, pieces: Sequence[Piece], kept: ExitStack) -> dict[str, Room]:
    """Room for every piece, by channel; each streaming node is asked once."""
    owners = {id(owner): owner for owner in topology.streaming}
    wanted: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for piece in pieces:
        wanted[id(topology.owner(piece.shard.channel))][piece.shard.channel] = piece.size
    rooms: dict[str, Room] = {}
    for owner, sizes in wanted.items():
        room = owners[owner].reserve(sizes)
        kept.callback(room.give_back)
        rooms |= dict.fromkeys(sizes, room)
    return rooms
