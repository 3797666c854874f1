"""A segment's columns as the filter language reads them, and as results take them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import JsonColumn

MAX_PATHS = 32
"""JSON paths kept as typed columns per segment."""


class SegmentColumns:
    """Columns of the first `rows` rows of a segment, from Arrow arrays that `load` gives. Thread-safe: a value computed
    twice is only computed twice."""

    def __init__(self, rows: int, load: Callable[[str], pa.Array]) -> None:
        self.rows = rows
        self._load = load
        self._numbers: dict[str, tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_] | None]] = {}
        self._paths: dict[tuple[str, tuple[str | int, ...]], JsonColumn] = {}

    def numbers(self, field: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_] | None]:
        found = self._numbers.get(field)
        if found is None:
            column = self._load(field)
            found = self._numbers[field] = (number_values(column), self._valid(column))
        return found

    def strings(self, field: str) -> pa.Array:
        return self._load(field)

    def arrays(self, field: str) -> pa.Array:
        return self._load(field)

    def json_path(self, field: str, path: tuple[str | int, ...]) -> JsonColumn:
        found = self._paths.get((field, path))
        if found is None:
            found = JsonColumn.from_rows(self._load(field), path)
            # The oldest go first; another copy of the dict, so that no reader sees it change.
            kept = list(self._paths.items())[-(MAX_PATHS - 1) :]
            self._paths = dict([*kept, ((field, path), found)])
        return found

    def is_valid(self, field: str) -> npt.NDArray[np.bool_] | None:
        return self._valid(self._load(field))

    @staticmethod
    def _valid(column: pa.Array) -> npt.NDArray[np.bool_] | None:
        if column.null_count == 0:
            return None
        valid: npt.NDArray[np.bool_] = column.is_valid().to_numpy(zero_copy_only=False)
        return valid


def number_values(column: pa.Array) -> npt.NDArray[np.generic]:
    """The values buffer of a numeric or bool column; null rows hold whatever lies there."""
    if pa.types.is_boolean(column.type):
        filled = column.fill_null(False) if column.null_count else column
        bools: npt.NDArray[np.generic] = filled.to_numpy(zero_copy_only=False)
        return bools
    data = column.buffers()[1]
    dtype = column.type.to_pandas_dtype()
    if data is None:
        return np.zeros(len(column), dtype)
    values: npt.NDArray[np.generic] = np.frombuffer(data, dtype)[column.offset : column.offset + len(column)]
    return values
