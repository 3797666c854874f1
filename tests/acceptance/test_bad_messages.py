"""Requests no SDK would send, and bytes that are no requests: each is answered, and nothing is lost by it."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pymilvus
import pytest
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2
from tests.servers import ProcessServer

import redkite

DIM, ROWS = 4, 50
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SERVICE = "/milvus.proto.milvus.MilvusService/"
MIB = 1 << 20
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.fixture(scope="module")
def client(server: ProcessServer) -> Iterator[pymilvus.MilvusClient]:
    client = pymilvus.MilvusClient(server.uri)
    yield client
    client.close()


@pytest.fixture(scope="module")
def filled(client: pymilvus.MilvusClient) -> Iterator[str]:
    """A loaded collection of 50 rows."""
    name = f"c_{uuid.uuid4().hex}"
    schema = client.create_schema()
    schema.add_field("id", pymilvus.DataType.INT64, is_primary=True)
    schema.add_field("vector", pymilvus.DataType.FLOAT_VECTOR, dim=DIM)
    schema.add_field("text", pymilvus.DataType.VARCHAR, max_length=8)
    index = client.prepare_index_params("vector", index_type="FLAT", metric_type="L2")
    client.create_collection(name, schema=schema, index_params=index)
    client.insert(name, [{"id": i, "vector": [i] * DIM, "text": str(i)} for i in range(ROWS)])
    yield name
    client.drop_collection(name)


@pytest.fixture(scope="module")
def channel(server: ProcessServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=UNLIMITED) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Any:
    return milvus_pb2_grpc.MilvusServiceStub(channel)


@pytest.fixture(autouse=True)
def intact(client: pymilvus.MilvusClient, filled: str, server: ProcessServer) -> Iterator[None]:
    """Afterwards the server is healthy, searches, and has every row."""
    yield
    assert server.process.poll() is None
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/healthz", timeout=30) as answer:
        assert answer.status == 200
    assert client.search(filled, [[7.0] * DIM], limit=1)[0].ids[0] == 7
    assert client.query(filled, output_fields=["count(*)"], consistency_level="Strong")[0]["count(*)"] == ROWS


# -- columns that do not fit together -----------------------------------------------------------
def ids(*values: int) -> schema_pb2.FieldData:
    longs = schema_pb2.LongArray(data=values)
    return schema_pb2.FieldData(type=schema_pb2.Int64, field_name="id", scalars=schema_pb2.ScalarField(long_data=longs))


def texts(*values: str, name: str = "text") -> schema_pb2.FieldData:
    strings = schema_pb2.StringArray(data=values)
    return schema_pb2.FieldData(
        type=schema_pb2.VarChar, field_name=name, scalars=schema_pb2.ScalarField(string_data=strings)
    )


def vectors(rows: int, dim: int = DIM, floats: int | None = None) -> schema_pb2.FieldData:
    data = [0.5] * (rows * dim if floats is None else floats)
    field = schema_pb2.VectorField(dim=dim, float_vector=schema_pb2.FloatArray(data=data))
    return schema_pb2.FieldData(type=schema_pb2.FloatVector, field_name="vector", vectors=field)


BATCHES: dict[str, tuple[list[schema_pb2.FieldData], int, str]] = {
    "no rows": ([], 0, "num_rows should be greater than 0: invalid parameter[expected=invalid num_rows][actual=0]"),
    "a missing column": (
        [ids(900), vectors(1)],
        1,
        "fieldSchema(text) has no corresponding fieldData pass in: invalid parameter",
    ),
    "an unknown column": (
        [ids(900), vectors(1), texts("a"), texts("b", name="colour")],
        1,
        "fieldName colour not exist in collection schema, fieldType VarChar, fieldId 0: invalid parameter",
    ),
    "a column that is too short": (
        [ids(900, 901), vectors(2), texts("a")],
        2,
        "the num_rows (1) of field (text) is not equal to passed num_rows (2): invalid parameter[expected=2][actual=1]",
    ),
    "a column that is too long": (
        [ids(900), vectors(1), texts("a", "b")],
        1,
        "the num_rows (2) of field (text) is not equal to passed num_rows (1): invalid parameter[expected=1][actual=2]",
    ),
    "a vector of another dimension": (
        [ids(900), vectors(1, dim=8), texts("a")],
        1,
        "the dim (8) of field data(vector) is not equal to schema dim (4): invalid parameter[expected=4][actual=8]",
    ),
    "null where it may not be": (
        [ids(900), vectors(1), schema_pb2.FieldData(type=schema_pb2.VarChar, field_name="text", valid_data=[False])],
        1,
        "text",
    ),
    "a column of the wrong type": (
        [
            ids(900),
            vectors(1),
            schema_pb2.FieldData(
                type=schema_pb2.Int64,
                field_name="text",
                scalars=schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=[1])),
            ),
        ],
        1,
        "field text is illegal, array type mismatch: invalid parameter"
        "[expected=need VarChar array][actual=got Int64 array]",
    ),
    "the same column twice": ([ids(900), vectors(1), texts("a"), texts("b")], 1, "text"),
    "floats that make no whole vectors": ([ids(900), vectors(1, floats=5), texts("a")], 1, "vector"),
    "a vector without a dimension": ([ids(900), vectors(1, dim=0, floats=4), texts("a")], 1, "dim"),
    "more rows than there are bytes": ([ids(900), vectors(1), texts("a")], 2**32 - 1, "num_rows"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_columns_that_do_not_fit_the_schema_are_refused(case: str, stub: Any, filled: str) -> None:
    columns, rows, text = BATCHES[case]
    request = milvus_pb2.InsertRequest(collection_name=filled, fields_data=columns, num_rows=rows)
    status = stub.Insert(request, timeout=60).status
    assert status.code == 1100
    assert status.error_code == common_pb2.IllegalArgument
    assert status.extra_info["is_input_error"] == "true"
    assert status.retriable is False
    assert text in status.reason
    assert status.detail == status.reason


# -- bytes that are no messages -------------------------------------------------------------------
METHODS = (
    "Insert", "Upsert", "Delete", "Search", "Query", "CreateCollection", "DescribeCollection", "CreateIndex", "Flush",
    "GetLoadState", "LoadCollection", "ShowCollections", "CreatePartition", "ListDatabases", "Connect",
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_message_of_garbage_is_answered(method: str, channel: grpc.Channel, seed: int) -> None:
    choose = random.Random(seed)
    call = channel.unary_unary(SERVICE + method)
    for data in (
        b"\xff" * 9,
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\x0b" * 5_000,
        choose.randbytes(64),
        choose.randbytes(999),
    ):
        assert isinstance(call(data, timeout=60), bytes)


def test_messages_cut_off_anywhere_or_with_a_flipped_bit_are_answered(
    stub: Any, channel: grpc.Channel, client: pymilvus.MilvusClient, filled: str, seed: int
) -> None:
    choose = random.Random(seed)
    refused = f"{filled[:-1]}_"  # not there: damaged rows must not end up in the collection
    insert = milvus_pb2.InsertRequest(
        collection_name=refused, fields_data=[ids(900, 901), vectors(2), texts("a", "b")], num_rows=2
    ).SerializeToString()
    group = common_pb2.PlaceholderGroup(
        placeholders=[common_pb2.PlaceholderValue(tag="$0", type=101, values=[np.ones(DIM, np.float32).tobytes()])]
    )
    parameters = {"topk": "3", "params": "{}", "anns_field": "vector", "metric_type": "L2"}
    search = milvus_pb2.SearchRequest(
        collection_name=filled,
        placeholder_group=group.SerializeToString(),
        dsl="id > 3",
        dsl_type=common_pb2.BoolExprV1,
        nq=1,
        search_params=[common_pb2.KeyValuePair(key=key, value=value) for key, value in parameters.items()],
    ).SerializeToString()
    assert stub.Search(milvus_pb2.SearchRequest.FromString(search)).results.ids.int_id.data[0] == 4
    for method, whole in (("Insert", insert), ("Search", search)):
        call = channel.unary_unary(SERVICE + method)
        for _ in range(150):
            cut = whole[: choose.randrange(len(whole))]
            position = choose.randrange(len(whole))
            flipped = bytearray(whole)
            flipped[position] ^= 1 << choose.randrange(8)
            for data in (cut, bytes(flipped)):
                assert isinstance(call(data, timeout=60), bytes)


def test_a_call_that_does_not_exist_is_unimplemented(channel: grpc.Channel) -> None:
    for method in ("NoSuchCall", "AddUserTags"):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(SERVICE + method)(b"", timeout=60)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# -- messages that are too large ------------------------------------------------------------------
def test_a_message_over_the_size_limit_is_refused_by_both_sides(
    stub: Any, client: pymilvus.MilvusClient, server: ProcessServer
) -> None:
    dim, rows = 8192, 2100  # 68.8 MB
    name = f"c_{uuid.uuid4().hex}"
    client.create_collection(name, dimension=dim)
    matrix = np.full((rows, dim), 0.25, np.float32)
    with pytest.raises(grpc.RpcError) as caught:  # pymilvus passes this one on as it is
        client.insert(name, [{"id": i, "vector": row} for i, row in enumerate(matrix)])
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "grpc: received message larger than max" in caught.value.details()
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == 0

    ours = redkite.MilvusClient(server.uri)
    with pytest.raises(redkite.MilvusException) as refused:
        ours.search(name, np.full((rows, dim), 0.25, np.float32), limit=1)
    assert "received message larger than max" in refused.value.message
    # Redkite's SDK sends a large insert in parts.
    assert ours.insert(name, {"id": np.arange(rows), "vector": matrix})["insert_count"] == rows
    assert client.query(name, output_fields=["count(*)"])[0]["count(*)"] == rows
    ours.close()
    client.drop_collection(name)


# -- bytes that are no HTTP -------------------------------------------------------------------------
GARBAGE = {
    "zeros": b"\x00" * 1_000,
    "noise": os.urandom(5_000),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a TLS greeting": bytes.fromhex("160301020001000001fc0303") + b"\x11" * 500,
    "HTTP without sense": b"GET nothing\r\n\r\n",
    "an endless header": b"GET / HTTP/1.1\r\nx: " + b"y" * 200_000,
    "a body that is shorter than it says": b"POST /v2/vectordb/databases/list HTTP/1.1\r\ncontent-length: 9\r\n\r\n{",
    "an HTTP/2 preface and noise": PREFACE + os.urandom(5_000),
    "an HTTP/2 frame of 16 MB": PREFACE + SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01" + b"z" * 70_000,
    "HTTP/2 headers of noise": PREFACE + SETTINGS + b"\x00\x01\x00\x01\x04\x00\x00\x00\x01" + b"\xff" * 256,
    "data for no stream": PREFACE + SETTINGS + b"\x00\x00\x01\x00\x01\x00\x00\x00\x09z",
    "half a preface": PREFACE[:11],
}


@pytest.mark.parametrize("case", GARBAGE)
def test_garbage_on_the_port_is_survived(case: str, server: ProcessServer) -> None:
    for port in (server.port, server.metrics_port):
        peer = socket.create_connection(("127.0.0.1", port), timeout=30)
        with peer, contextlib.suppress(ConnectionError):
            peer.sendall(GARBAGE[case])
            with contextlib.suppress(OSError):  # the server may have hung up by now
                peer.shutdown(socket.SHUT_WR)
            while peer.recv(65_536):
                pass


def test_a_hundred_connections_of_noise_do_not_hinder_a_client(
    server: ProcessServer, client: pymilvus.MilvusClient, filled: str
) -> None:
    peers = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(100)]
    for number, peer in enumerate(peers):
        with contextlib.suppress(ConnectionError):
            peer.sendall(os.urandom(100) if number % 2 else PREFACE + os.urandom(100))
    assert client.search(filled, [[3.0] * DIM], limit=1)[0].ids[0] == 3
    for peer in peers:
        peer.close()
