"""Policies about rows, as callers meet them: what a user may neither find, change, replace nor copy."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2
from tests.server.guarded import denied
from tests.servers import ProcessServer

import redkite
from redkite.errors import CollectionNotLoaded, MilvusException, NotPermitted, PartitionNotLoaded
from redkite.model.privileges import OBJECT_OF
from redkite.wire.methods import PATHS


@pytest.fixture
def notes(root: redkite.MilvusClient, bob: str) -> Iterator[str]:
    """A collection of which everybody may touch only their own rows; the reader may read and write it."""
    schema = root.create_schema()
    schema.add_field("id", redkite.DataType.INT64, is_primary=True)
    schema.add_field("owner", redkite.DataType.VARCHAR, max_length=32)
    schema.add_field("v", redkite.DataType.FLOAT_VECTOR, dim=2)
    index = root.prepare_index_params()
    index.add_index("v", index_type="FLAT", metric_type="L2")
    root.create_collection("notes", schema=schema, index_params=index)
    root.insert("notes", [{"id": n, "owner": "bob" if n % 2 else "eve", "v": [n, n]} for n in range(10)])
    root.grant_privilege_v2("reader", "CollectionReadWrite", "notes")
    root.create_row_policy("notes", "own", ["query", "search", "insert", "upsert", "delete"], "owner == $user")
    yield "notes"
    root.drop_collection("notes")


def test_a_policy_hides_rows_from_every_kind_of_read(
    guarded: ProcessServer, sdk: ModuleType, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    client = sdk.MilvusClient(guarded.uri, token=bob, dedicated=True)
    odd = [1, 3, 5, 7, 9]
    assert [row["id"] for row in client.query(notes, filter="id >= 0")] == odd
    assert client.query(notes, filter="", output_fields=["count(*)"])[0]["count(*)"] == 5
    assert sorted(hit["id"] for hit in client.search(notes, data=[[0, 0]], limit=10)[0]) == odd
    assert client.get(notes, ids=[2, 3])[0]["id"] == 3 and len(client.get(notes, ids=[2, 3])) == 1
    request = sdk.AnnSearchRequest([[0, 0]], "v", {}, limit=10)
    assert sorted(h["id"] for h in client.hybrid_search(notes, [request], sdk.RRFRanker(), limit=10)[0]) == odd
    assert len(root.query(notes, filter="id >= 0")) == 10
    client.close()


def test_no_filter_gets_around_a_policy(guarded: ProcessServer, notes: str, bob: str) -> None:
    client = redkite.MilvusClient(guarded.uri, token=bob)
    for text in ("id >= 0) or (id >= 0", "true) or (true", "owner == 'eve' or id >= 0", "not (owner == 'bob')"):
        try:
            found = client.query(notes, filter=text)
        except MilvusException as error:
            assert "parse" in error.message or "unexpected" in error.message, error.message
        else:
            assert {row["owner"] for row in found} <= {"bob"}, text
    with pytest.raises(NotPermitted, match="vectors of rows that policies may hide"):
        client.search(notes, ids=[2], limit=3)
    client.close()


def test_a_policy_binds_what_is_written_replaced_and_deleted(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    client = redkite.MilvusClient(guarded.uri, token=bob)
    client.upsert(notes, [{"id": 1, "owner": "bob", "v": [5, 5]}, {"id": 11, "owner": "bob", "v": [5, 5]}])
    assert "row 1 does not pass" in denied(
        lambda: client.insert(notes, [{"id": 12, "owner": "bob", "v": [1, 1]}, {"id": 13, "owner": "eve", "v": [1, 1]}])
    )
    assert "would be replaced" in denied(lambda: client.upsert(notes, [{"id": 2, "owner": "bob", "v": [5, 5]}]))
    assert "would be replaced" in denied(lambda: client.insert(notes, [{"id": 2, "owner": "bob", "v": [5, 5]}]))
    denied(lambda: client.upsert(notes, [{"id": 1, "owner": "eve"}], partial_update=True))
    client.delete(notes, filter="id >= 0")
    assert [row["id"] for row in root.query(notes, filter="id >= 0")] == [0, 2, 4, 6, 8]
    client.close()


def test_policies_add_up_and_without_one_for_its_roles_a_user_sees_nothing(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    client = redkite.MilvusClient(guarded.uri, token=bob)
    root.create_row_policy(notes, "shared", ["query"], "id in [0, 2]", roles=["reader"])
    assert [row["id"] for row in client.query(notes, filter="id >= 0")] == [0, 1, 2, 3, 5, 7, 9]
    root.drop_row_policy(notes, "own")
    root.drop_row_policy(notes, "shared")
    root.create_row_policy(notes, "others", ["query"], "true", roles=["admin"])
    assert client.query(notes, filter="id >= 0") == []
    assert root.list_row_policies(notes)[0]["policy_name"] == "others"
    assert "CreateRowPolicy" in denied(lambda: client.create_row_policy(notes, "mine", ["query"], "true"))
    with pytest.raises(MilvusException, match="cannot parse expression"):
        root.create_row_policy(notes, "broken", ["query"], "owner ==")
    with pytest.raises(MilvusException, match="a row policy is about query, search"):
        root.create_row_policy(notes, "broken", ["fly"], "true")
    client.close()


# -- the collection as a whole ------------------------------------------------------------------
_CHANGES: dict[str, tuple[str, Callable[[redkite.MilvusClient], Any]]] = {
    "add a field": (
        "AddCollectionField",
        lambda client: client.add_collection_field("notes", "more", redkite.DataType.INT64, nullable=True),
    ),
    "drop a field": ("AlterCollectionSchema", lambda client: client.drop_collection_field("notes", "owner")),
    "drop a partition": ("DropPartition", lambda client: client.drop_partition("notes", "archive")),
    "truncate": ("DropCollection", lambda client: client.truncate_collection("notes")),
    "drop": ("DropCollection", lambda client: client.drop_collection("notes")),
    "rename": ("RenameCollection", lambda client: client.rename_collection("notes", "mine")),
    "create a snapshot": ("CreateSnapshot", lambda client: client.create_snapshot("copy", "notes")),
    "export a snapshot": ("ExportSnapshot", lambda client: client.export_snapshot("kept", "notes", "elsewhere")),
    "restore a snapshot": ("RestoreSnapshot", lambda client: client.restore_snapshot("kept", "notes", "mine")),
}


@pytest.mark.parametrize("change", _CHANGES)
def test_whoever_policies_bind_neither_changes_nor_copies_the_whole_collection(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str, change: str
) -> None:
    privilege, call = _CHANGES[change]
    root.create_partition(notes, "archive")
    root.release_partitions(notes, ["archive"])
    root.create_snapshot("kept", notes)
    root.grant_privilege_v2("reader", "CollectionAdmin", notes)
    root.grant_privilege("reader", OBJECT_OF[privilege], privilege, "*")
    client = redkite.MilvusClient(guarded.uri, token=bob)
    try:
        assert "the collection has row policies" in denied(lambda: call(client))
        assert not root.has_collection("mine")
        assert len(root.query(notes, filter="id >= 0", output_fields=["owner"])) == 10
        assert root.list_snapshots(notes) == ["kept"]
    finally:
        client.close()
        root.drop_snapshot("kept", notes)


# -- what reads ---------------------------------------------------------------------------------
def test_a_hybrid_search_by_ids_is_refused_under_a_policy(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    message = milvus_pb2.HybridSearchRequest(collection_name=notes)
    part = message.requests.add(collection_name=notes, nq=1)
    part.ids.int_id.data.append(2)
    for key, value in {"anns_field": "v", "topk": "3", "params": "{}", "metric_type": "L2"}.items():
        part.search_params.add(key=key, value=value)
    for key, value in {"strategy": "rrf", "params": '{"k": 60}', "limit": "3"}.items():
        message.rank_params.add(key=key, value=value)
    with pytest.raises(grpc.RpcError) as caught:
        _called(guarded, "HybridSearch", message, bob)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "vectors of rows that policies may hide" in caught.value.details()


@pytest.mark.parametrize("option", ["explain", "analyze"])
def test_an_explanation_is_refused_under_a_policy(guarded: ProcessServer, notes: str, bob: str, option: str) -> None:
    client = redkite.MilvusClient(guarded.uri, token=bob)
    told = {option: True}
    part = redkite.AnnSearchRequest([[0, 0]], "v", {}, limit=10)
    for call in (
        lambda: client.query(notes, filter="id >= 0", **told),
        lambda: client.search(notes, data=[[0, 0]], limit=3, **told),
        lambda: client.hybrid_search(notes, [part], redkite.RRFRanker(), limit=3, **told),
    ):
        assert "an explanation would show the policies" in denied(call)
    client.close()


# -- what writes --------------------------------------------------------------------------------
@pytest.mark.parametrize("text", ["true", "", " ", "id == id or true", "not false"])
def test_a_delete_of_everything_stays_refused_under_a_policy(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str, text: str
) -> None:
    message = milvus_pb2.DeleteRequest(collection_name=notes, expr=text)
    answer = milvus_pb2.MutationResult.FromString(_called(guarded, "Delete", message, bob))
    assert answer.status.code == 1100, text
    assert len(root.query(notes, filter="id >= 0")) == 10


def test_rows_of_a_partition_that_is_not_loaded_are_not_replaced(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    root.create_partition(notes, "archive")
    root.insert(notes, [{"id": 50, "owner": "eve", "v": [1, 1]}], partition_name="archive")
    root.release_partitions(notes, ["archive"])
    client = redkite.MilvusClient(guarded.uri, token=bob)
    mine = [{"id": 50, "owner": "bob", "v": [9, 9]}]
    for call in (
        lambda: client.upsert(notes, mine, partition_name="archive"),
        lambda: client.insert(notes, mine, partition_name="archive"),
        lambda: client.upsert(notes, mine),
        lambda: client.insert(notes, mine),
    ):
        with pytest.raises((NotPermitted, PartitionNotLoaded)):
            call()
    client.close()
    root.load_partitions(notes, ["archive"])
    assert root.query(notes, filter="id == 50", output_fields=["owner"]) == [{"id": 50, "owner": "eve"}]


def test_rows_of_a_collection_that_is_not_loaded_are_not_replaced(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    root.release_collection(notes)
    client = redkite.MilvusClient(guarded.uri, token=bob)
    for write in (client.insert, client.upsert):
        with pytest.raises((NotPermitted, CollectionNotLoaded)):
            write(notes, [{"id": 2, "owner": "bob", "v": [1, 1]}])
    client.close()
    root.load_collection(notes)
    assert root.query(notes, filter="id == 2", output_fields=["owner"]) == [{"id": 2, "owner": "eve"}]


def test_under_a_policy_rows_with_keys_are_written_only_where_what_they_replace_can_be_read(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    root.release_collection(notes)
    with redkite.MilvusClient(guarded.uri, token=bob) as client, pytest.raises(CollectionNotLoaded):
        client.insert(notes, [{"id": 51, "owner": "bob", "v": [1, 1]}])
    root.load_collection(notes)


def test_a_row_written_at_the_same_moment_is_not_replaced_either(
    guarded: ProcessServer, root: redkite.MilvusClient, notes: str, bob: str
) -> None:
    client = redkite.MilvusClient(guarded.uri, token=bob, dedicated=True)
    keys = range(1000, 1050)
    together = threading.Barrier(2, timeout=30)
    unexpected: list[Exception] = []

    def replace() -> None:
        try:
            for key in keys:
                together.wait()
                try:
                    client.upsert(notes, [{"id": key, "owner": "bob", "v": [1, 1]}])
                except NotPermitted:
                    continue
        except Exception as error:  # noqa: BLE001  the test shows it
            unexpected.append(error)
            together.abort()

    other = threading.Thread(target=replace)
    other.start()
    for key in keys:
        together.wait()
        root.insert(notes, [{"id": key, "owner": "eve", "v": [2, 2]}])
    other.join()
    client.close()
    assert unexpected == []
    found = root.query(notes, filter="id >= 1000", output_fields=["owner"], consistency_level="Strong")
    # Whichever came first: root replaces what the user wrote, and the user does not replace what root wrote.
    assert {row["id"] for row in found if row["owner"] == "eve"} == set(keys)


def _called(server: ProcessServer, method: str, message: Any, user: str) -> bytes:
    """The answer to a message just as it is."""
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        call = channel.unary_unary(PATHS[method])
        answer: bytes = call(message.SerializeToString(), metadata=(("authorization", _base64(user)),), timeout=60)
    return answer


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
