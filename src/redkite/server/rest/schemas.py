"""Schemas as REST says them: from the body of `collections/create`, and to the data of `collections/describe`."""

from __future__ import annotations

from typing import Any

import msgspec

from redkite.errors import InvalidParameter
from redkite.model.results import CollectionInfo
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema, StructFieldSchema
from redkite.model.types import BY_WIRE_NAME, DataType, FunctionType
from redkite.server.rest.bodies import CollectionReq, FieldBody, FunctionBody, IndexParam, StructFieldBody
from redkite.server.rest.exchange import MissingKeys, refuse_unserved, texts

_QUICK_METRICS = {
    DataType.FLOAT_VECTOR: "COSINE", DataType.FLOAT16_VECTOR: "COSINE", DataType.BFLOAT16_VECTOR: "COSINE",
    DataType.BINARY_VECTOR: "HAMMING", DataType.SPARSE_FLOAT_VECTOR: "IP",
}  # fmt: skip
_FUNCTION_TYPES = {
    "BM25": FunctionType.BM25, "TextEmbedding": FunctionType.TEXTEMBEDDING, "MinHash": FunctionType.MINHASH,
}  # fmt: skip
_ID_TYPES = {"Int64": DataType.INT64, "VarChar": DataType.VARCHAR, "Varchar": DataType.VARCHAR}


# -- from the body ------------------------------------------------------------------------------
def quick_schema(body: CollectionReq) -> tuple[CollectionSchema, IndexParam]:
    """A primary key and one vector field, and the index of the latter."""
    if body.index_params:
        raise InvalidParameter("indexParams go with a schema; without one, use metricType")
    vector_type = _data_type(body.vector_field_type, body.vector_field_name)
    if vector_type not in _QUICK_METRICS:
        known = ", ".join(kind.wire_name for kind in _QUICK_METRICS)
        raise InvalidParameter(f"vectorFieldType {body.vector_field_type} is not one of {known}")
    sparse = vector_type is DataType.SPARSE_FLOAT_VECTOR
    if not sparse and not body.dimension:
        raise MissingKeys("dimension is required for quickly create collection(default metric type: COSINE)")
    if sparse and body.dimension:
        raise InvalidParameter("a collection of sparse vectors has no dimension")
    vector = FieldSchema(
        name=body.vector_field_name, data_type=vector_type, params={} if sparse else {"dim": str(body.dimension)}
    )
    metric = body.metric_type or _QUICK_METRICS[vector_type]
    index = IndexParam(field_name=vector.name, index_name=vector.name, metric_type=metric)
    return _schema(body, (_quick_primary(body), vector), (), _flag(body.params, "enableDynamicField", True)), index


def _quick_primary(body: CollectionReq) -> FieldSchema:
    kind = _ID_TYPES.get(body.id_type)
    if kind is None:
        raise InvalidParameter(f"idType can only be [Int64, VarChar], got {body.id_type}")
    max_length = texts(body.params).get("max_length", "")
    if kind is DataType.INT64 and max_length:
        raise InvalidParameter("max_length is for VarChar keys")
    return FieldSchema(
        name=body.primary_field_name,
        data_type=kind,
        is_primary=True,
        auto_id=body.auto_id or body.auto_id_other,
        params={"max_length": max_length} if max_length else {},
    )


def custom_schema(body: CollectionReq) -> CollectionSchema:
    """The schema that the body spells out."""
    for name, given in (("dimension", body.dimension), ("metricType", body.metric_type)):
        if given:
            raise InvalidParameter(f"{name} goes without a schema; with one, it belongs to the field or the index")
    schema = body.schema
    refuse_unserved(schema, "external_source", "external_spec")
    auto_id = schema.auto_id or schema.auto_id_other or body.auto_id or body.auto_id_other
    outputs = {name for function in schema.functions for name in function.output_field_names}
    fields = tuple(_field(field, auto_id, field.field_name in outputs) for field in schema.fields)
    functions = tuple(_function(function) for function in schema.functions)
    dynamic = schema.enable_dynamic_field or _flag(body.params, "enableDynamicField", False)
    made = _schema(body, fields, functions, dynamic)
    return msgspec.structs.replace(made, struct_fields=tuple(map(struct_field, schema.struct_fields)))


def _schema(
    body: CollectionReq, fields: tuple[FieldSchema, ...], functions: tuple[FunctionSchema, ...], dynamic: bool
) -> CollectionSchema:
    return CollectionSchema(
        name=body.collection_name,
        fields=fields,
        description=body.description or body.schema.description,
        auto_id=any(field.auto_id for field in fields),
        enable_dynamic_field=dynamic,
        functions=functions,
    )


