"""gRPC calls through grpcio's client against a service that answers what the test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from pymilvus.grpc_gen import milvus_pb2, milvus_pb2_grpc
from tests.server.fakes import FakeService
from tests.servers import ThreadServer

from redkite.errors import CollectionNotFound
from redkite.model.requests import DescribeCollection, GetVersion, HasCollection
from redkite.model.results import Flag, Result, Version

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture
def channel(fake_server: ThreadServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{fake_server.port}", options=UNLIMITED) as opened:
        yield opened


@pytest.fixture
def stub(channel: grpc.Channel) -> milvus_pb2_grpc.MilvusServiceStub:
    return milvus_pb2_grpc.MilvusServiceStub(channel)


def raw(channel: grpc.Channel, method: str) -> Any:
    """A call of bytes to bytes."""
    return channel.unary_unary(f"/milvus.proto.milvus.MilvusService/{method}")


def failure_of(call: Any, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=30)
    return caught.value.code(), caught.value.details()


def test_a_call_reaches_the_service_and_its_answer_comes_back(stub: Any, service: FakeService) -> None:
    service.answers[HasCollection] = lambda request: Flag(value=request.collection == "there")
    assert stub.HasCollection(milvus_pb2.HasCollectionRequest(collection_name="there")).value
    assert not stub.HasCollection(milvus_pb2.HasCollectionRequest(collection_name="gone")).value


def test_the_database_of_the_metadata_is_used_when_the_message_names_none(stub: Any, service: FakeService) -> None:
    service.answers[HasCollection] = lambda _: Flag(value=True)
    stub.HasCollection(milvus_pb2.HasCollectionRequest(collection_name="c"), metadata=[("dbname", "books")])
    assert service.last(HasCollection).database == "books"
    named = milvus_pb2.HasCollectionRequest(collection_name="c", db_name="films")
    stub.HasCollection(named, metadata=[("dbname", "books")])
    assert service.last(HasCollection).database == "films"


def test_an_error_of_the_service_travels_in_the_status_of_the_reply(stub: Any, service: FakeService) -> None:
    def missing(_: Any) -> Result:
        raise CollectionNotFound.named("default", "c")

    service.answers[DescribeCollection] = missing
    status = stub.DescribeCollection(milvus_pb2.DescribeCollectionRequest(collection_name="c")).status
    assert (status.code, status.error_code) == (100, 4)
    assert status.reason == "collection not found[database=default][collection=c]"


def test_a_bug_in_the_service_answers_code_65535_and_the_server_goes_on(stub: Any, service: FakeService) -> None:
    service.answers[HasCollection] = lambda _: Flag(value=1 // 0 == 0)
    for kinds in (set[Any](), {HasCollection}):
        service.slow = kinds
        status = stub.HasCollection(milvus_pb2.HasCollectionRequest(collection_name="c")).status
        assert status.code == 65535
        assert "ZeroDivisionError" in status.reason
    assert stub.GetVersion(milvus_pb2.GetVersionRequest()).version == "v2.6.0"


def test_a_slow_call_does_not_hold_up_a_quick_one(stub: Any, service: FakeService) -> None:
    released = threading.Event()

    def wait(_: Any) -> Result:
        assert released.wait(30)
        return Flag(value=True)

    service.slow = {HasCollection}
    service.answers[HasCollection] = wait
    slow = stub.HasCollection.future(milvus_pb2.HasCollectionRequest(collection_name="c"))
    assert stub.GetVersion(milvus_pb2.GetVersionRequest(), timeout=25).version == "v2.6.0"
    assert not slow.done()
    released.set()
    assert slow.result(timeout=30).value


def test_a_write_is_answered_when_its_future_is_done(stub: Any, service: FakeService) -> None:
    pending: Future[Result] = Future()
    service.answers[HasCollection] = lambda _: pending
    call = stub.HasCollection.future(milvus_pb2.HasCollectionRequest(collection_name="c"))
    assert stub.GetVersion(milvus_pb2.GetVersionRequest()).version == "v2.6.0"
    assert not call.done()
    pending.set_result(Flag(value=True))
    assert call.result(timeout=30).value


def test_a_cancelled_call_leaves_its_write_running(stub: Any, service: FakeService) -> None:
    pending: Future[Result] = Future()
    service.answers[HasCollection] = lambda _: pending
    call = stub.HasCollection.future(milvus_pb2.HasCollectionRequest(collection_name="c"))
    while not service.asked:
        time.sleep(0.01)
    call.cancel()
    assert stub.GetVersion(milvus_pb2.GetVersionRequest()).version == "v2.6.0"
    assert not pending.cancelled()
    pending.set_result(Flag(value=True))
    assert stub.GetVersion(milvus_pb2.GetVersionRequest()).version == "v2.6.0"


def test_a_call_past_its_deadline_leaves_the_server_well(stub: Any, service: FakeService) -> None:
    pending: Future[Result] = Future()
    service.answers[HasCollection] = lambda _: pending
    request = milvus_pb2.HasCollectionRequest(collection_name="c")
    with pytest.raises(grpc.RpcError) as caught:
        stub.HasCollection(request, timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    pending.set_result(Flag(value=True))
    assert stub.GetVersion(milvus_pb2.GetVersionRequest()).version == "v2.6.0"


def test_a_call_that_is_not_built_answers_unimplemented(channel: grpc.Channel) -> None:
    for method in ("DescribeSegmentIndexData", "NoSuchCall"):
        code, details = failure_of(raw(channel, method), b"")
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert details == f"method {method} not implemented"
    other = channel.unary_unary("/other.Service/Search")
    assert failure_of(other, b"")[0] is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_answer_an_error_in_the_status(channel: grpc.Channel) -> None:
    reply = milvus_pb2.BoolResponse.FromString(raw(channel, "HasCollection")(b"\xff\xff\xff"))
    assert reply.status.code == 1004


def test_a_request_over_the_size_limit_answers_resource_exhausted(channel: grpc.Channel, service: FakeService) -> None:
    code, details = failure_of(raw(channel, "Insert"), bytes(64 * 1024 * 1024 + 1))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details == "grpc: received message larger than max (67108865 vs. 67108864)"
    assert not service.asked
    assert raw(channel, "GetVersion")(b"")


def test_a_request_of_many_megabytes_arrives_whole(stub: Any, service: FakeService) -> None:
    service.answers[HasCollection] = lambda request: Flag(value=request.collection == name)
    name = "n" * 20_000_000
    assert stub.HasCollection(milvus_pb2.HasCollectionRequest(collection_name=name)).value


def test_a_reply_of_many_megabytes_arrives_whole(stub: Any, service: FakeService) -> None:
    text = "".join(chr(ord("a") + index % 26) for index in range(1_000_003)) * 20
    service.answers[GetVersion] = lambda _: Version(version=text)
    assert stub.GetVersion(milvus_pb2.GetVersionRequest()).version == text


def test_a_reply_over_the_size_limit_answers_resource_exhausted(service: FakeService) -> None:
    from redkite.model.limits import Limits

    service.answers[GetVersion] = lambda _: Version(version="x" * 2_000)
    limits = Limits(max_send_bytes=1_000)
    with ThreadServer(service, limits=limits) as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        code, details = failure_of(raw(channel, "GetVersion"), b"")
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in details


def test_many_clients_with_large_and_small_calls_at_once_all_get_their_own_answer(
    fake_server: ThreadServer, service: FakeService
) -> None:
    service.answers[DescribeCollection] = lambda request: (_ for _ in ()).throw(
        CollectionNotFound.named("default", request.collection)
    )
    service.slow = {DescribeCollection}

    def client(number: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{fake_server.port}", options=UNLIMITED) as channel:
            stub = milvus_pb2_grpc.MilvusServiceStub(channel)
            calls = []
            for index in range(30):
                name = f"{number}-{index}-" + "x" * (index * 37_000 if index % 5 == 0 else index)
                request = milvus_pb2.DescribeCollectionRequest(collection_name=name)
                calls.append((name, stub.DescribeCollection.future(request)))
            for name, call in calls:
                assert call.result(timeout=60).status.reason.endswith(f"[collection={name}]")

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(client, number) for number in range(6)]:
            done.result()


def test_more_calls_at_once_than_one_connection_may_have_are_all_answered(stub: Any) -> None:
    calls = [stub.GetVersion.future(milvus_pb2.GetVersionRequest()) for _ in range(2_000)]
    assert {call.result(timeout=60).version for call in calls} == {"v2.6.0"}


def test_a_client_that_pings_all_the_time_is_not_sent_away(fake_server: ThreadServer) -> None:
    options = [
        ("grpc.keepalive_time_ms", 20), ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 10),
    ]  # fmt: skip
    states: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(f"127.0.0.1:{fake_server.port}", options=options) as channel:
        assert raw(channel, "GetVersion")(b"")
        channel.subscribe(states.append)
        time.sleep(1.0)
        assert raw(channel, "GetVersion")(b"")
    assert set(states) <= {grpc.ChannelConnectivity.READY}
