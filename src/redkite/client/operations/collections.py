"""Collections: create, drop, look at."""

from __future__ import annotations

from typing import Any

from redkite.client import arguments
from redkite.client.display import CollectionDescription
from redkite.client.index_params import IndexParams
from redkite.client.operations.indexes import create_index
from redkite.client.operations.loading import load_collection
from redkite.client.schema import CollectionSchema
from redkite.client.session import Operation, Session, ask
from redkite.errors import CollectionNotFound, DescribeCollectionException, ParamError
from redkite.model import requests, results
from redkite.model import schema as model
from redkite.model.types import ConsistencyLevel, DataType

_QUICK_KEYS: dict[object, DataType] = {
    "int": DataType.INT64,
    "string": DataType.VARCHAR,
    "str": DataType.VARCHAR,
    DataType.INT64: DataType.INT64,
    DataType.VARCHAR: DataType.VARCHAR,
}
MAX_KEY_LENGTH = 65_535
"""Bytes a text key of a quickly made collection may have when nothing is said."""


class DescribeMissingCollection(DescribeCollectionException, CollectionNotFound):
    """`describe_collection` of a name that does not exist: caught as either of its bases."""


def create_collection(
    session: Session,
    collection_name: str,
    dimension: int | None,
    primary_field_name: str,
    id_type: str | DataType,
    vector_field_name: str,
    metric_type: str,
    auto_id: bool,
    schema: CollectionSchema | None,
    index_params: IndexParams | None,
    enable_dynamic_field: bool | None,
    max_length: int | None,
    description: str | None,
    num_shards: int | None,
    num_partitions: int | None,
    consistency_level: str | int | None,
    properties: dict[str, Any] | None,
) -> Operation[None]:
    """Create a collection: by its schema, or from a dimension alone a key, a vector and dynamic keys for the rest.

    With index parameters, and always without a schema, it is also indexed and loaded.
    """
    name = arguments.name("collection_name", collection_name)
    if schema is None:
        dynamic = True if enable_dynamic_field is None else enable_dynamic_field
        schema = CollectionSchema(auto_id=auto_id, enable_dynamic_field=dynamic, description=description or "")
        _add_quick_fields(schema, dimension, primary_field_name, id_type, vector_field_name, max_length)
        if not index_params:
            index_params = IndexParams()
            index_params.add_index(vector_field_name, index_type="AUTOINDEX", metric_type=metric_type)
    elif not isinstance(schema, CollectionSchema):
        raise ParamError("Schema type must be schema.CollectionSchema.")
    else:
        _refuse_beside_schema(dimension=dimension, auto_id=auto_id, max_length=max_length, description=description)
    schema.verify()
    level = arguments.consistency(consistency_level)
    session.forget(name)
    request = requests.CreateCollection(
        database=session.database,
        schema=schema.to_model(name, dynamic=bool(enable_dynamic_field)),
        shards=0 if num_shards is None else arguments.integer("num_shards", num_shards),
        partitions=0 if num_partitions is None else arguments.integer("num_partitions", num_partitions),
        consistency_level=ConsistencyLevel.Bounded if level is None else level,
        properties=arguments.texts("properties", properties),
    )
    yield from ask(request, results.Done)
    if index_params:
        yield from create_index(session, name, index_params, sync=True)
        yield from load_collection(session, name)


def _add_quick_fields(
    schema: CollectionSchema,
    dimension: int | None,
    primary_field_name: str,
    id_type: str | DataType,
    vector_field_name: str,
    max_length: int | None,
) -> None:
    if dimension is None:
        raise ParamError("missing required argument: [dimension] or [schema]")
    kind = _QUICK_KEYS.get(id_type)
    if kind is None:
        raise ParamError("Param primary_field must be int or str type.")
    if kind is DataType.VARCHAR:
        length = MAX_KEY_LENGTH if max_length is None else arguments.integer("max_length", max_length)
        schema.add_field(primary_field_name, kind, is_primary=True, max_length=length)
    elif max_length is not None:
        raise ParamError("max_length is only for keys of id_type 'string'")
    else:
        schema.add_field(primary_field_name, kind, is_primary=True)
    schema.add_field(vector_field_name, DataType.FLOAT_VECTOR, dim=arguments.integer("dimension", dimension))


def _refuse_beside_schema(**given: object) -> None:
    """With a schema, what the schema says is not said again."""
    for argument, value in given.items():
        if value is not None and value is not False:
            raise ParamError(f"give either a schema or `{argument}`: the schema already decides it")


def drop_collection(session: Session, collection_name: str) -> Operation[None]:
    name = arguments.name("collection_name", collection_name)
    session.forget(name)
    yield from ask(requests.DropCollection(database=session.database, collection=name), results.Done)


def truncate_collection(session: Session, collection_name: str) -> Operation[None]:
    name = arguments.name("collection_name", collection_name)
    yield from ask(requests.TruncateCollection(database=session.database, collection=name), results.Done)


