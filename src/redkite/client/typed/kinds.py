"""Python types as field types: what a field of a model is stored as, and how a column of it goes in and comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, is_typeddict
from uuid import UUID

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from redkite.client.typed.marks import BM25, Array, Embedded, Index, Sparse, Varchar, Vector
from redkite.client.values import loads, numpy_column, python_values
from redkite.errors import DataNotMatchException, ParamError
from redkite.model.types import DataType

Encode = Callable[[list[Any]], Any]
"""The values of one field of many models -> a column that a write takes."""
Decode = Callable[[pa.Array], list[Any]]
"""A stored column -> the values for as many models."""
T = TypeVar("T")

_SCALARS: dict[object, DataType] = {
    bool: DataType.BOOL, int: DataType.INT64, float: DataType.DOUBLE, str: DataType.VARCHAR,
    datetime: DataType.TIMESTAMPTZ,
}  # fmt: skip
_STORABLE: dict[DataType, frozenset[DataType]] = {
    DataType.INT64: frozenset({DataType.INT8, DataType.INT16, DataType.INT32, DataType.INT64}),
    DataType.DOUBLE: frozenset({DataType.FLOAT, DataType.DOUBLE}),
    DataType.VARCHAR: frozenset({DataType.VARCHAR, DataType.TEXT, DataType.GEOMETRY, DataType.TIMESTAMPTZ}),
}
"""Which narrower type a field may say it wants: `Annotated[int, DataType.INT8]`."""
_UUID_BYTES = 36
_FITTING: dict[type, Callable[[DataType], bool]] = {
    Varchar: lambda kind: kind is DataType.VARCHAR,
    BM25: lambda kind: kind.is_string,
    Array: lambda kind: kind is DataType.ARRAY,
    Vector: lambda kind: kind.is_vector and kind is not DataType.SPARSE_FLOAT_VECTOR,
    Sparse: lambda kind: kind is DataType.SPARSE_FLOAT_VECTOR,
    Embedded: lambda kind: kind.is_vector,
    Index: lambda kind: not kind.is_vector,
}
"""Which fields a mark says something about."""


@dataclasses.dataclass(frozen=True, slots=True)
class Kind:
    """How one field is stored."""

    data_type: DataType
    element: DataType | None = None
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    encode: Encode | None = None
    """None: as it is."""
    decode: Decode | None = None
    """None: as `python_values` has it."""


def mark_of(marks: Sequence[object], wanted: type[T]) -> T | None:
    """The mark of a kind, if the field has it."""
    return next((mark for mark in marks if isinstance(mark, wanted)), None)


def without_none(annotation: Any) -> tuple[Any, bool]:
    """(the type, whether None is allowed beside it)"""
    if get_origin(annotation) in (Union, UnionType):
        others = tuple(one for one in get_args(annotation) if one is not NoneType)
        if len(others) < len(get_args(annotation)):
            return (others[0] if len(others) == 1 else Union[others]), True  # noqa: UP007  made of values
    return annotation, annotation is NoneType


def kind_of(annotation: Any, marks: Sequence[object], name: str, *, validated: bool) -> Kind:
    """How a field of this type and with these marks is stored.

    `validated`: the model itself makes its field values of JSON's. Raises ParamError where it cannot be stored.
    """
    kind = _kind_of(annotation, marks, name, validated=validated)
    for mark in marks:
        for named, fits in _FITTING.items():
            if isinstance(mark, named) and not fits(kind.data_type):
                raise ParamError(f"field `{name}`: {type(mark).__name__} says nothing about a {kind.data_type.name}")
    return kind


def _kind_of(annotation: Any, marks: Sequence[object], name: str, *, validated: bool) -> Kind:
    wanted = mark_of(marks, DataType)
    vector = mark_of(marks, Vector)
    if vector is not None:
        return _vector(annotation, vector, name)
    if mark_of(marks, Sparse) is not None:
        if (get_origin(annotation) or annotation) is not dict:
            raise ParamError(f"field `{name}`: a sparse vector is a dict[int, float], not {_shown(annotation)}")
        return Kind(DataType.SPARSE_FLOAT_VECTOR, decode=_sparse)
    if _is_array(annotation) and wanted is not DataType.JSON:
        return _array(annotation, mark_of(marks, Array), name)
    if wanted is DataType.JSON or _is_json(annotation):
        return Kind(DataType.JSON, encode=partial(_dump, name), decode=partial(_load, name, annotation, validated))
    kind = _scalar(annotation, name)
    if wanted is not None:
        if wanted not in _STORABLE.get(kind.data_type, frozenset({kind.data_type})):
            raise ParamError(f"field `{name}`: a {_shown(annotation)} cannot be stored as {wanted.name}")
        kind = dataclasses.replace(kind, data_type=wanted)
    varchar = mark_of(marks, Varchar)
    if kind.data_type is DataType.VARCHAR and (varchar is not None or not kind.params):
        varchar = varchar or Varchar()
        kind = dataclasses.replace(kind, params={"max_length": varchar.max_length})
    return kind


def _shown(annotation: Any) -> str:
    return getattr(annotation, "__name__", None) or str(annotation)


# -- scalars ------------------------------------------------------------------------------------
def _scalar(annotation: Any, name: str) -> Kind:
    if annotation in _SCALARS:
        kind = _SCALARS[annotation]
        return Kind(kind, decode=_moments if kind is DataType.TIMESTAMPTZ else None)
    if annotation is UUID:
        encode = _each(partial(_uuid, name))
        return Kind(DataType.VARCHAR, params={"max_length": _UUID_BYTES}, encode=encode, decode=_decoding(UUID))
    if get_origin(annotation) is Literal:
        kinds = set(map(type, get_args(annotation)))
        if len(kinds) == 1 and (only := kinds.pop()) in _SCALARS:
            return Kind(_SCALARS[only])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        kinds = {type(member.value) for member in annotation}
        if len(kinds) == 1 and (only := kinds.pop()) in _SCALARS:
            encode = _each(partial(_value, name, annotation))
            return Kind(_SCALARS[only], encode=encode, decode=_decoding(annotation))
    raise ParamError(
        f"field `{name}`: a {_shown(annotation)} is no type of a field; there are int, float, bool, str, datetime, "
        "UUID, enumerations, list, dict, classes (as JSON), and Vector and Sparse as marks"
    )


def _value(name: str, kind: type[Enum], member: Any) -> Any:
    """What is no member would be stored, and could then never be read."""
    if isinstance(member, kind):
        return member.value
    try:
        return kind(member).value
    except ValueError as error:
        raise DataNotMatchException(f"field `{name}`: {error}") from None


def _uuid(name: str, value: Any) -> str:
    if isinstance(value, UUID):
        return str(value)
    try:
        return str(UUID(value))
    except (AttributeError, TypeError, ValueError):
        raise DataNotMatchException(f"field `{name}`: {value!r:.80} is no UUID") from None


def _each(change: Callable[[Any], Any]) -> Encode:
    return lambda values: [None if value is None else change(value) for value in values]


def _decoding(change: Callable[[Any], Any]) -> Decode:
    return lambda column: [None if value is None else change(value) for value in column.to_pylist()]


def _moments(column: pa.Array) -> list[Any]:
    texts = python_values(column, DataType.TIMESTAMPTZ)
    return [None if text is None else datetime.fromisoformat(text) for text in texts]


# -- arrays and vectors -------------------------------------------------------------------------
def _is_array(annotation: Any) -> bool:
    return get_origin(annotation) is list and get_args(annotation)[:1] in ((bool,), (int,), (float,), (str,))


def _array(annotation: Any, mark: Array | None, name: str) -> Kind:
    mark = mark or Array()
    (element,) = get_args(annotation)
    params: dict[str, Any] = {"max_capacity": mark.capacity}
    if element is str:
        params["max_length"] = mark.max_length
    if mark.capacity < 1:
        raise ParamError(f"field `{name}`: an array of capacity {mark.capacity} holds nothing")
    return Kind(DataType.ARRAY, element=_SCALARS[element], params=params)


def _vector(annotation: Any, mark: Vector, name: str) -> Kind:
    kind = DataType.BINARY_VECTOR if annotation is bytes else mark.type
    if not kind.is_vector or kind in (DataType.SPARSE_FLOAT_VECTOR, DataType._ARRAY_OF_VECTOR):
        raise ParamError(f"field `{name}`: {kind.name} is no dense vector")
    if annotation is bytes:
        decode: Decode = _bytes
    elif annotation is np.ndarray or get_origin(annotation) is np.ndarray:
        decode = partial(_arrays, kind)
    elif get_origin(annotation) is list or annotation is list:
        decode = partial(_numbers, kind)
    else:
        raise ParamError(f"field `{name}`: a vector is a list[float], a numpy array or bytes, not {_shown(annotation)}")
    return Kind(kind, params={"dim": mark.dim}, decode=decode)


def _rows(column: pa.Array, values: Sequence[Any]) -> list[Any]:
    """One value per row, None where the column has none."""
    rows = list(values)
    if column.null_count:
        for at in np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False)):
            rows[at] = None
    return rows


def _arrays(kind: DataType, column: pa.Array) -> list[Any]:
    return _rows(column, numpy_column(column, kind))  # type: ignore[arg-type]  # a matrix is a sequence of its rows


def _numbers(kind: DataType, column: pa.Array) -> list[Any]:
    matrix = numpy_column(column, kind)
    if kind is DataType.BFLOAT16_VECTOR and matrix.dtype == np.uint16:
        from redkite.model.halves import from_bfloat16

        matrix = from_bfloat16(matrix)
    return _rows(column, matrix.tolist())


def _bytes(column: pa.Array) -> list[Any]:
    return list(column.to_pylist())


def _sparse(column: pa.Array) -> list[Any]:
    return python_values(column, DataType.SPARSE_FLOAT_VECTOR)


# -- JSON ---------------------------------------------------------------------------------------
_FIELDS = ("__dataclass_fields__", "__struct_fields__", "model_fields")
"""Where classes of objects have the names of their fields."""


def _is_json(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    if annotation is Any or origin in (dict, list, tuple, Union, UnionType, Mapping, Sequence):
        return True
    return is_typeddict(annotation) or _is_record(annotation)


def _is_record(annotation: Any) -> bool:
    """Whether it is a class that can be made of a JSON object: a dataclass, a struct of msgspec, a pydantic model."""
    if not isinstance(annotation, type):
        return False
    return any(hasattr(annotation, told) for told in (*_FIELDS, "model_validate"))


def _plain(value: Any) -> Any:
    """What JSON does not know by itself."""
    dump = getattr(value, "model_dump", None)
    return dump(mode="json") if dump is not None else msgspec.to_builtins(value)


def _dump(name: str, values: list[Any]) -> pa.Array:
    """Raises DataNotMatchException also for NaN and infinity, which orjson makes nulls of: an object with a number in
    that place could never be made again."""
    option = orjson.OPT_SERIALIZE_NUMPY
    try:
        texts = [None if v is None else orjson.dumps(v, default=_plain, option=option) for v in values]
    except TypeError as error:
        raise DataNotMatchException(f"a value of field `{name}` is not JSON: {error}") from error
    for value, text in zip(values, texts, strict=True):
        if text is not None and b"null" in text and not _is_finite(value):
            raise DataNotMatchException(f"a value of field `{name}` is not JSON: it holds a number that is not finite")
    return pa.array(texts, pa.binary())


def _is_finite(value: Any) -> bool:
    """Whether every number in a value is."""
    if isinstance(value, float | np.floating):
        return bool(np.isfinite(value))
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_finite, value))
    if isinstance(value, np.ndarray):
        return value.dtype.kind != "f" or bool(np.isfinite(value).all())
    names = next((getattr(value, told) for told in _FIELDS if hasattr(value, told)), ())
    return all(_is_finite(getattr(value, name, None)) for name in names)


def _load(name: str, annotation: Any, validated: bool, column: pa.Array) -> list[Any]:
    values = [None if text is None else loads(text) for text in column.to_pylist()]
    if validated or annotation in (dict, list, Any):
        return values
    if hasattr(annotation, "model_validate"):
        return [None if value is None else annotation.model_validate(value) for value in values]
    wanted = list[Union[annotation, None]]  # noqa: UP007  made of a value
    try:
        made: list[Any] = msgspec.convert(values, wanted, dec_hook=_made)
    except msgspec.ValidationError as error:
        raise DataNotMatchException(f"what is stored in field `{name}` is no {_shown(annotation)}: {error}") from error
    return made


def _made(kind: Any, value: Any) -> Any:
    """What msgspec does not make by itself: a pydantic model within something else."""
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    raise NotImplementedError(f"{kind} is no type of a JSON value")
