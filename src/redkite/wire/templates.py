"""Values for the `{name}` places of a filter: the protocol's typed values to and from Python's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from redkite.errors import InvalidParameter

_MAX_INT64 = 1 << 63
_EXACT = 1 << 53
"""Whole numbers up to it are floats without loss."""
_MAX_DEPTH = 64


def read_templates(values: Any) -> dict[str, Any]:
    """`expr_template_values` -> names and Python values: bool, int, float, str, bytes or (nested) lists of them."""
    return {name: _read_value(name, value) for name, value in values.items()}


def _read_value(name: str, value: Any) -> Any:
    slot = value.WhichOneof("val")
    if slot is None:
        raise InvalidParameter(f"the value of template variable {name} is empty")
    return _read_array(name, value.array_val) if slot == "array_val" else getattr(value, slot)


def _read_array(name: str, array: Any) -> list[Any]:
    slot = array.WhichOneof("data")
    if slot is None:
        return []
    data = getattr(array, slot).data
    if slot == "array_data":
        return [_read_array(name, item) for item in data]
    if slot == "json_data":
        return [_read_json(name, item) for item in data]
    return list(data)


def _read_json(name: str, text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidParameter(f"the value of template variable {name} is not JSON: {error}") from None


def write_templates(out: Any, values: Mapping[str, Any]) -> None:
    """Python values -> the entries of an `expr_template_values` map."""
    for name, value in values.items():
        _write_value(out[name], name, value)


def _write_value(out: Any, name: str, value: Any) -> None:
    if isinstance(value, bool):
        out.bool_val = value
    elif isinstance(value, int):
        out.int64_val = _checked(name, value)
    elif isinstance(value, float):
        out.float_val = value
    elif isinstance(value, str):
        out.string_val = value
    elif isinstance(value, bytes):
        out.bytes_val = value
    elif isinstance(value, (list, tuple)):
        out.array_val.SetInParent()
        _write_array(out.array_val, name, value, 0)
    else:
        raise InvalidParameter(f"template variable {name} cannot hold a {type(value).__name__}")


def _write_array(out: Any, name: str, items: list[Any] | tuple[Any, ...], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidParameter(f"the value of template variable {name} is nested too deep")
    kinds = {type(item) for item in items}
    if kinds == {bool}:
        out.bool_data.data.extend(items)
    elif kinds == {int}:
        out.long_data.data.extend([_checked(name, item) for item in items])
    elif kinds and kinds <= {int, float} and all(-_EXACT <= item <= _EXACT for item in items if type(item) is int):
        out.double_data.data.extend(items)
    elif kinds == {str}:
        out.string_data.data.extend(items)
    elif kinds and kinds <= {list, tuple}:
        for item in items:
            inner = out.array_data.data.add()
            _write_array(inner, name, item, depth + 1)
    elif kinds:
        out.json_data.data.extend(_write_json(name, item) for item in items)


def _write_json(name: str, item: Any) -> bytes:
    try:
        return msgspec.json.encode(item)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameter(f"template variable {name} holds a value that is not JSON: {error}") from None


def _checked(name: str, value: int) -> int:
    if not -_MAX_INT64 <= value < _MAX_INT64:
        raise InvalidParameter(f"template variable {name} holds {value}, which does not fit 64 bits")
    return value
