"""Times in filters: `ISO "..."` and `INTERVAL "..."`, and comparisons of TIMESTAMPTZ fields with them."""

from __future__ import annotations

import re

import numpy as np

from redkite.errors import InvalidParameter
from redkite.filter import bound, syntax
from redkite.filter.bound import Shifted, Span
from redkite.filter.constants import Moment, Value, fold_comparison
from redkite.filter.literals import text_value
from redkite.filter.numbers import Values
from redkite.filter.scope import Scope, Term
from redkite.filter.syntax import Comparison, Node, Operator
from redkite.model.moments import DAY, FIRST_MOMENT, HOUR, LAST_MOMENT, MINUTE, SECOND
from redkite.model.types import DataType

_INTERVAL = re.compile(
    r"P(?=.)(?:(?P<years>\d{1,5})Y)?(?:(?P<months>\d{1,6})M)?(?:(?P<days>\d{1,7})D)?"
    r"(?:T(?=.)(?:(?P<hours>\d{1,8})H)?(?:(?P<minutes>\d{1,10})M)?(?:(?P<seconds>\d{1,12})S)?)?",
    re.ASCII,
)
_UNITS = {"days": DAY, "hours": HOUR, "minutes": MINUTE, "seconds": SECOND}
_LONGEST = LAST_MOMENT - FIRST_MOMENT
_MOST_MONTHS = 12 * 10_000


# -- literals -----------------------------------------------------------------------------------
def bind_literal(scope: Scope, node: syntax.TimeLiteral) -> Moment | Span:
    text = text_value(scope.source, node.body, False, node.start)
    if node.unit == "ISO":
        return scope.moment(text, node)
    match = _INTERVAL.fullmatch(text)
    if match is None:
        detail = f"invalid interval '{text[:100]}': it should look like P1Y2M3DT4H5M6S"
        raise scope.error(detail, node)
    given = {unit: int(number or 0) for unit, number in match.groupdict().items()}
    span = Span(12 * given["years"] + given["months"], sum(given[unit] * size for unit, size in _UNITS.items()))
    if span.months > _MOST_MONTHS or span.micros > _LONGEST:
        raise scope.error(f"invalid interval '{text[:100]}': it is longer than ten thousand years", node)
    return span


# -- arithmetic ---------------------------------------------------------------------------------
def is_time(term: Term) -> bool:
    """A time, a length of time, or a field of times."""
    if isinstance(term, Moment | Span | Shifted):
        return True
    return isinstance(term, bound.Column) and term.data_type is DataType.TIMESTAMPTZ


def bind_shift(scope: Scope, node: syntax.Binary, left: Term, right: Term) -> Shifted | Moment:
    """`left + right` or `left - right`, where one of them is a time."""
    if isinstance(left, Span) and not isinstance(right, Span) and node.operator is Operator.ADD:
        left, right = right, left
    if not isinstance(right, Span) or node.operator not in (Operator.ADD, Operator.SUB):
        detail = "the only arithmetic on times is adding and subtracting an INTERVAL"
        raise scope.error(detail, node, 'write field + INTERVAL "P1D"')
    span = right if node.operator is Operator.ADD else right.negated()
    if isinstance(left, Moment):
        moved = int(shifted(np.array([left.micros], np.int64), span)[0])
        return Moment(_in_calendar(scope, node, moved))
    if isinstance(left, Shifted):
        raise scope.error("complicated arithmetic operations are not supported", node)
    if not isinstance(left, bound.Column) or left.data_type is not DataType.TIMESTAMPTZ:
        raise _no_time(scope, node.left)
    return Shifted(left, span)


def _in_calendar(scope: Scope, node: Node, micros: int) -> int:
    if not FIRST_MOMENT <= micros <= LAST_MOMENT:
        raise scope.error("the result lies outside the years 1 to 9999", node)
    return micros


