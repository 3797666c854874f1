"""The small part of HTTP/2 that unary calls need, against a reference and against hostile peers."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise

import hpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.conftest import WireServer
from tests.client.fake import FakeService

from redkite import AsyncMilvusClient, MilvusClient, errors
from redkite.client.transports import direct_aio, retry
from redkite.client.transports import headers as blocks
from redkite.client.transports.http2 import PREFACE, Aborted, Exchange, Refused, frame, opening
from redkite.model import requests

names = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=20)
values = st.text(max_size=60)


# -- header blocks ------------------------------------------------------------------------------
@given(st.dictionaries(names, values, max_size=8), st.booleans())
def test_header_blocks_of_the_reference_decode(headers: dict[str, str], huffman: bool) -> None:
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    block = encoder.encode([(":status", "200"), *headers.items()], huffman=huffman)
    assert blocks.decode(bytes(block)) == {":status": "200", **headers}


@given(st.dictionaries(names, st.text(max_size=300), max_size=5))
def test_the_reference_decodes_what_is_encoded(headers: dict[str, str]) -> None:
    block = b"".join(blocks.literal(name, value) for name, value in headers.items())
    assert dict(hpack.Decoder().decode(block)) == headers
    assert blocks.decode(block) == headers


@given(st.binary(max_size=60))
def test_a_block_of_garbage_decodes_or_is_a_wire_error(block: bytes) -> None:
    try:
        blocks.decode(block)
    except errors.WireError:
        return


# -- the exchange -------------------------------------------------------------------------------
HEADERS = blocks.literal(":status", "200") + blocks.literal("content-type", "application/grpc")
GOOD = blocks.literal("grpc-status", "0")
BAD = blocks.literal("grpc-status", "14") + blocks.literal("grpc-message", "not%20now")


def body(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


def reply(stream: int, message: bytes) -> bytes:
    return frame(1, 4, stream, HEADERS) + frame(0, 0, stream, body(message)) + frame(1, 5, stream, GOOD)


def begun(message: bytes = b"hello") -> Exchange:
    exchange = Exchange()
    exchange.begin(b"", [message])
    exchange.output.clear()
    return exchange


def sent(exchange: Exchange) -> bytes:
    data = b"".join(exchange.output)
    exchange.output.clear()
    return data


def test_a_call_is_opened_with_preface_settings_headers_and_data() -> None:
    exchange = Exchange()
    exchange.begin(b"block", [b"hello"])
    assert sent(exchange) == opening() + frame(1, 4, 1, b"block") + frame(0, 1, 1, body(b"hello"))
    assert opening().startswith(PREFACE)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_an_answer_is_read_however_it_is_cut(step: int) -> None:
    exchange = begun()
    data = frame(4, 0, 0, b"") + reply(1, b"x" * 300)
    for at in range(0, len(data), step):
        exchange.feed(data[at : at + step])
    assert exchange.finished
    assert exchange.message == b"x" * 300
    assert exchange.status == (0, "")
    exchange.begin(b"", [b"again"])
    exchange.feed(reply(3, b""))
    assert exchange.message == b""


def test_padded_prioritised_and_continued_frames_are_read() -> None:
    exchange = begun()
    exchange.feed(frame(1, 0x20 | 0x8, 1, b"\x02" + b"\x00" * 5 + HEADERS[:5] + b"\x00\x00"))
    exchange.feed(frame(9, 4, 1, HEADERS[5:]))
    exchange.feed(frame(0, 0x8, 1, b"\x03" + body(b"hi") + b"\x00" * 3))
    exchange.feed(frame(1, 5, 1, GOOD))
    assert exchange.message == b"hi"


def test_a_failure_without_a_message_is_read() -> None:
    exchange = begun()
    exchange.feed(frame(1, 5, 1, blocks.literal(":status", "200") + BAD))
    assert exchange.status == (14, "not now")
    assert exchange.message is None


def test_an_answer_that_is_no_grpc_says_so() -> None:
    exchange = begun()
    exchange.feed(frame(1, 5, 1, blocks.literal(":status", "404")))
    assert exchange.status == (2, "the server answered HTTP status 404 and no gRPC status")


def test_settings_and_pings_are_acknowledged() -> None:
    exchange = begun()
    exchange.feed(
        frame(4, 0, 0, struct.pack(">HI", 3, 100)) + frame(6, 0, 0, b"12345678") + frame(6, 1, 0, b"87654321")
    )
    assert sent(exchange) == frame(4, 1, 0, b"") + frame(6, 1, 0, b"12345678")


def test_a_long_message_waits_for_room() -> None:
    message = bytes(200_000)
    exchange = Exchange()
    exchange.begin(b"", [message])
    received = data_of(exchange)
    assert len(received) == 65_535
    exchange.feed(frame(4, 0, 0, struct.pack(">HI", 4, 100_000)))
    assert data_of(exchange) == b""
    exchange.feed(frame(8, 0, 0, struct.pack(">I", 1_000_000)))
    received += data_of(exchange)
    assert len(received) == 100_000
    exchange.feed(frame(8, 0, 1, struct.pack(">I", 1_000_000)))
    received += data_of(exchange)
    assert received == body(message)


@pytest.mark.parametrize("cuts", [[0], [5, 5], [1, 20_000, 70_000], [16_379, 16_380]])
def test_a_message_in_pieces_is_sent_as_one_and_not_copied(cuts: list[int]) -> None:
    message = bytes(range(256)) * 400
    exchange = begun()
    exchange.feed(reply(1, b""))
    exchange.feed(frame(8, 0, 0, struct.pack(">I", 1_000_000)) + frame(4, 0, 0, struct.pack(">HI", 4, 1_000_000)))
    exchange.output.clear()
    edges = [0, *cuts, len(message)]
    pieces = [memoryview(message)[start:end] for start, end in pairwise(edges)]
    exchange.begin(b"", pieces)
    assert sum(len(part) for part in exchange.output if getattr(part, "obj", None) is message) == len(message)
    assert data_of(exchange) == body(message)


def data_of(exchange: Exchange) -> bytes:
    """The payloads of the DATA frames to be sent, none of them longer than the peer takes."""
    data = sent(exchange)
    data = data.removeprefix(PREFACE)
    found = b""
    while data:
        length = int.from_bytes(data[:3], "big")
        if data[3] == 0:
            assert length <= 16_384
            found += data[9 : 9 + length]
        data = data[9 + length :]
    return found


def test_a_call_the_server_never_looked_at_is_refused() -> None:
    exchange = begun()
    with pytest.raises(Refused):
        exchange.feed(frame(7, 0, 0, struct.pack(">II", 0, 0)))
    assert not exchange.usable
    exchange = begun()
    with pytest.raises(Refused):
        exchange.feed(frame(3, 0, 1, struct.pack(">I", 7)))
    exchange = begun()
    with pytest.raises(Aborted):
        exchange.feed(frame(3, 0, 1, struct.pack(">I", 8)))


def test_a_server_that_goes_away_still_finishes_the_call() -> None:
    exchange = begun()
    exchange.feed(frame(7, 0, 0, struct.pack(">II", 1, 0)) + reply(1, b"last"))
    assert exchange.message == b"last"
    assert not exchange.usable


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak HTTP/2"),
        (b"\xff\xff\xff" + bytes(6), "longer than was allowed"),
        (frame(5, 4, 1, b""), "pushes"),
        (frame(4, 0, 0, b"123"), "too short for its kind"),
        (frame(0, 0x8, 1, b""), "too short for its kind"),
        (frame(1, 4, 1, b"\xff\xff\xff\xff\xff\xff"), "does not decode"),
    ],
)
def test_what_is_not_http2_is_a_wire_error(data: bytes, text: str) -> None:
    with pytest.raises(errors.WireError, match=text):
        begun().feed(data)


@pytest.mark.parametrize("payload", [b"\x00", body(b"hello")[:-1], b"\x01" + body(b"zipped")[1:]])
def test_a_message_that_is_cut_or_compressed_is_a_wire_error(payload: bytes) -> None:
    exchange = begun()
    exchange.feed(frame(1, 4, 1, HEADERS) + frame(0, 0, 1, payload) + frame(1, 5, 1, GOOD))
    with pytest.raises(errors.WireError):
        exchange.message


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 255), st.integers(0, 3), st.binary(max_size=30)), max_size=8)
)
def test_hostile_frames_raise_nothing_but_known_errors(frames: list[tuple[int, int, int, bytes]]) -> None:
    exchange = begun()
    try:
        exchange.feed(b"".join(frame(*parts) for parts in frames))
        exchange.status, exchange.message
    except (errors.WireError, Refused, Aborted):
        return


# -- over sockets -------------------------------------------------------------------------------
class Peer:
    """A server that does with each connection what it is told to."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._behave = behave
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                self._behave(connection)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], Peer]]:
    made: list[Peer] = []

    def make(behave: Callable[[socket.socket], None]) -> Peer:
        made.append(Peer(behave))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_port_that_speaks_http1_is_named_in_the_error(peer: Callable[..., Peer]) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    with pytest.raises(errors.WireError, match="does not speak HTTP/2"):
        MilvusClient(f"http://127.0.0.1:{peer(behave).port}")


