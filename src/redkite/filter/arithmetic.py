"""Binding of arithmetic: constants fold, and one field meets one constant in one operation."""

from __future__ import annotations

from redkite.errors import InvalidParameter
from redkite.filter import bound
from redkite.filter.constants import ConstantError, Value, fold_arithmetic, is_number, not_numbers
from redkite.filter.literals import fits_int64
from redkite.filter.moments import bind_shift, is_time
from redkite.filter.scope import Scope, Term
from redkite.filter.syntax import Binary, Operator, Template, Unary
from redkite.model.types import DataType

_COMMUTATIVE = (Operator.ADD, Operator.MUL, Operator.BIT_AND, Operator.BIT_OR, Operator.BIT_XOR)
_OPERANDS = bound.Column | bound.Element | bound.Path | bound.List | bound.Length | bound.Arithmetic


def bind_binary(scope: Scope, node: Binary, left: Term, right: Term) -> Term:
    operator = node.operator
    if operator in (Operator.SHL, Operator.SHR):
        raise scope.error("shift is not supported", node)
    if is_time(left) or is_time(right):
        return bind_shift(scope, node, left, right)
    if isinstance(left, Value) and isinstance(right, Value):
        if left.template or right.template:
            detail = f"placeholder was not supported between two constants with operator: {operator}"
            raise scope.error(detail, node)
        try:
            return Value(fold_arithmetic(operator, left.value, right.value))
        except ConstantError as error:
            raise scope.error(str(error), node) from None
    if operator is Operator.POW:
        raise scope.error("power can only apply on constants", node)
    if isinstance(left, Value):
        operand, constant = right, left
    elif isinstance(right, Value):
        operand, constant = left, right
    elif isinstance(left, _OPERANDS) and isinstance(right, _OPERANDS):
        raise scope.error("not supported to do arithmetic operations between multiple fields", node)
    else:
        raise scope.error(not_numbers(operator), node)
    if isinstance(operand, bound.Arithmetic | bound.Length):
        raise scope.error("complicated arithmetic operations are not supported", node)
    if not isinstance(operand, bound.Column | bound.Element | bound.Path):
        raise scope.error(not_numbers(operator), node)
    if constant is left and operator not in _COMMUTATIVE:
        raise scope.error("module field is not yet supported", node, "write the field on the left side")
    return _one_operation(scope, node, operand, constant)


def _one_operation(
    scope: Scope, node: Binary, operand: bound.Column | bound.Element | bound.Path, given: Value
) -> bound.Arithmetic:
    operator, constant, data_type = node.operator, given.value, operand.data_type
    if not (data_type is DataType.JSON or data_type.is_number) or not is_number(constant):
        raise scope.error(not_numbers(operator), node)
    assert isinstance(constant, int | float)
    scope.check_range(constant, DataType.INT64, node)
    whole = isinstance(constant, int) and not data_type.is_float
    if operator is Operator.MOD and not whole:
        raise scope.error("modulo can only apply on integer types", node)
    if operator.is_bitwise and not whole:
        raise scope.error("bitwise operations can only apply on integer types", node)
    if data_type.is_integer and isinstance(constant, float):
        raise _mixed(scope, node, data_type)
    if operator in (Operator.DIV, Operator.MOD) and constant == 0:
        raise scope.error("division or modulus by zero", node)
    result = DataType.INT64 if data_type.is_integer else DataType.DOUBLE if data_type.is_float else DataType.JSON
    return bound.Arithmetic(operand, operator, constant, result)


def _mixed(scope: Scope, node: Binary, data_type: DataType) -> InvalidParameter:
    label = node.operator.label
    return scope.error(f"'{label}' cannot perform arithmetic between {data_type.wire_name} field and Double", node)


def bind_unary(scope: Scope, node: Unary, operand: Term) -> Value:
    if node.operator == "~":
        raise scope.error("unary operator ~ is not supported", node)
    if not isinstance(operand, Value) or isinstance(node.operand, Template):
        raise scope.error(f"unary operator {node.operator} can only be applied on constants", node)
    number = operand.value
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise scope.error(f"unary operator {node.operator} can only be applied on numbers", node)
    if node.operator == "-":
        number = -number
        if isinstance(number, int) and not fits_int64(number):
            raise scope.error("the result of '-' is out of range", node)
    return Value(number)
