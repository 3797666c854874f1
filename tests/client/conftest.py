"""Clients over both transports, in front of one fake service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from tests.client.fake import FakeService

from redkite import AsyncMilvusClient, MilvusClient
from redkite.client.schema_cache import SHARED
from redkite.client.transports import engines
from redkite.wire import Handler, MethodUnimplemented


class WireServer(grpc.GenericRpcHandler):
    """The fake behind gRPC. `seen` remembers the metadata of each call; `failures` are answered first."""

    def __init__(self, service: FakeService, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.failures: list[grpc.StatusCode] = []
        self._handler = Handler(service)
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 << 20)])
        self._server.add_generic_rpc_handlers((self,))
        if credentials is None:
            self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            self.port = self._server.add_secure_port("localhost:0", credentials)
        self._server.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        method = details.method.rpartition("/")[2]
        metadata = {key: str(value) for key, value in details.invocation_metadata}

        def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
            self.seen.append((method, metadata))
            if self.failures and method != "Connect":
                context.abort(self.failures.pop(0), "made to fail")
            try:
                reply = self._handler.handle(method, data, metadata)
            except MethodUnimplemented as error:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, error.message)
            return reply.result() if isinstance(reply, Future) else reply

        return grpc.unary_unary_rpc_method_handler(answer)

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture(autouse=True)
def empty_schema_cache() -> None:
    SHARED._plans.clear()


@pytest.fixture
def fake() -> FakeService:
    return FakeService()


@pytest.fixture
def path(fake: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database file whose engine is the fake."""
    monkeypatch.setattr(engines, "open_handle", lambda path: fake)
    return str(tmp_path / "test.db")


@pytest.fixture
def server(fake: FakeService) -> Iterator[WireServer]:
    server = WireServer(fake)
    yield server
    server.stop()


@pytest.fixture(params=["embedded", "grpc"])
def uri(request: pytest.FixtureRequest) -> str:
    """Where the fake is reached: as a file, and as a server."""
    if request.param == "embedded":
        return str(request.getfixturevalue("path"))
    return str(request.getfixturevalue("server").uri)


@pytest.fixture
def client(uri: str) -> Iterator[MilvusClient]:
    with MilvusClient(uri) as client:
        yield client


@pytest.fixture
def make_async(uri: str) -> Callable[[], AsyncMilvusClient]:
    return lambda: AsyncMilvusClient(uri)
