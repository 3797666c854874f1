"""One HTTP/2 connection without a socket: frames in, frames out, what breaks it, and what does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from operator import itemgetter
from struct import Struct
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.server import http2
from redkite.server.http2 import Http2Connection
from redkite.server.streams import Stream
from redkite.wire.headers import literal
from redkite.wire.http2 import PREFACE

_FRAME = Struct(">IBI")
HEAD = b"\x83\x86" + literal(b":path", b"/x")
Frame = tuple[int, int, int, bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return _FRAME.pack(len(payload) << 8 | kind, flags, stream) + payload


def request(stream: int, body: bytes = b"hello") -> bytes:
    return frame(http2.HEADERS, http2.END_HEADERS, stream, HEAD) + frame(http2.DATA, http2.END_STREAM, stream, body)


HELLO = PREFACE + frame(http2.SETTINGS, 0, 0)


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and is as slow as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False
        self.unread = 0

    def write(self, data: Any) -> None:
        assert not self.closing
        self.written += data

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unread


class Echo(Http2Connection):
    """Answers a request with its own body, at once or when asked."""

    def __init__(self, later: bool = False, loop: Any = None) -> None:
        super().__init__(loop=loop)
        self.later = later
        self.complete: list[tuple[Stream, bytes]] = []
        self.wire = Wire()
        self.connection_made(self.wire)

    def request_complete(self, stream: Stream) -> None:
        self.complete.append((stream, b"".join(stream.body)))
        if not self.later:
            self.echo(len(self.complete) - 1)

    def echo(self, index: int) -> None:
        stream, body = self.complete[index]
        self.respond(stream, b"\x88", (b"<", body), literal(b"grpc-status", b"0"))

    def sent(self) -> list[Frame]:
        """The frames written so far."""
        data, frames, position = bytes(self.wire.written), [], 0
        while position < len(data):
            word, flags, stream = _FRAME.unpack_from(data, position)
            end = position + 9 + (word >> 8)
            frames.append((word & 0xFF, flags, stream, data[position + 9 : end]))
            position = end
        assert position == len(data)
        return frames

    def body_of(self, stream: int) -> bytes:
        return b"".join(payload for kind, _, number, payload in self.sent() if kind == 0 and number == stream)

    def broken(self) -> tuple[int, str]:
        """Code and text of the GOAWAY."""
        assert self.wire.closing
        kind, _, _, payload = self.sent()[-1]
        assert kind == http2.GOAWAY
        return int.from_bytes(payload[4:8], "big"), payload[8:].decode()


def test_a_request_is_answered_with_headers_data_and_trailers() -> None:
    connection = Echo()
    connection.data_received(HELLO + request(1))
    answer = [(kind, flags) for kind, flags, stream, _ in connection.sent() if stream == 1]
    assert answer == [
        (http2.HEADERS, http2.END_HEADERS), (http2.DATA, 0), (http2.HEADERS, http2.END_HEADERS | http2.END_STREAM),
    ]  # fmt: skip
    assert connection.body_of(1) == b"<hello"
    assert not connection.streams


@settings(max_examples=30)
@given(st.data())
def test_it_does_not_matter_how_the_bytes_are_cut(data: st.DataObject) -> None:
    bodies = data.draw(st.lists(st.binary(max_size=3_000), min_size=1, max_size=5))
    whole = HELLO + b"".join(request(2 * index + 1, body) for index, body in enumerate(bodies))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=12)))
    connection = Echo()
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        connection.data_received(whole[start:end])
    assert [body for _, body in connection.complete] == bodies
    assert [connection.body_of(2 * index + 1) for index in range(len(bodies))] == [b"<" + body for body in bodies]


@settings(max_examples=30)
@given(st.data())
def test_it_does_not_matter_how_the_bytes_of_large_bodies_are_cut(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(0, 60_000), min_size=1, max_size=3))
    bodies = [bytes([index]) * size for index, size in enumerate(sizes)]
    padded = frame(http2.DATA, http2.PADDED | http2.END_STREAM, 99, b"\x07" + b"p" * 50_000 + bytes(7))
    whole = HELLO + b"".join(request(2 * index + 1, body) for index, body in enumerate(bodies))
    whole += frame(http2.HEADERS, http2.END_HEADERS, 99, HEAD) + padded
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=8)))
    connection = Echo()
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        connection.data_received(whole[start:end])
    assert [body for _, body in connection.complete] == [*bodies, b"p" * 50_000]
    assert connection.buffered == 0


def test_what_has_come_of_a_large_frame_is_counted_and_not_copied_again() -> None:
    connection = Echo()
    body = bytes(range(256)) * 200
    whole = frame(http2.DATA, http2.END_STREAM, 1, body)
    connection.data_received(HELLO + frame(http2.HEADERS, http2.END_HEADERS, 1, HEAD))
    first, second = whole[:20_000], whole[20_000:40_000]
    connection.data_received(first)
    connection.data_received(second)
    assert connection.buffered == 40_000 - 9
    assert [piece.obj for piece in connection.streams[1].body if isinstance(piece, memoryview)] == [first, second]
    assert not connection.complete
    connection.data_received(whole[40_000:])
    assert connection.complete[0][1] == body
    assert connection.buffered == 0


def test_a_little_of_a_body_does_not_hold_all_that_came_with_it() -> None:
    connection = Echo()
    connection.data_received(HELLO + frame(http2.HEADERS, http2.END_HEADERS, 1, HEAD))
    little = frame(http2.DATA, 0, 1, bytes(10_000))
    connection.data_received(little + request(3, bytes(60_000)))
    assert [type(piece) for piece in connection.streams[1].body] == [bytes]


any_frame = st.tuples(st.integers(0, 11), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40))


@settings(max_examples=200)
@given(st.lists(any_frame, max_size=12))
def test_frames_of_any_kind_in_any_order_are_survived(frames: list[Frame]) -> None:
    connection = Echo()
    connection.data_received(HELLO)
    for item in frames:
        if connection.wire.closing:
            break
        connection.data_received(frame(*item))
    assert connection.buffered >= 0


def test_a_body_in_crumbs_is_put_together() -> None:
    connection = Echo()
    connection.data_received(HELLO + frame(http2.HEADERS, http2.END_HEADERS, 1, HEAD))
    for index in range(5_000):
        connection.data_received(frame(http2.DATA, 0, 1, bytes([index % 256])))
    assert len(connection.streams[1].body) < 10
    connection.data_received(frame(http2.DATA, http2.END_STREAM, 1))
    assert connection.complete[0][1] == bytes(index % 256 for index in range(5_000))
    assert connection.buffered == 0


def test_padding_priority_and_continuation_are_understood() -> None:
    connection = Echo()
    padded = b"\x03" + b"\x00\x00\x00\x00\x10" + HEAD[:7] + b"\x00" * 3
    connection.data_received(
        HELLO
        + frame(http2.HEADERS, http2.PADDED | http2.WITH_PRIORITY, 1, padded)
        + frame(http2.CONTINUATION, 0, 1, HEAD[7:9])
        + frame(http2.CONTINUATION, http2.END_HEADERS, 1, HEAD[9:])
        + frame(http2.PRIORITY, 0, 1, b"\x00" * 5)
        + frame(http2.DATA, http2.PADDED | http2.END_STREAM, 1, b"\x02" + b"body" + b"\x00\x00")
        + frame(0xEE, 0, 1, b"unknown kinds are skipped")
    )
    assert connection.complete[0][0].headers == [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x")]
    assert connection.body_of(1) == b"<body"


def test_trailers_end_a_request_too() -> None:
    connection = Echo()
    trailers = frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, literal(b"x", b"y"))
    connection.data_received(HELLO + frame(http2.HEADERS, http2.END_HEADERS, 1, HEAD) + frame(0, 0, 1, b"b") + trailers)
    assert connection.body_of(1) == b"<b"


def test_pings_and_settings_are_acknowledged() -> None:
    connection = Echo()
    acknowledged = frame(http2.PING, http2.ACK, 0, b"87654321")
    connection.data_received(HELLO + frame(http2.PING, 0, 0, b"12345678") + acknowledged)
    assert (http2.SETTINGS, http2.ACK, 0, b"") in connection.sent()
    assert [item for item in connection.sent() if item[0] == http2.PING] == [(http2.PING, http2.ACK, 0, b"12345678")]


# -- windows ------------------------------------------------------------------------------------
def window(stream: int, size: int) -> bytes:
    return frame(http2.WINDOW_UPDATE, 0, stream, size.to_bytes(4, "big"))


def test_a_large_answer_waits_for_the_windows_of_stream_and_connection() -> None:
    connection = Echo()
    body = bytes(range(256)) * 800
    connection.data_received(HELLO + frame(http2.HEADERS, http2.END_HEADERS, 1, HEAD))
    for start in range(0, len(body), 16_384):
        connection.data_received(frame(0, 0, 1, body[start : start + 16_384]))
    connection.data_received(frame(0, http2.END_STREAM, 1))
    assert len(connection.body_of(1)) == 65_535
    connection.data_received(window(1, 1_000_000))
    assert len(connection.body_of(1)) == 65_535
    connection.data_received(window(0, 10))
    assert len(connection.body_of(1)) == 65_545
    connection.data_received(window(0, 1_000_000))
    assert connection.body_of(1) == b"<" + body
    assert max(len(payload) for kind, _, _, payload in connection.sent() if kind == 0) <= 16_384
    assert connection.sent()[-1][0] == http2.HEADERS
    assert not connection.streams


def test_a_smaller_initial_window_counts_for_answers_under_way() -> None:
    connection = Echo(later=True)
    setting = b"\x00\x04" + (3).to_bytes(4, "big")
    connection.data_received(HELLO + request(1) + frame(http2.SETTINGS, 0, 0, setting))
    connection.echo(0)
    assert connection.body_of(1) == b"<he"
    connection.data_received(frame(http2.SETTINGS, 0, 0, b"\x00\x04" + (5).to_bytes(4, "big")))
    assert connection.body_of(1) == b"<hell"
    connection.data_received(window(1, 5))
    assert connection.body_of(1) == b"<hello"


def test_nothing_is_sent_while_the_socket_is_full() -> None:
    connection = Echo()
    connection.data_received(HELLO)
    connection.pause_writing()
    connection.data_received(request(1))
    assert connection.body_of(1) == b""
    connection.resume_writing()
    assert connection.body_of(1) == b"<hello"


def test_a_client_that_asks_and_never_reads_is_sent_away() -> None:
    connection = Echo()
    connection.data_received(HELLO)
    connection.pause_writing()
    connection.wire.unread = 1 << 25
    connection.data_received(frame(http2.PING, 0, 0, b"12345678"))
    assert connection.wire.closing


def test_a_flood_of_windows_and_settings_costs_little_whatever_waits() -> None:
    connection = Echo(later=True)
    count = http2.MAX_STREAMS
    connection.data_received(HELLO + frame(http2.SETTINGS, 0, 0, b"\x00\x04" + bytes(4)))
    connection.data_received(b"".join(request(2 * number + 1) for number in range(count)))
    for number in range(count):
        connection.echo(number)
    assert len(connection.streams) == count  # every answer waits for its window
    before = time.process_time()
    connection.data_received(window(0, 1) * 20_000)
    some = b"".join(b"\x00\x04" + (value % 2).to_bytes(4, "big") for value in range(10_001))
    for _ in range(4):
        connection.data_received(frame(http2.SETTINGS, 0, 0, some))
    assert time.process_time() - before < 1.0
    connection.data_received(frame(http2.SETTINGS, 0, 0, b"\x00\x04" + (100).to_bytes(4, "big")))
    assert not connection.streams


# -- time ---------------------------------------------------------------------------------------
class Clock:
    """As much of a loop as a connection uses; its time passes when told."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.due: list[tuple[float, Callable[[], None]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, look: Callable[[], None]) -> Any:
        self.due.append((self.now + seconds, look))
        return SimpleNamespace(cancel=lambda: None)

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.due and min(self.due, key=itemgetter(0))[0] <= end:
            at, look = self.due.pop(self.due.index(min(self.due, key=itemgetter(0))))
            self.now = at
            look()
        self.now = end


