"""Predicates over one path of a JSON column.

A value that cannot be compared with the constant is NULL, as is a missing one: neither `==` nor `!=` keeps it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from redkite.filter import bound, numbers, texts
from redkite.filter.json_column import BOOL, DOUBLE, INT, NESTED, STRING, JsonColumn
from redkite.filter.lists import rows_with_any
from redkite.filter.numbers import Mask, Values, settled
from redkite.filter.syntax import Comparison, Operator

_MANY = 16
"""Lists of constants longer than this are compared row by row."""


def compare(column: JsonColumn, operator: Comparison, constant: bound.JsonScalar, negated: bool) -> Mask:
    """`value operator constant`; booleans, numbers and strings compare among themselves only."""
    if isinstance(constant, str):
        if not column.counts[STRING]:
            return np.zeros(column.rows, np.bool_)
        return texts.compare(column.strings, operator, constant, negated)
    if isinstance(constant, bool):
        return settled(numbers.compare(column.bools, operator, constant), negated, _of_kind(column, BOOL))
    return settled(_numeric(column, lambda values: numbers.compare(values, operator, constant)), negated,
                   _is_number(column))  # fmt: skip


def compare_arithmetic(
    column: JsonColumn, arithmetic: bound.Arithmetic, operator: Comparison, constant: int | float, negated: bool
) -> Mask:
    """`value ± c operator constant` over the numbers; remainders and bits are of integers only."""
    action, operand = arithmetic.operator, arithmetic.constant
    whole_only = action is Operator.MOD or action.is_bitwise

    def test(values: Values) -> Mask:
        if values.dtype.kind == "u":
            # Arithmetic is of int64 and of doubles: an integer beyond int64 is the nearest double.
            values = values.astype(np.float64)
        if whole_only and values.dtype.kind == "f":
            return np.zeros(len(values), np.bool_)
        return numbers.compare(numbers.arithmetic(values, action, operand), operator, constant)

    return settled(_numeric(column, test), negated, _of_kind(column, INT) if whole_only else _is_number(column))


def between(
    column: JsonColumn, low: int | float | str, high: int | float | str, inclusive: tuple[bool, bool], negated: bool
) -> Mask:
    if isinstance(low, str) or isinstance(high, str):
        return texts.between(column.strings, str(low), str(high), inclusive, negated)
    mask = _numeric(column, lambda values: numbers.between(values, low, high, inclusive))
    return settled(mask, negated, _is_number(column))


def in_set(column: JsonColumn, members: bound.JsonSet, negated: bool) -> Mask:
    """Membership; NULL where no constant of the list is of the value's kind."""
    if members.empty:
        return column.present.copy() if negated else np.zeros(column.rows, np.bool_)
    comparable = np.zeros(column.rows, np.bool_)
    if members.ints is not None:
        comparable |= _is_number(column)
    if members.strings is not None:
        comparable |= _of_kind(column, STRING)
    if members.bools:
        comparable |= _of_kind(column, BOOL)
    return settled(_is_member(column, members), negated, comparable)


def contains(column: JsonColumn, predicate: bound.Contains) -> Mask:
    """Membership of one (or `every`) value in each row's array; NULL where the value is no array."""
    if column.lists is None:
        return np.zeros(column.rows, np.bool_)
    elements, offsets = column.lists.elements, column.lists.offsets
    if predicate.every:
        result = column.lists.is_list.copy()
        for value in predicate.values:
            if not result.any():
                break
            result &= rows_with_any(_equal_elements(elements, value), offsets)
    else:
        assert isinstance(predicate.members, bound.JsonSet)
        held = _is_member(elements, predicate.members)
        for value in predicate.values:
            if isinstance(value, list):
                held |= _equal_elements(elements, value)
        result = rows_with_any(held, offsets)
    return settled(result, predicate.negated, column.lists.is_list)


def list_equals(column: JsonColumn, predicate: bound.ListEquals) -> Mask:
    """Whole arrays equal to a list of constants; NULL where the value is no array."""
    if column.lists is None:
        return np.zeros(column.rows, np.bool_)
    elements, offsets = column.lists.elements, column.lists.offsets
    result: Mask = np.diff(offsets) == len(predicate.values)
    if len(predicate.values) > _MANY:
        # A pass over all elements for each position would cost more than reading the few rows of this length.
        rows = np.flatnonzero(result)
        result[rows] = _equal_texts(column.raw.take(pa.array(rows)), list(predicate.values))
        return settled(result, predicate.negated, column.lists.is_list)
    for index, value in enumerate(predicate.values):
        rows = np.flatnonzero(result)
        if not len(rows):
            break
        result[rows] = _equal_elements(elements, value)[offsets[rows] + index]
    return settled(result, predicate.negated, column.lists.is_list)


def lengths(column: JsonColumn) -> tuple[npt.NDArray[np.int64], Mask]:
    """(rows,) element counts, and which values are arrays."""
    if column.lists is None:
        return np.zeros(column.rows, np.int64), np.zeros(column.rows, np.bool_)
    return column.lists.lengths, column.lists.is_list


# -- kinds --------------------------------------------------------------------------------------
def _of_kind(column: JsonColumn, kind: int) -> Mask:
    mask: Mask = column.kind == kind
    return mask


def _is_number(column: JsonColumn) -> Mask:
    mask = _of_kind(column, INT)
    mask |= column.kind == DOUBLE
    return mask


def _numeric(column: JsonColumn, test: Callable[[Values], Mask]) -> Mask:
    """A test of numbers, of integers as int64 or uint64 and of doubles as float64; elsewhere the answer does not
    matter."""
    if not column.counts[DOUBLE]:
        return test(column.ints)
    mask = test(column.numbers)
    if column.counts[INT]:
        np.copyto(mask, test(column.ints), where=column.kind == INT)
    if column.bigs is not None:
        mask[column.bigs.rows] = test(column.bigs.values)
    return mask


def _is_member(column: JsonColumn, members: bound.JsonSet) -> Mask:
    mask = np.zeros(column.rows, np.bool_)
    if members.ints is not None and column.counts[INT]:
        mask |= members.ints.mask(column.ints) & _of_kind(column, INT)
    if members.doubles is not None and column.counts[DOUBLE]:
        among = members.doubles.mask(column.numbers) & _of_kind(column, DOUBLE)
        if column.bigs is not None:
            among[column.bigs.rows] = members.are_bigs(column.bigs.values)
        mask |= among
    if members.strings is not None and column.counts[STRING]:
        mask |= texts.is_in(column.strings, members.strings, negated=False)
    for value in members.bools:
        mask |= (column.bools == value) & _of_kind(column, BOOL)
    return mask


def _equal_elements(elements: JsonColumn, value: bound.JsonValue) -> Mask:
    """(elements,) True where an element equals a constant, which may be a list."""
    if not isinstance(value, list):
        return compare(elements, Comparison.EQ, value, negated=False)
    mask = np.zeros(elements.rows, np.bool_)
    if elements.counts[NESTED]:
        where = np.flatnonzero(elements.kind == NESTED)
        mask[where] = _equal_texts(elements.raw.take(pa.array(where)), value)
    return mask


def _equal_texts(raw: pa.Array, value: list[bound.JsonValue]) -> list[bool]:
    """Whether each JSON text is the list of constants."""
    return [text is not None and _same(orjson.loads(text), value) for text in raw.to_pylist()]


def _same(found: object, wanted: object) -> bool:
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_same, found, wanted))
    return isinstance(found, bool) == isinstance(wanted, bool) and found == wanted
