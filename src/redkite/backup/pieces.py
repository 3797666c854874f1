"""The objects that a segment is made of, each with the size and checksum that its bytes must have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from redkite.model.segments import IndexFile, SegmentMeta
from redkite.segment.files import order_bytes, segment_prefix


class Part(StrEnum):
    ROWS = "rows"
    ORDER = "order"
    DELETES = "deletes"
    INDEX = "index"


class Piece(NamedTuple):
    name: str
    part: Part
    size: int
    crc: int
    index_id: int = 0


def pieces_of(segment: SegmentMeta) -> Iterator[Piece]:
    """Every object of a segment."""
    yield Piece(segment.rows_object, Part.ROWS, segment.size, segment.rows_crc)
    if segment.order_object:
        yield Piece(segment.order_object, Part.ORDER, order_bytes(segment), segment.order_crc)
    if segment.deletes_object:
        yield Piece(segment.deletes_object, Part.DELETES, segment.deletes_size, segment.deletes_crc)
    for file in segment.indexes:
        yield Piece(file.object, Part.INDEX, file.size, file.crc, file.index_id)


class Moved(NamedTuple):
    """A segment under new ids, and for each of its pieces the new name."""

    segment: SegmentMeta
    names: tuple[tuple[Piece, str], ...]


def move(
    segment: SegmentMeta,
    segment_id: int,
    collection_id: int,
    channel: str,
    partitions: Mapping[int, int],
    indexes: Mapping[int, int],
) -> Moved:
    """The same segment in another collection; `partitions` and `indexes` give the new ids for the old ones."""
    prefix = segment_prefix(collection_id, segment_id)
    names: list[tuple[Piece, str]] = []
    given: dict[str, str] = {}
    for piece in pieces_of(segment):
        tail = f"index-{indexes[piece.index_id]}" if piece.part is Part.INDEX else piece.name.rpartition("/")[2]
        given[piece.name] = prefix + tail
        names.append((piece, prefix + tail))
    files: tuple[IndexFile, ...] = tuple(
        msgspec.structs.replace(file, index_id=indexes[file.index_id], object=given[file.object])
        for file in segment.indexes
    )
    moved = msgspec.structs.replace(
        segment,
        segment_id=segment_id,
        collection_id=collection_id,
        partition_id=partitions[segment.partition_id],
        channel=channel,
        rows_object=given[segment.rows_object],
        order_object=given.get(segment.order_object, ""),
        deletes_object=given.get(segment.deletes_object, ""),
        indexes=files,
    )
    return Moved(moved, tuple(names))
