"""What is written to a file of any type is read back bit for bit."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.formats.rows import all_types, random_rows

from redkite import CollectionSchema, DataType
from redkite.bulk_writer.buffer import Buffer
from redkite.formats.readers import CsvOptions, Stored, read_csv, read_json, read_npy, read_parquet, stem
from redkite.formats.slabs import bound
from redkite.formats.writers import BulkFileType, write_files
from redkite.model import schema as model
from redkite.proxy.rules.row_rules import check_rows

NULL = "\\N"
TYPES = [BulkFileType.PARQUET, BulkFileType.JSON, BulkFileType.JSONL, BulkFileType.CSV]


def engine_schema(schema: CollectionSchema) -> model.CollectionSchema:
    """As the engine has it: with the parts of structs, and a dynamic field."""
    given = schema.to_model("rows")
    structs = tuple(
        msgspec.structs.replace(
            struct,
            fields=tuple(msgspec.structs.replace(part, nullable=struct.nullable) for part in struct.fields),
        )
        for struct in given.struct_fields
    )
    whole = msgspec.structs.replace(given, struct_fields=structs).with_parts
    if not whole.enable_dynamic_field:
        return whole
    meta = model.FieldSchema(name=model.META_FIELD, data_type=DataType.JSON, is_dynamic=True, nullable=False)
    return msgspec.structs.replace(whole, fields=(*whole.fields, meta))


def stored(path: Path) -> Stored:
    return Stored(str(path), path.stat().st_size, partial(path.open, "rb"))


def read_back(files: list[Path], kind: BulkFileType, schema: model.CollectionSchema) -> list[Any]:
    if kind is BulkFileType.PARQUET:
        return list(read_parquet(stored(files[0]), schema))
    if kind is BulkFileType.CSV:
        return list(read_csv(stored(files[0]), CsvOptions(";", NULL)))
    if kind is BulkFileType.NUMPY:
        return list(read_npy({stem(file.name): stored(file) for file in files}, schema))
    return list(read_json(stored(files[0]), schema, lines=kind is BulkFileType.JSONL))


def kept(schema: model.CollectionSchema, rows: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_batches([check_rows(schema, rows, upsert=False)])


def check(schema: CollectionSchema, kind: BulkFileType, count: int, seed: int, folder: Path) -> None:
    nulls = 0.0 if kind is BulkFileType.NUMPY else 0.2
    buffer = Buffer(schema)
    for row in random_rows(schema, count, seed, nulls):
        buffer.append(row)
    batches = buffer.take()
    whole = engine_schema(schema)
    files = write_files(batches, folder / str(seed), kind, ";", NULL)
    slabs = read_back(files, kind, whole)
    assert [slab.first for slab in slabs] == [sum(s.rows for s in slabs[:at]) for at in range(len(slabs))]
    read = pa.concat_tables([kept(whole, bound(whole, slab)) for slab in slabs])
    wanted = pa.concat_tables([kept(whole, batch) for batch in batches])
    assert read.schema.names == wanted.schema.names
    for name in wanted.schema.names:
        if name == model.META_FIELD:
            assert documents(read.column(name)) == documents(wanted.column(name))
        else:
            assert read.column(name).equals(wanted.column(name)), name


def documents(column: pa.ChunkedArray) -> list[Any]:
    return [None if text is None else msgspec.json.decode(text) for text in column.to_pylist()]


FEW = settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
@FEW
@given(seed=st.integers(0, 2**31), count=st.integers(1, 25), dynamic=st.booleans(), words=st.booleans())
def test_rows_of_every_type_come_back_bit_for_bit(
    kind: BulkFileType, seed: int, count: int, dynamic: bool, words: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = DataType.VARCHAR if words else DataType.INT64
    check(all_types(dynamic=dynamic, key=key), kind, count, seed, tmp_path_factory.mktemp("rows"))


@FEW
@given(seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_numpy_files_hold_rows_of_plain_types_bit_for_bit(
    seed: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    schema = all_types(dynamic=True, nullable=False, flat=True)
    check(schema, BulkFileType.NUMPY, count, seed, tmp_path_factory.mktemp("rows"))


def test_json_that_is_null_or_has_lines_comes_back_as_it_is(tmp_path: Path) -> None:
    schema = all_types(dynamic=False)
    texts = ["null", '{\n "a": [1,\r\n 12345678901234567890123]}', '"text"', '"\\"x\\""', " 5 ", None]
    buffer = Buffer(schema)
    for row, text in zip(random_rows(schema, len(texts), 1), texts, strict=True):
        buffer.append(row | {"f_json": text})
    (batch,) = buffer.take()
    whole = engine_schema(schema)
    for kind in TYPES:
        files = write_files([batch], tmp_path / kind.name, kind, ";", NULL)
        (slab,) = read_back(files, kind, whole)
        read = kept(whole, bound(whole, slab)).column("f_json").to_pylist()
        assert [None if text is None else compact(text.decode()) for text in read] == [
            None if text is None else compact(text) for text in texts
        ]


def compact(text: str) -> str:
    return "".join(text.split())


def test_a_field_that_only_some_rows_have_is_written_alike(tmp_path: Path) -> None:
    schema = all_types(dynamic=False)
    buffer = Buffer(schema)
    for row in random_rows(schema, 4, 2):
        buffer.append(row)
        buffer.append({key: value for key, value in row.items() if not key.startswith(("f_", "a_"))})
    files = write_files(buffer.take(), tmp_path / "rows", BulkFileType.PARQUET, ";", NULL)
    (slab,) = read_back(files, BulkFileType.PARQUET, engine_schema(schema))
    assert slab.rows == 8


def test_texts_that_a_page_names_often_are_taken_a_few_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    text = "x" * 60_000
    often = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), [text])
    pq.write_table(pa.table({"id": pa.array(range(20_000)), "f_text": often}), path)
    assert path.stat().st_size < 1 << 20
    slabs = list(read_parquet(stored(path), engine_schema(all_types())))
    assert sum(slab.rows for slab in slabs) == 20_000
    assert max(slab.rows for slab in slabs) * len(text) < 40 << 20
