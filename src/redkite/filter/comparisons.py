"""Binding of comparisons, ranges, membership and patterns: types are checked and constants cast."""

from __future__ import annotations

import typing
from collections.abc import Callable

import numpy as np

from redkite.errors import InvalidParameter
from redkite.filter import bound, constants, syntax
from redkite.filter.bound import JsonScalar, JsonValue
from redkite.filter.constants import ConstantError, Value, cast, is_number, shown
from redkite.filter.like import Pattern, PatternError, compile_pattern, compile_regex
from redkite.filter.literals import pattern_value
from redkite.filter.moments import bind_time_comparison, bind_time_range, is_time
from redkite.filter.numbers import NumberSet
from redkite.filter.scope import Opaque, Scope, Term
from redkite.filter.syntax import Comparison, Node
from redkite.model.types import DataType

_OPERANDS = bound.Column | bound.Element | bound.Path | bound.List | bound.Length | bound.Arithmetic


def bind_comparison(scope: Scope, node: syntax.Compare, left: Term, right: Term, negated: bool) -> bound.Predicate:
    operator = node.operator
    if is_time(left) or is_time(right):
        return bind_time_comparison(scope, node, left, right, negated)
    if isinstance(left, Value) and isinstance(right, Value):
        return _fold(scope, node, left, right, negated)
    for term in (left, right):
        if isinstance(term, Opaque):
            raise scope.error(f"comparisons of {term.data_type.wire_name} field {term.field} are not supported", node)
    if isinstance(left, _OPERANDS) and isinstance(right, _OPERANDS):
        return _between_fields(scope, node, left, right, negated)
    if isinstance(left, _OPERANDS) and isinstance(right, Value):
        return _with_constant(scope, node, left, operator, right, negated)
    if isinstance(left, Value) and isinstance(right, _OPERANDS):
        return _with_constant(scope, node, right, operator.mirrored, left, negated)
    raise scope.error("comparisons between boolean expressions are not supported", node)


def _fold(scope: Scope, node: syntax.Compare, left: Value, right: Value, negated: bool) -> bound.Constant:
    if left.template or right.template:
        detail = f"placeholder was not supported between two constants with operator: {node.operator}"
        raise scope.error(detail, node)
    try:
        return bound.Constant(constants.fold_comparison(node.operator, left.value, right.value) != negated)
    except ConstantError as error:
        raise scope.error(str(error), node) from None


def _between_fields(
    scope: Scope, node: syntax.Compare, left: bound.Operand, right: bound.Operand, negated: bool
) -> bound.Predicate:
    if isinstance(left, bound.Arithmetic) or isinstance(right, bound.Arithmetic):
        raise scope.error("not supported to do arithmetic operations between multiple fields", node)
    if isinstance(left, bound.Path) or isinstance(right, bound.Path):
        raise scope.error("two column comparison with JSON type is not supported", node)
    if not isinstance(left, bound.Column) or not isinstance(right, bound.Column):
        raise scope.error("field-to-field comparison involving ARRAY fields is not supported", node)
    types = left.data_type, right.data_type
    if types[0] is not types[1] and not (types[0].is_number and types[1].is_number):
        raise _not_comparable(scope, node, types[0].wire_name, types[1].wire_name)
    if types[0] is DataType.BOOL and not node.operator.is_equality:
        raise scope.error("only == and != are supported on Bool fields", node)
    return bound.CompareColumns(left, node.operator, right, negated)


def _with_constant(
    scope: Scope, node: syntax.Compare, operand: bound.Operand, operator: Comparison, given: Value, negated: bool
) -> bound.Predicate:
    value, data_type = given.value, operand.data_type
    if isinstance(operand, bound.List | bound.Path) and (isinstance(value, list) or isinstance(operand, bound.List)):
        if not operator.is_equality or not isinstance(value, list):
            raise scope.error("can not comparisons array fields directly", node)
        if isinstance(operand, bound.List):
            value = [_element(scope, node, operand, item) for item in value]
        return bound.ListEquals(operand, tuple(value), negated != (operator is Comparison.NE))
    if data_type is DataType.BOOL and not operator.is_equality and isinstance(value, bool):
        raise scope.error("only == and != are supported on Bool fields", node)
    constant = _cast(scope, node, operand, given)
    if isinstance(operand, bound.Arithmetic) and data_type is DataType.JSON and not is_number(constant):
        raise _not_comparable(scope, node, data_type.wire_name, given.type_name)
    return bound.Compare(operand, operator, constant, negated)


def _element(scope: Scope, node: Node, operand: bound.List, item: JsonValue) -> JsonScalar:
    scope.check_range(item, operand.element_type, node)
    value = cast(item, operand.element_type)
    if value is None:
        element = operand.element_type.wire_name
        raise scope.error(f"cannot compare Array of {element} with an element {shown(item)}", node)
    return value


def _cast(scope: Scope, node: Node, operand: bound.Operand, given: Value) -> JsonScalar:
    scope.check_range(given.value, operand.data_type, node)
    value = cast(given.value, operand.data_type)
    if value is not None:
        return value
    name = operand.data_type.wire_name
    if operand.data_type.is_integer and isinstance(given.value, float):
        raise scope.error(f"cannot cast value to {name}, value: {shown(given.value)}", node)
    raise _not_comparable(scope, node, name, given.type_name)


def _not_comparable(scope: Scope, node: Node, left: str, right: str) -> InvalidParameter:
    return scope.error(f"comparisons between {left} and {right} are not supported", node)


