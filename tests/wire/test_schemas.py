"""Schemas between structs and messages."""

from __future__ import annotations

from typing import Any

import pytest
from pymilvus import CollectionSchema as TheirSchema
from pymilvus import DataType as TheirType
from pymilvus import Function, MilvusClient
from pymilvus import FunctionType as TheirFunctionType
from pymilvus.client.abstract import CollectionSchema as Described
from pymilvus.client.prepare import Prepare
from pymilvus.grpc_gen import milvus_pb2

from redkite.errors import InvalidParameter, MilvusException, Unimplemented
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema, StructFieldSchema
from redkite.model.types import DataType, FunctionType
from redkite.wire.messages import milvus, schema
from redkite.wire.schemas import read_schema, with_full_names, write_schema

RICH = CollectionSchema(
    name="books",
    description="all of them",
    auto_id=True,
    enable_dynamic_field=True,
    properties={"timezone": "UTC"},
    fields=(
        FieldSchema(name="id", data_type=DataType.INT64, field_id=100, is_primary=True, auto_id=True),
        FieldSchema(
            name="v", data_type=DataType.FLOAT_VECTOR, field_id=101, params={"dim": "4", "mmap.enabled": "true"}
        ),
        FieldSchema(name="t", data_type=DataType.VARCHAR, field_id=102, params={"max_length": "9"}, default_value="x"),
        FieldSchema(name="b", data_type=DataType.BOOL, field_id=103, default_value=False, nullable=True),
        FieldSchema(name="i", data_type=DataType.INT8, field_id=104, default_value=0, description="zero counts"),
        FieldSchema(name="l", data_type=DataType.INT64, field_id=105, default_value=2**62, is_partition_key=True),
        FieldSchema(name="d", data_type=DataType.DOUBLE, field_id=106, default_value=0.1, is_clustering_key=True),
        FieldSchema(
            name="a", data_type=DataType.ARRAY, element_type=DataType.INT64, field_id=107, params={"max_capacity": "3"}
        ),
        FieldSchema(name="s", data_type=DataType.SPARSE_FLOAT_VECTOR, field_id=108, is_function_output=True),
    ),
    functions=(
        FunctionSchema(
            name="bm25", type=FunctionType.BM25, input_field_names=("t",), output_field_names=("s",), function_id=1,
            params={"k": "v"},
        ),
    ),
    struct_fields=(
        StructFieldSchema(
            name="p", field_id=109, params={"max_capacity": "5"},
            fields=(FieldSchema(name="p[x]", data_type=DataType.ARRAY, element_type=DataType.INT64, field_id=110),),
        ),
    ),
)  # fmt: skip


def test_a_schema_comes_back_as_it_was() -> None:
    message = schema.CollectionSchema()
    write_schema(message, RICH)
    assert with_full_names(read_schema(schema.CollectionSchema.FromString(message.SerializeToString()))) == RICH


def test_the_hidden_field_does_not_travel() -> None:
    hidden = FieldSchema(name="$meta", data_type=DataType.JSON, field_id=102, is_dynamic=True)
    definition = CollectionSchema(name="c", fields=(*RICH.fields[:2], hidden), enable_dynamic_field=True)
    message = schema.CollectionSchema()
    write_schema(message, definition)
    assert [field.name for field in message.fields] == ["id", "v"]


