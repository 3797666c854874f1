"""Rows that come one by one are the rows that batches would have been, or are left to batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.client.rows import RowPlan
from redkite.model.one_row import OneRow, RowLayout, stacked
from redkite.model.results import CollectionInfo
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.node.records import INSERT, RecordHeader, decode_record, encode_rows, with_header
from redkite.node.row_body import form_of

DIM = 3
FIELDS = (
    FieldSchema(name="id", data_type=DataType.INT64, field_id=100, is_primary=True),
    FieldSchema(name="flag", data_type=DataType.BOOL, field_id=101),
    FieldSchema(name="tiny", data_type=DataType.INT8, field_id=102),
    FieldSchema(name="text", data_type=DataType.VARCHAR, field_id=103, params={"max_length": "12"}, nullable=True),
    FieldSchema(name="near", data_type=DataType.FLOAT, field_id=104),
    FieldSchema(name="far", data_type=DataType.DOUBLE, field_id=105),
    FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, field_id=106, params={"dim": str(DIM)}),
    FieldSchema(name="more", data_type=DataType.VARCHAR, field_id=107, params={"max_length": "200"}),
)
USERS = CollectionSchema(name="c", fields=FIELDS, version=3)
META = FieldSchema(name="$meta", data_type=DataType.JSON, field_id=108, is_dynamic=True)
ENGINES = {
    "fixed": USERS,
    "dynamic": CollectionSchema(name="c", fields=(*FIELDS, META), enable_dynamic_field=True, version=3),
}
LAYOUT = RowLayout.of(USERS, 7)
GOOD = {
    "id": 5, "flag": True, "tiny": -3, "text": "ß", "near": 0.5, "far": 1e300, "vector": [1.0, 2.0, -3.0], "more": "",
}  # fmt: skip

rows = st.fixed_dictionaries({
    "id": st.integers(-(2**63), 2**63 - 1),
    "flag": st.booleans(),
    "tiny": st.integers(-128, 127),
    "text": st.text("aß€ \"0", max_size=3),
    "near": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "far": st.floats(allow_nan=False, allow_infinity=False),
    "vector": st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=DIM, max_size=DIM),
    "more": st.text("aß€ \"0", max_size=20),
})  # fmt: skip


def plan() -> RowPlan:
    return RowPlan.of(
        CollectionInfo(
            schema=USERS,
            collection_id=7,
            database="default",
            shards=1,
            partitions=1,
            aliases=(),
            consistency_level=0,
            created_timestamp=1,
            update_timestamp=1,
            properties={},
            virtual_channels=(),
            physical_channels=(),
        )
    )


def taken_apart(data: dict[str, Any]) -> OneRow | None:
    assert LAYOUT is not None
    return LAYOUT.row(data)


@settings(max_examples=30)
@given(rows)
def test_a_row_taken_apart_is_the_row_a_batch_would_be(data: dict[str, Any]) -> None:
    row = taken_apart(data)
    assert row is not None
    assert row.batch().to_pylist() == plan().batch(data).to_pylist()
    assert row.key == data["id"]
    assert row.key == data["id"]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=30)
@given(data=rows)
def test_its_log_record_is_byte_for_byte_the_one_of_its_batch(engine: str, data: dict[str, Any]) -> None:
    schema = ENGINES[engine]
    row = taken_apart(data)
    assert row is not None
    assert form_of(schema) is not None
    body = encode_rows(row, schema)
    assert b"".join(body) == b"".join(encode_rows(stacked(schema, [row]), schema))
    record = with_header(RecordHeader(INSERT, 1, 2, ((3, 1),)), body)
    _, read = decode_record(b"".join(bytes(part) for part in record))
    assert read.schema.names == [str(field.field_id) for field in schema.fields]
    assert list(read.to_pylist()[0].values())[: len(FIELDS)] == list(plan().batch(data).to_pylist()[0].values())


@settings(max_examples=20)
@given(st.lists(rows, min_size=1, max_size=9))
def test_several_make_the_batch_of_all(some: list[dict[str, Any]]) -> None:
    made = [row for data in some if (row := taken_apart(data)) is not None]
    assert stacked(USERS, made).to_pylist() == plan().batch(some).to_pylist()


@pytest.mark.parametrize(
    "change",
    [
        {"id": 2**63}, {"id": True}, {"id": np.int64(1)}, {"flag": 1}, {"tiny": 128}, {"tiny": 1.0}, {"text": None},
        {"text": "x" * 13}, {"text": b"x"}, {"text": "\ud800"}, {"near": 1e39}, {"near": 1}, {"far": float("nan")},
        {"far": float("inf")}, {"vector": [1.0, 2.0]}, {"vector": [1.0, 2.0, float("nan")]},
        {"vector": [1e39, 0.0, 0.0]},
        {"vector": [1.0, 2.0, True]}, {"vector": np.zeros(DIM, np.float64)}, {"vector": np.zeros(2, np.float32)},
        {"vector": np.array([1, 2, np.inf], np.float32)}, {"vector": None}, {"other": 1},
    ],
)  # fmt: skip
def test_what_is_out_of_the_ordinary_is_left_to_batches(change: dict[str, Any]) -> None:
    assert taken_apart(GOOD) is not None
    assert taken_apart({**GOOD, **change}) is None


def test_a_field_that_is_missing_is_left_to_batches() -> None:
    for name in GOOD:
        assert taken_apart({other: value for other, value in GOOD.items() if other != name}) is None


@pytest.mark.parametrize(
    "field",
    [
        FieldSchema(name="x", data_type=DataType.JSON, field_id=120),
        FieldSchema(name="x", data_type=DataType.SPARSE_FLOAT_VECTOR, field_id=120),
        FieldSchema(name="x", data_type=DataType.ARRAY, field_id=120, element_type=DataType.INT8),
        FieldSchema(name="x", data_type=DataType.INT64, field_id=120, is_function_output=True),
    ],
)
def test_a_schema_with_other_fields_has_no_layout(field: FieldSchema) -> None:
    assert RowLayout.of(CollectionSchema(name="c", fields=(*FIELDS, field)), 1) is None


def test_a_row_fits_only_the_collection_and_version_it_was_checked_by() -> None:
    assert LAYOUT is not None
    later = CollectionSchema(name="c", fields=FIELDS, version=4)
    assert LAYOUT.fits(USERS, 7)
    assert not LAYOUT.fits(later, 7)
    assert not LAYOUT.fits(USERS, 8)
