"""Predicates over shapes: `st_within(field, "POLYGON (...)")` and its kin.

Boxes are compared first, points are decided by their coordinates, and only what is left is made into shapes. A shape
that is not valid stands in no relation to any; null is NULL.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from redkite.filter.numbers import Mask, settled
from redkite.filter.shape_column import ShapeColumn, bounds_of
from redkite.model.shapes import Shapes, shapely

EARTH_RADIUS = 6_371_000.0
"""Metres."""


class Relation(StrEnum):
    """Names of the functions. The field is on the left: `st_within(field, shape)` is TRUE where the field's value lies
    within the shape."""

    EQUALS = "st_equals"
    TOUCHES = "st_touches"
    OVERLAPS = "st_overlaps"
    CROSSES = "st_crosses"
    CONTAINS = "st_contains"
    INTERSECTS = "st_intersects"
    WITHIN = "st_within"
    DWITHIN = "st_dwithin"
    IS_VALID = "st_isvalid"


_SWAPPED: dict[Relation, str] = {
    Relation.EQUALS: "equals", Relation.TOUCHES: "touches", Relation.OVERLAPS: "overlaps",
    Relation.CROSSES: "crosses", Relation.CONTAINS: "within", Relation.INTERSECTS: "intersects",
    Relation.WITHIN: "contains",
}  # fmt: skip
"""The function of the shape and the field that says the same: the shape is prepared once, and comes first."""
_OF_POINTS: dict[Relation, str] = {Relation.INTERSECTS: "intersects_xy", Relation.WITHIN: "contains_xy"}


class Spatial(msgspec.Struct, frozen=True):
    field: str
    relation: Relation
    text: str
    """The shape it is compared with, as WKT; empty for IS_VALID."""
    shape: Any
    """The same as a prepared shape; None for IS_VALID."""
    distance: float
    """Of DWITHIN: metres between points, else degrees."""
    negated: bool = False


def evaluate_spatial(predicate: Spatial, column: ShapeColumn) -> Mask:
    """(rows,) True where the relation holds (negated: where it does not); False where there is no shape."""
    if predicate.relation is Relation.IS_VALID:
        mask = column.valid.copy()
    elif not shapely().is_valid(predicate.shape):
        mask = np.zeros(column.rows, np.bool_)
    elif predicate.relation is Relation.DWITHIN:
        mask = _is_near(predicate, column)
    else:
        mask = _is_related(predicate, column)
    return settled(mask, predicate.negated, column.present)


def _is_related(predicate: Spatial, column: ShapeColumn) -> Mask:
    library, relation, shape = shapely(), predicate.relation, predicate.shape
    # An empty shape has no box, and may still equal an empty one.
    candidates = column.valid.copy() if library.is_empty(shape) else column.near(bounds_of(shape))
    mask = np.zeros(column.rows, np.bool_)
    of_points = _OF_POINTS.get(relation)
    if of_points is not None:
        rows = np.flatnonzero(candidates & column.points)
        mask[rows] = getattr(library, of_points)(shape, column.bounds[0][rows], column.bounds[1][rows])
        candidates &= ~column.points
    rows = np.flatnonzero(candidates)
    if len(rows):
        test: Callable[[Any, Shapes], Mask] = getattr(library, _SWAPPED[relation])
        mask[rows] = _tested(test, shape, column.shapes(rows))
    return mask


def _tested(test: Callable[[Any, Shapes], Mask], shape: Any, shapes: Shapes) -> Mask:
    """A relation that cannot be computed of two shapes does not hold between them."""
    error = shapely().errors.GEOSException
    try:
        return test(shape, shapes)
    except error:
        return np.array([_holds(test, shape, other, error) for other in shapes], np.bool_)


def _holds(test: Callable[[Any, Any], Any], shape: Any, other: Any, error: type[Exception]) -> bool:
    try:
        return bool(test(shape, other))
    except error:
        return False


# -- distance -----------------------------------------------------------------------------------
def _is_near(predicate: Spatial, column: ShapeColumn) -> Mask:
    """Between points along the earth's surface in metres, x being the longitude; of other shapes in the plane."""
    if shapely().is_empty(predicate.shape):
        return np.zeros(column.rows, np.bool_)
    x, y = float(predicate.shape.x), float(predicate.shape.y)
    mask = np.zeros(column.rows, np.bool_)
    # No point is nearer than its latitude: that alone settles most of them. A little more, for rounding.
    band = np.degrees(predicate.distance / EARTH_RADIUS) * (1 + 1e-9) + 1e-9
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((np.abs(column.bounds[1] - y) <= band) & column.points & column.valid)
    mask[rows] = haversine(x, y, column.bounds[0][rows], column.bounds[1][rows]) <= predicate.distance
    reach = predicate.distance
    others = column.near((x - reach, y - reach, x + reach, y + reach)) & ~column.points
    rows = np.flatnonzero(others)
    if len(rows):
        mask[rows] = shapely().distance(predicate.shape, column.shapes(rows)) <= reach
    return mask


def haversine(x: float, y: float, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Metres between one point and others, all given in degrees of longitude (x) and latitude (y)."""
    latitude, latitudes = np.radians(y), np.radians(ys)
    half_up = np.sin((latitudes - latitude) / 2)
    half_over = np.sin(np.radians(xs - x) / 2)
    share = half_up * half_up + np.cos(latitude) * np.cos(latitudes) * half_over * half_over
    metres: npt.NDArray[np.float64] = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0)))
    return metres