def test_a_connection_that_breaks_in_the_greeting_is_a_connect_error(peer: Callable[..., Peer]) -> None:
    server = peer(lambda connection: None)
    with pytest.raises(errors.ConnectError, match="Fail connecting to server"):
        MilvusClient(f"http://127.0.0.1:{server.port}", timeout=0.3)
    assert server.connections > 1


def test_a_silent_port_is_a_connect_error(peer: Callable[..., Peer]) -> None:
    gate = threading.Event()
    server = peer(lambda connection: gate.wait(60) and None)
    with pytest.raises(errors.ConnectError):
        MilvusClient(f"http://127.0.0.1:{server.port}", timeout=0.2)
    gate.set()


def test_a_long_message_arrives_whole(server: WireServer, fake: FakeService) -> None:
    with MilvusClient(server.uri) as client:
        client.create_collection("c", dimension=128)
        vectors = np.arange(128 * 10_000, dtype=np.float32).reshape(10_000, 128)
        assert client.insert("c", [np.arange(10_000), vectors])["insert_count"] == 10_000
        assert len(fake.sent(requests.Insert)) == 1
        assert client.get("c", 9_999)[0]["vector"] == vectors[9_999].tolist()
        everything = client.query("c", limit=10_000, output_fields=["vector"])
        assert np.array_equal(everything.to_numpy()["vector"], vectors)


