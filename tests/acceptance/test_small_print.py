"""What callers meet at the edges of everyday calls: names left empty, keys that are not there, answers' exact keys."""

from __future__ import annotations

import base64
from typing import Any

import grpc
import pymilvus
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2
from tests.acceptance.conftest import Sdk
from tests.servers import ProcessServer

from redkite.wire.methods import PATHS

DIM = 2


def asked(server: ProcessServer, method: str, request: Any, reply: Any) -> Any:
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        return reply.FromString(channel.unary_unary(PATHS[method])(request.SerializeToString()))


def test_keys_that_are_named_count_as_deleted_there_or_not(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM)
    client.create_partition(name, "north")
    client.insert(name, [{"id": 1, "vector": [1, 2]}], partition_name="north")
    assert client.delete(name, ids=[1, 2])["delete_count"] == 2
    assert client.delete(name, ids=[1, 2, 3], partition_name="_default")["delete_count"] == 3
    assert client.delete(name, filter="id > 0", partition_name="north")["delete_count"] == 0


@pytest.mark.parametrize("method", ["DescribeCollection", "DropCollection", "LoadCollection", "ShowPartitions"])
def test_a_message_without_the_name_of_a_collection_is_told_so(server: ProcessServer, method: str) -> None:
    request = getattr(milvus_pb2, f"{method}Request")()
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        reply = channel.unary_unary(PATHS[method])(request.SerializeToString())
    assert b"collection name should not be empty: invalid parameter" in reply


def test_an_alias_of_no_name_cannot_be_dropped(server: ProcessServer, sdk: Sdk, client: Any) -> None:
    with pytest.raises(sdk.module.MilvusException) as caught:
        client.drop_alias("")
    assert (caught.value.code, sdk.ours) in ((1100, False), (1, True))


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("sdk", ["pymilvus", "redkite"], indirect=True, scope="session")
def test_parameters_that_came_as_one_object_are_shown_as_one(sdk: Sdk, client: Any, name: str) -> None:
    """The older classes of pymilvus send them so, and read them so."""
    schema = client.create_schema()
    schema.add_field("id", sdk.module.DataType.INT64, is_primary=True)
    schema.add_field("v", sdk.module.DataType.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema)
    pymilvus.connections.connect("small", uri=sdk.uri)
    older = pymilvus.Collection(name, using="small")
    older.create_index("v", {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 4}})
    assert older.index().params == {"index_type": "IVF_FLAT", "metric_type": "L2", "params": {"nlist": 4}}
    assert client.describe_index(name, "v")["params"] == {"nlist": 4}
    pymilvus.connections.disconnect("small")


def test_a_field_shows_its_flags_as_they_were_sent(sdk: Sdk, client: Any, name: str) -> None:
    schema = client.create_schema()
    kinds = sdk.module.DataType
    schema.add_field("id", kinds.INT64, is_primary=True)
    schema.add_field("t", kinds.VARCHAR, max_length=9, enable_analyzer=True)
    schema.add_field("v", kinds.FLOAT_VECTOR, dim=DIM)
    client.create_collection(name, schema=schema)
    (text,) = (field for field in client.describe_collection(name)["fields"] if field["name"] == "t")
    assert text["params"] == {"max_length": 9, "enable_analyzer": "true"}


def test_answers_have_the_keys_of_pymilvus(client: Any) -> None:
    client.create_role("mate")
    assert client.describe_role("mate") == {"role": "mate", "description": "", "privileges": []}
    client.drop_role("mate")
    assert "collection_name" not in client.list_aliases()


def test_pages_of_a_search_iterator_have_ids_and_distances_as_calls(client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM, metric_type="L2", consistency_level="Strong")
    client.insert(name, [{"id": n, "vector": [n, 0]} for n in range(3)])
    iterator = client.search_iterator(name, data=[[0, 0]], batch_size=2)
    page = iterator.next()
    assert (page.ids(), page.distances()) == ([0, 1], [0.0, 1.0])
    iterator.close()


def test_an_old_password_is_compared_where_nobody_need_say_who_asks(sdk: Sdk, client: Any) -> None:
    client.create_user("ada", "secret1")
    with pytest.raises(sdk.module.MilvusException, match="old password not correct for ada") as caught:
        client.update_password("ada", "wrong-1", "secret2")
    assert caught.value.code == 1400
    client.update_password("ada", "secret1", "secret2")
    client.drop_user("ada")


def test_failures_about_users_have_an_old_code_of_their_own(server: ProcessServer) -> None:
    secret = base64.b64encode(b"secret1").decode()

    def told(method: str, request: Any) -> tuple[int, int]:
        status = asked(server, method, request, common_pb2.Status)
        return status.code, status.error_code

    create = milvus_pb2.CreateCredentialRequest(username="root", password=secret)
    assert told("CreateCredential", create) == (1100, 29)
    assert told("DropRole", milvus_pb2.DropRoleRequest(role_name="nosuch")) == (1100, 36)
    assert told("DropCollection", milvus_pb2.DropCollectionRequest()) == (1100, 5)
