"""What a collection becomes by a change, and what may not be changed."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone
from typing import Any

import msgspec
import pytest

from redkite.coordinator.creation import engine_schema, new_collection, same_or_raise
from redkite.coordinator.meta import CollectionMeta
from redkite.coordinator.schema_changes import with_field, with_field_params, with_properties, without_field
from redkite.errors import FieldNotFound, InvalidFieldName, InvalidParameter, MilvusException
from redkite.model.limits import LIMITS
from redkite.model.schema import CollectionSchema, FieldSchema, FunctionSchema
from redkite.model.types import ConsistencyLevel, DataType, FunctionType

KEY = FieldSchema(name="id", data_type=DataType.INT64, is_primary=True)
VECTOR = FieldSchema(name="v", data_type=DataType.FLOAT_VECTOR, params={"dim": "4"})
WORD = FieldSchema(name="word", data_type=DataType.VARCHAR, params={"max_length": "8"}, nullable=True)
TAGS = FieldSchema(
    name="tags", data_type=DataType.ARRAY, element_type=DataType.INT32, params={"max_capacity": "4"}, nullable=True
)


def collection(*fields: FieldSchema, dynamic: bool = False, **more: Any) -> CollectionMeta:
    schema = CollectionSchema(name="c", fields=(KEY, VECTOR, *fields), enable_dynamic_field=dynamic, **more)
    return new_collection("default", engine_schema(schema), 1, ["_default"], ConsistencyLevel.Bounded, 7, 9)


def new(name: str = "n", kind: DataType = DataType.INT64, **more: Any) -> FieldSchema:
    return FieldSchema(name=name, data_type=kind, **({"nullable": True} | more))


def ids(meta: CollectionMeta) -> dict[str, int]:
    return {f.name: f.field_id for f in meta.schema.fields}


def add(meta: CollectionMeta, field: FieldSchema) -> CollectionMeta:
    return with_field(meta, field, UTC, LIMITS)


def drop(meta: CollectionMeta, name: str) -> CollectionMeta:
    return without_field(meta, name, 0, ())


# -- adding and dropping ------------------------------------------------------------------------
def test_an_added_field_comes_after_the_others_and_before_the_dynamic_one() -> None:
    meta = add(collection(WORD, dynamic=True), new(" n "))
    assert ids(meta) == {"id": 100, "v": 101, "word": 102, "n": 104, "$meta": 103}
    assert list(ids(meta)) == ["id", "v", "word", "n", "$meta"]
    assert meta.schema.version == 1


def test_a_field_id_is_never_given_out_twice() -> None:
    meta = add(collection(), new("a"))
    for _ in range(3):
        before = ids(meta)["a"]
        meta = add(drop(meta, "a"), new("a", DataType.BOOL))
        assert ids(meta)["a"] == before + 1
    meta = drop(meta, "a")
    assert ids(add(meta, new("b")))["b"] == 106
    stored = CollectionMeta.from_bytes(meta.to_bytes())
    assert ids(add(stored, new("b")))["b"] == 106, "the catalog forgot the highest id"


def test_each_change_of_the_fields_is_a_higher_version() -> None:
    meta = collection(WORD)
    for change in (
        lambda m: add(m, new()),
        lambda m: drop(m, "n"),
        lambda m: with_field_params(m, "word", {"max_length": "9"}, (), LIMITS),
        lambda m: with_properties(m, {"dynamicfield.enabled": "true"}, (), LIMITS),
    ):
        changed = change(meta)
        assert changed.schema.version == meta.schema.version + 1
        meta = changed
    assert with_properties(meta, {"collection.ttl.seconds": "5"}, (), LIMITS).schema.version == meta.schema.version


def test_a_field_with_a_default_need_not_be_nullable() -> None:
    assert ids(add(collection(), new(nullable=False, default_value=3)))["n"] == 102


def test_a_default_time_means_the_zone_of_the_day_it_was_given() -> None:
    field = new("t", DataType.TIMESTAMPTZ, default_value="2025-01-01T08:00:00")
    meta = with_field(collection(), field, timezone(timedelta(hours=8)), LIMITS)
    added = meta.schema.field("t")
    assert added is not None
    assert added.default_value == "2025-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("field", "error", "text"),
    [
        (new(nullable=False), InvalidParameter, "added field must be nullable, please check it, field name = n"),
        (new("v"), InvalidParameter, "duplicated field name v"),
        (new(is_primary=True), InvalidParameter, "not support to add pk field, field name = n"),
        (new(is_partition_key=True), InvalidParameter, "not support to add partition key field, field name = n"),
        (new(is_clustering_key=True), InvalidParameter, "not support to add clustering key field, field name = n"),
        (new(is_dynamic=True), InvalidParameter, "not support to add dynamic field, field name = n"),
        (new(is_function_output=True), InvalidParameter, "not support to add function output field, field name = n"),
        (new(auto_id=True), InvalidParameter, "only primary field can speficy AutoID with true, field name = n"),
        (new(kind=DataType.FLOAT_VECTOR, params={"dim": "4"}, nullable=False), InvalidParameter, "must be nullable"),
        (new("1n"), InvalidFieldName, "The first character of a field name must be an underscore or letter"),
        (new("$meta"), InvalidFieldName, "reserved for internal use"),
        (new(kind=DataType.VARCHAR), MilvusException, "type param(max_length) should be specified"),
        (new(default_value="x"), InvalidParameter, "is not equal to the type"),
        (new(kind=DataType.INT8, default_value=300), InvalidParameter, "out of range"),
        (new(kind=DataType.JSON, default_value="{}"), InvalidParameter, "type not support default_value, type:JSON"),
        (new(description="x" * 2000), InvalidParameter, "must be no longer than 1024 bytes"),
    ],
)
def test_what_cannot_be_added_is_refused(field: FieldSchema, error: type[MilvusException], text: str) -> None:
    with pytest.raises(error) as caught:
        add(collection(), field)
    assert text in caught.value.message


def test_there_is_no_room_beyond_the_most_vector_fields() -> None:
    few = msgspec.structs.replace(LIMITS, max_vector_fields=2)
    half = new("h", DataType.FLOAT16_VECTOR, params={"dim": "4"})
    meta = with_field(collection(), half, UTC, few)
    assert meta.schema.vector_fields[-1].nullable
    with pytest.raises(InvalidParameter, match="maximum vector field's number should be limited to 2"):
        with_field(meta, new("s", DataType.SPARSE_FLOAT_VECTOR), UTC, few)


def test_there_is_no_room_beyond_the_most_fields() -> None:
    few = msgspec.structs.replace(LIMITS, max_fields=3)
    meta = with_field(collection(dynamic=True), new("a"), UTC, few)
    with pytest.raises(InvalidParameter, match="The number of fields has reached the maximum value 3"):
        with_field(meta, new("b"), UTC, few)


@pytest.mark.parametrize(
    ("name", "error", "text"),
    [
        ("nothing", FieldNotFound, "field not found: nothing"),
        ("id", InvalidParameter, "cannot drop primary key field: id"),
        ("v", InvalidParameter, "cannot drop the last vector field: v"),
        ("part", InvalidParameter, "cannot drop partition key field: part"),
        ("near", InvalidParameter, "cannot drop clustering key field: near"),
        ("$meta", InvalidParameter, "cannot drop dynamic field: $meta"),
        ("ends", InvalidParameter, "the property ttl_field names the field ends, drop the property first"),
        ("text", InvalidParameter, "field is referenced by function F as input, drop function first"),
    ],
)
def test_what_cannot_be_dropped_is_refused(name: str, error: type[MilvusException], text: str) -> None:
    meta = collection(
        new("part", is_partition_key=True), new("near", is_clustering_key=True), new("ends", DataType.TIMESTAMPTZ),
        new("text", DataType.VARCHAR, params={"max_length": "9"}), dynamic=True, properties={"ttl_field": "ends"},
        functions=(FunctionSchema(name="F", type=FunctionType.BM25, input_field_names=("text",),
                                  output_field_names=("o",)),),
    )  # fmt: skip
    with pytest.raises(error) as caught:
        drop(meta, name)
    assert text in caught.value.message


def test_a_field_is_dropped_by_its_id_and_not_while_it_has_an_index() -> None:
    meta = collection(WORD)
    assert "word" not in ids(without_field(meta, "", 102, ["v"]))
    with pytest.raises(InvalidParameter, match="cannot drop field word: it has an index"):
        without_field(meta, "word", 0, ["word"])
    with pytest.raises(FieldNotFound, match="field not found: 99"):
        without_field(meta, "", 99, ())


# -- params of fields ---------------------------------------------------------------------------
def test_lengths_capacities_and_descriptions_change() -> None:
    meta = collection(WORD, TAGS)
    meta = with_field_params(meta, "word", {"max_length": "4", "field.description": "short"}, (), LIMITS)
    meta = with_field_params(meta, "tags", {"max_capacity": "9"}, (), LIMITS)
    word, tags = meta.schema.field("word"), meta.schema.field("tags")
    assert word is not None
    assert tags is not None
    assert (word.max_length, word.description, tags.max_capacity) == (4, "short", 9)
    assert with_field_params(meta, "word", {"max_length": "4"}, (), LIMITS) is meta, "nothing changed"


@pytest.mark.parametrize(
    ("name", "params", "deleted", "text"),
    [
        ("word", {"dim": "4"}, (), "dim does not allow update in collection field param"),
        ("word", {"nullable": "false"}, (), "nullable does not allow update in collection field param"),
        ("word", {}, ("max_length",), "max_length does not allow delete in collection field param"),
        ("word", {"max_length": "70000"}, (), "should be in (0, 65535], but got 70000 instead"),
        ("word", {"max_length": "many"}, (), "the value for max_length of field word must be an integer"),
        ("v", {"max_length": "4"}, (), "can not modify the maxlength for non-string types"),
        ("word", {"max_capacity": "4"}, (), "can not modify the maxcapacity for non-array types"),
        ("tags", {"max_capacity": "5000"}, (), "should be in (0, 4096]"),
        ("tags", {"mmap.enabled": "perhaps"}, (), "the value for mmap.enabled of field tags must be true or false"),
        ("tags", {"warmup": "soon"}, (), "the value for warmup of field tags must be one of sync, async, disable"),
        ("nothing", {"max_length": "4"}, (), "field nothing does not exist in collection c"),
        ("word", {}, (), "no property to set and no key to delete is given"),
        ("word", {"max_length": "4"}, ("mmap.enabled",), "cannot be set and deleted in one request"),
    ],
)
def test_params_that_cannot_change_are_refused(
    name: str, params: dict[str, str], deleted: tuple[str, ...], text: str
) -> None:
    with pytest.raises(MilvusException) as caught:
        with_field_params(collection(WORD, TAGS), name, params, deleted, LIMITS)
    assert text in caught.value.message


def test_a_length_is_not_made_shorter_than_the_default() -> None:
    meta = collection(msgspec.structs.replace(WORD, default_value="seven77"))
    with pytest.raises(InvalidParameter, match="exceeds max length"):
        with_field_params(meta, "word", {"max_length": "6"}, (), LIMITS)


# -- properties ---------------------------------------------------------------------------------
def test_properties_are_set_and_dropped() -> None:
    meta = with_properties(collection(), {"collection.ttl.seconds": "60", "timezone": "Asia/Tokyo"}, (), LIMITS)
    assert meta.properties == meta.schema.properties == {"collection.ttl.seconds": "60", "timezone": "Asia/Tokyo"}
    meta = with_properties(meta, {}, ("collection.ttl.seconds", "mmap.enabled"), LIMITS)
    assert meta.properties == meta.schema.properties == {"timezone": "Asia/Tokyo"}


def test_description_and_level_are_changed_like_properties_and_are_none() -> None:
    meta = with_properties(collection(), {"collection.description": "all", "consistency_level": "Strong"}, (), LIMITS)
    assert (meta.schema.description, meta.consistency_level, meta.properties) == ("all", ConsistencyLevel.Strong, {})


def test_the_dynamic_field_is_turned_on_once_and_for_all() -> None:
    meta = with_properties(drop(collection(WORD), "word"), {"dynamicfield.enabled": "True"}, (), LIMITS)
    assert meta.schema.enable_dynamic_field
    assert ids(meta) == {"id": 100, "v": 101, "$meta": 103}
    assert meta.properties == {}
    assert with_properties(meta, {"dynamicfield.enabled": "true"}, (), LIMITS) == meta
    with pytest.raises(InvalidParameter, match="cannot be turned off"):
        with_properties(meta, {"dynamicfield.enabled": "false"}, (), LIMITS)


@pytest.mark.parametrize(
    ("properties", "deleted", "text"),
    [
        ({"collection.colour": "red"}, (), "unknown collection property collection.colour"),
        ({}, ("collection.colour",), "unknown collection property collection.colour"),
        ({"mmap_enabled": "true"}, (), "unknown collection property mmap_enabled, did you mean mmap.enabled?"),
        ({"": "red"}, (), "must have 1 to 255 bytes, got ''"),
        ({"c" * 256: "red"}, (), "must have 1 to 255 bytes"),
        ({"colour": "r" * 65_536}, (), "the value of the collection property colour has more than 65535 bytes"),
        ({f"p{n}": "" for n in range(65)}, (), "a collection has at most 64 properties of its user's own"),
        ({"partitionkey.isolation": "true"}, (), "isolation mode is enabled but no partition key field is set"),
        ({"partitionkey.isolation": "perhaps"}, (), "must be true or false, but got perhaps"),
        ({"query_mode": "large_topk"}, (), "query_mode is not built in this version"),
        ({}, ("query_mode",), "query_mode is not built in this version"),
        ({"warmup.vectorIndex": "soon"}, (), "the value for warmup.vectorIndex must be one of"),
        ({"mmap.enabled": "perhaps"}, (), "must be true or false, but got perhaps"),
        ({"collection.ttl.seconds": "soon"}, (), "collection TTL is not a valid positive integer"),
        ({"ttl_field": "v"}, (), "ttl field must be of type Timestamptz"),
        ({"timezone": "Mars/Olympus"}, (), "unknown or invalid IANA Time Zone ID: Mars/Olympus"),
        ({"consistency_level": "Loose"}, (), "Invalid consistency level: Loose"),
        ({"dynamicfield.enabled": "perhaps"}, (), "must be true or false, but got perhaps"),
        ({}, ("dynamicfield.enabled",), "can be changed, not dropped"),
        ({}, (), "no property to set and no key to delete is given"),
    ],
)
def test_properties_without_an_effect_are_refused(
    properties: dict[str, str], deleted: tuple[str, ...], text: str
) -> None:
    with pytest.raises(MilvusException) as caught:
        with_properties(collection(), properties, deleted, LIMITS)
    assert text in caught.value.message


def test_a_collection_that_came_to_its_fields_by_changes_is_the_same_as_one_made_with_them() -> None:
    grown = add(drop(add(collection(), new("a")), "a"), new("b"))
    wanted = collection(new("b"))
    assert same_or_raise(grown, wanted.schema, 1, 1, ConsistencyLevel.Bounded) is grown
    with pytest.raises(InvalidParameter, match="different parameters"):
        same_or_raise(grown, collection().schema, 1, 1, ConsistencyLevel.Bounded)
