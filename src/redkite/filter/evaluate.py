"""A bound predicate over columns: a mask that is True only where the predicate is TRUE.

NULL needs no mask of its own: leaves are False where they are NULL, and the binder has moved every `not` into them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from redkite.filter import bound, json_match, lists, numbers, texts
from redkite.filter.columns import Columns
from redkite.filter.elements import evaluate_match
from redkite.filter.indexed import answered, conjunction
from redkite.filter.matching import Matching, evaluate_matching
from redkite.filter.membership.asking import texts_in, values_in
from redkite.filter.membership.bloom import BloomFilter
from redkite.filter.moments import shifted
from redkite.filter.numbers import Mask, Values, settled
from redkite.filter.sharing import NO_PARTS, KeptMasks, Parts
from redkite.filter.spatial import Spatial, evaluate_spatial
from redkite.model.types import DataType


def evaluate(
    predicate: bound.Predicate, columns: Columns, parts: Parts = NO_PARTS, kept: KeptMasks | None = None
) -> Mask:
    """(columns.rows,) True where the predicate is TRUE; a fresh array.

    `parts` are those of this predicate: what is in it twice is evaluated once. `kept` holds masks of parts over the
    same rows, from before and for later.
    """
    return _Run(columns, parts, kept).mask(predicate)


class _Run:
    """One evaluation over some columns."""

    __slots__ = ("_columns", "_kept", "_names", "_repeated", "_seen")

    def __init__(self, columns: Columns, parts: Parts, kept: KeptMasks | None) -> None:
        self._columns = columns
        self._names, self._repeated = parts
        self._kept = kept
        self._seen: dict[str, Mask] = {}

    def mask(self, predicate: bound.Predicate) -> Mask:
        name = self._names.get(id(predicate))
        if name is None or (self._kept is None and name not in self._repeated):
            return self._answer(predicate)
        seen = self._seen.get(name)
        if seen is not None:
            return seen.copy()
        mask = None if self._kept is None else self._kept.get(name)
        if mask is None:
            mask = self._answer(predicate)
            if self._kept is not None:
                self._kept.put(name, mask)
        if name in self._repeated:
            self._seen[name] = mask.copy()
        return mask

    def _answer(self, predicate: bound.Predicate) -> Mask:
        if isinstance(predicate, bound.And):
            return conjunction(predicate.operands, self._columns, self.mask, evaluate)
        if isinstance(predicate, bound.Or):
            mask = self.mask(predicate.operands[0])
            for operand in predicate.operands[1:]:
                mask |= self.mask(operand)
            return mask
        found = answered(predicate, self._columns)
        return _LEAVES[type(predicate)](predicate, self._columns) if found is None else found


def _constant(predicate: bound.Constant, columns: Columns) -> Mask:
    return np.full(columns.rows, predicate.value)


def _compare(predicate: bound.Compare, columns: Columns) -> Mask:
    operand, operator, constant = predicate.operand, predicate.operator, predicate.constant
    if isinstance(operand, bound.Path):
        column = columns.json_path(operand.field, operand.path)
        return json_match.compare(column, operator, constant, predicate.negated)
    if isinstance(operand, bound.Arithmetic) and isinstance(operand.operand, bound.Path):
        assert not isinstance(constant, str)
        column = columns.json_path(operand.operand.field, operand.operand.path)
        return json_match.compare_arithmetic(column, operand, operator, constant, predicate.negated)
    if isinstance(constant, str):
        return texts.compare(_strings(operand, columns), operator, constant, predicate.negated)
    values, valid = _numbers(operand, columns)
    return settled(numbers.compare(values, operator, constant), predicate.negated, valid)


def _compare_columns(predicate: bound.CompareColumns, columns: Columns) -> Mask:
    left, right = predicate.left, predicate.right
    if left.data_type is DataType.VARCHAR:
        strings = columns.strings(left.field), columns.strings(right.field)
        return texts.compare_columns(strings[0], predicate.operator, strings[1], predicate.negated)
    left_values, left_valid = columns.numbers(left.field)
    right_values, right_valid = columns.numbers(right.field)
    mask = settled(
        numbers.compare_columns(left_values, predicate.operator, right_values), predicate.negated, left_valid
    )
    return settled(mask, False, right_valid)


def _starts_with(predicate: bound.StartsWith, columns: Columns) -> Mask:
    strings = columns.strings(predicate.left.field), columns.strings(predicate.right.field)
    return texts.starts_with(strings[0], strings[1], predicate.negated)


def _between(predicate: bound.Between, columns: Columns) -> Mask:
    operand, low, high = predicate.operand, predicate.low, predicate.high
    inclusive = predicate.low_inclusive, predicate.high_inclusive
    if isinstance(operand, bound.Path):
        column = columns.json_path(operand.field, operand.path)
        return json_match.between(column, low, high, inclusive, predicate.negated)
    if isinstance(low, str) or isinstance(high, str):
        return texts.between(_strings(operand, columns), str(low), str(high), inclusive, predicate.negated)
    values, valid = _numbers(operand, columns)
    return settled(numbers.between(values, low, high, inclusive), predicate.negated, valid)


def _in(predicate: bound.In, columns: Columns) -> Mask:
    operand, members = predicate.operand, predicate.members
    if isinstance(members, bound.JsonSet):
        assert isinstance(operand, bound.Path)
        return json_match.in_set(columns.json_path(operand.field, operand.path), members, predicate.negated)
    if isinstance(members, bound.TextSet):
        return texts.is_in(_strings(operand, columns), members.members, predicate.negated)
    values, valid = _numbers(operand, columns)
    if isinstance(members, numbers.NumberSet):
        return settled(members.mask(values), predicate.negated, valid)
    mask = np.zeros(len(values), np.bool_)
    for member in members:
        mask |= values == member
    return settled(mask, predicate.negated, valid)


def _like(predicate: bound.Like, columns: Columns) -> Mask:
    operand = predicate.operand
    if isinstance(operand, bound.Path):
        strings = columns.json_path(operand.field, operand.path).strings
    else:
        strings = _strings(operand, columns)
    return texts.match(strings, predicate.pattern.match, predicate.negated)


def _is_null(predicate: bound.IsNull, columns: Columns) -> Mask:
    valid = columns.is_valid(predicate.field)
    if valid is None:
        return np.full(columns.rows, predicate.negated)
    return valid.copy() if predicate.negated else np.logical_not(valid)


def _exists(predicate: bound.Exists, columns: Columns) -> Mask:
    filled = columns.json_path(predicate.operand.field, predicate.operand.path).filled
    return np.logical_not(filled) if predicate.negated else filled.copy()


def _contains(predicate: bound.Contains, columns: Columns) -> Mask:
    operand = predicate.operand
    if isinstance(operand, bound.Path):
        return json_match.contains(columns.json_path(operand.field, operand.path), predicate)
    return lists.contains(columns.arrays(operand.field), predicate)


def _list_equals(predicate: bound.ListEquals, columns: Columns) -> Mask:
    operand = predicate.operand
    if isinstance(operand, bound.Path):
        return json_match.list_equals(columns.json_path(operand.field, operand.path), predicate)
    return lists.equals(columns.arrays(operand.field), predicate)


def _spatial(predicate: Spatial, columns: Columns) -> Mask:
    return evaluate_spatial(predicate, columns.shapes(predicate.field))


def _matching(predicate: Matching, columns: Columns) -> Mask:
    return evaluate_matching(predicate, columns.words(predicate.field, predicate.analyzer))


def _membership_match(predicate: bound.MembershipMatch, columns: Columns) -> Mask:
    operand, members = predicate.operand, predicate.members
    if isinstance(operand, bound.Path):
        assert isinstance(members, BloomFilter)
        return values_in(members, columns.json_path(operand.field, operand.path), predicate.negated)
    if operand.data_type is DataType.VARCHAR:
        assert isinstance(members, BloomFilter)
        return texts_in(members, columns.strings(operand.field), predicate.negated)
    values, valid = columns.numbers(operand.field)
    return settled(members.has_integers(values), predicate.negated, valid)


def _element_match(predicate: bound.ElementMatch, columns: Columns) -> Mask:
    return evaluate_match(predicate, columns, evaluate)


_LEAVES: dict[type, Callable[[Any, Columns], Mask]] = {
    bound.Constant: _constant, bound.ElementMatch: _element_match,
    bound.Compare: _compare, bound.CompareColumns: _compare_columns,
    bound.Between: _between, bound.In: _in, bound.Like: _like, bound.IsNull: _is_null, bound.Exists: _exists,
    bound.Contains: _contains, bound.ListEquals: _list_equals, Spatial: _spatial,
    Matching: _matching, bound.StartsWith: _starts_with, bound.MembershipMatch: _membership_match,
}  # fmt: skip


# -- operands -----------------------------------------------------------------------------------
def _numbers(operand: bound.Operand, columns: Columns) -> tuple[Values, Mask | None]:
    if isinstance(operand, bound.Column):
        return columns.numbers(operand.field)
    if isinstance(operand, bound.Arithmetic):
        values, valid = _numbers(operand.operand, columns)
        return numbers.arithmetic(values, operand.operator, operand.constant), valid
    if isinstance(operand, bound.Shifted):
        values, valid = columns.numbers(operand.operand.field)
        return shifted(values, operand.span), valid
    if isinstance(operand, bound.Element):
        return lists.element_numbers(columns.arrays(operand.field), operand.index)
    if isinstance(operand, bound.Length):
        if isinstance(operand.of, bound.Path):
            return json_match.lengths(columns.json_path(operand.of.field, operand.of.path))
        return lists.lengths(columns.arrays(operand.of.field))
    raise AssertionError(f"{operand} is no number")


def _strings(operand: bound.Operand, columns: Columns) -> pa.Array:
    if isinstance(operand, bound.Element):
        return lists.element_strings(columns.arrays(operand.field), operand.index)
    assert isinstance(operand, bound.Column), f"{operand} is no string"
    return columns.strings(operand.field)