def test_a_schema_built_with_pymilvus_is_read() -> None:
    theirs: TheirSchema = MilvusClient.create_schema(enable_dynamic_field=True, description="d")
    theirs.add_field("id", TheirType.VARCHAR, is_primary=True, max_length=20)
    theirs.add_field("v", TheirType.FLOAT_VECTOR, dim=8, mmap_enabled=True)
    theirs.add_field("n", TheirType.INT16, default_value=7, nullable=True)
    theirs.add_field("f", TheirType.FLOAT, default_value=0.5)
    theirs.add_field("k", TheirType.INT64, is_partition_key=True)
    theirs.add_field("a", TheirType.ARRAY, element_type=TheirType.VARCHAR, max_capacity=4, max_length=8)
    theirs.add_field("t", TheirType.VARCHAR, max_length=100, enable_analyzer=True)
    theirs.add_field("s", TheirType.SPARSE_FLOAT_VECTOR)
    theirs.add_function(Function("f1", TheirFunctionType.BM25, input_field_names=["t"], output_field_names=["s"]))
    data = Prepare.get_schema_from_collection_schema("c", theirs).SerializeToString()
    read = read_schema(schema.CollectionSchema.FromString(data))
    assert read.name == "c" and read.enable_dynamic_field and read.description == "d"
    fields = {field.name: field for field in read.fields}
    assert fields["id"].is_primary and fields["id"].max_length == 20
    assert fields["v"].params == {"dim": "8", "mmap.enabled": "true"}
    assert (fields["n"].default_value, fields["n"].nullable, fields["n"].data_type) == (7, True, DataType.INT16)
    assert fields["f"].default_value == 0.5 and fields["k"].is_partition_key
    assert (fields["a"].element_type, fields["a"].max_capacity) == (DataType.VARCHAR, 4)
    assert read.functions[0].type is FunctionType.BM25 and fields["s"].is_function_output


def test_pymilvus_describes_what_was_written() -> None:
    reply = milvus.DescribeCollectionResponse(shards_num=1)
    write_schema(reply.schema, RICH)
    described = Described(milvus_pb2.DescribeCollectionResponse.FromString(reply.SerializeToString())).dict()
    fields = {field["name"]: field for field in described["fields"]}
    assert described["auto_id"] and described["enable_dynamic_field"] and described["collection_name"] == "books"
    assert fields["v"]["params"] == {"dim": 4, "mmap_enabled": True}
    assert fields["b"]["default_value"].bool_data is False and fields["l"]["default_value"].long_data == 2**62
    assert fields["s"]["is_function_output"] and described["functions"][0]["output_field_names"] == ["s"]
    assert described["functions"][0]["input_field_ids"] == [102]


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        ({"fields": [{"name": "f", "data_type": 27}]}, InvalidParameter, "data type 27 of field f is not supported"),
        ({"fields": [{"name": "f", "element_type": 4711}]}, InvalidParameter, "data type 4711 of field f"),
        (
            {"fields": [{"name": "f", "default_value": {"bytes_data": b"x"}}]},
            InvalidParameter,
            "default value of field f",
        ),
        ({"fields": [{"name": "f", "external_field": "x"}]}, Unimplemented, "external_field of field f"),
        ({"fields": [{"name": "f", "index_params": [{"key": "a"}]}]}, Unimplemented, "index_params in the schema"),
        ({"functions": [{"name": "g", "type": 99}]}, InvalidParameter, "function type 99 of function g"),
        ({"external_source": "s3://x"}, Unimplemented, "external_source of a collection schema"),
        ({"enable_namespace": True}, Unimplemented, "enable_namespace of a collection schema"),
    ],
)
def test_a_schema_that_cannot_be_held_is_refused(
    content: dict[str, Any], error: type[MilvusException], text: str
) -> None:
    with pytest.raises(error, match=text):
        read_schema(schema.CollectionSchema(**content))


@pytest.mark.parametrize(("kind", "value"), [(DataType.JSON, "x"), (DataType.INT8, "x"), (DataType.VARCHAR, 1)])
def test_a_default_of_the_wrong_type_is_refused(kind: DataType, value: Any) -> None:
    field = FieldSchema(name="f", data_type=kind, default_value=value)
    with pytest.raises(InvalidParameter, match="default"):
        write_schema(schema.CollectionSchema(), CollectionSchema(name="c", fields=(field,)))


def test_sub_fields_travel_by_their_own_names_and_are_read_with_the_structs_around_them() -> None:
    part = FieldSchema(name="clips[second]", data_type=DataType.ARRAY, element_type=DataType.INT64)
    told = CollectionSchema(name="films", fields=(), struct_fields=(StructFieldSchema(name="clips", fields=(part,)),))
    message = schema.CollectionSchema()
    write_schema(message, told)
    assert [field.name for field in message.struct_array_fields[0].fields] == ["second"]
    read = with_full_names(read_schema(message))
    assert read.struct_fields[0].fields[0].name == "clips[second]"
    message.struct_array_fields[0].fields[0].name = "clips[second]"  # as other servers say it
    assert with_full_names(read_schema(message)) == read