def _field(body: FieldBody, auto_id: bool, is_function_output: bool) -> FieldSchema:
    refuse_unserved(body, "external_field")
    kind = _data_type(body.data_type, body.field_name)
    if body.element_data_type and kind not in (DataType.ARRAY, DataType._ARRAY_OF_VECTOR):
        raise InvalidParameter(f"elementDataType is for Array fields, field name = {body.field_name}")
    return FieldSchema(
        name=body.field_name,
        data_type=kind,
        description=body.description,
        is_primary=body.is_primary,
        auto_id=body.auto_id or (auto_id and body.is_primary),
        is_partition_key=body.is_partition_key,
        is_clustering_key=body.is_clustering_key,
        is_function_output=is_function_output,
        nullable=body.nullable,
        default_value=_default(body),
        element_type=_data_type(body.element_data_type, body.field_name) if body.element_data_type else DataType.NONE,
        params=texts(body.element_type_params),
    )


def added_function(body: FunctionBody) -> FunctionSchema:
    """A function that is added to a collection."""
    return _function(body)


def added_field(body: FieldBody) -> FieldSchema:
    """A field that is added to a collection."""
    return _field(body, auto_id=False, is_function_output=False)


def struct_field(body: StructFieldBody) -> StructFieldSchema:
    """An array of structs. Its sub-fields say `Array` or `ArrayOfVector` and their element type, or only that one; what
    they share, `max_capacity` above all, may stand at the array."""
    shared = texts(body.element_type_params)
    parts = []
    for given in body.fields:
        part = _field(given, auto_id=False, is_function_output=False)
        if part.element_type is DataType.NONE:
            kind = DataType._ARRAY_OF_VECTOR if part.data_type.is_vector else DataType.ARRAY
            part = msgspec.structs.replace(part, data_type=kind, element_type=part.data_type)
        name = f"{body.field_name}[{given.field_name}]"
        parts.append(msgspec.structs.replace(part, name=name, params={**shared, **part.params}))
    return StructFieldSchema(
        name=body.field_name, fields=tuple(parts), description=body.description, nullable=body.nullable
    )


def _default(body: FieldBody) -> bool | int | float | str | None:
    value = body.default_value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InvalidParameter(f"defaultValue of field {body.field_name} must be a bool, a number or a text")


def _function(body: FunctionBody) -> FunctionSchema:
    kind = _FUNCTION_TYPES.get(body.type)
    if kind is None:
        raise InvalidParameter(f"function type {body.type} is not one of {', '.join(_FUNCTION_TYPES)}")
    return FunctionSchema(
        name=body.name,
        type=kind,
        input_field_names=body.input_field_names,
        output_field_names=body.output_field_names,
        description=body.description,
        params=texts(body.params),
    )


def _data_type(name: str, field: str) -> DataType:
    kind = BY_WIRE_NAME.get(name)
    if kind is None or kind is DataType.NONE:
        raise InvalidParameter(f"data type {name} of field {field} is invalid(case sensitive)")
    return kind


def _flag(params: dict[str, Any], name: str, default: bool) -> bool:
    text = str(params.get(name, default)).lower()
    if text not in ("true", "false"):
        raise InvalidParameter(f"params.{name} must be true or false, got {params[name]}")
    return text == "true"


# -- to the data --------------------------------------------------------------------------------
def described_fields(info: CollectionInfo) -> list[dict[str, Any]]:
    """`fields` of a description."""
    return [_described(field) for field in info.schema.user_fields]


def described_structs(info: CollectionInfo) -> list[dict[str, Any]]:
    """`structFields` of a description."""
    return [
        {
            "name": struct.name,
            "id": struct.field_id,
            "description": struct.description,
            "nullable": struct.nullable,
            "fields": [{**_described(part), "name": part.sub_name} for part in struct.fields],
        }
        for struct in info.schema.struct_fields
    ]


def _described(field: FieldSchema) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": field.name,
        "type": field.data_type.wire_name,
        "id": field.field_id,
        "primaryKey": field.is_primary,
        "partitionKey": field.is_partition_key,
        "clusteringKey": field.is_clustering_key,
        "autoId": field.auto_id,
        "description": field.description,
        "nullable": field.nullable,
    }
    if field.params:
        described["params"] = pairs(field.params)
    if field.element_type is not DataType.NONE:
        described["elementType"] = field.element_type.wire_name
    if field.default_value is not None:
        described["defaultValue"] = field.default_value
    if field.is_function_output:
        described["isFunctionOutput"] = True
    return described


def described_functions(info: CollectionInfo) -> list[dict[str, Any]]:
    """`functions` of a description."""
    return [
        {
            "name": function.name,
            "description": function.description,
            "type": int(function.type),
            "id": function.function_id,
            "inputFieldNames": function.input_field_names,
            "outputFieldNames": function.output_field_names,
            "params": pairs(function.params),
        }
        for function in info.schema.functions
    ]


def pairs(values: dict[str, str]) -> list[dict[str, str]]:
    """Properties as REST lists them."""
    return [{"key": key, "value": value} for key, value in values.items()]
