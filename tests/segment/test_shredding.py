"""JSON paths stored as columns say exactly what the documents say."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.filter import ShapeColumn
from redkite.filter.json_column import JsonColumn
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import DataType
from redkite.segment import shredding
from redkite.segment.shredding import Shredded, shredded_columns

SCHEMA = CollectionSchema(
    name="c",
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, field_id=100),
        FieldSchema(name="doc", data_type=DataType.JSON, field_id=101, nullable=True),
    ),
)


def stored(documents: list[bytes | None]) -> tuple[pa.Array, Shredded]:
    column = pa.array(documents, pa.binary())
    batch = pa.record_batch({"id": pa.array(range(len(column)), pa.int64()), "doc": column})
    found = shredded_columns(batch, SCHEMA)
    table = pa.RecordBatch.from_arrays([*batch.columns, *(c for _, c in found)], ["100", "101", *(n for n, _ in found)])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_batch(table)
    return column, Shredded(pa.ipc.open_file(sink.getvalue()).get_batch(0))


def same(one: JsonColumn, other: JsonColumn) -> None:
    for name in ("present", "filled", "kind", "ints", "numbers", "bools"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert one.counts == other.counts
    assert one.strings.to_pylist() == other.strings.to_pylist()
    assert one.raw.to_pylist() == other.raw.to_pylist()
    assert (one.lists is None) == (other.lists is None)
    if one.lists is not None and other.lists is not None:
        assert np.array_equal(one.lists.is_list, other.lists.is_list)
        assert np.array_equal(one.lists.offsets, other.lists.offsets)
        same(one.lists.elements, other.lists.elements)
    assert one.bigs is None and other.bigs is None


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-300, 300), st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(codec="utf-8"), max_size=4),
)  # fmt: skip
flat = st.dictionaries(st.sampled_from(["a", "b", 'q"/']), scalars, max_size=3)
documents = st.one_of(
    st.none(),
    flat,
    st.fixed_dictionaries({"o": flat, "a": st.integers(0, 3)}),
    st.fixed_dictionaries({"a": st.sampled_from(["x", "y", 1, 1.5, True])}),
    st.fixed_dictionaries({"l": st.lists(scalars, max_size=2)}),
    st.fixed_dictionaries({"t": st.lists(st.text(max_size=2), max_size=3), "b": st.lists(st.integers(0, 5))}),
    st.lists(scalars, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(documents, min_size=1, max_size=40), st.integers(1, 120))
def test_a_stored_path_is_what_its_documents_say(few: list[Any], times: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shredding, "LEAST_ROWS", 1)
        texts = [None if d is None else orjson.dumps(d) for d in few * times]
        column, found = stored(texts)
    for _, path in found._paths:
        restored = found.column(101, path)
        assert restored is not None
        same(restored, JsonColumn.from_rows(column, path))


def test_common_paths_of_scalars_are_stored_and_others_are_not() -> None:
    rows = 5_000
    texts = [
        orjson.dumps({
            "n": i, "mixed": i if i % 2 else str(i), "tags": ["x"], "o": {"deep": {"er": i / 2}},
            "big": 2**63 if i == 4_000 else 1, "late": {} if i == 4_999 else i,
            "odd": [1, "x"], "empty": [], **({"rare": 1} if i % 50 == 0 else {}),
            "color": "red" if i % 3 else "blue", "none": None,
        })
        for i in range(rows)
    ]  # fmt: skip
    paths = (("n",), ("mixed",), ("o", "deep", "er"), ("color",), ("tags",), ("empty",))
    column, found = stored(texts)
    assert {path for _, path in found._paths} == set(paths)
    for path in paths:
        restored = found.column(101, path)
        assert restored is not None
        same(restored, JsonColumn.from_rows(column, path))
    assert found.column(101, ("rare",)) is None
    assert found.column(102, ("n",)) is None


def test_small_segments_store_no_paths() -> None:
    _, found = stored([b'{"a": 1}'] * (shredding.LEAST_ROWS - 1))
    assert not found._paths


def test_points_are_stored_as_coordinates_and_other_shapes_are_not() -> None:
    fields = (
        FieldSchema(name="id", data_type=DataType.INT64, is_primary=True, field_id=100),
        FieldSchema(name="place", data_type=DataType.GEOMETRY, field_id=101, nullable=True),
    )
    schema = CollectionSchema(name="c", fields=fields)
    points = [None if i % 7 == 0 else f"POINT ({i / 3!r} {-i})" for i in range(3_000)]
    for odd in (None, "LINESTRING (0 0, 1 1)", "POINT EMPTY", "POINT (NaN 1)"):
        texts = pa.array([*points, odd], pa.string())
        batch = pa.record_batch({"id": pa.array(range(len(texts)), pa.int64()), "place": texts})
        found = shredded_columns(batch, schema)
        assert [name for name, _ in found] == ([] if odd else ["101/x/", "101/y/"])
        if odd is None:
            restored = Shredded(pa.RecordBatch.from_arrays([c for _, c in found], [n for n, _ in found]))
            one, other = restored.points(101, texts), ShapeColumn.from_texts(texts)
            assert one is not None
            for name in ("present", "valid", "points", "bounds"):
                assert np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name == "bounds"), name
            assert restored.points(100, texts) is None
