"""A segment's columns as the filter language reads them, and as results take them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import JsonColumn, ShapeColumn
from redkite.filter.indexed import FieldIndex
from redkite.filter.json_column import JsonPath
from redkite.filter.word_column import WordColumn
from redkite.segment.kept import Kept
from redkite.text.analyzer import Analyzer

OWN_BYTES = 64 * 1024 * 1024
"""What may be kept of derived columns where no node keeps them: of rows that still grow, or are read as of a time."""


_WORDS = "words"


Derived: TypeAlias = Kept[JsonColumn | ShapeColumn | WordColumn]


def kept_columns() -> Derived:
    """Room for the derived columns of one segment."""
    return Kept(OWN_BYTES)


def kept_words() -> Derived:
    """Room for the words of rows that still grow, however many they are: to find them anew for each read would cost
    more than any other column."""
    return Kept(sys.maxsize)


class SegmentColumns:
    """Columns of the first `rows` rows of a segment, from Arrow arrays that `load` gives. Thread-safe: a value computed
    twice is only computed twice."""

    def __init__(
        self,
        rows: int,
        load: Callable[[str], pa.Array],
        indexes_of: Callable[[str], tuple[FieldIndex, ...]] = lambda field: (),  # noqa: ARG005
        shredded: Callable[[str, JsonPath], JsonColumn | None] = lambda field, path: None,  # noqa: ARG005
        points: Callable[[str], ShapeColumn | None] = lambda field: None,  # noqa: ARG005
    ) -> None:
        self.rows = rows
        self._load = load
        self._shredded = shredded
        """What is known of a JSON path without its documents being parsed."""
        self._points = points
        """What is known of a GEOMETRY field without its texts being parsed."""
        self.indexes_of = indexes_of
        """What may answer a leaf of a filter over a field, for all of the rows."""
        self._numbers: dict[str, tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_] | None]] = {}
        own = kept_columns()
        self._place: tuple[int, ...] = ()
        self._derived: Callable[[], Derived] = lambda: own
        self._words: Derived | None = None

    def keep_in(
        self, place: tuple[int, int], derived: Callable[[], Derived | None], words: Derived | None = None
    ) -> SegmentColumns:
        """Keep derived columns where others find them: those of a node's other segments, or of more or fewer rows of
        this one. `place` is the segment's id and the version of the schema. `words` are kept apart where that is
        given."""
        own = self._derived()
        self._place = place
        self._derived = lambda: derived() or own
        self._words = words
        return self

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
        kept, key = self._derived(), (*self._place, field, path)
        found = kept.get(key)
        assert found is None or isinstance(found, JsonColumn), "a path leads into JSON"
        if found is None:
            found = self._shredded(field, path) or JsonColumn.from_rows(self._load(field), path)
            kept.put(key, found, found.nbytes)
        elif found.rows < self.rows:
            added = self._load(field).slice(found.rows)
            found = JsonColumn.joined([found, JsonColumn.from_rows(added, path)])
            kept.put(key, found, found.nbytes)
        return found if found.rows == self.rows else found.head(self.rows)

    def shapes(self, field: str) -> ShapeColumn:
        kept, key = self._derived(), (*self._place, field)
        found = kept.get(key)
        assert found is None or isinstance(found, ShapeColumn), "a field without a path has shapes"
        if found is None:
            found = self._points(field) or ShapeColumn.from_texts(self._load(field))
            kept.put(key, found, found.nbytes)
        elif found.rows < self.rows:
            texts = self._load(field)
            found = found.and_more(texts, ShapeColumn.from_texts(texts.slice(found.rows)))
            kept.put(key, found, found.nbytes)
        return found if found.rows == self.rows else found.head(self.rows)

    def words(self, field: str, analyzer: Analyzer) -> WordColumn:
        kept = self._derived() if self._words is None else self._words
        key = (*self._place, field, _WORDS)
        found = kept.get(key)
        assert found is None or isinstance(found, WordColumn), "nothing else is kept under this name"
        if found is None:
            found = WordColumn.from_texts(self._load(field), analyzer)
            kept.put(key, found, found.nbytes)
        elif found.rows < self.rows:
            found = found.and_more(WordColumn.from_texts(self._load(field).slice(found.rows), analyzer))
            kept.put(key, found, found.nbytes)
        return found if found.rows == self.rows else found.head(self.rows)

    def stored(self, field: str) -> pa.Array:
        return self._load(field)

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
