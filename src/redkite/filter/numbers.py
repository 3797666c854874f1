"""Comparison, membership and arithmetic over numpy columns. Results are fresh arrays the caller may write."""

from __future__ import annotations

import math
import operator as python_operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from redkite.filter.syntax import Comparison, Operator

Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[Any]

_UFUNCS: dict[Comparison, np.ufunc] = {
    Comparison.EQ: np.equal, Comparison.NE: np.not_equal, Comparison.LT: np.less, Comparison.LE: np.less_equal,
    Comparison.GT: np.greater, Comparison.GE: np.greater_equal,
}  # fmt: skip
_BELOW = (Comparison.LT, Comparison.LE, Comparison.NE)
_ABOVE = (Comparison.GT, Comparison.GE, Comparison.NE)
_FEW = 6
"""Up to this many members are compared one by one."""
_TABLE = 1 << 22
"""Widest range of members that is looked up in a table of booleans."""


def compare(values: Values, operator: Comparison, constant: bool | int | float) -> Mask:
    """`values operator constant`, exact whatever the two number types: no integer is rounded to be compared.

    FLOAT columns (float32) compare with the constant rounded to float32, as they hold rounded values themselves.
    """
    reduced = against(operator, constant, values.dtype)
    if isinstance(reduced, bool):
        return np.full(len(values), reduced)
    operator, scalar = reduced
    result: Mask = _UFUNCS[operator](values, scalar)
    return result


def against(
    operator: Comparison, constant: bool | int | float, dtype: np.dtype[Any]
) -> bool | tuple[Comparison, np.generic]:
    """The comparison of values of `dtype` that means `value operator constant`; or the answer, when all values have the
    same one."""
    if dtype.kind in "iu":
        return _against_integers(operator, constant, dtype)
    if dtype.kind == "f":
        return _against_floats(operator, constant, dtype)
    return operator, np.bool_(constant)


def compare_columns(left: Values, operator: Comparison, right: Values) -> Mask:
    """`left operator right`, row by row."""
    result: Mask = _UFUNCS[operator](left, right)
    return result


def between(values: Values, low: int | float, high: int | float, inclusive: tuple[bool, bool]) -> Mask:
    """`low < values < high`, each bound as inclusive as said."""
    mask = compare(values, Comparison.GE if inclusive[0] else Comparison.GT, low)
    mask &= compare(values, Comparison.LE if inclusive[1] else Comparison.LT, high)
    return mask


def _against_integers(
    operator: Comparison, constant: int | float, dtype: np.dtype[Any]
) -> bool | tuple[Comparison, np.generic]:
    if isinstance(constant, float):
        if math.isnan(constant):
            return operator is Comparison.NE
        if math.isinf(constant):
            return operator in (_BELOW if constant > 0 else _ABOVE)
        if not constant.is_integer():
            if operator.is_equality:
                return operator is Comparison.NE
            if operator in (Comparison.LT, Comparison.LE):
                operator, constant = Comparison.LE, math.floor(constant)
            else:
                operator, constant = Comparison.GE, math.ceil(constant)
        constant = int(constant)
    limits = np.iinfo(dtype)
    if constant > limits.max:
        return operator in _BELOW
    if constant < limits.min:
        return operator in _ABOVE
    return operator, dtype.type(constant)


def _against_floats(
    operator: Comparison, constant: int | float, dtype: np.dtype[Any]
) -> bool | tuple[Comparison, np.generic]:
    if dtype.itemsize < 8:
        with np.errstate(over="ignore"):
            return operator, dtype.type(constant)
    nearest = float(constant)
    if not isinstance(constant, float) and int(nearest) != constant:
        # No double equals this integer: `nearest` is its neighbour on one side, and none lies between the two.
        if operator.is_equality:
            return operator is Comparison.NE
        if operator in (Comparison.LT, Comparison.LE):
            operator = Comparison.LT if nearest > constant else Comparison.LE
        else:
            operator = Comparison.GE if nearest > constant else Comparison.GT
    return operator, np.float64(nearest)


