"""What a stranger, or a slow or greedy client, may cost a server."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import pytest
from tests.server.fakes import FakeService
from tests.servers import ThreadServer

import redkite.server.grpc_connection as grpc_connection
import redkite.server.http1 as http1
import redkite.server.http2 as http2
from redkite.coordinator.access import AccessCoordinator, AccessRules
from redkite.model.limits import Limits
from redkite.model.requests import Flush, HasCollection, Insert
from redkite.model.results import Flag, Flushed
from redkite.realenv import real_env
from redkite.server.buffered import Buffered
from redkite.storage.catalog import MemoryCatalog
from redkite.wire.headers import literal
from redkite.wire.http2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST_STREAM
from redkite.wire.methods import METHODS, PATHS

ROOT = base64.b64encode(b"root:Milvus")
MEBIBYTE = 1 << 20


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def opening(stream: int, method: str, *more: tuple[bytes, bytes]) -> bytes:
    """The headers of a call."""
    fields = (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", PATHS[method].encode()),
        (b"content-type", b"application/grpc"), (b"te", b"trailers"), *more,
    )  # fmt: skip
    return frame(HEADERS, END_HEADERS, stream, b"".join(literal(name, value) for name, value in fields))


SETTINGS = frame(4, 0, 0, b"")


def connected(server: ThreadServer) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    peer.sendall(PREFACE + SETTINGS)
    return peer


def frames(peer: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Kind, stream and payload of what comes, until the end."""
    received = b""
    while True:
        while len(received) >= 9:
            word, _, stream = struct.unpack_from(">IBI", received)
            if len(received) < 9 + (word >> 8):
                break
            yield word & 255, stream, received[9 : 9 + (word >> 8)]
            received = received[9 + (word >> 8) :]
        try:
            some = peer.recv(65_536)
        except ConnectionResetError:
            return
        if not some:
            return
        received += some


@pytest.fixture
def guarded(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadServer]:
    service.compared = threading.Event()  # type: ignore[attr-defined]
    access = AccessCoordinator(MemoryCatalog(), real_env(), rules=AccessRules(root_password="Milvus"))
    verified = access.verified

    def slowly(name: str, password: str) -> bool:
        assert service.compared.wait(30)  # type: ignore[attr-defined]
        return verified(name, password)

    monkeypatch.setattr(access, "verified", slowly)
    monkeypatch.setattr(ThreadServer, "access", access, raising=False)
    monkeypatch.setattr(ThreadServer, "follow", lambda _: None, raising=False)
    with ThreadServer(service, authorization="on") as server:
        yield server


# -- strangers ----------------------------------------------------------------------------------
def test_a_made_up_header_makes_a_connection_hold_little_and_read_no_further(
    guarded: ThreadServer, service: FakeService
) -> None:
    peer = connected(guarded)
    made_up = (b"authorization", base64.b64encode(b"root:wrong"))
    peer.sendall(opening(1, "Insert", made_up))
    peer.settimeout(0.5)
    sent, piece = 0, frame(DATA, 0, 1, bytes(16_384))
    with pytest.raises(TimeoutError):  # what the server does not read fills the socket
        while sent < 64 * MEBIBYTE:
            sent += peer.send(piece)
    assert sent < 16 * MEBIBYTE
    held = guarded.server._buffered.held
    assert held <= grpc_connection.STRANGER_BYTES + 2 * 262_144
    service.compared.set()  # type: ignore[attr-defined]
    peer.settimeout(30)
    kinds = [(kind, stream) for kind, stream, _ in _until(frames(peer), RST_STREAM)]
    assert (HEADERS, 1) in kinds  # the refusal
    _wait_for(lambda: guarded.server._buffered.held == 0)
    peer.close()


def _until(found: Iterator[tuple[int, int, bytes]], kind: int) -> list[tuple[int, int, bytes]]:
    seen = []
    for one in found:
        seen.append(one)
        if one[0] == kind:
            break
    return seen


def test_a_right_header_that_is_new_is_looked_at_while_its_message_comes(
    guarded: ThreadServer, service: FakeService
) -> None:
    service.answers[HasCollection] = lambda request: Flag(value=len(request.collection) == 300_000)
    message = METHODS["HasCollection"][0](collection_name="c" * 300_000).SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
        call = channel.unary_unary(PATHS["HasCollection"])
        waiting = [call.future(message, metadata=(("authorization", ROOT.decode()),)) for _ in range(3)]
        time.sleep(0.3)
        assert not any(one.done() for one in waiting)
        service.compared.set()  # type: ignore[attr-defined]
        replies = [METHODS["HasCollection"][1].FromString(one.result(30)) for one in waiting]
    assert all(reply.value for reply in replies)


