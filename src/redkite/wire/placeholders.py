"""Query vectors: `PlaceholderGroup` bytes to and from `Queries`."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.requests import Queries
from redkite.model.types import DataType
from redkite.wire.messages import common, parse
from redkite.wire.numbers import varint

_TAG = "$0"
_GROUP_TAG, _VALUE_TAG = b"\x0a", b"\x1a"
"""Length-delimited fields: 1 of a group, `placeholders`, and 3 of a placeholder, `values`."""
_TEXT = 21
_FLOAT = 101
_KINDS = {
    100: DataType.BINARY_VECTOR, 102: DataType.FLOAT16_VECTOR, 103: DataType.BFLOAT16_VECTOR,
    104: DataType.SPARSE_FLOAT_VECTOR, 105: DataType.INT8_VECTOR, _TEXT: DataType.VARCHAR,
}  # fmt: skip
_PLACEHOLDER = {kind: number for number, kind in _KINDS.items()}
_LISTS = 200
"""What is added to the number of a kind of vector for lists of them."""
_ANY_LENGTH = frozenset({DataType.SPARSE_FLOAT_VECTOR, DataType.VARCHAR})


def read_queries(data: bytes, nq: int) -> Queries:
    """The query vectors of one search. `nq` is the number the request claims; 0 when it claims nothing."""
    group = parse(common.PlaceholderGroup, data)
    if len(group.placeholders) != 1:
        raise InvalidParameter(f"one placeholder is expected in a placeholder group, but got {len(group.placeholders)}")
    placeholder = group.placeholders[0]
    values = placeholder.values
    count = len(values)
    if not count:
        raise InvalidParameter(
            "nq [0] is invalid, nq (number of search vector per search request) should be in range [1, 16384], "
            "but got 0"
        )
    if nq not in (0, count):
        raise InvalidParameter(f"nq [{nq}] does not match the number of query vectors [{count}]")
    number, elements = placeholder.type, placeholder.element_level
    if number == _FLOAT:
        return _float_queries(values, count, elements)
    if number - _LISTS in (_FLOAT, *_KINDS):
        return _list_queries(number - _LISTS, tuple(values), elements)
    if number not in _KINDS:
        raise Unimplemented(f"placeholder type {number} is not supported in this version")
    kind = _KINDS[number]
    raw = tuple(values)
    if kind not in _ANY_LENGTH:
        _check_equal({len(value) for value in raw})
    return Queries(data_type=kind, raw=raw, of_elements=elements)


def _list_queries(number: int, values: tuple[bytes, ...], elements: bool) -> Queries:
    if elements:
        raise InvalidParameter("an embedding list is no query for single elements: element_level must be false")
    kind = DataType.FLOAT_VECTOR if number == _FLOAT else _KINDS[number]
    if kind in _ANY_LENGTH:
        raise Unimplemented(f"embedding lists of {kind.wire_name} are not supported in this version")
    if not all(values):
        raise InvalidParameter("an embedding list that is searched with must not be empty")
    return Queries(data_type=kind, raw=values, are_lists=True)


def _float_queries(values: list[bytes], count: int, elements: bool) -> Queries:
    raw = values[0]
    size = len(raw)
    if count > 1:
        _check_equal({len(value) for value in values})
        raw = b"".join(values)
    if not size or size % 4:
        raise InvalidParameter(f"a float query vector of {size} bytes is not a whole number of floats")
    vectors = np.frombuffer(raw, np.float32).reshape(count, -1)
    return Queries(data_type=DataType.FLOAT_VECTOR, vectors=vectors, of_elements=elements)


def _check_equal(sizes: set[int]) -> None:
    if len(sizes) > 1 or 0 in sizes:
        raise InvalidParameter(f"query vectors must have one length above 0, but got {sorted(sizes)[:5]} bytes")


@lru_cache(maxsize=256)
def _around(size: int, elements: bool) -> tuple[bytes, bytes]:
    """What stands before and behind the only float vector of a group, which has so many bytes."""
    value = common.PlaceholderValue(tag=_TAG, type=_FLOAT).SerializeToString() + _VALUE_TAG + varint(size)
    level = common.PlaceholderValue(element_level=elements).SerializeToString()
    return _GROUP_TAG + varint(len(value) + size + len(level)) + value, level


def write_queries(queries: Queries) -> bytes:
    """The `PlaceholderGroup` of some queries."""
    if queries.vectors is not None and len(queries.vectors) == 1 and not queries.are_lists:
        value = queries.vectors.astype("<f4", copy=False).tobytes()
        before, behind = _around(len(value), queries.of_elements)
        return b"".join((before, value, behind))
    if queries.vectors is not None:
        matrix = np.ascontiguousarray(queries.vectors, "<f4")
        number, values = _FLOAT, [row.tobytes() for row in matrix]
    elif queries.data_type is DataType.FLOAT_VECTOR:
        number, values = _FLOAT, list(queries.raw)
    else:
        number, values = _PLACEHOLDER[queries.data_type], list(queries.raw)
    if queries.are_lists:
        number += _LISTS
    placeholder = common.PlaceholderValue(tag=_TAG, type=number, values=values, element_level=queries.of_elements)
    data: bytes = common.PlaceholderGroup(placeholders=[placeholder]).SerializeToString()
    return data
