"""Classes as models: which fields they have, and how objects of them are made. Dataclasses, structs of msgspec and
pydantic models are told apart by what they carry, so that no library is imported for it."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redkite.errors import ParamError

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True)
class ModelField:
    """One field as the class declares it."""

    name: str
    annotation: Any
    """With its marks."""
    has_default: bool
    argument: str
    """What the constructor calls it."""


@dataclass(frozen=True, slots=True)
class Model:
    """A class, and how many objects of it are made at once."""

    fields: tuple[ModelField, ...]
    validates: bool
    """It makes its field values out of JSON's itself."""
    make: Callable[[Sequence[str], Sequence[Sequence[Any]], int], list[Any]]
    """(constructor arguments, a column for each, rows) -> objects"""


def model_of(cls: type) -> Model:
    """Read a class. Raises ParamError for one that is no model, or whose annotations cannot be resolved."""
    if not isinstance(cls, type):
        raise ParamError(f"a model is a class, not {cls!r}")
    if hasattr(cls, "model_fields") and hasattr(cls, "model_validate"):
        return _of_pydantic(cls)
    if dataclasses.is_dataclass(cls):
        return _of_dataclass(cls)
    if hasattr(cls, "__struct_fields__"):
        return _of_struct(cls)
    raise ParamError(
        f"{cls.__name__} is neither a dataclass nor a pydantic model nor a msgspec.Struct: decorate it with @dataclass"
    )


def collection_name(cls: type) -> str:
    """`BlueBird` is `blue_bird`."""
    return _CAMEL.sub("_", cls.__name__).lower()


def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise ParamError(
            f"{cls.__name__}: {error}. Where annotations are texts (`from __future__ import annotations`), what they "
            "name must be known at the top of the module"
        ) from error


def _of_pydantic(cls: Any) -> Model:
    hints = _hints(cls)
    fields = []
    for name, info in cls.model_fields.items():
        alias = info.validation_alias if isinstance(info.validation_alias, str) else info.alias
        by_name = cls.model_config.get("populate_by_name") or cls.model_config.get("validate_by_name")
        argument = name if by_name or not isinstance(alias, str) else alias
        fields.append(ModelField(name, hints[name], not info.is_required(), argument))

    def make(names: Sequence[str], columns: Sequence[Sequence[Any]], rows: int) -> list[Any]:
        validate = cls.model_validate
        if not columns:
            return [validate({}) for _ in range(rows)]
        return [validate(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    return Model(tuple(fields), True, make)


def _of_dataclass(cls: Any) -> Model:
    hints = _hints(cls)
    missing = dataclasses.MISSING
    given = [field for field in dataclasses.fields(cls) if field.init]
    fields = tuple(
        ModelField(
            field.name, hints[field.name], field.default is not missing or field.default_factory is not missing,
            field.name,
        )
        for field in given
    )  # fmt: skip
    in_order = [field.name for field in given if not field.kw_only]
    return Model(fields, False, _constructor(cls, in_order))


def _of_struct(cls: Any) -> Model:
    import msgspec

    hints = _hints(cls)
    fields = tuple(
        ModelField(field.name, hints[field.name], not field.required, field.name)
        for field in msgspec.structs.fields(cls)
    )
    return Model(fields, False, _constructor(cls, cls.__match_args__))


def _constructor(
    cls: Any, in_order: Sequence[str]
) -> Callable[[Sequence[str], Sequence[Sequence[Any]], int], list[Any]]:
    """Objects by position where the columns are the first arguments of the constructor: no dict for each row then."""

    def make(names: Sequence[str], columns: Sequence[Sequence[Any]], rows: int) -> list[Any]:
        if not columns:
            return [cls() for _ in range(rows)]
        if list(names) == list(in_order[: len(names)]):
            return list(map(cls, *columns))
        return [cls(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    return make
