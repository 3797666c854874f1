"""Values at JSON paths: cast, compared and sorted as a model in plain Python says."""

from __future__ import annotations

import json
import math
from functools import cmp_to_key
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from redkite.filter import JsonColumn
from redkite.model.types import DataType
from redkite.query.ordering import ranks_of
from redkite.query.plan import SortKey
from redkite.query.sources import Source, codes_of, json_values, picked

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.integers(-3, 3), st.floats(-1e3, 1e3),
    st.sampled_from([1.0, -2.0, 0.0, 0.5, 1e300]), st.text(max_size=3),
    st.sampled_from(["1", " -7 ", "true", "False", "x"]),
)  # fmt: skip
objects = st.dictionaries(st.sampled_from("ab"), scalars, max_size=1)
values = st.one_of(scalars, st.lists(st.integers(0, 2), max_size=2), objects)
columns = st.lists(values, max_size=12)


def column(some: list[Any]) -> JsonColumn:
    return JsonColumn.from_rows(pa.array([json.dumps({"a": v}).encode() for v in some], pa.binary()), ("a",))


def source(kind: DataType, strict: bool = False) -> Source:
    return Source("x", "doc", kind, ("a",), strict)


def as_integer(value: Any, strict: bool, least: int, most: int) -> int | None:
    number: int | None = None
    if type(value) is int:
        number = value
    elif not strict and type(value) is float and value == math.trunc(value) and abs(value) <= 2**53:
        number = int(value)
    elif not strict and isinstance(value, str) and value.strip().removeprefix("-").isascii():
        digits = value.strip().removeprefix("-")
        number = int(value) if digits.isdigit() and len(digits) <= 18 else None
    return number if number is not None and least <= number <= most else None


@given(columns, st.booleans(), st.sampled_from([(DataType.INT8, 7), (DataType.INT64, 63)]))
def test_casts_to_integers(some: list[Any], strict: bool, kind: tuple[DataType, int]) -> None:
    least, most = -(1 << kind[1]), (1 << kind[1]) - 1
    found = json_values(column(some), source(kind[0], strict)).to_pylist()
    assert found == [as_integer(value, strict, least, most) for value in some]


@given(columns, st.booleans())
def test_casts_to_truth_values(some: list[Any], strict: bool) -> None:
    texts = {} if strict else {"true": True, "false": False}
    wanted = [v if isinstance(v, bool) else texts.get(v.lower()) if isinstance(v, str) else None for v in some]
    assert json_values(column(some), source(DataType.BOOL, strict)).to_pylist() == wanted


@given(columns)
@example([2**63 - 1, -(2**63), 1e300, 1.0])
def test_casts_to_texts(some: list[Any]) -> None:
    strict = json_values(column(some), source(DataType.VARCHAR, True)).to_pylist()
    assert strict == [v if isinstance(v, str) else None for v in some]
    loose = json_values(column(some), source(DataType.VARCHAR)).to_pylist()
    for text, value in zip(loose, some, strict=True):
        if isinstance(value, str):
            assert text == value
        elif value is None:
            assert text is None
        else:
            assert json.loads(text) == value


@given(columns)
def test_values_that_are_equal_as_json_are_one_group(some: list[Any]) -> None:
    codes = codes_of([json_values(column(some), source(DataType.JSON))])
    for i, one in enumerate(some):
        for j, other in enumerate(some):
            numbers = [type(v) in (int, float) for v in (one, other)]
            if all(numbers) and one == other and max(abs(one), abs(other)) > 2**53:
                continue  # beyond what a double tells apart
            same = one == other and (all(numbers) or type(one) is type(other))
            assert (codes[i] == codes[j]) == same, (one, other)


def kind_of(value: Any) -> int:
    if isinstance(value, bool):
        return 1
    return {int: 2, float: 2, str: 3}.get(type(value), 4)


def compare(one: Any, other: Any) -> int:
    if kind_of(one) != kind_of(other):
        return kind_of(one) - kind_of(other)
    if kind_of(one) == 4:
        one, other = (json.dumps(v, separators=(",", ":")).encode() for v in (one, other))
    if kind_of(one) == 3:
        one, other = one.encode(), other.encode()
    if kind_of(one) == 2:
        one, other = (float(v) for v in (one, other))
    return int(one > other) - int(one < other)


@given(columns, st.booleans(), st.booleans())
def test_mixed_values_sort_by_kind_and_then_by_value(some: list[Any], descending: bool, nulls_last: bool) -> None:
    some = [v for v in some if not isinstance(v, int) or isinstance(v, bool) or abs(v) < 2**53]
    if not some:
        return
    key = SortKey(source(DataType.JSON), descending, nulls_last)
    order = np.lexsort([*ranks_of(column(some), key), np.arange(len(some))][::-1]).tolist()
    nulls = [i for i, v in enumerate(some) if v is None]
    sign = -1 if descending else 1
    others = sorted(
        (i for i, v in enumerate(some) if v is not None), key=cmp_to_key(lambda i, j: sign * compare(some[i], some[j]))
    )
    assert order == (others + nulls if nulls_last else nulls + others)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.float32(), pa.string(), pa.bool_()])
@given(data=st.data())
def test_plain_values_sort(kind: pa.DataType, data: st.DataObject) -> None:
    pools = {
        pa.int8(): st.integers(-128, 127), pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.float32(): st.floats(width=32, allow_nan=False), pa.string(): st.text(max_size=3), pa.bool_(): st.booleans(),
    }  # fmt: skip
    some = data.draw(st.lists(st.one_of(st.none(), pools[kind]), min_size=1, max_size=9))
    descending = data.draw(st.booleans())
    key = SortKey(Source("x", "x", DataType.NONE), descending)
    order = np.lexsort([*ranks_of(pa.array(some, kind), key), np.arange(len(some))][::-1]).tolist()
    found = [some[i] for i in order]
    nulls, others = [v for v in found if v is None], [v for v in found if v is not None]
    assert found == nulls + others
    wanted = sorted(others, key=lambda v: v.encode() if isinstance(v, str) else v, reverse=descending)
    assert others == wanted


@given(columns, st.data())
def test_some_rows_of_a_column_are_those_rows(some: list[Any], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, max(0, len(some) - 1)), max_size=6 if some else 0))
    chosen = picked(column(some), np.array(rows, np.int64))
    for kind in (DataType.JSON, DataType.INT64, DataType.VARCHAR):
        assert json_values(chosen, source(kind)).to_pylist() == json_values(
            column([some[i] for i in rows]), source(kind)
        ).to_pylist()  # fmt: skip
