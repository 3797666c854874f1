"""Binding of function calls."""

from __future__ import annotations

from redkite.filter import bound
from redkite.filter.bound import JsonValue
from redkite.filter.comparisons import in_list, is_text, members_of
from redkite.filter.constants import Value, cast, type_of
from redkite.filter.diagnostics import nearest
from redkite.filter.element_calls import ELEMENT_FILTER, ELEMENT_MATCHES, refuse_element_filter
from redkite.filter.like import prefix
from redkite.filter.match_calls import MATCHES, MEMBERSHIP_MATCH
from redkite.filter.sampling import RANDOM_SAMPLE
from redkite.filter.scope import Opaque, Scope, Term
from redkite.filter.spatial_calls import ARGUMENTS, SPATIAL, bind_spatial
from redkite.filter.syntax import Call, Comparison
from redkite.model.types import DataType

_CONTAINS = {
    f"{kind}_contains{suffix}": suffix for kind in ("json", "array") for suffix in ("", "_all", "_any")
}  # fmt: skip
_IMPLEMENTED = frozenset({
    *_CONTAINS, *SPATIAL, *MATCHES, *ELEMENT_MATCHES, ELEMENT_FILTER, "array_length", "empty", "starts_with",
    RANDOM_SAMPLE, MEMBERSHIP_MATCH,
})  # fmt: skip
_ARGUMENTS = ARGUMENTS | {"array_length": 1, "empty": 1}
"""Of the functions that do not take two."""


def check_name(scope: Scope, node: Call) -> None:
    """Refuse a function that does not exist, or that does not stand where it may."""
    if node.name == ELEMENT_FILTER:
        refuse_element_filter(scope, node)
    if node.name == RANDOM_SAMPLE:
        raise scope.error(
            "random sample expression can only be the last expression in the logical and expression", node,
            "write condition and random_sample(0.1)",
        )  # fmt: skip
    if node.name in _IMPLEMENTED:
        return
    close = nearest(node.name, _IMPLEMENTED)
    raise scope.error(f"function {node.name} not found", node, f"did you mean '{close}'?" if close else "")


def bind_call(scope: Scope, node: Call, arguments: tuple[Term, ...], negated: bool) -> bound.Predicate | bound.Length:
    """The meaning of a call whose name `check_name` accepts."""
    expected = _ARGUMENTS.get(node.name, 2)
    if len(arguments) != expected:
        raise scope.error(f"function {node.name} takes {expected} arguments, but got {len(arguments)}", node)
    first = arguments[0]
    if node.name == "array_length" and isinstance(first, Opaque) and first.data_type is DataType._ARRAY_OF_STRUCT:
        return bound.Length(bound.List(first.field, DataType.STRUCT))
    if node.name == "array_length":
        return bound.Length(_array(scope, node, first, "array_length"))
    if node.name in SPATIAL:
        return bind_spatial(scope, node, arguments, negated)
    if node.name in _CONTAINS:
        return _contains(scope, node, first, arguments[1], negated)
    if node.name == "empty":
        operand = _text(scope, node, first, 0)
        if isinstance(operand, str):
            return bound.Constant((operand == "") != negated)
        return bound.Compare(operand, Comparison.EQ, "", negated)
    return _starts_with(scope, node, (first, arguments[1]), negated)


def _starts_with(scope: Scope, node: Call, terms: tuple[Term, Term], negated: bool) -> bound.Predicate:
    left, right = _text(scope, node, terms[0], 0), _text(scope, node, terms[1], 1)
    if isinstance(right, str):
        if isinstance(left, str):
            return bound.Constant(left.startswith(right) != negated)
        return bound.Like(left, prefix(right), negated)
    if isinstance(left, str):
        beginnings: list[JsonValue] = [left[:length] for length in range(len(left) + 1)]
        return in_list(scope, node, right, beginnings, negated)
    if isinstance(left, bound.Element) or isinstance(right, bound.Element):
        raise scope.error("field-to-field comparison involving ARRAY fields is not supported", node)
    return bound.StartsWith(left, right, negated)


def _text(scope: Scope, node: Call, term: Term, place: int) -> str | bound.Column | bound.Element:
    """An argument that is a string or a field of strings."""
    if isinstance(term, Value) and isinstance(term.value, str):
        return term.value
    if isinstance(term, bound.Column | bound.Element) and is_text(term):
        return term
    got = scope.text(node.arguments[place])
    raise scope.error(f"function {node.name} expects a VarChar field or a string, but got: {got}", node)


def _array(scope: Scope, node: Call, operand: Term, name: str) -> bound.List | bound.Path:
    if isinstance(operand, bound.List | bound.Path):
        return operand
    got = operand.data_type.wire_name if isinstance(operand, bound.Operand | Opaque) else scope.text(node.arguments[0])
    raise scope.error(f"{name} operation are only supported on json or array fields now, got: {got}", node)


def _contains(scope: Scope, node: Call, first: Term, second: Term, negated: bool) -> bound.Contains:
    operand = _array(scope, node, first, "contains")
    if not isinstance(second, Value):
        raise scope.error(f"contains operation expects a constant, but got: {scope.text(node.arguments[1])}", node)
    suffix = _CONTAINS[node.name]
    if suffix and not isinstance(second.value, list):
        raise scope.error(f"{node.name} operation element must be an array", node)
    wanted = second.value if suffix and isinstance(second.value, list) else [second.value]
    if isinstance(operand, bound.List):
        wanted = [_element(scope, node, operand, value) for value in wanted]
    scalars = [v for v in wanted if not isinstance(v, list)]
    kind = operand.element_type if isinstance(operand, bound.List) else DataType.JSON
    return bound.Contains(operand, tuple(wanted), members_of(kind, scalars), suffix == "_all", negated)


def _element(scope: Scope, node: Call, operand: bound.List, value: JsonValue) -> JsonValue:
    scope.check_range(value, operand.element_type, node)
    member = cast(value, operand.element_type)
    if member is None or (operand.element_type.is_integer and type_of(value) is DataType.DOUBLE):
        names = operand.element_type.wire_name, type_of(value).wire_name
        raise scope.error(
            f"contains operation can't compare between array element type: {names[0]} and {names[1]}", node
        )
    return member