def test_connections_are_kept_and_replaced(server: WireServer, fake: FakeService) -> None:
    client = MilvusClient(server.uri)
    transport = client._transport
    assert transport is not None
    for _ in range(5):
        client.list_collections()
    assert len(transport._idle) == 1  # type: ignore[attr-defined]
    transport._idle[0]._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[attr-defined]
    assert client.list_collections() == []
    client.close()
    assert transport._idle == []  # type: ignore[attr-defined]


def test_threads_have_a_connection_each(server: WireServer, fake: FakeService) -> None:
    barrier = threading.Barrier(4)
    answer = fake._ShowCollections

    def together(request: requests.ShowCollections) -> object:
        barrier.wait(30)
        return answer(request)

    fake._ShowCollections = together  # type: ignore[method-assign, assignment]
    with MilvusClient(server.uri) as client:
        threads = [threading.Thread(target=client.list_collections) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(client._transport._idle) == 4  # type: ignore[union-attr]


def test_nobody_there_was_never_sent() -> None:
    from redkite.client.transports.direct import _Line

    with pytest.raises(retry.NeverSent):
        _Line("127.0.0.1:9", 1.0)


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12), taken=st.integers(1, 70))
def test_what_a_socket_does_not_take_at_once_is_sent_after_it(sizes: list[int], taken: int) -> None:
    from redkite.client.transports.direct import _Line

    class Slow:
        def __init__(self) -> None:
            self.sent = b""

        def sendmsg(self, buffers: list[bytes]) -> int:
            some = b"".join(buffers)[:taken]
            self.sent += some
            return len(some)

        def close(self) -> None:
            pass

    line = _Line.__new__(_Line)
    line._socket = slow = Slow()  # type: ignore[assignment]
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    line._send_all([memoryview(piece) if len(piece) % 2 else piece for piece in pieces])
    assert slow.sent == b"".join(pieces)


