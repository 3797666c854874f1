"""Schemas and index parameters as users build them."""

from __future__ import annotations

import pytest

from redkite import DataType, MilvusClient
from redkite.client.index_params import IndexParam, IndexParams
from redkite.client.operations.collections import describe
from redkite.client.schema import CollectionSchema, FieldSchema, Function, StructFieldSchema
from redkite.errors import ParamError
from redkite.model.results import CollectionInfo
from redkite.model.types import ConsistencyLevel, FunctionType


def example() -> CollectionSchema:
    schema = MilvusClient.create_schema(enable_dynamic_field=True, description="an example")
    schema.add_field("id", DataType.INT64, is_primary=True, auto_id=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8, description="where it is")
    return schema.add_field("tags", DataType.ARRAY, element_type=DataType.VARCHAR, max_capacity=4, max_length=20)


def test_fields_are_added_in_a_chain() -> None:
    schema = example()
    assert [field.name for field in schema.fields] == ["id", "vector", "tags"]
    assert len(schema) == 3
    assert schema.auto_id is True
    assert schema.primary_field is schema.fields[0]
    assert schema.fields[1].dim == 8
    assert schema.fields[1].max_length is None
    schema.verify()


def test_a_schema_shows_itself_as_a_dict() -> None:
    assert example().to_dict() == {
        "auto_id": True, "description": "an example", "enable_dynamic_field": True, "enable_namespace": False,
        "fields": [
            {"name": "id", "description": "", "type": DataType.INT64, "is_primary": True, "auto_id": True},
            {"name": "vector", "description": "where it is", "type": DataType.FLOAT_VECTOR, "params": {"dim": 8}},
            {
                "name": "tags", "description": "", "type": DataType.ARRAY, "element_type": DataType.VARCHAR,
                "params": {"max_capacity": 4, "max_length": 20},
            },
        ],
    }  # fmt: skip
    assert example() == example()
    assert repr(example()) == str(example().to_dict())


def test_a_field_survives_its_own_dict() -> None:
    field = FieldSchema("n", DataType.INT64, "count", nullable=True, default_value=5, mmap_enabled=True)
    assert FieldSchema.construct_from_dict(field.to_dict()) == field
    assert FieldSchema.construct_from_dict(field.to_dict()) != FieldSchema("n", DataType.INT32)


def test_a_schema_travels_with_its_parameters_as_text() -> None:
    schema = example().add_field(
        "text", DataType.VARCHAR, max_length=9, enable_analyzer=True, analyzer_params={"type": "english"},
        mmap_enabled=False,
    )  # fmt: skip
    made = schema.to_model("c")
    assert made.name == "c"
    assert made.primary.auto_id
    assert made.fields[1].params == {"dim": "8"}
    assert made.fields[2].element_type is DataType.VARCHAR
    assert made.fields[3].params == {
        "max_length": "9", "enable_analyzer": "true", "analyzer_params": '{"type":"english"}', "mmap.enabled": "false",
    }  # fmt: skip


def test_what_is_described_can_be_created_again() -> None:
    made = example().to_model("c")
    info = CollectionInfo(
        schema=made, collection_id=1, database="default", shards=1, partitions=1, aliases=("a",),
        consistency_level=ConsistencyLevel.Strong, created_timestamp=1, update_timestamp=2, properties={"a": "b"},
    )  # fmt: skip
    shown = describe(info)
    fields = [FieldSchema.construct_from_dict(field) for field in shown["fields"]]
    again = CollectionSchema(fields, shown["description"], enable_dynamic_field=shown["enable_dynamic_field"])
    assert again.to_model("c") == made
    assert (shown["consistency_level"], shown["consistency_level_name"]) == (0, "Strong")
    assert shown["auto_id"] is True
    assert shown["aliases"] == ["a"]
    assert shown["properties"] == {"a": "b"}


def test_keys_may_be_named_on_the_schema() -> None:
    schema = MilvusClient.create_schema(auto_id=True, primary_field="id", partition_key_field="tenant")
    schema.add_field("id", DataType.INT64).add_field("tenant", DataType.VARCHAR, max_length=9)
    assert schema.primary_field is not None
    assert schema.primary_field.auto_id
    assert schema.partition_key_field is schema.fields[1]
    schema.verify()


def test_a_struct_array_becomes_arrays_of_its_sub_fields() -> None:
    shape = MilvusClient.create_struct_field_schema()
    shape.add_field("score", DataType.FLOAT).add_field("emb", DataType.FLOAT_VECTOR, dim=4)
    schema = example().add_field(
        "clips", DataType.ARRAY, element_type=DataType.STRUCT, struct_schema=shape, max_capacity=7
    )
    schema.verify()
    struct = schema.to_model("c").struct_fields[0]
    assert struct.name == "clips"
    assert [field.name for field in struct.fields] == ["clips[score]", "clips[emb]"]
    assert [field.data_type for field in struct.fields] == [DataType.ARRAY, DataType._ARRAY_OF_VECTOR]
    assert struct.fields[1].params == {"dim": "4", "max_capacity": "7"}
    assert schema.to_dict()["struct_fields"][0]["max_capacity"] == 7
    with pytest.raises(ParamError, match="struct_schema is required"):
        example().add_field("clips", DataType.ARRAY, element_type=DataType.STRUCT, max_capacity=7)


