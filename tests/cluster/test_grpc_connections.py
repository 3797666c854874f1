"""Connections between nodes: how many there are, who is told when one ends, and gRPC's own library at either end."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.cluster.conftest import Make
from tests.cluster.test_grpc_network import Authority
from tests.patience import until

from redkite.cluster.grpc import conversation, line, remote, serving, shared
from redkite.cluster.grpc.answering import AnsweringEnd
from redkite.cluster.grpc.asking import AskingEnd
from redkite.cluster.grpc.ends import OPENING
from redkite.cluster.grpc_network import METHOD
from redkite.cluster.network import Message, NotReached, Unanswered, WrongPeer
from redkite.cluster.party import Party
from redkite.env import Env
from redkite.wire.http2 import END_HEADERS, FRAME, GOAWAY, HEADERS, PAIR, PING


class Ping(Message, frozen=True):
    text: str = ""


def echo(ping: Ping) -> str:
    return ping.text


class Listener:
    """Somebody who takes connections, and says what a test wants him to."""

    def __init__(self, *said: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._said = said
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.taken.append(sock)
            for text in self._said:
                sock.sendall(text)

    def close(self) -> None:
        self._socket.close()
        for sock in self.taken:
            sock.close()


@pytest.fixture
def listen() -> Iterator[Callable[..., Listener]]:
    made: list[Listener] = []

    def listener(*said: bytes) -> Listener:
        made.append(Listener(*said))
        return made[-1]

    yield listener
    for one in made:
        one.close()


# -- how many ---------------------------------------------------------------------------------------
def test_a_thread_that_asks_again_and_again_uses_one_connection(make: Make) -> None:
    one = make(1).serve("127.0.0.1:0", {Ping: echo})
    asked = make(2).connect(one.address)
    for at in range(20):
        assert asked.ask(Ping(text=str(at))) == str(at)
    assert len(one._connections) == 1


def test_what_nobody_waits_for_shares_one_connection(make: Make, gate: threading.Event) -> None:
    one = make(1).serve("127.0.0.1:0", {Ping: lambda ping: gate.wait(60) and ping.text})
    asked = [make(2).connect(one.address).ask_soon(Ping(text=str(at))) for at in range(1)]
    until(lambda: len(one._connections) == 1)
    network = make(3)
    asked += [network.connect(one.address).ask_soon(Ping(text=str(at))) for at in range(1, 50)]
    until(lambda: len(one._connections) == 2)
    gate.set()
    assert [future.result(30) for future in asked] == [str(at) for at in range(50)]
    assert len(one._connections) == 2


def test_connections_that_nobody_uses_are_closed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "IDLE_SECONDS", 0.1)
    one = make(1).serve("127.0.0.1:0", {Ping: echo})
    asked = make(2).connect(one.address)
    assert asked.ask(Ping(text="x")) == "x"
    until(lambda: not one._connections)
    assert asked.ask(Ping(text="y")) == "y"


def test_a_node_that_was_started_anew_is_asked_without_a_word_of_the_old_one(make: Make) -> None:
    """Its old connections have ended, which is known before anything is sent on them."""
    first = make(1)
    one = first.serve("127.0.0.1:0", {Ping: echo})
    asked = make(2).connect(one.address)
    assert asked.ask(Ping(text="x")) == asked.ask_soon(Ping(text="x")).result(30)
    first.close()
    make(3).serve(one.address, {Ping: lambda ping: ping.text + "!"})
    until(lambda: not asked._idle)
    assert asked.ask(Ping(text="x")) == "x!"
    assert asked.ask_soon(Ping(text="x")).result(30) == "x!"


# -- threads ----------------------------------------------------------------------------------------
def test_who_is_told_an_answer_may_wait_for_the_next(make: Make) -> None:
    """Answers that arrive together do not hold each other up."""
    party = Party(Env.real(), "redkite", 7)
    end = AnsweringEnd(METHOD, 1000)

    def answer_together(listening: socket.socket) -> None:
        sock, _ = listening.accept()
        with sock:
            while len(end.questions) < 2:
                sock.sendall(b"".join(end.output))
                end.output = []
                end.feed(sock.recv(10_000))
            for question, message in end.questions:
                party.answer(message, {Ping: echo}, "", partial(end.answer, question.number))
            sock.sendall(b"".join(end.output))
            sock.recv(10_000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=answer_together, args=(listening,), daemon=True).start()
        asked = make(1).connect(f"127.0.0.1:{listening.getsockname()[1]}")
        first, second = asked.ask_soon(Ping(text="first")), asked.ask_soon(Ping(text="second"))
        found: list[Future[str]] = [Future(), Future()]
        first.add_done_callback(lambda _: found[0].set_result(second.result(30)))
        second.add_done_callback(lambda _: found[1].set_result(first.result(30)))
        assert [one.result(30) for one in found] == ["second", "first"]


def test_a_node_answers_so_many_at_a_time_and_begins_none_that_is_late(
    make: Make, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "WORKERS", 2)
    begun: list[str] = []

    def slow(ping: Ping) -> str:
        begun.append(ping.text)
        gate.wait(60)
        return ping.text

    one = make(1).serve("127.0.0.1:0", {Ping: slow})
    asked = make(2).connect(one.address)
    running = [asked.ask_soon(Ping(text="runs")) for _ in range(2)]
    until(lambda: len(begun) == 2)
    late = asked.ask_soon(Ping(text="late"), 0.3)
    waiting = asked.ask_soon(Ping(text="waits"))
    with pytest.raises(Unanswered, match="within"):
        late.result(30)
    assert len(begun) == 2
    gate.set()
    assert waiting.result(30) == "waits"
    assert [future.result(30) for future in running] == ["runs"] * 2
    assert begun == ["runs", "runs", "waits"]


def test_handlers_that_answer_later_hold_no_thread(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WORKERS", 2)
    later: list[Future[str]] = []

    def answer(ping: Ping) -> Future[str] | str:
        if ping.text:
            return ping.text
        later.append(Future())
        return later[-1]

    one = make(1).serve("127.0.0.1:0", {Ping: answer})
    asked = make(2).connect(one.address)
    waiting = [asked.ask_soon(Ping()) for _ in range(20)]
    until(lambda: len(later) == 20)
    assert asked.ask(Ping(text="x")) == "x"
    for future in later:
        future.set_result("at last")
    assert {future.result(30) for future in waiting} == {"at last"}


# -- signs of life ----------------------------------------------------------------------------------
@pytest.mark.parametrize("soon", [False, True])
def test_a_peer_that_went_silent_is_given_up(
    make: Make, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch, soon: bool
) -> None:
    for module in (line, shared):
        monkeypatch.setattr(module, "SILENT_SECONDS", 0.2)
    asked = make(1).connect(listen(OPENING).address)
    begun = time.monotonic()
    with pytest.raises(Unanswered, match="went away before it answered Ping"):
        asked.ask_soon(Ping(), 60).result(30) if soon else asked.ask(Ping(), 60)
    assert time.monotonic() - begun > 0.3


@pytest.mark.parametrize("soon", [False, True])
def test_a_node_that_takes_its_time_is_alive(make: Make, monkeypatch: pytest.MonkeyPatch, soon: bool) -> None:
    for module in (line, shared):
        monkeypatch.setattr(module, "SILENT_SECONDS", 0.4)

    def slow(ping: Ping) -> str:
        time.sleep(2.0)
        return ping.text

    one = make(1).serve("127.0.0.1:0", {Ping: slow})
    asked = make(2).connect(one.address)
    assert (asked.ask_soon(Ping(text="x"), 30).result(30) if soon else asked.ask(Ping(text="x"), 30)) == "x"


def test_who_connects_and_says_nothing_is_sent_away(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STRANGER_SECONDS", 0.2)
    one = make(1).serve("127.0.0.1:0", {Ping: echo})
    host, _, port = one.address.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as stranger:
        while stranger.recv(1000):
            pass  # what it is greeted with
    monkeypatch.setattr(serving, "STRANGER_SECONDS", 60.0)
    assert make(2).connect(one.address).ask(Ping(text="x")) == "x"


def test_who_asks_and_takes_no_answers_is_sent_away(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "STRANGER_SECONDS", 0.2)  # it looks twice as often
    one = make(1).serve("127.0.0.1:0", {Ping: lambda _: "x" * 30_000_000})
    monkeypatch.setattr(serving, "STRANGER_SECONDS", 60.0)
    network = make(2)
    network.connect(one.address).ask(Ping())
    monkeypatch.setattr(conversation, "STALL_SECONDS", 0.2)
    end = AskingEnd()
    frame = network._party.asking(Ping(), 10)
    host, _, port = one.address.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as sock:
        end.begin(network.connect(one.address)._block(10), frame, 1000)
        sock.sendall(b"".join(end.output))
        until(lambda: len(one._connections) == 2)
        until(lambda: len(one._connections) == 1)


# -- those that are none of us ----------------------------------------------------------------------
def test_somebody_who_does_not_greet_is_not_reached_and_not_tried_at_once_again(
    make: Make, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(remote, "AGAIN_SECONDS", 600.0)
    asked = make(1).connect(listen().address)
    with pytest.raises(NotReached, match=r"did not answer within 0\.3 s"):
        asked.ask(Ping())
    with pytest.raises(NotReached, match="just now"):
        asked.ask(Ping())
    asked._out_of_reach_until -= 600
    with pytest.raises(Unanswered, match=r"within 0\.1 s"):
        asked.ask(Ping(), 0.1)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something else than a node listens there"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "it speaks TLS, and this node does not"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "a frame of"),
    ],
)
def test_something_else_that_listens_is_told(
    make: Make, listen: Callable[..., Listener], said: bytes, why: str
) -> None:
    asked = make(1).connect(listen(said).address)
    for ask in (lambda: asked.ask(Ping()), lambda: asked.ask_soon(Ping()).result(30)):
        with pytest.raises(NotReached, match=why):
            ask()


def test_an_address_that_is_none_is_not_reached(make: Make) -> None:
    with pytest.raises(NotReached):
        make(1).connect("no address").ask(Ping())


# -- gRPC's own library at the other end --------------------------------------------------------------
def test_grpc_itself_may_ask_a_node(make: Make) -> None:
    one = make(1).serve("127.0.0.1:0", {Ping: echo})
    party = Party(Env.real(), "redkite", 7)
    with grpc.insecure_channel(one.address) as channel:
        method = channel.unary_unary(METHOD)
        asked = [
            method.future(party.asking(Ping(text="x" * size), 30), timeout=30) for size in (0, 10, 70_000, 3_000_000)
        ]
        assert [len(party.told(call.result())) for call in asked] == [0, 10, 70_000, 3_000_000]
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/redkite.Nodes/Other")(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
def library() -> Iterator[Callable[..., str]]:
    """A server of gRPC's own library that answers as node 7; its address."""
    made: list[Any] = []

    def start(handlers: dict[type, Callable[[Any], Any]], method: str = "Ask") -> str:
        party = Party(Env.real(), "redkite", 7)

        def answer(frame: bytes, _: object) -> bytes:
            found: list[bytes] = []
            party.answer(frame, handlers, "", found.append)
            return found[0]

        server = grpc.server(Env.real().tasks.executor("library", 4), options=[("grpc.max_receive_message_length", -1)])
        handler = grpc.unary_unary_rpc_method_handler(answer)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("redkite.Nodes", {method: handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        made.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in made:
        server.stop(0)


def test_a_node_may_ask_grpc_itself(make: Make, library: Callable[..., str]) -> None:
    """Its windows are narrow, and its headers make use of the table."""
    asked = make(1).connect(library({Ping: echo}))
    for size in (0, 10, 70_000, 5_000_000, 10):
        assert len(asked.ask(Ping(text="x" * size))) == size
    futures = [asked.ask_soon(Ping(text="y" * size)) for size in (0, 10, 50_000, 5_000_000)]
    assert [len(future.result(30)) for future in futures] == [0, 10, 50_000, 5_000_000]


def test_a_server_of_grpc_that_is_no_node_says_so(make: Make, library: Callable[..., str]) -> None:
    asked = make(1).connect(library({}, "Other"))
    for ask in (lambda: asked.ask(Ping()), lambda: asked.ask_soon(Ping()).result(30)):
        with pytest.raises(WrongPeer, match="something else than a node"):
            ask()


# -- TLS ----------------------------------------------------------------------------------------------
def test_messages_of_all_sizes_go_through_tls_in_both_ways_at_once(make: Make, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one = make(1, tls=authority.files("one")).serve("127.0.0.1:0", {Ping: echo})
    asked = make(2, tls=authority.files("two")).connect(one.address)
    sizes = [0, 10, 20_000, 60_000, 3_000_000] * 4
    futures = [asked.ask_soon(Ping(text="x" * size)) for size in sizes]
    wrong: list[int] = []

    def ask(size: int) -> None:
        if len(asked.ask(Ping(text="y" * size))) != size:
            wrong.append(size)

    threads = [threading.Thread(target=ask, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    assert [len(future.result(30)) for future in futures] == sizes
    for thread in threads:
        thread.join(60)
    assert not wrong


def test_grpc_itself_may_ask_a_node_by_tls_with_a_certificate(make: Make, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one = make(1, tls=authority.files("one")).serve("127.0.0.1:0", {Ping: echo})
    files = authority.files("library")
    texts = [Path(name).read_bytes() for name in (files.ca, files.key, files.certificate)]
    party = Party(Env.real(), "redkite", 7)
    with grpc.secure_channel(one.address, grpc.ssl_channel_credentials(*texts)) as channel:
        assert party.told(channel.unary_unary(METHOD)(party.asking(Ping(text="x"), 30), timeout=30)) == "x"


def test_who_does_not_speak_tls_is_told_that_a_node_does(make: Make, tmp_path: Path) -> None:
    one = make(1, tls=Authority(tmp_path).files("one")).serve("127.0.0.1:0", {Ping: echo})
    with pytest.raises(NotReached):
        make(2).connect(one.address).ask(Ping())


# -- the end --------------------------------------------------------------------------------------------
def test_a_network_that_has_closed_leaves_no_thread_behind(make: Make) -> None:
    first, second = make(101), make(102)
    one = first.serve("127.0.0.1:0", {Ping: echo})
    second.connect(one.address).ask_soon(Ping()).result(30)
    second.close()
    first.close()
    until(lambda: not any(t.name.startswith(("messages-101", "messages-102")) for t in threading.enumerate()))


def test_calls_that_wait_for_a_connection_end_when_their_node_closes(
    make: Make, listen: Callable[..., Listener]
) -> None:
    silent = listen()
    network = make(1)
    asked = network.connect(silent.address).ask_soon(Ping())
    until(lambda: len(silent.taken) == 1)
    network.close()
    until(lambda: network._pump._epoll.closed or not network._pump._threads)
    silent.taken[0].sendall(OPENING)
    with pytest.raises(NotReached):
        asked.result(30)


def test_who_asks_by_a_network_that_has_closed_is_told(make: Make) -> None:
    one = make(1).serve("127.0.0.1:0", {Ping: echo})
    network = make(2)
    early = network.connect(one.address)
    assert early.ask(Ping()) == ""
    network.close()
    for asked in (early, network.connect(one.address)):
        for ask in (asked.ask, lambda ping, asked=asked: asked.ask_soon(ping).result(30)):
            with pytest.raises(NotReached, match="cannot be asked"):
                ask(Ping())
    until(lambda: not one._connections)


# -- calls that must not be taken for what they are not -------------------------------------------------
def test_a_connection_that_is_broken_off_says_what_was_looked_at(make: Make, gate: threading.Event) -> None:
    """Else whoever asked takes it for not asked, and asks again."""
    begun = threading.Event()

    def slow(ping: Ping) -> str:
        begun.set()
        gate.wait(60)
        return ping.text

    one = make(1).serve("127.0.0.1:0", {Ping: slow})
    network = make(2)
    end = AskingEnd()
    host, _, port = one.address.rpartition(":")
    with socket.create_connection((host, int(port)), 30) as sock:
        asked = end.begin(network.connect(one.address)._block(10), network._party.asking(Ping(), 10), 1000)
        sock.sendall(b"".join(end.output))
        assert begun.wait(30)
        sock.sendall(FRAME.pack(HEADERS, END_HEADERS, 0))
        while data := sock.recv(10_000):
            end.feed(data)
    assert not end.is_usable
    assert not asked.is_refused


def test_who_refuses_everything_is_not_reached(make: Make, listen: Callable[..., Listener]) -> None:
    leaving = listen(OPENING, FRAME.pack(8 << 8 | GOAWAY, 0, 0) + PAIR.pack(0, 0))
    asked = make(1).connect(leaving.address)
    with pytest.raises(NotReached, match="it takes nothing new"):
        asked.ask(Ping(), 30)
    assert len(leaving.taken) <= 2
    with pytest.raises(NotReached):
        asked.ask_soon(Ping(), 30).result(30)


def test_what_a_node_that_leaves_did_not_look_at_is_asked_again_on_a_new_connection(
    make: Make, listen: Callable[..., Listener]
) -> None:
    """Another node may be at its address by now."""
    leaving = listen(OPENING)
    asked = make(1).connect(leaving.address)
    looked_at = asked.ask_soon(Ping(), 60)
    until(lambda: asked._shared is not None)
    shared = asked._shared
    other = asked.ask_soon(Ping(), 60)
    leaving.taken[0].sendall(FRAME.pack(8 << 8 | GOAWAY, 0, 0) + PAIR.pack(1, 0))
    until(lambda: asked._shared is not shared)
    until(lambda: len(leaving.taken) == 2)
    assert not other.done()
    assert not looked_at.done()
    asked.abandon()
    for call in (looked_at, other):
        with pytest.raises(Unanswered):
            call.result(30)


def test_calls_on_a_connection_that_takes_nothing_new_have_their_deadlines(
    make: Make, listen: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SOON_SECONDS", 0.0)
    old = listen(OPENING)
    asked = make(1).connect(old.address)
    first = asked.ask_soon(Ping(), 3)
    until(lambda: asked._shared is not None)
    old.taken[0].sendall(FRAME.pack(8 << 8 | GOAWAY, 0, 0) + PAIR.pack(1, 0))
    until(lambda: not asked._shared.is_usable)  # type: ignore[union-attr]
    second = asked.ask_soon(Ping(), 90)
    until(lambda: len(old.taken) == 2)
    with pytest.raises(Unanswered, match="within 3 s"):
        first.result(30)
    until(lambda: len(asked._shares) == 1)
    asked.abandon()
    with pytest.raises(Unanswered):
        second.result(30)


def test_a_peer_that_takes_little_now_and_then_does_not_make_a_call_longer(
    make: Make, listen: Callable[..., Listener]
) -> None:
    slow = listen(OPENING)
    asked = make(1).connect(slow.address)
    call = Future[object]()

    def ask() -> None:
        try:
            call.set_result(asked.ask(Ping(text="x" * 20_000_000), 2))
        except Unanswered as error:
            call.set_exception(error)

    begun = time.monotonic()
    threading.Thread(target=ask, daemon=True).start()
    until(lambda: len(slow.taken) == 1)
    while not call.done() and time.monotonic() - begun < 40:
        slow.taken[0].recv(20_000)
        time.sleep(0.05)
    with pytest.raises(Unanswered, match="within 2 s"):
        call.result(0)
    assert time.monotonic() - begun < 30, "all of it would take fifty seconds"


# -- what is hostile ------------------------------------------------------------------------------------
def test_who_takes_nothing_is_sent_away_however_much_he_says(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(serving, "STRANGER_SECONDS", 0.2)
    one = make(1).serve("127.0.0.1:0", {Ping: lambda _: "x" * 30_000_000})
    network = make(2)
    end = AskingEnd()
    end.begin(network.connect(one.address)._block(10), network._party.asking(Ping(), 10), 1000)
    host, _, port = one.address.rpartition(":")
    begun = time.monotonic()
    with socket.create_connection((host, int(port)), 30) as sock, pytest.raises(ConnectionError):
        sock.sendall(b"".join(end.output))
        while time.monotonic() - begun < 30:
            sock.sendall(FRAME.pack(8 << 8 | PING, 0, 0) + bytes(8))
            time.sleep(0.01)


def test_messages_that_cannot_be_answered_take_no_place_away(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WORKERS", 2)
    network = make(1)
    one = network.serve("127.0.0.1:0", {Ping: echo})
    asked = make(2).connect(one.address)

    def fails(*_: object) -> None:
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(Party, "answer", fails)
        lost = [asked.ask_soon(Ping(), 2) for _ in range(3)]
        for future in lost:
            with pytest.raises(Unanswered):
                future.result(30)
    assert asked.ask(Ping(text="x"), 30) == "x"


def test_an_event_of_another_socket_does_not_make_two_threads_read(make: Make) -> None:
    """What they read would be put together in the wrong order."""
    one = make(1).serve("127.0.0.1:0", {Ping: echo})
    asked = make(2).connect(one.address)
    assert asked.ask(Ping(text="x")) == "x"
    (connection,) = one._connections
    connection._is_reading = True
    connection._read = lambda: pytest.fail("somebody else reads")  # type: ignore[method-assign]
    connection.ready()
    connection._is_reading = False
    del connection._read
    assert asked.ask(Ping(text="y")) == "y"