# -- the asynchronous side ----------------------------------------------------------------------
async def test_many_tasks_share_a_few_connections(server: WireServer) -> None:
    async with AsyncMilvusClient(server.uri) as client:
        answers = await asyncio.gather(*(client.list_databases() for _ in range(200)))
        hub = client._transport._hub  # type: ignore[union-attr]
        assert answers == [["default"]] * 200
        assert 1 < hub._open == len(hub._idle) <= direct_aio.MAX_CONNECTIONS
    assert hub._idle == []


async def test_cancelled_tasks_leave_room_for_others(
    server: WireServer, fake: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_aio, "MAX_CONNECTIONS", 2)
    gate = threading.Event()
    answer = fake._ShowCollections

    def slow(request: requests.ShowCollections) -> object:
        gate.wait(60)
        return answer(request)

    fake._ShowCollections = slow  # type: ignore[method-assign, assignment]
    async with AsyncMilvusClient(server.uri) as client:
        assert await client.list_databases() == ["default"]
        tasks = [asyncio.create_task(client.list_collections()) for _ in range(6)]
        await asyncio.sleep(0.05)
        for task in tasks[:4]:
            task.cancel()
        gate.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in done] == [asyncio.CancelledError] * 4 + [list] * 2
        assert await asyncio.gather(*(client.list_databases() for _ in range(20))) == [["default"]] * 20
        hub = client._transport._hub  # type: ignore[union-attr]
        assert hub._open == len(hub._idle) <= 2


async def test_a_server_that_comes_back_is_found_again(fake: FakeService) -> None:
    first = WireServer(fake)
    async with AsyncMilvusClient(first.uri) as client:
        assert await client.list_databases() == ["default"]
        first.stop()
        task = asyncio.create_task(client.list_databases())
        await asyncio.sleep(0.05)
        again = WireServer(fake, port=first.port)
        assert await task == ["default"]
        again.stop()


def test_a_server_that_comes_back_is_found_again_by_threads(fake: FakeService) -> None:
    first = WireServer(fake)
    with MilvusClient(first.uri) as client:
        client.create_collection("c", dimension=2)
        first.stop()
        again = WireServer(fake, port=first.port)
        assert client.insert("c", {"id": 1, "vector": [1.0, 2.0]})["insert_count"] == 1
        again.stop()


async def test_an_asynchronous_call_that_breaks_off_is_unavailable(peer: Callable[..., Peer]) -> None:
    server = peer(lambda connection: None)
    client = AsyncMilvusClient(f"http://127.0.0.1:{server.port}", timeout=0.3)
    with pytest.raises((errors.ConnectError, errors.Timeout)):
        await client.list_collections()
    assert server.connections > 1


async def test_an_asynchronous_client_names_a_port_that_speaks_http1(peer: Callable[..., Peer]) -> None:
    def behave(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(errors.WireError, match="does not speak HTTP/2"):
        await AsyncMilvusClient(f"http://127.0.0.1:{peer(behave).port}").list_collections()


async def test_a_long_message_arrives_whole_from_a_task(server: WireServer, fake: FakeService) -> None:
    async with AsyncMilvusClient(server.uri) as client:
        await client.create_collection("c", dimension=128)
        vectors = np.arange(128 * 10_000, dtype=np.float32).reshape(10_000, 128)
        assert (await client.insert("c", [np.arange(10_000), vectors]))["insert_count"] == 10_000
        assert len(fake.sent(requests.Insert)) == 1
        everything = await client.query("c", limit=10_000, output_fields=["vector"])
        assert np.array_equal(everything.to_numpy()["vector"], vectors)