def test_a_client_that_takes_nothing_of_a_full_socket_is_left_though_no_answer_waits() -> None:
    clock = Clock()
    connection = Echo(loop=clock)
    connection.data_received(HELLO + request(1))
    connection.wire.unread = 1 << 21
    connection.pause_writing()
    for _ in range(5):  # it takes some now and then
        clock.advance(50)
        connection.wire.unread -= 1_000
    assert not connection.wire.closing
    clock.advance(100)
    assert connection.wire.closing


def test_a_connection_that_ends_does_not_wait_for_ever_for_what_was_written_last() -> None:
    clock = Clock()
    connection = Echo(loop=clock)
    connection.data_received(HELLO)
    connection.wire.unread = 1 << 19
    connection.leave()
    aborted: list[float] = []
    connection.wire.abort = lambda: aborted.append(clock.now)  # type: ignore[method-assign]
    clock.advance(200)
    assert aborted


@pytest.mark.parametrize("streams", [1, 10])
def test_bodies_that_come_beside_each_other_share_the_time_of_a_slow_line(streams: int) -> None:
    clock = Clock()
    connection = Echo(loop=clock)
    numbers = range(1, 2 * streams, 2)
    connection.data_received(HELLO + b"".join(frame(1, http2.END_HEADERS, number, HEAD) for number in numbers))
    for _ in range(120):  # seconds of 80 KiB
        for number in (*numbers, *numbers):
            connection.data_received(frame(0, 0, number, bytes(40 * 1024 // streams)))
        clock.advance(1)
    assert len(connection.streams) == streams
    clock.advance(200)
    assert not connection.streams


# -- ends ---------------------------------------------------------------------------------------
def test_an_answer_to_a_request_that_was_taken_back_is_dropped() -> None:
    connection = Echo(later=True)
    connection.data_received(HELLO + request(1) + frame(http2.RST_STREAM, 0, 1, b"\x00\x00\x00\x08") + request(3))
    connection.echo(0)
    connection.echo(1)
    assert connection.body_of(1) == b""
    assert connection.body_of(3) == b"<hello"


def test_an_answer_after_the_connection_is_lost_is_dropped() -> None:
    connection = Echo(later=True)
    connection.data_received(HELLO + request(1))
    connection.connection_lost(None)
    connection.echo(0)
    assert connection.body_of(1) == b""


def test_requests_over_the_limit_are_refused_for_a_retry() -> None:
    connection = Echo(later=True)
    connection.data_received(HELLO + b"".join(request(2 * index + 1) for index in range(http2.MAX_STREAMS + 1)))
    last = 2 * http2.MAX_STREAMS + 1
    assert connection.sent()[-1] == (http2.RST_STREAM, 0, last, http2.REFUSED_STREAM.to_bytes(4, "big"))
    assert len(connection.complete) == http2.MAX_STREAMS


def test_a_leaving_connection_finishes_what_runs_and_closes() -> None:
    connection = Echo(later=True)
    connection.data_received(HELLO + request(1))
    connection.leave()
    assert connection.sent()[-1][0] == http2.GOAWAY
    connection.data_received(request(3))
    assert connection.sent()[-1][0] == http2.RST_STREAM
    assert not connection.wire.closing
    connection.echo(0)
    assert connection.body_of(1) == b"<hello"
    assert connection.wire.closing


def test_a_client_that_takes_back_everything_is_sent_away() -> None:
    connection = Echo(later=True)
    connection.data_received(HELLO)
    for index in range(2_000):
        if connection.wire.closing:
            break
        number = 2 * index + 1
        connection.data_received(request(number) + frame(http2.RST_STREAM, 0, number, b"\x00\x00\x00\x08"))
    assert connection.broken() == (http2.ENHANCE_YOUR_CALM, "too many requests were taken back")


@pytest.mark.parametrize("size", [0, http2.MAX_WINDOW])
def test_requests_that_a_client_has_us_reset_count_as_taken_back(size: int) -> None:
    connection = Echo(later=True)
    abandoned: list[int] = []
    connection.request_abandoned = lambda stream: abandoned.append(stream.id)  # type: ignore[method-assign]
    connection.data_received(HELLO)
    for number in range(1, 4_001, 2):
        if connection.wire.closing:
            break
        connection.data_received(request(number) + window(number, size))
    assert connection.broken() == (http2.ENHANCE_YOUR_CALM, "too many requests were taken back")
    assert abandoned == [stream.id for stream, _ in connection.complete]


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (frame(0, 0, 1, b"x"), http2.PROTOCOL_ERROR, "not open"),
        (frame(0, 0, 0, b"x"), http2.PROTOCOL_ERROR, "not open"),
        (frame(http2.HEADERS, http2.END_HEADERS, 0, HEAD), http2.PROTOCOL_ERROR, "no stream"),
        (frame(http2.HEADERS, http2.END_HEADERS, 2, HEAD), http2.PROTOCOL_ERROR, "not a client's"),
        (frame(http2.HEADERS, http2.END_HEADERS, 1, b"\xff"), http2.COMPRESSION_ERROR, "ends early"),
        (frame(http2.HEADERS, 0, 1, HEAD) + frame(http2.PING, 0, 0, b"12345678"), http2.PROTOCOL_ERROR, "interrupted"),
        (frame(http2.CONTINUATION, 0, 1, HEAD), http2.PROTOCOL_ERROR, "no header block"),
        (frame(http2.HEADERS, http2.PADDED, 1, b"\x09abc"), http2.PROTOCOL_ERROR, "padding"),
        (frame(http2.PUSH_PROMISE, 0, 1, b"\x00" * 4), http2.PROTOCOL_ERROR, "push"),
        (frame(http2.PING, 0, 0, b"short"), http2.FRAME_SIZE_ERROR, "8 bytes"),
        (frame(http2.SETTINGS, 0, 0, b"short"), http2.FRAME_SIZE_ERROR, "6 bytes"),
        (frame(http2.SETTINGS, 0, 3, b""), http2.PROTOCOL_ERROR, "of a stream"),
        (frame(http2.SETTINGS, 0, 0, b"\x00\x05\x00\x00\x00\x01"), http2.PROTOCOL_ERROR, "frame size"),
        (frame(http2.SETTINGS, 0, 0, b"\x00\x04\xff\xff\xff\xff"), http2.FLOW_CONTROL_ERROR, "too large"),
        (window(0, 0), http2.FLOW_CONTROL_ERROR, "by nothing"),
        (window(0, 0x7FFFFFFF), http2.FLOW_CONTROL_ERROR, "past its limit"),
        (frame(http2.WINDOW_UPDATE, 0, 0, b"abc"), http2.FRAME_SIZE_ERROR, "4 bytes"),
        (frame(http2.RST_STREAM, 0, 7, b"\x00" * 4), http2.PROTOCOL_ERROR, "no stream"),
        (window(1, 5), http2.PROTOCOL_ERROR, "not open"),
        (frame(http2.PRIORITY, 0, 1, b"\x00" * 4), http2.FRAME_SIZE_ERROR, "5 bytes"),
        (frame(http2.PRIORITY, 0, 0, b"\x00" * 5), http2.PROTOCOL_ERROR, "no stream"),
        (frame(http2.GOAWAY, 0, 1, b"\x00" * 8), http2.PROTOCOL_ERROR, "whole connection"),
        (frame(http2.SETTINGS, 0, 0, b"\x00\x02\x00\x00\x00\x02"), http2.PROTOCOL_ERROR, "on or off"),
        (request(1) + frame(0, 0, 1, b"more"), http2.STREAM_CLOSED, "is closed"),
        (request(1) + request(1), http2.STREAM_CLOSED, "is closed"),
        (frame(0, 0, 1, b"x" * (http2.MAX_FRAME + 1)), http2.FRAME_SIZE_ERROR, "over the limit"),
        (frame(http2.HEADERS, 0, 1, HEAD) + frame(http2.CONTINUATION, 0, 1, b"x" * 20_000), 11, "header block is over"),
    ],
)
def test_a_broken_rule_ends_the_connection_with_its_reason(sent: bytes, code: int, reason: str) -> None:
    connection = Echo()
    connection.data_received(HELLO + sent)
    assert connection.broken()[0] == code
    assert reason in connection.broken()[1]


@pytest.mark.parametrize(
    "headers",
    [
        [(b":method", b"POST"), (b":scheme", b"http")],
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"")],
        [(b":method", b"POST"), (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")],
        [(b":method", b"POST"), (b":scheme", b"http"), (b"te", b"trailers"), (b":path", b"/")],
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b":status", b"200")],
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"Upper", b"x")],
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"", b"x")],
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"connection", b"close")],
        [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"te", b"gzip")],
    ],
)
def test_headers_that_are_no_request_cost_only_their_stream(headers: list[tuple[bytes, bytes]]) -> None:
    connection = Echo()
    block = b"".join(literal(*header) for header in headers)
    begun = frame(http2.HEADERS, http2.END_HEADERS, 1, block) + frame(0, http2.END_STREAM, 1, b"thrown away")
    connection.data_received(HELLO + begun + request(3))
    assert (http2.RST_STREAM, 0, 1, http2.PROTOCOL_ERROR.to_bytes(4, "big")) in connection.sent()
    assert connection.body_of(3) == b"<hello"
    assert not connection.wire.closing


