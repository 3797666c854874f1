"""JSON columns read as typed columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest

from redkite.filter import JsonColumn, json_column, shred


def column(values: list[Any]) -> pa.Array:
    return pa.array([None if v is ... else orjson.dumps(v) for v in values], pa.binary())


MIXED = [
    {"k": 1},
    {"k": 2.5},
    {"k": "x"},
    {"k": True},
    {"k": None},
    {},
    ...,
    {"k": [1, "a", [2]]},
    {"k": {}},
    {"k": [[]]},
]


def test_every_kind_of_value_goes_to_its_own_column() -> None:
    read = JsonColumn.from_rows(column(MIXED), ("k",))
    assert read.rows == 10
    assert read.kind.tolist() == [2, 3, 4, 1, 0, 0, 0, 5, 5, 5]
    assert read.counts == (3, 1, 1, 1, 1, 3)
    assert read.present.tolist() == [True] * 4 + [False] * 3 + [True] * 3
    assert read.filled.tolist() == [True] * 4 + [False] * 3 + [True, False, False]
    assert read.ints.tolist() == [1] + [0] * 9
    assert read.numbers.tolist() == [1.0, 2.5] + [0.0] * 8
    assert read.bools.nonzero()[0].tolist() == [3]
    assert read.strings.to_pylist() == [None, None, "x"] + [None] * 7
    assert read.raw.to_pylist() == [None] * 7 + [b'[1,"a",[2]]', b"{}", b"[[]]"]
    assert read.lists is not None
    assert read.lists.lengths.tolist() == [0] * 7 + [3, 0, 1]
    assert read.lists.elements.kind.tolist() == [2, 4, 5, 5]


def test_a_path_walks_through_objects_and_arrays() -> None:
    read = JsonColumn.from_rows(column([{"a": [{"b": 7}]}, {"a": []}, {"a": {"0": 1}}, {"a": 3}]), ("a", 0, "b"))
    assert read.kind.tolist() == [2, 0, 0, 0]


def test_the_empty_path_is_the_whole_value() -> None:
    assert JsonColumn.from_rows(column([1, "a", [2]]), ()).kind.tolist() == [2, 4, 5]


def test_several_paths_are_read_in_one_pass() -> None:
    read = shred(column([{"a": 1, "b": "x"}, {"b": "y"}]), [("a",), ("b",), ("c",)])
    assert read["a",].ints.tolist() == [1, 0]
    assert read["b",].strings.to_pylist() == ["x", "y"]
    assert not read["c",].present.any()


def test_long_columns_are_read_in_pieces_and_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = JsonColumn.from_rows(column(MIXED * 3), ("k",))
    monkeypatch.setattr(json_column, "_CHUNK", 4)
    pieces = JsonColumn.from_rows(column(MIXED * 3), ("k",))
    for name in ("kind", "present", "filled", "ints", "numbers", "bools"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(whole, name))
    assert pieces.strings.equals(whole.strings) and pieces.raw.equals(whole.raw) and pieces.counts == whole.counts
    assert pieces.lists is not None and whole.lists is not None
    np.testing.assert_array_equal(pieces.lists.offsets, whole.lists.offsets)
    np.testing.assert_array_equal(pieces.lists.is_list, whole.lists.is_list)
    np.testing.assert_array_equal(pieces.lists.elements.kind, whole.lists.elements.kind)


def test_integers_beyond_int64_are_doubles() -> None:
    read = JsonColumn.from_rows(column([2**64 - 1, 5, -(2**63)]), ())
    assert read.kind.tolist() == [3, 2, 2]
    assert read.ints.tolist() == [0, 5, -(2**63)]
    assert read.numbers[0] == 2.0**64


def test_values_nested_a_thousand_deep_are_read() -> None:
    read = JsonColumn.from_rows(pa.array([b"[" * 900 + b"]" * 900, b"[" * 900 + b"1" + b"]" * 900], pa.binary()), ())
    assert read.filled.tolist() == [False, True]
