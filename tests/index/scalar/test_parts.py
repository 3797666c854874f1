"""The parts that indexes over values are made of."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.filter.rows import DYNAMIC, columns_of
from tests.index.scalar.indexed_rows import reopened, spec, stored

from redkite.errors import Corruption
from redkite.filter import compile_filter
from redkite.filter.shape_column import ShapeColumn
from redkite.filter.spatial import haversine
from redkite.index.scalar import layout
from redkite.index.scalar.column import SEARCH_NS
from redkite.index.scalar.family import MOST_BITMAPS, open_scalar
from redkite.index.scalar.flat import MOST_PATHS
from redkite.index.scalar.keys import text_keys
from redkite.index.scalar.ngram import gram_hashes
from redkite.index.scalar.postings import ROW_NS, Bitmaps, RowLists, build_postings
from redkite.index.scalar.rtree import RTreeIndex, _around, open_rtree, rtree_arrays
from redkite.index.scalar.spans import of_keys, one

ROWS = [{"id": n, "age": n % 150, "name": f"name {n % 40}", "flag": n % 2 == 0} for n in range(300)]


# -- layout -------------------------------------------------------------------------------------
def test_arrays_come_back_as_they_were_each_at_a_multiple_of_64_bytes() -> None:
    arrays = {"a": np.arange(5, dtype=np.uint32), "b": np.zeros((2, 3)), "empty": np.zeros(0, np.int8), "c": np.ones(7)}
    data = b"".join(bytes(part) for part in layout.pack("kind", 9, {"fact": True}, arrays))
    found = layout.unpack(memoryview(data))
    assert (found.kind, found.rows, found.facts) == ("kind", 9, {"fact": True})
    assert {name: values.tolist() for name, values in arrays.items()} == {
        n: v.tolist() for n, v in found.arrays.items()
    }
    start = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    places = [v.__array_interface__["data"][0] - start for v in found.arrays.values() if v.size]
    assert all(place % layout.ALIGNMENT == 0 for place in places)
    assert not found.array("a").flags.writeable


def test_bytes_that_are_no_index_are_corruption() -> None:
    whole = stored(spec("INVERTED"), "age", columns_of(ROWS))
    for data in (b"", b"RKSCALAR", b"x" * 200, whole[:100], whole[: len(whole) // 2], whole[:16] + b"[" + whole[17:]):
        with pytest.raises(Corruption):
            open_scalar(spec("INVERTED"), memoryview(data))


# -- keys and postings --------------------------------------------------------------------------
@given(
    st.lists(st.none() | st.text(alphabet="aü\x00z", max_size=3), max_size=30), st.text(alphabet="aü\x00z", max_size=3)
)
def test_strings_are_found_in_the_order_of_their_bytes(values: list[str | None], wanted: str) -> None:
    for column in (pa.array(values, pa.string()), pa.array(values, pa.string()).dictionary_encode()):
        keys, numbers = text_keys(column)
        texts = keys.texts.to_pylist()
        assert texts == sorted({v for v in values if v is not None}, key=str.encode)
        assert [None if n < 0 else texts[n] for n in numbers.tolist()] == values
        assert keys.first_at_least(wanted.encode()) == sum(t.encode() < wanted.encode() for t in texts)
        assert [texts[n] for n in keys.prefixed(wanted).numbers()] == [t for t in texts if t.startswith(wanted)]


@given(st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 19)), max_size=60), st.sets(st.integers(0, 6)))
def test_lists_of_rows_and_bitmaps_say_the_same(entries: list[tuple[int, int]], wanted: set[int]) -> None:
    keys, owners = (np.array([e[i] for e in entries], np.int64) for i in (0, 1))
    spans = of_keys(np.array(sorted(wanted), np.int64))
    expected = [any((key, row) in entries for key in wanted) for row in range(20)]
    for most, kind in ((0, RowLists), (7, Bitmaps)):
        postings = build_postings(keys, owners, 7, 20, most)
        assert isinstance(postings, kind)
        assert postings.mask(spans).tolist() == expected
        assert postings.count(spans) == len({e for e in entries if e[0] in wanted})


def test_many_runs_of_keys_are_gathered_as_few_are() -> None:
    postings = build_postings(np.arange(100) % 50, None, 50, 100, 0)
    spans = of_keys(np.arange(0, 50, 2))
    assert len(spans.starts) == 25
    assert np.flatnonzero(postings.mask(spans)).tolist() == list(range(0, 100, 2))


def test_a_kept_mask_is_given_out_as_a_copy() -> None:
    postings = build_postings(np.arange(30) % 3, None, 3, 30, 3)
    bitmaps = Bitmaps(np.asarray(postings.arrays()["bits"]), 30, keeps=True)
    first = bitmaps.mask(one(1, 2))
    first[:] = False
    assert np.flatnonzero(bitmaps.mask(one(1, 2))).tolist() == list(range(1, 30, 3))


def test_bitmaps_are_for_few_values_and_lists_for_many() -> None:
    columns = columns_of([{"id": n} for n in range(MOST_BITMAPS["BITMAP"] + 1)])
    for kind, field, part in (("BITMAP", "age", "bits"), ("HYBRID", "id", "offsets"), ("BITMAP", "id", "offsets")):
        data = layout.unpack(memoryview(stored(spec(kind), field, columns)))
        assert f"rows.{part}" in data.arrays


def test_what_most_rows_have_is_found_by_the_rows_that_do_not() -> None:
    columns = columns_of(
        [{"id": n, "city": "same" if n else "other", "name": "same" if n else None} for n in range(500)]
    )
    limit = SEARCH_NS + 0.5 * ROW_NS * columns.rows
    for field, answered in (("city", True), ("name", False)):
        leaf = compile_filter(f'{field} == "same"', DYNAMIC).predicate
        mask = reopened(spec("INVERTED"), field, columns).answer(leaf, columns, limit)  # type: ignore[arg-type]
        assert (None if mask is None else mask.tolist()) == ([False] + [True] * 499 if answered else None)


# -- grams --------------------------------------------------------------------------------------
def test_grams_of_other_sizes_or_bytes_have_other_hashes() -> None:
    data = np.frombuffer(b"abcabc", np.uint8)
    pairs = gram_hashes(data, 2)
    assert pairs.tolist()[:2] == pairs.tolist()[3:]
    assert len({*pairs.tolist(), *gram_hashes(data, 3).tolist()}) == 6
    assert len(gram_hashes(data, 7)) == 0


def test_the_sizes_of_grams_decide_what_is_held_and_answered() -> None:
    columns = columns_of(ROWS)
    small, large = (stored(spec("NGRAM", min_gram=2, max_gram=most), "name", columns) for most in (2, 4))
    assert len(large) > len(small)
    index = reopened(spec("NGRAM", min_gram=3, max_gram=4), "name", columns)
    for text, answered in (('name like "%me 7%"', True), ('name like "%me%"', False), ('name like "%m_ 7%"', False)):
        leaf = compile_filter(text, DYNAMIC).predicate
        assert (index.answer(leaf, columns, math.inf) is not None) == answered  # type: ignore[arg-type]


# -- shapes -------------------------------------------------------------------------------------
coordinates = st.floats(-20, 20, allow_nan=False, width=16)


@given(st.lists(st.tuples(coordinates, coordinates), max_size=300), st.tuples(*[coordinates] * 4))
def test_a_tree_finds_the_boxes_that_meet_a_box(
    points: list[tuple[float, float]], box: tuple[float, float, float, float]
) -> None:
    left, right = sorted(box[:2])
    low, high = sorted(box[2:])
    column = ShapeColumn.from_texts(pa.array([f"POINT ({x} {y})" for x, y in points], pa.string()))
    tree = open_tree(column)
    expected = [n for n, (x, y) in enumerate(points) if left <= x <= right and low <= y <= high]
    assert tree.within([(left, low, right, high)]).tolist() == expected


def open_tree(column: ShapeColumn) -> RTreeIndex:
    return open_rtree(layout.Stored("rtree", column.rows, {"only_points": True}, dict(rtree_arrays(column))))


@given(st.floats(-180, 180), st.floats(-90, 90), st.floats(0, 2.1e7), st.floats(-180, 180), st.floats(-90, 90))
def test_the_boxes_around_a_point_hold_all_that_is_near(
    x: float, y: float, metres: float, other_x: float, other_y: float
) -> None:
    if haversine(x, y, np.array([other_x]), np.array([other_y]))[0] <= metres:
        boxes = _around(x, y, metres)
        assert any(left <= other_x <= right and low <= other_y <= high for left, low, right, high in boxes)


# -- JSON ---------------------------------------------------------------------------------------
def test_where_keys_are_data_only_the_most_frequent_are_indexed() -> None:
    rows = [{"id": n, "doc": {"a": n, f"user{n}": 1}} for n in range(MOST_PATHS + 5)]
    columns = columns_of(rows)
    index = reopened(spec("INVERTED", json_path="[]", json_cast_type="JSON"), "doc", columns)
    for text, answered in (('doc["a"] == 3', True), (f'doc["user{MOST_PATHS + 4}"] == 1', False)):
        leaf = compile_filter(text, DYNAMIC).predicate
        assert (index.answer(leaf, columns, math.inf) is not None) == answered  # type: ignore[arg-type]
