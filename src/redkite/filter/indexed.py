"""Where an index answers a leaf of a filter instead of a pass over the rows.

An index never changes an answer: it gives exactly the rows for which the leaf is TRUE, or nothing, and then the rows
are looked at. It is asked only when what it would cost is less than looking.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from redkite.filter import bound
from redkite.filter.json_column import JsonColumn, JsonPath
from redkite.filter.like import Shape
from redkite.filter.matching import Matching
from redkite.filter.numbers import Mask, NumberSet, Values
from redkite.filter.shape_column import ShapeColumn
from redkite.filter.spatial import Spatial
from redkite.filter.word_column import WordColumn
from redkite.model.types import DataType
from redkite.text.analyzer import Analyzer

if TYPE_CHECKING:
    from redkite.filter.columns import Columns

RowNumbers: TypeAlias = npt.NDArray[np.int64]
Source: TypeAlias = bound.Column | bound.Path | bound.List
ValueLeaf: TypeAlias = bound.Compare | bound.Between | bound.In | bound.Like | bound.Exists | bound.Contains
FieldLeaf: TypeAlias = Matching | Spatial
"""A leaf that reads a whole field of its own kind."""
IndexedLeaf: TypeAlias = ValueLeaf | FieldLeaf

# Nanoseconds to look at one row, measured over a million rows on one core.
_NUMBER, _TWO_NUMBERS, _ARITHMETIC, _TABLE, _HASH = 0.3, 0.8, 4.0, 1.5, 12.0
_TEXT, _TEXT_PREFIX, _TEXT_SET, _TEXT_INNER, _TEXT_REGEX = 1.2, 3.5, 14.0, 15.0, 43.0
_LIST, _JSON, _SHAPE, _WORDS, _MEMBERS = 6.0, 25.0, 10.0, 30.0, 100.0
_TAKE_ANY, _TAKE, _TAKE_JSON, _TAKE_SHAPE, _TAKE_WORDS = 30_000.0, 60.0, 1_500.0, 2_500.0, 4_000.0
"""Taking some rows at all, and each of them."""
_NARROWER = {DataType.BOOL: 0.3, DataType.INT8: 0.3, DataType.INT16: 0.5, DataType.INT32: 0.7, DataType.FLOAT: 0.7}
"""What narrow numbers cost beside wide ones."""
_FEW_MEMBERS, _NARROW = 6, 1 << 22


class FieldIndex(Protocol):
    """An index over one field, or a path of it, for all rows of some columns."""

    answers: int
    """How often it was used, about."""

    def answer(self, leaf: IndexedLeaf, columns: Columns, limit: float) -> Mask | None:
        """(columns.rows,) True where the leaf is TRUE, a fresh array; None when this index cannot tell, or not within
        `limit` nanoseconds."""
        ...


def answered(leaf: bound.Constant | bound.Leaf, columns: Columns) -> Mask | None:
    """What an index says of a leaf: None when there is none, or looking at the rows is cheaper."""
    source = leaf if isinstance(leaf, FieldLeaf) else source_of(leaf) if isinstance(leaf, ValueLeaf) else None
    if source is None or not isinstance(leaf, IndexedLeaf):
        return None
    limit = 0.0
    for index in columns.indexes_of(source.field):
        limit = limit or columns.rows * look_cost(leaf)
        mask = index.answer(leaf, columns, limit)
        if mask is not None:
            index.answers += 1
            return mask
    return None


def conjunction(
    operands: Sequence[bound.Predicate],
    columns: Columns,
    mask_of: Callable[[bound.Predicate], Mask],
    evaluate: Callable[[bound.Predicate, Columns], Mask],
) -> Mask:
    """(columns.rows,) where all operands are TRUE; a fresh array. Those that an index answers come first, and once few
    rows are left only these are looked at. `mask_of` evaluates an operand over all rows, `evaluate` over others."""
    mask: Mask | None = None
    rest = []
    for operand in operands:
        found = None if isinstance(operand, bound.And | bound.Or) else answered(operand, columns)
        if found is None:
            rest.append(operand)
        else:
            mask = found if mask is None else np.logical_and(mask, found, out=mask)
    for at, operand in enumerate(rest):
        if mask is None:
            mask = mask_of(operand)
            continue
        kept = int(np.count_nonzero(mask))
        if not kept:
            break
        if _few_pay(rest[at:], kept, columns.rows):
            rows = np.flatnonzero(mask)
            some = SomeRows(columns, rows)
            for left in rest[at:]:
                mask[rows] &= evaluate(left, some)
            break
        mask &= mask_of(operand)
    assert mask is not None, "a conjunction has operands"
    return mask


def _few_pay(operands: Sequence[bound.Predicate], kept: int, rows: int) -> bool:
    """Whether taking the rows that are left and looking at them costs less than looking at all."""
    leaves = [leaf for operand in operands for leaf in bound.leaves_of(operand)]
    whole = rows * sum(map(_look_cost, leaves))
    if any(isinstance(leaf, Spatial) for leaf in leaves):
        each, whole = _TAKE_SHAPE, rows * _SHAPE
    elif any(isinstance(leaf, Matching) for leaf in leaves):
        each, whole = _TAKE_WORDS, rows * _WORDS
    elif any(isinstance(leaf, bound.Exists | bound.ListEquals) or _reads_path(leaf) for leaf in leaves):
        each, whole = _TAKE_JSON, rows * _TWO_NUMBERS
    else:
        each = _TAKE
    return _TAKE_ANY + kept * each * len(leaves) < whole


def _look_cost(leaf: bound.Constant | bound.Leaf) -> float:
    if isinstance(leaf, bound.MembershipMatch):
        return _MEMBERS
    return look_cost(leaf) if isinstance(leaf, IndexedLeaf) else _NUMBER


def _reads_path(leaf: bound.Constant | bound.Leaf) -> bool:
    if isinstance(leaf, bound.MembershipMatch):
        return isinstance(leaf.operand, bound.Path)
    return isinstance(leaf, ValueLeaf) and not isinstance(source_of(leaf), bound.Column | bound.List)


def source_of(leaf: ValueLeaf) -> Source | None:
    """What a leaf reads, where that is a whole field or path: its answer for a row is a matter of that value alone."""
    operand = leaf.operand
    if isinstance(operand, bound.Arithmetic | bound.Shifted):
        operand = operand.operand
    return operand if isinstance(operand, bound.Column | bound.Path | bound.List) else None


def look_cost(leaf: IndexedLeaf) -> float:
    """Nanoseconds a row that it takes, about, to look at the rows."""
    if isinstance(leaf, FieldLeaf):
        return _SHAPE if isinstance(leaf, Spatial) else _WORDS
    operand = leaf.operand
    if isinstance(source_of(leaf), bound.Path):
        return _JSON
    if isinstance(leaf, bound.Contains):
        return _LIST * (len(leaf.values) if leaf.every else 1)
    if isinstance(operand, bound.Arithmetic | bound.Shifted):
        return _ARITHMETIC
    if isinstance(leaf, bound.Like):
        return {Shape.REGEX: _TEXT_REGEX, Shape.INNER: _TEXT_INNER, Shape.EXACT: _TEXT}.get(
            leaf.pattern.shape, _TEXT_PREFIX
        )
    if operand.data_type.is_string:
        return _TEXT_SET if isinstance(leaf, bound.In) else _TEXT
    if isinstance(leaf, bound.In) and isinstance(leaf.members, NumberSet):
        return _membership_cost(leaf.members.values)
    cost = _TWO_NUMBERS if isinstance(leaf, bound.Between) else _NUMBER
    return cost * _NARROWER.get(operand.data_type, 1.0)


def _membership_cost(members: Values) -> float:
    """Members that lie close together are looked up in a table, others hashed or searched for."""
    if len(members) <= _FEW_MEMBERS:
        return _NUMBER * len(members)
    near = members.dtype.kind == "i" and int(members[-1]) - int(members[0]) < _NARROW
    return _TABLE if near else _HASH


# -- other columns ------------------------------------------------------------------------------
class KeyColumns:
    """The distinct values of one field or path as a column of any name: what a leaf says of them it says of every row
    that has them. No key is null."""

    __slots__ = ("_json", "_numbers", "_strings", "rows")

    def __init__(
        self,
        count: int,
        *,
        numbers: npt.NDArray[Any] | None = None,
        strings: pa.Array | None = None,
        json: JsonColumn | None = None,
    ) -> None:
        self.rows = count
        self._numbers = numbers
        self._strings = strings
        self._json = json

    def numbers(self, field: str) -> tuple[npt.NDArray[Any], Mask | None]:
        return self._numbers if self._numbers is not None else self._none(field), None

    def strings(self, field: str) -> pa.Array:
        return self._strings if self._strings is not None else self._none(field)

    def json_path(self, field: str, path: JsonPath) -> JsonColumn:  # noqa: ARG002  # there is but one
        return self._json if self._json is not None else self._none(field)

    def arrays(self, field: str) -> pa.Array:
        return self._none(field)

    def shapes(self, field: str) -> ShapeColumn:
        return self._none(field)

    def words(self, field: str, analyzer: Analyzer) -> WordColumn:  # noqa: ARG002  no key is analysed
        return self._none(field)

    def stored(self, field: str) -> pa.Array:
        return self._none(field)

    def is_valid(self, field: str) -> Mask | None:  # noqa: ARG002  # no key is null
        return None

    def indexes_of(self, field: str) -> tuple[FieldIndex, ...]:  # noqa: ARG002  # keys are looked at
        return ()

    @staticmethod
    def _none(field: str) -> NoReturn:
        raise AssertionError(f"the keys of {field} are of another kind")


class SomeRows:
    """Some rows of other columns, taken field by field as they are asked for: to look at few rows only."""

    __slots__ = ("_columns", "_numbers", "_taken", "rows")

    def __init__(self, columns: Columns, numbers: RowNumbers) -> None:
        self.rows = len(numbers)
        self._columns = columns
        self._numbers = numbers
        self._taken = pa.array(numbers)

    def numbers(self, field: str) -> tuple[npt.NDArray[Any], Mask | None]:
        values, valid = self._columns.numbers(field)
        return values[self._numbers], None if valid is None else valid[self._numbers]

    def strings(self, field: str) -> pa.Array:
        return self._columns.strings(field).take(self._taken)

    def arrays(self, field: str) -> pa.Array:
        return self._columns.arrays(field).take(self._taken)

    def stored(self, field: str) -> pa.Array:
        return self._columns.stored(field).take(self._taken)

    def json_path(self, field: str, path: JsonPath) -> JsonColumn:
        return JsonColumn.from_rows(self.stored(field), path)

    def shapes(self, field: str) -> ShapeColumn:
        return ShapeColumn.from_texts(self.stored(field))

    def words(self, field: str, analyzer: Analyzer) -> WordColumn:
        return WordColumn.from_texts(self.stored(field), analyzer)

    def is_valid(self, field: str) -> Mask | None:
        valid = self._columns.is_valid(field)
        return None if valid is None else valid[self._numbers]

    def indexes_of(self, field: str) -> tuple[FieldIndex, ...]:  # noqa: ARG002  # few rows are looked at
        return ()
