"""Both ends of a connection between nodes, without sockets: whatever pieces the bytes come in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redkite.cluster.grpc.answering import AnsweringEnd
from redkite.cluster.grpc.asking import Asked, AskingEnd
from redkite.cluster.grpc.ends import RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNKNOWN
from redkite.wire.headers import literal
from redkite.wire.http2 import (
    DATA,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FRAME,
    HEADERS,
    INITIAL_WINDOW_SETTING,
    PADDED,
    PING,
    PREFACE,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
    ConnectionBroken,
)

LIMIT = 1 << 20
PATH = "/redkite.Nodes/Ask"
BLOCK = b"".join((
    literal(b":method", b"POST"), literal(b":scheme", b"http"), literal(b":path", PATH.encode()),
    literal(b"content-type", b"application/grpc"), literal(b"grpc-timeout", b"1500m"),
))  # fmt: skip


def ends() -> tuple[AskingEnd, AnsweringEnd]:
    return AskingEnd(), AnsweringEnd(PATH, LIMIT)


def said(end: AskingEnd | AnsweringEnd) -> bytes:
    output, end.output = end.output, []
    return b"".join(output)


def exchange(asking: AskingEnd, answering: AnsweringEnd, sizes: list[int] | None = None) -> None:
    """Carry bytes to and fro until nobody says anything, in pieces of these sizes."""
    turn = 0
    while True:
        there, back = said(asking), said(answering)
        if not there and not back:
            return
        for data, end in ((there, answering), (back, asking)):
            while data:
                size = max(1, sizes[turn % len(sizes)]) if sizes else len(data)
                turn += 1
                end.feed(data[:size])
                data = data[size:]


def greeted() -> tuple[AskingEnd, AnsweringEnd]:
    asking, answering = ends()
    exchange(asking, answering)
    return asking, answering


def narrow(end: AskingEnd | AnsweringEnd) -> None:
    """Let it believe that the peer takes little at a time."""
    end.feed(FRAME.pack(6 << 8 | SETTINGS, 0, 0) + SETTING.pack(INITIAL_WINDOW_SETTING, 7))


messages = st.lists(st.binary(max_size=200) | st.integers(0, 100_000).map(bytes), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(messages, st.lists(st.integers(1, 60_000), min_size=1, max_size=8), st.booleans())
def test_messages_come_as_they_were_sent_in_whatever_pieces(texts: list[bytes], sizes: list[int], few: bool) -> None:
    """Those that are under way at the same time do not mix, through narrow windows either."""
    asking, answering = ends()
    sizes = [size if sum(map(len, texts)) > 5_000 else size % 50 for size in sizes]
    if few:
        exchange(asking, answering)
        said(asking), said(answering)
        asking.feed(FRAME.pack(6 << 8 | SETTINGS, 0, 0) + SETTING.pack(INITIAL_WINDOW_SETTING, 500))
    asked = [asking.begin(BLOCK, text, LIMIT) for text in texts]
    exchange(asking, answering, sizes)
    while few and len(answering.questions) < len(texts):  # as a peer does that has read
        for one in asked:
            asking.feed(FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, one.number) + (50_000).to_bytes(4, "big"))
        exchange(asking, answering, sizes)
    questions, answering.questions = answering.questions, []
    assert {q.number: message for q, message in questions} == dict(zip([a.number for a in asked], texts, strict=True))
    assert all(q.seconds == 1.5 for q, _ in questions)
    for question, message in reversed(questions):
        answering.answer(question.number, message[::-1])
    exchange(asking, answering, sizes)
    assert {one.number: one.answer for one in asking.ended} == {
        a.number: text[::-1] for a, text in zip(asked, texts, strict=True)
    }
    assert answering.is_answered()


def answered(asking: AskingEnd, answering: AnsweringEnd, block: bytes, message: bytes = b"x") -> Asked:
    asking.begin(block, message, LIMIT)
    exchange(asking, answering)
    for question, found in answering.questions:
        answering.answer(question.number, found)
    answering.questions = []
    exchange(asking, answering)
    (ended,), asking.ended = asking.ended, []
    return ended


def test_a_call_of_another_method_is_refused_and_the_connection_goes_on() -> None:
    asking, answering = greeted()
    other = literal(b":path", b"/other/Method") + literal(b"content-type", b"application/grpc")
    for _ in range(2):
        assert answered(asking, answering, other).status == UNIMPLEMENTED
        assert answered(asking, answering, BLOCK).answer == b"x"
        assert answered(asking, answering, literal(b":path", PATH.encode())).why == "HTTP status 415"


def test_a_message_that_is_too_large_is_refused_before_all_of_it_is_there() -> None:
    asking, answering = greeted()
    asking.begin(BLOCK, bytes(LIMIT + 1), LIMIT)
    answering.feed(said(asking)[: LIMIT + 200])
    exchange(asking, answering)
    assert [one.status for one in asking.ended] == [RESOURCE_EXHAUSTED]
    assert not answering.questions
    asking.ended = []
    assert answered(asking, answering, BLOCK).answer == b"x"


def test_an_answer_that_is_too_large_ends_its_call_alone() -> None:
    asking, answering = greeted()
    large, small = asking.begin(BLOCK, b"large", 1000), asking.begin(BLOCK, b"small", 1000)
    exchange(asking, answering)
    answering.answer(large.number, bytes(2000))
    answering.answer(small.number, b"fine")
    exchange(asking, answering)
    assert (large.status, small.answer) == (RESOURCE_EXHAUSTED, b"fine")


def test_what_was_given_up_is_not_answered() -> None:
    asking, answering = greeted()
    asked = asking.begin(BLOCK, b"x", LIMIT)
    exchange(asking, answering)
    asking.give_up(asked)
    exchange(asking, answering)
    assert answering.is_answered()
    answering.answer(asked.number, b"late")
    assert said(answering) == b""


def test_who_leaves_refuses_what_is_new_and_answers_what_is_not() -> None:
    asking, answering = greeted()
    old = asking.begin(BLOCK, b"old", LIMIT)
    exchange(asking, answering)
    answering.leave()
    new = asking.begin(BLOCK, b"new", LIMIT)
    exchange(asking, answering)
    assert new.is_refused and not old.is_refused
    assert not asking.is_usable
    answering.answer(old.number, b"done")
    exchange(asking, answering)
    assert old.answer == b"done"


def test_a_window_that_closes_holds_only_its_own_message_up() -> None:
    asking, answering = greeted()
    narrow(asking)
    wide = asking.begin(BLOCK, b"0123456789", LIMIT)
    exchange(asking, answering)
    assert not answering.questions, "seven bytes have come"
    assert said(asking) == b""
    asking.feed(FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, wide.number) + (100).to_bytes(4, "big"))
    exchange(asking, answering)
    assert [message for _, message in answering.questions] == [b"0123456789"]


def test_padding_and_pings_and_trailers_are_understood() -> None:
    _, answering = greeted()
    framed = b"\x03" + b"\0\0\0\0\x02hi" + bytes(3)
    answering.feed(
        FRAME.pack(len(BLOCK) << 8 | HEADERS, END_HEADERS, 1) + BLOCK
        + FRAME.pack(8 << 8 | PING, 0, 0) + b"12345678"
        + FRAME.pack(len(framed) << 8 | DATA, PADDED, 1) + framed
        + FRAME.pack(0 << 8 | HEADERS, END_HEADERS | END_STREAM, 1)
    )  # fmt: skip
    assert [message for _, message in answering.questions] == [b"hi"]
    assert b"12345678" in said(answering)


BROKEN = {
    "no preface": b"GET / HTTP/1.1\r\n\r\n",
    "a frame that is too long": PREFACE + FRAME.pack(0xFFFFFF << 8 | HEADERS, 0, 1),
    "headers of no stream": PREFACE + FRAME.pack(0 << 8 | HEADERS, END_HEADERS, 0),
    "a stream of the server's": PREFACE + FRAME.pack(len(BLOCK) << 8 | HEADERS, END_HEADERS, 2) + BLOCK,
    "an interrupted header block": PREFACE + FRAME.pack(0 << 8 | HEADERS, 0, 1) + FRAME.pack(0 << 8 | DATA, 0, 1),
    "half a setting": PREFACE + FRAME.pack(5 << 8 | SETTINGS, 0, 0) + bytes(5),
    "a window beyond all": PREFACE + FRAME.pack(4 << 8 | WINDOW_UPDATE, 0, 0) + b"\x7f\xff\xff\xff",
    "a large frame that is no data": PREFACE + FRAME.pack(65_537 << 8 | HEADERS, END_HEADERS, 1),
    "a header block that is none": PREFACE + FRAME.pack(3 << 8 | HEADERS, END_HEADERS, 1) + b"\xff\xff\xff",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_protocol_is_told(data: bytes) -> None:
    with pytest.raises(ConnectionBroken):
        AnsweringEnd(PATH, LIMIT).feed(data)


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_noise_never_does_worse_than_to_end_a_connection(noise: bytes, preface: bool) -> None:
    asking, answering = greeted()
    for end, data in (
        (asking, noise),
        (AnsweringEnd(PATH, LIMIT), (PREFACE if preface else b"") + noise),
        (answering, noise),
    ):
        try:
            end.feed(data)
        except ConnectionBroken:
            continue


def test_who_pings_without_end_and_reads_nothing_is_sent_away() -> None:
    _, answering = greeted()
    with pytest.raises(ConnectionBroken, match="more is said"):
        answering.feed((FRAME.pack(8 << 8 | PING, 0, 0) + bytes(8)) * 100_000)


def test_the_window_of_a_connection_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redkite.cluster.grpc.ends._REFILL", 10_000)
    asking, answering = greeted()
    for _ in range(3):
        assert answered(asking, answering, BLOCK, bytes(DEFAULT_WINDOW)).answer == bytes(DEFAULT_WINDOW)
    assert asking._window >= 0x7FFF_FFFF - DEFAULT_WINDOW - 100


def test_a_status_that_is_no_number_to_speak_of_is_none() -> None:
    asking, answering = greeted()
    asked = asking.begin(BLOCK, b"x", LIMIT)
    exchange(asking, answering)
    block = literal(b"grpc-status", b"9" * 5_000)
    asking.feed(FRAME.pack(len(block) << 8 | HEADERS, END_HEADERS | END_STREAM, 1) + block)
    assert asking.ended == [asked]
    assert asked.status == UNKNOWN
