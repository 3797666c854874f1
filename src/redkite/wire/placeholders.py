"""Query vectors: `PlaceholderGroup` bytes to and from `Queries`."""

from __future__ import annotations

import numpy as np

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model.requests import Queries
from redkite.model.types import DataType
from redkite.wire.messages import common, parse

_TAG = "$0"
_TEXT = 21
_FLOAT = 101
_KINDS = {
    100: DataType.BINARY_VECTOR, 102: DataType.FLOAT16_VECTOR, 103: DataType.BFLOAT16_VECTOR,
    104: DataType.SPARSE_FLOAT_VECTOR, 105: DataType.INT8_VECTOR, _TEXT: DataType.VARCHAR,
}  # fmt: skip
_PLACEHOLDER = {kind: number for number, kind in _KINDS.items()}
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
    if placeholder.element_level:
        raise Unimplemented("element-level search is not supported in this version")
    number = placeholder.type
    if number == _FLOAT:
        return _float_queries(values, count)
    if number not in _KINDS:
        raise Unimplemented(f"placeholder type {number} is not supported in this version")
    kind = _KINDS[number]
    raw = tuple(values)
    if kind not in _ANY_LENGTH:
        _check_equal({len(value) for value in raw})
    return Queries(data_type=kind, raw=raw)


def _float_queries(values: list[bytes], count: int) -> Queries:
    raw = values[0]
    size = len(raw)
    if count > 1:
        _check_equal({len(value) for value in values})
        raw = b"".join(values)
    if not size or size % 4:
        raise InvalidParameter(f"a float query vector of {size} bytes is not a whole number of floats")
    return Queries(data_type=DataType.FLOAT_VECTOR, vectors=np.frombuffer(raw, np.float32).reshape(count, -1))


def _check_equal(sizes: set[int]) -> None:
    if len(sizes) > 1 or 0 in sizes:
        raise InvalidParameter(f"query vectors must have one length above 0, but got {sorted(sizes)[:5]} bytes")


def write_queries(queries: Queries) -> bytes:
    """The `PlaceholderGroup` of some queries."""
    if queries.vectors is not None:
        matrix = np.ascontiguousarray(queries.vectors, "<f4")
        number, values = _FLOAT, [row.tobytes() for row in matrix]
    else:
        number, values = _PLACEHOLDER[queries.data_type], list(queries.raw)
    placeholder = common.PlaceholderValue(tag=_TAG, type=number, values=values)
    data: bytes = common.PlaceholderGroup(placeholders=[placeholder]).SerializeToString()
    return data
