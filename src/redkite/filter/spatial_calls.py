"""Binding of the functions over shapes."""

from __future__ import annotations

from redkite.filter.constants import Value, is_number
from redkite.filter.scope import Opaque, Scope, Term
from redkite.filter.spatial import Relation, Spatial
from redkite.filter.syntax import Call
from redkite.model.shapes import BadShape, parse_shape, shapely
from redkite.model.types import DataType

SPATIAL = frozenset(relation.value for relation in Relation)
ARGUMENTS = {Relation.IS_VALID.value: 1, Relation.DWITHIN.value: 3}
"""Of the functions that do not take two."""


def bind_spatial(scope: Scope, node: Call, arguments: tuple[Term, ...], negated: bool) -> Spatial:
    relation = Relation(node.name)
    field = arguments[0]
    if not isinstance(field, Opaque) or field.data_type is not DataType.GEOMETRY:
        got = scope.text(node.arguments[0])
        raise scope.error(f"{relation} operation are only supported on geometry fields now, got: {got}", node)
    if relation is Relation.IS_VALID:
        return Spatial(field.field, relation, "", None, 0.0, negated)
    text = arguments[1].value if isinstance(arguments[1], Value) else None
    if not isinstance(text, str):
        raise scope.error(f"{relation} expects a WKT string as its second argument", node.arguments[1])
    try:
        shape = parse_shape(text)
    except BadShape as error:
        raise scope.error(f"{relation}: invalid WKT: {error}", node.arguments[1]) from None
    distance = 0.0
    if relation is Relation.DWITHIN:
        if shape.geom_type != "Point":
            raise scope.error(f"{relation} only supports POINT geometry: {text[:100]}", node.arguments[1])
        distance = _distance(scope, node, arguments[2])
    shapely().prepare(shape)
    return Spatial(field.field, relation, text, shape, distance, negated)


def _distance(scope: Scope, node: Call, term: Term) -> float:
    given = term.value if isinstance(term, Value) else None
    if given is None or isinstance(given, str | list) or not is_number(given):
        raise scope.error("st_dwithin expects a number as its distance", node.arguments[2])
    if not given >= 0:
        raise scope.error(f"st_dwithin distance must not be negative, but got: {given}", node.arguments[2])
    return float(given)
