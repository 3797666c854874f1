"""Whether a filter can be TRUE anywhere, by the ranges of values alone: what lets a read pass over whole segments.

The answer may only be wrong on the safe side: False means that no row passes. NULL rows never pass a comparison, so
they do not matter. NaN lies outside of every range and passes what is negated: so negated comparisons of floats rule
nothing out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from redkite.filter import bound
from redkite.filter.like import Shape
from redkite.filter.numbers import NumberSet
from redkite.filter.syntax import Comparison
from redkite.model.types import DataType

Scalar = int | float | str
Range = tuple[Scalar, Scalar]
"""The least and the greatest value, or bounds beyond them."""
_MANY_TEXTS = 1_000
"""More members than this are not compared with a range one by one."""
_OPPOSITE = {
    Comparison.EQ: Comparison.NE, Comparison.NE: Comparison.EQ, Comparison.LT: Comparison.GE,
    Comparison.GE: Comparison.LT, Comparison.GT: Comparison.LE, Comparison.LE: Comparison.GT,
}  # fmt: skip


def can_prune(predicate: bound.Predicate) -> bool:
    """False for a filter that no range rules out."""
    if isinstance(predicate, bound.And):
        return any(map(can_prune, predicate.operands))
    if isinstance(predicate, bound.Or):
        return all(map(can_prune, predicate.operands))
    if isinstance(predicate, bound.Constant):
        return not predicate.value
    if not isinstance(predicate, bound.Compare | bound.Between | bound.In | bound.Like):
        return False
    operand = predicate.operand
    if not isinstance(operand, bound.Column) or operand.data_type is DataType.BOOL:
        return False
    return not predicate.negated or (
        not operand.data_type.is_float and isinstance(predicate, bound.Compare | bound.Between)
    )


def may_match(predicate: bound.Predicate, ranges: Mapping[str, Range]) -> bool:
    """Whether rows with values in these ranges may pass; a field that is not listed may hold anything."""
    if isinstance(predicate, bound.And):
        return all(may_match(operand, ranges) for operand in predicate.operands)
    if isinstance(predicate, bound.Or):
        return any(may_match(operand, ranges) for operand in predicate.operands)
    if not can_prune(predicate):
        return True
    if isinstance(predicate, bound.Constant):
        return predicate.value
    assert isinstance(predicate, bound.Compare | bound.Between | bound.In | bound.Like)
    assert isinstance(predicate.operand, bound.Column)
    found = ranges.get(predicate.operand.field)
    if found is None:
        return True
    if isinstance(predicate, bound.Compare):
        return _compare(predicate, found)
    if isinstance(predicate, bound.Between):
        return _between(predicate, found)
    return _in(predicate, found) if isinstance(predicate, bound.In) else _like(predicate, found)


def possible_values(predicate: bound.Predicate, field: str) -> frozenset[Scalar] | None:
    """The values that a field has in every row that passes; None where the filter does not say, or names many."""
    if isinstance(predicate, bound.And):
        known = [found for operand in predicate.operands if (found := possible_values(operand, field)) is not None]
        return frozenset.intersection(*known) if known else None
    if isinstance(predicate, bound.Or):
        united: frozenset[Scalar] = frozenset()
        for operand in predicate.operands:
            found = possible_values(operand, field)
            if found is None:
                return None
            united |= found
        return united
    if not isinstance(predicate, bound.Compare | bound.In) or predicate.negated:
        return None
    if not isinstance(predicate.operand, bound.Column) or predicate.operand.field != field:
        return None
    if isinstance(predicate, bound.Compare):
        return frozenset([predicate.constant]) if predicate.operator is Comparison.EQ else None
    return frozenset(predicate.listed) if len(predicate.listed) <= _MANY_TEXTS else None


def _compare(predicate: bound.Compare, found: Range) -> bool:
    constant = predicate.constant
    if constant != constant:
        return True
    operator = _OPPOSITE[predicate.operator] if predicate.negated else predicate.operator
    least, most = _rounded(constant, predicate.operand)
    low, high = found
    # The kinds agree: a text constant is compared with a text field only, and a number with numbers.
    if operator is Comparison.EQ:
        return _at_most(low, most) and _at_most(least, high)
    if operator is Comparison.NE:
        return isinstance(low, float) or not low == high == constant
    if operator is Comparison.LE:
        return _at_most(low, most)
    if operator is Comparison.GE:
        return _at_most(least, high)
    return not _at_most(most, low) if operator is Comparison.LT else not _at_most(high, least)


def _between(predicate: bound.Between, found: Range) -> bool:
    low, high = found
    least, most = _rounded(predicate.low, predicate.operand)[0], _rounded(predicate.high, predicate.operand)[1]
    if predicate.negated:
        return _at_most(low, predicate.low) or _at_most(predicate.high, high)
    return _at_most(low, most) and _at_most(least, high)


def _in(predicate: bound.In, found: Range) -> bool:
    low, high = found
    if isinstance(predicate.members, NumberSet):
        assert not isinstance(low, str)
        assert not isinstance(high, str)
        return predicate.members.has_between(low, high)
    if len(predicate.listed) > _MANY_TEXTS:
        return True
    return any(_at_most(low, member) and _at_most(member, high) for member in predicate.listed)


def _like(predicate: bound.Like, found: Range) -> bool:
    low, high = found
    assert isinstance(low, str)
    shape, text = predicate.pattern.shape, predicate.pattern.text
    if shape is Shape.EXACT:
        return _at_most(low, text) and _at_most(text, high)
    if shape is Shape.PREFIX:
        return low[: len(text)] <= text and _at_most(text, high)
    return True


def _at_most(left: Scalar, right: Scalar) -> bool:
    if isinstance(left, str):
        assert isinstance(right, str)
        return left <= right
    assert not isinstance(right, str)
    return left <= right


def _rounded(constant: Scalar, operand: bound.Operand) -> Range:
    """A FLOAT field is compared with the constant rounded to its precision: the constant and its rounding, in order."""
    if isinstance(constant, str) or operand.data_type is not DataType.FLOAT:
        return constant, constant
    with np.errstate(over="ignore"):
        near = float(np.float32(constant))
    return min(constant, near), max(constant, near)
