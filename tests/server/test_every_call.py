"""Every RPC of the protocol is answered, or refused in the protocol's way, by the stubs of Milvus's own SDK."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pymilvus.grpc_gen import feder_pb2, milvus_pb2, milvus_pb2_grpc
from tests.servers import ProcessServer, wire_server

import redkite
from redkite.errors import InvalidParameter
from redkite.wire.methods import METHODS, STREAMED

UNIMPLEMENTED = (
    "CreateNamespace", "DescribeNamespace", "ListNamespaces", "DropNamespace", "HasNamespace", "GetNamespaceStats",
    "AddUserTags", "DeleteUserTags", "GetUserTags", "ListUsersWithTag", "Prewarm", "DescribePrewarmTask",
    "BatchUpdateManifest", "DescribeSegmentIndexData", "CreateReplicateStream",
)  # fmt: skip
"""What gRPC's own status says no to."""
SERVICES = ("MilvusService", "ClientTelemetryService", "ProxyService")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessServer]:
    with wire_server(tmp_path_factory.mktemp("calls") / "data") as process:
        yield process


@pytest.fixture(scope="module")
def channel(server: ProcessServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as opened:
        yield opened


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return milvus_pb2_grpc.MilvusServiceStub(channel)


@pytest.fixture
def name(server: ProcessServer) -> Iterator[str]:
    chosen = f"c_{uuid.uuid4().hex}"
    with redkite.MilvusClient(server.uri) as client:
        client.create_collection(chosen, dimension=4)
        client.insert(chosen, [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}])
        yield chosen
        client.drop_collection(chosen)


def unary(channel: grpc.Channel, path: str) -> bytes:
    """The reply to an empty message, as bytes; a stream's first one."""
    call = channel.unary_unary(path, request_serializer=lambda data: data, response_deserializer=lambda data: data)
    reply: bytes = call(b"", timeout=60)
    return reply


@pytest.mark.parametrize(
    ("service", "method"),
    [(s, m.name) for s in SERVICES for m in milvus_pb2.DESCRIPTOR.services_by_name[s].methods],
)
def test_an_empty_message_is_answered_or_refused_by_its_name(channel: grpc.Channel, service: str, method: str) -> None:
    descriptor = milvus_pb2.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    path = f"/{descriptor.containing_service.full_name}/{method}"
    is_telemetry = service == "ClientTelemetryService"
    if service == "ProxyService" or is_telemetry or method in UNIMPLEMENTED:
        with pytest.raises(grpc.RpcError) as caught:
            unary(channel, path)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details() == f"method {method} not implemented"
        return
    assert method in METHODS or method == STREAMED
    reply = getattr(milvus_pb2, descriptor.output_type.name, None)
    data = unary(channel, path)
    if reply is not None:
        reply.FromString(data)


def test_the_table_of_calls_leaves_out_nothing_by_accident() -> None:
    named = {m.name for m in milvus_pb2.DESCRIPTOR.services_by_name["MilvusService"].methods}
    assert named - set(METHODS) == {*UNIMPLEMENTED, STREAMED}


def test_several_collections_are_described_at_once(stub: Any, name: str) -> None:
    request = milvus_pb2.BatchDescribeCollectionRequest(collection_name=[name, "nobody"])
    there, missing = stub.BatchDescribeCollection(request).responses
    assert (there.status.code, there.collection_name) == (0, name)
    assert [field.name for field in there.schema.fields] == ["id", "vector"]
    assert (missing.status.code, missing.status.reason) == (
        100, "collection not found[database=default][collection=nobody]",
    )  # fmt: skip
    by_id = milvus_pb2.BatchDescribeCollectionRequest(collectionID=[there.collectionID])
    assert stub.BatchDescribeCollection(by_id).responses[0].collection_name == name
    both = milvus_pb2.BatchDescribeCollectionRequest(collectionID=[1], collection_name=["a"])
    assert stub.BatchDescribeCollection(both).status.code == 1100


def test_what_is_loaded_is_listed_with_how_much_of_it(stub: Any, name: str, server: ProcessServer) -> None:
    kinds = milvus_pb2.ShowType
    listed = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(type=kinds.InMemory, collection_names=[name]))
    assert list(listed.collection_names) == [name]
    assert (list(listed.inMemory_percentages), list(listed.query_service_available)) == ([100], [True])
    missing = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(collection_names=["nobody"]))
    assert missing.status.code == 100
    number = listed.collection_ids[0]
    parts = stub.ShowPartitions(milvus_pb2.ShowPartitionsRequest(collectionID=number, partition_names=["_default"]))
    assert (list(parts.partition_names), list(parts.inMemory_percentages)) == (["_default"], [100])
    nobody = milvus_pb2.ShowPartitionsRequest(collection_name=name, partition_names=["nobody"])
    assert stub.ShowPartitions(nobody).status.code == 200
    with redkite.MilvusClient(server.uri) as client:
        client.release_collection(name)
    loaded = milvus_pb2.ShowPartitionsRequest(collection_name=name, type=kinds.InMemory)
    assert list(stub.ShowPartitions(loaded).partition_names) == []
    listed = stub.ShowCollections(milvus_pb2.ShowCollectionsRequest(type=kinds.InMemory))
    assert name not in listed.collection_names


