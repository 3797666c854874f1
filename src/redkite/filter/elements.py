"""Predicates over the elements of arrays: something holds for one element, for every one, for so many of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import bound
from redkite.filter.columns import Columns
from redkite.filter.indexed import FieldIndex
from redkite.filter.json_column import JsonColumn, JsonPath
from redkite.filter.lists import element_values, list_offsets
from redkite.filter.numbers import Mask, settled, valid_rows
from redkite.filter.shape_column import ShapeColumn
from redkite.filter.word_column import WordColumn
from redkite.text.analyzer import Analyzer

Evaluate = Callable[[bound.Predicate, Columns], Mask]


class ElementColumns:
    """The elements of some rows, one after another, each as a row: ARRAY columns become columns of what they hold."""

    __slots__ = ("_columns", "rows")

    def __init__(self, columns: Columns, field: str) -> None:
        """`field` is one of the arrays, all of which are equally long in each row."""
        self._columns = columns
        offsets = list_offsets(columns.arrays(field))
        self.rows = int(offsets[-1] - offsets[0])

    def numbers(self, field: str) -> tuple[npt.NDArray[Any], Mask | None]:
        return element_values(self._elements(field)), None

    def strings(self, field: str) -> pa.Array:
        return self._elements(field)

    def stored(self, field: str) -> pa.Array:
        return self._elements(field)

    def is_valid(self, field: str) -> Mask | None:  # noqa: ARG002  # no element is null
        return None

    def indexes_of(self, field: str) -> tuple[FieldIndex, ...]:  # noqa: ARG002  # those there are know rows
        return ()

    def _elements(self, field: str) -> pa.Array:
        arrays = self._columns.arrays(field)
        offsets = list_offsets(arrays)
        return arrays.values.slice(offsets[0], offsets[-1] - offsets[0])

    def arrays(self, field: str) -> pa.Array:
        return self._none(field)

    def json_path(self, field: str, path: JsonPath) -> JsonColumn:  # noqa: ARG002  # no element is JSON
        return self._none(field)

    def shapes(self, field: str) -> ShapeColumn:
        return self._none(field)

    def words(self, field: str, analyzer: Analyzer) -> WordColumn:  # noqa: ARG002  # no element is analysed
        return self._none(field)

    @staticmethod
    def _none(field: str) -> NoReturn:
        raise AssertionError(f"the elements of {field} are values")


def evaluate_elements(predicate: bound.ElementMatch, columns: Columns, evaluate: Evaluate) -> Mask:
    """(elements of all rows,) True where the predicate holds for the element."""
    return evaluate(predicate.predicate, ElementColumns(columns, predicate.field))


def evaluate_match(predicate: bound.ElementMatch, columns: Columns, evaluate: Evaluate) -> Mask:
    """(rows,) True where it holds for as many elements as are wanted; NULL where the array is null."""
    arrays = columns.arrays(predicate.field)
    offsets = list_offsets(arrays)
    elements = evaluate_elements(predicate, columns, evaluate)
    running = np.zeros(len(elements) + 1, np.int64)
    np.cumsum(elements, out=running[1:])
    counts = np.diff(running[offsets - offsets[0]])
    if predicate.every:
        result: Mask = counts == np.diff(offsets)
    else:
        result = counts >= predicate.least
        if predicate.most is not None:
            result &= counts <= predicate.most
    return settled(result, predicate.negated, valid_rows(arrays) if arrays.null_count else None)