def rename_collection(session: Session, old_name: str, new_name: str, target_db: str | None) -> Operation[None]:
    old = arguments.name("old_name", old_name)
    new = arguments.name("new_name", new_name)
    session.forget(old)
    session.forget(new)
    request = requests.RenameCollection(
        database=session.database,
        collection=old,
        new_name=new,
        new_database=arguments.optional_name("target_db", target_db),
    )
    yield from ask(request, results.Done)


def has_collection(session: Session, collection_name: str) -> Operation[bool]:
    name = arguments.name("collection_name", collection_name)
    flag = yield from ask(requests.HasCollection(database=session.database, collection=name), results.Flag)
    return flag.value


def list_collections(session: Session) -> Operation[list[str]]:
    shown = yield from ask(requests.ShowCollections(database=session.database), results.Collections)
    return [brief.name for brief in shown.collections]


def get_collection_stats(session: Session, collection_name: str) -> Operation[dict[str, int]]:
    name = arguments.name("collection_name", collection_name)
    request = requests.GetCollectionStatistics(database=session.database, collection=name)
    count = yield from ask(request, results.RowCount)
    return {"row_count": count.rows}


def describe_collection(session: Session, collection_name: str) -> Operation[dict[str, Any]]:
    name = arguments.name("collection_name", collection_name)
    request = requests.DescribeCollection(database=session.database, collection=name)
    try:
        info = yield from ask(request, results.CollectionInfo)
    except CollectionNotFound as error:
        raise DescribeMissingCollection(error.message, error.code) from error
    return describe(info)


# -- the description as users read it -----------------------------------------------------------
def describe(info: results.CollectionInfo) -> dict[str, Any]:
    schema = info.schema
    return CollectionDescription(
        {
            "collection_name": schema.name,
            "auto_id": schema.auto_id or any(field.auto_id for field in schema.fields),
            "num_shards": info.shards,
            "description": schema.description,
            "fields": [_field(f) for f in schema.user_fields] + [_struct(s) for s in schema.struct_fields],
            "functions": [_function(function, schema) for function in schema.functions],
            "aliases": list(info.aliases),
            "collection_id": info.collection_id,
            "consistency_level": int(info.consistency_level),
            "consistency_level_name": info.consistency_level.name,
            "properties": {**schema.properties, **info.properties},
            "num_partitions": info.partitions,
            "enable_dynamic_field": schema.enable_dynamic_field,
            "enable_namespace": False,
            "schema_version": schema.version,
            "created_timestamp": info.created_timestamp,
            "update_timestamp": info.update_timestamp,
        }
    )


_NUMERIC_PARAMS = ("dim", "max_length", "max_capacity")


def _params(params: dict[str, str]) -> dict[str, Any]:
    """Type parameters as pymilvus shows them: numbers as numbers, `mmap_enabled` as a flag, others as texts."""
    shown: dict[str, Any] = {}
    for key, value in params.items():
        if key in _NUMERIC_PARAMS:
            shown[key] = int(value)
        elif key == "mmap.enabled":
            shown["mmap_enabled"] = value.lower() != "false"
        else:
            shown[key] = value
    return shown


def _field(field: model.FieldSchema) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "field_id": field.field_id,
        "name": field.name,
        "description": field.description,
        "type": field.data_type,
        "params": _params(field.params),
    }
    if field.default_value is not None:
        shown["default_value"] = field.default_value
    if field.element_type is not DataType.NONE:
        shown["element_type"] = field.element_type
    for flag in ("is_partition_key", "is_dynamic", "auto_id", "nullable", "is_primary", "is_clustering_key",
                 "is_function_output"):  # fmt: skip
        if getattr(field, flag):
            shown[flag] = True
    return shown


def _struct(struct: model.StructFieldSchema) -> dict[str, Any]:
    """An array of structs, its sub-fields by their own names and element types."""
    sub_fields = []
    for field in struct.fields:
        shown = _field(field)
        shown["name"] = field.name.removeprefix(f"{struct.name}[").removesuffix("]")
        shown["type"] = shown.pop("element_type", field.data_type)
        shown["params"].pop("max_capacity", None)
        shown.pop("nullable", None)
        sub_fields.append(shown)
    capacities = [field.max_capacity for field in struct.fields if "max_capacity" in field.params]
    params = _params(struct.params)
    if capacities:
        params["max_capacity"] = capacities[0]
    shown = {
        "field_id": struct.field_id,
        "name": struct.name,
        "description": struct.description,
        "type": DataType.ARRAY,
        "element_type": DataType.STRUCT,
        "params": params,
    }
    if struct.nullable:
        shown["nullable"] = True
    return {**shown, "struct_fields": sub_fields}


def _function(function: model.FunctionSchema, schema: model.CollectionSchema) -> dict[str, Any]:
    ids = {field.name: field.field_id for field in schema.fields}
    return {
        "name": function.name,
        "id": function.function_id,
        "description": function.description,
        "type": function.type,
        "params": dict(function.params),
        "input_field_names": list(function.input_field_names),
        "input_field_ids": [ids[name] for name in function.input_field_names if name in ids],
        "output_field_names": list(function.output_field_names),
        "output_field_ids": [ids[name] for name in function.output_field_names if name in ids],
    }
