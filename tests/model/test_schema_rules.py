from __future__ import annotations

from typing import Any

import msgspec
import pytest

from redkite.errors import MilvusException
from redkite.model.rules.schema_rules import check_schema
from redkite.model.schema import CollectionSchema, FieldSchema, StructFieldSchema
from redkite.model.types import DataType

END = ": invalid parameter"
ID = FieldSchema(name="id", data_type=DataType.INT64, is_primary=True)
VECTOR = FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": "8"})


def field(name: str, kind: DataType, **more: Any) -> FieldSchema:
    return FieldSchema(name=name, data_type=kind, **more)


def text(name: str = "t", **more: Any) -> FieldSchema:
    return field(name, DataType.VARCHAR, **({"params": {"max_length": "10"}} | more))


def array(element: DataType = DataType.INT64, **params: str) -> FieldSchema:
    return field("a", DataType.ARRAY, element_type=element, params=params)


def vector(kind: DataType, **params: str) -> FieldSchema:
    return field("v", kind, params=params)


def schema(*fields: FieldSchema, **more: Any) -> CollectionSchema:
    return CollectionSchema(name="c", fields=fields, **more)


def with_field(extra: FieldSchema) -> CollectionSchema:
    return schema(ID, VECTOR, extra)


def primary(**more: Any) -> FieldSchema:
    return msgspec.structs.replace(ID, **more)