def test_indexes_tell_their_state_in_the_older_calls_too(stub: Any, name: str) -> None:
    state = stub.GetIndexState(milvus_pb2.GetIndexStateRequest(collection_name=name))
    assert state.state == 3, "finished"
    built = stub.GetIndexBuildProgress(milvus_pb2.GetIndexBuildProgressRequest(collection_name=name))
    assert built.indexed_rows <= built.total_rows
    found = stub.GetIndexStatistics(milvus_pb2.GetIndexStatisticsRequest(collection_name=name))
    assert [index.field_name for index in found.index_descriptions] == ["vector"]


def test_segments_with_an_index_are_those_over_which_it_is_built(stub: Any, server: ProcessServer) -> None:
    def indexed(**about: str) -> Any:
        return stub.ListIndexedSegment(feder_pb2.ListIndexedSegmentRequest(**about))

    with redkite.MilvusClient(server.uri) as client:
        client.create_collection("indexed", dimension=4)
        assert list(indexed(collection_name="indexed").segmentIDs) == []
        client.insert("indexed", [{"id": n, "vector": [n, 1.0, 2.0, 3.0]} for n in range(2_000)])
        client.flush("indexed")
        client.optimize("indexed")
        (stored,) = client.list_persistent_segments("indexed")
        answer = indexed(collection_name="indexed", index_name="vector")
        assert (answer.status.code, list(answer.segmentIDs)) == (0, [stored.segment_id])
        assert indexed(collection_name="indexed", index_name="nobody").status.code == 700
        client.drop_collection("indexed")
    assert indexed(collection_name="indexed").status.code == 100


def test_health_says_who_answers(stub: Any) -> None:
    states = stub.GetComponentStates(milvus_pb2.GetComponentStatesRequest())
    assert (states.state.nodeID, states.state.role, states.state.state_code) == (1, "proxy", 1)
    health = stub.CheckHealth(milvus_pb2.CheckHealthRequest())
    assert (health.isHealthy, list(health.reasons)) == (True, [])


def test_calls_that_nothing_is_behind_say_so(stub: Any, name: str) -> None:
    distance = stub.CalcDistance(milvus_pb2.CalcDistanceRequest())
    assert (distance.status.code, distance.status.reason) == (2, "service unavailable: CalcDistance deprecated")
    assert not distance.status.retriable
    message = stub.ReplicateMessage(milvus_pb2.ReplicateMessageRequest(channel_name="c"))
    assert (message.status.code, message.status.reason) == (
        2, "service unavailable: not supported in streaming mode",
    )  # fmt: skip
    assert stub.Dummy(milvus_pb2.DummyRequest(request_type="anything")).response == '{"status": "fail"}'
    assert stub.RegisterLink(milvus_pb2.RegisterLinkRequest()).status.code == 0
    dropped = stub.DropCollectionFunction(milvus_pb2.DropCollectionFunctionRequest(collection_name=name))
    assert dropped.code == 1100
    refreshed = stub.RefreshExternalCollection(milvus_pb2.RefreshExternalCollectionRequest(collection_name=name))
    assert refreshed.status.reason == f"collection {name} is not an external collection: invalid parameter"
    progress = milvus_pb2.GetRefreshExternalCollectionProgressRequest(job_id=7)
    assert stub.GetRefreshExternalCollectionProgress(progress).status.code == 1100
    jobs = milvus_pb2.ListRefreshExternalCollectionJobsRequest(collection_name=name)
    assert list(stub.ListRefreshExternalCollectionJobs(jobs).jobs) == []


@pytest.mark.parametrize("where", ["server", "file"])
def test_our_clients_are_told_the_same(where: str, server: ProcessServer, tmp_path: Path) -> None:
    with redkite.MilvusClient(server.uri if where == "server" else str(tmp_path / "calls.db")) as client:
        name = f"c_{uuid.uuid4().hex}"
        client.create_collection(name, dimension=4)
        function = redkite.Function("f", redkite.FunctionType.BM25, ["a"], ["b"])
        with pytest.raises(InvalidParameter, match="AddCollectionFunction is not supported"):
            client.add_collection_function(name, function)
        with pytest.raises(InvalidParameter, match="DropCollectionFunction is not supported"):
            client.drop_collection_function(name, "f")
        with pytest.raises(InvalidParameter, match="is not an external collection"):
            client.refresh_external_collection(name, "s3://somewhere", "{}")
        with pytest.raises(InvalidParameter, match="refresh job not found, jobID=3"):
            client.get_refresh_external_collection_progress(3)
        assert client.list_refresh_external_collection_jobs(name) == []
        client.using_database("default")
        assert client.db_name == "default"
        client.drop_collection(name)
