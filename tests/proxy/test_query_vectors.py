"""Query vectors against the field they are compared with."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from tests.proxy.test_read_rules import BITS, END, ID, VECTOR, message_of

from redkite.model.halves import from_bfloat16, to_bfloat16
from redkite.model.requests import Queries
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType
from redkite.proxy.rules.query_vectors import check_queries, comparable

HALF = FieldSchema(name="half", data_type=DataType.FLOAT16_VECTOR, params={"dim": "4"})
BRAIN = FieldSchema(name="brain", data_type=DataType.BFLOAT16_VECTOR, params={"dim": "4"})
BYTES = FieldSchema(name="bytes", data_type=DataType.INT8_VECTOR, params={"dim": "4"})
SPARSE = FieldSchema(name="sparse", data_type=DataType.SPARSE_FLOAT_VECTOR)


def floats(dim: int = 128, value: float = 1.0) -> Queries:
    return Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.full((2, dim), value, np.float32))


def raw(kind: DataType, *values: bytes) -> Queries:
    return Queries(data_type=kind, raw=values)


def test_query_vectors_must_be_of_the_type_of_the_field() -> None:
    check_queries(VECTOR, floats())
    assert message_of(check_queries, BITS, floats()) == (
        "1100 vector type must be the same, field bits - type VECTOR_BINARY, search info type VECTOR_FLOAT" + END
    )
    assert "search info type VARCHAR" in message_of(check_queries, VECTOR, raw(DataType.VARCHAR, b"hello"))
    assert "field bytes - type VECTOR_INT8, search info type VECTOR_FLOAT" in message_of(
        check_queries, BYTES, floats(4)
    )
    assert "type VECTOR_FLOAT16, search info type VECTOR_BFLOAT16" in message_of(
        check_queries, HALF, raw(DataType.BFLOAT16_VECTOR, bytes(8))
    )
    assert "type VECTOR_SPARSE_U32_F32" in message_of(check_queries, SPARSE, floats(4))
    assert "type INT64, search info type VECTOR_FLOAT" in message_of(check_queries, ID, floats(4))


@pytest.mark.parametrize(
    ("field", "queries", "expected", "actual"),
    [
        (VECTOR, floats(64), 512, 256),
        (HALF, raw(DataType.FLOAT16_VECTOR, bytes(8), bytes(6)), 8, 6),
        (HALF, floats(5), 16, 20),
        (BRAIN, raw(DataType.BFLOAT16_VECTOR, bytes(10)), 8, 10),
        (BYTES, raw(DataType.INT8_VECTOR, bytes(5)), 4, 5),
        (BITS, raw(DataType.BINARY_VECTOR, bytes(2)), 1, 2),
    ],
)
def test_query_vectors_must_be_of_the_dimension_of_the_field(
    field: FieldSchema, queries: Queries, expected: int, actual: int
) -> None:
    text = f"1100 vector dimension mismatch, expected vector size(byte) {expected}, actual {actual}" + END
    assert message_of(check_queries, field, queries) == text
    assert message_of(comparable, field, queries) == text


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "NaN"), (np.inf, "+Inf"), (-np.inf, "-Inf")])
def test_query_vectors_must_be_finite(value: float, shown: str) -> None:
    assert (
        message_of(comparable, VECTOR, floats(value=value)) == f"1100 value '{shown}' is not a number or infinity" + END
    )
    half = np.full(4, value, np.float16).tobytes()
    assert message_of(comparable, HALF, raw(DataType.FLOAT16_VECTOR, half)) == (
        "1100 float16 vector contain nan or infinity value." + END
    )
    brain = to_bfloat16(np.full(4, value, np.float32)).tobytes()
    assert message_of(comparable, BRAIN, raw(DataType.BFLOAT16_VECTOR, brain)) == (
        "1100 bfloat16 vector contain nan or infinity value." + END
    )


def test_huge_query_vectors_are_allowed_where_the_field_has_room_for_them() -> None:
    comparable(VECTOR, floats(value=3e38))
    comparable(BRAIN, floats(4, 3e38))
    assert "is not a number or infinity" in message_of(comparable, HALF, floats(4, 3e38))


def test_floats_that_ask_a_field_of_halves_are_rounded_as_it_keeps_them() -> None:
    vectors = np.array([[0.1, -2.7, 1 / 3, 7.0]], np.float32)
    queries = Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors)
    np.testing.assert_array_equal(comparable(HALF, queries), vectors.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(comparable(BRAIN, queries), from_bfloat16(to_bfloat16(vectors)))


def test_bytes_become_the_numbers_they_stand_for() -> None:
    small = np.array([[-128, 127, 0, 5], [1, 2, 3, 4]], np.int8)
    found = comparable(BYTES, raw(DataType.INT8_VECTOR, *(row.tobytes() for row in small)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, small)
    bits = comparable(BITS, raw(DataType.BINARY_VECTOR, b"\x81", b"\x00"))
    assert bits.dtype == np.uint8
    assert bits.tolist() == [[0x81], [0]]


def test_sparse_queries_are_checked_as_rows_are() -> None:
    good = struct.pack("<IfIf", 3, 0.5, 9, 2.0)
    rows = comparable(SPARSE, raw(DataType.SPARSE_FLOAT_VECTOR, good, b""))
    assert len(rows) == 2
    assert rows.indices.tolist() == [3, 9]
    for bad, text in (
        (good[:12], "the length (12) of its bytes should be a multiple of 8"),
        (good[8:] + good[:8], "indexes should be strictly increasing"),
        (struct.pack("<If", 3, -1.0), "values should not be negative"),
        (struct.pack("<If", 3, np.nan), "values should be finite numbers"),
        (struct.pack("<If", 2**32 - 1, 1.0), "should be less than"),
    ):
        message = message_of(comparable, SPARSE, raw(DataType.SPARSE_FLOAT_VECTOR, good, bad))
        assert message.startswith("1100 invalid sparse float vector: ")
        assert text in message
