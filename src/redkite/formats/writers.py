"""Rows into files: Parquet, JSON, JSON lines, CSV and NumPy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import ParamError
from redkite.formats.outgoing import csv_columns, dumped, file_columns, json_columns
from redkite.model.batch import data_type_of, matrix_of
from redkite.model.types import DataType

ROW_GROUP_BYTES = 32 << 20
_FEWEST, _MOST = 1_000, 1_000_000
_BLOCK = 8_192
"""Rows that are made JSON or CSV at once."""


class BulkFileType(IntEnum):
    NUMPY = 1
    NPY = 1
    JSON = 2
    JSON_RB = 2
    PARQUET = 3
    CSV = 4
    JSONL = 5


_ENDINGS = {
    BulkFileType.JSON: ".json", BulkFileType.PARQUET: ".parquet", BulkFileType.CSV: ".csv",
    BulkFileType.JSONL: ".jsonl",
}  # fmt: skip


def write_files(
    rows: Sequence[pa.RecordBatch], stem: Path, kind: BulkFileType, sep: str, nullkey: str,
    filled: Collection[str] = (),
) -> list[Path]:  # fmt: skip
    """Write rows, at least one, as `stem.parquet` and the like, or in a folder `stem`, a NumPy file for each field.
    A file has its name only when it is whole. `filled`: fields with a default, in whose place a null stands."""
    if kind is BulkFileType.NUMPY:
        return _write_npy(rows, stem)
    target = stem.with_name(stem.name + _ENDINGS[kind])
    beside = target.with_name(target.name + ".part")
    try:
        with beside.open("wb") as file:
            if kind is BulkFileType.PARQUET:
                _write_parquet(rows, file)
            elif kind is BulkFileType.CSV:
                _write_csv(rows, file, sep, nullkey, filled)
            else:
                _write_json(rows, file, lines=kind is BulkFileType.JSONL)
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return [target]


def _blocks(rows: Sequence[pa.RecordBatch]) -> Any:
    for batch in rows:
        for start in range(0, batch.num_rows, _BLOCK):
            yield batch.slice(start, _BLOCK)


def _write_parquet(rows: Sequence[pa.RecordBatch], file: BinaryIO) -> None:
    import pyarrow.parquet as pq

    count = sum(batch.num_rows for batch in rows)
    size = sum(batch.nbytes for batch in rows)
    group = min(_MOST, max(_FEWEST, ROW_GROUP_BYTES // max(1, size // max(1, count))))
    shown = [file_columns(batch) for batch in rows]
    with pq.ParquetWriter(file, shown[0].schema) as writer:
        writer.write_table(pa.Table.from_batches(shown), row_group_size=group)


def _write_json(rows: Sequence[pa.RecordBatch], file: BinaryIO, *, lines: bool) -> None:
    file.write(b"" if lines else b'{"rows":[\n')
    first = True
    for block in _blocks(rows):
        columns = json_columns(block)
        texts = [dumped(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
        if lines:
            file.writelines(text + b"\n" for text in texts)
        else:
            file.write((b"" if first else b",\n") + b",\n".join(texts))
        first = False
    file.write(b"" if lines else b"\n]}\n")


def _write_csv(rows: Sequence[pa.RecordBatch], file: BinaryIO, sep: str, nullkey: str, filled: Collection[str]) -> None:
    from pyarrow import csv

    header = True
    for block in _blocks(rows):
        nullable = {*filled, *(field.name for field in block.schema if field.nullable)}
        columns = {
            name: _without_nulls(name, column, nullkey, name in nullable) for name, column in csv_columns(block).items()
        }
        options = csv.WriteOptions(include_header=header, delimiter=sep, quoting_style="all_valid")
        csv.write_csv(pa.table(columns), file, options)
        header = False


def _without_nulls(name: str, column: pa.Array, nullkey: str, nullable: bool) -> pa.Array:
    """The texts with nulls among them. `nullable`: whoever reads them takes `nullkey` for null."""
    if not nullable and not column.null_count:
        return column
    if pc.any(pc.equal(column, nullkey)).as_py():
        raise ParamError(
            f"field `{name}` takes nulls and has a text {nullkey!r}, which says null in a CSV file: choose nullkey"
        )
    return column.fill_null(nullkey)


# -- NumPy --------------------------------------------------------------------------------------
def _write_npy(rows: Sequence[pa.RecordBatch], folder: Path) -> list[Path]:
    whole = pa.Table.from_batches(rows).combine_chunks().to_batches()[0]
    arrays = {field.name: _array(field, whole.column(field.name)) for field in whole.schema}
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, array in arrays.items():
        target = folder / f"{name}.npy"
        with target.open("wb") as file:
            np.save(file, array, allow_pickle=False)
        made.append(target)
    return made


def _array(field: pa.Field, column: pa.Array) -> npt.NDArray[Any]:
    kind = data_type_of(field)
    if column.null_count:
        raise ParamError(f"field `{field.name}` has a null, which a NumPy file cannot hold: choose another file type")
    if kind in (DataType.ARRAY, DataType._ARRAY_OF_VECTOR, DataType.SPARSE_FLOAT_VECTOR) or field.name.endswith("]"):
        raise ParamError(f"field `{field.name}` is of a type that NumPy files do not hold: choose another file type")
    if kind.is_vector:
        matrix = np.ascontiguousarray(matrix_of(column, kind))
        halves = kind in (DataType.FLOAT16_VECTOR, DataType.BFLOAT16_VECTOR)
        return matrix.view(np.uint8) if halves else matrix
    if kind is DataType.BOOL or kind.is_number:
        numbers: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return numbers
    texts = csv_columns(pa.RecordBatch.from_arrays([column], schema=pa.schema([field])))[field.name].to_pylist()
    if any(text.endswith("\0") for text in texts):
        raise ParamError(f"a text of field `{field.name}` ends in a zero character, which a NumPy file would lose")
    return np.array(texts, np.str_)
