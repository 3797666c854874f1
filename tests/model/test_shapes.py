"""Geometries as texts."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st

from redkite.errors import InvalidParameter, Unimplemented
from redkite.model import shapes
from redkite.model.limits import LIMITS
from redkite.model.rules.field_rules import check_field
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=5))
@example([(-0.03750707244708451, 5e-324), (1.7976931348623157e308, -0.00044157434365388326)])
def test_every_coordinate_comes_back_as_the_same_double(points: list[tuple[float, float]]) -> None:
    text = f"LINESTRING({', '.join(f'{x!r} {y!r}' for x, y in points)})"
    normal = shapes.normalized_text(text)
    assert shapely.get_coordinates(shapely.from_wkt(normal)).tolist() == [list(point) for point in points]
    assert shapes.normalized_text(normal) == normal


def test_shapes_are_written_one_way_and_nulls_stay() -> None:
    column = pa.array(["point(1.50 2)", None, "POLYGON((0 0,1 0,1 1,0 0))", "POINT EMPTY", "POINT Z (1 2 3)"])
    assert shapes.normalized(column).to_pylist() == [
        "POINT (1.5 2)", None, "POLYGON ((0 0, 1 0, 1 1, 0 0))", "POINT EMPTY", "POINT Z (1 2 3)",
    ]  # fmt: skip
    assert len(shapes.normalized(pa.array([], pa.string()))) == 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "POINT(1)",
        "POLYGON((0 0, 1 1))",
        "CIRCULARSTRING(0 0, 1 1, 2 0)",
        "POINT(1 2",
        "POINT(1 2) x",
        "POINT(1 2)\0x",
    ],
)
def test_the_first_text_that_is_no_shape_is_named(text: str) -> None:
    with pytest.raises(InvalidParameter, match="transform to wkb failed: row 2, "):
        shapes.normalized(pa.array(["POINT(1 2)", None, text, "y"]))
    with pytest.raises(shapes.BadShape):
        shapes.parse_shape(text)


def test_a_shape_that_nests_without_end_is_refused_and_one_of_many_parts_is_not() -> None:
    deep = "GEOMETRYCOLLECTION(" * 100_000
    with pytest.raises(InvalidParameter, match="row 1 nests deeper than 32 levels"):
        shapes.normalized(pa.array(["POINT(1 2)", deep]))
    with pytest.raises(shapes.BadShape, match="nests deeper"):
        shapes.parse_shape(deep)
    wide = f"MULTIPOINT ({', '.join(f'({n} 0)' for n in range(500))})"
    assert shapes.normalized_text(wide) == wide


def test_without_the_library_a_geometry_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shapely", None)
    shapes.shapely.cache_clear()
    try:
        with pytest.raises(Unimplemented, match=r"pip install 'redkite\[geo\]'"):
            check_field("c", FieldSchema(name="g", data_type=DataType.GEOMETRY), LIMITS)
    finally:
        monkeypatch.undo()
        shapes.shapely.cache_clear()