# -- ranges -------------------------------------------------------------------------------------
def bind_range(scope: Scope, node: syntax.Range, terms: tuple[Term, Term, Term], negated: bool) -> bound.Predicate:
    if any(map(is_time, terms)):
        return bind_time_range(scope, node, terms, negated)
    low, middle, high = terms
    if not isinstance(middle, bound.Column | bound.Element | bound.Path) or middle.data_type is DataType.BOOL:
        name = middle.data_type.wire_name if isinstance(middle, _OPERANDS | Opaque) else "constant"
        raise scope.error(f"invalid range operations on {name}: {scope.text(node.middle)}", node)
    if not isinstance(low, Value) or not isinstance(high, Value):
        side = node.low if not isinstance(low, Value) else node.high
        raise scope.error(f"the bounds of a range must be constants, but got: {scope.text(side)}", side)
    bounds = _cast(scope, node, middle, low), _cast(scope, node, middle, high)
    try:
        possible = constants.in_order(*bounds, node.low_inclusive and node.high_inclusive)
    except ConstantError as error:
        raise scope.error(str(error), node) from None
    if isinstance(bounds[0], bool) or isinstance(bounds[1], bool):
        raise scope.error("invalid range operations on Bool values", node)
    if not possible:
        raise scope.error("invalid range: lowerbound is greater than upperbound", node)
    return bound.Between(middle, bounds[0], bounds[1], node.low_inclusive, node.high_inclusive, negated)


# -- membership ---------------------------------------------------------------------------------
def bind_membership(scope: Scope, node: syntax.In, operand: Term, items: Term, negated: bool) -> bound.Predicate:
    if not isinstance(items, Value) or not isinstance(items.value, list):
        if isinstance(items, Value) and items.template:
            detail = f"the value of term expression template variable {{{items.template}}} is not array"
            raise scope.error(detail, node.items)
        detail = f"the right-hand side of 'in' must be a list, but got: {scope.text(node.items)}"
        raise scope.error(detail, node.items, "write [value, ...]")
    if not isinstance(operand, bound.Column | bound.Element | bound.Path | bound.Length):
        raise scope.error(f"'term' can only be used on single field, but got: {scope.text(node.operand)}", node)
    if operand.data_type is DataType.TIMESTAMPTZ:
        raise scope.error("'term' is not supported on Timestamptz fields", node, "join comparisons by or")
    return in_list(scope, node, operand, items.value, negated != node.negated)


def in_list(scope: Scope, node: Node, operand: bound.Operand, values: list[JsonValue], negated: bool) -> bound.In:
    """`operand in values` with the values cast to the operand's type."""
    data_type = operand.data_type
    listed = _listed(scope, node, values, data_type)
    return bound.In(operand, members_of(data_type, listed), tuple(listed), negated)


def _listed(scope: Scope, node: Node, values: list[JsonValue], data_type: DataType) -> list[JsonScalar]:
    kinds = set(map(type, values))
    if data_type.is_integer and kinds == {int}:
        numbers = typing.cast("list[int]", values)
        scope.check_range(min(numbers), data_type, node)
        scope.check_range(max(numbers), data_type, node)
        return typing.cast("list[JsonScalar]", values)
    if data_type is DataType.VARCHAR and kinds <= {str}:
        return typing.cast("list[JsonScalar]", values)
    listed = []
    for value in values:
        scope.check_range(value, data_type, node)
        member = cast(value, data_type)
        if member is None:
            raise scope.error(f"value '{shown(value)}' in list cannot be casted to {data_type.wire_name}", node)
        listed.append(member)
    return listed


def members_of(data_type: DataType, values: list[JsonScalar]) -> bound.Members:
    """Constants cast to a type, prepared for membership tests of that type."""
    if data_type is DataType.JSON:
        return bound.JsonSet.of(values)
    if data_type is DataType.VARCHAR:
        return bound.TextSet.of(v for v in values if isinstance(v, str))
    if data_type is DataType.BOOL:
        return frozenset(v for v in values if isinstance(v, bool))
    numbers = [v for v in values if not isinstance(v, str)]
    if data_type.is_integer or data_type is DataType.TIMESTAMPTZ:
        return NumberSet(numbers, np.int64)
    with np.errstate(over="ignore"):
        return NumberSet(numbers, np.float32 if data_type is DataType.FLOAT else np.float64)


# -- patterns -----------------------------------------------------------------------------------
def bind_like(scope: Scope, node: syntax.Like, operand: Term, negated: bool) -> bound.Like:
    return _pattern(scope, node, operand, ("like", compile_pattern), negated)


def bind_regex(scope: Scope, node: syntax.RegexMatch, operand: Term, negated: bool) -> bound.Like:
    return _pattern(scope, node, operand, ("regex match", compile_regex), negated != node.negated)


def _pattern(
    scope: Scope,
    node: syntax.Like | syntax.RegexMatch,
    operand: Term,
    action: tuple[str, Callable[[str], Pattern]],
    negated: bool,
) -> bound.Like:
    name, prepare = action
    if isinstance(node.pattern, syntax.Text):
        text = pattern_value(scope.source, node.pattern.body, node.pattern.raw, node.pattern.start)
    else:
        assert isinstance(node.pattern, syntax.Template)
        given = scope.parameter(node.pattern)
        if not isinstance(given.value, str):
            detail = f"the value of {name} expression template variable {{{given.template}}} is not string"
            raise scope.error(detail, node.pattern)
        text = given.value
    if not is_text(operand):
        raise scope.error(f"{name} operation on non-string or no-json field is unsupported", node)
    assert isinstance(operand, bound.Column | bound.Element | bound.Path)
    try:
        return bound.Like(operand, prepare(text), negated)
    except PatternError as error:
        raise scope.error(str(error), node.pattern) from None


def is_text(operand: Term) -> bool:
    """True for what may hold a string."""
    return isinstance(operand, bound.Column | bound.Element | bound.Path) and operand.data_type in (
        DataType.VARCHAR,
        DataType.JSON,
    )
