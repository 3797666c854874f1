"""What the binder knows of constants: their types, how they are shown, how they fold."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from redkite.filter.bound import JsonScalar, JsonValue
from redkite.filter.literals import fits_int64, fits_json
from redkite.filter.syntax import Comparison, Operator
from redkite.model.types import DataType


class ConstantError(ValueError):
    """Constants that cannot be combined or used; its text is the detail of the error."""


class Value(msgspec.Struct, frozen=True):
    """A constant of the filter; `template` names the parameter it came from."""

    value: JsonValue
    template: str = ""

    @property
    def type_name(self) -> str:
        return type_of(self.value).wire_name


class Moment(msgspec.Struct, frozen=True):
    """A time: UTC microseconds."""

    micros: int
    data_type: DataType = DataType.TIMESTAMPTZ


def type_of(value: JsonValue) -> DataType:
    if isinstance(value, bool):
        return DataType.BOOL
    if isinstance(value, int):
        return DataType.INT64
    if isinstance(value, float):
        return DataType.DOUBLE
    return DataType.VARCHAR if isinstance(value, str) else DataType.ARRAY


def is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: JsonValue) -> str:
    """A constant as error texts of Milvus show it."""
    if isinstance(value, bool):
        return f"bool_val:{str(value).lower()}"
    if isinstance(value, int):
        return f"int64_val:{value}"
    if isinstance(value, float):
        return f"float_val:{value:g}"
    if isinstance(value, str):
        return f'string_val:"{value[:100]}"'
    return f"array_val of {len(value)} elements"


def cast(value: JsonValue, data_type: DataType) -> JsonScalar | None:
    """The constant as a value a field of the type compares with; None when it has no such value."""
    if isinstance(value, list):
        return None
    if data_type is DataType.JSON:
        return value
    if data_type is DataType.BOOL:
        return value if isinstance(value, bool) else None
    if isinstance(value, bool):
        return None
    if data_type.is_integer or data_type is DataType.TIMESTAMPTZ:
        return value if isinstance(value, int) else None
    if data_type.is_float:
        return value if isinstance(value, int | float) else None
    return value if data_type.is_string and isinstance(value, str) else None


def out_of_range(value: JsonValue, data_type: DataType) -> str | None:
    """What is wrong with an integer that only JSON can hold, where a `data_type` is wanted; None when nothing is."""
    beyond = type(value) is int and data_type is not DataType.JSON and not fits_int64(value)
    return f"integer {value} is out of range of Int64" if beyond else None


def from_parameter(name: str, given: Any, depth: int = 0) -> JsonValue:
    """A template's value as plain Python. Raises ConstantError for what no filter can hold."""
    if isinstance(given, np.generic | np.ndarray):
        given = given.tolist()
    if given is None:
        raise ConstantError(f"expression template variable value is nil, template name: {{{name}}}")
    if isinstance(given, bool | float):
        return given
    if isinstance(given, int):
        if not fits_json(given):
            raise ConstantError(f"the value of expression template variable {{{name}}} is out of range of Int64")
        return int(given)
    if isinstance(given, str):
        if not given.isascii():
            check_text(given)
        return given
    if isinstance(given, list | tuple | set | frozenset) and depth < 64:
        return [from_parameter(name, item, depth + 1) for item in given]
    raise ConstantError(
        f"the value of expression template variable {{{name}}} has an unsupported type: {type(given).__name__}"
    )


def check_text(text: str) -> None:
    """Raises ConstantError for a string that is not Unicode text (it holds half a surrogate pair)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConstantError("string is not valid UTF-8") from None


# -- folding ------------------------------------------------------------------------------------
_COMPARE: dict[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.EQ: lambda a, b: a == b, Comparison.NE: lambda a, b: a != b, Comparison.LT: lambda a, b: a < b,
    Comparison.LE: lambda a, b: a <= b, Comparison.GT: lambda a, b: a > b, Comparison.GE: lambda a, b: a >= b,
}  # fmt: skip


def fold_comparison(operator: Comparison, left: JsonValue, right: JsonValue) -> bool:
    """The answer to a comparison of two constants."""
    alike = type_of(left) is type_of(right) or (is_number(left) and is_number(right))
    if not alike or isinstance(left, list):
        names = type_of(left).wire_name, type_of(right).wire_name
        raise ConstantError(f"comparisons between {names[0]} and {names[1]} are not supported")
    return _COMPARE[operator](left, right)


def in_order(low: JsonScalar, high: JsonScalar, both_inclusive: bool) -> bool:
    """False for a range that no value can be in."""
    return fold_comparison(Comparison.LE if both_inclusive else Comparison.LT, low, high)


def fold_arithmetic(operator: Operator, left: JsonValue, right: JsonValue) -> int | float:
    """The value of an operation on two constants: integers stay integers, and must fit int64."""
    for operand in (left, right):
        if wrong := out_of_range(operand, DataType.INT64):
            raise ConstantError(wrong)
    if isinstance(left, int) and isinstance(right, int) and is_number(left) and is_number(right):
        result = _on_integers(operator, left, right)
    elif isinstance(left, int | float) and isinstance(right, int | float) and is_number(left) and is_number(right):
        result = _on_doubles(operator, float(left), float(right))
    else:
        raise ConstantError(not_numbers(operator))
    in_range = fits_int64(result) if isinstance(result, int) else math.isfinite(result)
    if not in_range:
        raise ConstantError(f"the result of '{operator.label}' is out of range")
    return result


def not_numbers(operator: Operator) -> str:
    if operator.is_bitwise:
        return "bitwise operations can only apply on integer types"
    return f"'{operator.label}' can only be used between integer or floating or json field expressions"


def _on_integers(operator: Operator, left: int, right: int) -> int | float:
    if operator is Operator.POW:
        return _power(left, right)
    if operator in (Operator.DIV, Operator.MOD):
        if right == 0:
            raise ConstantError("division or modulus by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if operator is Operator.DIV else left - quotient * right
    return _INTEGERS[operator](left, right)


def _power(base: int | float, exponent: int | float) -> int | float:
    try:
        approximate = float(base) ** float(exponent)
    except (OverflowError, ZeroDivisionError):
        return math.inf
    if isinstance(approximate, complex):
        return math.nan
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0 and abs(approximate) < 2.0**64:
        return int(base**exponent)
    return float(approximate)


def _on_doubles(operator: Operator, left: float, right: float) -> int | float:
    if operator is Operator.MOD:
        raise ConstantError("modulo can only apply on integer types")
    if operator.is_bitwise:
        raise ConstantError(not_numbers(operator))
    if operator is Operator.POW:
        return _power(left, right)
    if operator is Operator.DIV:
        if right == 0:
            raise ConstantError("division or modulus by zero")
        return left / right
    return _DOUBLES[operator](left, right)


_INTEGERS: dict[Operator, Callable[[int, int], int]] = {
    Operator.ADD: lambda a, b: a + b, Operator.SUB: lambda a, b: a - b, Operator.MUL: lambda a, b: a * b,
    Operator.BIT_AND: lambda a, b: a & b, Operator.BIT_OR: lambda a, b: a | b, Operator.BIT_XOR: lambda a, b: a ^ b,
}  # fmt: skip
_DOUBLES: dict[Operator, Callable[[float, float], float]] = {
    Operator.ADD: lambda a, b: a + b, Operator.SUB: lambda a, b: a - b, Operator.MUL: lambda a, b: a * b,
}  # fmt: skip
