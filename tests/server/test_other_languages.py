"""Messages as clients in Go, Java, C# and JavaScript send them, and what those look at in the replies."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2
from tests.servers import ProcessServer

OK = (0, 0)


@pytest.fixture(scope="module")
def stub(server: ProcessServer) -> Iterator[Any]:
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        yield milvus_pb2_grpc.MilvusServiceStub(channel)


@pytest.fixture
def birds(stub: Any, name: str) -> Iterator[str]:
    """Three rows in a collection that is indexed and loaded."""
    schema = schema_pb2.CollectionSchema(name=name)
    schema.fields.add(name="id", data_type=5, is_primary_key=True)
    schema.fields.add(name="v", data_type=101).type_params.add(key="dim", value="2")
    create = milvus_pb2.CreateCollectionRequest(collection_name=name, schema=schema.SerializeToString())
    assert told(stub.CreateCollection(create)) == OK
    index = milvus_pb2.CreateIndexRequest(collection_name=name, field_name="v")
    for key, value in {"index_type": "HNSW", "metric_type": "L2", "params": '{"M":8,"efConstruction":64}'}.items():
        index.extra_params.add(key=key, value=value)
    assert told(stub.CreateIndex(index)) == OK
    assert told(stub.LoadCollection(milvus_pb2.LoadCollectionRequest(collection_name=name))) == OK
    assert told(stub.Insert(insert(name, 1, 2, 3)).status) == OK
    yield name
    stub.DropCollection(milvus_pb2.DropCollectionRequest(collection_name=name))


def told(status: Any) -> tuple[int, int]:
    return status.code, status.error_code


def insert(name: str, *keys: int, **more: Any) -> Any:
    """An insert with no hash keys, which some clients leave out."""
    request = milvus_pb2.InsertRequest(collection_name=name, num_rows=len(keys), **more)
    request.fields_data.add(type=5, field_name="id").scalars.long_data.data.extend(keys)
    vectors = request.fields_data.add(type=101, field_name="v").vectors
    vectors.dim = 2
    vectors.float_vector.data.extend(float(number) for key in keys for number in (key, 0))
    return request


def search(name: str, more: dict[str, str] | None = None, **fields: Any) -> Any:
    group = common_pb2.PlaceholderGroup()
    group.placeholders.add(tag="$0", type=101, values=[struct.pack("<2f", 0, 0)])
    request = milvus_pb2.SearchRequest(
        collection_name=name, dsl_type=1, placeholder_group=group.SerializeToString(), **fields
    )
    for key, value in ({"anns_field": "v", "topk": "2", "params": "{}"} | (more or {})).items():
        request.search_params.add(key=key, value=value)
    return request


def test_a_client_introduces_itself_and_is_given_a_number_to_show(stub: Any) -> None:
    info = common_pb2.ClientInfo(sdk_type="GoMilvusClient", sdk_version="2.5.4", user="root", host="here")
    reply = stub.Connect(milvus_pb2.ConnectRequest(client_info=info))
    assert told(reply.status) == OK
    assert reply.identifier > 0 and reply.server_info.deploy_mode == "STANDALONE"
    metadata = (("identifier", str(reply.identifier)), ("client-request-unixmsec", "1"), ("log-level", "debug"))
    assert told(stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(), metadata=metadata).status) == OK


def test_the_version_is_one_that_tools_can_read(stub: Any) -> None:
    for version in (
        stub.GetVersion(milvus_pb2.GetVersionRequest()).version,
        stub.Connect(milvus_pb2.ConnectRequest()).server_info.build_tags,
    ):
        assert re.match(r"v\d+\.\d+\.\d+", version), version


def test_health_is_told_in_two_ways(stub: Any) -> None:
    health = stub.CheckHealth(milvus_pb2.CheckHealthRequest())
    assert told(health.status) == OK and health.isHealthy and not health.reasons
    states = stub.GetComponentStates(milvus_pb2.GetComponentStatesRequest())
    assert told(states.status) == OK
    assert states.state.state_code == common_pb2.Healthy and states.state.role == "proxy"


def test_metrics_are_json_with_a_list_of_nodes(stub: Any) -> None:
    reply = stub.GetMetrics(milvus_pb2.GetMetricsRequest(request='{"metric_type":"system_info"}'))
    assert told(reply.status) == OK
    nodes = json.loads(reply.response)["nodes_info"]
    assert nodes and {"identifier", "infos"} <= nodes[0].keys()
    assert {"hardware_infos", "system_info", "type", "id"} <= nodes[0]["infos"].keys()
    assert told(stub.GetMetrics(milvus_pb2.GetMetricsRequest(request='{"metric_type":"x"}')).status)[0] == 1200


def test_a_reply_always_has_a_status_that_is_there(stub: Any, birds: str) -> None:
    """In languages with null a field that is left out is null, and `reply.status.code` fails."""
    named = {"collection_name": birds}
    for reply in (
        stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(**named)),
        stub.HasCollection(milvus_pb2.HasCollectionRequest(**named)),
        stub.ShowPartitions(milvus_pb2.ShowPartitionsRequest(**named)),
        stub.GetCollectionStatistics(milvus_pb2.GetCollectionStatisticsRequest(**named)),
        stub.GetLoadState(milvus_pb2.GetLoadStateRequest(**named)),
        stub.DescribeIndex(milvus_pb2.DescribeIndexRequest(**named)),
        stub.Search(search(birds)),
        stub.Insert(insert(birds, 9)),
        stub.ListDatabases(milvus_pb2.ListDatabasesRequest()),
    ):
        assert reply.HasField("status"), type(reply).__name__
        assert told(reply.status) == OK


def test_the_database_comes_from_the_message_or_else_from_the_metadata(stub: Any, birds: str, name: str) -> None:
    other = f"d_{abs(hash(name)) % 10**8}"
    assert told(stub.CreateDatabase(milvus_pb2.CreateDatabaseRequest(db_name=other))) == OK
    asked = milvus_pb2.HasCollectionRequest(collection_name=birds)
    assert stub.HasCollection(asked).value
    assert not stub.HasCollection(asked, metadata=(("dbname", other),)).value
    asked.db_name = "default"
    assert stub.HasCollection(asked, metadata=(("dbname", other),)).value
    assert told(stub.DropDatabase(milvus_pb2.DropDatabaseRequest(db_name=other))) == OK


def test_a_collection_that_is_not_there_is_no_error_to_ask_for(stub: Any) -> None:
    reply = stub.HasCollection(milvus_pb2.HasCollectionRequest(collection_name="nosuch"))
    assert told(reply.status) == OK and not reply.value
    state = stub.GetLoadState(milvus_pb2.GetLoadStateRequest(collection_name="nosuch"))
    assert told(state.status) == OK and state.state == common_pb2.LoadStateNotExist
    described = stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name="nosuch"))
    assert told(described.status) == (100, 4)
    assert told(stub.DropCollection(milvus_pb2.DropCollectionRequest(collection_name="nosuch"))) == OK


def test_lists_of_what_is_in_memory_say_how_much_of_it(stub: Any, birds: str) -> None:
    shown = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(type=milvus_pb2.InMemory))
    at = list(shown.collection_names).index(birds)
    assert shown.inMemory_percentages[at] == 100 and shown.query_service_available[at]
    progress = stub.GetLoadingProgress(milvus_pb2.GetLoadingProgressRequest(collection_name=birds))
    assert (told(progress.status), progress.progress) == (OK, 100)


def test_an_index_is_described_as_it_was_asked_for(stub: Any, birds: str) -> None:
    (index,) = stub.DescribeIndex(milvus_pb2.DescribeIndexRequest(collection_name=birds)).index_descriptions
    assert (index.index_name, index.field_name, index.state) == ("v", "v", common_pb2.Finished)
    assert {pair.key: pair.value for pair in index.params} == {
        "index_type": "HNSW", "metric_type": "L2", "params": '{"M":8,"efConstruction":64}',
    }  # fmt: skip


def test_a_write_says_which_rows_it_took_and_when(stub: Any, birds: str) -> None:
    reply = stub.Insert(insert(birds, 4, 5))
    assert list(reply.succ_index) == [0, 1] and list(reply.IDs.int_id.data) == [4, 5]
    assert reply.insert_cnt == 2 and reply.timestamp > 0


def test_a_write_with_the_timestamp_of_an_older_schema_is_refused_so_that_it_is_sent_again(
    stub: Any, birds: str
) -> None:
    described = stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name=birds))
    assert told(stub.Insert(insert(birds, 6, schema_timestamp=1)).status) == (109, 62)
    assert told(stub.Insert(insert(birds, 6, schema_timestamp=described.update_timestamp)).status) == OK


@pytest.mark.parametrize(
    "fields",
    [
        {"nq": 1, "guarantee_timestamp": 1},
        {"nq": 1, "guarantee_timestamp": 2, "consistency_level": 2},
        {"nq": 1, "use_default_consistency": True},
        {"nq": 1, "travel_timestamp": 7},
        {},  # the count of vectors is left to the server
    ],
    ids=str,
)
def test_a_search_is_understood_however_it_says_how_fresh(stub: Any, birds: str, fields: dict[str, Any]) -> None:
    for more in ({}, {"metric_type": ""}, {"metric_type": "L2", "round_decimal": "-1", "ignore_growing": "false"}):
        reply = stub.Search(search(birds, more, **fields))
        assert told(reply.status) == OK
        assert list(reply.results.ids.int_id.data) == [1, 2] and list(reply.results.topks) == [2]


def test_a_search_that_finds_nothing_says_so_for_each_vector(stub: Any, birds: str) -> None:
    reply = stub.Search(search(birds, nq=1, dsl="id > 100", output_fields=["id"]))
    assert told(reply.status) == OK
    assert (reply.results.num_queries, list(reply.results.topks)) == (1, [0])


def test_a_query_that_finds_nothing_has_all_its_columns(stub: Any, birds: str) -> None:
    asked = milvus_pb2.QueryRequest(collection_name=birds, expr="id > 100", output_fields=["id", "v"])
    reply = stub.Query(asked)
    assert told(reply.status) == OK
    assert [column.field_name for column in reply.fields_data] == ["id", "v"]


def test_a_flush_names_every_collection_that_was_flushed(stub: Any, birds: str) -> None:
    reply = stub.Flush(milvus_pb2.FlushRequest(collection_names=[birds]))
    assert told(reply.status) == OK
    assert birds in reply.coll_segIDs and birds in reply.coll_flush_ts and birds in reply.coll_seal_times
    state = stub.GetFlushState(milvus_pb2.GetFlushStateRequest(
        segmentIDs=list(reply.coll_segIDs[birds].data), collection_name=birds, flush_ts=reply.coll_flush_ts[birds]
    ))  # fmt: skip
    assert told(state.status) == OK and state.flushed


def test_a_call_that_is_not_there_is_unimplemented(server: ProcessServer) -> None:
    with grpc.insecure_channel(server.uri.removeprefix("http://")) as channel:
        for path in ("/milvus.proto.milvus.MilvusService/Nothing", "/grpc.health.v1.Health/Check"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"", timeout=30)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
