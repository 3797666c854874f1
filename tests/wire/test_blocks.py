"""Floats that are cut out of a message: what is read is what protobuf would have read, and nothing odd is touched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymilvus.grpc_gen.milvus_pb2 import InsertRequest as ReferenceInsert

from redkite.errors import MilvusException, WireError
from redkite.model import requests
from redkite.model.batch import matrix_to_arrow
from redkite.model.types import DataType
from redkite.wire import blocks
from redkite.wire.blocks import cut_blocks, parse_rows
from redkite.wire.column_reader import read_batch
from redkite.wire.messages import message_class, parse, schema, service
from redkite.wire.methods import decode_request, encode_request

INSERT: Any = message_class(service.methods_by_name["Insert"].input_type)
NUMBER: int = INSERT.DESCRIPTOR.fields_by_name["fields_data"].number


@pytest.fixture(autouse=True)
def small_blocks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LEAST_BYTES", 16)


def vectors(name: str, numbers: np.ndarray, dim: int, valid: list[bool] | None = None) -> Any:
    field = schema.FieldData(type=int(DataType.FLOAT_VECTOR), field_name=name, field_id=101)
    field.vectors.dim = dim
    field.vectors.float_vector.data.extend(numbers.tolist())
    field.valid_data.extend(valid or [])
    return field


def scalars(name: str, numbers: list[int]) -> Any:
    field = schema.FieldData(type=int(DataType.INT64), field_name=name)
    field.scalars.long_data.data.extend(numbers)
    return field


def insert(fields: list[Any], rows: int) -> bytes:
    message = INSERT(collection_name="c", db_name="d", num_rows=rows, hash_keys=[1, 2, 3])
    message.fields_data.extend(fields)
    data: bytes = message.SerializeToString()
    return data


def floats(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=count).astype(np.float32)


@given(data=st.data(), rows=st.integers(1, 6))
def test_columns_are_read_as_without_it(data: st.DataObject, rows: int) -> None:
    fields = []
    for place in range(data.draw(st.integers(1, 5))):
        name = data.draw(st.text("ab", min_size=0, max_size=4)) + str(place)  # lengths that shift what comes after
        if data.draw(st.booleans()):
            fields.append(scalars(name, list(range(rows))))
            continue
        dim, valid = data.draw(st.integers(1, 9)), None
        if data.draw(st.booleans()):
            valid = data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
        fields.append(vectors(name, floats(dim * (rows if valid is None else sum(valid))), dim, valid))
    raw = insert(fields, rows)
    cut = parse_rows(INSERT, raw, NUMBER)
    whole = parse(INSERT, raw)
    assert cut.db_name == whole.db_name
    assert list(cut.message.hash_keys) == [1, 2, 3]
    read = read_batch(cut.message.fields_data, rows, dense=False, blocks=cut.blocks)
    assert read.equals(read_batch(whole.fields_data, rows, dense=False), check_metadata=True)
    large = [place for place, field in enumerate(fields) if len(field.vectors.float_vector.data) >= 8]
    assert set(large) <= set(cut.blocks)
    assert all(len(cut.message.fields_data[place].vectors.float_vector.data) == 0 for place in cut.blocks)
    assert all(values.flags.aligned for values in cut.blocks.values())


@pytest.mark.parametrize("name", ["c", "co", "col", "coll", "x" * 124, "x" * 125, "x" * 126, "x" * 127])
def test_what_our_sdk_sends_is_read_where_it_lies(name: str) -> None:
    numbers = floats(8000).reshape(1000, 8)
    rows = pa.RecordBatch.from_arrays(
        [pa.array(range(1000)), matrix_to_arrow(numbers, DataType.FLOAT_VECTOR)], ["id", "v"]
    )
    _, raw = encode_request(requests.Insert(database="d", collection=name, rows=rows, schema_timestamp=5))
    (values,) = cut_blocks(raw, NUMBER)[1].values()
    assert np.shares_memory(values, np.frombuffer(raw, np.uint8))
    assert values.tobytes() == numbers.tobytes()
    given = ReferenceInsert.FromString(raw).fields_data[1]
    assert (given.type, given.field_name, given.vectors.dim) == (int(DataType.FLOAT_VECTOR), "v", 8)
    assert list(given.vectors.float_vector.data) == numbers.ravel().tolist()


def test_an_insert_has_the_numbers_it_was_sent() -> None:
    numbers = floats(4000)
    request: Any = decode_request("Insert", insert([scalars("id", [*range(1000)]), vectors("v", numbers, 4)], 1000), {})
    assert request.rows.column("v").flatten().to_numpy().tobytes() == numbers.tobytes()
    assert request.rows.column("id").to_pylist() == [*range(1000)]


@given(data=st.data())
def test_damaged_bytes_are_refused_or_read_as_without_it(data: st.DataObject) -> None:
    raw = bytearray(insert([scalars("id", [1, 2]), vectors("v", floats(16), 8), vectors("w", floats(8), 4)], 2))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(raw[: data.draw(st.integers(0, len(raw)))]) if data.draw(st.booleans()) else bytes(raw)

    def outcome(*, cut: bool) -> Any:
        try:
            given = parse_rows(INSERT, damaged, NUMBER) if cut else blocks.RowsMessage(parse(INSERT, damaged), {})
            return read_batch(given.message.fields_data, None, dense=False, blocks=given.blocks).to_pylist()
        except (MilvusException, ValueError) as error:
            return type(error)

    assert repr(outcome(cut=True)) == repr(outcome(cut=False))


def field_of(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2, len(payload)]) + payload


@pytest.mark.parametrize(
    "extra",
    [
        field_of(4, field_of(2, field_of(1, bytes(8)))),  # vectors once more: protobuf puts both together
        field_of(3, b""),  # scalars, which take the place of the vectors
        b"\x08\x66",  # another type, which counts instead of the first
    ],
)
def test_a_field_that_comes_twice_is_left_to_the_parser(extra: bytes) -> None:
    entry = vectors("v", floats(16), 8).SerializeToString() + extra
    raw = field_of(NUMBER, entry)
    rest, found = cut_blocks(raw, NUMBER)
    assert rest is raw
    assert not found


def test_numbers_in_several_parts_are_left_to_the_parser() -> None:
    parts = field_of(1, floats(8).tobytes()) + field_of(1, floats(8).tobytes())
    entry = b"\x08\x65" + field_of(2, b"v") + field_of(4, b"\x08\x08" + field_of(2, parts))
    cut = parse_rows(INSERT, field_of(NUMBER, entry), NUMBER)
    assert not cut.blocks
    assert len(cut.message.fields_data[0].vectors.float_vector.data) == 16


def test_a_message_of_very_many_fields_is_not_searched() -> None:
    raw = insert([vectors("v", floats(16), 8)], 2) + b"\x20\x01" * 2_000
    assert cut_blocks(raw, NUMBER)[0] is raw


def test_a_message_that_ends_early_is_refused() -> None:
    raw = insert([vectors("v", floats(16), 8)], 2)
    with pytest.raises(WireError):
        parse_rows(INSERT, raw[:-20], NUMBER)
