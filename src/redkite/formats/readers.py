"""Files as slabs of rows: Parquet, JSON, CSV and NumPy. A reader holds a few megabytes, whatever the file's size."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from redkite.formats.faults import BadFile
from redkite.formats.json_scan import array_rows, line_rows
from redkite.formats.npy import NpyFile
from redkite.formats.slabs import ArrowCells, Loose, Slab, TextCells, required_names, rows_of
from redkite.model.imports import path_of
from redkite.model.schema import CollectionSchema
from redkite.model.types import DataType

SLAB_BYTES = 8 << 20
"""Of rows that are looked at together, about."""
MOST_ROWS = 65_536
_CSV_BLOCK = 8 << 20
_RECORD: msgspec.json.Decoder[Any] = msgspec.json.Decoder(dict[str, msgspec.Raw])


class CsvOptions(NamedTuple):
    """How CSV files are written."""

    sep: str = ","
    nullkey: str = ""


class Stored(NamedTuple):
    """A file to be read."""

    name: str
    size: int
    open: Callable[[], BinaryIO]
    """Anew each time; it can seek."""


def row_bytes(schema: CollectionSchema) -> int:
    """What a row takes at least, about."""
    widths = {DataType.FLOAT_VECTOR: 4.0, DataType.INT8_VECTOR: 1.0, DataType.BINARY_VECTOR: 1 / 8}
    dense = sum(int(f.dim * widths.get(f.data_type, 2.0)) for f in schema.vector_fields)
    return 16 * len(schema.fields) + dense


def rows_at_once(schema: CollectionSchema, per_row: float = 0.0) -> int:
    """How many rows make a slab."""
    return int(min(MOST_ROWS, max(1, SLAB_BYTES // max(1.0, row_bytes(schema), per_row))))


# -- Parquet ------------------------------------------------------------------------------------
def parquet_rows(file: Stored) -> int:
    """How many rows a Parquet file says it has. Raises BadFile."""
    import pyarrow.parquet as pq

    with file.open() as handle, _arrow_errors():
        return int(pq.read_metadata(handle).num_rows)


def read_parquet(file: Stored, schema: CollectionSchema) -> Iterator[Slab]:
    import pyarrow.parquet as pq

    with file.open() as handle, _arrow_errors():
        meta = pq.read_metadata(handle)
        handle.seek(0)
        texts = [column.path for column in map(meta.schema.column, range(meta.num_columns)) if _is_text(column)]
        opened = pq.ParquetFile(handle, metadata=meta, read_dictionary=texts, pre_buffer=False, buffer_size=1 << 20)
        groups = [meta.row_group(at) for at in range(meta.num_row_groups)]
        per_row = max((g.total_byte_size / g.num_rows for g in groups if g.num_rows), default=0.0)
        at = 0
        for batch in opened.iter_batches(rows_at_once(schema, per_row), use_threads=False):
            for some in _bounded(batch):
                yield arrow_slab(some, at)
                at += some.num_rows


def _is_text(column: Any) -> bool:
    """A column of texts by itself, of which a page may name one text many times."""
    return bool(column.physical_type == "BYTE_ARRAY" and "." not in column.path)


def _bounded(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The rows in pieces that stay small when every text that is named is there."""
    sizes = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and len(column.dictionary):
            lengths = pc.fill_null(pc.binary_length(column.dictionary), 0).to_numpy(zero_copy_only=False)
            sizes += lengths[column.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    ends = np.cumsum(sizes)
    start = 0
    while start < batch.num_rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + 4 * SLAB_BYTES, "right")))
        yield batch.slice(start, stop - start)
        start = stop


def arrow_slab(batch: pa.RecordBatch, first: int) -> Slab:
    """The columns of a batch as they are."""
    names = batch.schema.names
    if len(set(names)) < len(names):
        raise BadFile(f"duplicated columns: {sorted({n for n in names if names.count(n) > 1})}")
    columns = zip(names, batch.columns, strict=True)
    return Slab(first, batch.num_rows, {name: ArrowCells(column) for name, column in columns})


