"""What the functions of a schema may be: their names, and the fields they read and fill."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.rules.numbers import truth
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import DataType, FunctionType

FIRST_FUNCTION_ID = 100
_TITLES = {
    FunctionType.BM25: "BM25", FunctionType.TEXTEMBEDDING: "TextEmbedding", FunctionType.MINHASH: "MinHash",
}  # fmt: skip
"""Of the functions a schema may have, as errors name them."""
_INPUTS = {
    FunctionType.BM25: ("VARCHAR/TEXT", frozenset({DataType.VARCHAR, DataType.TEXT})),
    FunctionType.TEXTEMBEDDING: ("VARCHAR/TEXT", frozenset({DataType.VARCHAR, DataType.TEXT})),
    FunctionType.MINHASH: ("VARCHAR/TEXT", frozenset({DataType.VARCHAR, DataType.TEXT})),
}
_OUTPUTS = {
    FunctionType.BM25: ("SparseFloatVector", frozenset({DataType.SPARSE_FLOAT_VECTOR})),
    FunctionType.TEXTEMBEDDING: (
        "FloatVector or Int8Vector", frozenset({DataType.FLOAT_VECTOR, DataType.INT8_VECTOR}),
    ),
    FunctionType.MINHASH: ("BinaryVector", frozenset({DataType.BINARY_VECTOR})),
}  # fmt: skip


def check_functions(functions: Sequence[FunctionSchema], fields: Iterable[FieldSchema]) -> None:
    """Raise unless the functions fit these fields. What their parameters mean is looked at where they are made."""
    known = {field.name.strip(): field for field in fields}
    names: set[str] = set()
    filled: set[str] = set()
    for function in functions:
        _check_names(function)
        if function.name in names:
            raise InvalidParameter(f"duplicate function name {function.name}")
        names.add(function.name)
        _check_inputs(function, known)
        _check_output(function, known)
        (output,) = function.output_field_names
        if output in filled:
            raise InvalidParameter(f"duplicate function output field: function {function.name}, field {output}")
        filled.add(output)
    for field in known.values():
        if field.is_function_output and field.name.strip() not in filled:
            raise InvalidParameter(f"field {field.name} is marked as a function output, but no function writes it")
    for function in functions:
        for name in function.input_field_names:
            if name in filled:
                raise InvalidParameter(
                    f"function input field cannot be the output of a function: function {function.name}, field {name}"
                )


def _check_names(function: FunctionSchema) -> None:
    name, inputs, outputs = function.name, function.input_field_names, function.output_field_names
    if not name:
        raise InvalidParameter("function name cannot be empty")
    if function.type not in _TITLES:
        raise InvalidParameter(f"check function params with unknown function type: {function.type.name}")
    for side, names in (("input", inputs), ("output", outputs)):
        if not names:
            raise InvalidParameter(f"function {side} field names cannot be empty, function: {name}")
        for field in names:
            if not field:
                raise InvalidParameter(f"function {side} field name cannot be empty string, function: {name}")
            if names.count(field) > 1:
                raise InvalidParameter(
                    f"each function {side} field should be used exactly once in the same function, function: {name}, "
                    f"{side} field: {field}"
                )
    for field in outputs:
        if field in inputs:
            raise InvalidParameter(
                f"a single field cannot be both input and output in the same function, function: {name}, field: {field}"
            )
    if function.type is FunctionType.BM25 and function.params:
        raise InvalidParameter("BM25 function accepts no params")


def _check_inputs(function: FunctionSchema, known: Mapping[str, FieldSchema]) -> None:
    title, (kinds, types) = _TITLES[function.type], _INPUTS[function.type]
    for name in function.input_field_names:
        if name not in known:
            raise InvalidParameter(f"function input field not found: {name}")
    fields = [known[name] for name in function.input_field_names]
    if len(fields) != 1 or fields[0].data_type not in types:
        raise InvalidParameter(
            f"{title} function input field must be a {kinds} field, got {len(fields)} field with type "
            f"{fields[0].data_type.wire_name}"
        )
    (field,) = fields
    if function.type is not FunctionType.BM25:
        if field.nullable:
            raise InvalidParameter(
                f"function input field cannot be nullable: function {function.name}, field {field.name}"
            )
        return
    if truth(field.params.get("enable_analyzer", "false")) is not True:
        raise InvalidParameter("BM25 function input field must set enable_analyzer to true")


def _check_output(function: FunctionSchema, known: Mapping[str, FieldSchema]) -> None:
    title, (kinds, types) = _TITLES[function.type], _OUTPUTS[function.type]
    for name in function.output_field_names:
        if name not in known:
            raise InvalidParameter(f"function output field not found: {name}")
    fields = [known[name] for name in function.output_field_names]
    field = fields[0]
    if len(fields) != 1:
        raise InvalidParameter(f"{title} function should have exactly one output field, got {len(fields)}")
    where = f"function {function.name}, field {field.name}"
    if field.is_primary:
        raise InvalidParameter(f"function output field cannot be primary key: {where}")
    if field.is_partition_key or field.is_clustering_key:
        raise InvalidParameter(f"function output field cannot be partition key or clustering key: {where}")
    if field.nullable:
        raise InvalidParameter(f"function output field cannot be nullable: {where}")
    if field.default_value is not None:
        raise InvalidParameter(f"function output field cannot have a default value: {where}")
    if field.data_type not in types:
        raise InvalidParameter(
            f"{title} function output field must be a {kinds} field, but got {field.data_type.wire_name}"
        )


def settled(functions: Sequence[FunctionSchema], first_id: int = FIRST_FUNCTION_ID) -> tuple[FunctionSchema, ...]:
    """Checked functions with their ids."""
    return tuple(msgspec.structs.replace(f, function_id=first_id + at) for at, f in enumerate(functions))


def bm25_outputs(schema: CollectionSchema) -> frozenset[str]:
    """The fields that hold the words of texts: they are searched with texts, and nobody reads them."""
    return frozenset(f.output_field_names[0] for f in schema.functions if f.type is FunctionType.BM25)


def function_of_output(schema: CollectionSchema, field: str) -> FunctionSchema | None:
    """The function that fills a field."""
    return next((f for f in schema.functions if field in f.output_field_names), None)
