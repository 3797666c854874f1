"""Columns that are derived once: of rows that grow, of fewer of them, and of segments that a node holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.filter.oracle import json_values, shapes
from tests.filter.rows import DYNAMIC, batch_of

from redkite.filter import ArrowColumns, JsonColumn, ShapeColumn, compile_filter
from redkite.segment import columns as module
from redkite.segment.columns import SegmentColumns, kept_columns, kept_words
from redkite.text.specs import analyzer_of

FILTERS = [
    "doc['k'] > 1", "doc['k'] in [1, 'a', true]", "exists doc['k']", "doc['k'] is null", "json_contains(doc['k'], 1)",
    "doc['k'] == [1]", "array_length(doc['k']) > 0", "doc['k'] == 18446744073709551615", "doc['k'] like 'a%'",
    "json_contains(doc['k'], [1])", "doc['k'][1] != 1", "st_within(place, 'POLYGON((0 0, 2 0, 2 2, 0 2, 0 0))')",
    "not st_intersects(place, 'POINT(1 1)')", "st_isvalid(place)",
]  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(json_values, st.none() | shapes), min_size=1, max_size=20),
    st.lists(st.integers(0, 20), min_size=3, max_size=6),
)
def test_a_filter_over_growing_rows_is_that_over_all_of_them(given_rows: list[Any], steps: list[int]) -> None:
    batch = batch_of([{"id": 0, "doc": {"k": value}, "place": place} for value, place in given_rows])
    kept = kept_columns()
    for rows in (min(step, len(given_rows)) for step in steps):
        part = batch.slice(0, rows)
        read = SegmentColumns(rows, part.column).keep_in((1, 1), lambda: kept)
        for text in FILTERS:
            compiled = compile_filter(text, DYNAMIC)
            assert compiled.evaluate(read).tolist() == compiled.evaluate(ArrowColumns(part, DYNAMIC)).tolist(), text


def test_documents_are_parsed_once_while_rows_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = []
    real = JsonColumn.from_rows

    def counting(column: pa.Array, path: Any) -> JsonColumn:
        parsed.append(len(column))
        return real(column, path)

    monkeypatch.setattr(JsonColumn, "from_rows", counting)
    texts = pa.array([orjson.dumps({"a": i}) for i in range(30)], pa.binary())
    kept = kept_columns()
    for rows in (10, 10, 25, 20, 30, 30):
        columns = SegmentColumns(rows, lambda _, rows=rows: texts.slice(0, rows)).keep_in((1, 1), lambda: kept)
        assert columns.json_path("doc", ("a",)).ints.tolist() == list(range(rows))
    assert parsed == [10, 15, 5]
    other = SegmentColumns(30, lambda _: texts).keep_in((2, 1), lambda: kept)
    other.json_path("doc", ("a",))
    assert parsed[-1] == 30


def test_derived_columns_of_all_segments_share_one_room(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pa.array([orjson.dumps({"a": i}) for i in range(1_000)], pa.binary())
    size = JsonColumn.from_rows(texts, ("a",)).nbytes
    assert 17_000 < size < 60_000
    monkeypatch.setattr(module, "OWN_BYTES", 3 * size)
    kept = kept_columns()
    for segment in range(10):
        SegmentColumns(1_000, lambda _: texts).keep_in((segment, 1), lambda: kept).json_path("doc", ("a",))
    assert kept.held == 3 * size
    kept.forget(9)
    assert kept.held == 2 * size


def test_the_head_of_shapes_and_more_behind_them() -> None:
    texts = pa.array(["POINT (1 2)", None, "LINESTRING (0 0, 1 1)", "POINT EMPTY"])
    whole, head = ShapeColumn.from_texts(texts), ShapeColumn.from_texts(texts).head(2)
    again = head.and_more(texts, ShapeColumn.from_texts(texts.slice(2)))
    for column in (whole, again):
        assert column.points.tolist() == [True, False, False, False]
        assert column.valid.tolist() == [True, False, True, True]
        assert column.present is not None and column.present.tolist() == [True, False, True, True]
    assert np.array_equal(whole.bounds, again.bounds, equal_nan=True)
    assert head.rows == 2


def test_words_of_growing_rows_are_found_once_however_many_fields_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    analyzed: list[int] = []
    analyzer = analyzer_of(None)
    real = type(analyzer).analyze

    def counting(self: Any, texts: Any) -> Any:
        analyzed.append(len(texts))
        return real(self, texts)

    monkeypatch.setattr(type(analyzer), "analyze", counting)
    monkeypatch.setattr(module, "OWN_BYTES", 1)
    texts = pa.array([f"word{i} and more" for i in range(30)])
    derived, words = kept_columns(), kept_words()
    for rows in (10, 25, 20, 30):
        columns = SegmentColumns(rows, lambda _, rows=rows: texts.slice(0, rows))
        columns = columns.keep_in((1, 1), lambda: derived, words)
        for field in ("a", "b", "a"):
            assert columns.words(field, analyzer).rows == rows
    assert analyzed == [10, 10, 15, 15, 5, 5]
    assert words.held > 0
