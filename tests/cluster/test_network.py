"""What holds of every network: nodes of one process, and those that talk by gRPC."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.patience import until

from redkite.cluster.grpc_network import GrpcNetwork
from redkite.cluster.local_network import LocalHub, LocalNetwork
from redkite.cluster.network import CALLER, Message, NotReached, Unanswered, WrongPeer
from redkite.env import Env
from redkite.errors import CollectionNotFound, Unavailable, Unexpected
from redkite.model.timestamps import compose

AnyNetwork = LocalNetwork | GrpcNetwork
Make = Callable[[int], AnyNetwork]


class Ping(Message, frozen=True):
    text: str = ""
    rows: pa.RecordBatch | None = None


class Pong(Message, frozen=True):
    text: str
    numbers: np.ndarray


class Clock:
    def __init__(self, last: int) -> None:
        self.last = last

    def observe(self, timestamp: int) -> None:
        self.last = max(self.last, timestamp)


def pong(ping: Ping) -> Pong:
    caller = CALLER.get()
    assert caller is not None
    rows = 0 if ping.rows is None else ping.rows.num_rows
    return Pong(text=f"{ping.text} from {caller.node_id}", numbers=np.arange(rows))


def refuse(error: Exception) -> Callable[[Ping], None]:
    def answer(_: Ping) -> None:
        raise error

    return answer


@pytest.fixture(params=["local", "grpc"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    made: list[AnyNetwork] = []
    hub = LocalHub(Env.real())

    def network(node_id: int) -> AnyNetwork:
        one = hub.network(node_id) if request.param == "local" else GrpcNetwork(hub.env, hub.cluster, node_id)
        made.append(one)
        return one

    yield network
    for one in made:
        one.close()


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What slow handlers wait for: opened at the end."""
    event = threading.Event()
    yield event
    event.set()


def test_a_message_is_answered(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: pong})
    rows = pa.record_batch({"id": [1, 2, 3]})
    remote = make(2).connect(serving.address)
    for reply in (remote.ask(Ping(text="hello", rows=rows)), remote.ask_soon(Ping(text="hello", rows=rows)).result(30)):
        assert reply.text == "hello from 2"
        assert reply.numbers.tolist() == [0, 1, 2]


def test_the_reply_may_come_later(make: Make) -> None:
    later: Future[Pong] = Future()
    serving = make(1).serve("127.0.0.1:0", {Ping: lambda _: later})
    asked = make(2).connect(serving.address).ask_soon(Ping())
    time.sleep(0.05)
    assert not asked.done()
    later.set_result(Pong(text="late", numbers=np.zeros(1)))
    assert asked.result(30).text == "late"


@pytest.mark.parametrize("soon", [False, True])
def test_the_error_of_the_other_side_is_raised_here(make: Make, soon: bool) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: refuse(CollectionNotFound.named("default", "films"))})
    remote = make(2).connect(serving.address)
    with pytest.raises(CollectionNotFound, match="films") as caught:
        remote.ask_soon(Ping()).result(30) if soon else remote.ask(Ping())
    assert caught.value.code == 100


def test_an_error_that_nobody_thought_of_is_unexpected(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: refuse(ZeroDivisionError("one by none"))})
    with pytest.raises(Unexpected, match="ZeroDivisionError: one by none"):
        make(2).connect(serving.address).ask(Ping())


def test_an_answer_that_cannot_be_sent_is_an_error(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: lambda _: object()})
    with pytest.raises(Unexpected, match="object cannot be sent"):
        make(2).connect(serving.address).ask(Ping())


def test_a_message_that_the_node_does_not_know_says_so(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Pong: lambda message: message})
    with pytest.raises(WrongPeer, match="node 1 does not answer Ping"):
        make(2).connect(serving.address).ask(Ping())


@pytest.mark.parametrize("soon", [False, True])
def test_nobody_at_an_address_is_not_reached(make: Make, soon: bool) -> None:
    remote = make(2).connect("127.0.0.1:9")
    with pytest.raises(NotReached, match=r"127\.0\.0\.1:9"):
        remote.ask_soon(Ping()).result(30) if soon else remote.ask(Ping())


@pytest.mark.parametrize("soon", [False, True])
def test_an_answer_that_takes_too_long_is_not_waited_for(make: Make, gate: threading.Event, soon: bool) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: lambda _: gate.wait(60)})
    remote = make(2).connect(serving.address)
    with pytest.raises(Unanswered, match=r"did not answer Ping within 0\.2 s"):
        remote.ask_soon(Ping(), timeout=0.2).result(30) if soon else remote.ask(Ping(), timeout=0.2)


def test_a_node_that_is_abandoned_is_not_waited_for(make: Make, gate: threading.Event) -> None:
    arrived: list[str] = []

    def answer(ping: Ping) -> bool:
        if ping.text:
            arrived.append(ping.text)
            gate.wait(60)
        return True

    serving = make(1).serve("127.0.0.1:0", {Ping: answer})
    network = make(2)
    remote = network.connect(serving.address)
    results: list[Any] = []

    def ask() -> None:
        try:
            results.append(remote.ask(Ping(text="slow"), timeout=60))
        except Unanswered as error:
            results.append(error)

    waiting = threading.Thread(target=ask)
    waiting.start()
    asked = remote.ask_soon(Ping(text="slow"), timeout=60)
    until(lambda: len(arrived) == 2)
    network.abandon(serving.address)
    with pytest.raises(Unanswered, match="went away"):
        asked.result(30)
    waiting.join(60)
    assert isinstance(results[0], Unanswered)
    assert remote.ask(Ping()) is True, "it is asked again when it is back"