def _no_time(scope: Scope, node: Node) -> InvalidParameter:
    return scope.error(f"field '{scope.text(node)}' is not a timestamptz datatype", node)


def shifted(values: Values, span: Span) -> Values:
    """Each time moved by a span, as `bound.Shifted` says."""
    if span.months:
        times = values.astype("datetime64[us]")
        months = times.astype("datetime64[M]")
        values = times - months.astype("datetime64[us]") + (months + span.months).astype("datetime64[us]")
        values = values.astype(np.int64)
    moved: Values = values + span.micros
    return moved


# -- comparisons --------------------------------------------------------------------------------
def bind_time_comparison(scope: Scope, node: syntax.Compare, left: Term, right: Term, negated: bool) -> bound.Predicate:
    """A comparison that `is_time` is true of one side of."""
    if isinstance(left, Moment) and isinstance(right, Moment):
        return bound.Constant(fold_comparison(node.operator, left.micros, right.micros) != negated)
    if isinstance(left, bound.Column) and isinstance(right, bound.Column):
        if left.data_type is not right.data_type:
            names = left.data_type.wire_name, right.data_type.wire_name
            raise scope.error(f"comparisons between {names[0]} and {names[1]} are not supported", node)
        return bound.CompareColumns(left, node.operator, right, negated)
    if isinstance(left, Moment | Value):
        return _with_moment(scope, (right, node.right), node.operator.mirrored, (left, node.left), negated)
    return _with_moment(scope, (left, node.left), node.operator, (right, node.right), negated)


def _with_moment(
    scope: Scope,
    field: tuple[Term, Node],
    operator: Comparison,
    constant: tuple[Term, Node],
    negated: bool,
) -> bound.Predicate:
    micros = _micros(scope, *constant)
    operand = _operand(scope, *field)
    if isinstance(operand, Shifted) and not operand.span.months:
        # Moving every row by a fixed time and moving the constant back are the same.
        return bound.Compare(operand.operand, operator, micros - operand.span.micros, negated)
    return bound.Compare(operand, operator, micros, negated)


def bind_time_range(scope: Scope, node: syntax.Range, terms: tuple[Term, Term, Term], negated: bool) -> bound.Predicate:
    """`low < middle < high`, where one of them is a time."""
    low, middle, high = terms
    operand = _operand(scope, middle, node.middle)
    bounds = _micros(scope, low, node.low), _micros(scope, high, node.high)
    if bounds[0] > bounds[1] or (bounds[0] == bounds[1] and not (node.low_inclusive and node.high_inclusive)):
        raise scope.error("invalid range: lowerbound is greater than upperbound", node)
    if isinstance(operand, Shifted) and not operand.span.months:
        # As for a comparison: the bounds move instead of the rows.
        bounds = bounds[0] - operand.span.micros, bounds[1] - operand.span.micros
        operand = operand.operand
    return bound.Between(operand, bounds[0], bounds[1], node.low_inclusive, node.high_inclusive, negated)


def _operand(scope: Scope, term: Term, node: Node) -> bound.Column | Shifted:
    if isinstance(term, Shifted):
        return term
    if not isinstance(term, bound.Column) or term.data_type is not DataType.TIMESTAMPTZ:
        raise _no_time(scope, node)
    return term


def _micros(scope: Scope, term: Term, node: Node) -> int:
    if isinstance(term, Moment):
        return term.micros
    if isinstance(term, Value):
        if term.template and isinstance(term.value, str):
            return scope.moment(term.value, node).micros
        detail = f"comparisons between Timestamptz and {term.type_name} are not supported"
        raise scope.error(detail, node, 'write ISO "2025-01-01T00:00:00Z"')
    if isinstance(term, Span):
        raise scope.error("an INTERVAL can only be added to a time or subtracted from one", node)
    if is_time(term):
        raise scope.error("not supported to do arithmetic operations between multiple fields", node)
    raise _no_time(scope, node)
