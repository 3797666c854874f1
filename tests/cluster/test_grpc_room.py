"""What a node holds for others has a bound in bytes, and what it knows of others goes when they do."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
from typing import Any

import pytest
from tests.cluster.conftest import Make
from tests.patience import until

from redkite.cluster import grpc_network
from redkite.cluster.grpc import conversation
from redkite.cluster.grpc import remote as remote_module
from redkite.cluster.grpc import serving as serving_module
from redkite.cluster.grpc.answering import AnsweringEnd
from redkite.cluster.grpc.asking import AskingEnd
from redkite.cluster.grpc.ends import OPENING
from redkite.cluster.grpc.room import Room
from redkite.cluster.grpc_network import METHOD
from redkite.cluster.network import Message, NotReached, Unanswered

MEBIBYTE = 1 << 20


class Put(Message, frozen=True):
    data: bytes = b""


# -- messages that a node holds -------------------------------------------------------------------------
@pytest.mark.parametrize("size", [5 * MEBIBYTE, 20_000], ids=["in pieces", "at once"])
def test_a_message_that_does_not_fit_beside_others_is_not_looked_at(
    make: Make, gate: threading.Event, size: int
) -> None:
    taken: list[int] = []

    def take(message: Put) -> int:
        taken.append(len(message.data))
        gate.wait(60)
        return len(message.data)

    serving = make(1).serve("127.0.0.1:0", {Put: take})
    serving.room = Room(2 * size)
    network = make(2)
    first = network.connect(serving.address).ask_soon(Put(data=bytes(size + size // 2)), 60)
    until(lambda: len(taken) == 1)
    with pytest.raises(NotReached, match="too much to do"):
        network.connect(serving.address).ask(Put(data=bytes(size)), 30)
    with pytest.raises(NotReached, match="too much to do"):
        network.connect(serving.address).ask_soon(Put(data=bytes(size)), 30).result(30)
    assert len(taken) == 1
    gate.set()
    assert first.result(30) == size + size // 2
    until(lambda: serving.room.held == 0)  # which is a moment later
    assert network.connect(serving.address).ask(Put(data=bytes(size)), 30) == size
    until(lambda: serving.room.held == 0)


def test_a_message_alone_is_taken_however_large(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Put: lambda message: len(message.data)})
    serving.room = Room(10)
    assert make(2).connect(serving.address).ask(Put(data=bytes(MEBIBYTE)), 10) == MEBIBYTE


def test_what_has_not_come_whole_counts_as_large_as_it_says_until_its_connection_ends(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Put: lambda message: len(message.data)})
    network = make(2)
    end = AskingEnd()
    end.feed(OPENING)
    message = network._party.asking(Put(data=bytes(8 * MEBIBYTE)), 10)
    end.begin(network.connect(serving.address)._block(10), message, 1000)
    host, _, port = serving.address.rpartition(":")
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(b"".join(end.output)[:100_000])
        until(lambda: serving.room.held >= 8 * MEBIBYTE)
    until(lambda: serving.room.held == 0)


def test_an_end_refuses_by_what_is_announced_before_it_has_come(make: Make) -> None:
    asked: list[int] = []
    end = AnsweringEnd(METHOD, 100 * MEBIBYTE, lambda size: asked.append(size) is not None)
    other = AskingEnd()
    other.feed(b"".join(end.output))
    end.output.clear()
    network = make(9)
    one = other.begin(network.connect("127.0.0.1:1")._block(10), bytes(50 * MEBIBYTE), 1000)
    whole = b"".join(other.output)
    end.feed(whole[:100_000])
    assert asked == [50 * MEBIBYTE]
    assert (end.streams, end.open, end.questions) == ({}, set(), [])
    other.feed(b"".join(end.output))
    assert one.is_refused


def test_what_waits_to_be_sent_to_a_node_that_takes_nothing_has_a_bound(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "QUEUED_BYTES", 40 * MEBIBYTE)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        network = make(1)
        remote = network.connect(address)
        monkeypatch.setattr(remote, "_most_threads", 0)  # all on the shared connection
        asked = [remote.ask_soon(Put(), 30)]
        peer, _ = listening.accept()
        with peer:
            peer.sendall(OPENING)
            until(lambda: remote._shared is not None)
            asked += [remote.ask_soon(Put(data=bytes(10 * MEBIBYTE)), 30) for _ in range(8)]
            until(lambda: sum(one.done() for one in asked) >= 3)
            with pytest.raises(NotReached, match="does not take what waits for it"):
                next(one for one in asked if one.done()).result(0)
            full = [one for one in asked if one.done()]
            assert len(full) <= 6
        with pytest.raises(Unanswered):
            asked[0].result(30)


# -- who is known ---------------------------------------------------------------------------------------
def test_nodes_that_were_asked_long_ago_are_forgotten_and_those_in_use_are_not(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_network, "KEPT_SECONDS", 0.0)
    serving = make(1).serve("127.0.0.1:0", {Put: lambda message: len(message.data)})
    network = make(2)
    for number in range(1, 50):
        with pytest.raises(NotReached):
            network.connect(f"127.0.{number}.1:9").ask(Put())
    another = make(3).serve("127.0.0.1:0", {Put: lambda message: len(message.data)})
    assert network.connect(serving.address).ask(Put()) == 0
    assert network.connect(another.address).ask_soon(Put(), 20).result(30) == 0
    held = network.connect("127.0.0.1:1")
    network._look()
    gc.collect()
    assert {remote.address for remote in network._known()} == {serving.address, another.address, held.address}
    assert network.connect(held.address) is held


# -- sockets that fail ----------------------------------------------------------------------------------
class Failing:
    """A listening socket, of which the first connections are gone before they are taken."""

    def __init__(self, inner: socket.socket, *errors: int) -> None:
        self._inner, self._errors = inner, list(errors)

    def accept(self) -> Any:
        if self._errors:
            number = self._errors.pop(0)
            raise OSError(number, os.strerror(number))
        return self._inner.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look at a socket is so late that whoever waited for it would have given up."""
    monkeypatch.setattr(serving_module, "STRANGER_SECONDS", 600.0)
    monkeypatch.setattr(remote_module, "CONNECT_SECONDS", 30.0)


