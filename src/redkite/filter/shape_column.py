"""A GEOMETRY column as arrays: where its shapes lie, so that most rows are decided without a shape being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.model.shapes import Shapes, read_shapes, shapely

_CHUNK = 65_536
"""Shapes that exist at one time while a column is read."""
_POINT = 0
"""Of the types of shapes as shapely numbers them."""

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ShapeColumn:
    """All arrays have one entry per row and are not to be written."""

    texts: pa.Array
    """WKT, nulls as Arrow nulls."""
    present: Mask | None
    """Where there is a shape; None: everywhere."""
    valid: Mask
    """Where there is a shape, and it is valid."""
    points: Mask
    """Where the shape is a point that is not empty: its coordinates are those of its bounds."""
    bounds: tuple[Floats, Floats, Floats, Floats]
    """Least x, least y, greatest x, greatest y; NaN for null and empty shapes."""

    @property
    def rows(self) -> int:
        return len(self.texts)

    @property
    def nbytes(self) -> int:
        """What is kept beside the texts."""
        present = 0 if self.present is None else self.present.nbytes
        return present + self.valid.nbytes + self.points.nbytes + sum(axis.nbytes for axis in self.bounds)

    @staticmethod
    def from_texts(texts: pa.Array) -> ShapeColumn:
        """Read a column of WKT texts. Raises Unimplemented where shapely is not installed."""
        library = shapely()
        rows = len(texts)
        valid, points = np.zeros(rows, np.bool_), np.zeros(rows, np.bool_)
        bounds = np.full((4, rows), np.nan)
        for start in range(0, rows, _CHUNK):
            part = slice(start, start + _CHUNK)
            shapes = read_shapes(texts.slice(start, _CHUNK))
            valid[part] = library.is_valid(shapes)
            bounds[:, part] = library.bounds(shapes).T
            points[part] = library.get_type_id(shapes) == _POINT
        points &= ~np.isnan(bounds[0])
        present = np.asarray(texts.is_valid().to_numpy(zero_copy_only=False)) if texts.null_count else None
        return ShapeColumn(texts, present, valid, points, (bounds[0], bounds[1], bounds[2], bounds[3]))

    def head(self, rows: int) -> ShapeColumn:
        """The first rows."""
        x, y, most_x, most_y = (axis[:rows] for axis in self.bounds)
        present = None if self.present is None else self.present[:rows]
        bounds = (x, y, most_x, most_y)
        return ShapeColumn(self.texts.slice(0, rows), present, self.valid[:rows], self.points[:rows], bounds)

    def and_more(self, texts: pa.Array, more: ShapeColumn) -> ShapeColumn:
        """These rows and more behind them; `texts` are those of both."""
        present = [np.ones(c.rows, np.bool_) if c.present is None else c.present for c in (self, more)]
        x, y, most_x, most_y = (np.concatenate(pair) for pair in zip(self.bounds, more.bounds, strict=True))
        return ShapeColumn(
            texts=texts,
            present=None if self.present is None and more.present is None else np.concatenate(present),
            valid=np.concatenate([self.valid, more.valid]),
            points=np.concatenate([self.points, more.points]),
            bounds=(x, y, most_x, most_y),
        )

    def shapes(self, rows: npt.NDArray[np.intp]) -> Shapes:
        """The shapes of some rows."""
        return read_shapes(self.texts.take(pa.array(rows)))

    def near(self, box: tuple[float, float, float, float]) -> Mask:
        """(rows,) True for valid shapes whose bounds meet a box."""
        left, low, right, high = box
        mask: Mask = self.bounds[0] <= right
        mask &= self.bounds[1] <= high
        mask &= self.bounds[2] >= left
        mask &= self.bounds[3] >= low
        mask &= self.valid
        return mask


def bounds_of(shape: Any) -> tuple[float, float, float, float]:
    """The box of one shape; NaN when it is empty."""
    left, low, right, high = shapely().bounds(shape).tolist()
    return left, low, right, high