def test_a_connection_that_nobody_known_uses_is_closed(
    guarded: ThreadServer, service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.compared.set()  # type: ignore[attr-defined]
    monkeypatch.setattr(grpc_connection, "STRANGER_SECONDS", 0.3)
    peer = connected(guarded)
    peer.settimeout(30)
    assert [kind for kind, _, _ in frames(peer)][-1] == 7  # GOAWAY, then the end
    with grpc.insecure_channel(f"127.0.0.1:{guarded.port}") as channel:
        call = channel.unary_unary(PATHS["GetVersion"])
        for _ in range(3):
            assert call(b"", metadata=(("authorization", ROOT.decode()),))
            time.sleep(0.25)


def test_rest_refuses_a_stranger_before_the_body_is_there(guarded: ThreadServer, service: FakeService) -> None:
    service.compared.set()  # type: ignore[attr-defined]
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=30) as peer:
        peer.sendall(
            b"POST /v2/vectordb/entities/insert HTTP/1.1\r\nhost: x\r\nauthorization: Bearer root:wrong\r\n"
            b"content-length: 50000000\r\n\r\n{"
        )
        answer = b""
        while some := peer.recv(65_536):  # and the connection ends, though the body never came
            answer += some
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert answer.endswith(b'{"code":1800,"message":"user hasn\'t authenticated"}')


# -- greedy clients -------------------------------------------------------------------------------
def test_what_all_connections_hold_together_has_a_limit(service: FakeService) -> None:
    with ThreadServer(service, limits=Limits(max_unfinished_bytes=MEBIBYTE)) as server:
        peers = [connected(server) for _ in range(3)]
        pieces = b"".join(frame(DATA, 0, 1, bytes(16_384)) for _ in range(30))
        for peer in peers:
            peer.sendall(opening(1, "Insert") + pieces)
        refused, deadline = 0, time.monotonic() + 60
        while not refused and time.monotonic() < deadline:
            for peer in peers:
                peer.settimeout(0.5)
                try:
                    refused += any((kind, stream) == (HEADERS, 1) for kind, stream, _ in frames(peer))
                except TimeoutError:
                    continue
        assert refused >= 1
        assert server.server._buffered.held <= MEBIBYTE
        response = httpx.post(f"{server.uri}/v2/vectordb/collections/has", content=b" " * (2 * MEBIBYTE))
        assert response.json()["code"] == 1807
        for peer in peers:
            peer.close()
        _wait_for(lambda: server.server._buffered.held == 0)
        assert httpx.post(f"{server.uri}/v2/vectordb/databases/list", json={}).json()["code"] == 0


def test_a_count_never_goes_over_and_comes_back_to_nothing() -> None:
    buffered = Buffered(10)
    assert buffered.take(7)
    assert not buffered.take(4)
    assert buffered.take(3)
    buffered.give_back(10)
    assert buffered.held == 0


