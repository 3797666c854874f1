"""Tree and schema to a bound predicate.

`not` travels down as a flag and ends in the leaves; constants fold on the way up. The cheapest operands of an `and` are
put first, and long chains of equalities on one operand become one set.
"""

from __future__ import annotations

from redkite.filter import bound, calls, comparisons, syntax
from redkite.filter.arithmetic import bind_binary, bind_unary
from redkite.filter.bound import JsonValue
from redkite.filter.constants import Moment, Value
from redkite.filter.element_calls import ELEMENT_MATCHES, bind_element_filter, bind_element_match
from redkite.filter.literals import text_value
from redkite.filter.match_calls import MATCHES, MEMBERSHIP_MATCH, bind_match
from redkite.filter.membership_calls import bind_membership_match
from redkite.filter.moments import bind_literal
from redkite.filter.sampling import NEAREST
from redkite.filter.scope import Opaque, Scope, Term
from redkite.filter.syntax import Comparison, Node
from redkite.model.types import DataType

_NO_TRUTH = Opaque | bound.Path | bound.List | bound.Length | bound.Arithmetic | Moment | bound.Span | bound.Shifted
_MERGED = 3
"""From this many equalities on one operand a set is cheaper than a chain."""


def bind(scope: Scope, node: Node) -> bound.Predicate:
    """The predicate a whole filter means. Raises InvalidParameter, or Unimplemented for what is not built."""
    try:
        predicate = _Binder(scope).predicate(node, negated=False)
    except RecursionError:
        raise scope.source.error("expression is nested too deeply") from None
    if predicate is None:
        kind = _Binder(scope).type_name(node)
        raise scope.error(f"predicate is not a boolean expression: {scope.text(node)}, data type: {kind}", node)
    return predicate


def bind_elements(scope: Scope, call: syntax.Call) -> bound.ElementMatch:
    """What an `element_filter` means."""
    return bind_element_filter(scope, call, _Binder(scope).predicate)


def bind_sample(scope: Scope, call: syntax.Call) -> float:
    """The share that a `random_sample` keeps."""
    given = [_Binder(scope).term(argument) for argument in call.arguments]
    share = given[0].value if len(given) == 1 and isinstance(given[0], Value) else None
    if not isinstance(share, float) or not NEAREST <= share <= 1 - NEAREST:
        shown = ", ".join(map(scope.text, call.arguments))
        detail = f"the sample factor should be a float between 0 and 1, not too close to either, but got: {shown}"
        raise scope.error(detail, call)
    return share


