"""Arrays of structs as messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymilvus.client.entity_helper import extract_struct_array_from_column_data

from redkite.errors import InvalidParameter, MilvusException
from redkite.model.batch import arrow_type, batch_field
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.wire.column_reader import read_batch
from redkite.wire.column_writer import batch_pieces, write_batch
from redkite.wire.messages import message_class, schema, service

VECTORS = {
    DataType.FLOAT_VECTOR: np.float32, DataType.FLOAT16_VECTOR: np.float16, DataType.BFLOAT16_VECTOR: np.uint16,
    DataType.INT8_VECTOR: np.int8, DataType.BINARY_VECTOR: np.uint8,
}  # fmt: skip
SHARED = {"max_capacity": "9"}


def parts(nullable: bool) -> list[FieldSchema]:
    words = FieldSchema(
        name="s[word]", data_type=DataType.ARRAY, element_type=DataType.VARCHAR, nullable=nullable,
        params={"max_length": "9", **SHARED},
    )  # fmt: skip
    numbers = FieldSchema(
        name="s[n]", data_type=DataType.ARRAY, element_type=DataType.INT64, nullable=nullable, params=SHARED
    )
    vectors = [
        FieldSchema(
            name=f"s[{kind.name.lower()}]", data_type=DataType._ARRAY_OF_VECTOR, element_type=kind, nullable=nullable,
            params={"dim": "8", **SHARED},
        )
        for kind in VECTORS
    ]  # fmt: skip
    return [words, numbers, *vectors]


def batch_of(rows: list[int | None], nullable: bool) -> pa.RecordBatch:
    """Rows of so many structs; None: null."""
    rng = np.random.default_rng(len(rows))
    columns, fields = [pa.array(range(len(rows)), pa.int64())], [pa.field("id", pa.int64(), nullable=False)]
    for part in parts(nullable):

        def one(kind: DataType = part.element_type) -> Any:
            if kind is DataType.VARCHAR:
                return str(rng.integers(0, 99))
            if kind is DataType.INT64:
                return int(rng.integers(-9, 9))
            size = 1 if kind is DataType.BINARY_VECTOR else 8
            vector = rng.integers(0, 100, size).astype(VECTORS[kind])
            return vector.tolist() if kind in (DataType.FLOAT_VECTOR, DataType.INT8_VECTOR) else vector.tobytes()

        values = [None if count is None else [one() for _ in range(count)] for count in rows]
        columns.append(pa.array(values, arrow_type(part)))
        fields.append(batch_field(part))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


rows_of_structs = st.lists(st.none() | st.integers(0, 4), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(rows_of_structs, st.booleans())
def test_structs_go_there_and_back_in_both_layouts(rows: list[int | None], dense: bool) -> None:
    nullable = None in rows
    batch = batch_of(rows, nullable)
    message = schema.StructArrayField()  # it has a repeated field of columns
    write_batch(message.fields, batch, dense=dense)
    assert [(field.field_name, field.type) for field in message.fields] == [("id", 5), ("s", 200)]
    assert [part.field_name for part in message.fields[1].struct_arrays.fields] == [
        part.sub_name for part in parts(nullable)
    ]
    back = read_batch(schema.StructArrayField.FromString(message.SerializeToString()).fields, len(rows), dense=dense)
    for name in batch.schema.names:
        if back.column(name).type == batch.column(name).type:
            assert back.column(name).equals(batch.column(name)), name
        else:  # nothing tells the dimension where no row has a vector
            assert back.column(name).null_count + sum(r == 0 for r in rows) == len(rows)


def test_the_pieces_of_an_insert_hold_structs_in_one() -> None:
    insert = message_class(service.methods_by_name["Insert"].input_type)
    number = insert.DESCRIPTOR.fields_by_name["fields_data"].number
    batch = batch_of([2, 0, 1], nullable=False)
    message = insert.FromString(b"".join(batch_pieces(number, batch)))
    assert [field.field_name for field in message.fields_data] == ["id", "s"]
    back = read_batch(message.fields_data, 3, dense=False)
    assert all(back.column(name).equals(batch.column(name)) for name in batch.schema.names)


def test_milvus_sdk_reads_what_is_answered() -> None:
    batch = batch_of([2, None, 0, 1], nullable=True)
    message = schema.StructArrayField()
    write_batch(message.fields, batch, dense=True)
    structs = message.fields[1].struct_arrays
    found = [extract_struct_array_from_column_data(structs, row) for row in range(4)]
    assert [None if row is None else len(row) for row in found] == [2, None, 0, 1]
    assert found[0][1]["word"] == batch.column("s[word]")[0][1].as_py()
    assert found[3][0]["float_vector"] == batch.column("s[float_vector]")[3][0].as_py()
    assert found[3][0]["binary_vector"] == [batch.column("s[binary_vector]")[3][0].as_py()]


def vector_rows(*rows: Any, kind: int = 101, dim: int = 2) -> Any:
    field = schema.FieldData(field_name="v", type=106)
    field.vectors.vector_array.element_type = kind
    field.vectors.vector_array.dim = dim
    for row in rows:
        entry = field.vectors.vector_array.data.add(dim=dim)
        if isinstance(row, bytes):
            entry.int8_vector = row
        else:
            entry.float_vector.data.extend(row)
    return field


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (vector_rows([1.0, 2.0, 3.0]), "should divide the dim(2)"),
        (vector_rows([1.0, 2.0], b"12"), "carries ['float_vector', 'int8_vector']"),
        (vector_rows(b"12"), "of FloatVector carries int8_vector"),
        (vector_rows(kind=104), "arrays of vectors of type 104 are not supported"),
        (vector_rows([1.0], dim=-1), "is out of range"),
        (schema.FieldData(field_name="v", type=5), "must be an array or an array of vectors"),
        (schema.FieldData(field_name="v", type=106, scalars=schema.ScalarField()), "carries no array of vectors"),
    ],
)
def test_a_struct_that_contradicts_itself_is_refused(part: Any, text: str) -> None:
    field = schema.FieldData(field_name="s", type=200)
    field.struct_arrays.fields.append(part)
    with pytest.raises(MilvusException) as caught:
        read_batch([field], None, dense=False)
    assert text in caught.value.message


def test_sub_fields_of_different_length_are_refused() -> None:
    field = schema.FieldData(field_name="s", type=200)
    field.struct_arrays.fields.append(vector_rows([1.0, 2.0], []))
    other = vector_rows([1.0, 2.0])
    other.field_name = "w"
    field.struct_arrays.fields.append(other)
    with pytest.raises(InvalidParameter, match="num_rows"):
        read_batch([field], 2, dense=False)
