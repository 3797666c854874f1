"""A packed R-tree: the boxes of shapes, grouped by where they lie, group upon group up to one box that holds all.

It is made once, by sorting (sort-tile-recursive), and never changes: so it is a few arrays, read where they are mapped.
Boxes only say which shapes may stand in a relation; those are compared exactly.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from redkite.filter.columns import Columns
from redkite.filter.evaluate import evaluate
from redkite.filter.indexed import IndexedLeaf, RowNumbers, SomeRows
from redkite.filter.numbers import Mask, settled
from redkite.filter.shape_column import ShapeColumn, bounds_of
from redkite.filter.spatial import EARTH_RADIUS, Relation, Spatial
from redkite.index.scalar.layout import Arrays, Stored
from redkite.model.shapes import shapely

FANOUT = 64
"""Boxes in a group."""
SEARCH_NS = 80_000.0
COMPARE_NS = 2_500.0
"""Reading one candidate's text and comparing its shape."""

Box = tuple[float, float, float, float]
Boxes = npt.NDArray[np.float64]
"""(n, 4): least x, least y, greatest x, greatest y."""
_SLACK = 1e-9
"""Relative widening of a box that is computed from a distance."""
_WHOLE_EARTH: Box = (-180.0, -90.0, 180.0, 90.0)


class RTreeIndex:
    """`levels[0]` are the boxes of rows, in the order of `numbers`; each further level has one box for FANOUT of the
    level below."""

    def __init__(self, levels: list[Boxes], numbers: npt.NDArray[np.uint32], only_points: bool, rows: int) -> None:
        self.rows = rows
        self.answers = 0
        self._levels = levels
        self._numbers = numbers
        self._only_points = only_points

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:
        """See `FieldIndex.answer`."""
        if not isinstance(leaf, Spatial) or leaf.shape is None or shapely().is_empty(leaf.shape):
            return None
        boxes = self._boxes_of(leaf)
        if boxes is None:
            return None
        rows = self.within(boxes)
        if SEARCH_NS + COMPARE_NS * len(rows) >= limit:
            return None
        mask = np.zeros(self.rows, np.bool_)
        if len(rows):
            held = Spatial(leaf.field, leaf.relation, leaf.text, leaf.shape, leaf.distance)
            mask[rows[evaluate(held, SomeRows(columns, rows))]] = True
        return settled(mask, leaf.negated, columns.is_valid(leaf.field)) if leaf.negated else mask

    def _boxes_of(self, leaf: Spatial) -> list[Box] | None:
        """Boxes that a shape must meet to stand in the relation; None when none can be told."""
        if leaf.relation is not Relation.DWITHIN:
            return [bounds_of(leaf.shape)]
        if not len(self._levels[-1]):
            return []
        x, y, reach = float(leaf.shape.x), float(leaf.shape.y), leaf.distance
        plane = [] if self._only_points else [(x - reach, y - reach, x + reach, y + reach)]
        least, most = self._levels[-1][:, :2].min(axis=0), self._levels[-1][:, 2:].max(axis=0)
        everything = (least[0], least[1], most[0], most[1])
        if not all(map(_on_earth, (everything, (x, y, x, y)))):
            return None
        return [*plane, *_around(x, y, reach)]

    def within(self, boxes: list[Box]) -> RowNumbers:
        """The rows whose boxes meet one of some boxes, ascending."""
        found = [self._numbers[self._descend(box)] for box in boxes]
        return np.unique(np.concatenate([np.zeros(0, np.uint32), *found])).astype(np.int64)

    def _descend(self, box: Box) -> RowNumbers:
        places = np.arange(len(self._levels[-1]))
        for depth in range(len(self._levels) - 1, -1, -1):
            level = self._levels[depth]
            places = places[_meet(level[places], box)]
            if depth:
                below = len(self._levels[depth - 1])
                children = (places[:, None] * FANOUT + np.arange(FANOUT)).reshape(-1)
                places = children[children < below]
        return places


def _meet(boxes: Boxes, box: Box) -> Mask:
    left, low, right, high = box
    mask: Mask = boxes[:, 0] <= right
    mask &= boxes[:, 1] <= high
    mask &= boxes[:, 2] >= left
    mask &= boxes[:, 3] >= low
    return mask


def _on_earth(box: Box) -> bool:
    left, low, right, high = _WHOLE_EARTH
    return box[0] >= left and box[1] >= low and box[2] <= right and box[3] <= high


def _around(x: float, y: float, metres: float) -> list[Box]:
    """Boxes of degrees that hold every point within a distance of (x, y) on the earth."""
    angle = metres / EARTH_RADIUS * (1 + _SLACK) + _SLACK
    if angle >= math.pi / 2:
        return [_WHOLE_EARTH]
    up = math.degrees(angle)
    low, high = y - up, y + up
    if low <= -90 or high >= 90:
        # A pole is within reach, and with it every longitude.
        return [(-180.0, low, 180.0, high)]
    wide = math.degrees(math.asin(min(1.0, math.sin(angle) / math.cos(math.radians(y))))) * (1 + _SLACK) + _SLACK
    boxes = [(x - wide, low, x + wide, high)]
    if x - wide < -180:
        boxes.append((x - wide + 360, low, 180.0, high))
    if x + wide > 180:
        boxes.append((-180.0, low, x + wide - 360, high))
    return boxes


# -- making and opening -------------------------------------------------------------------------
def rtree_arrays(shapes: ShapeColumn) -> Arrays:
    """The arrays of a tree over the valid shapes that are not empty."""
    bounds = np.stack(shapes.bounds, axis=1)
    numbers = np.flatnonzero(shapes.valid & ~np.isnan(bounds[:, 0]))
    boxes = bounds[numbers]
    order = _tiled(boxes)
    levels = {"level0": boxes[order]}
    while len(levels[f"level{len(levels) - 1}"]) > FANOUT:
        levels[f"level{len(levels)}"] = _grouped(levels[f"level{len(levels) - 1}"])
    return {"numbers": numbers[order].astype(np.uint32), **levels}


def _tiled(boxes: Boxes) -> npt.NDArray[np.int64]:
    """An order in which neighbours lie near each other: slices by x, each by y."""
    x, y = boxes[:, 0] + boxes[:, 2], boxes[:, 1] + boxes[:, 3]
    by_x = np.argsort(x, kind="stable")
    wide = max(1, math.ceil(math.sqrt(len(boxes) / FANOUT))) * FANOUT
    slices = np.empty(len(boxes), np.int64)
    slices[by_x] = np.arange(len(boxes)) // wide
    return np.lexsort((y, slices))


def _grouped(boxes: Boxes) -> Boxes:
    starts = np.arange(0, len(boxes), FANOUT)
    least = np.minimum.reduceat(boxes[:, :2], starts, axis=0)
    most = np.maximum.reduceat(boxes[:, 2:], starts, axis=0)
    return np.concatenate([least, most], axis=1)


def open_rtree(stored: Stored) -> RTreeIndex:
    count = sum(name.startswith("level") for name in stored.arrays)
    levels = [stored.array(f"level{depth}") for depth in range(count)]
    return RTreeIndex(levels, stored.array("numbers"), bool(stored.facts["only_points"]), stored.rows)