BAD: list[tuple[CollectionSchema, int, str]] = [
    # counts
    (schema(ID, *(field(f"f{i}", DataType.BOOL) for i in range(63)), VECTOR), 1100,
     "maximum field's number should be limited to 64" + END),
    (schema(ID, *(msgspec.structs.replace(VECTOR, name=f"v{i}") for i in range(11))), 1100,
     "maximum vector field's number should be limited to 10" + END),
    (schema(ID), 1100, "schema does not contain vector field" + END),
    # keys
    (schema(VECTOR), 1101, "primary key is not specified: missing parameter"),
    (schema(ID, primary(name="b"), VECTOR), 1100, "there are more than one primary key, field name = id, b" + END),
    (schema(primary(data_type=DataType.INT32), VECTOR), 1100,
     "the data type of primary key should be Int64 or VarChar" + END),
    (schema(primary(nullable=True), VECTOR), 1100, "primary field not support null" + END),
    (schema(primary(default_value=1), VECTOR), 1100, "primary key can't be with default value" + END),
    (with_field(field("f", DataType.INT64, auto_id=True)), 1100,
     "only primary field can speficy AutoID with true, field name = f" + END),
    (with_field(field("f", DataType.JSON, is_dynamic=True)), 1100,
     "cannot explicitly set a field as a dynamic field, field name = f" + END),
    (schema(ID, VECTOR, field("a", DataType.INT64, is_partition_key=True),
            field("b", DataType.INT64, is_partition_key=True)), 1100,
     "there are more than one partition key, field name = a, b" + END),
    (schema(primary(is_partition_key=True), VECTOR), 1100, "the partition key field must not be primary field" + END),
    (with_field(field("f", DataType.INT32, is_partition_key=True)), 1100,
     "the data type of partition key should be Int64 or VarChar" + END),
    (with_field(field("f", DataType.INT64, is_partition_key=True, nullable=True)), 1100,
     "partition key field not support nullable" + END),
    (schema(ID, VECTOR, field("a", DataType.INT64, is_clustering_key=True),
            field("b", DataType.INT64, is_clustering_key=True)), 105,
     "there are more than one clustering key, field name = a, b: illegal collection schema[collection=c]"),
    (with_field(field("f", DataType.JSON, is_clustering_key=True)), 105,
     "clustering key field f has unsupported data type JSON: illegal collection schema[collection=c]"),
    (schema(ID, msgspec.structs.replace(VECTOR, is_clustering_key=True)), 107,
     "vector clustering key not allowed[field=vector]"),
    # names
    (with_field(field("id ", DataType.INT64)), 1100, "duplicated field name id found" + END),
    (with_field(field("like", DataType.INT64)), 1701,
     "Invalid field name: like. like is keyword in milvus.: field name invalid[field=like]"),
    (CollectionSchema(name="1", fields=(ID, VECTOR)), 1100,
     "Invalid collection name: 1.  the first character of a collection name must be an underscore or letter" + END),
    # dimensions
    (with_field(vector(DataType.FLOAT_VECTOR)), 1100,
     "dimension is not defined in field type params of field v, check type param `dim` for vector field" + END),
    (with_field(vector(DataType.FLOAT_VECTOR, dim="1")), 1100,
     "invalid dimension: 1 of field v. float vector dimension should be in range 2 ~ 32768" + END),
    (with_field(vector(DataType.INT8_VECTOR, dim="32769")), 1100,
     "invalid dimension: 32769 of field v. float vector dimension should be in range 2 ~ 32768" + END),
    (with_field(vector(DataType.BINARY_VECTOR, dim="262152")), 1100,
     "invalid dimension: 262152 of field v. binary vector dimension should be in range 2 ~ 262144" + END),
    (with_field(vector(DataType.BINARY_VECTOR, dim="12")), 1100,
     "invalid dimension: 12 of field v. binary vector dimension should be multiple of 8. " + END),
    (with_field(vector(DataType.FLOAT_VECTOR, dim="8.0")), 1100,
     "invalid dimension: 8.0 of field v. it should be an integer" + END),
    (with_field(field("v", DataType.SPARSE_FLOAT_VECTOR, field_id=102, params={"dim": "8"})), 1100,
     "dim should not be specified for sparse vector field v(102)" + END),
    # lengths and capacities
    (with_field(text(params={})), 1101,
     "type param(max_length) should be specified for the field(t) of collection c: missing parameter"),
    (with_field(text(params={"max_length": "65536"})), 1100,
     "the maximum length specified for the field(t) should be in (0, 65535], but got 65536 instead" + END),
    (with_field(text(params={"max_length": "0"})), 1100,
     "the maximum length specified for the field(t) should be in (0, 65535], but got 0 instead" + END),
    (with_field(text(params={"max_length": "ten"})), 1100,
     "the value for max_length of field t must be an integer" + END),
    (with_field(array()), 1101,
     "type param(max_capacity) should be specified for array field a of collection c: missing parameter"),
    (with_field(array(max_capacity="4097")), 1100,
     "the maximum capacity specified for a Array should be in (0, 4096]" + END),
    (with_field(array(max_capacity="x")), 1100, "the value for max_capacity of field a must be an integer" + END),
    (with_field(array(DataType.JSON, max_capacity="4")), 1100, "element type JSON is not supported" + END),
    (with_field(array(DataType.VARCHAR, max_capacity="4")), 1101,
     "type param(max_length) should be specified for the field(a) of collection c: missing parameter"),
    # types
    (with_field(field("f", DataType.STRING)), 1100,
     "string data type not supported yet, please use VarChar type instead" + END),
    (with_field(field("f", DataType.UNKNOWN)), 1100, "data type Unknown of field f is not supported" + END),
    (with_field(field("f", DataType.INT64, element_type=DataType.INT8)), 1100,
     "element type is only for Array fields, field name = f" + END),
    (with_field(field("f", DataType.TIMESTAMPTZ, default_value="noon")), 1100,
     "got invalid timestamptz string 'noon': it should look like 2025-01-01T00:00:00Z" + END),
    (with_field(field("f", DataType.TIMESTAMPTZ, default_value=5)), 1100,
     "type (Timestamptz) of field (f) is not equal to the type(Int64) of default_value" + END),
    # params
    (with_field(field("f", DataType.INT64, params={"dim": "8"})), 1100,
     "type param dim is not supported for the field f" + END),
    (with_field(field("f", DataType.INT64, params={"enable_analyzer": "true"})), 1100,
     "type param enable_analyzer is only for VarChar and Text fields, field name = f" + END),
    (with_field(text(params={"max_length": "9", "enable_match": "True"})), 1100,
     "field t is set to enable match or bm25 function but not enable analyzer" + END),
    (with_field(field("f", DataType.INT64, params={"enable_match": "true"})), 1100,
     "type param enable_match is only for VarChar and Text fields, field name = f" + END),
    (with_field(text(params={
        "max_length": "9", "enable_analyzer": "true", "enable_match": "true", "multi_analyzer_params": "{}",
    })), 1100, "multi analyzer now only support for bm25, but now field t enable match" + END),
    (with_field(field("f", DataType.INT64, params={"analyzer_params": "{}"})), 1100,
     "type param analyzer_params is not supported for the field f" + END),
    (with_field(field("f", DataType.INT64, params={"mmap.enabled": "2"})), 1100,
     "the value for mmap.enabled of field f must be true or false, but got 2" + END),
    # defaults
    (with_field(msgspec.structs.replace(array(max_capacity="4"), default_value=1)), 1100,
     "array type not support default value" + END),
    (schema(ID, msgspec.structs.replace(VECTOR, default_value=1.0)), 1100,
     "vector type not support default value" + END),
    (with_field(field("f", DataType.JSON, default_value="{}")), 1100,
     "type not support default_value, type:JSON, name:f" + END),
    (with_field(field("f", DataType.INT8, default_value=128)), 1100,
     "[128 out of range -128 <= value <= 127]: invalid parameter"
     "[expected=integer doesn't overflow][actual=out of range]"),
    (with_field(field("f", DataType.INT64, default_value=1.5)), 1100,
     "type (Int64) of field (f) is not equal to the type(Double) of default_value" + END),
    (with_field(field("f", DataType.INT64, default_value=True)), 1100,
     "type (Int64) of field (f) is not equal to the type(Bool) of default_value" + END),
    (with_field(field("f", DataType.BOOL, default_value=1)), 1100,
     "type (Bool) of field (f) is not equal to the type(Int64) of default_value" + END),
    (with_field(field("f", DataType.FLOAT, default_value=1e39)), 1100,
     "value '1e+39' is not a number or infinity" + END),
    (with_field(field("f", DataType.DOUBLE, default_value=float("nan"))), 1100,
     "value 'nan' is not a number or infinity" + END),
    (with_field(text(default_value="é" * 6)), 1100,
     "the length (12) of string exceeds max length (10): invalid parameter"
     "[expected=valid length string][actual=string length exceeds max length]"),
    # what comes later
    (schema(ID, VECTOR, struct_fields=(StructFieldSchema(name="s", fields=()),)), 1100,
     "struct array field s has no sub-fields: invalid parameter"),
    (with_field(field("f", DataType.INT64, is_function_output=True)), 1100,
     "field f is marked as a function output, but no function writes it" + END),
    # properties and descriptions
    (schema(ID, VECTOR, properties={"collection.ttl.seconds": "soon"}), 1100,
     "collection TTL is not a valid positive integer" + END),
    (schema(ID, VECTOR, properties={"collection.ttl.seconds": "-2"}), 1100,
     "collection TTL is out of range, expect [-1, 3155760000], got -2" + END),
    (schema(ID, VECTOR, properties={"collection.ttl.seconds": "3155760001"}), 1100,
     "collection TTL is out of range, expect [-1, 3155760000], got 3155760001" + END),
    (schema(ID, VECTOR, properties={"timezone": "Mars/Base"}), 1100,
     "unknown or invalid IANA Time Zone ID: Mars/Base" + END),
    (schema(ID, VECTOR, properties={"ttl_field": "dies"}), 1100, "ttl field name dies not found in schema" + END),
    (schema(ID, VECTOR, properties={"ttl_field": "id"}), 1100,
     "ttl field must be of type Timestamptz, field name = id" + END),
    (schema(ID, VECTOR, field("dies", DataType.TIMESTAMPTZ), properties={"ttl_field": "dies",
                                                                         "collection.ttl.seconds": "1"}), 1100,
     "collection.ttl.seconds and ttl_field exclude each other, set one of them" + END),
    (schema(ID, VECTOR, properties={"mmap.red": "1"}), 1100, "unknown collection property mmap.red" + END),
    (schema(ID, VECTOR, properties={"lazyload.enabled": "true"}), 1100,
     "unknown collection property lazyload.enabled" + END),
    (schema(ID, VECTOR, properties={"replicate.id": "a"}), 1100, "unknown collection property replicate.id" + END),
    (schema(ID, VECTOR, description="x" * 1025), 1100,
     "the description of collection must be no longer than 1024 bytes, but got 1025" + END),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "code", "message"), BAD, ids=[message[:50] for _, _, message in BAD])
