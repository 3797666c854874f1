"""Writes that look at what is there: partial upserts, operations on arrays, conditions; and reads of the past."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.acceptance.conftest import OUR_WAYS, Sdk
from tests.acceptance.test_collections import flat_index

from redkite.errors import Conflict, MilvusException, ParamError

ours = pytest.mark.parametrize("sdk", OUR_WAYS, indirect=True, scope="session")


@pytest.fixture
def things(sdk: Sdk, client: Any, name: str) -> str:
    """Three rows with a price, tags, and the dynamic key `colour`."""
    types = sdk.module.DataType
    schema = sdk.module.MilvusClient.create_schema(enable_dynamic_field=True)
    schema.add_field("id", types.INT64, is_primary=True)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=2)
    schema.add_field("price", types.INT64, nullable=True)
    schema.add_field("tags", types.ARRAY, element_type=types.VARCHAR, max_capacity=4, max_length=9, nullable=True)
    schema.add_field("title", types.VARCHAR, max_length=20, default_value="none")
    client.create_collection(name, schema=schema, index_params=flat_index(client))
    client.insert(name, [
        {"id": i, "vector": [i, 1.0], "price": 10 * i, "tags": ["a", "b"], "title": f"t{i}", "colour": "red"}
        for i in (1, 2, 3)
    ])  # fmt: skip
    return name


def row(client: Any, name: str, key: int) -> dict[str, Any]:
    (found,) = client.get(name, [key])
    return dict(found)


# -- partial upserts ----------------------------------------------------------------------------
def test_a_partial_upsert_changes_the_given_fields_and_no_other(client: Any, things: str) -> None:
    answer = client.upsert(things, [{"id": 2, "price": 99}, {"id": 1, "price": 98}], partial_update=True)
    assert answer["upsert_count"] == 2
    found = row(client, things, 2)
    assert found["price"] == 99
    assert found["title"] == "t2"
    assert list(found["tags"]) == ["a", "b"]
    assert found["colour"] == "red"
    assert list(found["vector"]) == [2.0, 1.0]
    assert row(client, things, 1)["price"] == 98
    assert row(client, things, 3)["price"] == 30


def test_a_partial_upsert_keeps_the_dynamic_keys_it_does_not_name(client: Any, things: str) -> None:
    client.upsert(things, [{"id": 2, "size": 7}], partial_update=True)
    found = row(client, things, 2)
    assert (found["colour"], found["size"], found["price"]) == ("red", 7, 20)


def test_a_partial_upsert_of_a_new_key_takes_defaults_and_wants_the_rest(client: Any, things: str) -> None:
    client.upsert(things, [{"id": 9, "vector": [9.0, 9.0]}], partial_update=True)
    found = row(client, things, 9)
    assert (found["price"], found["tags"], found["title"]) == (None, None, "none")
    with pytest.raises(Exception, match=r"fieldSchema\(vector\) has no corresponding fieldData pass in"):
        client.upsert(things, [{"id": 2, "price": 1}, {"id": 10, "price": 1}], partial_update=True)
    assert row(client, things, 2)["price"] == 20


def test_array_operations_append_remove_and_replace(sdk: Sdk, client: Any, things: str) -> None:
    op = sdk.module.FieldOp
    client.upsert(things, [{"id": 1, "tags": ["c"]}], partial_update=True, field_ops={"tags": op.array_append()})
    assert list(row(client, things, 1)["tags"]) == ["a", "b", "c"]
    client.upsert(things, [{"id": 1, "tags": ["b", "x"]}], partial_update=True, field_ops={"tags": op.array_remove()})
    assert list(row(client, things, 1)["tags"]) == ["a", "c"]
    client.upsert(things, [{"id": 1, "tags": ["z"]}], partial_update=True, field_ops={"tags": op.replace()})
    assert list(row(client, things, 1)["tags"]) == ["z"]


def test_an_operation_on_an_array_makes_an_upsert_partial(sdk: Sdk, client: Any, things: str) -> None:
    before = row(client, things, 2)
    client.upsert(things, [{"id": 2, "tags": ["c"]}], field_ops={"tags": sdk.module.FieldOp.array_append()})
    assert row(client, things, 2) | {"tags": None} == before | {"tags": None}
    assert list(row(client, things, 2)["tags"]) == [*(before["tags"] or ()), "c"]


def test_what_is_removed_from_nothing_leaves_nothing(sdk: Sdk, client: Any, things: str) -> None:
    remove = {"tags": sdk.module.FieldOp.array_remove()}
    client.upsert(things, [{"id": 3, "tags": None}], partial_update=True)
    client.upsert(things, [{"id": 3, "tags": ["x"]}], partial_update=True, field_ops=remove)
    client.upsert(things, [{"id": 8, "vector": [8.0, 8.0], "tags": ["x"]}], partial_update=True, field_ops=remove)
    assert [list(row(client, things, key)["tags"]) for key in (3, 8)] == [[], []]
    client.upsert(things, [{"id": 3, "tags": None}], partial_update=True, field_ops=remove)
    assert list(row(client, things, 3)["tags"]) == []


def test_an_append_beyond_the_capacity_is_refused_and_changes_nothing(sdk: Sdk, client: Any, things: str) -> None:
    with pytest.raises(Exception, match="capacity"):
        client.upsert(
            things, [{"id": 1, "tags": ["c", "d", "e"]}], partial_update=True,
            field_ops={"tags": sdk.module.FieldOp.array_append()},
        )  # fmt: skip
    assert list(row(client, things, 1)["tags"]) == ["a", "b"]


@ours
def test_an_operation_that_cannot_be_is_named(client: Any, things: str) -> None:
    with pytest.raises(MilvusException, match="ARRAY_APPEND needs an Array field, this one is Int64"):
        client.upsert(things, [{"id": 1, "price": 1}], partial_update=True, field_ops={"price": "array_append"})
    with pytest.raises(ParamError, match="'push' is none of 'replace', 'array_append', 'array_remove'"):
        client.upsert(things, [{"id": 1, "tags": ["c"]}], partial_update=True, field_ops={"tags": "push"})


def test_a_partial_upsert_leaves_a_row_in_its_partition(client: Any, things: str) -> None:
    client.create_partition(things, "p")
    client.insert(things, [{"id": 7, "vector": [7.0, 1.0], "price": 1}], partition_name="p")
    client.upsert(things, [{"id": 7, "price": 2}], partial_update=True)
    assert [dict(r) for r in client.query(things, "id == 7", output_fields=["price"], partition_names=["p"])] == [
        {"id": 7, "price": 2}
    ]


# -- conditions ---------------------------------------------------------------------------------
@ours
def test_a_write_with_a_stale_version_is_a_conflict_and_writes_nothing(client: Any, things: str) -> None:
    (seen,) = client.query(things, "id == 1", output_fields=["price", "$version"])
    client.upsert(things, [{"id": 1, "price": 11}], partial_update=True, if_version=seen["$version"])
    with pytest.raises(Conflict, match=r"row id=1 of collection \w+ has version \d+, if_version=\d+ was asked"):
        client.upsert(things, [{"id": 1, "price": 12}], partial_update=True, if_version=seen["$version"])
    assert row(client, things, 1)["price"] == 11
    with pytest.raises(Conflict):
        client.delete(things, ids=[1], if_version=seen["$version"])
    (now,) = client.query(things, "id == 1", output_fields=["$version"])
    assert client.delete(things, ids=[1], if_version=now["$version"]) == {"delete_count": 1}
    assert client.get(things, [1]) == []


@ours
def test_version_zero_means_that_there_is_no_such_row(client: Any, things: str) -> None:
    fresh = {"id": 50, "vector": [0.0, 1.0]}
    client.upsert(things, [fresh], if_version=0)
    with pytest.raises(Conflict, match="if_version=0 was asked"):
        client.upsert(things, [fresh], if_version=0)
    client.delete(things, ids=[50])
    client.upsert(things, [fresh], if_version=0)


@ours
def test_all_rows_of_a_conditional_write_must_pass_or_none_is_written(client: Any, things: str) -> None:
    changes = [{"id": 2, "price": 0}, {"id": 3, "price": 0}]
    with pytest.raises(Conflict, match=r"row id=3 of collection \w+ does not pass `price < \{most\}`"):
        client.upsert(things, changes, partial_update=True, where="price < {most}", where_params={"most": 30})
    assert row(client, things, 2)["price"] == 20
    client.upsert(things, changes, partial_update=True, where="price < {most}", where_params={"most": 31})
    assert row(client, things, 2)["price"] == 0
    with pytest.raises(Conflict, match=r"row id=77 .* is not there"):
        client.delete(things, ids=[2, 77], where="price == 0")
    assert client.delete(things, ids=[2, 3], where="price == 0") == {"delete_count": 2}
    with pytest.raises(MilvusException, match="cannot parse"):
        client.delete(things, ids=[1], where="price ==")


@ours
def test_concurrent_conditional_increments_lose_none(client: Any, things: str) -> None:
    import threading

    done = []

    def increment() -> None:
        while len(done) < 40:
            (seen,) = client.query(things, "id == 1", output_fields=["price", "$version"])
            change = [{"id": 1, "price": seen["price"] + 1}]
            try:
                client.upsert(things, change, partial_update=True, if_version=seen["$version"])
            except Conflict:
                continue
            done.append(1)

    threads = [threading.Thread(target=increment) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert row(client, things, 1)["price"] == 10 + len(done)


# -- the past -----------------------------------------------------------------------------------
@ours
def test_reads_as_of_a_past_moment_see_what_was_there_then(client: Any, things: str) -> None:
    (seen,) = client.query(things, "id == 2", output_fields=["$version"])
    before = seen["$version"]
    time.sleep(0.01)
    moment = datetime.now(UTC)
    time.sleep(0.01)
    client.delete(things, ids=[1])
    client.upsert(things, [{"id": 2, "price": 777}], partial_update=True)
    client.insert(things, [{"id": 4, "vector": [4.0, 1.0]}])
    for turn in range(2):
        if turn:
            client.flush(things)
        for then in (before, moment, moment.isoformat()):
            found = client.query(things, "id >= 0", output_fields=["price"], as_of=then)
            assert [(r["id"], r["price"]) for r in found] == [(1, 10), (2, 20), (3, 30)]
            assert client.query(things, output_fields=["count(*)"], as_of=then)[0]["count(*)"] == 3
            assert [r["price"] for r in client.get(things, [2, 4], ["price"], as_of=then)] == [20]
            hits = client.search(things, [[1.0, 1.0]], limit=9, output_fields=["price"], as_of=then)[0]
            assert sorted((h["id"], h["entity"]["price"]) for h in hits) == [(1, 10), (2, 20), (3, 30)]
        now = client.query(things, "id >= 0", output_fields=["price"])
        assert [(r["id"], r["price"]) for r in now] == [(2, 777), (3, 30), (4, None)]


def test_pymilvus_reads_the_past_by_a_search_parameter(client: Any, things: str) -> None:
    moment = int(time.time() * 1000) << 18
    time.sleep(0.005)
    client.delete(things, ids=[1])
    hits = client.search(things, [[1.0, 1.0]], limit=9, search_params={"as_of": moment})[0]
    assert sorted(h["id"] for h in hits) == [1, 2, 3]
    assert sorted(h["id"] for h in client.search(things, [[1.0, 1.0]], limit=9)[0]) == [2, 3]


@ours
def test_a_moment_that_cannot_be_read_is_refused(client: Any, things: str) -> None:
    with pytest.raises(MilvusException, match=r"lies .* ms in the future"):
        client.query(things, "id >= 0", as_of=datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(MilvusException, match=r"lies before collection .* was created"):
        client.query(things, "id >= 0", as_of="2001-01-01T00:00:00Z")
    with pytest.raises(ParamError, match="as_of=12 is no hybrid timestamp"):
        client.query(things, "id >= 0", as_of=12)
    with pytest.raises(ParamError, match="'yesterday' is no ISO 8601 time"):
        client.query(things, "id >= 0", as_of="yesterday")
    moment = datetime.now(UTC)
    time.sleep(0.005)
    client.truncate_collection(things)
    with pytest.raises(MilvusException, match="are no longer kept"):
        client.query(things, "id >= 0", as_of=moment)
    with pytest.raises(MilvusException, match=r"guarantee_timestamp=.* in the future"):
        client.query(things, "id >= 0", guarantee_timestamp=int((time.time() + 600) * 1000) << 18)
