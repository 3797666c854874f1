"""A filter tied to a schema: operands with types, constants cast, functions resolved.

`not` is gone: it is pushed down to the leaves (De Morgan holds in three-valued logic), and every leaf answers TRUE
only where it is TRUE. A filter keeps the rows that are TRUE, so no NULL mask has to travel up through `and` and `or`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter.json_column import JsonPath
from redkite.filter.like import Pattern
from redkite.filter.matching import Matching
from redkite.filter.membership.bloom import BloomFilter
from redkite.filter.membership.roaring import RoaringBitmap
from redkite.filter.numbers import NumberSet
from redkite.filter.spatial import Spatial
from redkite.filter.syntax import Comparison, Operator
from redkite.model.types import DataType

JsonScalar: TypeAlias = "bool | int | float | str"
JsonValue: TypeAlias = "JsonScalar | list[JsonValue]"


# -- operands -----------------------------------------------------------------------------------
class Column(msgspec.Struct, frozen=True):
    """A BOOL, number, VARCHAR or TIMESTAMPTZ (UTC microseconds) field."""

    field: str
    data_type: DataType


class Element(msgspec.Struct, frozen=True):
    """One element of an ARRAY field; NULL where the array is shorter."""

    field: str
    index: int
    data_type: DataType


class Path(msgspec.Struct, frozen=True):
    """A path into a JSON field or `$meta`; the empty path is the whole value."""

    field: str
    path: JsonPath
    data_type: DataType = DataType.JSON


class List(msgspec.Struct, frozen=True):
    """A whole ARRAY field."""

    field: str
    element_type: DataType
    data_type: DataType = DataType.ARRAY


class Length(msgspec.Struct, frozen=True):
    """How many elements; NULL where a JSON value is no array."""

    of: List | Path
    data_type: DataType = DataType.INT64


class Arithmetic(msgspec.Struct, frozen=True):
    operand: Column | Element | Path
    operator: Operator
    constant: int | float
    data_type: DataType


class Span(msgspec.Struct, frozen=True):
    """A length of time: calendar months, and microseconds."""

    months: int
    micros: int

    def negated(self) -> Span:
        return Span(-self.months, -self.micros)


class Shifted(msgspec.Struct, frozen=True):
    """A TIMESTAMPTZ field moved by a length of time: first by calendar months in UTC, then by microseconds. A day that
    its month does not have is counted on from the month's end: a month after January 31 is March 3, or March 2."""

    operand: Column
    span: Span
    data_type: DataType = DataType.TIMESTAMPTZ


Operand: TypeAlias = Column | Element | Path | List | Length | Arithmetic | Shifted


# -- members of `in` ------------------------------------------------------------------------------
class TextSet(msgspec.Struct, frozen=True):
    members: pa.Array

    @staticmethod
    def of(values: Iterable[str]) -> TextSet:
        return TextSet(pa.array(dict.fromkeys(values), pa.string()))