def key() -> CollectionSchema:
    return CollectionSchema().add_field("id", DataType.INT64, is_primary=True)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (CollectionSchema, "Schema must have a primary key field."),
        (
            lambda: CollectionSchema().add_field("id", DataType.FLOAT, is_primary=True),
            "Primary key type must be DataType.INT64 or DataType.VARCHAR.",
        ),
        (
            lambda: key().add_field("other", DataType.INT64, is_primary=True),
            r"Expected only one primary key field, got \[id, other, ...\].",
        ),
        (
            lambda: key().add_field("p", DataType.FLOAT, is_partition_key=True),
            "Partition key field type must be DataType.INT64 or DataType.VARCHAR.",
        ),
        (
            lambda: CollectionSchema().add_field("id", DataType.INT64, is_primary=True, is_partition_key=True),
            "Partition key field should not be primary field",
        ),
        (lambda: key().add_field("c", DataType.JSON, is_clustering_key=True), "Clustering key field type must be"),
        (lambda: MilvusClient.create_schema(primary_field="nope"), "the specified primary key field {nope} not exist"),
        (
            lambda: key().add_field("x", DataType.INT64, auto_id=True),
            "The auto_id can only be specified on the primary key field",
        ),
        (lambda: key().add_field("x", DataType.INT64, is_primary="yes"), "Param is_primary must be bool type."),
        (lambda: key().add_field("x", 7777), "Field dtype must be of DataType"),
        (lambda: key().add_field("x", DataType.INT64, dimension=3), "unexpected argument `dimension`"),
        (lambda: CollectionSchema(["x"]), "The field of schema type must be FieldSchema."),
        (lambda: key().add_function("bm25"), "The function of schema type must be Function."),
        (
            lambda: key().add_function(Function("f", FunctionType.BM25, "id", "gone")),
            "Function output field not found in collection schema.: gone",
        ),
        (
            lambda: key().add_field("v", DataType.FLOAT_VECTOR, dim=2).add_function(
                Function("f", FunctionType.BM25, "id", "v")
            ),
            "BM25 function input field must be VARCHAR.",
        ),
    ],
)  # fmt: skip
def test_a_schema_that_cannot_be_is_refused(make: object, text: str) -> None:
    with pytest.raises(ParamError, match=text):
        make().verify()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("f", 99, "a", "b"), "Unknown function type."),
        ((1, FunctionType.BM25, "a", "b"), "should be a string"),
        (("f", FunctionType.BM25, ["a", "a"], "b"), "Duplicate input field names"),
        (("f", FunctionType.BM25, "a", "a"), "Input and output field names must be different."),
        (("f", FunctionType.BM25, [1], "a"), "must be str"),
    ],
)
def test_a_function_that_cannot_be_is_refused(arguments: tuple[object, ...], text: str) -> None:
    with pytest.raises(ParamError, match=text):
        Function(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setting", "text"),
    [({"is_primary": True}, "cannot be primary key"), ({"nullable": True}, "cannot be nullable individually"),
     ({"default_value": 3}, "cannot have default value")],
)  # fmt: skip
def test_a_struct_that_cannot_be_is_refused(setting: dict[str, object], text: str) -> None:
    with pytest.raises(ParamError, match=text):
        StructFieldSchema().add_field("x", DataType.INT64, **setting).verify()
    with pytest.raises(ParamError, match="at least one field"):
        StructFieldSchema().verify()


# -- index parameters ---------------------------------------------------------------------------
def test_index_settings_may_be_flat_or_nested() -> None:
    params = MilvusClient.prepare_index_params()
    params.add_index("v", index_type="HNSW", metric_type="L2", params={"M": 16}, efConstruction=200)
    assert isinstance(params, IndexParams)
    assert params[0].get_index_configs() == {"M": 16, "metric_type": "L2", "efConstruction": 200, "index_type": "HNSW"}
    assert params[0].to_dict() == {
        "field_name": "v", "index_type": "HNSW", "index_name": "", "M": 16, "metric_type": "L2", "efConstruction": 200,
    }  # fmt: skip
    assert params[0] == IndexParam("v", "HNSW", M=16, metric_type="L2", efConstruction=200)
    assert params[0] == params[0].to_dict()


def test_index_params_may_begin_with_one_field() -> None:
    params = MilvusClient.prepare_index_params("v", metric_type="IP")
    assert [(one.field_name, one.get_index_configs()) for one in params] == [("v", {"metric_type": "IP"})]


def test_index_settings_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(ParamError, match="params must be a dict or None, got str"):
        IndexParam("v", params="M=16")
    with pytest.raises(ParamError, match="field_name"):
        IndexParam(7)  # type: ignore[arg-type]
    with pytest.raises(ParamError, match="`metric_type` but no field_name"):
        MilvusClient.prepare_index_params(metric_type="L2")
