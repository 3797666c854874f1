"""GEOMETRY values: WKT texts, what they must be, and the shapes they stand for.

Shapes are shapely's (the extra `geo`), which is imported when the first one is read.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.errors import InvalidParameter, Unimplemented

Shapes = npt.NDArray[np.object_]
"""(rows,) shapely geometries, None where a row is null."""

_DIGITS = 30
"""Decimals that a coordinate may have: more than any double has, so that it is written shortest and reads back the
same."""
_MAX_NESTING = 32
"""Collections within collections; the reader of WKT recurses."""
_SHOWN = 100


class BadShape(ValueError):
    """A text that is no WKT; its own text is the reason."""


@cache
def shapely() -> ModuleType:
    """The library. Raises Unimplemented where it is not installed."""
    try:
        import shapely as library
    except ImportError:
        raise Unimplemented(
            "geometries need the library shapely, which is not installed: pip install 'redkite[geo]'"
        ) from None
    module: ModuleType = library
    return module


def need_library() -> None:
    """Raise Unimplemented where shapely is not installed."""
    shapely()


def parse_shape(text: str) -> Any:
    """The shape of one WKT text. Raises BadShape."""
    library = shapely()
    if _nesting(text) > _MAX_NESTING:
        raise BadShape(f"it nests deeper than {_MAX_NESTING} levels")
    if "\0" in text:
        raise BadShape("it holds a zero character")  # which ends a text for the library
    try:
        return library.from_wkt(text)
    except (library.errors.GEOSException, NotImplementedError, ValueError) as error:
        raise BadShape(str(error).removeprefix("ParseException: ")) from None


def read_shapes(column: pa.Array) -> Shapes:
    """The shapes of a column of texts that were checked when they were written."""
    shapes: Shapes = shapely().from_wkt(column.to_numpy(zero_copy_only=False))
    return shapes


def normalized(column: pa.Array) -> pa.Array:
    """A column of WKT texts as it is stored: written one way (`POINT (1 2)`), numbers as short as they go, every
    coordinate the same double. Raises InvalidParameter for the first text that is no WKT."""
    library = shapely()
    if len(column) == 0:
        return column
    texts = column.to_numpy(zero_copy_only=False)
    _check_nesting(column, texts)
    if pc.any(pc.match_substring(column, "\0")).as_py():
        raise _first_error(texts)
    try:
        shapes = library.from_wkt(texts)
    except (library.errors.GEOSException, NotImplementedError, ValueError):
        raise _first_error(texts) from None
    return pa.array(library.to_wkt(shapes, rounding_precision=_DIGITS), pa.string())


def normalized_text(text: str) -> str:
    """The same for one text."""
    normal: str = normalized(pa.array([text], pa.string()))[0].as_py()
    return normal


def invalid(reason: str) -> InvalidParameter:
    """The error for a value that is no geometry."""
    return InvalidParameter(f"invalid Geometry data, transform to wkb failed: {reason}")


def _check_nesting(column: pa.Array, texts: Shapes) -> None:
    counts = pc.fill_null(pc.count_substring(column, "("), 0).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(counts > _MAX_NESTING).tolist():
        if _nesting(texts[row]) > _MAX_NESTING:
            raise invalid(f"row {row} nests deeper than {_MAX_NESTING} levels")


def _nesting(text: str) -> int:
    """How deep the parentheses of a text go."""
    characters = np.frombuffer(text.encode(errors="replace"), np.uint8)
    steps = (characters == ord("(")).astype(np.int32) - (characters == ord(")"))
    return int(np.cumsum(steps).max(initial=0))


def _first_error(texts: Shapes) -> InvalidParameter:
    for row, text in enumerate(texts):
        if text is None:
            continue
        try:
            parse_shape(text)
        except BadShape as error:
            return invalid(f"row {row}, {text[:_SHOWN]!r}: {error}")
    raise AssertionError("a text that fails among others fails alone")
