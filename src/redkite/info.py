"""What is in a database? Its collections with their fields, rows, indexes and segments, for `redkite info`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

import msgspec

from redkite.errors import StorageError
from redkite.model.rules.text_rules import enables_match
from redkite.model.timestamps import physical_ms
from redkite.model.types import DataType

if TYPE_CHECKING:
    from redkite.coordinator.meta import CollectionMeta
    from redkite.model.schema import CollectionSchema, FieldSchema
    from redkite.model.segments import IndexMeta
    from redkite.node.topology import Topology

CATALOG: Final = "catalog"
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")


def show(path: str, out: TextIO) -> None:
    """Print what the database in folder `path` holds.

    Raises StorageError when there is none, PathLocked when another process has it open.
    """
    folder = Path(path)
    if not (folder / CATALOG).exists():
        raise StorageError(f"there is no database at {path}" if folder.exists() else f"{path} does not exist")
    from redkite.cluster.local import open_database

    database = open_database(path)
    try:
        out.write(f"{path}   {in_units(folder_bytes(folder))} on disk\n")
        collections = sorted(database.topology.root.all_collections(), key=lambda meta: (meta.database, meta.name))
        out.writelines("\n" + "\n".join(describe(database.topology, meta)) + "\n" for meta in collections)
        if not collections:
            out.write("no collections\n")
    finally:
        database.close()


def describe(topology: Topology, meta: CollectionMeta) -> Iterator[str]:
    """The lines about one collection."""
    rows = sum(shard.rows() for shard in topology.shards(meta))
    loaded = "loaded" if topology.loads.entry(meta.collection_id) else "not loaded"
    created = datetime.fromtimestamp(physical_ms(meta.created_timestamp) / 1000, UTC)
    database = "" if meta.database == "default" else f"{meta.database}."
    yield f"{database}{meta.name}   {rows:,} rows, {loaded}, created {created:%Y-%m-%d %H:%M} UTC"
    if meta.schema.description:
        yield f"  {meta.schema.description}"
    if meta.aliases:
        yield f"  also known as {', '.join(meta.aliases)}"
    yield from _fields(topology, meta)
    if len(meta.partitions) > 1:
        yield f"  partitions: {', '.join(partition.name for partition in meta.partitions)}"
    yield from _segments(topology, meta)


def _fields(topology: Topology, meta: CollectionMeta) -> Iterator[str]:
    schema = meta.schema
    indexes = topology.data.made_indexes(meta.collection_id)
    kinds = {field.name: _kind(field) for field in schema.user_fields}
    widths = max(map(len, kinds)), max(map(len, kinds.values()))
    for field in schema.user_fields:
        notes = ", ".join(_notes(schema, field, indexes))
        yield f"  {field.name:<{widths[0]}}  {kinds[field.name]:<{widths[1]}}  {notes}".rstrip()
    for struct in schema.struct_fields:
        null = ", may be null" if struct.nullable else ""
        yield f"  {struct.name:<{widths[0]}}  ARRAY of STRUCT, up to {struct.fields[0].max_capacity}{null}"
        for part in struct.fields:
            notes = ", ".join(_notes(schema, msgspec.structs.replace(part, nullable=False), indexes))
            yield f"    {part.sub_name}  {_kind(part.element)}  {notes}".rstrip()
    if schema.enable_dynamic_field:
        yield "  and any other field a row brings"


def _kind(field: FieldSchema) -> str:
    name = field.data_type.name
    if field.data_type is DataType.ARRAY:
        return f"ARRAY of {field.element_type.name}"
    extent = field.dim or field.max_length
    return f"{name}({extent})" if extent else name


def _notes(schema: CollectionSchema, field: FieldSchema, indexes: Iterable[IndexMeta]) -> Iterator[str]:
    if field.is_primary:
        yield "primary key, given automatically" if schema.auto_id or field.auto_id else "primary key"
    if field.is_partition_key:
        yield "partition key"
    if field.nullable:
        yield "may be null"
    if enables_match(field):
        yield "words can be matched"
    for index in indexes:
        if index.field != field.name:
            continue
        metric = f" {index.spec.metric}" if index.spec.metric else ""
        build = "".join(f" {name}={value}" for name, value in index.spec.build.items())
        yield f"{index.spec.index_type}{metric}{build}"


def _segments(topology: Topology, meta: CollectionMeta) -> Iterator[str]:
    segments = topology.data.segments(meta.collection_id)
    growing = sum(shard.growing_rows for shard in topology.shards(meta))
    if segments:
        rows = sum(segment.rows for segment in segments)
        deleted = sum(segment.deleted_rows for segment in segments)
        indexed = sum(file.size for segment in segments for file in segment.indexes)
        gone = f", {deleted:,} of them deleted" if deleted else ""
        yield (
            f"  {len(segments)} sealed segment{'s' * (len(segments) > 1)}: {rows:,} rows{gone}; "
            f"{in_units(sum(segment.size for segment in segments))} of columns, {in_units(indexed)} of indexes"
        )
    if growing:
        yield f"  {growing:,} rows in the log, not sealed yet"


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in a folder and below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def in_units(count: float) -> str:
    """A number of bytes for people: 1536 is `1.5 kB`."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} {_UNITS[unit]}" if unit == 0 or count >= 100 else f"{count:.1f} {_UNITS[unit]}"
