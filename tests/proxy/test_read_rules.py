from __future__ import annotations

from typing import Any

import pytest

from redkite.coordinator.meta import CollectionMeta, PartitionMeta
from redkite.errors import MilvusException
from redkite.model.schema import CollectionSchema, FieldSchema
from redkite.model.types import ConsistencyLevel, DataType, Metric
from redkite.proxy.rules import read_rules as rules

END = ": invalid parameter"
TWICE = END + END
ID = FieldSchema(name="id", data_type=DataType.INT64, is_primary=True)
VECTOR = FieldSchema(name="vector", data_type=DataType.FLOAT_VECTOR, params={"dim": "128"})
TITLE = FieldSchema(name="title", data_type=DataType.VARCHAR, params={"max_length": "8"})
BITS = FieldSchema(name="bits", data_type=DataType.BINARY_VECTOR, params={"dim": "8"})
META = FieldSchema(name="$meta", data_type=DataType.JSON, is_dynamic=True)
STATIC = CollectionSchema(name="c", fields=(ID, VECTOR, TITLE))
DYNAMIC = CollectionSchema(name="c", fields=(ID, VECTOR, TITLE, META), enable_dynamic_field=True)


def message_of(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(MilvusException) as caught:
        call(*args, **kwargs)
    return f"{caught.value.code} {caught.value.message}"


@pytest.mark.parametrize(
    ("limit", "offset", "nq", "text"),
    [
        (0, 0, 1, "topk [0] is invalid, it should be in range [1, 16384], but got 0"),
        (16_385, 0, 1, "topk [16385] is invalid, it should be in range [1, 16384], but got 16385"),
        (1, -1, 1, "offset [-1] is invalid, it should be in range [1, 16384], but got -1"),
        (1, 16_385, 1, "offset [16385] is invalid, it should be in range [1, 16384], but got 16385"),
        (10, 16_380, 1, "offset+topk [16390] is invalid, it should be in range [1, 16384], but got 16390"),
        (1, 0, 0, "nq [0] is invalid, nq (number of search vector per search request) should be in range [1, 16384], "
                  "but got 0"),
        (1, 0, 16_385, "nq [16385] is invalid, nq (number of search vector per search request) should be in range "
                       "[1, 16384], but got 16385"),
    ],
)  # fmt: skip
def test_a_search_window_out_of_range_is_refused(limit: int, offset: int, nq: int, text: str) -> None:
    assert message_of(rules.check_search_window, limit, offset, nq) == "1100 " + text + TWICE


def test_the_largest_windows_are_allowed() -> None:
    rules.check_search_window(16_384, 0, 16_384)
    rules.check_search_window(1, 16_383, 1)
    rules.check_query_window("", 16_384, 0)
    rules.check_query_window("a > 1", None, 16_384)
    rules.check_query_window("", None, 0, count=True)


@pytest.mark.parametrize(
    ("expression", "limit", "offset", "text"),
    [
        ("", 0, 0, "invalid max query result window, limit [0] is invalid, should be greater than 0" + TWICE),
        ("", 1, -1, "invalid max query result window, offset [-1] is invalid, should be gte than 0" + TWICE),
        (
            "", 16_000, 400,
            "invalid max query result window, (offset+limit) should be in range [1, 16384], but got 16400" + TWICE,
        ),
        (" ", None, 0, "empty expression should be used with limit" + END),
    ],
)  # fmt: skip
def test_a_query_window_out_of_range_is_refused(expression: str, limit: int | None, offset: int, text: str) -> None:
    assert message_of(rules.check_query_window, expression, limit, offset) == "1100 " + text


@pytest.mark.parametrize(("limit", "offset"), [(10, 0), (None, 5)])
def test_a_count_has_no_pages(limit: int | None, offset: int) -> None:
    text = message_of(rules.check_query_window, "a > 1", limit, offset, count=True)
    assert text == "1100 count entities with pagination is not allowed" + END


@pytest.mark.parametrize("decimals", [-2, 7])
def test_scores_are_rounded_to_at_most_six_decimals(decimals: int) -> None:
    assert message_of(rules.check_round_decimal, decimals) == (
        f"1100 round_decimal [{decimals}] is invalid, should be -1 or an integer in range [0, 6]" + END
    )
    for allowed in (-1, 0, 6):
        rules.check_round_decimal(allowed)


def test_the_only_vector_field_need_not_be_named() -> None:
    assert rules.choose_vector_field(STATIC, "") is VECTOR
    assert rules.choose_vector_field(STATIC, "vector") is VECTOR
    two = CollectionSchema(name="c", fields=(ID, VECTOR, BITS))
    assert rules.choose_vector_field(two, "bits") is BITS
    assert message_of(rules.choose_vector_field, two, "") == (
        "1100 multiple anns_fields exist, please specify a anns_field in search_params" + END
    )
    assert message_of(rules.choose_vector_field, STATIC, "nothing") == (
        "1100 failed to create query plan: failed to get field schema by name: fieldName(nothing) not found" + END
    )
    assert "not of vector data type" in message_of(rules.choose_vector_field, STATIC, "title")


def test_a_search_must_name_the_metric_of_the_index() -> None:
    rules.check_metric("", Metric.COSINE)
    rules.check_metric("cosine", Metric.COSINE)
    assert message_of(rules.check_metric, "IP", Metric.COSINE) == (
        "1100 metric type not match: invalid parameter[expected=COSINE][actual=IP]"
    )


def collection(schema: CollectionSchema) -> CollectionMeta:
    partitions = tuple(PartitionMeta(name=f"p{i}", partition_id=i, created_timestamp=1) for i in range(3))
    return CollectionMeta(
        collection_id=1, database="default", schema=schema, shards=1, channels=("c_1v0",), partitions=partitions,
        aliases=(), consistency_level=ConsistencyLevel.Bounded, properties={}, created_timestamp=1, update_timestamp=1,
    )  # fmt: skip


def test_partitions_are_chosen_by_name() -> None:
    meta = collection(STATIC)
    assert rules.choose_partitions(meta, ()) is None
    assert rules.choose_partitions(meta, ("p2", "p0", "p2")) == {0, 2}
    assert message_of(rules.choose_partitions, meta, ("p9",)) == "1100 partition name p9 not found" + END
    keyed = CollectionSchema(
        name="c",
        fields=(ID, VECTOR, FieldSchema(name="tenant", data_type=DataType.INT64, is_partition_key=True)),
    )
    assert message_of(rules.choose_partitions, collection(keyed), ("p0",)) == (
        "1100 not support manually specifying the partition names if partition key mode is used" + END
    )


@pytest.mark.parametrize(
    ("schema", "names", "with_primary", "fetch", "show"),
    [
        (STATIC, (), False, (), ()),
        (STATIC, (), True, ("id",), ("id",)),
        (STATIC, ("title",), True, ("title", "id"), ("title", "id")),
        (STATIC, ("title", " title ", "vector"), False, ("title", "vector"), ("title", "vector")),
        (STATIC, ("*",), True, ("id", "vector", "title"), ("id", "vector", "title")),
        (DYNAMIC, ("*",), False, ("id", "vector", "title", "$meta"), ("id", "vector", "title", "$meta")),
        (DYNAMIC, ("colour", "title", "size"), False, ("$meta", "title"), ("colour", "title", "size")),
        (DYNAMIC, ("$meta",), False, ("$meta",), ("$meta",)),
        (DYNAMIC, ("*", "colour"), False, ("id", "vector", "title", "$meta"),
         ("id", "vector", "title", "$meta", "colour")),
    ],
)  # fmt: skip
def test_output_fields_are_expanded(
    schema: CollectionSchema, names: tuple[str, ...], with_primary: bool, fetch: tuple[str, ...], show: tuple[str, ...]
) -> None:
    assert rules.expand_output_fields(schema, names, with_primary=with_primary) == (fetch, show)


@pytest.mark.parametrize(
    ("schema", "name"),
    [(STATIC, "colour"), (STATIC, "$meta"), (STATIC, ""), (DYNAMIC, "count(*)"), (DYNAMIC, 'a["b"]')],
)
def test_an_unknown_output_field_is_refused(schema: CollectionSchema, name: str) -> None:
    assert message_of(rules.expand_output_fields, schema, (name,)) == f"1100 field {name} not exist" + END


def test_count_stands_alone() -> None:
    assert rules.is_count(("count(*)",))
    assert rules.is_count((" COUNT(*) ",))
    assert not rules.is_count(("count(*)", "id"))
    assert not rules.is_count(())
