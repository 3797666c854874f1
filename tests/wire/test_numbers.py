"""Numbers between protobuf and numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redkite.wire.messages import milvus, schema
from redkite.wire.numbers import counting, packed, read_integers, read_packed, varint, write_packed


class Plain:
    """A sub-message as protobuf had it before repeated fields offered themselves as arrays."""

    def __init__(self, message: Any) -> None:
        self.data = list(message.data)
        self.SerializeToString = message.SerializeToString


@given(st.integers(0, 2**64 - 1))
def test_a_varint_is_what_protobuf_writes(value: int) -> None:
    message = milvus.InsertRequest(schema_timestamp=value)
    assert message.SerializeToString() == (b"\x40" + varint(value) if value else b"")


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 16_383, 16_384, 16_385, 70_000])
def test_counting_is_the_packed_numbers_from_zero(count: int) -> None:
    message = milvus.MutationResult.FromString(packed(b"\x1a", counting(count)))
    assert list(message.succ_index) == list(range(count))


@given(st.lists(st.floats(width=32)))
def test_floats_go_to_numpy_and_back(values: list[float]) -> None:
    array = np.array(values, np.float32)
    message = schema.FloatArray()
    write_packed(message, array)
    np.testing.assert_array_equal(read_packed(message, np.float32), array)
    np.testing.assert_array_equal(read_packed(Plain(message), np.float32), array)


@given(st.lists(st.floats()))
def test_doubles_go_to_numpy_and_back(values: list[float]) -> None:
    array = np.array(values, np.float64)
    message = schema.DoubleArray()
    write_packed(message, array)
    np.testing.assert_array_equal(read_packed(message, np.float64), array)
    np.testing.assert_array_equal(read_packed(Plain(message), np.float64), array)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_go_to_numpy_with_and_without_an_array_interface(values: list[int]) -> None:
    data = schema.LongArray(data=values).data
    assert read_integers(data, np.int64).tolist() == values
    assert read_integers(values, np.int64).tolist() == values


def test_a_strided_array_is_written_in_its_own_order() -> None:
    message = schema.FloatArray()
    write_packed(message, np.arange(10, dtype=np.float32)[::3])
    assert list(message.data) == [0, 3, 6, 9]


def test_an_empty_array_still_marks_the_field_as_given() -> None:
    field = schema.ScalarField()
    write_packed(field.bool_data, np.empty(0, np.bool_))
    assert field.WhichOneof("data") == "bool_data"


def test_the_array_outlives_its_message() -> None:
    message = schema.LongArray(data=range(100))
    array = read_integers(message.data, np.int64)
    del message
    assert array.sum() == 4950