class _Binder:
    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    # -- boolean expressions --------------------------------------------------------------------
    def predicate(self, node: Node, negated: bool) -> bound.Predicate | None:
        """The boolean expression a node is (its negation, when asked), None when it is none."""
        scope = self._scope
        if isinstance(node, syntax.Logical):
            return self._logical(node, negated)
        if isinstance(node, syntax.Not):
            inner = self.predicate(node.operand, not negated)
            if inner is None:
                raise scope.error("not op can only be applied on boolean expression", node, _not_hint(node.operand))
            return inner
        if isinstance(node, syntax.Compare):
            left, right = self.term(node.left), self.term(node.right)
            return comparisons.bind_comparison(scope, node, left, right, negated)
        if isinstance(node, syntax.Range):
            terms = self.term(node.low), self.term(node.middle), self.term(node.high)
            return comparisons.bind_range(scope, node, terms, negated)
        if isinstance(node, syntax.In):
            return comparisons.bind_membership(scope, node, self.term(node.operand), self.term(node.items), negated)
        if isinstance(node, syntax.Like):
            return comparisons.bind_like(scope, node, self.term(node.operand), negated)
        if isinstance(node, syntax.IsNull):
            return self._is_null(node, negated)
        if isinstance(node, syntax.Exists):
            return self._exists(node, negated)
        if isinstance(node, syntax.RegexMatch):
            return comparisons.bind_regex(scope, node, self.term(node.operand), negated)
        return self._truth(self._call(node, negated) if isinstance(node, syntax.Call) else self.term(node), negated)

    def _truth(self, term: Term, negated: bool) -> bound.Predicate | None:
        """A term as a boolean expression of its own."""
        if isinstance(term, Value):
            literal = isinstance(term.value, bool) and not term.template
            return bound.Constant(bool(term.value) != negated) if literal else None
        if isinstance(term, bound.Column | bound.Element):
            return bound.Compare(term, Comparison.EQ, True, negated) if term.data_type is DataType.BOOL else None
        if isinstance(term, _NO_TRUTH):
            return None
        return term

    def _logical(self, node: syntax.Logical, negated: bool) -> bound.Predicate:
        operands: list[bound.Predicate] = []
        for child in node.operands:
            operand = self.predicate(child, negated)
            if operand is None:
                detail = f"'{node.operator}' can only be used between boolean expressions"
                raise self._scope.error(detail, child)
            operands.append(operand)
        if (node.operator == "and") != negated:
            return self._all(node, operands)
        return self._any(node, operands)

    def _all(self, node: Node, operands: list[bound.Predicate]) -> bound.Predicate:
        if bound.Constant(False) in operands:
            return bound.Constant(False)
        rest = self._merged(node, [o for o in operands if not isinstance(o, bound.Constant)], unequal=True)
        if len(rest) < 2:
            return rest[0] if rest else bound.Constant(True)
        return bound.And.of(rest)

    def _any(self, node: Node, operands: list[bound.Predicate]) -> bound.Predicate:
        if bound.Constant(True) in operands:
            return bound.Constant(True)
        rest = self._merged(node, [o for o in operands if not isinstance(o, bound.Constant)], unequal=False)
        if len(rest) < 2:
            return rest[0] if rest else bound.Constant(False)
        return bound.Or.of(rest)

    def _merged(self, node: Node, operands: list[bound.Predicate], unequal: bool) -> list[bound.Predicate]:
        """Equalities on one operand joined by `or` (inequalities by `and`) as one membership test."""
        if len(operands) < _MERGED:
            return operands
        chains: dict[bound.Operand, list[bound.Compare]] = {}
        rest: list[bound.Predicate] = []
        for operand in operands:
            if isinstance(operand, bound.Compare) and _is_equality(operand, unequal):
                chains.setdefault(operand.operand, []).append(operand)
            else:
                rest.append(operand)
        for key, chain in chains.items():
            if len(chain) < _MERGED:
                rest.extend(chain)
            else:
                values: list[JsonValue] = [c.constant for c in chain]
                rest.append(comparisons.in_list(self._scope, node, key, values, unequal))
        return rest

    def _is_null(self, node: syntax.IsNull, negated: bool) -> bound.Predicate:
        scope = self._scope
        if scope.inside is not None:
            raise scope.error("is null operation is not supported on elements", node)
        wants_null = node.negated == negated
        text = scope.field(node.operand.name) if isinstance(node.operand, syntax.Name) else None
        if text is not None and text.data_type is DataType.TEXT:
            return self._null_test(text.name, wants_null)
        term = self.term(node.operand)
        if isinstance(term, bound.Path) and term.path:
            return bound.Exists(term, negated=wants_null)
        if isinstance(term, bound.Element):
            raise scope.error("is null operation is not supported on an element of an array", node)
        assert isinstance(term, bound.Column | bound.Path | bound.List | Opaque)
        return self._null_test(term.field, wants_null)

    def _null_test(self, name: str, wants_null: bool) -> bound.Predicate:
        field = self._scope.field(name)
        if field is None or not field.nullable:
            return bound.Constant(not wants_null)
        return bound.IsNull(name, negated=not wants_null)

    def _exists(self, node: syntax.Exists, negated: bool) -> bound.Predicate:
        term = self.term(node.operand)
        if not isinstance(term, bound.Path):
            kind = self.type_name(node.operand)
            raise self._scope.error(f"exists operations are only supportted on json field, got:{kind}", node)
        if not term.path:
            raise self._scope.error("exists operations are only supportted on json key", node)
        return bound.Exists(term, negated)

    # -- values ---------------------------------------------------------------------------------
    def term(self, node: Node) -> Term:
        """What a node stands for: a constant, an operand, or a boolean expression."""
        scope = self._scope
        if isinstance(node, syntax.Literal):
            return Value(node.value)
        if isinstance(node, syntax.Text):
            return Value(text_value(scope.source, node.body, node.raw, node.start))
        if isinstance(node, syntax.PlainList):
            return Value(list(node.values))
        if isinstance(node, syntax.ListNode):
            return self._list(node)
        if isinstance(node, syntax.Template):
            return scope.parameter(node)
        if isinstance(node, syntax.Name):
            return scope.resolve(node)
        if isinstance(node, syntax.Path):
            return scope.resolve_path(node)
        if isinstance(node, syntax.Unary):
            return bind_unary(scope, node, self.term(node.operand))
        if isinstance(node, syntax.Binary):
            return bind_binary(scope, node, self.term(node.left), self.term(node.right))
        if isinstance(node, syntax.Call):
            return self._call(node, negated=False)
        if isinstance(node, syntax.StructPath):
            return scope.resolve_struct(node)
        if isinstance(node, syntax.TimeLiteral):
            return bind_literal(scope, node)
        if isinstance(node, syntax.Keyword):
            raise scope.error(f"unexpected argument {node.name}", node)
        found = self.predicate(node, negated=False)
        assert found is not None, "every other node is boolean or refused"
        return Value(found.value) if isinstance(found, bound.Constant) else found

    def _list(self, node: syntax.ListNode) -> Value:
        values: list[JsonValue] = []
        for item in node.items:
            term = self.term(item)
            if not isinstance(term, Value):
                raise self._scope.error(f"list element must be a constant, but got: {self._scope.text(item)}", item)
            values.append(term.value)
        return Value(values)

    def _call(self, node: syntax.Call, negated: bool) -> bound.Predicate | bound.Length:
        calls.check_name(self._scope, node)
        if node.name in ELEMENT_MATCHES:
            return bind_element_match(self._scope, node, self.predicate, self.term, negated)
        if node.name in MATCHES:
            return bind_match(self._scope, node, self.term, negated)
        if node.name == MEMBERSHIP_MATCH:
            return bind_membership_match(self._scope, node, self.term, negated)
        return calls.bind_call(self._scope, node, tuple(self.term(a) for a in node.arguments), negated)

    def type_name(self, node: Node) -> str:
        """The type of a node that is not boolean, as error texts name it."""
        term = self.term(node)
        if isinstance(term, Value):
            return term.type_name
        if isinstance(term, bound.Span):
            return "Interval"
        return term.data_type.wire_name if isinstance(term, Opaque | Moment | bound.Operand) else "Bool"


def _is_equality(predicate: bound.Compare, unequal: bool) -> bool:
    """`operand == constant` (unequal: `!=`), on an operand that has a membership test."""
    if predicate.operand.data_type is DataType.BOOL:
        return False
    if isinstance(predicate.operand, bound.Arithmetic) or not predicate.operator.is_equality:
        return False
    return ((predicate.operator is Comparison.NE) != predicate.negated) == unequal


def _not_hint(operand: Node) -> str:
    name = isinstance(operand, syntax.Name | syntax.Path)
    return "'not' binds tighter than comparisons: write not (...)" if name else ""
