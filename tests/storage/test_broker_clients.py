"""Clients of Kafka and Pulsar where nobody is at the other end."""

from __future__ import annotations

import threading
import time

import pytest

from redkite.env import Env
from redkite.errors import InvalidParameter, Unavailable
from redkite.storage.broker import LEAST_MESSAGE_BYTES
from redkite.storage.kafka import KafkaSettings, _Tail
from redkite.storage.pulsar import PulsarBroker, PulsarSettings


@pytest.mark.parametrize("settings", [KafkaSettings, PulsarSettings])
def test_messages_without_room_for_a_record_are_refused(settings):
    settings(message_bytes=LEAST_MESSAGE_BYTES)
    with pytest.raises(InvalidParameter, match="message_bytes must be at least"):
        settings(message_bytes=30)
    with pytest.raises(InvalidParameter, match="timeout_seconds must be positive"):
        settings(timeout_seconds=0)


@pytest.mark.parametrize("option", ["sasl.password", "sasl.oauthbearer.client.secret", "ssl.keystore.password"])
def test_options_that_are_secret_are_not_shown(option):
    assert "hunter2" not in repr(KafkaSettings(options={option: "hunter2"}))


class Message:
    def topic(self) -> str:
        return "t"

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return 7

    def value(self) -> bytes:
        return b"text"


class FaultyConsumer:
    """Fails once, when somebody follows a topic."""

    def __init__(self) -> None:
        self.assigned = 0
        self.failed = False

    def poll(self, seconds: float) -> Message | None:
        time.sleep(0.01)
        if self.assigned and not self.failed:
            self.failed = True
            raise RuntimeError("no")
        return Message() if self.assigned else None

    def incremental_assign(self, places: object) -> None:
        self.assigned += 1

    def incremental_unassign(self, places: object) -> None: ...

    def close(self) -> None: ...


class Watcher:
    is_removed = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard: list[object] = []
        self.came = threading.Event()

    def deliver(self, message: object) -> None:
        self.heard.append(message)
        self.came.set()

    def failed(self, error: object) -> None:
        self.heard.append(error)
        self.came.set()


class Owner:
    def __init__(self) -> None:
        self.closed = threading.Event()


def test_a_consumer_that_fails_tells_its_followers_and_goes_on():
    owner = Owner()
    first, second = Watcher("t"), Watcher("t")
    consumer = FaultyConsumer()
    tail = _Tail(owner, consumer, lambda name, at: (name, at), Env.real())
    tail.add(first, 0)
    try:
        assert first.came.wait(30)
        assert isinstance(first.heard[0], Unavailable)
        tail.add(second, 0)
        assert second.came.wait(30)
        assert second.heard[0].payload == b"text"
    finally:
        owner.closed.set()
        tail.close()


class PolledConsumer:
    """Gives what it polled for whoever followed before, although somebody else has come meanwhile."""

    def __init__(self) -> None:
        self.polling, self.go_on = threading.Event(), threading.Event()
        self.is_assigned = False

    def poll(self, seconds: float) -> Message | None:
        if not self.polling.is_set():
            self.polling.set()
            assert self.go_on.wait(30)
            return Message()
        time.sleep(0.01)
        return None

    def incremental_assign(self, places: object) -> None:
        self.is_assigned = True

    def incremental_unassign(self, places: object) -> None: ...

    def close(self) -> None: ...


def test_who_follows_a_topic_is_told_nothing_that_was_polled_for_another_before():
    owner, consumer, second = Owner(), PolledConsumer(), Watcher("t")
    tail = _Tail(owner, consumer, lambda name, at: (name, at), Env.real())
    try:
        assert consumer.polling.wait(30)
        tail.add(second, 3)
        consumer.go_on.set()
        deadline = time.monotonic() + 120
        while not consumer.is_assigned and time.monotonic() < deadline:
            time.sleep(0.01)
        assert consumer.is_assigned
        assert second.heard == []
    finally:
        owner.closed.set()
        tail.close()


class SlowClient:
    """Makes a producer when it was told that a message of another one failed, as the one thread of a client does."""

    def __init__(self) -> None:
        self.tell = None

    def create_producer(self, name: str, **_: object) -> Producer:
        if self.tell is not None:
            told = threading.Thread(target=self.tell, args=("lost", None), daemon=True)
            told.start()
            told.join(30)
            assert not told.is_alive(), "the client's thread waits for who waits for it"
        return Producer(self)

    def close(self) -> None: ...


class Producer:
    def __init__(self, client: SlowClient) -> None:
        self.client = client

    def send_async(self, payload: bytes, delivered: object) -> None:
        self.client.tell = delivered

    def close(self) -> None: ...


def test_the_loss_of_one_message_does_not_wait_for_the_producer_of_another_topic():
    pytest.importorskip("pulsar")
    broker = PulsarBroker(PulsarSettings(), Env.real())
    broker._client.close()
    broker._client = SlowClient()
    heard = []
    broker.send("a", b"1", heard.append)
    broker.send("b", b"2", lambda _: None)
    broker.close()
    assert isinstance(heard[0], Unavailable)
