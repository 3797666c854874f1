"""Rows of a collection into files, by whoever asks: what `import_files` takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from redkite.client import arguments
from redkite.client.iterators import MAX_BATCH, QueryCursor, opening
from redkite.client.operations import reads
from redkite.client.results import QueryResult
from redkite.client.session import Operation, Session, ask
from redkite.errors import ParamError
from redkite.formats.readers import row_bytes
from redkite.formats.writers import BulkFileType, write_files
from redkite.model import requests, results
from redkite.model.batch import typed_rows
from redkite.model.schema import META_FIELD, CollectionSchema

_PAGE_BYTES = 16 << 20


def export_files(
    session: Session,
    collection_name: str,
    folder: str | os.PathLike[str],
    file_type: BulkFileType | str,
    filter: str | None,
    output_fields: Sequence[str] | None,
    partition_names: Sequence[str] | None,
    chunk_size: int,
    sep: str,
    nullkey: str,
    as_of: reads.Moment | None,
    filter_params: dict[str, Any] | None,
) -> Operation[list[list[str]]]:
    """Write all rows, as they are at one moment; the files, in groups that belong together."""
    kind = _file_type(file_type)
    if len(sep) != 1 or sep in '\0\r\n"':
        raise ParamError(f"sep={sep!r} is no separator of columns")
    if arguments.integer("chunk_size", chunk_size) <= 0:
        raise ParamError(f"chunk_size={chunk_size} is no positive number of bytes")
    described = requests.DescribeCollection(
        database=session.database, collection=arguments.name("collection_name", collection_name)
    )
    info = yield from ask(described, results.CollectionInfo)
    schema = info.schema.with_parts
    names = _names(info.schema, output_fields)
    query = reads.query(
        session, collection_name, filter, names, None, partition_names, 1, None, filter_params, None, None, None, as_of,
        None, None, {},
    )  # fmt: skip
    page = min(MAX_BATCH, max(1, _PAGE_BYTES // row_bytes(schema)))
    cursor = QueryCursor(session, opening(query, requests.Query), page, None)
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    filled = [field.name for field in schema.fields if field.default_value is not None]
    waiting: list[pa.RecordBatch] = []
    made: list[list[str]] = []

    def write() -> None:
        files = write_files(waiting, target / str(len(made) + 1), kind, sep, nullkey, filled)
        made.append([str(file) for file in files])
        waiting.clear()

    while True:
        found = yield from cursor.page()
        if not isinstance(found, QueryResult) or not len(found):
            break
        waiting.append(_kept(found.batch, schema, names))
        if sum(batch.nbytes for batch in waiting) >= chunk_size:
            write()
    if waiting:
        write()
    return made


def _file_type(value: BulkFileType | str) -> BulkFileType:
    known = ", ".join(kind.name.lower() for kind in BulkFileType)
    try:
        return BulkFileType[value.upper()] if isinstance(value, str) else BulkFileType(value)
    except (KeyError, ValueError):
        raise ParamError(f"file_type {value!r} is none of {known}") from None


def _names(schema: CollectionSchema, wanted: Sequence[str] | None) -> list[str]:
    """What is exported: everything that an import takes, unless the caller says."""
    if wanted is not None:
        return list(arguments.names("output_fields", wanted))
    names = [f.name for f in schema.user_fields if not f.is_function_output and not (f.is_primary and f.auto_id)]
    names += [struct.name for struct in schema.struct_fields]
    return [*names, META_FIELD] if schema.enable_dynamic_field else names


def _kept(rows: pa.RecordBatch, schema: CollectionSchema, names: Sequence[str]) -> pa.RecordBatch:
    """The columns that were asked for: a reply has the primary key too."""
    wanted = set(names)
    chosen = [at for at, name in enumerate(rows.schema.names) if {name, name.partition("[")[0]} & wanted]
    some = pa.RecordBatch.from_arrays(
        [rows.column(at) for at in chosen], schema=pa.schema([rows.schema.field(at) for at in chosen])
    )
    return typed_rows(some, schema)