class JsonSet(msgspec.Struct, frozen=True):
    """Constants of a list by the kind of JSON value that may equal them; None where the list has none of the kind.

    A number is in both sets of numbers whenever a value of that kind can equal it. Without any constant at all
    (`empty`) every present value is comparable and none is a member.
    """

    ints: NumberSet | None
    doubles: NumberSet | None
    strings: pa.Array | None
    bools: frozenset[bool]
    bigs: frozenset[int]
    """Integers beyond int64."""
    empty: bool

    @staticmethod
    def of(values: list[JsonScalar]) -> JsonSet:
        bools = frozenset(v for v in values if isinstance(v, bool))
        strings = sorted({v for v in values if isinstance(v, str)})
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        # Either kind of number can be compared with either kind of constant, so both sets exist or neither.
        whole = {int(v) for v in numbers if v == v and v not in _INFINITE and v == int(v) and -(2**63) <= v < 2**63}
        doubles = {float(v) for v in numbers if float(v) == v}
        bigs = frozenset(int(v) for v in doubles.union(numbers) if 2**63 <= v < 2**64 and v == int(v))
        return JsonSet(
            ints=NumberSet(whole, np.int64) if numbers else None,
            doubles=NumberSet(doubles, np.float64) if numbers else None,
            strings=pa.array(strings, pa.string()) if strings else None,
            bools=bools,
            bigs=bigs,
            empty=not values,
        )

    def are_bigs(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """Which integers beyond int64 are members."""
        return np.array([value in self.bigs for value in values.tolist()], np.bool_)


_INFINITE = (float("inf"), float("-inf"))
Members: TypeAlias = NumberSet | TextSet | JsonSet | frozenset[bool]
GivenMembers: TypeAlias = BloomFilter | RoaringBitmap
"""A set that came as bytes."""


# -- predicates ---------------------------------------------------------------------------------
class Constant(msgspec.Struct, frozen=True):
    value: bool


class Compare(msgspec.Struct, frozen=True):
    operand: Operand
    operator: Comparison
    constant: JsonScalar
    negated: bool = False


class CompareColumns(msgspec.Struct, frozen=True):
    left: Column
    operator: Comparison
    right: Column
    negated: bool = False


class StartsWith(msgspec.Struct, frozen=True):
    """A string of one field begins with the string of another."""

    left: Column
    right: Column
    negated: bool = False


class Between(msgspec.Struct, frozen=True):
    operand: Column | Element | Path | Shifted
    low: int | float | str
    high: int | float | str
    low_inclusive: bool
    high_inclusive: bool
    negated: bool = False


class In(msgspec.Struct, frozen=True):
    operand: Operand
    members: Members
    listed: tuple[JsonScalar, ...]
    """The members in the order of the text, repetitions included."""
    negated: bool = False


class Like(msgspec.Struct, frozen=True):
    operand: Column | Element | Path
    pattern: Pattern
    negated: bool = False


class IsNull(msgspec.Struct, frozen=True):
    field: str
    negated: bool = False


class Exists(msgspec.Struct, frozen=True):
    operand: Path
    negated: bool = False


class Contains(msgspec.Struct, frozen=True):
    """An array holds one of the values, or (`every`) each of them."""

    operand: List | Path
    values: tuple[JsonValue, ...]
    members: Members
    """The values that are no lists, prepared."""
    every: bool
    negated: bool = False


class ListEquals(msgspec.Struct, frozen=True):
    operand: List | Path
    values: tuple[JsonValue, ...]
    negated: bool = False


class MembershipMatch(msgspec.Struct, frozen=True):
    """A value is a member of a set that came as bytes."""

    operand: Column | Path
    members: GivenMembers
    negated: bool = False


class ElementMatch(msgspec.Struct, frozen=True):
    """`predicate`, which is about single elements, holds for at least and at most so many elements of an array, or
    (`every`) for each of them."""

    field: str
    """An array that tells how many elements there are."""
    predicate: Predicate
    least: int = 0
    most: int | None = None
    every: bool = False
    negated: bool = False


class And(msgspec.Struct, frozen=True):
    """At least two operands, the cheapest first."""

    operands: tuple[Predicate, ...]
    cost: int

    @staticmethod
    def of(operands: list[Predicate]) -> And:
        return And(tuple(sorted(operands, key=cost)), sum(map(cost, operands)))


class Or(msgspec.Struct, frozen=True):
    """At least two operands."""

    operands: tuple[Predicate, ...]
    cost: int

    @staticmethod
    def of(operands: list[Predicate]) -> Or:
        return Or(tuple(operands), sum(map(cost, operands)))


Leaf: TypeAlias = (
    Compare | CompareColumns | StartsWith | Between | In | Like | IsNull | Exists | Contains | ListEquals | Spatial
    | Matching | MembershipMatch | ElementMatch
)  # fmt: skip
Predicate: TypeAlias = Constant | Leaf | And | Or


_WITHOUT_OPERAND = Constant | CompareColumns | ElementMatch | IsNull | Matching | Spatial | StartsWith


def leaves_of(predicate: Predicate) -> Iterator[Constant | Leaf]:
    waiting: list[Predicate] = [predicate]
    while waiting:
        current = waiting.pop()
        if isinstance(current, And | Or):
            waiting.extend(current.operands)
        else:
            yield current


def fields_of(predicate: Predicate) -> frozenset[str]:
    """The names of the columns that evaluating the predicate reads."""
    found: set[str] = set()
    for leaf in leaves_of(predicate):
        if isinstance(leaf, CompareColumns | StartsWith):
            found |= {leaf.left.field, leaf.right.field}
        elif isinstance(leaf, ElementMatch):
            found |= {leaf.field, *fields_of(leaf.predicate)}
        elif isinstance(leaf, IsNull | Matching | Spatial):
            found.add(leaf.field)
        elif not isinstance(leaf, Constant):
            found.add(_source(leaf.operand).field)
    return frozenset(found)


def json_paths_of(predicate: Predicate) -> frozenset[tuple[str, JsonPath]]:
    """(field, path) of every JSON path that evaluating the predicate reads."""
    leaves = (leaf for leaf in leaves_of(predicate) if not isinstance(leaf, _WITHOUT_OPERAND))
    sources = (_source(leaf.operand) for leaf in leaves)
    return frozenset((s.field, s.path) for s in sources if isinstance(s, Path))


def cost(predicate: Predicate) -> int:
    """How dear a predicate is beside others, to run the cheap ones first."""
    if isinstance(predicate, And | Or):
        return predicate.cost
    if isinstance(predicate, CompareColumns):
        return 30 if predicate.left.data_type.is_string else 2
    if isinstance(predicate, Constant | IsNull):
        return 1
    if isinstance(predicate, ElementMatch | Matching | Spatial | StartsWith):
        return 60
    operand = _source(predicate.operand)
    if isinstance(operand, Path):
        return 100
    if isinstance(operand, List) or operand.data_type.is_string:
        return 20
    return 4 if isinstance(predicate, In | MembershipMatch) else 1


def _source(operand: Operand) -> Column | Element | Path | List:
    while isinstance(operand, Arithmetic | Length | Shifted):
        operand = operand.of if isinstance(operand, Length) else operand.operand
    return operand
