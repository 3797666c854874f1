"""Binding of the functions over words."""

from __future__ import annotations

from collections.abc import Callable

from redkite.filter import bound
from redkite.filter.constants import Value, is_number
from redkite.filter.matching import Matching, MatchKind
from redkite.filter.scope import Scope, Term
from redkite.filter.syntax import Call, Keyword, Name, Node
from redkite.model.rules.text_rules import enables_match
from redkite.model.schema import FieldSchema
from redkite.text.specs import field_analyzer

MATCHES = frozenset(kind.value for kind in MatchKind)
MOST_SHOULD_MATCH = 1_000
MOST_SLOP = (1 << 32) - 1
MOST_EDITS = 2
QUICK_TEXTS = 2_048
"""The words of so many texts are found within a few milliseconds."""
MEMBERSHIP_MATCH = "membership_match"
_OPTIONS = {MatchKind.WORDS: "minimum_should_match", MatchKind.FUZZY: "max_edit_distance"}
_SHOWN = {MatchKind.WORDS: "text match", MatchKind.FUZZY: "text match", MatchKind.PHRASE: "phrase match"}


def is_quick(text: str, rows: int) -> bool:
    """Whether a filter over so many rows is answered within a few milliseconds, as far as words and sets as bytes go:
    words may have to be found first, a set of many megabytes be read, and the loops that look for either be
    compiled. Told without reading the filter."""
    if "_match" not in text and "_MATCH" not in text:
        return True
    lower = text.lower()
    return rows <= QUICK_TEXTS and MatchKind.PHRASE not in lower and MEMBERSHIP_MATCH not in lower


MOST_FUZZY_WORDS = 256
"""Each is compared with the whole vocabulary."""


def bind_match(scope: Scope, node: Call, term: Callable[[Node], Term], negated: bool) -> bound.Predicate:
    """The meaning of a call of one of MATCHES; `term` says what an argument stands for."""
    kind = MatchKind(node.name)
    given = node.arguments
    least = 3 if kind is MatchKind.FUZZY else 2
    if not least <= len(given) <= 3:
        wanted = "3 arguments" if least == 3 else "2 or 3 arguments"
        raise scope.error(f"function {node.name} takes {wanted}, but got {len(given)}", node)
    field = _field(scope, kind, given[0])
    query = term(given[1])
    if not isinstance(query, Value) or not isinstance(query.value, str):
        got = scope.text(given[1])
        raise scope.error(f"function {node.name} expects a string or a template, but got: {got}", given[1])
    if kind is MatchKind.PHRASE:
        number = _slop(scope, given[2], term) if len(given) == 3 else 0
    else:
        number = _option(scope, kind, given[2], term) if len(given) == 3 else 1
    analyzer = field_analyzer(field)
    tokens = analyzer.analyze([query.value])
    words = tuple(tokens.words(0))
    if kind is MatchKind.FUZZY and len(set(words)) > MOST_FUZZY_WORDS:
        raise scope.error(
            f"function {node.name} takes {MOST_FUZZY_WORDS} different words at most, but got {len(set(words))}",
            given[1],
        )
    if kind is MatchKind.WORDS:
        number = max(1, min(number, len(words)))
    return Matching(field.name, kind, words, tuple(tokens.positions.tolist()), number, analyzer, negated)


def _field(scope: Scope, kind: MatchKind, node: Node) -> FieldSchema:
    if not isinstance(node, Name):
        raise scope.error(f"function {kind} expects the name of a field, but got: {scope.text(node)}", node)
    field = scope.field(node.name)
    if field is None:
        if scope.meta is None:
            scope.resolve(node)
        raise scope.error(f"{_SHOWN[kind]} operation on non-string is unsupported", node)
    if not field.data_type.is_string:
        raise scope.error(f"{_SHOWN[kind]} operation on non-string is unsupported", node)
    if not enables_match(field):
        raise scope.error(f'field "{field.name}" does not enable match', node)
    return field


def _slop(scope: Scope, node: Node, term: Callable[[Node], Term]) -> int:
    shown = scope.text(node)
    if isinstance(node, Name | Keyword):
        raise _no_slop(scope, node)
    found = term(node)
    slop = found.value if isinstance(found, Value) else None
    if slop is None or isinstance(slop, str | bool | list | float) or not is_number(slop):
        raise _no_slop(scope, node)
    if slop < 0:
        raise scope.error(f'"slop" should not be a negative interger. "slop" passed: {shown}', node)
    if slop > MOST_SLOP:
        raise scope.error(f'"slop" exceeds the range of "uint32". "slop" expression passed: {shown}', node)
    return int(slop)


def _no_slop(scope: Scope, node: Node) -> Exception:
    wanted = '"slop" should be a const integer expression with "uint32" value.'
    return scope.error(f'{wanted} "slop" expression passed: {scope.text(node)}', node)


def _option(scope: Scope, kind: MatchKind, node: Node, term: Callable[[Node], Term]) -> int:
    """The number behind the name of a function's option."""
    name = _OPTIONS[kind]
    if not isinstance(node, Keyword) or node.name.lower() != name or not (node.name.islower() or node.name.isupper()):
        raise scope.error(f"function {kind} expects {name}=N, but got: {scope.text(node)}", node)
    found = None if isinstance(node.value, Name) else term(node.value)
    number = found.value if isinstance(found, Value) else None
    if not isinstance(number, int) or isinstance(number, bool):
        raise scope.error(f"{name} should be a const integer expression", node)
    lowest, highest = (1, MOST_SHOULD_MATCH) if kind is MatchKind.WORDS else (0, MOST_EDITS)
    if number < lowest:
        raise scope.error(f"{name} should be >= {lowest}, got {number}", node)
    if number > highest:
        raise scope.error(f"{name} should be <= {highest}, got {number}", node)
    return number
