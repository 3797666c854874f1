"""HTTP/1.1 connections whose clients take their time: which are waited for, and which not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.patience import until

from redkite.server import http1
from redkite.server.http1 import Http1

LARGE = 12 << 20
"""Bytes of an answer that no socket takes at once."""


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """`/large` gets a large answer; anything else, after a moment, the size of its body."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await asyncio.sleep(0.3)
    body = bytes(LARGE) if scope["path"] == "/large" else b"%d bytes" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Served:
    """`answer` on a port, in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    async def open(self) -> None:
        self.http = Http1(answer, header_seconds=1.0)
        self.listening = await asyncio.get_running_loop().create_server(self.http.connect, "127.0.0.1", 0)
        self.address = self.listening.sockets[0].getsockname()

    async def end(self) -> None:
        self.listening.close()
        self.http.abort()
        await asyncio.sleep(0.05)


@pytest.fixture
def served() -> Iterator[Served]:
    server = Served()
    asyncio.run_coroutine_threadsafe(server.open(), server.loop).result(30)
    yield server
    asyncio.run_coroutine_threadsafe(server.end(), server.loop).result(30)
    server.loop.call_soon_threadsafe(server.loop.stop)
    server.thread.join()
    server.loop.close()


@pytest.fixture
def peer(served: Served) -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        made.settimeout(20)
        made.connect(served.address)
        yield made


def received(peer: socket.socket) -> bytes:
    """A small answer, whole."""
    answer = b""
    while not answer.endswith(b"bytes") and (some := peer.recv(65_536)):
        answer += some
    return answer


@pytest.mark.parametrize("ends", [b"connection: close\r\n", b""])
def test_a_client_that_takes_nothing_of_its_answer_is_left(
    served: Served, peer: socket.socket, monkeypatch: pytest.MonkeyPatch, ends: bytes
) -> None:
    monkeypatch.setattr(http1, "STALL_SECONDS", 0.5)
    peer.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n" + ends + b"\r\n")
    until(lambda: served.http.connections == 1)
    deadline = time.monotonic() + 120
    while served.http.connections and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not served.http.connections


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(
    served: Served, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "IDLE_SECONDS", 1.0)
    peer.sendall(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
    received = 0
    with contextlib.suppress(ConnectionResetError):
        while received < LARGE and (some := peer.recv(1 << 20)):
            received += len(some)
            time.sleep(0.01 if received > 2 << 20 else 0.2)
    assert received > LARGE


def test_a_request_that_follows_before_the_answer_has_its_time_for_the_body(
    peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http1, "LINGER_SECONDS", 0.2)
    first = b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1"
    peer.sendall(first + b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 12\r\n\r\n12")
    assert received(peer).endswith(b"1 bytes")
    for _ in range(10):
        time.sleep(0.1)
        peer.sendall(b"3")
    assert received(peer).endswith(b"12 bytes")


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_wish_for_another_protocol_is_ignored_and_the_body_read(peer: socket.socket, pieces: int) -> None:
    wish = b"connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    for _ in range(2):  # and the connection goes on
        parts = [b"POST /a HTTP/1.1\r\nhost: x\r\n" + wish + b"content-length: 5\r\n\r\n", b"12345"]
        for part in parts if pieces == 2 else [b"".join(parts)]:
            peer.sendall(part)
            time.sleep(0.1)
        assert received(peer).endswith(b"5 bytes")


def test_a_request_is_answered_though_the_headers_of_the_next_do_not_come(peer: socket.socket) -> None:
    peer.sendall(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1" + b"GET /b HTTP/1.1\r\nhost: x\r\n")
    assert received(peer).endswith(b"1 bytes")
    begun = time.monotonic()
    assert peer.recv(65_536) == b""
    assert time.monotonic() - begun < 20


class Noting(asyncio.Transport):
    """Keeps what is written, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading


async def pieces(scope: Any, receive: Any, send: Any) -> None:
    """An answer in as many pieces as the path says, each the body that came."""
    body = (await receive())["body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(int(scope["path"][1:])):
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _written(request: bytes) -> list[bytes]:
    transport, protocol = Noting(), Http1(pieces).connect()
    protocol.connection_made(transport)
    protocol.data_received(request)
    while asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    return transport.written


def test_the_head_of_an_answer_goes_out_with_the_first_of_its_body() -> None:
    kept = b"/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n"
    (whole, *rest) = asyncio.run(_written(b"POST " + kept + b"\r\nab"))
    assert whole.startswith(b"HTTP/1.1 200") and whole.endswith(b"2\r\nab\r\n") and rest == [b"0\r\n\r\n"]
    (whole, *rest) = asyncio.run(_written(b"POST " + kept + b"connection: close\r\n\r\nab"))
    assert whole.endswith(b"ab\r\n") and len(rest) == 1
    go_on, whole, _ = asyncio.run(_written(b"POST " + kept + b"expect: 100-continue\r\n\r\nab"))
    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n" and whole.endswith(b"ab\r\n")


def test_an_answer_without_a_body_goes_out_too() -> None:
    (head,) = asyncio.run(_written(b"HEAD /0 HTTP/1.1\r\nhost: x\r\n\r\n"))
    assert head.startswith(b"HTTP/1.1 200") and head.endswith(b"\r\n\r\n")
    first, second = asyncio.run(_written(2 * b"HEAD /0 HTTP/1.1\r\nhost: x\r\n\r\n"))
    assert first == second == head


def test_a_large_answer_is_not_copied_to_its_head() -> None:
    size = http1._JOINED_BYTES + 1
    request = b"POST /1 HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size + b"a" * size
    head, large, _ = asyncio.run(_written(request))
    assert head.endswith(b"\r\n\r\n") and len(large) > size