@pytest.mark.parametrize(("size", "code"), [(0, http2.PROTOCOL_ERROR), (0x7FFFFFFF, http2.FLOW_CONTROL_ERROR)])
def test_a_wrong_window_of_a_stream_costs_only_that_stream(size: int, code: int) -> None:
    connection = Echo(later=True)
    connection.data_received(HELLO + request(1) + window(1, size) + request(3))
    connection.echo(0)
    connection.echo(1)
    assert (http2.RST_STREAM, 0, 1, code.to_bytes(4, "big")) in connection.sent()
    assert (connection.body_of(1), connection.body_of(3)) == (b"", b"<hello")


def test_what_still_arrives_of_a_refused_request_is_thrown_away() -> None:
    class Refusing(Echo):
        def request_started(self, stream: Stream) -> None:
            if stream.id == 1:
                self.refuse(stream, b"\x88")

    connection = Refusing()
    start = frame(http2.HEADERS, http2.END_HEADERS, 1, HEAD)
    rest = frame(0, 0, 1, b"x" * 900) + frame(0, http2.END_STREAM, 1, b"y")
    connection.data_received(HELLO + start + rest + request(3))
    assert [kind for kind, _, number, _ in connection.sent() if number == 1] == [http2.HEADERS, http2.RST_STREAM]
    assert connection.body_of(3) == b"<hello"
    assert connection.buffered == 0
    connection.data_received(frame(0, 0, 1, b"after its end"))
    assert connection.broken()[0] == http2.STREAM_CLOSED


def test_data_after_the_end_of_a_request_ends_the_connection() -> None:
    connection = Echo(later=True)
    connection.data_received(HELLO + request(1) + frame(0, 0, 1, b"more"))
    assert connection.broken()[0] == http2.STREAM_CLOSED


def test_a_wrong_preface_ends_the_connection() -> None:
    connection = Echo()
    connection.data_received(b"PRI * HTTP/2.0\r\n\r\nXX")
    assert connection.broken() == (http2.PROTOCOL_ERROR, "not an HTTP/2 connection preface")
