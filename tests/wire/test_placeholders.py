"""Query vectors as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymilvus.client.prepare import Prepare

from redkite.errors import InvalidParameter, MilvusException, Unimplemented, WireError
from redkite.model.requests import Queries
from redkite.model.types import DataType
from redkite.wire.messages import common
from redkite.wire.placeholders import read_queries, write_queries


def group(kind: int, values: list[bytes], **more: Any) -> bytes:
    data: bytes = common.PlaceholderGroup(
        placeholders=[common.PlaceholderValue(tag="$0", type=kind, values=values, **more)]
    ).SerializeToString()
    return data


@pytest.mark.parametrize("shape", [(1, 4), (3, 2), (100, 8)])
def test_float_vectors_come_as_one_matrix(shape: tuple[int, int]) -> None:
    matrix = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    queries = read_queries(Prepare._prepare_placeholder_str(list(matrix)), shape[0])
    assert queries.data_type is DataType.FLOAT_VECTOR
    assert queries.vectors is not None
    np.testing.assert_array_equal(queries.vectors, matrix)
    assert read_queries(write_queries(queries), 0).vectors.tolist() == matrix.tolist()


@pytest.mark.parametrize(
    ("data", "kind", "raw"),
    [
        ([np.array([1, 2], np.float16)], DataType.FLOAT16_VECTOR, [np.array([1, 2], "<f2").tobytes()]),
        ([np.array([1, -2], np.int8)], DataType.INT8_VECTOR, [b"\x01\xfe"]),
        ([b"ab", b"cd"], DataType.BINARY_VECTOR, [b"ab", b"cd"]),
        (["hello", "é"], DataType.VARCHAR, [b"hello", "é".encode()]),
        ([{1: 0.5}], DataType.SPARSE_FLOAT_VECTOR, [b"\x01\0\0\0" + np.float32(0.5).tobytes()]),
    ],
)
def test_other_queries_come_as_raw_bytes(data: list[Any], kind: DataType, raw: list[bytes]) -> None:
    queries = read_queries(Prepare._prepare_placeholder_str(data), len(data))
    assert (queries.data_type, list(queries.raw), queries.nq) == (kind, raw, len(data))
    again = read_queries(write_queries(queries), len(data))
    assert (again.data_type, again.raw) == (queries.data_type, queries.raw)


@pytest.mark.parametrize(
    ("data", "nq", "error", "text"),
    [
        (b"", 1, InvalidParameter, "one placeholder is expected in a placeholder group, but got 0"),
        (group(101, []), 0, InvalidParameter, "nq [0] is invalid"),
        (group(101, [b"1234"]), 2, InvalidParameter, "nq [2] does not match the number of query vectors [1]"),
        (group(101, [b"123"]), 1, InvalidParameter, "a float query vector of 3 bytes is not a whole number of floats"),
        (group(101, [b""]), 1, InvalidParameter, "a float query vector of 0 bytes"),
        (group(101, [b"1234", b"12345678"]), 2, InvalidParameter, "query vectors must have one length above 0"),
        (group(100, [b"a", b"ab"]), 2, InvalidParameter, "query vectors must have one length above 0"),
        (group(301, [b""]), 1, InvalidParameter, "an embedding list that is searched with must not be empty"),
        (group(301, [b"1234"], element_level=True), 1, InvalidParameter, "an embedding list is no query for single"),
        (group(304, [b"12345678"]), 1, Unimplemented, "embedding lists of SparseFloatVector are not supported"),
        (group(399, [b"1234"]), 1, Unimplemented, "placeholder type 399 is not supported"),
        (group(5, [b"1"]), 1, Unimplemented, "placeholder type 5 is not supported"),
        (b"\xff", 1, WireError, "cannot parse PlaceholderGroup"),
    ],
)
def test_queries_that_make_no_sense_are_refused(data: bytes, nq: int, error: type[MilvusException], text: str) -> None:
    with pytest.raises(error) as caught:
        read_queries(data, nq)
    assert text in caught.value.message


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (np.float32, DataType.FLOAT_VECTOR), (np.float16, DataType.FLOAT16_VECTOR), (np.int8, DataType.INT8_VECTOR),
        (np.uint8, DataType.BINARY_VECTOR),
    ],
)  # fmt: skip
def test_lists_of_vectors_come_as_bytes_of_different_length(dtype: type, kind: DataType) -> None:
    lists = [np.arange(8, dtype=dtype), np.arange(4, dtype=dtype)]
    queries = read_queries(Prepare._prepare_placeholder_str(lists, is_embedding_list=True), 2)
    assert queries == Queries(data_type=kind, raw=tuple(some.tobytes() for some in lists), are_lists=True)
    assert read_queries(write_queries(queries), 2) == queries


def test_vectors_for_elements_say_so_both_ways() -> None:
    queries = read_queries(group(101, [b"12345678"], element_level=True), 1)
    assert queries.of_elements
    assert read_queries(write_queries(queries), 1).of_elements


def test_a_strided_matrix_is_written_row_by_row() -> None:
    matrix = np.arange(12, dtype=np.float64).reshape(3, 4)[:, ::2]
    back = read_queries(write_queries(Queries(data_type=DataType.FLOAT_VECTOR, vectors=matrix)), 3)
    assert back.vectors is not None
    np.testing.assert_array_equal(back.vectors, matrix)
