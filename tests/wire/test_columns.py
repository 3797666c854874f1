"""Columns between FieldData and Arrow, against messages that pymilvus builds and reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus import DataType as TheirType
from pymilvus.client import entity_helper
from pymilvus.client.field_data_extractors import decode_cell, decode_range
from pymilvus.grpc_gen import schema_pb2

from redkite.errors import InvalidParameter, MilvusException, Unimplemented
from redkite.model.batch import arrow_field, data_type_of, typed_rows
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.wire.column_reader import read_batch, read_column, read_ids
from redkite.wire.column_writer import write_batch, write_column, write_ids
from redkite.wire.messages import schema

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)

SCALARS: dict[DataType, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    DataType.BOOL: (pa.bool_(), st.booleans()),
    DataType.INT8: (pa.int8(), st.integers(-128, 127)),
    DataType.INT16: (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    DataType.INT32: (pa.int32(), INT32),
    DataType.INT64: (pa.int64(), INT64),
    DataType.FLOAT: (pa.float32(), FLOAT32),
    DataType.DOUBLE: (pa.float64(), st.floats(allow_nan=False)),
    DataType.VARCHAR: (pa.string(), TEXT),
    DataType.TEXT: (pa.string(), TEXT),
    DataType.GEOMETRY: (pa.string(), TEXT),
    DataType.JSON: (pa.binary(), st.binary(max_size=20)),
    DataType.ARRAY: (pa.list_(pa.int64()), st.lists(INT64, max_size=5)),
    DataType.SPARSE_FLOAT_VECTOR: (pa.binary(), st.binary(min_size=8, max_size=8)),
    DataType.FLOAT_VECTOR: (pa.list_(pa.float32(), 2), st.lists(FLOAT32, min_size=2, max_size=2)),
    DataType.INT8_VECTOR: (pa.list_(pa.int8(), 2), st.lists(st.integers(-128, 127), min_size=2, max_size=2)),
    DataType.BINARY_VECTOR: (pa.binary(2), st.binary(min_size=2, max_size=2)),
    DataType.FLOAT16_VECTOR: (pa.binary(4), st.binary(min_size=4, max_size=4)),
    DataType.BFLOAT16_VECTOR: (pa.binary(4), st.binary(min_size=4, max_size=4)),
}  # fmt: skip


def sent(field: pa.Field, column: pa.Array, *, dense: bool) -> Any:
    """A column as the FieldData that arrives at the other end."""
    out = schema.FieldData()
    write_column(out, field, column, dense=dense)
    return schema.FieldData.FromString(out.SerializeToString())


@pytest.mark.parametrize("dense", [False, True], ids=["compact", "dense"])
@pytest.mark.parametrize("kind", SCALARS, ids=lambda kind: kind.wire_name)
@given(data=st.data())
def test_a_column_comes_back_as_it_was(kind: DataType, dense: bool, data: st.DataObject) -> None:
    arrow, strategy = SCALARS[kind]
    values = data.draw(st.lists(st.none() | strategy, max_size=8))
    column = pa.array(values, arrow)
    message = sent(arrow_field("f", kind, arrow), column, dense=dense)
    back = read_column(message, len(values), dense=dense)
    assert back.to_pylist() == column.to_pylist()
    if column.null_count < len(column):
        assert back.type == arrow


@pytest.mark.parametrize("kind", SCALARS, ids=lambda kind: kind.wire_name)
@given(data=st.data())
def test_pymilvus_reads_an_answered_column(kind: DataType, data: st.DataObject) -> None:
    arrow, strategy = SCALARS[kind]
    if kind is DataType.JSON:
        strategy = st.just(b'{"a":1}')
    values = data.draw(st.lists(st.none() | strategy, min_size=1, max_size=6))
    column = pa.array(values, arrow)
    ours = schema.FieldData()
    write_column(ours, arrow_field("f", kind, arrow), column, dense=True)
    message = schema_pb2.FieldData.FromString(ours.SerializeToString())
    assert list(message.valid_data) == [value is not None for value in values]
    expected = column.to_pylist()
    if kind.is_vector:
        physical = np.cumsum([0] + [value is not None for value in values])
        got = [
            None if value is None else decode_cell(message, row, physical_index_override=int(physical[row]))
            for row, value in enumerate(values)
        ]
        if kind is DataType.SPARSE_FLOAT_VECTOR:
            expected = [value and entity_helper.sparse_parse_single_row(value) for value in expected]
            np.testing.assert_equal(got, expected)
            return
        if kind is DataType.INT8_VECTOR:
            expected = [value and np.array(value, np.int8).tobytes() for value in expected]
    elif kind is DataType.JSON:
        got = [decode_cell(message, row) for row in range(len(values))]
        expected = [value and {"a": 1} for value in expected]
    else:
        got = [None if cell is None else cell for cell in decode_range(message, 0, len(values))]
        got = [list(cell) if isinstance(cell, (list, tuple)) or hasattr(cell, "append") else cell for cell in got]
    assert got == expected


PYMILVUS_ROWS: dict[str, tuple[dict[str, Any], list[Any], pa.DataType, list[Any]]] = {
    "bool": ({"type": TheirType.BOOL}, [True, False], pa.bool_(), [True, False]),
    "int8": ({"type": TheirType.INT8}, [-128, 127], pa.int8(), [-128, 127]),
    "int64": ({"type": TheirType.INT64}, [-1, 2**62], pa.int64(), [-1, 2**62]),
    "float": ({"type": TheirType.FLOAT}, [0.5, -2.0], pa.float32(), [0.5, -2.0]),
    "double": ({"type": TheirType.DOUBLE}, [0.1, 1e300], pa.float64(), [0.1, 1e300]),
    "varchar": ({"type": TheirType.VARCHAR, "params": {"max_length": 9}}, ["é", "x"], pa.string(), ["é", "x"]),
    "json": ({"type": TheirType.JSON}, [{"a": 1}, [1]], pa.binary(), [b'{"a":1}', b"[1]"]),
    "array": (
        {"type": TheirType.ARRAY, "element_type": TheirType.VARCHAR}, [["a", "b"], []], pa.list_(pa.string()),
        [["a", "b"], []],
    ),
    "small array": (
        {"type": TheirType.ARRAY, "element_type": TheirType.INT8}, [[1, 2], [3]], pa.list_(pa.int32()), [[1, 2], [3]],
    ),
    "float vector": (
        {"type": TheirType.FLOAT_VECTOR, "params": {"dim": 2}}, [[1, 2], [3, 4]], pa.list_(pa.float32(), 2),
        [[1, 2], [3, 4]],
    ),
    "binary vector": (
        {"type": TheirType.BINARY_VECTOR, "params": {"dim": 16}}, [b"ab", b"cd"], pa.binary(2), [b"ab", b"cd"],
    ),
    "int8 vector": (
        {"type": TheirType.INT8_VECTOR, "params": {"dim": 2}}, [np.array([1, -2], np.int8), np.array([3, 4], np.int8)],
        pa.list_(pa.int8(), 2), [[1, -2], [3, 4]],
    ),
    "float16 vector": (
        {"type": TheirType.FLOAT16_VECTOR, "params": {"dim": 2}}, [np.array([1, 2], np.float16)], pa.binary(4),
        [np.array([1, 2], "<f2").tobytes()],
    ),
    "float16 vector from floats": (
        {"type": TheirType.FLOAT16_VECTOR, "params": {"dim": 2}}, [[1.0, 2.0]], pa.binary(4),
        [np.array([1, 2], "<f2").tobytes()],
    ),
    "bfloat16 vector from floats": (
        {"type": TheirType.BFLOAT16_VECTOR, "params": {"dim": 2}}, [[1.0, -2.0]], pa.binary(4), [b"\x80\x3f\x00\xc0"],
    ),
    "sparse vector": (
        {"type": TheirType.SPARSE_FLOAT_VECTOR}, [{3: 0.5}, {1: 1.0}], pa.binary(),
        [b"\x03\0\0\0" + np.float32(0.5).tobytes(), b"\x01\0\0\0" + np.float32(1).tobytes()],
    ),
}  # fmt: skip


@pytest.mark.parametrize("nullable", [False, True], ids=["required", "nullable"])
@pytest.mark.parametrize("name", PYMILVUS_ROWS)
def test_a_column_that_pymilvus_packs_row_by_row_is_read(name: str, nullable: bool) -> None:
    info, rows, arrow, expected = PYMILVUS_ROWS[name]
    info = {"name": "f", "params": {}, "nullable": nullable, **info}
    message = schema_pb2.FieldData(field_name="f", type=int(info["type"]))
    cache: dict[int, list[bytes]] = {}
    rows, expected = ([*rows, None], [*expected, None]) if nullable else (rows, expected)
    for row in rows:
        if nullable:
            message.valid_data.append(row is not None)
        entity_helper.pack_field_value_to_field_data(row, message, info, cache)
    entity_helper.flush_vector_bytes(message, cache)
    batch = read_batch([schema.FieldData.FromString(message.SerializeToString())], len(rows), dense=False)
    assert batch.column(0).to_pylist() == expected
    assert batch.schema.field(0).type == arrow
    assert data_type_of(batch.schema.field(0)) == int(info["type"])


def test_a_slice_of_a_batch_is_written_as_the_slice() -> None:
    columns = {
        "v": pa.FixedSizeListArray.from_arrays(pa.array(np.arange(8, dtype=np.float32)), 2),
        "b": pa.array([b"ab", b"cd", b"ef", b"gh"], pa.binary(2)),
        "t": pa.array(["a", None, "c", "d"]),
        "o": pa.array([True, False, None, True]),
    }
    part = pa.RecordBatch.from_pydict(columns).slice(1, 2)
    message = schema.SearchResultData()
    write_batch(message.fields_data, part, dense=True)
    back = read_batch(message.fields_data, 2, dense=True)
    assert back.to_pylist() == part.to_pylist()


def test_a_column_of_nothing_but_nulls_of_unknown_dimension_stays_nulls() -> None:
    message = schema.FieldData(field_name="v", type=101, valid_data=[False, False])
    assert read_column(message, 2, dense=False).type == pa.null()


def test_timestamps_are_answered_as_utc_texts_without_trailing_zeros() -> None:
    field = arrow_field("t", DataType.TIMESTAMPTZ, pa.int64())
    column = pa.array([0, 1_735_689_600_500_000, None], pa.int64())
    message = sent(field, column, dense=True)
    assert list(message.scalars.string_data.data)[:2] == ["1970-01-01T00:00:00Z", "2025-01-01T00:00:00.5Z"]
    assert list(message.valid_data) == [True, True, False]


def test_flags_are_written_for_columns_with_nulls_and_for_those_declared_nullable() -> None:
    column = pa.array([1, 2], pa.int64())
    declared = arrow_field("f", DataType.INT64, pa.int64())
    required = arrow_field("f", DataType.INT64, pa.int64(), nullable=False)
    assert list(sent(declared, column, dense=True).valid_data) == [True, True]
    assert list(sent(required, column, dense=True).valid_data) == []
    assert list(sent(pa.field("f", pa.int64()), column, dense=True).valid_data) == []
    assert list(sent(pa.field("f", pa.int64()), pa.array([1, None]), dense=True).valid_data) == [True, False]


def test_a_batch_learns_its_types_from_a_schema() -> None:
    fields = (
        FieldSchema(name="h", data_type=DataType.BFLOAT16_VECTOR, params={"dim": "2"}),
        FieldSchema(name="s", data_type=DataType.SPARSE_FLOAT_VECTOR),
    )
    plain = pa.RecordBatch.from_pydict({
        "h": pa.array([b"1234"], pa.binary(4)), "s": pa.array([b"12345678"]), "count(*)": pa.array([1]),
    })  # fmt: skip
    rows = typed_rows(plain, CollectionSchema(name="c", fields=fields))
    message = schema.SearchResultData()
    write_batch(message.fields_data, rows, dense=True)
    assert [field.type for field in message.fields_data] == [103, 104, 5]
    assert rows.to_pydict() == plain.to_pydict()


def test_the_meta_column_is_marked_as_dynamic() -> None:
    field = pa.field("$meta", pa.binary())
    message = sent(field, pa.array([b"{}"]), dense=True)
    assert (message.is_dynamic, message.type, len(message.valid_data)) == (True, DataType.JSON, 0)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "too few rows": (
        {"type": 5, "scalars": {"long_data": {"data": [1]}}},
        "the num_rows (1) of field (f) is not equal to passed num_rows (2): invalid parameter[expected=2][actual=1]",
    ),
    "too few vectors": (
        {"type": 101, "vectors": {"dim": 2, "float_vector": {"data": [1, 2]}}},
        "the num_rows (1) of field (f) is not equal to passed num_rows (2): invalid parameter[expected=2][actual=1]",
    ),
    "wrong number of flags": (
        {"type": 5, "scalars": {"long_data": {"data": [1, 2]}}, "valid_data": [True]},
        "the length of valid_data of field(f) is wrong: invalid parameter[expected=2][actual=1]",
    ),
    "dense where compact is due": (
        {"type": 5, "scalars": {"long_data": {"data": [1, 0]}}, "valid_data": [True, False]},
        "the num_rows (2) of field (f) is not equal to passed num_rows (2): invalid parameter[expected=1][actual=2]",
    ),
    "no dimension": ({"type": 101, "vectors": {"float_vector": {"data": [1, 2]}}}, "dim(0) of field f should be"),
    "negative dimension": ({"type": 101, "vectors": {"dim": -1}}, "dim(-1) of field f should be"),
    "enormous dimension": ({"type": 105, "vectors": {"dim": 2**62, "int8_vector": b"12"}}, "of field f should be"),
    "ragged vectors": (
        {"type": 101, "vectors": {"dim": 2, "float_vector": {"data": [1, 2, 3]}}},
        "the length(3) of the vector data of field f should divide the dim(2)",
    ),
    "ragged bytes": ({"type": 102, "vectors": {"dim": 2, "float16_vector": b"123"}}, "should divide the dim(2)"),
    "odd binary dimension": ({"type": 100, "vectors": {"dim": 9, "binary_vector": b"1234"}}, "should be multiple of 8"),
    "small integer too large": (
        {"type": 2, "scalars": {"int_data": {"data": [1, 300]}}},
        "the 1th element (300) out of range: [-128, 127]: invalid parameter"
        "[expected=integer doesn't overflow][actual=out of range]",
    ),
    "another slot": ({"type": 5, "scalars": {"string_data": {"data": ["1", "2"]}}}, "carries string_data"),
    "another vector slot": ({"type": 101, "vectors": {"dim": 2, "int8_vector": b"1234"}}, "carries int8_vector"),
    "scalars where vectors are due": ({"type": 101, "scalars": {"long_data": {"data": [1]}}}, "carries scalars"),
    "vectors where scalars are due": ({"type": 5, "vectors": {"dim": 1}}, "carries vectors"),
    "no type": ({"type": 0}, "field f has no data type"),
    "a type nobody knows": ({"type": 4711}, "data type 4711 of field f is not known"),
    "the old string": ({"type": 20}, "string data type not supported yet, please use VarChar type instead"),
    "mixed elements": (
        {"type": 22, "scalars": {"array_data": {"data": [{"long_data": {"data": [1]}}, {"bool_data": {}}]}}},
        "mixes element types",
    ),
    "elements of no known type": (
        {"type": 22, "scalars": {"array_data": {"data": [{"bytes_data": {}}, {"bytes_data": {}}]}}}, "is not supported",
    ),
    "elements that contradict their type": (
        {"type": 22, "scalars": {"array_data": {"element_type": 21, "data": [{"long_data": {}}, {"long_data": {}}]}}},
        "does not fit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_column_that_contradicts_itself_is_refused(name: str) -> None:
    content, text = REFUSED[name]
    with pytest.raises(InvalidParameter) as caught:
        read_batch([schema.FieldData(field_name="f", **content)], 2, dense=False)
    assert text in caught.value.message


def test_a_column_given_twice_is_refused() -> None:
    column = schema.FieldData(field_name="f", type=5, scalars={"long_data": {"data": [1]}})
    with pytest.raises(InvalidParameter, match="duplicated field name f found"):
        read_batch([column, column], 1, dense=False)


def test_a_struct_column_without_sub_fields_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="struct array field f carries no sub-fields"):
        read_batch([schema.FieldData(field_name="f", type=200)], 1, dense=False)


@pytest.mark.parametrize("ids", [pa.array([1, -2, 3], pa.int64()), pa.array(["a", "é"]), pa.array([], pa.string())])
def test_primary_keys_go_there_and_back(ids: pa.Array) -> None:
    message = schema.IDs()
    write_ids(message, ids)
    assert read_ids(schema.IDs.FromString(message.SerializeToString())).equals(ids)


@given(st.binary(max_size=200), st.integers(0, 5), st.booleans())
def test_any_bytes_are_a_column_or_a_typed_error(data: bytes, rows: int, dense: bool) -> None:
    from google.protobuf.message import DecodeError

    try:
        message = schema.FieldData.FromString(data)
    except DecodeError:
        return
    for kind in DataType:
        message.type = int(kind)
        try:
            assert len(read_column(message, rows, dense=dense)) == rows
        except MilvusException as error:
            assert error.is_input_error or isinstance(error, Unimplemented)


@given(st.lists(st.floats(width=32), min_size=2, max_size=2))
def test_floats_become_bfloat16_by_rounding_to_nearest(values: list[float]) -> None:
    message = schema.FieldData(field_name="f", type=103, vectors={"dim": 2, "float_vector": {"data": values}})
    raw = read_column(message, 1, dense=False)[0].as_py()
    back = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    for value, got in zip(np.array(values, np.float32), back, strict=True):
        if np.isnan(value):
            assert np.isnan(got)
        elif abs(value) > 3.3e38:
            assert np.isinf(got) or abs(got) > 3.3e38
        else:
            assert abs(float(got) - float(value)) <= abs(float(value)) * 2**-8 + 1e-38


@pytest.mark.parametrize("name", ["", "$meta", "extra"])
def test_a_dynamic_column_is_the_dynamic_one_whatever_it_is_called(name: str) -> None:
    message = schema.FieldData(field_name=name, type=int(DataType.JSON), is_dynamic=True)
    message.scalars.json_data.data.extend([b'{"a": 1}', b"{}"])
    assert read_batch([message], 2, dense=False).schema.names == ["$meta"]
