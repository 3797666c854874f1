"""Over gRPC: greeting, metadata, failures, retries, deadlines, forks."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tests.client.conftest import WireServer
from tests.client.fake import FakeService

from redkite import AsyncMilvusClient, DataType, FieldOp, MilvusClient, errors
from redkite.client.endpoint import endpoint
from redkite.client.operations import data
from redkite.client.transports import retry
from redkite.client.transports.blocks import Blocks
from redkite.client.transports.headers import literal
from redkite.client.transports.speech import Speech
from redkite.model import requests
from redkite.model.imports import ImportFiles


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "LONGEST_DELAY", 0.01)
    monkeypatch.setattr(retry, "MAX_RETRIES", 5)


def test_every_call_names_database_credentials_and_itself(server: WireServer, fake: FakeService) -> None:
    fake.databases.append("lab")
    with MilvusClient(server.uri, token="root:Milvus", db_name="lab") as client:
        client.list_collections()
        client.list_collections()
    greeting, first, second = server.seen
    assert greeting[0] == "Connect"
    assert fake.sent(requests.Connect)[0].client["user"] == "root"
    assert fake.sent(requests.Connect)[0].client["sdk_type"] == "Redkite"
    assert first[0] == "ShowCollections"
    assert first[1]["dbname"] == "lab"
    assert base64.b64decode(first[1]["authorization"]) == b"root:Milvus"
    assert first[1]["identifier"] == "42"
    assert first[1]["client-request-id"] != second[1]["client-request-id"]
    assert fake.sent(requests.ShowCollections)[0].database == "lab"


def test_a_missing_database_is_known_when_connecting(server: WireServer) -> None:
    with pytest.raises(errors.DatabaseNotFound) as caught:
        MilvusClient(server.uri, db_name="nowhere")
    assert caught.value.code == 800


def test_a_server_that_is_not_there_is_a_connect_error() -> None:
    with pytest.raises(errors.ConnectError) as caught:
        MilvusClient("http://127.0.0.1:9", timeout=0.3)
    assert caught.value.code == 2
    assert caught.value.message.startswith(
        "Fail connecting to server on 127.0.0.1:9, illegal connection params or server unavailable"
    )
    assert isinstance(caught.value, ConnectionError)


def test_a_server_that_speaks_something_else_says_what_to_check(
    server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MilvusClient(server.uri)
    server.failures.append(grpc.StatusCode.UNIMPLEMENTED)
    with pytest.raises(errors.Unimplemented, match="verify that your uri points to a Milvus gRPC port"):
        client.list_collections()


def test_a_lost_connection_is_tried_again(server: WireServer) -> None:
    with MilvusClient(server.uri) as client:
        server.failures += [grpc.StatusCode.UNAVAILABLE] * 3
        assert client.list_collections() == []
        server.failures += [grpc.StatusCode.UNAVAILABLE] * 6
        with pytest.raises(errors.Unavailable, match=r"\[ShowCollections\] Retry run out of 5 retry times, message="):
            client.list_collections()


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 1e10, 1e8, 200_000.5])
def test_a_timeout_may_be_as_long_as_one_likes(server: WireServer, seconds: float) -> None:
    with MilvusClient(server.uri, timeout=seconds) as client:
        assert client.list_collections() == []
        assert client.list_collections(timeout=seconds) == []


@pytest.mark.parametrize(("seconds", "said"), [(0.0001, "1m"), (99_999.9994, "99999999m"), (200_000.5, "200000S")])
def test_a_deadline_is_told_in_eight_digits(server: WireServer, seconds: float, said: str) -> None:
    blocks = Blocks(Speech(endpoint(server.uri, "", "", "", "", {})))
    assert literal("grpc-timeout", said) in blocks.block("ShowCollections", requests.ShowCollections(), seconds)


def test_an_insert_whose_fate_is_unknown_is_not_repeated(server: WireServer, fake: FakeService) -> None:
    with MilvusClient(server.uri) as client:
        client.create_collection("c", dimension=2)
        client.insert("c", {"id": 1, "vector": [1.0, 2.0]})
        server.failures.append(grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(errors.Unavailable, match="made to fail"):
            client.insert("c", {"id": 2, "vector": [1.0, 2.0]})
    assert len(fake.sent(requests.Insert)) == 1


@pytest.mark.parametrize(
    "options",
    [{"field_ops": {"tags": FieldOp.array_append()}}, {"if_version": 7}, {"where": "age > 3"}],
    ids=lambda options: next(iter(options)),
)
def test_an_upsert_that_twice_is_another_is_not_repeated(
    server: WireServer, fake: FakeService, options: dict[str, Any]
) -> None:
    schema = MilvusClient.create_schema()
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=2)
    schema.add_field("tags", DataType.ARRAY, element_type=DataType.INT64, max_capacity=4, nullable=True)
    schema.add_field("age", DataType.INT64, nullable=True)
    row = {"id": 1, "vector": [1.0, 2.0], "tags": [1]}
    with MilvusClient(server.uri) as client:
        client.create_collection("c", schema=schema)
        client.upsert("c", row)
        server.failures.append(grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(errors.Unavailable, match="made to fail"):
            client.upsert("c", row, **options)
        server.failures.append(grpc.StatusCode.UNAVAILABLE)
        assert client.upsert("c", row)["upsert_count"] == 1, "replacing whole rows is the same twice"


def test_a_refusal_that_will_pass_is_tried_again(server: WireServer, fake: FakeService) -> None:
    answer = fake._Flush
    refusals = [errors.RateLimited("rate limit exceeded"), errors.NotReady("service not ready")]

    def flush(request: requests.Flush) -> object:
        if refusals:
            raise refusals.pop()
        return answer(request)

    fake._Flush = flush  # type: ignore[method-assign, assignment]
    with MilvusClient(server.uri) as client:
        client.create_collection("c", dimension=2)
        client.flush("c")
    assert len(fake.sent(requests.Flush)) == 3


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, 1400), (grpc.StatusCode.PERMISSION_DENIED, 1401),
        (grpc.StatusCode.INVALID_ARGUMENT, 1100), (grpc.StatusCode.RESOURCE_EXHAUSTED, 1102),
        (grpc.StatusCode.INTERNAL, 65535),
    ],
)  # fmt: skip
def test_failures_of_grpc_itself_become_errors_with_codes(
    server: WireServer, status: grpc.StatusCode, code: int
) -> None:
    with MilvusClient(server.uri) as client:
        server.failures.append(status)
        with pytest.raises(errors.MilvusException, match="made to fail") as caught:
            client.list_collections()
    assert caught.value.code == code


def test_a_call_ends_at_its_timeout(server: WireServer, fake: FakeService) -> None:
    with MilvusClient(server.uri) as client:
        answer, gate = fake._ShowCollections, threading.Event()

        def slow(request: requests.ShowCollections) -> object:
            gate.wait(60)
            return answer(request)

        fake._ShowCollections = slow  # type: ignore[method-assign, assignment]
        start = time.monotonic()
        with pytest.raises(errors.Timeout) as caught:
            client.list_collections(timeout=0.1)
        gate.set()
        assert time.monotonic() - start < 30
    assert isinstance(caught.value, TimeoutError)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for `localhost` that it signed itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    key, pem = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, pem


@pytest.fixture
def secure(fake: FakeService, certificate: tuple[Path, Path]) -> Iterator[WireServer]:
    key, pem = (path.read_bytes() for path in certificate)
    server = WireServer(fake, grpc.ssl_server_credentials([(key, pem)]))
    yield server
    server.stop()


def test_a_server_with_tls_is_trusted_by_its_certificate(secure: WireServer, certificate: tuple[Path, Path]) -> None:
    uri = f"https://localhost:{secure.port}"
    with MilvusClient(uri, server_pem_path=str(certificate[1])) as client:
        client.create_collection("c", dimension=2)
        assert client.insert("c", {"id": 1, "vector": [1.0, 2.0]})["insert_count"] == 1
        assert client.search("c", [[1.0, 2.0]])[0].ids == [1]
        secure.failures += [grpc.StatusCode.UNAVAILABLE]
        assert client.list_collections() == ["c"]
    with pytest.raises(errors.ConnectError):
        MilvusClient(uri, timeout=1)


async def test_an_asynchronous_client_takes_tls_too(secure: WireServer, certificate: tuple[Path, Path]) -> None:
    async with AsyncMilvusClient(f"https://localhost:{secure.port}", server_pem_path=str(certificate[1])) as client:
        assert await client.list_collections() == []


def test_channel_arguments_reach_the_channel(server: WireServer) -> None:
    with pytest.raises(errors.ParameterTooLarge, match="larger than max"):
        MilvusClient(server.uri, grpc_options={"grpc.max_receive_message_length": 10})


def test_connection_options_reach_the_server(server: WireServer, fake: FakeService) -> None:
    MilvusClient(server.uri, option={"team": "search"}).close()
    assert "search" in fake.sent(requests.Connect)[0].client.values()


def test_a_large_insert_goes_in_several_requests(server: WireServer, fake: FakeService) -> None:
    with MilvusClient(server.uri) as client:
        client.create_collection("c", dimension=64)
        client._session.max_request_bytes = 100_000
        result = client.insert("c", [np.arange(2000), np.zeros((2000, 64), np.float32)])
        assert (result["insert_count"], result["ids"]) == (2000, list(range(2000)))
        sent = fake.sent(requests.Insert)
        assert len(sent) > 4
        assert max(data.wire_bytes(request.rows) for request in sent) <= 100_000
        assert client.get_collection_stats("c") == {"row_count": 2000}


def test_a_schema_that_goes_stale_between_parts_costs_no_row_and_doubles_none(
    server: WireServer, fake: FakeService
) -> None:
    with MilvusClient(server.uri) as client:
        client.create_collection("c", dimension=64)
        client._session.max_request_bytes = 100_000
        answer = fake._Insert

        def insert(request: requests.Insert) -> object:
            if len(fake.sent(requests.Insert)) == 3:
                fake.collections["c"].updated += 10**6
            return answer(request)

        fake._Insert = insert  # type: ignore[method-assign, assignment]
        result = client.insert("c", [np.arange(2000), np.zeros((2000, 64), np.float32)])
        assert result["ids"] == list(range(2000))
        assert [row["id"] for row in fake.collections["c"].rows] == list(range(2000))


def test_a_forked_child_connects_anew() -> None:
    """In a process of its own: forking this one, with its server's threads, would prove nothing."""
    script = """
import os, sys
from tests.client.conftest import WireServer
from tests.client.fake import FakeService
read, write = os.pipe()
server_pid = os.fork()
if server_pid == 0:
    server = WireServer(FakeService())
    os.write(write, str(server.port).encode())
    import signal; signal.pause()
port = int(os.read(read, 10))
from redkite import MilvusClient
client = MilvusClient(f"http://127.0.0.1:{port}", timeout=20)
assert client.list_collections() == []
child = os.fork()
if child == 0:
    assert client.list_collections() == []
    os._exit(7)
_, status = os.waitpid(child, 0)
assert client.list_collections() == []
os.kill(server_pid, 9)
sys.exit(os.waitstatus_to_exitcode(status))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7, done.stderr


def test_delays_grow_and_end() -> None:
    delays = list(retry.delays())
    assert len(delays) == retry.MAX_RETRIES
    assert delays[0] == retry.FIRST_DELAY
    assert delays == sorted(delays)
    assert max(delays) <= retry.LONGEST_DELAY


def test_what_was_never_sent_may_always_be_repeated() -> None:
    rename = requests.RenameCollection(collection="a", new_name="b")
    assert retry.may_repeat(rename, retry.NeverSent("failed to connect"))
    assert not retry.may_repeat(rename, errors.Unavailable("reset"))
    assert retry.may_repeat(requests.ListDatabases(), errors.Unavailable("reset"))
    assert not retry.may_repeat(requests.ListDatabases(), errors.Timeout("late"))
    assert not retry.may_repeat(requests.ListDatabases(), errors.InvalidParameter("bad"))
    assert not retry.may_repeat(ImportFiles(collection="a", groups=(("1.json",),)), errors.Unavailable("reset"))
    condition = requests.Condition(versions=(7,))
    known = requests.Delete(collection="a", filter="id in [1]", condition=condition)
    assert not retry.may_repeat(known, errors.Unavailable("reset"))
    assert retry.may_repeat(known, retry.NeverSent("failed to connect"))
