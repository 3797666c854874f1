"""What differs between a model and the collection that is stored under its name?"""

from __future__ import annotations

from collections.abc import Iterator

from redkite.client.schema import CollectionSchema, FieldSchema, Function
from redkite.client.typed.shape import Shape
from redkite.errors import IllegalSchema
from redkite.model import results
from redkite.model.schema import FieldSchema as StoredField
from redkite.model.types import DataType

_PARAMS = ("dim", "max_length", "max_capacity")
_FLAGS = {
    "is_primary": "primary key",
    "auto_id": "auto id",
    "is_partition_key": "partition key",
    "is_clustering_key": "clustering key",
    "nullable": "nullable",
    "is_function_output": "filled by a function",
}


class ModelMismatch(IllegalSchema):
    """The stored collection is not what the model describes."""

    @classmethod
    def of(cls, collection: str, model: str, differences: list[str]) -> ModelMismatch:
        lines = "".join(f"\n  {line}" for line in differences)
        return cls(f"collection {collection} is not a collection of {model}:{lines}")

    @property
    def differences(self) -> list[str]:
        """One line for each."""
        return [line.strip() for line in self.message.splitlines()[1:]]


def check(shape: Shape, name: str, info: results.CollectionInfo, metrics: dict[str, str]) -> None:
    """Raise ModelMismatch where rows of the model would not fit, or would not mean the same.

    Fields that the model does not know are fine where rows may be without them. So are another description, other
    properties, and other indexes as long as their metric is the model's. `metrics`: of each indexed vector field.
    """
    differences = list(_differences(shape, shape.schema(), info, metrics))
    if differences:
        raise ModelMismatch.of(name, shape.cls.__name__, differences)


def _differences(
    shape: Shape, wanted: CollectionSchema, info: results.CollectionInfo, metrics: dict[str, str]
) -> Iterator[str]:
    stored = {field.name: field for field in info.schema.user_fields}
    for field in wanted.fields:
        have = stored.get(field.name)
        if have is None:
            yield f"{field.name}: the model has it ({_shown(field)}), the collection has not"
        else:
            yield from _of_field(field, have)
    names = {field.name for field in wanted.fields}
    for name, have in stored.items():
        if name not in names and not (have.nullable or have.default_value is not None or have.is_function_output):
            yield f"{name}: the collection wants it ({have.data_type.name}), the model does not have it"
    yield from _of_structs(wanted, info)
    known = {struct.name for struct in wanted.struct_fields}
    for struct in info.schema.struct_fields:
        if not struct.nullable and struct.name not in known:
            yield f"{struct.name}: the collection wants it (an array of structs), the model does not have it"
    if wanted.enable_dynamic_field and not info.schema.enable_dynamic_field:
        yield "the model has dynamic keys, the collection has none"
    yield from _of_functions(wanted.functions, info)
    for param in shape.index_params():
        metric = param.get_index_configs().get("metric_type")
        have_metric = metrics.get(param.field_name)
        if metric and have_metric and metric != have_metric:
            yield _unlike(param.field_name, f"metric {metric}", f"metric {have_metric}")


def _of_field(wanted: FieldSchema, have: StoredField) -> Iterator[str]:
    if wanted.dtype is not have.data_type:
        yield _unlike(wanted.name, wanted.dtype.name, have.data_type.name)
        return
    element = wanted.element_type or DataType.NONE
    if element is not have.element_type:
        yield _unlike(wanted.name, f"elements {element.name}", f"elements {have.element_type.name}")
    for param in _PARAMS:
        mine, theirs = wanted.params.get(param), have.params.get(param)
        if mine is not None and theirs is not None and str(mine) != theirs:
            yield _unlike(wanted.name, f"{param}={mine}", f"{param}={theirs}")
    for flag, words in _FLAGS.items():
        if getattr(wanted, flag) and not getattr(have, flag):
            yield _unlike(wanted.name, words, f"not {words}")
        elif getattr(have, flag) and not getattr(wanted, flag):
            yield _unlike(wanted.name, f"not {words}", words)
    if wanted.default_value is not None and wanted.default_value != have.default_value:
        yield _unlike(wanted.name, f"default {wanted.default_value!r}", f"default {have.default_value!r}")


def _unlike(name: str, mine: object, theirs: object) -> str:
    return f"{name}: {mine} in the model, {theirs} in the collection"


def _of_structs(wanted: CollectionSchema, info: results.CollectionInfo) -> Iterator[str]:
    for struct in wanted.struct_fields:
        have = info.schema.struct(struct.name)
        if have is None:
            yield f"{struct.name}: the model has it (an array of structs), the collection has not"
            continue
        mine = {part.name: f"{part.dtype.name} {part.params.get('dim', '')}".strip() for part in struct.fields}
        theirs = {part.sub_name: f"{part.element_type.name} {part.dim or ''}".strip() for part in have.fields}
        for name in dict.fromkeys((*mine, *theirs)):
            if mine.get(name) != theirs.get(name):
                yield _unlike(f"{struct.name}[{name}]", mine.get(name, "absent"), theirs.get(name, "absent"))


def _of_functions(wanted: list[Function], info: results.CollectionInfo) -> Iterator[str]:
    stored = {output: function for function in info.schema.functions for output in function.output_field_names}
    for function in wanted:
        for output in function.output_field_names:
            have = stored.get(output)
            if have is not None and (have.type, list(have.input_field_names)) != (
                function.type, function.input_field_names,
            ):  # fmt: skip
                mine = f"{function.type.name} of {', '.join(function.input_field_names)}"
                yield _unlike(output, mine, f"{have.type.name} of {', '.join(have.input_field_names)}")


def _shown(field: FieldSchema) -> str:
    params = ", ".join(f"{key}={field.params[key]}" for key in _PARAMS if key in field.params)
    return f"{field.dtype.name} {params}".rstrip()