class _arrow_errors:  # noqa: N801  reads like a statement
    """Arrow's complaints about a file as BadFile."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        broken = isinstance(error, pa.ArrowException) and not isinstance(error, pa.ArrowCancelled)
        if broken or (type(error) is OSError and error.errno is None):  # Arrow's own name for bytes that lie
            raise BadFile(str(error).partition("\n")[0]) from error


# -- JSON ---------------------------------------------------------------------------------------
def read_json(file: Stored, schema: CollectionSchema, *, lines: bool) -> Iterator[Slab]:
    required = required_names(schema)
    at = 0
    with file.open() as handle:
        for rows in line_rows(handle) if lines else array_rows(handle):
            yield rows_of(_records(rows, at), at, required)
            at += len(rows)


def _records(rows: Sequence[bytes], first: int) -> list[Any]:
    try:
        return list(map(_RECORD.decode, rows))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        for at, row in enumerate(rows):
            try:
                _RECORD.decode(row)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise BadFile(f"invalid JSON format, {error}", first + at) from None
        raise


# -- CSV ----------------------------------------------------------------------------------------
def read_csv(file: Stored, options: CsvOptions) -> Iterator[Slab]:
    from pyarrow import csv as arrow_csv

    names = _header(file, options)
    lost: list[tuple[int | None, int]] = []

    def uneven(row: Any) -> str:
        lost.append((row.number, row.actual_columns))
        return "error"

    with file.open() as handle:
        at = 0
        try:
            reader = arrow_csv.open_csv(
                handle,
                arrow_csv.ReadOptions(use_threads=False, block_size=_CSV_BLOCK, column_names=names, skip_rows=0),
                arrow_csv.ParseOptions(
                    delimiter=options.sep, newlines_in_values=True, invalid_row_handler=uneven, ignore_empty_lines=True
                ),
                arrow_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
                ),
            )
            skip = 1  # the header, which may take several lines when quoted
            for batch in reader:
                some = batch.slice(skip)
                skip = 0
                cells: dict[str, Loose] = {
                    name: TextCells(column, options.nullkey) for name, column in zip(names, some.columns, strict=True)
                }
                if some.num_rows:
                    yield from _split(Slab(at, some.num_rows, cells))
                at += some.num_rows
        except pa.ArrowException as error:
            if lost:
                number, fields = lost[0]
                reason = f"the number of fields in the row is not equal to the header: {fields}, not {len(names)}"
                raise BadFile(reason, None if number is None else number - 2) from None
            raise BadFile(str(error).partition("\n")[0]) from error


def _split(slab: Slab) -> Iterator[Slab]:
    """At most so many rows at once."""
    for start in range(0, slab.rows, MOST_ROWS):
        count = min(MOST_ROWS, slab.rows - start)
        columns: dict[str, Loose] = {}
        for name, column in slab.columns.items():
            assert isinstance(column, TextCells)
            columns[name] = TextCells(column.texts.slice(start, count), column.nullkey)
        yield Slab(slab.first + start, count, columns)


def _header(file: Stored, options: CsvOptions) -> list[str]:
    """The names in the first row."""
    with file.open() as handle:
        text = io.TextIOWrapper(io.BytesIO(handle.read(1 << 20)), encoding="utf-8-sig", errors="replace", newline="")
        try:
            names = next(csv.reader(text, delimiter=options.sep), [])
        except csv.Error as error:
            raise BadFile(f"its header cannot be read: {error}", 0) from error
    if not names:
        raise BadFile("it has no header")
    if len(set(names)) < len(names):
        raise BadFile(f"duplicated columns: {sorted({n for n in names if names.count(n) > 1})}")
    return names


# -- NumPy --------------------------------------------------------------------------------------
def npy_rows(files: Mapping[str, Stored]) -> int:
    """How many rows the files of a group have, all the same. Raises BadFile."""
    counts = {}
    for name, file in files.items():
        with file.open() as handle:
            counts[name] = NpyFile(handle).rows
    most = max(counts.values(), default=0)
    for name, count in counts.items():
        if count != most:
            raise BadFile(f"the file of field '{name}' has {count} rows, another one {most}")
    return most


def read_npy(files: Mapping[str, Stored], schema: CollectionSchema) -> Iterator[Slab]:
    """`files` by the names of fields."""
    total = npy_rows(files)
    handles = {name: file.open() for name, file in files.items()}
    try:
        opened = {name: NpyFile(handle) for name, handle in handles.items()}
        step = rows_at_once(schema, sum(one.row_bytes for one in opened.values()))
        for at in range(0, total, step):
            count = min(step, total - at)
            columns: dict[str, Loose] = {name: ArrowCells(one.read(count)) for name, one in opened.items()}
            yield Slab(at, count, columns)
    finally:
        for handle in handles.values():
            handle.close()


def stem(file: str) -> str:
    """The name of the field that a NumPy file is for."""
    return path_of(file).replace("\\", "/").rpartition("/")[2].removesuffix(".npy")


__all__ = [
    "CsvOptions", "Stored", "arrow_slab", "npy_rows", "parquet_rows", "read_csv", "read_json", "read_npy",
    "read_parquet", "stem",
]  # fmt: skip