class NumberSet:
    """Numbers prepared for many membership tests: immutable, shared by every segment a filter runs on."""

    __slots__ = ("_arrow", "_sorted", "_table")

    def __init__(self, members: Iterable[int | float], dtype: npt.DTypeLike) -> None:
        """`dtype` is int64 or a float type; every member must be one of its values."""
        self._sorted: Values = _distinct(np.fromiter(members, dtype))
        self._table: Mask | None = None
        self._arrow: pa.Array | None = None
        count = len(self._sorted)
        if self._sorted.dtype.kind != "i" or count <= _FEW:
            return
        span = int(self._sorted[-1]) - int(self._sorted[0])
        if span < _TABLE:
            self._table = np.zeros(span + 1, np.bool_)
            self._table[self._sorted - self._sorted[0]] = True
        else:
            self._arrow = pa.array(self._sorted)

    def __len__(self) -> int:
        return len(self._sorted)

    @property
    def values(self) -> Values:
        """The members, ascending and distinct."""
        return self._sorted

    def has_between(self, low: int | float, high: int | float) -> bool:
        """Whether a member lies between two values, both included."""
        members = self._sorted
        first, last = np.searchsorted(members, low, "left"), np.searchsorted(members, high, "right")
        return bool(first < last)

    def mask(self, values: Values) -> Mask:
        """(rows,) True where the value is a member."""
        if len(self._sorted) <= _FEW:
            return self._one_by_one(values)
        if values.dtype.kind != self._sorted.dtype.kind:
            raise AssertionError("a number set answers for the kind of numbers it was made for")
        if self._table is not None:
            return self._by_table(values)
        if self._arrow is not None:
            return unpack(pc.is_in(pa.array(values.astype(np.int64, copy=False)), value_set=self._arrow))
        places = np.searchsorted(self._sorted, values)
        places[places == len(self._sorted)] = 0
        result: Mask = self._sorted[places] == values
        return result

    def _one_by_one(self, values: Values) -> Mask:
        mask = np.zeros(len(values), np.bool_)
        for member in self._sorted.tolist():
            mask |= compare(values, Comparison.EQ, member)
        return mask

    def _by_table(self, values: Values) -> Mask:
        table = self._table
        assert table is not None
        # Wrapping subtraction: what lies below the first member becomes huge, and one comparison bounds both sides.
        places = (values.astype(np.int64, copy=False) - self._sorted[0]).view(np.uint64)
        inside = places < len(table)
        if inside.all():
            found: Mask = np.take(table, places.view(np.int64))
            return found
        np.minimum(places, len(table) - 1, out=places)
        inside &= np.take(table, places.view(np.int64))
        result: Mask = inside
        return result


def _distinct(values: Values) -> Values:
    """Each value once, ascending; numpy's `unique` hashes integers, which takes many times as long as sorting them."""
    ordered = np.sort(values)
    if not len(ordered):
        return ordered
    kept: Values = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    return kept


def settled(mask: Mask, negated: bool, valid: Mask | None) -> Mask:
    """The mask of a leaf from the mask of its test: turned round when negated, False where NULL."""
    if negated:
        np.logical_not(mask, out=mask)
    if valid is not None:
        mask &= valid
    return mask


def unpack(array: pa.Array, negated: bool = False) -> Mask:
    """An Arrow boolean column as a mask: True where it is true (or, negated, false), False where it is null."""
    bits, rows, start = array.buffers()[1], len(array), array.offset
    mask = _unpack_bits(bits, start, rows) if rows else np.zeros(0, np.bool_)
    if negated:
        np.logical_not(mask, out=mask)
    if array.null_count:
        mask &= valid_rows(array)
    return mask


def valid_rows(array: pa.Array) -> Mask:
    """(rows,) True where the column is not null."""
    bits = array.buffers()[0]
    if bits is None:
        return np.full(len(array), array.null_count == 0)
    return _unpack_bits(bits, array.offset, len(array))


def _unpack_bits(bits: pa.Buffer, start: int, rows: int) -> Mask:
    first = start // 8
    packed = np.frombuffer(bits, np.uint8)[first : (start + rows + 7) // 8]
    mask = np.unpackbits(packed, bitorder="little").view(np.bool_)
    return mask[start - 8 * first :][:rows]


def arithmetic(values: Values, operator: Operator, constant: int | float) -> Values:
    """`values operator constant` as int64 (which wraps around) or as doubles.

    Integers divide towards zero and their remainder has the sign of the dividend, as in C; bit operators want integers.
    """
    if values.dtype.kind == "f" or isinstance(constant, float):
        return _on_doubles(values.astype(np.float64, copy=False), operator, float(constant))
    column = values.astype(np.int64, copy=False)
    if operator is Operator.DIV:
        return _divide(column, constant)
    function = _INTEGER_OPERATORS[operator]
    with np.errstate(over="ignore"):
        result: Values = function(column, np.int64(constant))
    return result


def _on_doubles(values: Values, operator: Operator, constant: float) -> Values:
    with np.errstate(over="ignore", invalid="ignore"):
        result: Values = _DOUBLE_OPERATORS[operator](values, constant)
    return result


def _divide(column: Values, constant: int) -> Values:
    if constant == -1:
        # The one quotient int64 cannot hold wraps, without the warning a division would give.
        result: Values = np.negative(column)
        return result
    remainder = np.fmod(column, np.int64(constant))
    quotient: Values = (column - remainder) // np.int64(constant)
    return quotient


_INTEGER_OPERATORS: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.ADD: np.add, Operator.SUB: np.subtract, Operator.MUL: np.multiply, Operator.MOD: np.fmod,
    Operator.BIT_AND: np.bitwise_and, Operator.BIT_OR: np.bitwise_or, Operator.BIT_XOR: np.bitwise_xor,
}  # fmt: skip
_DOUBLE_OPERATORS: dict[Operator, Callable[[Any, Any], Any]] = {
    Operator.ADD: python_operator.add, Operator.SUB: python_operator.sub, Operator.MUL: python_operator.mul,
    Operator.DIV: python_operator.truediv,
}  # fmt: skip
