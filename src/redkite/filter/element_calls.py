"""Binding of the functions over elements of arrays: `element_filter` and `match_*`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from redkite.filter import bound
from redkite.filter.constants import Value
from redkite.filter.sampling import split_last
from redkite.filter.scope import Scope, Term, counted
from redkite.filter.syntax import Call, Keyword, Name, Node
from redkite.model.schema import FieldSchema
from redkite.model.types import DataType

ELEMENT_FILTER = "element_filter"
_WITHOUT_COUNT = frozenset({"match_any", "match_all"})
_WITH_COUNT = frozenset({"match_least", "match_most", "match_exact"})
ELEMENT_MATCHES = _WITHOUT_COUNT | _WITH_COUNT
_LAST = "element filter expression can only be the last expression in the logical and expression"

Bind = Callable[[Node, bool], bound.Predicate | None]


def split_elements(node: Node | None) -> tuple[Node | None, Call | None]:
    """A filter without the `element_filter` that its outermost `and` ends in, and that call."""
    return (None, None) if node is None else split_last(node, ELEMENT_FILTER)


def refuse_element_filter(scope: Scope, node: Call) -> None:
    """Raise for an `element_filter` that does not stand last."""
    if scope.inside is not None:
        raise scope.error("nested ElementFilter is not supported, a predicate of elements holds no other", node)
    raise scope.error(_LAST, node, "write condition and element_filter(...)")


def bind_element_filter(scope: Scope, node: Call, bind: Bind) -> bound.ElementMatch:
    """The meaning of `element_filter(struct, predicate)`: some element passes."""
    if len(node.arguments) != 2:
        raise scope.error(f"function {node.name} takes 2 arguments, but got {len(node.arguments)}", node)
    return _bound(scope, node, bind, bound.ElementMatch("", bound.Constant(True), least=1), structs_only=True)


def bind_element_match(
    scope: Scope, node: Call, bind: Bind, term: Callable[[Node], Term], negated: bool
) -> bound.ElementMatch:
    """The meaning of a call of one of ELEMENT_MATCHES."""
    if scope.inside is not None:
        raise scope.error(f"nested {node.name} is not supported, a predicate of elements holds no other", node)
    wanted = 3 if node.name in _WITH_COUNT else 2
    if len(node.arguments) != wanted:
        with_count = ", the last of them threshold=N" if wanted == 3 else ""
        given = len(node.arguments)
        raise scope.error(f"function {node.name} takes {wanted} arguments{with_count}, but got {given}", node)
    count = _threshold(scope, node, node.arguments[2], term) if wanted == 3 else 0
    match node.name:
        case "match_any":
            shape = bound.ElementMatch("", bound.Constant(True), least=1, negated=negated)
        case "match_all":
            shape = bound.ElementMatch("", bound.Constant(True), every=True, negated=negated)
        case "match_least":
            shape = bound.ElementMatch("", bound.Constant(True), least=count, negated=negated)
        case "match_most":
            shape = bound.ElementMatch("", bound.Constant(True), most=count, negated=negated)
        case _:
            shape = bound.ElementMatch("", bound.Constant(True), least=count, most=count, negated=negated)
    return _bound(scope, node, bind, shape, structs_only=False)


def _threshold(scope: Scope, node: Call, given: Node, term: Callable[[Node], Term]) -> int:
    if isinstance(given, Keyword) and given.name.lower() != "threshold":
        raise scope.error(f"unexpected argument {given.name}", given, "did you mean 'threshold'?")
    value = term(given.value if isinstance(given, Keyword) else given)
    count = value.value if isinstance(value, Value) else None
    if not isinstance(count, int) or isinstance(count, bool):
        raise scope.error(f"{node.name}: threshold must be an integer, but got: {scope.text(given)}", given)
    least = 1 if node.name == "match_least" else 0
    if count < least:
        bounds = "positive" if least else "not negative"
        raise scope.error(f"{node.name}: threshold must be {bounds}, but got: {count}", given)
    return count


def _bound(
    scope: Scope, node: Call, bind: Bind, shape: bound.ElementMatch, *, structs_only: bool
) -> bound.ElementMatch:
    array, wanted = node.arguments[0], node.arguments[1]
    fields = _fields(scope, node, array, structs_only=structs_only)
    scope.inside = fields
    try:
        predicate = bind(wanted, False)
    finally:
        scope.inside = None
    if predicate is None:
        raise scope.error(f"{node.name} expects a boolean expression of elements: {scope.text(wanted)}", wanted)
    used = sorted(bound.fields_of(predicate))
    return msgspec.structs.replace(shape, field=used[0] if used else counted(fields).name, predicate=predicate)


def _fields(scope: Scope, node: Call, array: Node, *, structs_only: bool) -> tuple[FieldSchema, ...]:
    """The sub-fields of the array of structs that is named; or an ARRAY field itself."""
    if isinstance(array, Name):
        struct = scope.schema.struct(array.name)
        if struct is not None:
            return struct.fields
        field = scope.field(array.name)
        if field is not None and field.data_type is DataType.ARRAY and not structs_only:
            return (field,)
    kind = "struct array field" if structs_only else "struct array or array field"
    raise scope.error(f"{node.name} expects the name of a {kind}, but got: {scope.text(array)}", array)