def test_a_schema_that_cannot_be_is_refused_with_its_code_and_text(
    bad: CollectionSchema, code: int, message: str
) -> None:
    with pytest.raises(MilvusException) as caught:
        check_schema(bad)
    assert (caught.value.code, caught.value.message) == (code, message)


KEYED = with_field(field("tenant", DataType.VARCHAR, is_partition_key=True, params={"max_length": "9"}))


@pytest.mark.parametrize(
    ("one", "partitions", "shards", "message"),
    [
        (schema(ID, VECTOR), 0, 17, "maximum shards's number should be limited to 16"),
        (schema(ID, VECTOR), 0, -1, "shards's number should not be negative, but got -1"),
        (schema(ID, VECTOR), 4, 1, "num_partitions should only be specified with partition key field enabled"),
        (KEYED, -1, 1, "the specified partitions should be greater than 0 if partition key is used"),
        (KEYED, 1025, 1, "partition number (1025) exceeds max configuration (1024)"),
    ],
)
def test_numbers_of_partitions_and_shards_are_limited(
    one: CollectionSchema, partitions: int, shards: int, message: str
) -> None:
    with pytest.raises(MilvusException) as caught:
        check_schema(one, partitions=partitions, shards=shards)
    assert caught.value.message == message + END


def test_a_schema_of_every_type_is_accepted() -> None:
    check_schema(
        schema(
            primary(data_type=DataType.VARCHAR, params={"max_length": "64"}, auto_id=True),
            VECTOR,
            field("b", DataType.BOOL, default_value=False),
            field("i8", DataType.INT8, default_value=-128),
            field("i64", DataType.INT64, nullable=True, is_clustering_key=True),
            field("f", DataType.FLOAT, default_value=1),
            field("d", DataType.DOUBLE, default_value=0.5),
            text("t", default_value="0123456789", is_partition_key=True),
            field("long", DataType.TEXT),
            field("j", DataType.JSON, nullable=True, params={"mmap.enabled": "false"}),
            field("tags", DataType.ARRAY, element_type=DataType.VARCHAR,
                  params={"max_capacity": "4096", "max_length": "65535", "enable_analyzer": "false"}),
            field("f16", DataType.FLOAT16_VECTOR, params={"dim": "2"}),
            field("bf16", DataType.BFLOAT16_VECTOR, params={"dim": "32768"}),
            field("bin", DataType.BINARY_VECTOR, params={"dim": "262144"}),
            field("i8v", DataType.INT8_VECTOR, params={"dim": "3"}),
            field("sparse", DataType.SPARSE_FLOAT_VECTOR),
            field("dies", DataType.TIMESTAMPTZ, nullable=True, default_value="2025-01-01 00:00:00"),
            enable_dynamic_field=True,
            properties={"mmap.enabled": "true", "allow_insert_auto_id": "true", "collection.ttl.seconds": "0",
                        "ttl_field": "dies", "timezone": "Asia/Shanghai"},
        ),
        partitions=1024,
        shards=16,
    )  # fmt: skip
