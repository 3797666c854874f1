"""What is written to the log can be read back, and bytes that are no record are refused."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.errors import Corruption
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.node.records import (
    DELETE,
    INSERT,
    Body,
    RecordHeader,
    decode_record,
    encode_keys,
    encode_rows,
    with_header,
)

SCHEMA = CollectionSchema(
    name="c",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, field_id=100, is_primary=True),
        FieldSchema(name="word", data_type=DataType.VARCHAR, field_id=104, nullable=True),
    ),
)
ROWS = pa.RecordBatch.from_pydict({"id": [1, 2], "word": ["a", None]})


def record(header: RecordHeader, body: Body) -> bytes:
    return b"".join(bytes(b) for b in with_header(header, body))


def test_a_record_comes_back_as_it_was_written_with_columns_named_by_field_id() -> None:
    header = RecordHeader(INSERT, 2**60, 7, ((9, 1), (11, 1)))
    found, batch = decode_record(record(header, encode_rows(ROWS, SCHEMA)))
    assert msgspec.structs.replace(found, filler=b"") == header
    assert batch.to_pydict() == {"100": [1, 2], "104": ["a", None]}


def test_parts_that_do_not_add_up_to_the_rows_are_corruption() -> None:
    with pytest.raises(Corruption, match="has 2 rows"):
        decode_record(record(RecordHeader(INSERT, 1, 7, ((9, 3),)), encode_rows(ROWS, SCHEMA)))


@given(cut=st.integers(0, 300), noise=st.binary(max_size=40))
def test_bytes_that_are_no_record_are_corruption(cut: int, noise: bytes) -> None:
    payload = record(RecordHeader(DELETE, 1, 2), encode_keys(pa.array([1, 2])))
    with pytest.raises(Corruption, match="log record"):
        decode_record(noise + payload[: min(cut, len(payload) // 2)])