def test_a_connection_that_ends_before_it_is_accepted_holds_up_nobody(make: Make, unhurried: None) -> None:
    serving = make(1).serve("127.0.0.1:0", {Put: lambda message: len(message.data)})
    serving._socket = Failing(serving._socket, errno.ECONNABORTED, errno.EPROTO)  # type: ignore[assignment]
    assert make(2).connect(serving.address).ask(Put(data=b"x"), 60) == 1


def test_a_connection_that_ends_while_it_is_prepared_holds_up_nobody(
    make: Make, monkeypatch: pytest.MonkeyPatch, unhurried: None
) -> None:
    serving = make(1).serve("127.0.0.1:0", {Put: lambda message: len(message.data)})
    came, failures = serving._came, [OSError(errno.EINVAL, "gone")]

    def first_fails(sock: socket.socket, where: str) -> None:
        if failures:
            raise failures.pop()
        came(sock, where)

    monkeypatch.setattr(serving, "_came", first_fails)
    network = make(2)
    with pytest.raises(NotReached):
        network.connect(serving.address).ask(Put(data=b"x"))
    assert network.connect(serving.address).ask(Put(data=b"x"), 60) == 1


# -- children -------------------------------------------------------------------------------------------
def test_a_child_has_no_part_in_the_connections_of_the_node_that_it_was_forked_off(make: Make) -> None:
    one, two = make(1), make(2)
    serving = one.serve("127.0.0.1:0", {Put: lambda message: len(message.data)})
    remote = two.connect(serving.address)
    assert remote.ask(Put(data=b"xx")) == remote.ask_soon(Put(data=b"xx"), 20).result(30) == 2
    child = os.fork()
    if not child:
        status = 1
        try:
            for ask in (remote.ask, lambda message: two.connect(serving.address).ask_soon(message).result(30)):
                with pytest.raises(NotReached, match="has closed"):
                    ask(Put())
            two.close()
            one.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert remote.ask(Put(data=b"xxx")) == remote.ask_soon(Put(data=b"xxx"), 20).result(30) == 3
    assert len(serving._connections) == 2, "those that were there before"
    port = int(serving.address.rpartition(":")[2])
    (told, tells), (waits, ends) = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(ends)
        os.write(tells, b"x")
        os.read(waits, 1)
        os._exit(0)
    os.read(told, 1)
    one.close()
    with socket.create_server(("127.0.0.1", port)):
        os.close(ends)
    os.waitpid(child, 0)
    for number in (told, tells, waits):
        os.close(number)