def test_large_calls_that_wait_are_counted_until_they_are_answered(service: FakeService) -> None:
    released = threading.Event()

    def wait(_: Any) -> Flag:
        released.wait(60)
        return Flag(value=True)

    service.slow = {HasCollection}
    service.answers[HasCollection] = wait
    message = METHODS["HasCollection"][0](collection_name="c" * 300_000).SerializeToString()
    with (
        ThreadServer(service, limits=Limits(max_unfinished_bytes=MEBIBYTE)) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        call = channel.unary_unary(PATHS["HasCollection"])
        waiting = [call.future(message) for _ in range(5)]
        refused = METHODS["HasCollection"][1].FromString(next(one for one in _done(waiting)).result())
        assert refused.status.code == 8
        assert refused.status.retriable
        released.set()
        codes = [METHODS["HasCollection"][1].FromString(one.result(30)).status.code for one in waiting]
        assert set(codes) == {0, 8}
        _wait_for(lambda: server.server._buffered.held == 0)


def _done(waiting: list[Any]) -> Iterator[Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        yield from (one for one in waiting if one.done())
        time.sleep(0.01)


# -- slow clients ---------------------------------------------------------------------------------
@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_LOOK_SECONDS", 0.1)
    for name in ("HEADER_SECONDS", "BODY_SECONDS", "STALL_SECONDS"):
        monkeypatch.setattr(http2, name, 0.4)
    monkeypatch.setattr(http2, "BODY_RATE", 1 << 30)


def test_a_frame_that_comes_byte_by_byte_ends_the_connection(fake_server: ThreadServer, impatient: None) -> None:
    peer = connected(fake_server)
    begun = time.monotonic()
    ended = False
    for byte in opening(1, "GetVersion"):
        try:
            peer.sendall(bytes((byte,)))
        except OSError:
            ended = True
            break
        time.sleep(0.05)
        if time.monotonic() - begun > 40:
            break
    assert ended or any(kind == 7 for kind, _, _ in frames(peer))
    peer.close()


def test_a_body_that_never_ends_is_taken_back_and_the_connection_goes_on(
    fake_server: ThreadServer, impatient: None
) -> None:
    peer = connected(fake_server)
    peer.sendall(opening(1, "Insert") + frame(DATA, 0, 1, bytes(1_000)))
    seen = _until(frames(peer), RST_STREAM)
    assert seen[-1][:2] == (RST_STREAM, 1)
    peer.sendall(opening(3, "GetVersion") + frame(DATA, END_STREAM, 3, bytes(5)))
    assert any(stream == 3 for _, stream, _ in _until(frames(peer), DATA))
    _wait_for(lambda: fake_server.server._buffered.held == 0)
    peer.close()


def test_empty_continuations_do_not_go_on_for_ever(fake_server: ThreadServer) -> None:
    peer = connected(fake_server)
    peer.sendall(frame(HEADERS, 0, 1, b"") + frame(9, 0, 1, b"") * 100)
    assert any(kind == 7 for kind, _, _ in frames(peer))
    peer.close()


@pytest.mark.parametrize(
    "start",
    [b"POST /v2/vectordb/databases/list HTTP/1.1\r\nhost: x\r\nx-slow: ", b"POST /", b"GET / HTTP/1.1\r\n"],
)
def test_headers_of_http1_that_do_not_come_end_the_connection(
    service: FakeService, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(http1.Http1.__init__, "__defaults__", (0.4, None))
    with ThreadServer(service) as server, socket.create_connection(("127.0.0.1", server.port), timeout=30) as peer:
        # Also of a later request of the same connection.
        peer.sendall(b"POST /v2/vectordb/databases/list HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
        assert peer.recv(65_536).startswith(b"HTTP/1.1 200 ")
        peer.sendall(start)
        begun = time.monotonic()
        while peer.recv(65_536):
            pass
        assert time.monotonic() - begun < 20


@pytest.mark.parametrize("sent", [b"x-large: " + b"a" * 200_000, b"".join(b"x-%d: y\r\n" % n for n in range(20_000))])
def test_headers_of_http1_have_a_limit(fake_server: ThreadServer, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", fake_server.port), timeout=30) as peer:
        peer.sendall(b"POST /v2/vectordb/databases/list HTTP/1.1\r\nhost: x\r\n")
        answer = b""
        try:
            peer.sendall(sent)
            while some := peer.recv(65_536):
                answer += some
        except ConnectionError:
            pass
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -- deadlines --------------------------------------------------------------------------------------
@pytest.fixture
def busy(service: FakeService) -> Iterator[threading.Event]:
    """All threads of the server wait until the event is set; more calls queue."""
    released = threading.Event()

    def wait(_: Any) -> Flag:
        released.wait(60)
        return Flag(value=True)

    service.slow = {HasCollection, Flush}
    service.answers[HasCollection] = wait
    service.answers[Flush] = lambda _: Flushed(collections=())
    yield released
    released.set()


def test_a_call_whose_time_is_up_before_its_turn_is_not_made(
    fake_server: ThreadServer, service: FakeService, busy: threading.Event
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{fake_server.port}") as channel:
        holding = [channel.unary_unary(PATHS["HasCollection"]).future(b"") for _ in range(16)]
        _wait_for(lambda: len(service.asked) == 16)
        flush = channel.unary_unary(PATHS["Flush"])
        message = METHODS["Flush"][0](collection_names=["c"]).SerializeToString()
        late = [flush.future(message, timeout=0.3) for _ in range(3)]
        for one in late:
            with pytest.raises(grpc.RpcError) as caught:
                one.result(30)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        in_time = flush.future(message, timeout=60)
        time.sleep(1.0)  # they may have come late
        busy.set()
        assert in_time.result(30)
        for one in holding:
            assert one.result(30)
    assert sum(isinstance(request, Flush) for request in service.asked) == 1


def test_a_call_that_is_taken_back_before_its_turn_is_not_made(
    fake_server: ThreadServer, service: FakeService, busy: threading.Event
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{fake_server.port}") as channel:
        holding = [channel.unary_unary(PATHS["HasCollection"]).future(b"") for _ in range(16)]
        _wait_for(lambda: len(service.asked) == 16)
        flush = channel.unary_unary(PATHS["Flush"])
        late = [flush.future(METHODS["Flush"][0](collection_names=["c"]).SerializeToString()) for _ in range(3)]
        time.sleep(0.2)
        _wait_for(lambda: fake_server.server._calls.running == 19)  # type: ignore[union-attr]
        for one in late:
            one.cancel()
        _wait_for(lambda: sum(len(c.streams) for c in fake_server.server._grpc) == 16)
        busy.set()
        for one in holding:
            assert one.result(30)
    assert not any(isinstance(request, Flush) for request in service.asked)


def test_a_rest_call_whose_time_is_up_before_its_turn_is_not_made(
    fake_server: ThreadServer, service: FakeService, busy: threading.Event
) -> None:
    async def run() -> None:
        async with httpx.AsyncClient(base_url=f"{fake_server.uri}/v2/vectordb/", timeout=30) as client:
            body = {"collectionName": "c"}
            holding = [asyncio.create_task(client.post("collections/has", json=body)) for _ in range(16)]
            await asyncio.to_thread(_wait_for, lambda: len(service.asked) == 16)
            late = await client.post("collections/flush", json=body, headers={"Request-Timeout": "1"})
            assert late.status_code == 408
            assert late.json() == {"code": 10001, "message": "request timeout"}
            busy.set()
            assert all(response.status_code == 200 for response in await asyncio.gather(*holding))

    asyncio.run(run())
    assert not any(isinstance(request, Flush | Insert) for request in service.asked)