def test_an_address_is_taken_once(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {})
    with pytest.raises(Unavailable, match="taken"):
        make(2).serve(serving.address, {})


def test_a_node_that_comes_back_is_found_again(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: pong})
    remote = make(2).connect(serving.address)
    remote.ask(Ping())
    serving.close()
    with pytest.raises(Unavailable):
        remote.ask(Ping())
    make(3).serve(serving.address, {Ping: pong})
    until(lambda: remote.ask(Ping(text="x")).text == "x from 2")


def test_timestamps_go_along_both_ways(make: Make) -> None:
    one, two, slow, fast = make(1), make(2), Clock(10), Clock(500)
    one.keep_time(slow)
    two.keep_time(fast)
    serving = one.serve("127.0.0.1:0", {Ping: pong})
    two.connect(serving.address).ask(Ping())
    assert slow.last == 500
    slow.last = 900
    two.connect(serving.address).ask(Ping())
    assert fast.last == 900


def test_timestamps_go_along_with_errors(make: Make) -> None:
    one, two, early, late = make(1), make(2), Clock(10), Clock(500)
    one.keep_time(late)
    two.keep_time(early)
    serving = one.serve("127.0.0.1:0", {Ping: refuse(CollectionNotFound.named("d", "c"))})
    with pytest.raises(CollectionNotFound):
        two.connect(serving.address).ask(Ping())
    assert early.last == 500


def test_a_clock_that_is_hours_ahead_is_not_taken_over(make: Make) -> None:
    one, two, right, wrong = make(1), make(2), Clock(10), Clock(compose(int((time.time() + 7200) * 1000)))
    one.keep_time(right)
    two.keep_time(wrong)
    serving = one.serve("127.0.0.1:0", {Ping: pong})
    with pytest.raises(WrongPeer, match=r"clock is 7\d\d\d s ahead of that of node 1"):
        two.connect(serving.address).ask(Ping())
    assert right.last == 10


def test_a_node_that_has_closed_asks_nobody(make: Make) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: pong})
    two = make(2)
    remote = two.connect(serving.address)
    remote.ask(Ping())
    two.close()
    asked = remote.ask_soon(Ping())
    for wait in (lambda: asked.result(30), lambda: remote.ask(Ping())):
        with pytest.raises(NotReached):
            wait()


def test_one_slow_call_does_not_hold_others_up(make: Make, gate: threading.Event) -> None:
    serving = make(1).serve("127.0.0.1:0", {Ping: lambda ping: gate.wait(60) if ping.text == "slow" else True})
    remote = make(2).connect(serving.address)
    slow = [remote.ask_soon(Ping(text="slow")) for _ in range(30)]
    assert remote.ask(Ping(text="fast"), timeout=30) is True
    assert not any(one.done() for one in slow)


def test_nodes_may_ask_each_other_in_turn(make: Make) -> None:
    one, two = make(1), make(2)
    second = two.serve("127.0.0.1:0", {Ping: pong})
    first = one.serve("127.0.0.1:0", {Ping: lambda ping: one.connect(second.address).ask(ping)})
    assert two.connect(first.address).ask(Ping(text="round")).text == "round from 1"


def test_what_was_asked_and_answered_is_counted(make: Make) -> None:
    one, two = make(1), make(2)
    serving = one.serve("127.0.0.1:0", {Ping: pong})
    two.connect(serving.address).ask(Ping())
    serving.close()
    with pytest.raises(Unavailable):
        two.connect(serving.address).ask(Ping())
    asked = two.traffic.tallies()["asked", "Ping"]
    assert (asked.calls, asked.failed, asked.unanswered) == (2, 1, 1)
    answered = one.traffic.tallies()["answered", "Ping"]
    assert (answered.calls, answered.failed, sum(answered.bins)) == (1, 0, 1)


# -- one process alone --------------------------------------------------------------------------
def test_calls_of_a_node_that_goes_away_fail_at_once(gate: threading.Event) -> None:
    hub = LocalHub(Env.real())
    serving = hub.network(1).serve("127.0.0.1:0", {Ping: lambda _: gate.wait(60)})
    remote = hub.network(2).connect(serving.address)
    asked = remote.ask_soon(Ping(), timeout=30)
    serving.close()
    with pytest.raises(Unanswered, match="went away"):
        asked.result(30)
    with pytest.raises(NotReached):
        remote.ask(Ping())


def test_a_paused_node_answers_when_it_goes_on() -> None:
    hub = LocalHub(Env.real())
    serving = hub.network(1).serve("127.0.0.1:0", {Ping: pong})
    hub.pause(serving.address)
    asked = hub.network(2).connect(serving.address).ask_soon(Ping(text="x"))
    time.sleep(0.05)
    assert not asked.done()
    hub.resume(serving.address)
    assert asked.result(30).text == "x from 2"
