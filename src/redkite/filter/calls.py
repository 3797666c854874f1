"""Binding of function calls."""

from __future__ import annotations

from redkite.filter import bound
from redkite.filter.bound import JsonValue
from redkite.filter.comparisons import is_text, members_of
from redkite.filter.constants import Value, cast, type_of
from redkite.filter.diagnostics import nearest
from redkite.filter.like import prefix
from redkite.filter.scope import Opaque, Scope, Term
from redkite.filter.syntax import Call, Comparison
from redkite.model.types import DataType

_CONTAINS = {
    f"{kind}_contains{suffix}": suffix for kind in ("json", "array") for suffix in ("", "_all", "_any")
}  # fmt: skip
_IMPLEMENTED = frozenset({*_CONTAINS, "array_length", "empty", "starts_with"})
_UNIMPLEMENTED = frozenset({
    "text_match", "text_match_fuzzy", "phrase_match", "random_sample", "element_filter", "match_any", "match_all",
    "match_least", "match_most", "match_exact", "st_equals", "st_touches", "st_overlaps", "st_crosses", "st_contains",
    "st_intersects", "st_within", "st_dwithin", "st_isvalid",
})  # fmt: skip


def check_name(scope: Scope, node: Call) -> None:
    """Refuse a function that does not exist or that this version does not evaluate."""
    if node.name in _IMPLEMENTED:
        return
    if node.name in _UNIMPLEMENTED:
        raise scope.unsupported(f"function {node.name}")
    close = nearest(node.name, _IMPLEMENTED | _UNIMPLEMENTED)
    raise scope.error(f"function {node.name} not found", node, f"did you mean '{close}'?" if close else "")


def bind_call(scope: Scope, node: Call, arguments: tuple[Term, ...], negated: bool) -> bound.Predicate | bound.Length:
    """The meaning of a call whose name `check_name` accepts."""
    expected = 1 if node.name in ("array_length", "empty") else 2
    if len(arguments) != expected:
        raise scope.error(f"function {node.name} takes {expected} arguments, but got {len(arguments)}", node)
    first = arguments[0]
    if node.name == "array_length":
        return bound.Length(_array(scope, node, first, "array_length"))
    if node.name in _CONTAINS:
        return _contains(scope, node, first, arguments[1], negated)
    if not is_text(first) or isinstance(first, bound.Path):
        raise scope.error(f"function {node.name} expects a VarChar field, but got: {scope.text(node)}", node)
    assert isinstance(first, bound.Column | bound.Element)
    if node.name == "empty":
        return bound.Compare(first, Comparison.EQ, "", negated)
    text = arguments[1].value if isinstance(arguments[1], Value) else None
    if not isinstance(text, str):
        raise scope.error("function starts_with expects a string as its second argument", node)
    return bound.Like(first, prefix(text), negated)


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
    member = cast(value, operand.element_type)
    if member is None or (operand.element_type.is_integer and type_of(value) is DataType.DOUBLE):
        names = operand.element_type.wire_name, type_of(value).wire_name
        raise scope.error(
            f"contains operation can't compare between array element type: {names[0]} and {names[1]}", node
        )
    return member
