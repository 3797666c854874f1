"""gRPC clients of all sorts on one server: large messages, many calls at once, calls given up, long silences."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pymilvus
import pytest
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc
from tests.acceptance.conftest import Sdk
from tests.servers import ProcessServer

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
DIM, ROWS = 512, 10_000
VECTORS = np.random.default_rng(3).random((ROWS, DIM), np.float32)


@pytest.fixture(scope="module")
def large(server: ProcessServer) -> Iterator[str]:
    """A loaded collection whose vectors are 20 MB."""
    client = pymilvus.MilvusClient(server.uri)
    name = f"c_{uuid.uuid4().hex}"
    client.create_collection(name, dimension=DIM, metric_type="L2")
    client.insert(name, [{"id": i, "vector": v} for i, v in enumerate(VECTORS)])
    yield name
    client.drop_collection(name)
    client.close()


@pytest.fixture
def channel(server: ProcessServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=UNLIMITED) as channel:
        yield channel


def everything(name: str, limit: int = ROWS) -> Any:
    """A request whose reply is 20 MB."""
    return milvus_pb2.QueryRequest(
        collection_name=name,
        expr="id >= 0",
        output_fields=["id", "vector"],
        query_params=[{"key": "limit", "value": str(limit)}],
    )


def rows_of(reply: Any) -> int:
    assert reply.status.code == 0
    (vectors,) = (field for field in reply.fields_data if field.field_name == "vector")
    return len(vectors.vectors.float_vector.data) // DIM


def test_twenty_megabytes_go_in_and_out(sdk: Sdk, client: Any, name: str) -> None:
    client.create_collection(name, dimension=DIM, metric_type="L2")
    assert client.insert(name, [{"id": i, "vector": v} for i, v in enumerate(VECTORS)])["insert_count"] == ROWS
    found = client.query(name, "id >= 0", output_fields=["vector"], limit=ROWS)
    np.testing.assert_array_equal(np.float32([row["vector"] for row in found]), VECTORS)
    answer = client.search(name, VECTORS[:200], limit=40, output_fields=["vector"])
    for query, hits in zip(VECTORS, answer, strict=False):
        np.testing.assert_array_equal(np.float32(hits[0]["entity"]["vector"]), query)


def test_a_hundred_calls_at_once_share_one_connection(channel: grpc.Channel, large: str) -> None:
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    limits = [5_000 if i % 20 == 0 else i + 1 for i in range(100)]
    calls = [stub.Query.future(everything(large, limit), timeout=60) for limit in limits]
    assert [rows_of(call.result()) for call in calls] == limits


def test_calls_that_are_given_up_leave_the_connection_working(channel: grpc.Channel, large: str) -> None:
    stub = milvus_pb2_grpc.MilvusServiceStub(channel)
    for wait in np.linspace(0, 0.12, 12):
        call = stub.Query.future(everything(large))
        time.sleep(wait)
        call.cancel()
        assert rows_of(stub.Query(everything(large, 3), timeout=60)) == 3
    for seconds in (0.001, 0.01, 0.03):
        with pytest.raises(grpc.RpcError) as caught:
            stub.Query(everything(large), timeout=seconds)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert rows_of(stub.Query(everything(large), timeout=30)) == ROWS


def test_a_client_that_does_not_read_holds_up_nobody(server: ProcessServer, large: str) -> None:
    asked = everything(large).SerializeToString()
    path = b"/milvus.proto.milvus.MilvusService/Query"

    def literal(name: bytes, value: bytes) -> bytes:
        return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value

    block = b"\x83\x86" + literal(b":path", path) + literal(b"content-type", b"application/grpc")
    body = b"\x00" + len(asked).to_bytes(4, "big") + asked
    greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    wide = b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x3f\xff\x00\x00"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(greeting + wide)
        for number in range(1, 40, 2):
            stream = number.to_bytes(4, "big")
            lazy.sendall(
                len(block).to_bytes(3, "big") + b"\x01\x04" + stream + block
                + len(body).to_bytes(3, "big") + b"\x00\x01" + stream + body
            )  # fmt: skip
        time.sleep(0.3)
        client = pymilvus.MilvusClient(server.uri, dedicated=True, timeout=60)
        began = time.monotonic()
        for i in range(20):
            assert client.search(large, [VECTORS[i]], limit=1)[0].ids[0] == i
        assert time.monotonic() - began < 60, "the other takes nothing for good"
        client.close()


def test_a_hundred_clients_come_and_go(server: ProcessServer, large: str) -> None:
    def visit(number: int) -> int:
        client = pymilvus.MilvusClient(server.uri, dedicated=True)
        found = int(client.search(large, [VECTORS[number]], limit=1)[0].ids[0])
        client.close()
        return found

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(visit, range(100))) == list(range(100))


def test_http2_that_is_not_grpc_is_told_so_and_served_by_envoy(server: ProcessServer) -> None:
    pytest.importorskip("h2")
    httpx = pytest.importorskip("httpx")
    with httpx.Client(http1=False, http2=True) as client:
        for _ in range(3):
            answer = client.post(f"{server.uri}/v2/vectordb/collections/list", json={})
            assert answer.http_version == "HTTP/2"
            assert answer.status_code == (200 if os.environ.get("FRONT") == "envoy" else 415)


REQUESTS = {
    "Connect": milvus_pb2.ConnectRequest(),
    "GetVersion": milvus_pb2.GetVersionRequest(),
    "ShowCollections": milvus_pb2.ShowCollectionsRequest(),
    "ListDatabases": milvus_pb2.ListDatabasesRequest(),
    **{
        method: getattr(milvus_pb2, f"{method}Request")(collection_name="NAME")
        for method in (
            "HasCollection", "DescribeCollection", "GetLoadState", "GetLoadingProgress", "DescribeIndex",
            "ShowPartitions", "GetCollectionStatistics", "ListAliases",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("method", REQUESTS)
def test_every_reply_says_that_it_succeeded(method: str, channel: grpc.Channel, large: str) -> None:
    request = REQUESTS[method]
    if hasattr(request, "collection_name"):
        request = type(request)(collection_name=large)
    reply = getattr(milvus_pb2_grpc.MilvusServiceStub(channel), method)(request, timeout=60)
    assert reply.HasField("status")
    assert reply.status.code == 0
    assert reply.status.error_code == 0


@pytest.mark.slow
def test_a_client_that_pings_through_a_long_silence_is_not_sent_away(server: ProcessServer, large: str) -> None:
    options = [
        *UNLIMITED, ("grpc.keepalive_time_ms", 1_000), ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
    ]  # fmt: skip
    states: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=options) as channel:
        stub = milvus_pb2_grpc.MilvusServiceStub(channel)
        assert rows_of(stub.Query(everything(large, 2), timeout=60)) == 2
        channel.subscribe(states.append)
        time.sleep(33)
        assert rows_of(stub.Query(everything(large, 2), timeout=60)) == 2
    assert set(states) <= {grpc.ChannelConnectivity.READY}
