"""The tree a filter's text becomes: immutable nodes that know where they stand in the text and nothing of any schema.

Every node covers `text[start:end]`. A chain of `and` or of `or` is one flat node: ten thousand terms are shallow.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Comparison(StrEnum):
    EQ = "=="
    NE = "!="
    LT = "<"
    LE = "<="
    GT = ">"
    GE = ">="

    @property
    def mirrored(self) -> Comparison:
        """The operator that means the same with its two sides swapped."""
        return _MIRRORED[self]

    @property
    def is_equality(self) -> bool:
        return self in (Comparison.EQ, Comparison.NE)


_MIRRORED = {
    Comparison.EQ: Comparison.EQ, Comparison.NE: Comparison.NE, Comparison.LT: Comparison.GT,
    Comparison.LE: Comparison.GE, Comparison.GT: Comparison.LT, Comparison.GE: Comparison.LE,
}  # fmt: skip


class Operator(StrEnum):
    """Operators of numbers, two operands each."""

    ADD = "+"
    SUB = "-"
    MUL = "*"
    DIV = "/"
    MOD = "%"
    POW = "**"
    BIT_AND = "&"
    BIT_OR = "|"
    BIT_XOR = "^"
    SHL = "<<"
    SHR = ">>"

    @property
    def label(self) -> str:
        """How error texts name it."""
        return _LABELS[self]

    @property
    def is_bitwise(self) -> bool:
        return self in (Operator.BIT_AND, Operator.BIT_OR, Operator.BIT_XOR)


_LABELS = {
    Operator.ADD: "add", Operator.SUB: "subtract", Operator.MUL: "multiply", Operator.DIV: "divide",
    Operator.MOD: "modulo", Operator.POW: "power", Operator.BIT_AND: "bitand", Operator.BIT_OR: "bitor",
    Operator.BIT_XOR: "bitxor", Operator.SHL: "shift", Operator.SHR: "shift",
}  # fmt: skip


class Node(msgspec.Struct, frozen=True, gc=False):
    start: int
    end: int


class Name(Node, frozen=True):
    """A bare word: a field, a dynamic key, or `$meta`."""

    name: str


class Path(Node, frozen=True):
    """`name["k"][0]`: keys into a JSON field or the dynamic field, or one index into an array."""

    name: str
    keys: tuple[str | int, ...]


class StructPath(Node, frozen=True):
    """`name[sub]`, `name[0][sub]`, `$[sub]`, `$`: a part of an array of structs."""

    name: str
    sub: str
    index: int | None = None
    """Of the one struct that is meant; None: of each."""


class Template(Node, frozen=True):
    """`{name}`: a value given beside the text."""

    name: str


class Literal(Node, frozen=True):
    """A number or a boolean."""

    value: bool | int | float


class Text(Node, frozen=True):
    """A string: the characters between its quotes, escapes still in place unless `raw`."""

    body: str
    raw: bool


class TimeLiteral(Node, frozen=True):
    """`ISO "..."` or `INTERVAL "..."`."""

    unit: str
    body: str


class ListNode(Node, frozen=True):
    items: tuple[Node, ...]


class PlainList(Node, frozen=True):
    """A list of nothing but decimal integers, or of nothing but plain strings: read in one go, however long."""

    values: tuple[int, ...] | tuple[str, ...]


class Unary(Node, frozen=True):
    """`-x`, `+x`, `~x`."""

    operator: str
    operand: Node


class Not(Node, frozen=True):
    operand: Node


class Binary(Node, frozen=True):
    operator: Operator
    left: Node
    right: Node


class Compare(Node, frozen=True):
    operator: Comparison
    left: Node
    right: Node


class Range(Node, frozen=True):
    """`low < middle <= high`; a descending chain is stored ascending."""

    low: Node
    middle: Node
    high: Node
    low_inclusive: bool
    high_inclusive: bool


class In(Node, frozen=True):
    operand: Node
    items: Node
    negated: bool


class Like(Node, frozen=True):
    operand: Node
    pattern: Node


class RegexMatch(Node, frozen=True):
    operand: Node
    pattern: Node
    negated: bool


class IsNull(Node, frozen=True):
    operand: Node
    negated: bool


class Exists(Node, frozen=True):
    operand: Node


class Keyword(Node, frozen=True):
    """`name=value` among the arguments of a call."""

    name: str
    value: Node


class Call(Node, frozen=True):
    """`name` is lower case whatever the text wrote."""

    name: str
    arguments: tuple[Node, ...]


class Logical(Node, frozen=True):
    """A whole chain of one of `and`, `or`; never fewer than two operands."""

    operator: str
    operands: tuple[Node, ...]
